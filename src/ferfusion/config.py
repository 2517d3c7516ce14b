"""Every option once: its name, default, comment and check. The command line and files follow.

`Settings` is what a user may choose; `resolve` lays the command line over a file over the
defaults, and `render` writes all of it as a commented TOML file that `--config` reads back.
"""

import dataclasses
import math
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from ferfusion.data.cache_folder import LIMIT_GB
from ferfusion.errors import ConfigError, unknown_name
from ferfusion.preprocessing import PICTURE
from ferfusion.study.plan import PLANS, Plan
from ferfusion.training.recipe import QUIRKS, Recipe

_RECIPE = Recipe()


def _option(
    default: Any,
    comment: str,
    *,
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    metavar: str = "TEXT",
) -> Any:
    about = {
        "comment": comment,
        "choices": tuple(choices),
        "least": least,
        "most": most,
        "metavar": metavar,
    }
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Settings:
    """All options with their defaults. Each is `--name` on the command line, `name` in a file."""

    # Data
    split: str = _option(
        "auto",
        "subject: nobody in two parts; paper: the paper's 70/15/15 by image; auto: subject where "
        "subjects are known, else paper.",
        choices=("auto", "subject", "paper"),
    )
    split_file: str = _option("", "Use this split file instead of drawing a split.", metavar="FILE")
    folds: int = _option(
        0,
        "K splits per seed that together test every sample once; 0: one split per seed. For "
        "`study`.",
        least=0,
        most=50,
    )
    allow_leaks: bool = _option(
        False, "Run although the audit found leaks between the parts of a split; the page says so."
    )
    subject_pattern: str = _option(
        "", "Regular expression that finds the subject in a sample's path, e.g. '(s\\d+)_'."
    )
    size: int = _option(
        224, "Side of the square pictures a model sees, in pixels.", least=32, most=1024
    )
    cache: str = _option(
        "",
        "Folder for decoded pictures; empty: $FERFUSION_CACHE, else ~/.cache/ferfusion.",
        metavar="DIR",
    )
    cache_limit: float = _option(
        LIMIT_GB,
        "How large that folder may grow, in GB; what was used longest ago is removed. 0: no limit.",
        least=0,
    )
    infrared_as: str = _option(
        PICTURE,
        "picture: as it is; of files that hold temperatures: window:28,38 (grey, the same degrees "
        "for all), standardised (by the mean of each face) or palette:28,38 (iron).",
    )
    note: str = _option(
        "", "A sentence about the data, shown beside every number of the page and on model cards."
    )
    # Model
    modalities: tuple[str, ...] = _option(
        ("visible", "infrared", "msx"), "Which pictures to use, joined by commas."
    )
    fusion: str = _option(
        "auto",
        "single: one modality; early: features joined; late: probabilities mixed; auto: single "
        "for one modality, else early. For `train`.",
        choices=("auto", "single", "early", "late"),
    )
    steps: int = _option(
        3, "Early fusion: 1 trains at once, 3 starts from trained single models. For `train`."
    )
    rows: tuple[str, ...] = _option(
        ("all",),
        "Parts of the comparison, joined by commas: all, single, early, 1-step, 3-step, late, "
        "attention, svm, or names such as early-visible-infrared-3step. For `study`.",
    )
    plan: str = _option(
        "",
        "Empty: one comparison; "
        + "; ".join(f"{name}: {plan.about}" for name, plan in PLANS.items())
        + ". For `study`.",
        choices=("", *PLANS),
        metavar="|".join(PLANS),
    )
    backbones: tuple[str, ...] = _option(
        (),
        "Backbones of a plan, joined by commas; empty: the plan's own. The first one carries the "
        "models that the others are held against.",
        metavar="NAMES",
    )
    backbone: str = _option(
        "resnet18",
        "resnet18, vgg16, shufflenet_v2, mobilenet_v2, ghostnet, alexnet, or any name of timm.",
    )
    weights: tuple[str, ...] = _option(
        ("imagenet",),
        "First weights of the trunks: imagenet (fetched from their hub), none (random), or "
        "BACKBONE=FILE (.safetensors or .pth); joined by commas: a file for some backbones and "
        "imagenet or none for the rest.",
    )
    dropout: float = _option(
        _RECIPE.dropout, "Factor on the paper's dropout rates.", least=0, most=1
    )
    # Training
    seed: tuple[int, ...] = _option(
        (0,), "Seed of split, first weights, order and augmentation; `study` takes several: 0,1,2."
    )
    epochs: int = _option(_RECIPE.epochs, "Passes over the training pictures.", least=1)
    batch_size: int = _option(_RECIPE.batch_size, "Samples a step.", least=2)
    optimiser: str = _option(
        _RECIPE.optimiser, "How weights move.", choices=("adamw", "adam", "sgd")
    )
    learning_rate: float = _option(_RECIPE.learning_rate, "Peak rate of the head.", least=0)
    backbone_learning_rate: float = _option(
        _RECIPE.backbone_learning_rate,
        "Peak rate of trunks that carry trained weights; random ones use learning_rate.",
        least=0,
    )
    weight_decay: float = _option(_RECIPE.weight_decay, "Of kernels and matrices.", least=0)
    schedule: str = _option(
        _RECIPE.schedule,
        "cosine after a short warm-up; plateau: the paper's ReduceLROnPlateau; constant.",
        choices=("cosine", "plateau", "constant"),
    )
    label_smoothing: float = _option(_RECIPE.label_smoothing, "Of the loss.", least=0, most=0.9)
    head_epochs: int = _option(
        _RECIPE.head_epochs,
        "Passes over features computed once, training the head of pretrained trunks before all is "
        "trained.",
        least=0,
    )
    augmentation: str = _option(
        _RECIPE.augmentation,
        "sound: ours, one draw a picture and epoch; paper: its 26 copies of each picture an "
        "epoch; none.",
        choices=("sound", "paper", "none"),
    )
    freeze_backbone: bool = _option(
        _RECIPE.frozen == "backbone",
        "Train the heads alone, on features that are computed once: an epoch takes milliseconds. "
        "With augmentation sound the pictures of 8 epochs come again and again.",
    )
    frozen_norms: bool = _option(
        _RECIPE.frozen_norms, "Keep the batch norms' statistics of pretrained trunks."
    )
    quirks: tuple[str, ...] = _option(
        _RECIPE.quirks,
        f"What the paper's code does and should not, joined by commas: {', '.join(QUIRKS)}. Empty: "
        "none of them.",
        choices=tuple(QUIRKS),
        metavar="NAMES",
    )
    # Machine
    device: str = _option("auto", "auto, cpu, cuda, mps, or another that Lightning Fabric knows.")
    devices: int = _option(1, "Processes on this machine: GPUs, or CPU processes.", least=1)
    workers: int = _option(
        1, "Processes on this machine that train different models at once. For `study`.", least=1
    )
    ray: str = _option(
        "",
        "Address of a Ray cluster that trains different models at once, or local; every node must "
        "see the data and --out under the same paths. For `study`.",
        metavar="ADDRESS",
    )
    nodes: int = _option(1, "Machines that run the same command together.", least=1)
    precision: str = _option(
        "auto",
        "auto: bf16 where the machine has it and the backbone gains by it.",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    compile: str = _option(
        "off",
        "Have torch compile the models: on, off, or auto for long trainings on a CUDA GPU. What it "
        "gains there was not measured yet; on a CPU nothing.",
        choices=("off", "auto", "on"),
    )
    profile: bool = _option(
        False,
        "Measure where the time of each training goes; `train` prints it, `study` has it on its "
        "page.",
    )


OPTIONS: dict[str, dataclasses.Field[Any]] = {f.name: f for f in dataclasses.fields(Settings)}
_TYPES = typing.get_type_hints(Settings)


def read_config(path: Path) -> dict[str, Any]:
    """Reads a TOML file of options; those it leaves out keep their defaults.

    Raises:
        ConfigError: No such file, not TOML, or an unknown option.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The config file {path} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not a TOML file: {error}. `ferfusion config show` prints a valid one."
        ) from error
    for name in values:
        if name not in OPTIONS:
            raise ConfigError(f"In {path}: " + unknown_name("option", name, OPTIONS))
    return values


def resolve(given: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Lays what was given on the command line over a config file over a plan over the defaults.

    Args:
        given: Option names to values; strings are understood as on the command line.
        config: A TOML file, or None.

    Raises:
        ConfigError: A name or value makes no sense; the sentence says what would.
    """
    file = read_config(config) if config else {}
    plan = _find_plan({**file, **given})
    if "plan" in given and plan is not _find_plan(file):
        file = _keep_chosen(file)
    defaults = dict(plan.defaults) if plan else {}
    if "image_split" in _split_words({**file, **given}.get("quirks", ())):
        defaults.pop("split", None)  # whoever asks for the quirk asks for its split
    merged = {**defaults, **file, **given}
    return Settings(**{name: _check(name, value) for name, value in merged.items()})


def _find_plan(values: Mapping[str, Any]) -> Plan | None:
    return PLANS.get(str(values.get("plan", "")).strip())


def _keep_chosen(file: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out what a saved file only holds because its plan, or nobody, chose otherwise.

    Saved files hold every option. Under another plan those that are as they come must not win.
    """
    plan = _find_plan(file)
    usual = {name: option.default for name, option in OPTIONS.items()}
    usual |= plan.defaults if plan else {}
    return {name: value for name, value in file.items() if _check(name, value) != usual[name]}


def _split_words(value: Any) -> list[str]:
    pieces = value if isinstance(value, list | tuple) else [value]
    return [word.strip() for piece in pieces for word in str(piece).split(",")]


def _check(name: str, value: Any) -> Any:
    about, wanted = OPTIONS[name].metadata, _TYPES[name]
    shown = "--" + name.replace("_", "-")
    if typing.get_origin(wanted) is tuple:
        item = typing.get_args(wanted)[0]
        pieces = value if isinstance(value, list | tuple) else [value]
        words = [
            w
            for p in pieces
            for w in (map(str.strip, p.split(",")) if isinstance(p, str) else [p])
            if w != ""
        ]
        if not words and OPTIONS[name].default:
            raise ConfigError(f"{shown} needs at least one value. {about['comment']}")
        values = tuple(_convert(shown, w, item) for w in words)
        for one in values if about["choices"] else ():
            _check_choice(shown, one, about["choices"])
        return values
    value = _convert(shown, value, wanted)
    if about["choices"]:
        _check_choice(shown, value, about["choices"])
    least, most = about["least"], about["most"]
    if (least is not None and value < least) or (most is not None and value > most):
        allowed = f"at least {least}" + (f" and at most {most}" if most is not None else "")
        raise ConfigError(f"{shown} is {value}, but must be {allowed}.")
    return value


def _check_choice(shown: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        known = [choice for choice in choices if choice]
        raise ConfigError(unknown_name(f"value of {shown}", str(value), known))


def _convert(shown: str, value: Any, wanted: type) -> Any:
    if wanted is bool and isinstance(value, bool):
        return value
    try:
        if wanted in (int, float) and not isinstance(value, bool):
            number = wanted(value)
            if math.isfinite(number) and (isinstance(value, str) or number == value):
                return number
        if wanted is str and isinstance(value, str):
            return value.strip()
    except (ValueError, OverflowError):
        pass
    kind = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[wanted]
    raise ConfigError(f"{shown} must be {kind}, not {value!r}.")


def render(settings: Settings) -> str:
    """Writes settings as TOML, each under its comment."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Options of ferfusion. Use: ferfusion COMMAND --config FILE"))
    for name, option in OPTIONS.items():
        document.add(tomlkit.nl())
        document.add(tomlkit.comment(option.metadata["comment"]))
        value = getattr(settings, name)
        document.add(name, tomlkit.item(list(value) if isinstance(value, tuple) else value))
    return tomlkit.dumps(document)
