"""What a reader understood of data, printed: classes, modalities, subjects, what is left over."""

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ferfusion.atomic import write_text
from ferfusion.data.dataset import Dataset
from ferfusion.expression import find_misspelt
from ferfusion.modality import MODALITIES
from ferfusion.sample import Sample

SHOWN_PROBLEMS = 20


def print_reading(dataset: Dataset, console: Console) -> None:
    """Prints who read it and how, and a table of classes, modalities and subjects."""
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
            "--subject-pattern. To guess who is who: ferfusion subjects.[/yellow]"
        )


def list_problems(dataset: Dataset) -> list[tuple[str, str]]:
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


def print_problems(problems: list[tuple[str, str]], out: Path, console: Console) -> None:
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
