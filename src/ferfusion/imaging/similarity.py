"""Whether two pictures are one and the same photograph: keypoints, alignment, correlation.

A copy that was turned, mirrored, zoomed, sheared, cropped or encoded anew can be laid over its
original, and then the finest structures agree: hairs, wrinkles, the noise of the camera. Two
pictures of one person, let alone of two, agree in coarse structures only. So a pair is aligned by
keypoints, the alignment is refined, and the correlation of the finest structures decides.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

_KEYPOINTS = 150
_KEYPOINTS_AT_PX = 128  # smaller pictures are enlarged before keypoints are sought
_RATIO = 0.85  # of the nearest to the second nearest descriptor, below which a match is kept
_LEAST_INLIERS = 8
_HOPELESS = 0.2  # fine correlation before refining; of true copies 3 in 1000 were below
_COARSE_PX, _LOCAL_PX = 6.0, 6.0


@dataclass(frozen=True)
class Look:
    """What is kept of a picture to hold it against others.

    Attributes:
        grey: Its brightness.
        points: Keypoints, x and y in pixels of `grey`.
        descriptors: Of the keypoints, each of length 1 and free of light's influence.
    """

    grey: Float[np.ndarray, "size size"]
    points: Float[np.ndarray, "keypoints 2"]
    descriptors: Float[np.ndarray, "keypoints 128"]

    @property
    def size_px(self) -> int:
        """Side of the picture."""
        return self.grey.shape[0]


@dataclass(frozen=True)
class Agreement:
    """How well two pictures agree once the one is laid over the other.

    Attributes:
        keypoints: How many keypoints moved alike.
        fine: Correlation of the finest structures, from -1 to 1.
        coarse: Correlation of structures of some 6 pixels.
        worst_tenth: A tenth of the common area correlates less than this at 6 pixels: low where
            something moved, such as a mouth.
        mirrored: Whether the second is mirrored.
        turned_deg: By how much the second is turned, up to 180.
        zoom: How much larger the first one's content is in the second.
        overlap: Share of the picture that both show, in the frame of the coarser one.
        moved: How far the second lies from the first, mirroring aside: the mean way of the
            corners, as a share of the side.
    """

    keypoints: int
    fine: float
    coarse: float
    worst_tenth: float
    mirrored: bool
    turned_deg: float
    zoom: float
    overlap: float
    moved: float


def describe(picture: UInt8[np.ndarray, "size size 3"]) -> Look:
    """Finds a picture's keypoints and describes them."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    size = grey.shape[0]
    large = grey
    if size < _KEYPOINTS_AT_PX:
        side = (_KEYPOINTS_AT_PX, _KEYPOINTS_AT_PX)
        large = cv2.resize(grey, side, interpolation=cv2.INTER_CUBIC)
    # Even light first, or the dark half of a face has no keypoints.
    even = flatten_light(large, np.ones_like(large), 6.0 * large.shape[0] / 128)
    levels = cv2.GaussianBlur(np.clip(even * 40 + 128, 0, 255).astype(np.uint8), (0, 0), 0.8)
    sift = cv2.SIFT.create(nfeatures=_KEYPOINTS, contrastThreshold=0.01, edgeThreshold=15)
    found, descriptors = sift.detectAndCompute(levels, None)
    if descriptors is None or not len(found):
        return Look(grey, np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    # Square roots of shares: Euclidean distance then compares histograms as it should
    # (Arandjelovic and Zisserman 2012).
    shares = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    centres = (np.array([key.pt for key in found]) + 0.5) * size / large.shape[0] - 0.5
    return Look(grey, centres.astype(np.float32), np.sqrt(shares))


def mirror(look: Look) -> Look:
    """Gives the look of the mirrored picture, without seeking keypoints again.

    A descriptor is 4 x 4 cells, across and along the keypoint's direction, of 8 directions.
    """
    cells = look.descriptors.reshape(-1, 4, 4, 8)[:, ::-1]
    turned = np.concatenate([cells[..., :1], cells[..., :0:-1]], axis=-1)
    points = look.points.copy()
    points[:, 0] = look.size_px - 1 - points[:, 0]
    return Look(np.ascontiguousarray(look.grey[:, ::-1]), points, turned.reshape(-1, 128))


def flatten_light(
    grey: Float[np.ndarray, "height width"],
    seen: Float[np.ndarray, "height width"],
    radius_px: float,
) -> Float[np.ndarray, "height width"]:
    """Takes the local mean away and divides by the local contrast; 0 where nothing is seen."""
    weight = cv2.GaussianBlur(seen, (0, 0), radius_px) + 1e-6
    deviation = (grey - cv2.GaussianBlur(grey * seen, (0, 0), radius_px) / weight) * seen
    variance = cv2.GaussianBlur(deviation * deviation, (0, 0), radius_px) / weight
    return deviation / (np.sqrt(variance) + 2.0)  # 2 grey levels: what is flatter is noise


def match(first: Look, second: Look) -> Int[np.ndarray, "matches 2"]:
    """Pairs keypoints that are each other's nearest and clearly nearer than the next."""
    if min(len(first.points), len(second.points)) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    likeness = first.descriptors @ second.descriptors.T
    rows = np.arange(len(likeness))
    nearest = likeness.argmax(axis=1)
    best = likeness[rows, nearest]
    mutual = likeness.argmax(axis=0)[nearest] == rows
    likeness[rows, nearest] = -1
    # Distances of vectors of length 1.
    clear = 2 - 2 * best < _RATIO**2 * (2 - 2 * likeness.max(axis=1))
    kept = np.flatnonzero(mutual & clear)
    return np.stack([kept, nearest[kept]], axis=1)


def compare(first: Look, second: Look, *, mirrored: bool = False) -> Agreement | None:
    """Lays one picture over the other and says how well they agree.

    Args:
        first: One picture.
        second: Another of the same size.
        mirrored: Mirror the second first.

    Returns:
        None where no common geometry is found: they are different photographs.
    """
    other = mirror(second) if mirrored else second
    geometry = _find_geometry(first, other)
    if geometry is None:
        return None
    matrix, keypoints = geometry
    size = first.size_px
    zoom = _zoom(matrix, size)
    # Always onto the one with the smaller content: enlarging would invent what is fine.
    onto, from_ = (first.grey, other.grey) if zoom >= 1 else (other.grey, first.grey)
    there = matrix if zoom >= 1 else np.linalg.inv(matrix)
    shrink = max(zoom, 1 / zoom)
    if shrink > 1.1:
        from_ = cv2.GaussianBlur(from_, (0, 0), 0.5 * np.sqrt(shrink**2 - 1))
    there = (there / there[2, 2]).astype(np.float32)
    # Refining is most of the work: spare it for what is nowhere near.
    rough = _correlate(onto, from_, there)
    if rough is None or rough[0] < _HOPELESS:
        return None
    there = _refine(onto, from_, there, shrink)
    measured = _correlate(onto, from_, there)
    if measured is None:
        return None
    fine, coarse, worst_tenth, overlap = measured
    final = there if zoom >= 1 else np.linalg.inv(there)
    angle = np.degrees(np.arctan2(*_jacobian(final, size)[::-1, 0]))
    return Agreement(
        keypoints=keypoints,
        fine=fine,
        coarse=coarse,
        worst_tenth=worst_tenth,
        mirrored=mirrored,
        turned_deg=float(angle),
        zoom=_zoom(final, size),
        overlap=overlap,
        moved=float(np.hypot(*move_corners(final, size).T).mean()),
    )


def _find_geometry(first: Look, second: Look) -> tuple[Float[np.ndarray, "3 3"], int] | None:
    """Finds the plane geometry that most matches follow: affine, or perspective if they suffice."""
    matches = match(first, second)
    if len(matches) < _LEAST_INLIERS:
        return None
    here, there = first.points[matches[:, 0]], second.points[matches[:, 1]]
    tolerance = max(1.0, 3.0 * first.size_px / _KEYPOINTS_AT_PX)
    affine, kept = cv2.estimateAffine2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=1.3 * tolerance, maxIters=300
    )
    if affine is None or int(kept.sum()) < _LEAST_INLIERS:
        return None
    matrix, count = np.vstack([affine, [0, 0, 1]]), int(kept.sum())
    if count >= 12:
        plane, agreed = cv2.findHomography(here, there, cv2.RANSAC, 0.85 * tolerance, maxIters=300)
        if plane is not None and int(agreed.sum()) >= count:
            matrix, count = np.asarray(plane, dtype=float), int(agreed.sum())
    if not 0.15 < _zoom(matrix, first.size_px) ** 2 < 7 or np.linalg.det(matrix[:2, :2]) <= 0:
        return None
    return matrix, count


def _jacobian(matrix: Float[np.ndarray, "3 3"], size: int) -> Float[np.ndarray, "2 2"]:
    """Gives how the middle of the picture is turned and stretched."""
    middle = np.array([size / 2, size / 2, 1.0])
    at = matrix @ middle
    return (matrix[:2, :2] - np.outer(at[:2] / at[2], matrix[2, :2])) / at[2]


def _zoom(matrix: Float[np.ndarray, "3 3"], size: int) -> float:
    return float(np.sqrt(abs(np.linalg.det(_jacobian(matrix, size)))) + 1e-9)


def move_corners(matrix: Float[np.ndarray, "3 3"], size: int) -> Float[np.ndarray, "4 2"]:
    """Gives the way of each corner in x and y, as a share of the side."""
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]], dtype=float)
    there = corners @ np.asarray(matrix, dtype=float).T
    return (there[:, :2] / there[:, 2:] - corners[:, :2]) / size


def _refine(
    onto: Float[np.ndarray, "size size"],
    from_: Float[np.ndarray, "size size"],
    matrix: Float[np.ndarray, "3 3"],
    shrink: float,
) -> Float[np.ndarray, "3 3"]:
    """Moves the geometry until the pictures correlate best (Evangelidis and Psarakis 2008)."""
    whole = np.ones_like(onto)
    still = flatten_light(onto, whole, 5.0)
    moving = flatten_light(from_, whole, 5.0 * shrink)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 1e-3)
    refined = matrix.copy()
    try:
        everywhere = whole.astype(np.uint8)
        _, refined = cv2.findTransformECC(
            still, moving, refined, cv2.MOTION_HOMOGRAPHY, stop, everywhere, 1
        )
    except cv2.error:  # it lost its way, so the keypoints know better
        return matrix
    return refined if np.isfinite(refined).all() else matrix


def _correlate(
    onto: Float[np.ndarray, "size size"],
    from_: Float[np.ndarray, "size size"],
    matrix: Float[np.ndarray, "3 3"],
) -> tuple[float, float, float, float] | None:
    """Gives fine and coarse correlation, the worst tenth and the overlap; None if too small."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpPerspective(from_, matrix, onto.shape[::-1], flags=flags)
    covered = cv2.warpPerspective(np.ones_like(onto), matrix, onto.shape[::-1], flags=flags)
    covered = cv2.erode(covered, np.ones((5, 5)), borderValue=0)
    seen = (covered > 0.99).astype(np.float32)
    overlap = float(seen.mean())
    if overlap < 0.2:
        return None
    inside = seen > 0
    smooth = [cv2.GaussianBlur(grey, (0, 0), 0.7) for grey in (onto, laid)]
    # Small pictures have little that is fine, and all of it is needed.
    fine_px = 1.5 if len(onto) >= 96 else 1.0
    a, b = (flatten_light(grey, seen, fine_px) for grey in smooth)
    fine = correlate(a[inside], b[inside])
    a, b = (flatten_light(grey, seen, _COARSE_PX) for grey in smooth)
    coarse = correlate(a[inside], b[inside])
    both, first, second = (cv2.GaussianBlur(x, (0, 0), _LOCAL_PX) for x in (a * b, a * a, b * b))
    local = both / np.sqrt(first * second + 1e-6)
    return fine, coarse, float(np.quantile(local[inside], 0.1)), overlap


def correlate(a: Float[np.ndarray, " pixels"], b: Float[np.ndarray, " pixels"]) -> float:
    """Gives the correlation of what has a mean of about 0, from -1 to 1."""
    return float((a @ b) / np.sqrt((a @ a) * (b @ b) + 1e-6))
