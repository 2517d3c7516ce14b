"""Turns the options of `config.py` into those of a command."""

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ferfusion.config import OPTIONS, Settings, resolve

DATA = ("split", "split_file", "subject_pattern", "size", "infrared_as", "cache", "cache_limit")
MODEL = ("modalities", "backbone", "weights", "dropout")
TRAINING = (
    "seed",
    "epochs",
    "batch_size",
    "optimiser",
    "learning_rate",
    "backbone_learning_rate",
    "weight_decay",
    "schedule",
    "label_smoothing",
    "head_epochs",
    "augmentation",
    "freeze_backbone",
    "frozen_norms",
    "quirks",
)
MACHINE = ("device", "devices", "nodes", "precision", "compile", "profile")

_TYPES = typing.get_type_hints(Settings)


def settings_options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command these options and `--config`; it receives one `settings` argument.

    Values are checked by `config.resolve`, the same for a file and for the command line.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(config: Path | None, **values: Any) -> None:
            given = {k: values.pop(k) for k in names if values.get(k) is not None}
            rest = {k: v for k, v in values.items() if k not in names}
            command(settings=resolve(given, config), **rest)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        wrapped: Callable[..., None] = click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="TOML file of options; the command line wins.",
        )(run)
        for name in reversed(names):
            wrapped = _option(name)(wrapped)
        # What the command declared itself (arguments, --out) stays in front.
        own = getattr(command, "__click_params__", [])
        wrapped.__click_params__ = [*wrapped.__click_params__, *own]  # pyright: ignore[reportFunctionMemberAccess]
        return wrapped

    return decorate


def _option(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    option, wanted = OPTIONS[name], _TYPES[name]
    shown = "--" + name.replace("_", "-")
    default = getattr(Settings(), name)
    text = option.metadata["comment"]
    if wanted is bool:
        said = "on" if default else "off"
        return click.option(
            f"{shown}/--no-{shown[2:]}", name, default=None, help=f"{text} [default: {said}]"
        )
    several = isinstance(default, tuple)
    one_of = "" if several else "|".join(option.metadata["choices"])
    metavar = {int: "N", float: "X"}.get(wanted) or one_of or option.metadata["metavar"]
    said = ",".join(str(v) for v in default) if several else str(default)
    return click.option(
        shown,
        name,
        default=None,
        metavar=metavar,
        help=f"{text} [default: {said}]" if said else text,
    )
