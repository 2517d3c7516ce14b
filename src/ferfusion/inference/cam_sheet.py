"""A sheet of heat maps: some samples, and what several models saw in their pictures.

Source:
    Naseem et al. 2024, Fig. 13: the visible model, the infrared model and the fused one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from ferfusion.data.cache import resize
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import number_subjects
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.heat_overlay import STRIP_PX, overlay_heat, write_below
from ferfusion.inference.cam import explain_samples
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.checkpoint import Checkpoint

CELL_PX = 162


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture, what is said of it, and whether what it explains is a wrong answer."""

    picture: UInt8[np.ndarray, "size size 3"]
    words: str = ""
    is_wrong: bool = False


@dataclass(frozen=True)
class Column:
    """What one model saw in one modality, or its pictures as they are; a cell per sample."""

    title: str
    modality: Modality
    cells: tuple[Cell, ...]


def choose_samples(
    predictions: Predictions, *, with_worst_error: bool = True, count: int | None = None
) -> tuple[str, ...]:
    """Chooses samples to show: of each class the one that was recognised most surely.

    Nothing is drawn at random: the same predictions give the same samples.

    Args:
        predictions: Of test samples, by the model that the sheet is about.
        with_worst_error: Adds the wrong answer that was given most surely, if there is one.
        count: How many; more are taken in further rounds, of the next sure ones. None is one round.

    Returns:
        Ids, in each round classes in order. Of a class that was never recognised, the sample whose
        true class got the highest probability; classes without samples are left out. Among
        equals the first.
    """
    rows = np.arange(len(predictions))
    of_truth = predictions.probs[rows, predictions.labels] + predictions.correct
    queues = [
        sorted(rows[predictions.labels == label], key=lambda row: -of_truth[row])
        for label in range(len(predictions.classes))
    ]
    if with_worst_error:
        highest = predictions.probs.max(axis=1)
        queues.append(sorted(rows[~predictions.correct], key=lambda row: -highest[row]))
    rounds = max(map(len, queues)) if count is not None else 1
    in_turn = [queue[turn] for turn in range(rounds) for queue in queues if turn < len(queue)]
    chosen = list(dict.fromkeys(in_turn))[:count]
    return tuple(predictions.sample_ids[row] for row in chosen)


def spread_over_classes(
    labels: Int[np.ndarray, " samples"],
    count: int,
    subjects: Sequence[str | None] | None = None,
    seed: int = 0,
) -> Int[np.ndarray, " chosen"]:
    """Draws rows at random, as many of each class as of every other while there are any.

    Args:
        labels: Class of each row.
        count: How many rows; all where there are no more.
        subjects: Whom each row shows: of a class, the next row is of somebody who has the fewest
            so far. None, for all or for one, is somebody of its own.
        seed: Of the draw.

    Returns:
        Rows in their order.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    people = number_subjects(subjects or (None,) * len(labels), len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    queues = [order[labels[order] == label] for label in dict.fromkeys(labels[order].tolist())]
    times = np.zeros(people.max(initial=-1) + 1, np.int64)
    chosen: list[int] = []
    while len(chosen) < count:
        for place, queue in enumerate(queues):
            if not len(queue) or len(chosen) == count:
                continue
            first = int(times[people[queue]].argmin())
            chosen.append(int(queue[first]))
            times[people[queue[first]]] += 1
            queues[place] = np.delete(queue, first)
    return np.sort(chosen)


def lay_maps(
    models: Mapping[str, Checkpoint],
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]],
    labels: Sequence[str],
    *,
    method: str = "gradcam",
    explained: str | None = None,
    device: torch.device | None = None,
    side_px: int = CELL_PX,
) -> list[Column]:
    """Gives, for each modality, its pictures and what each model saw in them.

    Each model's own answer is explained and said with its probability, or the class that is asked
    for. The maps of one model and sample share one scale, so a modality that added little
    to the answer stays pale; where nothing spoke for the answer, it says "no heat".

    Args:
        models: Short names for titles, and models that take some of the modalities.
        pictures: Of any size; each model gets them at its own.
        labels: The true class of each sample.
        method: See `explain_samples`.
        explained: A class that all models know; None is each model's own answer.
        device: Where to run; None is the CPU.
        side_px: Of the pictures that come out.

    Raises:
        ConfigError: As `explain_samples`.
    """
    shown = {m: [resize(p, side_px) for p in pictures[m]] for m in MODALITIES if m in pictures}
    columns = {m: [Column(str(m), m, tuple(Cell(p) for p in shown[m]))] for m in shown}
    for name, checkpoint in models.items():
        modalities, size_px = checkpoint.blueprint.modalities, checkpoint.preprocessing.size_px
        known = checkpoint.blueprint.labels
        sized = {m: np.stack([resize(p, size_px) for p in pictures[m]]) for m in modalities}
        wanted = None if explained is None else np.full(len(labels), known.index(explained))
        found = explain_samples(checkpoint, sized, classes=wanted, method=method, device=device)
        answers = [known[place] for place in found.explained]
        probs = np.take_along_axis(found.probs, found.explained[:, None], axis=1)[:, 0]
        for modality in modalities:
            cells: list[Cell] = []
            for row, (picture, heat) in enumerate(
                zip(shown[modality], found.maps[modality], strict=True)
            ):
                words = f"{answers[row]} {100 * probs[row]:.0f} %"
                # A map may be empty: nothing in this picture spoke for the answer.
                words += "" if heat.any() else ", no heat"
                laid = overlay_heat(picture, _enlarge(heat, side_px))
                cells.append(Cell(laid, words, answers[row] != labels[row]))
            columns[modality].append(Column(name, modality, tuple(cells)))
    return [column for of_modality in columns.values() for column in of_modality]


def draw_activation_sheet(
    models: Mapping[str, Checkpoint],
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]],
    labels: Sequence[str],
    *,
    method: str = "gradcam",
    device: torch.device | None = None,
    cell_px: int = CELL_PX,
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Draws what `lay_maps` gives: samples as rows, and what each model said below its maps.

    What is a wrong answer is orange.

    Args:
        models: As `lay_maps`; also the rest.
        pictures: Of any size.
        labels: The true class of each sample.
        method: See `explain_samples`.
        device: Where to run; None is the CPU.
        cell_px: Side of a cell.

    Raises:
        ConfigError: As `explain_samples`.
    """
    side_px = cell_px - STRIP_PX
    columns = lay_maps(models, pictures, labels, method=method, device=device, side_px=side_px)
    return draw_columns(columns, labels)


def draw_columns(
    columns: Sequence[Column], titles: Sequence[str]
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Lays columns out as one sheet, with a title on each row."""
    return draw_contact_sheet(
        [
            [
                write_below(cell.picture, cell.words, is_warning=cell.is_wrong)
                for cell in (column.cells[row] for column in columns)
            ]
            for row in range(len(titles))
        ],
        list(titles),
        [column.title for column in columns],
        cell_px=columns[0].cells[0].picture.shape[0] + STRIP_PX,
    )


def _enlarge(heat: Float[np.ndarray, "size size"], cell_px: int) -> Float[np.ndarray, "cell cell"]:
    return cv2.resize(heat, (cell_px, cell_px), interpolation=cv2.INTER_LINEAR).clip(0, 1)
