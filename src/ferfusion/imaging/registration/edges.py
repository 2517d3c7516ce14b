"""Where a picture has edges and which way they run: what light and heat have in common."""

import cv2
import numpy as np
from jaxtyping import Float

EdgeField = Float[np.ndarray, "height width 2"]

_OFFSET = 8.0
_BAND = 3.0
_NEIGHBOURHOOD = 2.5
_FLOOR = 0.1


def find_edges(
    brightness: Float[np.ndarray, "height width"], sigma_px: float
) -> Float[np.ndarray, "height width 2"]:
    """Gives strength and direction of the edges in a picture, as vectors of the doubled angle.

    Doubling makes dark-to-bright and bright-to-dark the same, since skin may be brighter than hair
    in one modality and darker in the other. The logarithm and the band of sizes take away how the
    light falls; strength is relative to the neighbourhood, so that a faint edge in the shade counts
    as much as a strong one in the sun.

    Args:
        brightness: 0 to 255.
        sigma_px: Edges of about this width are seen, finer ones are noise.

    Source:
        Orientation correlation: Fitch, Kadyrov, Christmas and Kittler, BMVC 2002; double angles:
        Granlund 1978. The band and the local strength are ours (results/LOG.md).
    """
    logarithm = np.log(brightness + _OFFSET)
    band = cv2.GaussianBlur(logarithm, (0, 0), sigma_px)
    band -= cv2.GaussianBlur(logarithm, (0, 0), sigma_px * _BAND)
    across = cv2.Scharr(band, cv2.CV_32F, 1, 0)
    down = cv2.Scharr(band, cv2.CV_32F, 0, 1)
    energy = across**2 + down**2
    around = cv2.GaussianBlur(energy, (0, 0), sigma_px * _NEIGHBOURHOOD)
    around += _FLOOR * np.median(energy) + 1e-9
    strength = np.sqrt((energy + 1e-9) * around)
    return np.dstack(((across**2 - down**2) / strength, 2 * across * down / strength))


def move_edges(
    edges: EdgeField, matrix: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "height width 2"]:
    """Gives the edges of an infrared picture as they lie on the visible one.

    Args:
        edges: Of the infrared picture, in the size of the visible one.
        matrix: Of `Motion.matrix`. The edges turn back with it.
    """
    height, width = edges.shape[:2]
    moved = cv2.warpAffine(
        edges, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    doubled = 2 * np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])
    turn = np.array(
        [[np.cos(doubled), np.sin(doubled)], [-np.sin(doubled), np.cos(doubled)]], np.float32
    )
    return moved @ turn.T


def fade_border(height: int, width: int) -> Float[np.ndarray, "height width"]:
    """Gives weights of 1 that fall to 0 over the outer 15 % on each side."""
    y = np.abs(np.linspace(-1, 1, height))[:, np.newaxis]
    x = np.abs(np.linspace(-1, 1, width))
    return (np.clip((1 - y) / 0.15, 0, 1) * np.clip((1 - x) / 0.15, 0, 1)).astype(np.float32)
