"""The temperature map of a drawn face, as a thermal camera sees it."""

import cv2
import numpy as np
from jaxtyping import Float

from ferfusion.imaging.face_canvas import Canvas, Pose, both_sides, ellipse, smooth
from ferfusion.imaging.face_drawing import glass
from ferfusion.imaging.face_geometry import FaceShape, turned
from ferfusion.imaging.face_hair import Hair
from ferfusion.imaging.face_identity import Identity
from ferfusion.imaging.face_muscles import Muscles

_FINE = 2


def paint_temperature(
    person: Identity,
    shape: FaceShape,
    hair: Hair,
    muscles: Muscles,
    pose: Pose,
    yaw: float,
    size_px: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "height width"]:
    """Gives the temperature of every pixel in degrees Celsius.

    Skin is near 34, warmest beside the eyes and on the neck; nose and ears are cooler and vary
    most from person to person; hair, clothes and glasses lie between skin and room. Anger and
    surprise cool the nose a little and warm the skin around the eyes.
    """
    m = muscles
    room = float(rng.uniform(21.0, 24.0))
    base = 34.0 + person.warmth_c + float(rng.normal(0, 0.15))
    canvas = Canvas.blank(size_px * _FINE, pose, room, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        spot = ellipse(rng.uniform(-2, 2), rng.uniform(-2, 1), *rng.uniform(0.3, 0.9, 2))
        canvas.soft(spot, room + rng.uniform(-0.8, 1.2), 1.0, 0.12)
    cloth = room + 0.42 * (base - room) + float(rng.normal(0, 0.5))
    worn = room + (0.45 if hair.is_cloth else 0.36) * (base - room)
    n = person.neck_width

    def spot(cx: float, cy: float, w: float, h: float, celsius: float, alpha: float = 1.0,
             blur: float = 0.06) -> None:  # fmt: skip
        canvas.soft(turned(ellipse(cx, cy, w, h), yaw), celsius, alpha, blur)

    for outline in hair.back:
        canvas.fill(outline, worn)
    shoulders = both_sides([(0.0, 1.40), (n + 0.05, 1.42), (n + 0.3, 1.52), (1.22, 1.66),
                            (1.62, 1.90), (1.8, 3.2), (0.0, 3.2)])  # fmt: skip
    column = both_sides([(0.0, 0.6), (n, 0.6), (n, 1.2), (n + 0.05, 1.42), (n * 0.8, 1.55),
                         (0.0, 1.66)])  # fmt: skip
    canvas.fill(smooth(shoulders, closed=True), cloth)
    canvas.soft(ellipse(0, 1.5, n + 0.3, 0.25), cloth + 2.0, 0.7, 0.12)
    canvas.fill(column, base + 0.6)
    if person.clothes == "turtleneck":
        canvas.fill(both_sides([(0.0, 1.2), (n + 0.05, 1.16), (n + 0.1, 1.5), (0, 1.66)]), cloth + 2)
    for ear in shape.ears:
        canvas.fill(ear, base - person.cool_ears_c)
    canvas.fill(shape.head, base)

    excited = max(m.brow_lower * 0.9, m.lid_raise)
    spot(0.0, -0.66, 0.55, 0.22, base + 0.7, 0.9, 0.14)
    for side in (-1.0, 1.0):
        spot(side * 0.93, 0.2, 0.10, 0.8, base - 1.3, 0.8, 0.08)  # the head's edge
        spot(side * 0.55, 0.38 - 0.06 * m.corner_pull, 0.26, 0.22,
             base - 0.9 - 0.3 * m.corner_pull, 0.9, 0.10)  # fmt: skip
        spot(side * 0.30, -0.10, 0.17, 0.11, base + 0.8 + 0.5 * excited, 0.9, 0.06)
    for eye in shape.eyes:
        canvas.soft(eye.opening, base - 0.5, 0.9, 0.02)
        inner = eye.opening[0 if eye.side > 0 else 32]
        canvas.soft(ellipse(*inner, 0.05), base + 1.5 + 0.3 * excited, 0.9, 0.03)
    x, y = shape.nose_tip
    nose = base - person.cool_nose_c - 0.7 * excited
    canvas.soft(smooth([(x * 0.7, -0.05), (x + 0.09, 0.2), (x + shape.nose_width, y),
                        (x + 0.1, y + 0.08), (x - 0.1, y + 0.08), (x - shape.nose_width, y),
                        (x - 0.09, 0.2)], closed=True), nose, 0.85, 0.05)  # fmt: skip
    for side in (-1.0, 1.0):
        canvas.soft(ellipse(x + side * shape.nose_width * 0.45, y + 0.06, 0.05, 0.03),
                    base + rng.uniform(-1.5, 0.8), 0.8, 0.02)  # fmt: skip

    if hair.stubble:
        scalp = smooth([(-1.1, 0.0), (-1.1, -1.6), (1.1, -1.6), (1.1, 0.0), (0.84, -0.5),
                        (0.66, -0.82), (0.0, -0.90), (-0.66, -0.82), (-0.84, -0.5)], closed=True)  # fmt: skip
        with canvas.inside(shape.head) as part:
            part.soft(scalp, base - 1.6, 0.85, 0.06)
    for brow in shape.brows:
        canvas.line(brow[::3], (0.05, 0.08, 0.03), base - 0.7)
    mouth = shape.mouth
    if person.beard:
        with canvas.inside(shape.head) as part:
            low = float(mouth.bottom[:, 1].max())
            jaw = smooth([(-1.0, 0.1), (-0.8, 1.4), (0.8, 1.4), (1.0, 0.1), (0.8, 0.45), (0.5, 0.66),
                          (0.2, low + 0.04), (-0.2, low + 0.04), (-0.5, 0.66), (-0.8, 0.45)],
                         closed=True)  # fmt: skip
            part.soft(jaw, base - 2.6, 0.9 * person.beard, 0.05)
    if person.moustache:
        top = float(mouth.top[:, 1].min())
        spot(0.0, top - 0.04, 0.26, 0.05, base - 1.6, 0.8 * person.moustache, 0.03)
    canvas.fill(mouth.outline, base + 0.1)
    if mouth.openness > 0.015:
        canvas.fill(mouth.cavity, base + 1.6)
        canvas.fill(mouth.upper_teeth, base - 0.9)
        if m.lip_raise > 0.3:
            canvas.fill(mouth.lower_teeth, base - 0.7)
    else:
        canvas.line(mouth.upper[::4], (0.02, 0.045, 0.02), base + 0.9)
    for outline in hair.front:
        canvas.fill(outline, worn + 1.0)
    for strand in hair.strands:
        canvas.line(strand[:: max(len(strand) // 6, 1)], (0.02, 0.05, 0.02), worn + 0.4)
    if person.glasses is not None:
        for side in (-1.0, 1.0):
            lens = glass(person.glasses, side * person.eye_spacing, yaw)
            canvas.fill(lens, room + 0.25 * (base - room) + 1.0)
    return _sense(canvas.pixels, size_px, rng)


def _sense(
    scene: Float[np.ndarray, "fine fine"], size_px: int, rng: np.random.Generator
) -> Float[np.ndarray, "height width"]:
    """Blurs as a thermal lens does, adds the sensor's noise, and misses the visible by a little."""
    blurred = cv2.GaussianBlur(scene, (0, 0), 0.0085 * size_px * _FINE)
    miss = rng.normal(0.0, 0.008, 2) * size_px
    angle = rng.normal(0.0, 0.6)
    centre = (size_px * _FINE / 2.0, size_px * _FINE / 2.0)
    move = cv2.getRotationMatrix2D(centre, angle, float(rng.normal(1.0, 0.006)))
    move[:, 2] += miss * _FINE
    moved = cv2.warpAffine(blurred, move, blurred.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    sensed = cv2.resize(moved, (size_px, size_px), interpolation=cv2.INTER_AREA)
    grain = rng.normal(0.0, 0.11, (128, 128)) + rng.normal(0.0, 0.04, (1, 128))
    grain = grain.astype(np.float32)
    if size_px != 128:
        grain = cv2.resize(grain, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    return sensed + grain
