"""`ferfusion inspect`: what is understood of a folder or table, before anything is trained."""

import shlex
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from ferfusion.cli.audit import inspect_twins, write_repair
from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.reading import list_problems, print_problems, print_reading
from ferfusion.cli.setup import choose_modalities, say
from ferfusion.config import Settings
from ferfusion.data.augmentation_sheet import draw_augmentation_sheet
from ferfusion.data.cache import resize
from ferfusion.data.dataset import Dataset
from ferfusion.data.leaks import find_leaks
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import (
    Split,
    check_split,
    draw_paper_split,
    draw_subject_split,
    read_split,
)
from ferfusion.errors import BrokenFilesError, ConfigError, DataError, SplitError
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.heat_input import read_picture
from ferfusion.modality import MODALITIES, Modality
from ferfusion.sample import Sample


def run_inspect(data: Path, out: Path, settings: Settings, repair: Path | None = None) -> None:
    """Prints what was understood, draws the sheets, and fails if any picture is unusable.

    Then says which samples are twins and what leaks; with `repair`, writes a clean split there.

    Raises:
        ConfigError: The file for the clean split is there already.
    """
    if repair and repair.exists():
        raise ConfigError(
            f"{repair} is there already and may be the split of a study. Give --repair another "
            "name, or remove the file first."
        )
    dataset = open_dataset(data, subject_pattern=settings.subject_pattern or None)
    console = Console(highlight=False, soft_wrap=True)
    print_reading(dataset, console)
    print_problems(list_problems(dataset), out, console)
    sizes, broken = _look_at_pictures(dataset, console)
    _print_sizes(sizes, console)
    if broken:
        raise BrokenFilesError(broken)
    say("Every picture can be read.")
    out.mkdir(parents=True, exist_ok=True)
    sheets = {
        "samples.png": draw_samples(dataset, settings.seed[0]),
        f"augmentation-{settings.augmentation}.png": draw_augmentation(dataset, settings),
    }
    for name, sheet in sheets.items():
        Image.fromarray(sheet).save(out / name)
        say(f"Look at {out / name}")
    modalities = choose_modalities(dataset, settings)
    usable = dataset.complete_in(modalities)
    cache = Path(settings.cache) if settings.cache else None
    options = ["--subject-pattern", settings.subject_pattern] if settings.subject_pattern else []
    if settings.modalities != Settings().modalities:
        options += ["--modalities", ",".join(settings.modalities)]
    with StudyProgress() as progress:
        split = _find_split(usable, settings) if usable.samples else None
        audit = inspect_twins(
            dataset,
            split,
            out,
            modalities=modalities,
            advance=progress.look,
            cache=cache,
            cache_limit_gb=settings.cache_limit,
            options=options,
        )
    if not usable.samples:
        missing = _say_what_is_missing(dataset, modalities)
        if repair:
            raise DataError(f"No split can be written. {missing}")
        say(f"\n{missing}", colour="yellow")
        return
    if repair:
        write_repair(usable, audit, settings.seed[0], repair)
    elif split is not None and find_leaks(audit.links, split, usable).leaks:
        repairing = ("ferfusion", "inspect", str(data), *options, "--repair", "clean-split.csv")
        say("\nNext, for a split in which no leak is found: " + shlex.join(repairing))
        return
    if repair or settings.split_file:
        options += ["--split-file", str(repair or settings.split_file)]
    say("\nNext: " + shlex.join(("ferfusion", "study", str(data), *options, "--out", "DIR")))


def _say_what_is_missing(dataset: Dataset, modalities: tuple[Modality, ...]) -> str:
    """Says why no study can be made of data in which no sample is complete."""
    counts = {m: sum(m in sample.images for sample in dataset.samples) for m in modalities}
    there = ", ".join(f"{n} have {m}" for m, n in counts.items())
    most = max(counts, key=lambda m: counts[m])
    return (
        f"Nothing to study yet: no sample has all of {', '.join(modalities)}. Of "
        f"{len(dataset.samples)} samples {there}. Give the pictures of one moment the same name "
        "in each modality, or list them in one row of a CSV table; or study one kind alone with "
        f"--modalities {most}."
    )


def _find_split(dataset: Dataset, settings: Settings) -> Split | None:
    """Reads the split file, or draws the split that a study would draw, if it can be drawn."""
    if settings.split_file:
        split = read_split(Path(settings.split_file))
        check_split(split, dataset)
        return split
    by_subject = settings.split == "subject" or (settings.split == "auto" and dataset.has_subjects)
    try:
        return (draw_subject_split if by_subject else draw_paper_split)(dataset, settings.seed[0])
    except SplitError as error:
        say(f"A study could draw no split: {error}", colour="yellow")
        return None


def _look_at_pictures(
    dataset: Dataset, console: Console
) -> tuple[Counter[tuple[str, tuple[int, int]]], list[str]]:
    from rich.progress import track

    files = [(m, file) for s in dataset.samples for m, file in s.images.items()]
    sizes: Counter[tuple[str, tuple[int, int]]] = Counter()
    broken: list[str] = []
    for modality, file in track(
        files, "opening every picture", console=console, disable=not console.is_terminal
    ):
        try:
            height, width, _ = read_picture(file).shape
        except DataError as error:
            broken.append(str(error))
        else:
            sizes[str(modality), (width, height)] += 1
    return sizes, broken


def _print_sizes(sizes: Counter[tuple[str, tuple[int, int]]], console: Console) -> None:
    for modality in (str(m) for m in MODALITIES):
        found = [(size, n) for (m, size), n in sizes.most_common() if m == modality]
        shown = ", ".join(f"{w}x{h} ({n})" for (w, h), n in found[:4])
        more = f" and {len(found) - 4} other sizes" if len(found) > 4 else ""
        if found:
            console.print(f"{modality}: {shown}{more}")


def draw_samples(dataset: Dataset, seed: int) -> np.ndarray:
    """Draws two samples of every class in every modality, drawn from the seed."""
    rng = np.random.default_rng(seed)
    rows, titles = [], []
    for label in dataset.labels:
        samples = [s for s in dataset.samples if s.expression == label]
        for index in sorted(rng.permutation(len(samples))[:2]):
            sample = samples[index]
            rows.append(
                [read_picture(sample.images[m]) if m in sample.images else None for m in MODALITIES]
            )
            titles.append(f"{label}: {sample.id}")
    return draw_contact_sheet(rows, titles, [str(m) for m in MODALITIES])


def draw_augmentation(dataset: Dataset, settings: Settings) -> np.ndarray:
    """Draws what training makes of one sample: of 40 the one with the brightest pictures."""
    sample, pictures = _find_bright(dataset, settings)
    return draw_augmentation_sheet(
        pictures,
        sample.id,
        settings.augmentation,  # pyright: ignore[reportArgumentType]
        settings.seed[0],
    )


def _find_bright(dataset: Dataset, settings: Settings) -> tuple[Sample, dict[Modality, np.ndarray]]:
    order = np.random.default_rng(settings.seed[0]).permutation(len(dataset.samples))[:40]
    best: tuple[float, Sample, dict[Modality, np.ndarray]] | None = None
    for index in order:
        sample = dataset.samples[index]
        pictures = {
            m: resize(read_picture(file), settings.size) for m, file in sample.images.items()
        }
        light = float(np.mean(next(iter(pictures.values()))))
        if best is None or light > best[0]:
            best = (light, sample, pictures)
    if best is None:
        raise DataError(f"{dataset.root} has no sample to draw.")
    return best[1], best[2]
