"""A face as numbers without a network: statistics of its regions, and directions of its edges.

Regions lie at fixed places of the picture. That is right for pictures cut to the face, roughly
right for portraits, and wrong where the face is small or off the middle.
"""

from itertools import combinations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIDE_PX = 64
"""Pictures are brought to this size first, so that features don't depend on a study's size."""

REGIONS: dict[str, tuple[float, float, float, float]] = {
    "forehead": (0.08, 0.30, 0.25, 0.75),
    "left eye": (0.30, 0.46, 0.15, 0.48),
    "right eye": (0.30, 0.46, 0.52, 0.85),
    "nose": (0.40, 0.66, 0.38, 0.62),
    "left cheek": (0.48, 0.72, 0.12, 0.38),
    "right cheek": (0.48, 0.72, 0.62, 0.88),
    "mouth": (0.66, 0.84, 0.28, 0.72),
    "chin": (0.84, 0.98, 0.30, 0.70),
}
"""Top, bottom, left and right as parts of the picture; left as the viewer sees it."""

STATISTICS = ("mean", "deviation", "least", "greatest", "median", "horizontal", "vertical")
"""Per region; the last two are the mean size of the step from a pixel to its neighbour."""

_CELLS, _BINS = 8, 9


def measure_regions(
    pictures: UInt8[np.ndarray, "samples height width 3"],
) -> Float[np.ndarray, "samples features"]:
    """Measures brightness in regions of the face, for infrared pictures.

    Brightness stands for temperature. That holds for palettes that get brighter all the way (iron,
    grey), and not for a rainbow. It is first brought to mean 0 and deviation 1 in each picture,
    because cameras fit their span to the scene, and people differ more than expressions do.

    Returns:
        `STATISTICS` of each of `REGIONS`, region after region; then the difference of means of
        every pair of regions.

    Source:
        After Wang, He, Wu, He and Ji 2014 (Frontiers of Computer Science 8:232-242), who take
        statistics of temperature in facial regions.

    Deviation:
        They find landmarks of the face; here the places are fixed. Which statistics they take is
        not known to us, so these are our choice.
    """
    grey = _to_grey(pictures)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    grey /= np.maximum(grey.std(axis=(1, 2), keepdims=True), 1e-6)
    measured: list[np.ndarray] = []
    for sides in REGIONS.values():
        top, bottom, left, right = (round(part * SIDE_PX) for part in sides)
        region = grey[:, top:bottom, left:right]
        measured += [
            region.mean(axis=(1, 2)),
            region.std(axis=(1, 2)),
            region.min(axis=(1, 2)),
            region.max(axis=(1, 2)),
            np.median(region, axis=(1, 2)),
            np.abs(np.diff(region, axis=2)).mean(axis=(1, 2)),
            np.abs(np.diff(region, axis=1)).mean(axis=(1, 2)),
        ]
    means = measured[:: len(STATISTICS)]
    differences = [one - other for one, other in combinations(means, 2)]
    return np.stack([*measured, *differences], axis=1)


def describe_edges(
    pictures: UInt8[np.ndarray, "samples height width 3"],
) -> Float[np.ndarray, "samples features"]:
    """Describes appearance by histograms of oriented gradients, for visible pictures.

    Returns:
        7 x 7 blocks of 2 x 2 cells of 8 x 8 pixels, with 9 directions a cell; each block has
        length 1, which takes most of the light out.

    Source:
        Dalal and Triggs 2005, "Histograms of oriented gradients for human detection".

    Deviation:
        Wang et al. 2014 use an active appearance model and the movement of the head. That needs
        landmarks and films; this needs neither.
    """
    down, right = np.gradient(_to_grey(pictures), axis=(1, 2))
    strength = np.hypot(down, right)
    # A direction's place among the bins; each vote is shared by the two nearest ones.
    place = np.arctan2(down, right) % np.pi * (_BINS / np.pi) - 0.5
    lower = np.floor(place)
    share = place - lower
    n, cell = len(pictures), SIDE_PX // _CELLS
    histograms = np.empty((n, _CELLS, _CELLS, _BINS), dtype=np.float32)
    for index in range(_BINS):
        votes = (lower % _BINS == index) * (1 - share) + ((lower + 1) % _BINS == index) * share
        cells = (votes * strength).reshape(n, _CELLS, cell, _CELLS, cell)
        histograms[..., index] = cells.sum(axis=(2, 4))
    blocks = np.concatenate(
        [
            histograms[:, dy : _CELLS - 1 + dy, dx : _CELLS - 1 + dx]
            for dy in (0, 1)
            for dx in (0, 1)
        ],
        axis=-1,
    )
    # One grey level's worth of edges keeps even areas near 0 instead of amplifying their noise.
    blocks /= np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + cell**2)
    return blocks.reshape(n, -1)


def _to_grey(
    pictures: UInt8[np.ndarray, "samples height width 3"],
) -> Float[np.ndarray, "samples side side"]:
    grey = np.empty((len(pictures), SIDE_PX, SIDE_PX), dtype=np.float32)
    for place, picture in enumerate(pictures):
        shrinks = min(picture.shape[:2]) >= SIDE_PX
        small = cv2.resize(
            np.ascontiguousarray(picture),
            (SIDE_PX, SIDE_PX),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        grey[place] = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return grey
