"""A square around a face, upright, cut alike out of every modality."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Num

from ferfusion.imaging.faces.detector import Face
from ferfusion.imaging.warping import warp

MARGIN = 0.25
"""Around the face's box on each side, in parts of its longer side: hair, ears and neck stay in."""

MOST_ROLL_DEG = 45.0
"""A face turned further is left as it is, unless its points lie as in a face."""

_MOST_OUTSIDE = 0.08


@dataclass(frozen=True)
class Crop:
    """A square in a picture, in its pixels.

    Attributes:
        x: Of the middle.
        y: Likewise.
        side: Of the square.
        roll_deg: How far the square is turned clockwise.
    """

    x: float
    y: float
    side: float
    roll_deg: float

    def matrix(self, size_px: int) -> Float[np.ndarray, "2 3"]:
        """Gives the motion of points of the picture into the square, `size_px` on a side."""
        factor, angle = size_px / self.side, math.radians(self.roll_deg)
        a, b = factor * math.cos(angle), factor * math.sin(angle)
        middle = (size_px - 1) / 2
        return np.array(
            [
                [a, b, middle - a * self.x - b * self.y],
                [-b, a, middle + b * self.x - a * self.y],
            ]
        )

    def share_outside(self, width: int, height: int) -> float:
        """Gives how much of the square lies outside a picture of this size."""
        places = (np.arange(20) + 0.5) / 20 - 0.5
        grid = np.stack((*np.meshgrid(places, places), np.ones((20, 20))), axis=-1)
        x, y = np.moveaxis(grid @ cv2.invertAffineTransform(self.matrix(1)).T, -1, 0)
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
        return 1 - float(inside.mean())

    def cut(
        self,
        picture: Num[np.ndarray, "height width *channels"],
        size_px: int,
        *,
        outside: float | None = None,
    ) -> Num[np.ndarray, "{size_px} {size_px} *channels"]:
        """Cuts the square out of a picture: colours, or temperatures as float32.

        Args:
            picture: Visible, or another one that was laid on it.
            size_px: Side of what comes out.
            outside: What stands where the square reaches out of the picture; None repeats the
                edge, as augmentation does: a model takes a black wedge for a part of the face.
        """
        return warp(picture, self.matrix(size_px), size_px, size_px, outside=outside)


def frame_face(
    face: Face, width: int, height: int, *, margin: float = MARGIN, straightens: bool = True
) -> Crop:
    """Gives the square around a face.

    Where a picture is already cut close to the face, the margin becomes smaller, so that little
    of the square lies outside.

    Args:
        face: As it was found.
        width: Of the picture.
        height: Likewise.
        margin: Around its box, in parts of the box's longer side.
        straightens: Whether the eyes become level.
    """
    is_believed = abs(face.roll_deg) <= MOST_ROLL_DEG or not face.is_strained
    roll = face.roll_deg if straightens and is_believed else 0.0
    crop = Crop(0, 0, 1, 0)
    for share in np.linspace(margin, 0.0, 6):
        side = max(face.width, face.height) * (1 + 2 * float(share))
        crop = Crop(face.left + face.width / 2, face.top + face.height / 2, side, roll)
        if crop.share_outside(width, height) <= _MOST_OUTSIDE:
            break
    return crop
