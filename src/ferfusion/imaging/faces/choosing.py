"""Which face of a picture is meant, or why none can be used."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferfusion.imaging.faces.detector import Face

LEAST_PX = 48
"""A face of fewer pixels across shows too little of an expression."""

_MOST_OUTSIDE = 0.3
_BYSTANDER = 0.35


@dataclass(frozen=True)
class Choice:
    """The face that is meant, or None and the reason."""

    face: Face | None
    reason: str | None


def choose_face(
    faces: Sequence[Face], width: int, height: int, *, least_px: float = LEAST_PX
) -> Choice:
    """Takes the one face of a picture.

    A face less than a third as wide as the largest is somebody in the background. With two of
    about the same size nobody knows who is meant, so none is taken.

    Args:
        faces: As `FaceDetector.find` gave them.
        width: Of the picture.
        height: Likewise.
        least_px: Faces narrower than that are too small.
    """
    if not faces:
        return Choice(None, "no face was found")
    largest = max(faces, key=lambda face: face.width)
    near = [face for face in faces if face.width > _BYSTANDER * largest.width]
    if len(near) > 1:
        return Choice(None, f"{len(near)} faces were found, and nobody says which is meant")
    if largest.width < least_px:
        return Choice(
            None, f"the face is too small: {largest.width:.0f} px across, at least {least_px:g}"
        )
    outside = 1 - _share_inside(largest, width, height)
    if outside > _MOST_OUTSIDE or not _has_points_inside(largest, width, height):
        return Choice(None, f"the face is cut off by the edge: {100 * outside:.0f} % is outside")
    return Choice(largest, None)


def _share_inside(face: Face, width: int, height: int) -> float:
    across = min(face.left + face.width, width) - max(face.left, 0.0)
    down = min(face.top + face.height, height) - max(face.top, 0.0)
    return max(across, 0.0) * max(down, 0.0) / (face.width * face.height)


def _has_points_inside(face: Face, width: int, height: int) -> bool:
    x, y = face.points.T
    return bool((x >= 0).all() and (x < width).all() and (y >= 0).all() and (y < height).all())
