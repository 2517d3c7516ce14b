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
from ferfusion.data.temperatures import use_temperatures
from ferfusion.errors import ConfigError, SplitError, unknown_name
from ferfusion.expression import NVIE, find_misspelt
from ferfusion.modality import Modality, parse_modalities
from ferfusion.models.backbones import BACKBONES, IMAGENET, NO_WEIGHTS, find_backbone
from ferfusion.preprocessing import parse_heat
from ferfusion.study.plan import PLANS, Variant
from ferfusion.study.workbench import Setup, Workbench, check_rows
from ferfusion.training.machine import explain_precision
from ferfusion.training.recipe import Hardware, Recipe


def open_data(data: Path, settings: Settings) -> Dataset:
    """Reads the data set and says on the terminal what was left out of it."""
    heat = parse_heat(settings.infrared_as)
    dataset = open_dataset(data, subject_pattern=settings.subject_pattern or None)
    if heat is not None:
        dataset = use_temperatures(dataset)
    if dataset.leftovers:
        say(
            f"Left out, because they are in no sample: {len(dataset.leftovers)} images or rows of "
            f"{data}. `ferfusion inspect {data}` lists them."
        )
    for name, meant in find_misspelt(dataset.labels).items():
        say(f"The class {name} is taken as it is written. Is {meant} meant?", colour="yellow")
    return dataset


def choose_modalities(dataset: Dataset, settings: Settings) -> tuple[Modality, ...]:
    """Says which pictures are used: those asked for, or all there are.

    Raises:
        ConfigError: A modality is asked for by name that no sample has.
    """
    # The default means "all there are"; what somebody asks for by name must be there.
    modalities = parse_modalities(settings.modalities)
    if settings.modalities == Settings().modalities:
        modalities = tuple(m for m in modalities if m in dataset.modalities)
    check_rows(dataset, modalities)
    return modalities


def make_setup(dataset: Dataset, settings: Settings, variant: Variant | None = None) -> Setup:
    """Turns settings into a setup that fits the data.

    Args:
        dataset: As it was read.
        settings: Of the whole study.
        variant: What one of its tables has of its own; None: nothing.

    Raises:
        ConfigError: An option doesn't fit the data or another option.
    """
    modalities = choose_modalities(dataset, settings)
    _check_quirks(settings)
    if settings.folds and settings.split_file:
        raise ConfigError("--folds draws its splits, and --split-file gives one. Leave one out.")
    if settings.folds == 1:
        raise ConfigError("--folds 1 would test on what was learned. Take 2 or more, or leave it.")
    backbone = settings.backbone if variant is None else variant.backbone
    quirks = settings.quirks if variant is None else variant.quirks
    kind = "paper" if "image_split" in quirks else settings.split
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
        backbone=backbone,
        weights=find_weights(settings, backbone),
        size_px=settings.size,
        split_kind=kind,
        split_file=Path(settings.split_file) if settings.split_file else None,
        recipe=Recipe(
            **{
                **_pick(Recipe, settings),
                "seed": settings.seed[0],
                "quirks": tuple(sorted(quirks)),
                "frozen": "backbone" if settings.freeze_backbone else "none",
            }
        ),
        hardware=Hardware(**_pick(Hardware, settings)),
        heat=parse_heat(settings.infrared_as),
        cache=Path(settings.cache) if settings.cache else None,
        cache_limit_gb=settings.cache_limit,
        n_folds=settings.folds,
        # The paper trains NVIE's early fusion with a cosine, everything else with a plateau.
        early_schedule="cosine" if settings.plan == "paper" and dataset.labels == NVIE else None,
        root=dataset.root,
        subject_pattern=settings.subject_pattern,
        note=settings.note,
    )


def tell_precision(*setups: Setup) -> None:
    """Says on the terminal if `--precision auto` takes other numbers than fp32 for a model."""
    backbones = [find_backbone(name) for name in dict.fromkeys(s.backbone for s in setups)]
    explanation = explain_precision(setups[0].hardware, backbones)
    if explanation is not None:
        say(explanation)


def _check_quirks(settings: Settings) -> None:
    """Refuses a quirk that could have no effect, or that contradicts another option."""
    if "identical_flips" in settings.quirks and settings.augmentation != "paper":
        raise ConfigError(
            "The quirk identical_flips only has an effect with --augmentation paper, which makes "
            f"flipped copies, and augmentation is {settings.augmentation}. Add --augmentation "
            "paper, or leave the quirk out."
        )
    if "independent_augmentation" in settings.quirks and settings.augmentation == "none":
        raise ConfigError(
            "The quirk independent_augmentation has no effect with --augmentation none. Choose "
            "--augmentation sound or paper, or leave the quirk out."
        )
    if "image_split" in settings.quirks and settings.split == "subject":
        raise ConfigError(
            "The quirk image_split splits by image, and --split subject was asked for. Leave one "
            "of them out."
        )
    if "image_split" in settings.quirks and settings.split_file:
        raise ConfigError(
            "The quirk image_split draws a split, and --split-file gives one. Leave one of them "
            "out."
        )


def _pick(kind: type, settings: Settings) -> dict[str, Any]:
    """Takes the settings that a dataclass has fields for."""
    return {f.name: getattr(settings, f.name) for f in fields(kind) if hasattr(settings, f.name)}


def find_weights(settings: Settings, backbone: str) -> str:
    """Finds the first weights of a backbone: its own file, else `imagenet` or `none`.

    Raises:
        ConfigError: A word of --weights names no weights, or no backbone of this study.
    """
    known = {backbone, *settings.backbones, "alexnet"}
    if settings.plan and not settings.backbones:
        known |= set(PLANS[settings.plan].backbones)
    files: dict[str, str] = {}
    rest = ""
    for words in settings.weights:
        name, equals, file = words.partition("=")
        if not equals and words in (IMAGENET, NO_WEIGHTS):
            rest = words
        elif equals and name in known:
            files[name] = str(Path(file).resolve()) if settings.ray else file
        else:
            choices = [IMAGENET, NO_WEIGHTS, *(f"{one}=FILE" for one in sorted(known))]
            if equals and name in BACKBONES:
                raise ConfigError(
                    f"--weights {words} is of no use: no model of this study has the backbone "
                    f"{name}, only {', '.join(sorted(known - {'alexnet'}))}. Leave it out, or "
                    "choose with --backbone."
                )
            given = f"{name}=FILE" if equals else words
            raise ConfigError(unknown_name("value of --weights", given, choices))
    return files.get(backbone) or rest or IMAGENET


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
    for note in bench.store.notes:
        say(note, colour="yellow")
    for seed in settings.seed:
        shared = {
            person
            for fold in bench.folds
            for person in shared_subjects(bench.split(seed, fold), bench.dataset)
        }
        if shared and settings.split == "subject" and settings.split_file:
            raise SplitError(
                f"--split subject was asked for, but {settings.split_file} has {len(shared)} "
                f"subjects in more than one part ({', '.join(sorted(shared)[:5])}). Mend it, or "
                "leave --split out."
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
    # torchrun tells each process its place among all, and so does SLURM where srun started it.
    environment = os.environ
    if "RANK" in environment:
        return environment["RANK"] == "0"
    of_slurm = environment.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    if "SLURM_NTASKS" in environment and of_slurm:
        return environment.get("SLURM_PROCID", "0") == "0"
    return environment.get("LOCAL_RANK", "0") == "0" and environment.get("NODE_RANK", "0") == "0"


def say(text: str, *, colour: str | None = None) -> None:
    """Prints a sentence, once among all processes."""
    if is_main_process():
        click.echo(click.style(text, fg=colour) if colour else text)
