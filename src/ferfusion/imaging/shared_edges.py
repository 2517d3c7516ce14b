"""Which MSX picture was made of which visible or infrared one, told by the structure they share.

An MSX picture is an infrared picture with the outlines of the visible one laid over it. So its
finest structures agree with those of both. Visible and infrared pictures of one moment share none
that can be relied on, and are not compared.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.imaging.similarity import flatten_light

_SIDE_PX = 64
_MARGIN = 0.10  # by which the nearest must agree better than the next nearest
_BLOCK = 256


def find_partners(
    first: UInt8[np.ndarray, "first size size 3"],
    second: UInt8[np.ndarray, "second size size 3"],
    least: float,
) -> list[tuple[int, int, float]]:
    """Finds pictures of two modalities that are each other's nearest by a clear margin.

    They must lie pixel on pixel, as a camera writes them: turned or zoomed ones are not found.
    Memory grows with the number of pictures, not with that of pairs.

    Args:
        first: Pictures of one modality.
        second: Of the other.
        least: The correlation that a pair must have.

    Returns:
        Row in the first, row in the second, and their correlation; sorted.
    """
    if not len(first) or not len(second):
        return []
    theirs = np.stack([_trace(picture) for picture in second])
    # Each picture of the second, so far: its nearest, how near, and how near the next nearest.
    nearest = np.zeros(len(second), dtype=int)
    best, next_best = (np.full(len(second), -np.inf, dtype=np.float32) for _ in range(2))
    chosen: list[tuple[int, int, float]] = []
    for start in range(0, len(first), _BLOCK):
        ours = np.stack([_trace(picture) for picture in first[start : start + _BLOCK]])
        table = ours @ theirs.T
        rows = np.arange(len(table))
        columns = table.argmax(axis=1)
        values = table[rows, columns]

        tops = table.argmax(axis=0)
        highest = table[tops, np.arange(len(second))]
        two = np.partition(table, -2, axis=0)[-2] if len(table) > 1 else np.full_like(best, -np.inf)
        next_best = np.maximum(np.maximum(next_best, two), np.minimum(best, highest))
        nearest = np.where(highest > best, start + tops, nearest)
        best = np.maximum(best, highest)

        table[rows, columns] = -np.inf
        is_clear = (values >= least) & (values >= table.max(axis=1) + _MARGIN)
        chosen += [
            (start + int(r), int(columns[r]), float(values[r])) for r in np.flatnonzero(is_clear)
        ]
    return [
        (row, column, value)
        for row, column, value in chosen
        if nearest[column] == row and value >= next_best[column] + _MARGIN
    ]


def _trace(picture: UInt8[np.ndarray, "size size 3"]) -> Float[np.ndarray, " pixels"]:
    """Gives the finest structures of a picture as a vector of length 1."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), 0.7)
    even = flatten_light(smooth, np.ones_like(smooth), 1.5)
    vector = cv2.resize(even, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).ravel()
    vector = vector - vector.mean()
    return vector / (np.linalg.norm(vector) + 1e-6)
