"""One number a pixel, of colours as of temperatures."""

import cv2
import numpy as np
from jaxtyping import Float, Num, UInt8


def read_brightness(
    picture: UInt8[np.ndarray, "height width 3"] | Num[np.ndarray, "height width"],
) -> Float[np.ndarray, "height width"]:
    """Gives one number a pixel, 0 to 255: the luminance of colours, or temperatures as they are.

    Temperatures, and any other grey picture that isn't bytes, are stretched between their 1st and
    99th percentile. A value that is not a number counts as the median.
    """
    if picture.ndim == 3:
        return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if picture.dtype == np.uint8:
        return picture.astype(np.float32)
    values = picture.astype(np.float32)
    is_number = np.isfinite(values)
    if not is_number.any():
        return np.zeros_like(values)
    low, middle, high = np.percentile(values[is_number], (1, 50, 99))
    filled = np.where(is_number, values, middle)
    return np.clip((filled - low) / max(high - low, 1e-6), 0, 1).astype(np.float32) * 255
