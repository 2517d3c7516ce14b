"""Whether one picture is the other, blurred, made noisy or encoded strongly, and still in place.

Such a copy has lost its finest structures, and with them what tells photographs of one person
apart. But it lies where its original lies, or was shifted as a whole: the alignment finds nothing
to turn, zoom or shear. Different photographs have to be bent to agree in coarser structures.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from ferfusion.imaging.similarity import Look, correlate, flatten_light, move_corners

_SIDE_PX = 64
_SMOOTH_PX, _EVEN_PX = 1.0, 2.0  # structures between: 2 to 4 pixels of a picture of 128
_ALIGN_PX = 3.0
_LOCAL_PX = 3.0
_HOPELESS = 0.6  # correlation before aligning
_LEAST_OVERLAP = 0.6


@dataclass(frozen=True)
class InPlace:
    """How well two pictures agree that nearly lie on each other.

    Attributes:
        coarse: Correlation of structures of 2 to 4 pixels of 128, from -1 to 1.
        worst_tenth: A tenth of the picture correlates less: low where a mouth moved.
        shifted: How far the whole second picture lies from the first, as a share of the side.
        bent: How far corners must move beyond that to agree best. Hardly at all in a copy.
        mirrored: Whether the second was mirrored first.
    """

    coarse: float
    worst_tenth: float
    shifted: float
    bent: float
    mirrored: bool


def compare_in_place(first: Look, second: Look, *, mirrored: bool = False) -> InPlace | None:
    """Aligns two pictures from where they lie, and from the best shift, and says how they agree.

    Returns:
        None where they agree nowhere near: the usual case, and a cheap one.
    """
    one, other = _shrink(first.grey), _shrink(second.grey)
    if mirrored:
        other = np.ascontiguousarray(other[:, ::-1])
    whole = np.ones_like(one)
    a, b = (flatten_light(grey, whole, _ALIGN_PX) for grey in (one, other))
    still = np.eye(3, dtype=np.float32)
    start, rough = still, correlate(a.ravel(), b.ravel())
    if rough < _HOPELESS:
        start = _find_shift(a, b)
        laid, seen = _lay(b, start, one.shape)
        inside = seen > 0
        if inside.mean() < _LEAST_OVERLAP or correlate(a[inside], laid[inside]) < _HOPELESS:
            return None
    matrix = _align(a, b, start)
    laid, seen = _lay(other, matrix, one.shape)
    inside = seen > 0
    if inside.mean() < _LEAST_OVERLAP:
        return None
    a, b = (flatten_light(grey, seen, _EVEN_PX) for grey in (one, laid))
    both, ours, theirs = (cv2.GaussianBlur(x, (0, 0), _LOCAL_PX) for x in (a * b, a * a, b * b))
    local = both / np.sqrt(ours * theirs + 1e-6)
    ways = move_corners(matrix.astype(float), _SIDE_PX)
    mean = ways.mean(axis=0)
    return InPlace(
        coarse=correlate(a[inside], b[inside]),
        worst_tenth=float(np.quantile(local[inside], 0.1)),
        shifted=float(np.hypot(*mean)),
        bent=float(np.hypot(*(ways - mean).T).mean()),
        mirrored=mirrored,
    )


def _shrink(grey: Float[np.ndarray, "size size"]) -> Float[np.ndarray, "64 64"]:
    small = cv2.resize(
        np.ascontiguousarray(grey), (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA
    )
    return cv2.GaussianBlur(small, (0, 0), _SMOOTH_PX)


def _find_shift(
    first: Float[np.ndarray, "64 64"], second: Float[np.ndarray, "64 64"]
) -> Float[np.ndarray, "3 3"]:
    window = cv2.createHanningWindow((_SIDE_PX, _SIDE_PX), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(first, second, window)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float32)


def _align(
    first: Float[np.ndarray, "64 64"],
    second: Float[np.ndarray, "64 64"],
    start: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "3 3"]:
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    everywhere = np.ones(first.shape, np.uint8)
    try:
        _, affine = cv2.findTransformECC(
            first, second, start[:2].copy(), cv2.MOTION_AFFINE, stop, everywhere, 1
        )
    except cv2.error:  # it lost its way
        return start
    if not np.isfinite(affine).all():
        return start
    return np.vstack([affine, [0, 0, 1]]).astype(np.float32)


def _lay(
    picture: Float[np.ndarray, "64 64"], matrix: Float[np.ndarray, "3 3"], shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "64 64"], Float[np.ndarray, "64 64"]]:
    """Lays a picture over another, and says where it does."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpPerspective(picture, matrix, shape[::-1], flags=flags)
    seen = cv2.warpPerspective(np.ones_like(picture), matrix, shape[::-1], flags=flags)
    seen = cv2.erode(seen, np.ones((3, 3)), borderValue=0)
    return laid, (seen > 0.99).astype(np.float32)
