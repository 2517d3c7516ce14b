"""How an infrared picture lies on a visible one: turned, scaled, shifted."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Num

from ferfusion.imaging.warping import warp


@dataclass(frozen=True)
class Motion:
    """How the infrared picture was moved against the visible one.

    The infrared picture is first thought of as wide as the visible one, centre on centre. Then a
    point of the scene that the visible picture shows at `p` is shown by the infrared one at

        centre + turn(angle) * scale * stretch * (p - centre) + (dx, dy)

    Undoing that lays the infrared picture on the visible one. A similarity has no stretch.

    Attributes:
        scale: Above 1 where things are larger in the infrared picture.
        dx_px: To the right, in pixels of the visible picture.
        dy_px: Downward.
        angle_deg: Clockwise, as the pictures are looked at.
        aspect: Of an affine motion: horizontal scale over vertical, 1 in a similarity.
        skew: Of an affine motion: how far a step down also goes to the right, 0 in a similarity.
    """

    scale: float = 1.0
    dx_px: float = 0.0
    dy_px: float = 0.0
    angle_deg: float = 0.0
    aspect: float = 1.0
    skew: float = 0.0

    def matrix(self, width: int, height: int) -> Float[np.ndarray, "2 3"]:
        """Gives the motion of points (x, y) in a visible picture of this size."""
        angle, root = math.radians(self.angle_deg), math.sqrt(self.aspect)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = turn @ (self.scale * np.array([[root, self.skew], [0.0, 1.0 / root]]))
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        shift = centre - linear @ centre + (self.dx_px, self.dy_px)
        return np.column_stack((linear, shift))

    @staticmethod
    def from_matrix(matrix: Float[np.ndarray, "2 3"], width: int, height: int) -> "Motion":
        """Reads the motion back from the matrix of one that doesn't mirror."""
        linear = np.asarray(matrix)[:, :2]
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        dx, dy = linear @ centre + matrix[:, 2] - centre
        scale = math.sqrt(np.linalg.det(linear))
        across = math.hypot(linear[0, 0], linear[1, 0])
        angle = math.atan2(linear[1, 0], linear[0, 0])
        return Motion(
            scale=scale,
            dx_px=float(dx),
            dy_px=float(dy),
            angle_deg=math.degrees(angle),
            aspect=(across / scale) ** 2,
            skew=float(linear[0, 1] * math.cos(angle) + linear[1, 1] * math.sin(angle)) / scale,
        )

    def scaled(self, factor: float) -> "Motion":
        """Gives the same motion for pictures that are `factor` times as large."""
        return replace(self, dx_px=self.dx_px * factor, dy_px=self.dy_px * factor)

    def distance_px(self, other: "Motion", width: int, height: int) -> float:
        """Gives how far apart two motions carry points, on average over the middle of a picture.

        The middle is the central two thirds of width and height, where a face is.
        """
        xs = np.linspace(width / 6, width * 5 / 6, 9)
        ys = np.linspace(height / 6, height * 5 / 6, 9)
        points = np.stack((*np.meshgrid(xs, ys), np.ones((9, 9))), axis=-1)
        apart = points @ (self.matrix(width, height) - other.matrix(width, height)).T
        return float(np.hypot(apart[..., 0], apart[..., 1]).mean())


def lay_on(
    infrared: Num[np.ndarray, "height width *channels"],
    motion: Motion,
    width: int,
    height: int,
    *,
    outside: float | tuple[float, float, float] | None = 0,
) -> Num[np.ndarray, "_ _ *channels"]:
    """Undoes the motion: gives the infrared picture as it lies on the visible one.

    Args:
        infrared: Of any size: colours, or temperatures as float32.
        motion: As `register` found it, in pixels of the visible picture.
        width: Of the visible picture; the answer has its size.
        height: Likewise.
        outside: What stands where the infrared picture doesn't reach. NaN is right for
            temperatures; None repeats the edge.
    """
    columns, rows = infrared.shape[1], infrared.shape[0]
    factor = columns / width
    # Centre on centre.
    onto = np.array(
        [
            [factor, 0, (columns - 1) / 2 - factor * (width - 1) / 2],
            [0, factor, (rows - 1) / 2 - factor * (height - 1) / 2],
            [0, 0, 1],
        ]
    )
    seen_at = onto @ np.vstack((motion.matrix(width, height), (0, 0, 1)))
    return warp(infrared, np.linalg.inv(seen_at)[:2], width, height, outside=outside)
