"""Random geometry and light for training pictures, one draw for all modalities of a sample.

Nothing is written to disk: a draw follows from (seed, epoch, sample, copy), so an interrupted
training sees the same pictures when it goes on. All geometry of a draw is one 3 x 3 matrix, so a
picture is resampled once.
"""

import math
import zlib
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.modality import Modality

Policy = Literal["sound", "paper", "none"]
Matrix = Float[np.ndarray, "3 3"]

PAPER_KINDS: tuple[str, ...] = (
    "original",
    *("rotation",) * 5,
    *("zoom",) * 5,
    *("distortion",) * 5,
    *("shear",) * 5,
    *("flip",) * 5,
)
"""The 26 copies the paper makes of a training image: 77 angry images become 2002."""


@dataclass(frozen=True)
class Draw:
    """What happens to every picture of one sample.

    Attributes:
        matrix: Moves points of the unit square (0 to 1, y down) to where they come to lie.
        fill: Grey value around a picture that got smaller; None repeats its edge.
        gain: Factor on the brightness of visible and MSX pictures. Infrared is spared: its colours
            are temperatures.
        gamma: Exponent on their brightness.
        erased: Left, top, right, bottom of a box painted grey in all pictures, in the unit square.
    """

    matrix: Matrix
    fill: int | None = None
    gain: float = 1.0
    gamma: float = 1.0
    erased: tuple[float, float, float, float] | None = None


def count_copies(policy: Policy) -> int:
    """Says how many copies of each training image make up one epoch."""
    return len(PAPER_KINDS) if policy == "paper" else 1


def draw(
    policy: Policy,
    *,
    seed: int,
    epoch: int,
    sample_id: str,
    copy: int = 0,
    only: Modality | None = None,
    identical_flips: bool = False,
) -> Draw:
    """Draws what happens to one copy of one sample in one epoch.

    Args:
        policy: `sound`, our default; `paper`, the paper's 26 copies; or `none`.
        seed: Of the run.
        epoch: From 0.
        sample_id: Whose pictures.
        copy: Below `count_copies(policy)`.
        only: Draws for this modality apart from the others, as the authors do; None draws for all.
        identical_flips: Makes the five flips of `paper` the same, as the authors' are.

    Source:
        Naseem et al. 2024, section III-A; ranges of `paper` from the authors' later code.

    Deviation:
        The authors draw each modality apart, so that a pair no longer fits together; here all
        modalities move alike, unless `only` says otherwise. Their shear of 0.2 is taken by their
        library as degrees and can't be seen; here it is a factor. Their five flips are identical;
        here the second to fifth also rotate, zoom, distort or shear, unless `identical_flips`.
    """
    key = [seed, epoch, zlib.crc32(sample_id.encode()), copy]
    if only is not None:
        key.append(zlib.crc32(only.encode()))
    rng = np.random.default_rng(key)
    if policy == "none":
        return Draw(np.eye(3))
    if policy == "sound":
        return _draw_sound(rng)
    kind = PAPER_KINDS[copy]
    nth = 0 if kind == "flip" and identical_flips else PAPER_KINDS[:copy].count(kind)
    return _draw_paper(kind, nth, rng)


def _draw_sound(rng: np.random.Generator) -> Draw:
    flip = np.diag([-1.0, 1.0, 1.0]) if rng.random() < 0.5 else np.eye(3)
    zoom = math.exp(rng.uniform(math.log(0.88), math.log(1.16)))
    shape = _rotate(rng.uniform(-12, 12)) @ _shear(rng.uniform(-0.06, 0.06)) @ _scale(zoom)
    shift = np.eye(3)
    shift[:2, 2] = rng.uniform(-0.06, 0.06, size=2)
    tilt = np.eye(3)
    tilt[2, :2] = rng.uniform(-0.12, 0.12, size=2)
    erased = None
    if rng.random() < 0.25:
        width, height = rng.uniform(0.1, 0.28, size=2)
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        erased = (left, top, left + width, top + height)
    return Draw(
        _about_centre(shift @ tilt @ shape @ flip),
        gain=math.exp(rng.uniform(-0.3, 0.3)),
        gamma=math.exp(rng.uniform(-0.3, 0.3)),
        erased=erased,
    )


def _draw_paper(kind: str, nth: int, rng: np.random.Generator) -> Draw:
    if kind == "original":
        return Draw(np.eye(3))
    if kind == "rotation":
        return Draw(_about_centre(_rotate(rng.uniform(-20, 20))), fill=0)
    if kind == "zoom":
        # The picture is laid at random onto a larger grey canvas, which then becomes the picture.
        side = rng.uniform(1.0, 1.5)
        left, top = rng.uniform(0, side - 1, size=2)
        return Draw(np.array([[1, 0, left], [0, 1, top], [0, 0, side]]) / side, fill=123)
    if kind == "distortion":
        inward = rng.uniform(0, 0.25, size=(4, 2)).astype(np.float32)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        moved = corners + inward * np.sign(0.5 - corners)
        return Draw(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), fill=0)
    if kind == "shear":
        tilted = _rotate(rng.uniform(-20, 20)) @ _shear(rng.uniform(-0.2, 0.2))
        return Draw(_about_centre(tilted), fill=0)
    flip = _about_centre(np.diag([-1.0, 1.0, 1.0]))
    also = (None, "rotation", "zoom", "distortion", "shear")[nth]
    if also is None:
        return Draw(flip)
    second = _draw_paper(also, 0, rng)
    return Draw(second.matrix @ flip, fill=second.fill)


def _rotate(angle_deg: float) -> Matrix:
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def _shear(factor: float) -> Matrix:
    return np.array([[1, factor, 0], [0, 1, 0], [0, 0, 1]])


def _scale(factor: float) -> Matrix:
    return np.diag([factor, factor, 1.0])


def _about_centre(matrix: Matrix) -> Matrix:
    to_centre, back = np.eye(3), np.eye(3)
    to_centre[:2, 2], back[:2, 2] = -0.5, 0.5
    return back @ matrix @ to_centre


def apply(
    drawn: Draw, picture: UInt8[np.ndarray, "size size 3"], modality: Modality
) -> UInt8[np.ndarray, "size size 3"]:
    """Does what was drawn to one picture of the sample.

    Light changes only in visible and MSX pictures; geometry and the erased box are the same in all.
    """
    size = picture.shape[0]
    if not np.array_equal(drawn.matrix, np.eye(3)):
        # Pixel centres lie at (i + 0.5) / size of the unit square.
        to_unit = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, size]]) / size
        in_pixels = np.linalg.inv(to_unit) @ drawn.matrix @ to_unit
        grey = 0 if drawn.fill is None else drawn.fill
        picture = cv2.warpPerspective(
            picture,
            in_pixels,
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE if drawn.fill is None else cv2.BORDER_CONSTANT,
            borderValue=(grey, grey, grey),
        )
    if modality is not Modality.INFRARED and (drawn.gain != 1 or drawn.gamma != 1):
        levels = np.linspace(0, 1, 256) ** drawn.gamma * drawn.gain
        picture = cv2.LUT(picture, np.clip(levels * 255, 0, 255).astype(np.uint8))
    if drawn.erased is not None:
        left, top, right, bottom = (round(edge * size) for edge in drawn.erased)
        picture = picture.copy()
        picture[top:bottom, left:right] = 123
    return picture
