"""`ferfusion inspect`: what is understood of a folder or table, before anything is trained."""

import csv
import io
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from ferfusion.atomic import write_text
from ferfusion.cli.audit import inspect_twins, write_repair
from ferfusion.cli.progress import StudyProgress
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
from ferfusion.errors import BrokenFilesError, ConfigError, DataError, ImageError, SplitError
from ferfusion.expression import find_misspelt
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.files import read_image
from ferfusion.modality import MODALITIES, Modality
from ferfusion.sample import Sample

SHOWN_PROBLEMS = 20


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
    _print_reading(dataset, console)
    _print_problems(_list_problems(dataset), out, console)
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


def _print_reading(dataset: Dataset, console: Console) -> None:
    console.print(f"[bold]{dataset.root}[/bold]: {dataset.reader}. {dataset.pairing}")
    table = Table("class", "samples", *(str(m) for m in MODALITIES), "subjects")
    for label in dataset.labels:
        samples = [s for s in dataset.samples if s.expression == label]
        table.add_row(*_count(label, samples))
    table.add_section()
    table.add_row(*_count("all", dataset.samples))
    console.print(table)
    per_subject = Counter(s.subject for s in dataset.samples if s.subject is not None)
    for name, meant in find_misspelt(dataset.labels).items():
        console.print(
            f"[yellow]The class {name} is taken as it is written. Is {meant} meant?[/yellow]"
        )
    unnamed = len(dataset.samples) - per_subject.total()
    if per_subject:
        counts = sorted(per_subject.values())
        console.print(
            f"{len(counts)} subjects, from {dataset.subjects_from}; samples each: least "
            f"{counts[0]}, median {np.median(counts):g}, most {counts[-1]}."
        )
    if unnamed:
        who = (
            f"{unnamed} of {len(dataset.samples)} samples don't say whom they show"
            if per_subject
            else "No sample says whom it shows"
        )
        console.print(
            f"[yellow]{who}. Until all do, the same face may be trained on and "
            "tested: add subjects.csv (stem, subject) beside the data, or "
            "--subject-pattern.[/yellow]"
        )


def _list_problems(dataset: Dataset) -> list[tuple[str, str]]:
    """Lists what is in no sample, and which samples lack a modality."""
    problems = [(str(leftover.file), leftover.why) for leftover in dataset.leftovers]
    for sample in dataset.samples:
        lacking = [m for m in dataset.modalities if m not in sample.images]
        if lacking:
            there = ", ".join(str(file) for file in sample.images.values())
            problems.append(
                (there, f"sample {sample.id} has no {' and no '.join(lacking)} picture")
            )
    return problems


def _print_problems(problems: list[tuple[str, str]], out: Path, console: Console) -> None:
    """Prints the first problems and writes all of them to a file."""
    if not problems:
        console.print("Nothing is left over or without a partner.")
        return
    console.print(f"[yellow]Left over or without a partner: {len(problems)}[/yellow]")
    for where, why in problems[:SHOWN_PROBLEMS]:
        console.print(f"  {where}: {why}")
    if len(problems) > SHOWN_PROBLEMS:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("file", "why"), *problems])
        write_text(out / "unpaired.csv", text.getvalue())
        console.print(
            f"  and {len(problems) - SHOWN_PROBLEMS} more: all are in {out / 'unpaired.csv'}"
        )


def _count(name: str, samples: tuple[Sample, ...] | list[Sample]) -> list[str]:
    seen = [sum(m in s.images for s in samples) for m in MODALITIES]
    subjects = {s.subject for s in samples if s.subject is not None}
    return [name, str(len(samples)), *(str(n) for n in seen), str(len(subjects) or "")]


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
            height, width, _ = read_image(file).shape
        except ImageError as error:
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
                [read_image(sample.images[m]) if m in sample.images else None for m in MODALITIES]
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
        pictures = {m: resize(read_image(file), settings.size) for m, file in sample.images.items()}
        light = float(np.mean(next(iter(pictures.values()))))
        if best is None or light > best[0]:
            best = (light, sample, pictures)
    if best is None:
        raise DataError(f"{dataset.root} has no sample to draw.")
    return best[1], best[2]
