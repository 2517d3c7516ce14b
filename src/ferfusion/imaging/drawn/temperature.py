"""The temperature map of a drawn face, as a thermal camera sees it."""

import cv2
import numpy as np
from jaxtyping import Float

from ferfusion.imaging.drawn.canvas import Canvas, Pose, both_sides, ellipse, smooth
from ferfusion.imaging.drawn.drawing import clothes_outline, neck_outline, scalp_outline
from ferfusion.imaging.drawn.features import beard_outline, lens_outline
from ferfusion.imaging.drawn.geometry import Face
from ferfusion.imaging.drawn.hair import Hair

_FINE = 2


def paint_temperature(
    face: Face,
    hair: Hair,
    pose: Pose,
    size_px: int,
    rng: np.random.Generator,
    misalignment: float = 1.0,
) -> Float[np.ndarray, "height width"]:
    """Gives the temperature of every pixel in degrees Celsius.

    Skin is near 34, warmest beside the eyes and on the neck; nose and ears are cooler and vary
    most from person to person; hair, clothes and glasses lie between skin and room. Anger and
    surprise cool the nose a little and warm the skin around the eyes.

    Args:
        face: Its outlines.
        hair: Its hair.
        pose: Where the head is.
        size_px: Side of the map.
        rng: Draws room, mood of the blood vessels, sensor noise and the camera's small
            misalignment with the visible one.
        misalignment: How much of that there is; 0 for a camera that sees as the visible one does.
    """
    room = float(rng.uniform(21.0, 24.0))
    skin = 33.9 + face.person.warmth_c + float(rng.normal(0.0, 0.15))
    canvas = Canvas.blank(size_px, pose, room, fine=_FINE, dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        thing = ellipse(rng.uniform(-2, 2), rng.uniform(-2, 1), *rng.uniform(0.3, 0.9, 2))
        canvas.soft(thing, room + rng.uniform(-0.8, 1.2), 1.0, 0.12)
    covering = room + (0.48 if hair.is_cloth else 0.40) * (skin - room)
    for outline in hair.back:
        canvas.fill(outline, covering)
    _warm_body(canvas, face, skin, cloth=room + 0.42 * (skin - room) + rng.normal(0.0, 0.5))
    _warm_head(canvas, face, hair, skin)
    _warm_features(canvas, face, skin, breath=float(rng.uniform(-1.5, 0.8)))
    for outline in hair.front:
        canvas.soft(outline, covering + 1.0, 1.0, 0.02)
    for strand in hair.strands:
        canvas.line(strand[:: max(len(strand) // 6, 1)], (0.02, 0.05, 0.02), covering + 0.4)
    if face.person.glasses is not None:
        for side in (-1.0, 1.0):
            canvas.fill(lens_outline(face, side), room + 0.3 * (skin - room))
    return _sense(canvas, size_px, rng, misalignment)


def _warm_body(canvas: Canvas, face: Face, skin: float, cloth: float) -> None:
    n = face.person.neck_width
    canvas.fill(clothes_outline(face.person), cloth)
    canvas.soft(ellipse(0.0, 1.5, n + 0.3, 0.25), cloth + 2.0, 0.7, 0.12)
    canvas.fill(neck_outline(face.person), skin + 0.5)
    if face.person.clothes == "turtleneck":
        band = both_sides([(0.0, 1.2), (n + 0.05, 1.16), (n + 0.1, 1.5), (0.0, 1.68)])
        canvas.fill(band, cloth + 2.0)


def _warm_head(canvas: Canvas, face: Face, hair: Hair, skin: float) -> None:
    m, person = face.muscles, face.person
    for ear in face.ears:
        canvas.fill(ear, skin - person.cool_ears_c)
    canvas.fill(face.head, skin)
    with canvas.inside(face.head) as part:

        def spot(cx: float, cy: float, w: float, h: float, celsius: float, alpha: float,
                 blur: float) -> None:  # fmt: skip
            part.soft(face.front(ellipse(cx, cy, w, h)), celsius, alpha, blur)

        spot(0.0, -0.66, 0.55, 0.22, skin + 0.8, 0.9, 0.14)
        excited = max(0.9 * m.brow_lower, m.lid_raise)
        for s in (-1.0, 1.0):
            spot(s * 0.95, 0.2, 0.10, 0.9, skin - 1.8, 0.8, 0.08)
            cheek = skin - person.cool_cheeks_c - 0.3 * m.corner_pull
            spot(s * 0.55, 0.40 - 0.07 * m.corner_pull, 0.26, 0.24, cheek, 0.9, 0.10)
            spot(s * 0.30, -0.06, 0.18, 0.12, skin + 0.9 + 0.5 * excited, 0.9, 0.06)
        spot(0.0, face.chin_y - 0.18, 0.26, 0.12, skin - 0.9, 0.8, 0.08)
        (x, y), w = face.nose_tip, face.nose_width
        nose = [(0.7 * x, -0.05), (x + 0.09, 0.2), (x + w, y), (x + 0.1, y + 0.08),
                (x - 0.1, y + 0.08), (x - w, y), (x - 0.09, 0.2)]  # fmt: skip
        cool = person.cool_nose_c + 0.7 * excited
        part.soft(smooth(nose, closed=True), skin - cool, 0.85, 0.05)
        if hair.stubble:
            part.soft(scalp_outline(), skin - 1.8, 0.85, 0.06)
        if person.beard:
            part.soft(beard_outline(face), skin - 2.8, 0.9 * person.beard, 0.05)
        if person.moustache:
            top = float(face.mouth.top[:, 1].min())
            spot(0.0, top - 0.04, 0.26, 0.05, skin - 1.8, 0.8 * person.moustache, 0.03)


def _warm_features(canvas: Canvas, face: Face, skin: float, breath: float) -> None:
    m, mouth = face.muscles, face.mouth
    (x, y), w = face.nose_tip, face.nose_width
    for side in (-1.0, 1.0):
        nostril = ellipse(x + side * w * 0.45, y + 0.06, 0.05, 0.03)
        canvas.soft(nostril, skin + breath, 0.8, 0.02)
        if m.brow_lower > 0.3:  # A fold is a small cavity, and so looks warm.
            frown = face.front([(side * 0.08, -0.37), (side * 0.055, -0.25), (side * 0.075, -0.14)])
            canvas.line(frown, (0.02, 0.04, 0.02), skin + 1.2)
        half = abs(float(mouth.upper[-1, 0]) - face.yaw)
        smile = max(m.corner_pull, m.nose_wrinkle)
        if smile > 0.3:
            cheek = face.front([(side * (w + 0.04), 0.37), (side * (half + 0.06), 0.56),
                                (side * (half + 0.09), 0.72)])  # fmt: skip
            canvas.line(cheek, (0.02, 0.05, 0.02), skin + 0.2)
    for eye in face.eyes:
        canvas.soft(eye.opening, skin - 0.7, 0.95, 0.015)
        inner = eye.opening[0 if eye.side > 0 else 32]
        canvas.soft(ellipse(inner[0], inner[1], 0.055), skin + 1.8, 0.9, 0.03)
        canvas.line(eye.crease[::4], (0.01, 0.03, 0.01), skin + 1.3)
    thick = face.person.brow_thickness
    for brow in face.brows:
        canvas.line(brow[::3], (0.7 * thick, 1.1 * thick, 0.3 * thick), skin - 0.7)
    canvas.fill(mouth.outline, skin + 0.2)
    if mouth.openness > 0.015:
        canvas.fill(mouth.cavity, skin + 1.7)
        canvas.fill(mouth.upper_teeth, skin - 1.2)
        if m.lip_raise > 0.3:
            canvas.fill(mouth.lower_teeth, skin - 0.9)
    else:
        canvas.line(mouth.upper[::4], (0.02, 0.05, 0.02), skin + 1.3)


def _sense(
    scene: Canvas, size_px: int, rng: np.random.Generator, misalignment: float
) -> Float[np.ndarray, "height width"]:
    """Blurs as a thermal lens does, misses the visible picture by a little, and adds noise."""
    blurred = cv2.GaussianBlur(scene.pixels, (0, 0), 0.0125 * size_px * _FINE)
    middle = size_px * _FINE / 2.0
    turn, scale = misalignment * rng.normal(0.0, 0.5), 1 + misalignment * rng.normal(0.0, 0.005)
    move = cv2.getRotationMatrix2D((middle, middle), float(turn), float(scale))
    move[:, 2] += misalignment * rng.normal(0.0, 0.008, 2) * size_px * _FINE
    scene.pixels = cv2.warpAffine(
        blurred, move, blurred.shape[::-1], borderMode=cv2.BORDER_REPLICATE
    )
    grain = rng.normal(0.0, 0.12, (128, 128)) + rng.normal(0.0, 0.04, (1, 128))
    if size_px != 128:
        grain = cv2.resize(grain, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    return scene.finished() + grain.astype(np.float32)
