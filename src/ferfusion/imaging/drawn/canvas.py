"""A canvas in face units, and the curves drawn on it.

Face units: the origin lies between the eyes, x grows to the right of the picture, y downwards,
and half a head is about one unit wide.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8

Points = Float[np.ndarray, "_ 2"]
Outline = Sequence[Sequence[float | int] | np.ndarray] | Points
Colour = Sequence[float | int] | float | int

_SHIFT = 4  # OpenCV takes polygons in sixteenths of a pixel.


@lru_cache
def _catmull_rom(steps: int) -> Float[np.ndarray, "steps 4"]:
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, np.newaxis]
    powers = np.concatenate([np.ones_like(t), t, t**2, t**3], axis=1)
    basis = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2.0
    return powers @ basis


def smooth(points: Outline, *, closed: bool = False, steps: int = 8) -> Points:
    """Draws a smooth curve through points (a Catmull-Rom spline)."""
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        first, last = 2 * knots[0] - knots[1], 2 * knots[-1] - knots[-2]
        padded = np.concatenate([first[np.newaxis], knots, last[np.newaxis]])
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)
    curve = (_catmull_rom(steps) @ windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-1:]])


def mirror(points: Outline) -> Points:
    """Reflects points left to right."""
    return np.asarray(points, dtype=np.float64) * (-1.0, 1.0)


def moved(points: Outline, x: float, y: float) -> Points:
    """Moves points to the right and down."""
    return np.asarray(points, dtype=np.float64) + np.array((x, y))


def both_sides(right: Outline) -> Points:
    """Completes the right half of a symmetric outline, given from its top to its bottom."""
    half = np.asarray(right, dtype=np.float64)
    on_axis = np.abs(half[:, 0]) < 1e-9
    return np.concatenate([half, mirror(half)[~on_axis][::-1]])


def ribbon(line: Outline, widths: Sequence[float]) -> Points:
    """Gives a line a width that changes along it; the result is an outline to fill."""
    centre = np.asarray(line, dtype=np.float64)
    ends = np.concatenate([centre[:1], centre, centre[-1:]])
    along = ends[2:] - ends[:-2]
    normal = along[:, ::-1] * (-1.0, 1.0) / (np.hypot(along[:, :1], along[:, 1:]) + 1e-9)
    places = np.arange(len(centre)) * ((len(widths) - 1) / (len(centre) - 1))
    half = np.interp(places, np.arange(len(widths)), widths)[:, np.newaxis] / 2.0
    return np.concatenate([centre + normal * half, (centre - normal * half)[::-1]])


@lru_cache
def _circle(steps: int) -> Points:
    turn = np.linspace(0.0, 2.0 * math.pi, steps, endpoint=False)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


def ellipse(x: float, y: float, width: float, height: float | None = None) -> Points:
    """Outlines an ellipse by its centre and half axes."""
    return _circle(28) * (width, width if height is None else height) + (x, y)


@dataclass(frozen=True)
class Pose:
    """Where the head is in the picture.

    Attributes:
        scale: Picture sides per face unit.
        tilt_deg: Clockwise.
        x: Of the face's origin, in picture sides from the left.
        y: Likewise from the top.
    """

    scale: float
    tilt_deg: float
    x: float
    y: float


class Canvas:
    """Pixels with a pen that takes face units. Colours are RGB, or degrees on a thermal canvas."""

    def __init__(
        self,
        pixels: Shaped[np.ndarray, "..."],
        turn: Float[np.ndarray, "2 2"],
        origin: Float[np.ndarray, " 2"],
        fine: int = 1,
    ) -> None:
        self.pixels = pixels
        self._turn = turn
        self._origin = origin
        self._fine = fine

    @classmethod
    def blank(
        cls, size_px: int, pose: Pose, colour: Colour, *, fine: int = 1, dtype: type = np.uint8
    ) -> "Canvas":
        """Gives a canvas of one colour, `fine` times as large as the picture it will become."""
        angle = math.radians(pose.tilt_deg)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        side_px = size_px * fine
        # OpenCV's pixel (0, 0) has its centre at the origin, hence the half.
        origin = np.array([pose.x, pose.y]) * side_px - 0.5
        pixels = np.empty((side_px, side_px, *np.shape(colour)), dtype=dtype)
        pixels[:] = colour
        return cls(pixels, turn * (pose.scale * side_px), origin, fine)

    def layer(self, colour: Colour) -> "Canvas":
        """Gives a layer for `soft` painting, as small as the picture; see `paste`."""
        side_px = self.pixels.shape[0] // self._fine
        pixels = np.empty((side_px, side_px, *np.shape(colour)), dtype=np.float32)
        pixels[:] = colour
        return Canvas(pixels, self._turn / self._fine, (self._origin + 0.5) / self._fine - 0.5)

    def finished(self) -> Shaped[np.ndarray, "height width ..."]:
        """Gives the picture, at its own size."""
        side_px = self.pixels.shape[0] // self._fine
        return cv2.resize(self.pixels, (side_px, side_px), interpolation=cv2.INTER_AREA)

    @property
    def unit_px(self) -> float:
        """Pixels per face unit."""
        return float(np.hypot(*self._turn[0]))

    def to_pixels(self, points: Outline) -> Points:
        """Turns face units into pixels."""
        return np.asarray(points, dtype=np.float64) @ self._turn + self._origin

    def to_units(
        self,
    ) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "height width"]]:
        """Gives the face coordinates x and y of every pixel."""
        height, width = self.pixels.shape[:2]
        back = np.linalg.inv(self._turn)
        columns = np.arange(width, dtype=np.float32)[np.newaxis, :] - self._origin[0]
        rows = np.arange(height, dtype=np.float32)[:, np.newaxis] - self._origin[1]
        x = columns * back[0, 0] + rows * back[1, 0]
        y = columns * back[0, 1] + rows * back[1, 1]
        return x.astype(np.float32), y.astype(np.float32)

    def fill(self, outline: Outline, colour: Colour) -> None:
        """Fills an outline."""
        cv2.fillPoly(self.pixels, [self._fixed(self.to_pixels(outline))], colour, 8, _SHIFT)

    def line(self, points: Outline, widths: Sequence[float], colour: Colour) -> None:
        """Draws a smooth line through points, with a width that changes along it."""
        self.fill(ribbon(smooth(points), widths), colour)

    def wash(self, outline: Outline, colour: Colour, alpha: float) -> None:
        """Fills an outline with thin paint."""
        corners = self.to_pixels(outline)
        found = self._box(corners, margin=1)
        if found is None or alpha <= 0.0:
            return
        left, top, right, bottom = found
        part = self.pixels[top:bottom, left:right]
        painted = part.copy()
        cv2.fillPoly(painted, [self._fixed(corners - (left, top))], colour, 8, _SHIFT)
        part[:] = cv2.addWeighted(painted, min(alpha, 1.0), part, 1.0 - min(alpha, 1.0), 0.0)

    def soft(self, outline: Outline, colour: Colour, alpha: float, blur: float) -> None:
        """Mixes a colour in through a blurred outline; `blur` is a deviation in face units."""
        if alpha <= 0.0:
            return
        corners = self.to_pixels(outline)
        sigma = max(blur * self.unit_px, 0.3)
        found = self._box(corners, margin=math.ceil(2.5 * sigma) + 1)
        if found is None:
            return
        left, top, right, bottom = found
        mask = np.zeros((bottom - top, right - left), dtype=np.float32)
        cv2.fillPoly(mask, [self._fixed(corners - (left, top))], alpha, 8, _SHIFT)
        mask = cv2.GaussianBlur(mask, (0, 0), sigma)
        part = self.pixels[top:bottom, left:right]
        if part.ndim == 3:
            mask = mask[..., np.newaxis]
        part += mask * (np.asarray(colour, dtype=np.float32) - part)

    @contextmanager
    def inside(self, *outlines: Outline) -> Iterator["Canvas"]:
        """Lends a canvas whose paint stays inside the outlines."""
        corners = [self.to_pixels(outline) for outline in outlines]
        found = self._box(np.concatenate(corners), margin=1)
        if found is None:
            yield Canvas(self.pixels[:1, :1].copy(), self._turn, self._origin)
            return
        left, top, right, bottom = found
        part = self.pixels[top:bottom, left:right]
        lent = Canvas(part.copy(), self._turn, self._origin - (left, top))
        yield lent
        mask = np.zeros(part.shape[:2], dtype=np.uint8)
        for corner in corners:
            cv2.fillPoly(mask, [self._fixed(corner - (left, top))], 255, 8, _SHIFT)
        cv2.copyTo(lent.pixels, mask, part)

    def paste(self, layer: "Canvas", *outlines: Outline) -> None:
        """Shows a softly painted, smaller layer through crisp outlines (or all over)."""
        if not outlines:
            self.pixels[:] = layer.enlarged(self.pixels.shape[0])
            return
        mask = np.zeros(self.pixels.shape[:2], dtype=np.uint8)
        for outline in outlines:
            cv2.fillPoly(mask, [self._fixed(self.to_pixels(outline))], 255, 8, _SHIFT)
        cv2.copyTo(layer.enlarged(self.pixels.shape[0]), mask, self.pixels)

    def enlarged(self, side_px: int) -> UInt8[np.ndarray, "height width 3"]:
        """Gives the pixels as a larger picture of whole numbers."""
        whole = np.clip(self.pixels, 0, 255).astype(np.uint8)
        return cv2.resize(whole, (side_px, side_px), interpolation=cv2.INTER_LINEAR)

    def _box(self, corners: Points, margin: int) -> tuple[int, int, int, int] | None:
        height, width = self.pixels.shape[:2]
        low = np.floor(corners.min(axis=0)).astype(int) - margin
        high = np.ceil(corners.max(axis=0)).astype(int) + margin + 1
        left, top = max(int(low[0]), 0), max(int(low[1]), 0)
        right, bottom = min(int(high[0]), width), min(int(high[1]), height)
        return (left, top, right, bottom) if right > left and bottom > top else None

    @staticmethod
    def _fixed(corners: Points) -> np.ndarray:
        return np.rint(corners * (1 << _SHIFT)).astype(np.int32)
