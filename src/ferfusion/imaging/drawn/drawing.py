"""The visible picture of a drawn face, in even light."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from ferfusion.imaging.drawn.canvas import (
    Canvas,
    Colour,
    Points,
    Pose,
    both_sides,
    ellipse,
    moved,
    smooth,
)
from ferfusion.imaging.drawn.features import (
    WARM_WHITE,
    Tones,
    mixed,
    paint_beard,
    paint_brows,
    paint_eye,
    paint_folds,
    paint_glasses,
    paint_mouth,
    paint_nose,
    shaded,
    skin_tones,
)
from ferfusion.imaging.drawn.geometry import Face
from ferfusion.imaging.drawn.hair import Hair
from ferfusion.imaging.drawn.identity import Identity

_WALLS = ((196, 206, 212), (214, 204, 190), (168, 186, 190), (206, 190, 196), (150, 160, 176),
          (190, 200, 176), (226, 222, 214), (120, 132, 146))  # fmt: skip


def paint_face(
    face: Face, hair: Hair, pose: Pose, size_px: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """Paints a face from the back to the front, RGB. `rng` draws the background only."""
    person = face.person
    tones = skin_tones(person.skin)
    canvas = Canvas.blank(size_px, pose, (0, 0, 0), fine=4 if size_px <= 160 else 3)
    covering = person.cloth_accent if hair.is_cloth else person.hair
    _paint_background(canvas, face, rng)
    _paint_covering(canvas, hair.back, hair.back_strands, shaded(covering, 0.78))
    _paint_neck_and_clothes(canvas, face, tones)
    _paint_skin(canvas, face, hair, tones)
    for eye in face.eyes:
        paint_eye(canvas, face, eye, tones)
    paint_folds(canvas, face, tones)
    paint_nose(canvas, face, tones)
    paint_beard(canvas, face)
    paint_mouth(canvas, face, tones)
    paint_brows(canvas, face, tones)
    _paint_covering(canvas, hair.front, hair.strands, covering)
    paint_glasses(canvas, face)
    return canvas.finished()


def _paint_background(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    wall = np.array(_WALLS[int(rng.integers(len(_WALLS)))]) + rng.normal(0, 6, 3)
    layer = canvas.layer(tuple(wall))
    place = np.linspace(-1, 1, layer.pixels.shape[0], dtype=np.float32)
    down, across = rng.normal(0, 16, 2)
    layer.pixels += (place[:, np.newaxis] * down + place * across)[..., np.newaxis]
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(-2.0, 2.0), rng.uniform(-2.0, 1.6)
        tone = mixed(tuple(wall), tuple(rng.uniform(60, 250, 3)), 0.26)
        w, h = rng.uniform(0.2, 0.6), rng.uniform(0.3, 1.2)
        thing = np.array([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)])
        layer.soft(ellipse(x, y, w) if rng.random() < 0.5 else thing, tone, 0.8,
                   rng.uniform(0.05, 0.16))  # fmt: skip
    layer.soft(moved(face.head * 1.12, 0.12, 0.15), tuple(wall * 0.62), 0.5, 0.22)
    canvas.paste(layer)


def _paint_covering(
    canvas: Canvas, outlines: Sequence[Points], strands: Sequence[Points], colour: Colour
) -> None:
    """Paints hair or cloth: a soft base, a band of light over the crown, and strands."""
    if not outlines:
        return
    layer = canvas.layer(colour)
    crown = [(-0.8, -0.85), (-0.5, -1.18), (0.0, -1.3), (0.5, -1.18), (0.8, -0.85), (0.5, -1.02),
             (0.0, -1.12), (-0.5, -1.02)]  # fmt: skip
    layer.soft(smooth(crown, closed=True), mixed(colour, WARM_WHITE, 0.24), 0.55, 0.09)
    for side in (-1.0, 1.0):
        edge = np.array([(1.0, -0.7), (1.3, -0.3), (1.3, 2.2), (1.04, 2.2), (1.0, 0.0)])
        layer.soft(edge * (side, 1.0), shaded(colour, 0.62), 0.6, 0.10)
    canvas.paste(layer, *outlines)
    light, dark = mixed(colour, WARM_WHITE, 0.16), shaded(colour, 0.79)
    with canvas.inside(*outlines) as part:
        for k, strand in enumerate(strands):
            knots = strand[:: max(len(strand) // 6, 1)]
            part.line(knots, (0.010, 0.032, 0.008), light if k % 2 else dark)


def _paint_neck_and_clothes(canvas: Canvas, face: Face, tones: Tones) -> None:
    person, n = face.person, face.person.neck_width
    cloth, shade = person.cloth, shaded(person.cloth, 0.6)
    if person.clothes == "hoodie":
        canvas.fill(smooth(both_sides([(0.0, 1.16), (n + 0.2, 1.20), (n + 0.36, 1.46), (0.0, 1.8)]),
                           closed=True), shade)  # fmt: skip
    fabric = canvas.layer(cloth)
    under_chin = moved(face.head * (0.98, 1.0), 0.0, 0.17)
    for side in (-1.0, 1.0):
        arm = np.array([(1.25, 1.9), (1.35, 2.6), (1.15, 2.6)]) * (side, 1.0)
        fabric.soft(arm, shade, 0.8, 0.06)
        top = np.array([(0.7, 1.54), (1.25, 1.70), (1.25, 1.78), (0.7, 1.64)]) * (side, 1.0)
        fabric.soft(top, mixed(cloth, WARM_WHITE, 0.32), 0.6, 0.06)
    fabric.soft(ellipse(0.0, 1.48, n + 0.22, 0.26), shade, 0.7, 0.10)
    canvas.paste(fabric, clothes_outline(person))

    neck = canvas.layer(shaded(tones.skin, 0.93))
    neck.soft(under_chin, shaded(tones.skin, 0.58), 0.9, 0.07)
    for side in (-1.0, 1.0):
        edge = np.array([(n - 0.1, 0.9), (n + 0.1, 0.9), (n + 0.1, 1.5), (n - 0.06, 1.5)])
        neck.soft(edge * (side, 1.0), tones.shade, 0.7, 0.06)
        bone = np.array([(0.06, 1.52), (0.34, 1.55), (0.40, 1.60), (0.10, 1.60)])
        neck.soft(bone * (side, 1.0), tones.shade, 0.6, 0.03)
    canvas.paste(neck, neck_outline(person))
    _paint_collar(canvas, person, under_chin)


def neck_outline(person: Identity) -> Points:
    """Outlines what the clothes leave bare below the head."""
    n = person.neck_width
    low = {"v_neck": 1.96, "collar": 1.84}.get(person.clothes, 1.64)
    narrow = 0.56 if person.clothes in ("v_neck", "collar") else 0.80
    bare = both_sides([(0.0, 0.6), (n, 0.6), (n, 1.1), (n + 0.005, 1.36),
                       (n * narrow, 1.40 + 0.62 * (low - 1.40)), (0.0, low)])  # fmt: skip
    return smooth(bare, closed=True)


def clothes_outline(person: Identity) -> Points:
    """Outlines shoulders and chest."""
    n = person.neck_width
    right = [(0.0, 1.30), (n + 0.01, 1.32), (n + 0.28, 1.49), (1.22, 1.66), (1.62, 1.90),
             (1.76, 2.4), (1.8, 3.2), (0.0, 3.2)]  # fmt: skip
    return smooth(both_sides(right), closed=True)


def _paint_collar(canvas: Canvas, person: Identity, under_chin: Points) -> None:
    n, cloth = person.neck_width, person.cloth
    if person.clothes == "turtleneck":
        band = [(0.0, 1.20), (n + 0.02, 1.16), (n + 0.06, 1.34), (n + 0.08, 1.46), (0.0, 1.68)]
        roll = canvas.layer(mixed(cloth, WARM_WHITE, 0.08))
        roll.soft(under_chin, shaded(cloth, 0.5), 0.9, 0.06)
        canvas.paste(roll, smooth(both_sides(band), closed=True))
        return
    edge = neck_outline(person)
    edge = edge[edge[:, 1] > 1.34]
    edge = edge[np.argsort(edge[:, 0])][::3]
    rim = person.cloth_accent if person.clothes == "crew" else cloth
    canvas.line(edge, (0.06, 0.07, 0.06), shaded(rim, 0.78))
    for side in (-1.0, 1.0):
        if person.clothes == "collar":
            flap = np.array([(n - 0.02, 1.26), (n + 0.14, 1.46), (0.44, 1.96), (0.03, 1.82),
                             (n * 0.66, 1.56)]) * (side, 1.0)  # fmt: skip
            canvas.fill(moved(flap, 0.0, 0.03), shaded(cloth, 0.6))
            canvas.fill(flap, mixed(cloth, WARM_WHITE, 0.16 if side < 0 else 0.06))
        elif person.clothes == "hoodie":
            cord = [(side * 0.3, 1.62), (side * 0.34, 1.88), (side * 0.31, 2.2)]
            canvas.line(cord, (0.05, 0.045), mixed(cloth, WARM_WHITE, 0.6))


def scalp_outline() -> Points:
    """Outlines where close-cropped hair grows; it runs on beyond the head."""
    right = [(0.0, -1.6), (1.1, -1.6), (1.1, 0.1), (0.90, 0.0), (0.84, -0.5), (0.66, -0.82),
             (0.3, -0.93), (0.0, -0.90)]  # fmt: skip
    return smooth(both_sides(right), closed=True)


def _paint_skin(canvas: Canvas, face: Face, hair: Hair, tones: Tones) -> None:
    person, m = face.person, face.muscles
    ears = canvas.layer(mixed(shaded(tones.skin, 0.94), tones.blood, 0.25))
    for side, ear in zip((-1.0, 1.0), face.ears, strict=True):
        centre = ear.mean(axis=0)
        hollow = (ear - centre) * (0.5, 0.62) + centre + (0.015 * side, 0.0)
        ears.soft(hollow, shaded(tones.skin, 0.6), 0.8, 0.03)
    canvas.paste(ears, *face.ears)

    layer = canvas.layer(tones.skin)
    x, y = layer.to_units()
    # A head is round: light comes from above, a little from the left.
    across, down = x / 1.12, (y + 0.1) / 1.55
    depth = np.sqrt(np.clip(1.0 - across**2 - down**2, 0.05, 1.0))
    lit = 0.80 + 0.26 * (0.86 * depth - 0.22 * across - 0.36 * down)
    layer.pixels *= np.stack([lit, lit**1.12, lit**1.14], axis=2)

    def spot(cx: float, cy: float, w: float, h: float, colour: Colour, alpha: float,
             blur: float = 0.08) -> None:  # fmt: skip
        layer.soft(face.front(ellipse(cx, cy, w, h)), colour, alpha, blur)

    if hair.stubble:
        layer.soft(scalp_outline(), mixed(person.hair, tones.skin, 0.18), 0.86, 0.035)
    else:
        spot(-0.2, -0.88, 0.34, 0.16, tones.shine, 0.5, 0.12)
    spot(0.0, -0.60, 0.4, 0.12, tones.shine, 0.25, 0.12)
    lift = 0.08 * m.corner_pull
    flush = 0.34 + 0.2 * max(m.corner_pull, 0.7 * m.brow_lower)
    for s in (-1.0, 1.0):
        spot(s * 0.40, -0.12, 0.26, 0.15, tones.shade, 0.35)
        spot(s * 0.17, -0.12, 0.06, 0.13, tones.shade, 0.40, 0.05)
        spot(s * 0.56, 0.36 - lift, 0.22, 0.17, tones.blood, flush, 0.09)
        spot(s * 0.54, 0.27 - lift, 0.15, 0.08, tones.shine, 0.28 + 0.3 * m.cheek_raise, 0.06)
        spot(s * 0.40, 0.16, 0.18, 0.035, tones.shade, 0.2 + 0.3 * m.cheek_raise, 0.03)
        spot(s * 0.92, 0.35, 0.16, 0.6, tones.shade, 0.55, 0.10)
    spot(0.0, -0.26, 0.10, 0.10, tones.shade, 0.6 * m.brow_lower, 0.04)
    low = float(face.mouth.bottom[:, 1].max())
    spot(0.0, person.mouth_y - 0.15, 0.05, 0.06, tones.shade, 0.4, 0.03)
    spot(0.0, low + 0.07, 0.2, 0.04, tones.shade, 0.75, 0.035)
    spot(0.0, face.chin_y - 0.17, 0.2, 0.1, tones.shine, 0.22, 0.07)
    _shade_nose(layer, face, tones)
    for outline in hair.front:
        layer.soft(moved(outline, 0.02, 0.06), tones.deep, 0.55, 0.045)
    canvas.paste(layer, face.head)
    if person.freckles:
        _paint_freckles(canvas, face, lift)


def _shade_nose(layer: Canvas, face: Face, tones: Tones) -> None:
    (x, y), w = face.nose_tip, face.nose_width
    root = 0.6 * x
    side = [(root + 0.06, -0.18), (x + 0.10, 0.14), (x + w, y), (x + 0.06, y), (x + 0.04, 0.1)]
    layer.soft(smooth(side, closed=True), tones.shade, 0.7, 0.035)
    layer.soft(ellipse(x, y + 0.09, w * 0.95, 0.035), tones.deep, 0.5, 0.03)
    layer.soft(ellipse(x, y - 0.03, 0.09, 0.08), tones.blood, 0.28, 0.04)
    bridge = [(root - 0.03, -0.1), (root + 0.02, -0.1), (x + 0.015, 0.2), (x - 0.04, 0.2)]
    layer.soft(smooth(bridge, closed=True), tones.shine, 0.6, 0.025)
    layer.soft(ellipse(x - 0.025, y - 0.06, 0.045, 0.04), WARM_WHITE, 0.5, 0.02)


def _paint_freckles(canvas: Canvas, face: Face, lift: float) -> None:
    rng = np.random.default_rng([face.person.seed, 3])
    for _ in range(int(26 * face.person.freckles)):
        x, y = rng.normal(0, 0.36), rng.normal(0.27 - lift, 0.09)
        canvas.wash(face.front(ellipse(x, y, 0.014)), (150, 84, 50), 0.45)
