"""What all parts of the benchmarks work on: data, split, first weights, sizes."""

import csv
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from ferfusion.atomic import replacing
from ferfusion.data.dataset import Dataset
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import draw_paper_split, draw_subject_split, write_split
from ferfusion.data.synthetic import draw_sample
from ferfusion.errors import DataError
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.drawn.light import LIGHTS
from ferfusion.modality import MODALITIES
from ferfusion.models.backbones import build_trunk, find_backbone

VIRI_COUNTS = {"angry": 111, "happy": 114, "neutral": 114, "sad": 114, "surprised": 113}
"""VIRI's 566 samples, class by class (Naseem et al. 2024, Table 1)."""


@dataclass(frozen=True)
class Setting:
    """What both sides of a work are given, so that they do the same.

    Attributes:
        data: CSV of all samples, as both sides read it.
        split: CSV that says which sample is in which part.
        small_data: A part of the samples, for the comparison of 12 models.
        small_split: Its split.
        weights: First weights of every trunk.
        backbone: Of every trunk.
        size_px: Side of the pictures.
        batch: Samples a training step.
        comparison_epochs: Of every model of the comparison.
        workers: Of the plain script's DataLoader: the best of 0, 1 and 2.
        grid_samples: Whose mixtures the late-fusion grid scores.
        forward_samples: On how many the plain side of the grid is timed, before it is scaled up.
        repeats: How often short things are done within a round; their median counts.
        warm_up_s: For how long one triple is asked about before it counts, on both sides: a new
            process's threads may share one core until the system has spread them.
        folder_samples: Triples that inference reads from a folder.
        scratch: A folder for what parts write.
    """

    data: Path
    split: Path
    small_data: Path
    small_split: Path
    weights: Path
    backbone: str
    size_px: int
    batch: int
    comparison_epochs: int
    workers: int
    grid_samples: int
    forward_samples: int
    repeats: int
    warm_up_s: float
    folder_samples: int
    scratch: Path


def draw_faces(folder: Path, counts: dict[str, int], size_px: int, context: BaseContext) -> Path:
    """Draws faces in three modalities as JPEG files; gives the CSV that lists them.

    Subject n shows each expression once, as long as its count lasts.
    """
    table = folder / "data.csv"
    if table.exists():
        return table
    todo = [
        (folder, subject, number, label, size_px)
        for number, (label, count) in enumerate(counts.items())
        for subject in range(count)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(mp_context=context) as pool:
        rows = list(pool.map(_draw_triple, todo, chunksize=8))
    _write_rows(table, rows)
    return table


def _draw_triple(job: tuple[Path, int, int, str, int]) -> dict[str, str]:
    folder, subject, number, label, size_px = job
    cv2.setNumThreads(1)
    seed = subject * 100 + number
    drawn = draw_sample(
        draw_identity(subject),
        label,
        light=LIGHTS[seed % len(LIGHTS)],
        intensity=float(np.random.default_rng(seed).uniform(0.6, 1.1)),
        seed=seed,
        size_px=size_px,
    )
    stem = f"{label}_{subject:03d}"
    row = {"sample_id": f"{label}/{stem}", "subject": f"drawn{subject:03d}", "expression": label}
    for modality in MODALITIES:
        pixels = getattr(drawn, str(modality))
        name = f"{modality}/{stem}.jpg"
        (folder / str(modality)).mkdir(exist_ok=True)
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        (folder / name).write_bytes(encoded.tobytes())
        row[str(modality)] = name
    return row


def _write_rows(table: Path, rows: Sequence[dict[str, str]]) -> None:
    with replacing(table) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_part(dataset: Dataset, folder: Path, at_least: int | None = None) -> tuple[Path, Path]:
    """Writes a data set, or its first people, as a CSV and its split, for both sides to read.

    Args:
        dataset: Complete in all modalities.
        folder: Where to.
        at_least: How many samples are enough; None takes all.
    """
    samples = sorted(dataset.samples, key=lambda s: (s.subject or "", s.id))
    if at_least is not None and at_least < len(samples):
        last = samples[at_least - 1].subject
        samples = [
            s for n, s in enumerate(samples) if n < at_least or s.subject == last is not None
        ]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"sample_id": s.id, "subject": s.subject or "", "expression": s.expression}
        | {str(m): str(s.images[m].path.resolve()) for m in MODALITIES}
        for s in samples
    ]
    _write_rows(folder / "data.csv", rows)
    chosen = replace(dataset, samples=tuple(sorted(samples, key=lambda s: s.id)))
    knows_people = all(s.subject is not None for s in samples)
    split = (draw_subject_split if knows_people else draw_paper_split)(chosen, 0)
    write_split(split, folder / "split.csv")
    return folder / "data.csv", folder / "split.csv"


def open_complete(path: Path) -> Dataset:
    """Opens a data set and keeps the samples that have all three modalities, as plain files.

    Raises:
        DataError: Pictures lie in archives, which the plain script doesn't read.
    """
    dataset = open_dataset(path).complete_in(MODALITIES)
    if any(image.member is not None for s in dataset.samples for image in s.images.values()):
        raise DataError(f"Pictures of {path} lie in archives. Unpack them first.")
    return dataset


def check_weights(backbone: str, path: Path) -> None:
    """Makes sure that a file of weights fits a backbone.

    Raises:
        WeightsError: It doesn't.
    """
    build_trunk(find_backbone(backbone), str(path))


def write_weights(backbone: str, path: Path) -> Path:
    """Writes random weights of a trunk, where no trained ones are given: times don't differ."""
    if not path.exists():
        torch.manual_seed(0)
        state = find_backbone(backbone).build().state_dict()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            save_file({name: t.contiguous() for name, t in state.items()}, part)
    return path
