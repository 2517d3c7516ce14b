"""From a visible and an infrared picture to the motion between them, and how sure that is."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Num, UInt8

from ferfusion.imaging.brightness import read_brightness
from ferfusion.imaging.registration.edges import find_edges
from ferfusion.imaging.registration.motion import Motion
from ferfusion.imaging.registration.quality import PASSING_QUALITY, rate_quality
from ferfusion.imaging.registration.refine import MotionKind, Refined, refine_motion
from ferfusion.imaging.registration.search import Reach, search_motions

_SEARCH_PX = 96
_MIDDLE_PX = 128
_FINE_PX = 256
_SIGMA_PX = 1.5
_CANDIDATES = 4


@dataclass(frozen=True)
class Registration:
    """How an infrared picture lies on a visible one, and how sure that is.

    Attributes:
        motion: In pixels of the visible picture.
        agreement: Of the edges, laid on each other: 1 is fully, 0 not at all.
        lead: How much better than the best motion elsewhere, in parts of its agreement.
        expected_error_px: By how well the parts of the picture agree with each other.
        quality: How likely the motion is right, 0 to 1; see `rate_quality`.
    """

    motion: Motion
    agreement: float
    lead: float
    expected_error_px: float
    quality: float

    @property
    def passed(self) -> bool:
        """Whether the pair may be used without a look at it."""
        return self.quality >= PASSING_QUALITY


def register(
    visible: UInt8[np.ndarray, "height width 3"] | Num[np.ndarray, "height width"],
    infrared: UInt8[np.ndarray, "_ _ 3"] | Num[np.ndarray, "_ _"],
    *,
    start: Motion | None = None,
    reach: Reach | None = None,
    kind: MotionKind = "similarity",
) -> Registration:
    """Finds how an infrared picture lies on a visible one of the same moment.

    Args:
        visible: Colours or grey.
        infrared: False colours, grey, or temperatures; of any size.
        start: Where it is expected, as the camera's file says; in place if None.
        reach: How far around that.
        kind: Which motions are allowed.
    """
    width, height = visible.shape[1], visible.shape[0]
    start = start or Motion()
    reach = reach or Reach()
    bright = read_brightness(visible), read_brightness(infrared)

    def edges_at(size_px: int) -> tuple[np.ndarray, np.ndarray]:
        shape = _shrink(width, height, size_px)
        return (
            find_edges(_fit(bright[0], *shape), _SIGMA_PX),
            find_edges(_fit(bright[1], *shape), _SIGMA_PX),
        )

    def factor(size_px: int) -> float:
        return _shrink(width, height, size_px)[0] / width

    pair = edges_at(_SEARCH_PX)
    candidates = search_motions(*pair, start.scaled(factor(_SEARCH_PX)), reach, _CANDIDATES)
    pair = edges_at(_MIDDLE_PX)
    zoom = factor(_MIDDLE_PX) / factor(_SEARCH_PX)
    tries = [refine_motion(*pair, c.motion.scaled(zoom), kind) for c in candidates]
    tries.sort(key=lambda refined: -refined.agreement)
    lead = _measure_lead(tries, *_shrink(width, height, _MIDDLE_PX))
    zoom = factor(_FINE_PX) / factor(_MIDDLE_PX)
    best = refine_motion(*edges_at(_FINE_PX), tries[0].motion.scaled(zoom), kind)
    back = 1 / factor(_FINE_PX)
    error = best.expected_error_px * back
    quality = rate_quality(best.agreement, lead, error / width)
    return Registration(best.motion.scaled(back), best.agreement, lead, error, quality)


def _measure_lead(tries: list[Refined], width: int, height: int) -> float:
    """Gives how far the best is ahead of the best that is not the same motion."""
    best = tries[0]
    others = [
        t for t in tries[1:] if t.motion.distance_px(best.motion, width, height) > 0.03 * width
    ]
    if not others or best.agreement <= 0:
        return 1.0 if best.agreement > 0 else 0.0
    return max(0.0, 1 - others[0].agreement / best.agreement)


def _shrink(width: int, height: int, longer_px: int) -> tuple[int, int]:
    factor = longer_px / max(width, height)
    return max(8, round(width * factor)), max(8, round(height * factor))


def _fit(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resizes to a width, and cuts or fills the height around the centre."""
    rows = max(1, round(picture.shape[0] * width / picture.shape[1]))
    shrinks = width < picture.shape[1]
    flag = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(picture, (width, rows), interpolation=flag)
    missing = height - rows
    if missing > 0:
        above = missing // 2
        return cv2.copyMakeBorder(resized, above, missing - above, 0, 0, cv2.BORDER_REPLICATE)
    above = -missing // 2
    return resized[above : above + height]
