"""MSX-style pictures: the outlines of the visible picture over the infrared one.

MSX is a trademark of Teledyne FLIR, whose exact method is not published. This is the plain
reading of the idea: fine visible detail goes into the brightness of the thermal colours.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

DETAIL_SHARE = 1 / 80
"""Detail finer than about this part of the width is carried over, unless told otherwise."""

_HEADROOM = 1.5
_SATURATED = 1.4


def blend_msx(
    visible: UInt8[np.ndarray, "height width 3"],
    infrared: UInt8[np.ndarray, "_ _ 3"],
    *,
    sigma_px: float | None = None,
    gain: float = 1.0,
) -> UInt8[np.ndarray, "height width 3"]:
    """Adds the fine detail of the visible picture to the luminance of the infrared one.

    The mean luminance of a place stays what it was, so colours still tell the temperature: detail
    has no mean of its own, it is weaker where the infrared picture is so dark or bright that half
    of it would be cut off, and what one colour can't take is taken by the others.

    Args:
        visible: RGB, aligned with `infrared`.
        infrared: The thermal picture in false colour, RGB.
        sigma_px: Detail finer than about this many pixels is carried over; None is
            `DETAIL_SHARE` of the width.
        gain: How strongly; 0 gives the infrared picture back unchanged.

    Raises:
        ValueError: The pictures differ in size, `sigma_px` is not positive, or `gain` is negative.

    Deviation:
        The paper took its MSX pictures from a camera; this is for data without one.
    """
    if visible.shape != infrared.shape:
        raise ValueError(
            f"The visible picture is {visible.shape[1]} x {visible.shape[0]} pixels and the "
            f"infrared one {infrared.shape[1]} x {infrared.shape[0]}; align them first."
        )
    sigma = DETAIL_SHARE * visible.shape[1] if sigma_px is None else sigma_px
    if sigma <= 0:
        raise ValueError(f"sigma_px must be above 0, but it is {sigma}.")
    if gain < 0:
        raise ValueError(f"gain must not be negative, but it is {gain}.")
    if gain == 0:
        return infrared.copy()
    seen, heat = _read_luminance(visible), _read_luminance(infrared)
    detail = np.float32(gain) * (seen - _blur(seen, sigma))
    detail *= _leave_headroom(detail, heat, sigma)
    detail -= _blur(detail, sigma)
    blended = _add_to_all(infrared, detail)
    missing = heat + detail - _read_luminance(blended)
    blended = _add_to_all(blended, _SATURATED * missing)
    # What black or white could not take would shift the mean: give it back around there.
    reached = _read_luminance(blended)
    missing = heat + detail - reached - _blur(reached - heat, sigma)
    return _add_to_all(blended, _SATURATED * missing)


def _read_luminance(picture: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "_ _"]:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _add_to_all(
    picture: UInt8[np.ndarray, "height width 3"], change: Float[np.ndarray, "_ _"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Adds the same to red, green and blue, each cut off at 0 and 255."""
    return cv2.add(picture, cv2.merge((change, change, change)), dtype=cv2.CV_8U)


def _leave_headroom(
    detail: Float[np.ndarray, "height width"], heat: Float[np.ndarray, "_ _"], sigma_px: float
) -> Float[np.ndarray, "height width"]:
    """Gives a smooth weight, below 1 where detail is stronger than there is room for it."""
    height, width = detail.shape
    small, factor = _shrink(width, height, sigma_px)
    room = cv2.resize(np.minimum(heat, 255 - heat), small, interpolation=cv2.INTER_AREA)
    power = cv2.resize(detail**2, small, interpolation=cv2.INTER_AREA)
    sigma = sigma_px / factor
    strength = np.sqrt(cv2.GaussianBlur(power, (0, 0), sigma))
    least = cv2.erode(room, np.ones((3, 3), np.uint8), iterations=max(1, round(sigma)))
    weight = np.minimum(1, least / (_HEADROOM * strength + 1e-3))
    weight = cv2.GaussianBlur(weight, (0, 0), sigma)
    return cv2.resize(weight, (width, height), interpolation=cv2.INTER_LINEAR)


def _blur(values: Float[np.ndarray, "height width"], sigma_px: float) -> Float[np.ndarray, "_ _"]:
    """Blurs as a Gaussian does; a wide one on a smaller picture, ten times as fast."""
    height, width = values.shape
    small, factor = _shrink(width, height, sigma_px)
    if factor == 1:
        return cv2.GaussianBlur(values, (0, 0), sigma_px)
    shrunk = cv2.resize(values, small, interpolation=cv2.INTER_AREA)
    shrunk = cv2.GaussianBlur(shrunk, (0, 0), sigma_px / factor)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


def _shrink(width: int, height: int, sigma_px: float) -> tuple[tuple[int, int], int]:
    factor = max(1, int(sigma_px // 2))
    return (max(1, round(width / factor)), max(1, round(height / factor))), factor
