"""MSX-style pictures: the outlines of the visible picture over the infrared one.

MSX is a trademark of Teledyne FLIR, whose exact method is not published. This is the plain
reading of the idea: fine visible detail is added to the brightness of the thermal colours.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def blend_msx(
    visible: UInt8[np.ndarray, "height width 3"],
    infrared: UInt8[np.ndarray, "_ _ 3"],
    *,
    sigma_px: float,
    gain: float,
) -> UInt8[np.ndarray, "height width 3"]:
    """Adds the fine detail of the visible picture to the brightness of the infrared one.

    The detail has zero mean, so the brightness of any larger area stays as it was. The same
    amount is added to red, green and blue, which leaves the chrominance alone except where a
    channel reaches black or white.

    Args:
        visible: RGB, aligned with `infrared`.
        infrared: The thermal picture in false colour, RGB.
        sigma_px: Detail finer than about this many pixels is carried over.
        gain: How strongly; 0 gives the infrared picture back unchanged.

    Raises:
        ValueError: The pictures differ in size, or `sigma_px` is not positive.

    Deviation:
        The paper took its MSX pictures from a camera; this is for data without one.
    """
    if visible.shape != infrared.shape:
        raise ValueError(
            f"The visible picture is {visible.shape[1]} x {visible.shape[0]} pixels and the "
            f"infrared one {infrared.shape[1]} x {infrared.shape[0]}; align them first."
        )
    if sigma_px <= 0:
        raise ValueError(f"sigma_px must be above 0, but it is {sigma_px}.")
    luminance = visible.astype(np.float32) @ _LUMA
    detail = luminance - cv2.GaussianBlur(luminance, (0, 0), sigma_px)
    detail -= detail.mean()
    blended = infrared.astype(np.float32) + gain * detail[..., np.newaxis]
    return np.clip(np.rint(blended), 0, 255).astype(np.uint8)
