"""Which MSX picture was made of which visible or infrared one, told by the structure they share.

An MSX picture is an infrared picture with the outlines of the visible one laid over it. So its
finest structures agree with those of both. Visible and infrared pictures of one moment share none
that can be relied on, and are not compared.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.imaging.similarity import flatten_light

_SIDE_PX = 64
_MARGIN = 0.10  # by which the nearest must agree better than the next nearest


def find_partners(
    first: Sequence[UInt8[np.ndarray, "size size 3"]],
    second: Sequence[UInt8[np.ndarray, "size size 3"]],
    least: float,
) -> list[tuple[int, int, float]]:
    """Finds pictures of two modalities that are each other's nearest by a clear margin.

    They must lie pixel on pixel, as a camera writes them: turned or zoomed ones are not found.

    Args:
        first: Pictures of one modality.
        second: Of the other.
        least: The correlation that a pair must have.

    Returns:
        Row in the first, row in the second, and their correlation.
    """
    if not len(first) or not len(second):
        return []
    table = np.stack([_trace(p) for p in first]) @ np.stack([_trace(p) for p in second]).T
    found = []
    for row, column in enumerate(table.argmax(axis=1)):
        best = table[row, column]
        rivals = np.append(np.delete(table[row], column), np.delete(table[:, column], row))
        if best >= least and (not len(rivals) or best >= rivals.max() + _MARGIN):
            found.append((row, int(column), float(best)))
    return found


def _trace(picture: UInt8[np.ndarray, "size size 3"]) -> Float[np.ndarray, " pixels"]:
    """Gives the finest structures of a picture as a vector of length 1."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), 0.7)
    even = flatten_light(smooth, np.ones_like(smooth), 1.5)
    vector = cv2.resize(even, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).ravel()
    vector = vector - vector.mean()
    return vector / (np.linalg.norm(vector) + 1e-6)
