"""Finds a face in infrared alone, by what heat shows: a warm oval on a cooler ground."""

import cv2
import numpy as np
from jaxtyping import Bool, Num, UInt8

from ferfusion.imaging.brightness import read_brightness
from ferfusion.imaging.faces.detector import Face

_WORK_PX = 160
_LEAST_AREA, _MOST_AREA = 0.01, 0.85
_TALLEST = 1.45
_NARROWING = 0.9
_LEAST_FIT = 0.75
_CANONICAL = np.array([(0.30, 0.40), (0.70, 0.40), (0.50, 0.60), (0.35, 0.78), (0.65, 0.78)])


def find_warm_face(
    infrared: UInt8[np.ndarray, "height width 3"] | Num[np.ndarray, "height width"],
) -> Face | None:
    """Gives the head of the largest warm body, or None where nothing has the shape of one.

    For infrared pictures in which the detector finds nothing. The box is about right; the
    points are only where they usually are, so the face counts as upright. Its score is how well
    an oval covers it.

    Args:
        infrared: Temperatures, or colours in which warm is bright.
    """
    height, width = infrared.shape[:2]
    factor = _WORK_PX / max(height, width)
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    bright = cv2.resize(read_brightness(infrared), small, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(bright, (0, 0), 2.0)
    level, _ = cv2.threshold(
        np.clip(smooth, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU
    )
    body = _find_largest(smooth > level)
    if body is None:
        return None
    left, top, across, down = _measure_head(body)
    fit = _compare_with_oval(body, left, top, across, down)
    if fit < _LEAST_FIT:
        return None
    box = np.array([left, top, across, down]) / factor
    return Face(
        float(box[0]), float(box[1]), float(box[2]), float(box[3]),
        box[:2] + _CANONICAL * box[2:], float(fit),
    )  # fmt: skip


def _find_largest(warm: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "_ _"] | None:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(warm.astype(np.uint8))
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA] / warm.size
    best = int(areas.argmax())
    if not _LEAST_AREA <= areas[best] <= _MOST_AREA:
        return None
    body = (labels == best + 1).astype(np.uint8)
    outlines, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # Cold glasses are holes in a face: fill them.
    return cv2.drawContours(body, outlines, -1, 1, cv2.FILLED) > 0


def _measure_head(body: Bool[np.ndarray, "height width"]) -> tuple[float, float, float, float]:
    """Gives left, top, width and height of what lies above the neck, if there is one."""
    rows = np.flatnonzero(body.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    # From the first to the last warm pixel of a row: cold glasses don't make a head narrower.
    first = body[top:bottom].argmax(axis=1)
    last = body.shape[1] - body[top:bottom, ::-1].argmax(axis=1)
    extents = (last - first).astype(np.float32)[:, np.newaxis]
    widths = cv2.GaussianBlur(extents, (0, 0), 2.0).ravel()
    end = bottom - top
    for row in range(len(widths)):
        widest = float(widths[: row + 1].max())
        if row > 0.5 * widest and widths[row] < _NARROWING * widest:
            # The neck: below its narrowest place the shoulders begin.
            after = widths[row:]
            rising = np.flatnonzero(np.diff(after) > 0)
            end = row + (int(rising[0]) if len(rising) else len(after))
            break
    widest = float(widths[:end].max())
    end = min(end, round(_TALLEST * widest))
    columns = np.flatnonzero(body[top : top + max(end, 1)].sum(axis=0) > 0.25 * end)
    if not len(columns):
        columns = np.flatnonzero(body[top : top + max(end, 1)].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return float(left), float(top), float(right - left), float(end)


def _compare_with_oval(
    body: Bool[np.ndarray, "height width"], left: float, top: float, across: float, down: float
) -> float:
    """Gives how much of the head and an oval in its box have in common, in parts of both."""
    y, x = np.mgrid[: body.shape[0], : body.shape[1]]
    oval = ((x + 0.5 - left - across / 2) / (across / 2)) ** 2
    oval = oval + ((y + 0.5 - top - down / 2) / (down / 2)) ** 2 <= 1
    head = body & (y < top + down)
    return float((oval & head).sum() / max((oval | head).sum(), 1))
