"""A rough motion made exact: the edges' agreement climbed to its top."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float

from ferfusion.imaging.registration.edges import EdgeField, fade_border, move_edges
from ferfusion.imaging.registration.motion import Motion

MotionKind = Literal["translation", "similarity", "affine"]

_FREE = {"translation": 2, "similarity": 4, "affine": 6}
_STEPS = 12
_LONGEST_STEP_PX = 4.0
_BLOCK_PX = 32


@dataclass(frozen=True)
class Refined:
    """An exact motion.

    Attributes:
        motion: In pixels of the pictures that were given.
        agreement: Of the edges there: 1 is fully, 0 not at all.
        expected_error_px: How far off points in the middle may be, by how well the parts of the
            picture agree with each other about the motion. It knows nothing of other tops.
    """

    motion: Motion
    agreement: float
    expected_error_px: float


def refine_motion(
    visible: EdgeField, infrared: EdgeField, start: Motion, kind: MotionKind
) -> Refined:
    """Climbs from a motion that is about right to the nearest top of the edges' agreement.

    Args:
        visible: Edges of the visible picture.
        infrared: Edges of the infrared picture in the same size, before any motion.
        start: Nearer than the edges are wide.
        kind: What may change: the shift alone; turn and scale, too; or all of an affine motion.

    Source:
        The enhanced correlation coefficient of Evangelidis and Psarakis 2008 (PAMI 30), here with
        two channels and for similarities, which OpenCV's does not offer.
    """
    height, width = visible.shape[:2]
    weight = fade_border(height, width)[:, :, np.newaxis]
    wanted = visible * weight
    norm = np.sqrt((wanted * visible).sum())
    matrix = start.matrix(width, height)
    best = (-np.inf, matrix)
    for _ in range(_STEPS):
        moved = move_edges(infrared, matrix)
        agreement = float(
            (wanted * moved).sum() / (norm * np.sqrt((weight * moved**2).sum()) + 1e-9)
        )
        if agreement > best[0]:
            best = (agreement, matrix)
        elif agreement < best[0] - 1e-3:
            break
        step = _solve(visible, moved, weight, _FREE[kind]).step
        longest = np.abs(step).max()
        if longest < 0.01:
            break
        step = step * min(1.0, _LONGEST_STEP_PX / longest)
        matrix = (np.vstack((matrix, (0, 0, 1))) @ _as_motion(step, width, height))[:2]
        if not 0.2 < np.linalg.det(matrix[:, :2]) < 5:
            break
    agreement, matrix = best
    if agreement <= 0:
        # Nothing agrees, as where a picture has no edges: then nothing is known of the motion.
        return Refined(Motion.from_matrix(matrix, width, height), 0.0, np.inf)
    error = _solve(visible, move_edges(infrared, matrix), weight, _FREE[kind]).estimate_error()
    return Refined(Motion.from_matrix(matrix, width, height), agreement, error)


@dataclass(frozen=True, eq=False)
class _Solution:
    """The least squares behind one step.

    Attributes:
        columns: The moved edges, and how they change with each free part of the motion.
        target: The visible edges.
        weight: Of each pixel.
        normal: The products of the columns.
        answer: How much of each column the target has.
    """

    columns: Float[np.ndarray, "parts height width 2"]
    target: EdgeField
    weight: Float[np.ndarray, "height width 1"]
    normal: Float[np.ndarray, "parts parts"]
    answer: Float[np.ndarray, " parts"]

    @property
    def gain(self) -> float:
        """How strong visible edges are against infrared ones."""
        return max(float(self.answer[0]), 1e-3)

    @property
    def step(self) -> Float[np.ndarray, " free"]:
        """What brings the moved edges nearest to the visible ones, in pixels."""
        return self.answer[1:] / self.gain

    def estimate_error(self) -> float:
        """Gives how far points may be off, on average over the middle two thirds.

        The sandwich estimate of White 1980, with blocks of the picture as independent witnesses.
        """
        height, width = self.target.shape[:2]
        fitted = np.tensordot(self.answer.astype(np.float32), self.columns, axes=1)
        scores = (self.columns * (self.weight * (self.target - fitted))).sum(axis=-1)
        rows, columns = range(0, height, _BLOCK_PX), range(0, width, _BLOCK_PX)
        blocks = np.add.reduceat(np.add.reduceat(scores, rows, axis=1), columns, axis=2)
        blocks = blocks.reshape(len(self.columns), -1).astype(np.float64)
        inverse = np.linalg.inv(self.normal)
        spread = (inverse @ (blocks @ blocks.T) @ inverse)[1:, 1:] / self.gain**2
        # Of the middle, where x and y reach two thirds: E[x^2] = 4 / 27.
        share = np.array([1, 1, 8 / 27, 8 / 27, 8 / 27, 8 / 27])[: len(spread)]
        return float(np.sqrt((np.diag(spread) * share).sum()))


def _solve(
    visible: EdgeField, moved: EdgeField, weight: Float[np.ndarray, "height width 1"], free: int
) -> _Solution:
    """Fits the visible edges by the moved ones and their changes."""
    height, width = visible.shape[:2]
    across = cv2.Sobel(moved, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(moved, cv2.CV_32F, 0, 1, scale=1 / 8)
    x, y = _unit_grid(height, width)
    parts = [moved, across, down]
    if free > 2:
        parts += [across * x + down * y, down * x - across * y]
    if free > 4:
        parts += [across * x - down * y, across * y + down * x]
    columns = np.stack(parts)
    weighed = (columns * weight).reshape(free + 1, -1)
    normal = (weighed @ columns.reshape(free + 1, -1).T).astype(np.float64)
    normal += 1e-6 * np.eye(free + 1)
    answer = np.linalg.solve(normal, (weighed @ visible.reshape(-1)).astype(np.float64))
    return _Solution(columns, visible, weight, normal, answer)


def _unit_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives x and y from the centre, in halves of the longer side."""
    half = (max(height, width) - 1) / 2
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / half
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / half
    return np.broadcast_to(x[:, np.newaxis], (height, width, 1)), y[:, np.newaxis, np.newaxis]


def _as_motion(
    step: Float[np.ndarray, " free"], width: int, height: int
) -> Float[np.ndarray, "3 3"]:
    """Makes the matrix of a step, whose turning parts are pixels at the edge of the picture."""
    dx, dy, grow, turn, stretch, shear = np.pad(step, (0, 6 - len(step)))
    half = (max(height, width) - 1) / 2
    linear = (
        np.eye(2)
        + np.array([[grow + stretch, shear - turn], [turn + shear, grow - stretch]]) / half
    )
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ centre + (dx, dy)
    return matrix
