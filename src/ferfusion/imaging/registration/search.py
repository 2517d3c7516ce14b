"""A rough motion, from nothing: every shift at once, for each turn and scale of a grid."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ferfusion.imaging.registration.edges import EdgeField, fade_border, move_edges
from ferfusion.imaging.registration.motion import Motion


@dataclass(frozen=True)
class Reach:
    """How far from where it is expected an infrared picture may lie.

    Attributes:
        shift: In parts of the picture's width.
        angle_deg: To either side.
        scale: In parts, up and down.
    """

    shift: float = 0.15
    angle_deg: float = 10.0
    scale: float = 0.15


@dataclass(frozen=True)
class Candidate:
    """A rough motion, and how well the edges agree there: 1 is fully, 0 not at all."""

    motion: Motion
    agreement: float


def search_motions(
    visible: EdgeField, infrared: EdgeField, start: Motion, reach: Reach, count: int
) -> list[Candidate]:
    """Gives the most promising motions, best first, of which none is a neighbour of another.

    Args:
        visible: Edges of a small visible picture.
        infrared: Edges of the infrared picture in the same size, before any motion.
        start: Where it is expected.
        reach: How far around.
        count: How many to give, at most.
    """
    height, width = visible.shape[:2]
    # Scene points next to each other in the grid must not drift apart by more than edges are wide.
    angles = start.angle_deg + _steps(reach.angle_deg, 3.5)
    scales = start.scale * (1 + _steps(reach.scale, 0.06))
    border = fade_border(height, width)[:, :, np.newaxis]
    shape = (2 * height, 2 * width)
    seen = visible * border
    spectrum = np.conj(np.fft.rfft2(seen, shape, axes=(0, 1)))
    down, across = round(reach.shift * width), round(reach.shift * width)
    rows, columns = np.arange(-down, down + 1), np.arange(-across, across + 1)
    found: list[Candidate] = []
    for angle in angles:
        for scale in scales:
            motion = Motion(float(scale), start.dx_px, start.dy_px, float(angle))
            matrix = motion.matrix(width, height)
            moved = move_edges(infrared, matrix) * border
            product = (spectrum * np.fft.rfft2(moved, shape, axes=(0, 1))).sum(axis=-1)
            agreement = np.fft.irfft2(product, shape)[np.ix_(rows, columns)]
            agreement /= np.sqrt((seen**2).sum() * (moved**2).sum()) + 1e-9
            for row, column in _find_peaks(agreement, count):
                # The shift was found after the turn was undone; the motion's comes after it.
                dx, dy = matrix[:, :2] @ (columns[column], rows[row])
                shifted = Motion(motion.scale, start.dx_px + dx, start.dy_px + dy, motion.angle_deg)
                found.append(Candidate(shifted, float(agreement[row, column])))
    found.sort(key=lambda candidate: -candidate.agreement)
    kept: list[Candidate] = []
    for candidate in found:
        apart = (candidate.motion.distance_px(k.motion, width, height) for k in kept)
        if all(distance > 0.06 * width for distance in apart):
            kept.append(candidate)
        if len(kept) == count:
            break
    return kept


def _steps(reach: float, step: float) -> Float[np.ndarray, " steps"]:
    count = int(np.ceil(reach / step))
    return np.linspace(-reach, reach, 2 * count + 1) if count else np.zeros(1)


def _find_peaks(surface: Float[np.ndarray, "rows columns"], count: int) -> list[tuple[int, int]]:
    """Gives the highest places, each far from the others."""
    rest = surface.copy()
    radius = max(2, round(0.2 * min(surface.shape)))
    peaks: list[tuple[int, int]] = []
    for _ in range(count):
        row, column = np.unravel_index(int(rest.argmax()), rest.shape)
        peaks.append((int(row), int(column)))
        rest[
            max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1
        ] = -np.inf
    return peaks
