"""Which part of a face each pixel of a picture belongs to, from five points of the face."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.imaging.faces.choosing import choose_face
from ferfusion.imaging.faces.detector import FaceDetector

REGIONS = ("forehead", "eyes", "nose", "cheeks", "mouth", "rest of face", "outside")
"""In the order of their numbers in `label_regions`; brows are with the eyes, the chin is rest."""

FIXED_POINTS: tuple[tuple[float, float], ...] = (
    (0.33, 0.41), (0.67, 0.41), (0.50, 0.585), (0.36, 0.715), (0.64, 0.715)
)  # fmt: skip
"""Where the five points lie in pictures that `ferfusion prepare` cuts, in parts of the side.

Between the medians that the detector gave on drawn faces and on photographs of faces, which differ
by at most 0.05.
"""

_LEAST_PX = 12
"""Regions of narrower faces are a pixel or two."""


def find_points(
    detector: FaceDetector, pictures: Sequence[UInt8[np.ndarray, "height width 3"]]
) -> Float[np.ndarray, "5 2"] | None:
    """Finds the five points of one face, in parts of the side.

    Args:
        detector: Of faces.
        pictures: Squares that lie on each other; the first that shows a face decides.
    """
    for picture in pictures:
        size_px = picture.shape[0]
        face = choose_face(detector.find(picture), size_px, size_px, least_px=_LEAST_PX).face
        if face is not None and _spans_a_face(face.points):
            return (face.points + 0.5) / size_px
    return None


def label_regions(points: Float[np.ndarray, "5 2"], size_px: int) -> UInt8[np.ndarray, "size size"]:
    """Says of each pixel which of `REGIONS` it belongs to, by number.

    The regions are drawn in a frame that moves, turns, grows and leans with the face: one unit
    across is from eye to eye, one unit down from the eyes to the mouth. In it the face is an oval,
    as wide and high as faces mostly are; hair is not looked at.

    Args:
        points: Eye, eye, nose, corner and corner of the mouth, in parts of the side.
        size_px: Of the picture.

    Raises:
        ValueError: The points lie on a line.
    """
    left_eye, right_eye, nose, left_corner, right_corner = np.asarray(points, np.float64)
    if not _spans_a_face(np.asarray(points)):
        raise ValueError("The points of a face must not lie on a line.")
    between = (left_eye + right_eye) / 2
    down = (left_corner + right_corner) / 2 - between
    home = np.linalg.inv(np.stack((right_eye - left_eye, down), axis=1))

    def place(point: np.ndarray) -> np.ndarray:
        return (point - between) @ home.T

    middles = (np.arange(size_px) + 0.5) / size_px
    x, y = np.moveaxis(place(np.stack(np.meshgrid(middles, middles), axis=-1)), -1, 0)
    tip_x, tip_y = place(nose)
    lip_y = (tip_y + 1) / 2  # where the nose ends and the mouth begins
    nose_x = tip_x * np.clip(y / max(tip_y, 0.1), 0, 1)  # a turned head moves its tip sideways
    in_face = (x / 1.15) ** 2 + ((y - 0.33) / 1.32) ** 2 <= 1
    is_mouth = (
        (y > lip_y) & (y < 1.4)
        & (x > place(left_corner)[0] - 0.17) & (x < place(right_corner)[0] + 0.17)
    )  # fmt: skip
    # Between the brows frowns show, so what is there belongs to them.
    is_eye = (np.abs(x) < 0.92) & (y > -0.5) & ((y < 0.24) & (np.abs(x) > 0.15) | (y < -0.1))
    is_nose = (y >= -0.1) & (y <= lip_y) & (np.abs(x - nose_x) < np.where(y < 0.24, 0.15, 0.36))
    is_cheek = (y >= 0.24) & (y < 1.05)
    labels = np.full((size_px, size_px), REGIONS.index("outside"), np.uint8)
    parts = (
        ("rest of face", np.ones_like(in_face)), ("cheeks", is_cheek), ("forehead", y < -0.5),
        ("nose", is_nose), ("eyes", is_eye), ("mouth", is_mouth),
    )  # fmt: skip
    for name, part in parts:  # later ones lie over earlier ones
        labels[in_face & part] = REGIONS.index(name)
    return labels


def _spans_a_face(points: np.ndarray) -> bool:
    eyes = points[1] - points[0]
    down = (points[3] + points[4] - points[0] - points[1]) / 2
    across, along = float(np.hypot(*eyes)), float(np.hypot(*down))
    turn = float(eyes[0] * down[1] - eyes[1] * down[0])
    return across > 0 and along > 0 and turn > 0.4 * across * along
