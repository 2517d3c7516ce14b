"""A picture moved, turned, scaled or sheared into another frame."""

import cv2
import numpy as np
from jaxtyping import Float, Num


def warp(
    picture: Num[np.ndarray, "height width *channels"],
    matrix: Float[np.ndarray, "2 3"],
    width: int,
    height: int,
    *,
    outside: float | tuple[float, ...] | None = None,
) -> Num[np.ndarray, "_ _ *channels"]:
    """Gives a picture of `width` x `height` that shows each point where `matrix` puts it.

    Args:
        picture: Colours as bytes, or temperatures as float32.
        matrix: Of points (x, y) of the picture, whole numbers being the middles of pixels.
        width: Of what comes out.
        height: Likewise.
        outside: What stands where the picture doesn't reach; one value, or one a channel. NaN is
            right for temperatures. None repeats the edge.
    """
    factor = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if factor < 0.5:
        # A warp looks at four pixels only, so a strong shrinking skips the others.
        half = 2 * factor
        shrunk = cv2.resize(picture, None, fx=half, fy=half, interpolation=cv2.INTER_AREA)
        sx, sy = picture.shape[1] / shrunk.shape[1], picture.shape[0] / shrunk.shape[0]
        enlarge = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        picture, matrix = shrunk, matrix @ enlarge
    home = cv2.invertAffineTransform(np.asarray(matrix, np.float64))
    warped = cv2.warpAffine(
        picture,
        home,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if outside is None:
        return warped
    # Not OpenCV's constant border: it mixes into the last pixel that is still inside.
    x, y = np.arange(width), np.arange(height)[:, np.newaxis]
    is_outside = np.zeros((height, width), bool)
    for (a, b, c), length in zip(home, (picture.shape[1], picture.shape[0]), strict=True):
        is_outside |= np.abs(a * x + b * y + c - (length - 1) / 2) > length / 2 + 1e-6
    warped[is_outside] = outside
    return warped
