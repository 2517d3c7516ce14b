"""From settings to what a study needs; shared by `train`, `study` and `demo`."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ferfusion.atomic import write_text
from ferfusion.config import Settings, render
from ferfusion.data.dataset import Dataset
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import shared_subjects
from ferfusion.errors import ConfigError, SplitError, unknown_name
from ferfusion.modality import parse_modalities
from ferfusion.models.backbones import IMAGENET, NO_WEIGHTS
from ferfusion.study.workbench import Setup, Workbench, check_rows
from ferfusion.training.recipe import Hardware, Recipe


def open_data(data: Path, settings: Settings) -> Dataset:
    """Reads the data set and says on the terminal what was left out of it."""
    dataset = open_dataset(data, subject_pattern=settings.subject_pattern or None)
    if dataset.leftovers:
        say(
            f"Left out, because they are in no sample: {len(dataset.leftovers)} images or rows of "
            f"{data}. `ferfusion inspect {data}` lists them."
        )
    return dataset


def make_setup(dataset: Dataset, settings: Settings) -> Setup:
    """Turns settings into a setup that fits the data.

    Raises:
        ConfigError: An option doesn't fit the data or another option.
    """
    # The default means "all there are"; what somebody asks for by name must be there.
    modalities = parse_modalities(settings.modalities)
    if settings.modalities == Settings().modalities:
        modalities = tuple(m for m in modalities if m in dataset.modalities)
    check_rows(dataset, modalities)
    kind = settings.split
    if kind == "auto":
        kind = "subject" if dataset.has_subjects else "paper"
        if kind == "paper" and not settings.split_file:
            say(
                "Not every sample of this data says whom it shows, so it is split by image, as in "
                "the paper: the same face may be trained on and tested. Name the subjects "
                "(subjects.csv, a column, or --subject-pattern) for numbers that hold for new "
                "people; `ferfusion inspect` says who is missing.",
                colour="yellow",
            )
    return Setup(
        modalities=modalities,
        backbone=settings.backbone,
        weights=_find_weights(settings),
        size_px=settings.size,
        split_kind=kind,
        split_file=Path(settings.split_file) if settings.split_file else None,
        recipe=Recipe(**{**_pick(Recipe, settings), "seed": settings.seed[0]}),
        hardware=Hardware(**_pick(Hardware, settings)),
        cache=Path(settings.cache) if settings.cache else None,
    )


def _pick(kind: type, settings: Settings) -> dict[str, Any]:
    """Takes the settings that a dataclass has fields for."""
    return {f.name: getattr(settings, f.name) for f in fields(kind)}


def _find_weights(settings: Settings) -> str:
    found = IMAGENET
    for words in settings.weights:
        name, equals, file = words.partition("=")
        if not equals and words in (IMAGENET, NO_WEIGHTS):
            found = words
        elif equals and name == settings.backbone:
            found = file
        else:
            known = [IMAGENET, NO_WEIGHTS, f"{settings.backbone}=FILE"]
            given = f"{name}=FILE" if equals else words
            raise ConfigError(unknown_name("value of --weights", given, known))
    return found


def warn_of_doubts(bench: Workbench, settings: Settings) -> None:
    """Says what a careful reader would want to know before believing the numbers.

    Raises:
        SplitError: A split by subject was asked for, and the split file shares subjects.
    """
    if bench.n_incomplete:
        say(
            f"Left out, because they lack a modality in use: {bench.n_incomplete} of "
            f"{bench.n_incomplete + len(bench.dataset.samples)} samples."
        )
    for seed in settings.seed:
        shared = shared_subjects(bench.split(seed), bench.dataset)
        if shared and settings.split == "subject":
            raise SplitError(
                f"--split subject was asked for, but {settings.split_file} has {len(shared)} "
                f"subjects in more than one part ({', '.join(shared[:5])}). Mend it, or leave "
                "--split out."
            )
        if shared:
            say(
                f"Careful: with seed {seed}, {len(shared)} subjects are in more than one part of "
                "the split, so these numbers are partly about people the model knows.",
                colour="red",
            )


def save_config(settings: Settings, out: Path) -> None:
    """Keeps the resolved options beside the results, for --config."""
    write_text(out / "config.toml", render(settings))


def is_main_process() -> bool:
    """Whether this is the one process that speaks, of those Fabric or torchrun started."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def say(text: str, *, colour: str | None = None) -> None:
    """Prints a sentence, once among all processes."""
    if is_main_process():
        click.echo(click.style(text, fg=colour) if colour else text)
