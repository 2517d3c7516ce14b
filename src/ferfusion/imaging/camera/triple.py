"""A thermogram as pictures of one moment: visible, infrared laid on it, and MSX-style."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.imaging.camera.thermogram import Thermogram
from ferfusion.imaging.msx import blend_msx
from ferfusion.imaging.palette import colourise, fill_unknown
from ferfusion.imaging.registration.motion import lay_on

_LEAST_PX = 32
# JPEG blurs the edge of a frame over one block.
_BLOCK_PX, _ALMOST_BLACK = 8, 24


@dataclass(frozen=True)
class Triple:
    """Pictures of the same size that show the same, as far as the camera's placement is right.

    Attributes:
        visible: The part of the photo that infrared covers, without a black frame that cameras put
            around it; None without photo or placement.
        infrared: In false colours; without a photo, all of it at its own size.
        msx: Both together; None where `visible` is.
        span_c: Temperatures of the first and the last colour.
        crop_px: Left, top, width and height of that part in the photo.
    """

    visible: UInt8[np.ndarray, "height width 3"] | None
    infrared: UInt8[np.ndarray, "height width 3"]
    msx: UInt8[np.ndarray, "height width 3"] | None
    span_c: tuple[float, float]
    crop_px: tuple[int, int, int, int] | None = None


def make_triple(
    thermogram: Thermogram, *, palette: str = "iron", span_c: tuple[float, float] | None = None
) -> Triple:
    """Lays infrared on the photo by the camera's placement and cuts to where both show something.

    Args:
        thermogram: Of one file.
        palette: One of `PALETTES`.
        span_c: Of the colours; None spreads them from the 1st to the 99th percentile of what is
            seen. With one span for all, colours can be compared between pictures.
    """
    filled = fill_unknown(thermogram.temperature_c, 0.0)
    photo, placement = thermogram.photo, thermogram.placement
    if photo is None or placement is None:
        return _colour(filled, palette, span_c)
    height, width = photo.shape[:2]
    laid = lay_on(filled, placement, width, height, outside=float("nan"))
    seen = np.zeros((height, width), bool)
    seen[find_lit(photo)] = True
    there = np.isfinite(laid) & seen
    columns, rows = np.flatnonzero(there.any(axis=0)), np.flatnonzero(there.any(axis=1))
    if min(len(columns), len(rows)) < _LEAST_PX:
        return _colour(filled, palette, span_c)
    # A placement has no turn, so what is there is a rectangle.
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    visible = photo[top:bottom, left:right]
    alone = _colour(laid[top:bottom, left:right], palette, span_c)
    msx = blend_msx(visible, alone.infrared)
    crop_px = (int(left), int(top), int(right - left), int(bottom - top))
    return Triple(visible, alone.infrared, msx, alone.span_c, crop_px)


def find_lit(photo: UInt8[np.ndarray, "height width 3"]) -> tuple[slice, slice]:
    """Gives the rows and columns of a photo within its black frame, if it has one."""
    return _find_lit(photo.max(axis=(1, 2))), _find_lit(photo.max(axis=(0, 2)))


def fill_frame(photo: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Gives a photo whose black frame, if it has one, repeats the edge of what is in it."""
    rows, columns = find_lit(photo)
    height, width = photo.shape[:2]
    return cv2.copyMakeBorder(
        photo[rows, columns],
        *(rows.start, height - rows.stop, columns.start, width - columns.stop),
        cv2.BORDER_REPLICATE,
    )


def _find_lit(brightest: UInt8[np.ndarray, " lines"]) -> slice:
    start, end = (_count_black(line) for line in (brightest, brightest[::-1]))
    return slice(start, len(brightest) - end)


def _count_black(brightest: UInt8[np.ndarray, " lines"]) -> int:
    """Counts black lines at the beginning; a dark photo isn't as black as a frame."""
    black = int((brightest > 0).argmax())
    if not black:
        return 0
    return black + int((brightest[black : black + _BLOCK_PX + 1] > _ALMOST_BLACK).argmax())


def _colour(
    temperature_c: Float[np.ndarray, "height width"],
    palette: str,
    span_c: tuple[float, float] | None,
) -> Triple:
    low, high = span_c or (float(t) for t in np.percentile(temperature_c, (1, 99)))
    if not low < high:
        low, high = low - 0.5, low + 0.5
    return Triple(None, colourise(temperature_c, low, high, palette), None, (low, high))
