"""What a model says when something is hidden from it: a modality, or a patch of a picture.

It only asks the model, so it works for every engine. Nothing here or below it needs torch.
"""

import time
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.inference.runner import Runner
from ferfusion.modality import Modality

GRID = 7
"""Patches in a row and in a column."""

_GREY = 0.5
"""What hides a picture whose training mean nobody knows."""

_MARGIN = 0.5
"""How far a patch reaches over its cell, in cells, so that patches overlap and maps are smooth."""
_BATCH = 14


def ask_without_each(
    runner: Runner,
    squares: Mapping[Modality, UInt8[np.ndarray, "size size 3"]],
) -> dict[Modality, Float[np.ndarray, " classes"]]:
    """Gives the probabilities with each modality hidden in turn, the others as they are.

    It is hidden by the mean of the training pictures, which is 0 to the network.

    Args:
        runner: The model.
        squares: What it looks at, at its size.
    """
    modalities = runner.facts.modalities
    batch = {m: np.repeat(squares[m][None], len(modalities), axis=0) for m in modalities}
    for row, modality in enumerate(modalities):
        batch[modality][row] = _find_colour(runner, modality)
    return dict(zip(modalities, runner.predict(batch), strict=True))


def map_influence(
    runner: Runner,
    squares: Mapping[Modality, UInt8[np.ndarray, "size size 3"]],
    row: int,
    *,
    seconds: float = 10.0,
) -> dict[Modality, Float[np.ndarray, "grid grid"]]:
    """Gives how much of a class's probability is lost when each patch of a picture is hidden.

    Below 0 where the class becomes more probable. All modalities have one scale.

    Args:
        runner: The model.
        squares: What it looks at, at its size.
        row: Which class, by its place in the labels.
        seconds: When to stop. A modality that isn't finished by then has no map.
    """
    ends = time.monotonic() + seconds
    modalities = runner.facts.modalities
    whole = float(runner.predict({m: squares[m][None] for m in modalities})[0][row])
    maps: dict[Modality, Float[np.ndarray, "grid grid"]] = {}
    for modality in modalities:
        colour = _find_colour(runner, modality)
        left: list[float] = []
        for patches in _list_batches(runner.facts.size_px):
            if time.monotonic() > ends:
                return maps
            batch = {m: np.repeat(squares[m][None], len(patches), axis=0) for m in modalities}
            for number, (rows, columns) in enumerate(patches):
                batch[modality][number, rows, columns] = colour
            left.extend(runner.predict(batch)[:, row])
        maps[modality] = whole - np.reshape(left, (GRID, GRID))
    return maps


def _find_colour(runner: Runner, modality: Modality) -> UInt8[np.ndarray, "3"]:
    mean = runner.facts.mean.get(modality, (_GREY,) * 3)
    return np.round(255 * np.array(mean)).astype(np.uint8)


def _list_patches(size_px: int) -> list[tuple[slice, slice]]:
    """Lists the patches row by row; they overlap."""
    margin = _MARGIN * size_px / GRID
    edges = np.linspace(0, size_px, GRID + 1)
    spans = [
        slice(max(0, round(low - margin)), min(size_px, round(high + margin)))
        for low, high in pairwise(edges)
    ]
    return [(rows, columns) for rows in spans for columns in spans]


def _list_batches(size_px: int) -> list[list[tuple[slice, slice]]]:
    patches = _list_patches(size_px)
    return [patches[start : start + _BATCH] for start in range(0, len(patches), _BATCH)]
