"""The features of the visible face: eyes, brows, nose, mouth, folds, beard, glasses."""

from dataclasses import dataclass

import numpy as np

from ferfusion.imaging.drawn.canvas import (
    Canvas,
    Colour,
    Outline,
    Points,
    both_sides,
    ellipse,
    moved,
    ribbon,
    smooth,
)
from ferfusion.imaging.drawn.geometry import Eye, Face, turned

WARM_WHITE = (255.0, 246.0, 234.0)


def mixed(first: Colour, second: Colour, share: float) -> tuple[float, ...]:
    """Mixes two colours; `share` is the second one's."""
    blend = (1.0 - share) * np.asarray(first) + share * np.asarray(second)
    return tuple(float(channel) for channel in blend)


def shaded(colour: Colour, factor: float) -> tuple[float, ...]:
    """Darkens a colour as shade does: green and blue go first."""
    return tuple(float(c) for c in np.asarray(colour) * factor * (1.0, 0.95, 0.94))


@dataclass(frozen=True)
class Tones:
    """A skin colour in light and shade."""

    skin: Colour
    shade: Colour
    deep: Colour
    shine: Colour
    blood: Colour


def skin_tones(skin: Colour) -> Tones:
    """Derives light, shade and flush from a skin colour."""
    return Tones(
        skin=skin,
        shade=shaded(skin, 0.74),
        deep=shaded(skin, 0.46),
        shine=mixed(skin, WARM_WHITE, 0.42),
        blood=mixed(shaded(skin, 0.92), (214, 74, 70), 0.42),
    )


def paint_eye(canvas: Canvas, face: Face, eye: Eye, tones: Tones) -> None:
    """Paints the eyeball, its shadow, the lids and the lashes."""
    person = face.person
    dark = mixed((34, 22, 22), shaded(person.hair, 0.5), 0.3)
    iris, (x, y), r = person.iris, eye.iris, eye.iris_radius
    with canvas.inside(eye.opening) as part:
        part.fill(eye.opening, (244, 240, 236))
        part.fill(ellipse(x, y, r), shaded(iris, 0.5))
        part.fill(ellipse(x, y + 0.008, r * 0.84), iris)
        glow = mixed(iris, (255, 226, 170), 0.38)
        part.fill(ellipse(x, y + r * 0.42, r * 0.55, r * 0.38), glow)
        part.fill(ellipse(x, y, r * 0.46), (16, 12, 14))
        lid_shadow = np.concatenate([eye.upper, moved(eye.upper, 0.0, 0.05)[::-1]])
        part.wash(lid_shadow, (70, 52, 56), 0.45)
        inner = eye.opening[0 if eye.side > 0 else 32]
        part.fill(ellipse(inner[0] + 0.012 * eye.side, inner[1], 0.026), (222, 150, 146))
        part.fill(ellipse(x - 0.036, y - 0.042, 0.033), (255, 255, 255))
        part.fill(ellipse(x + 0.04, y + 0.04, 0.014), (228, 228, 234))
    canvas.line(eye.lower[2:-2:3], (0.01, 0.02, 0.014), mixed(tones.deep, tones.shade, 0.25))
    heavy = 0.036 + 0.02 * person.lashes
    widths = (0.012, heavy, heavy * 1.1)[:: eye.side]
    canvas.line(eye.upper[::4], widths, dark)
    if person.lashes > 0.6:
        outer = eye.upper[-1 if eye.side > 0 else 0]
        wing = moved([(-0.05 * eye.side, -0.02), (0.045 * eye.side, -0.045)], *outer.tolist())
        canvas.line(wing, (0.04, 0.01), dark)
    canvas.line(eye.crease[::4], (0.008, 0.022, 0.008), mixed(tones.shade, tones.deep, 0.5))


def paint_brows(canvas: Canvas, face: Face, tones: Tones) -> None:
    """Paints the brows; those of fair people are darker than their hair."""
    hair, thick = face.person.hair, face.person.brow_thickness
    fair = sum(hair) > 420
    colour = (
        mixed(shaded(hair, 0.55), tones.deep, 0.45)
        if fair
        else mixed(shaded(hair, 0.8), tones.skin, 0.1)
    )
    for brow in face.brows:
        canvas.wash(ribbon(smooth(brow[::3]), (thick * 0.9, thick * 1.3, thick, 0.01)), colour, 0.4)
        canvas.line(brow[::3], (thick * 0.7, thick, thick * 0.8, thick * 0.15), colour)


def paint_nose(canvas: Canvas, face: Face, tones: Tones) -> None:
    """Paints wings and nostrils; the bridge is shading and belongs to the skin."""
    (x, y), w = face.nose_tip, face.nose_width
    tone = mixed(tones.shade, tones.deep, 0.6)
    for side in (-1.0, 1.0):
        wing = [(x + side * w * 0.88, y - 0.09), (x + side * w * 1.05, y - 0.01),
                (x + side * w * 0.93, y + 0.06), (x + side * w * 0.68, y + 0.065)]  # fmt: skip
        canvas.line(wing, (0.008, 0.03, 0.014), tone)
        hole = ellipse(0.0, 0.0, 0.056, 0.024)
        hole[:, 1] += 0.25 * side * hole[:, 0]
        canvas.fill(moved(hole, x + side * w * 0.45, y + 0.062), shaded(tones.deep, 0.66))
    base = [(x - w * 0.25, y + 0.07), (x, y + 0.088), (x + w * 0.25, y + 0.07)]
    canvas.line(base, (0.01, 0.022, 0.01), tone)


def paint_mouth(canvas: Canvas, face: Face, tones: Tones) -> None:
    """Paints lips and, where they part, teeth, tongue and the dark between."""
    mouth, lips = face.mouth, face.person.lips
    canvas.fill(mouth.outline, lips)
    with canvas.inside(mouth.outline) as part:
        part.fill(np.concatenate([mouth.top, mouth.upper[::-1]]), shaded(lips, 0.84))
        gleam = (0.55 * mouth.lower + 0.45 * mouth.bottom)[11:22:2]
        part.wash(ribbon(smooth(gleam), (0.01, 0.036, 0.01)), (255, 232, 226), 0.4)
    if mouth.openness > 0.015:
        with canvas.inside(mouth.cavity) as part:
            part.fill(mouth.cavity, (62, 18, 22))
            part.fill(mouth.tongue, (186, 84, 88))
            part.fill(mouth.upper_teeth, (250, 247, 240))
            if face.muscles.lip_raise > 0.3:
                part.fill(mouth.lower_teeth, (238, 233, 226))
            part.wash(ribbon(mouth.upper, (0.02, 0.06, 0.02)), (80, 30, 34), 0.4)
        canvas.line(mouth.lower[1:-1:3], (0.006, 0.016, 0.006), shaded(lips, 0.6))
        canvas.line(mouth.upper[1:-1:3], (0.006, 0.018, 0.006), shaded(lips, 0.5))
    else:
        canvas.line(mouth.upper[::4], (0.014, 0.036, 0.014), shaded(lips, 0.42))
    for x, y in (mouth.upper[0], mouth.upper[-1]):
        canvas.fill(ellipse(x, y, 0.02), shaded(tones.deep, 0.85))


def paint_folds(canvas: Canvas, face: Face, tones: Tones) -> None:
    """Paints the lines that muscles, and years, fold into the skin."""
    m, years = face.muscles, face.person.wrinkles
    tone = mixed(tones.shade, tones.deep, 0.75)

    def fold(points: Outline, strength: float, width: float = 0.034) -> None:
        if strength < 0.12:
            return
        strength = min(strength, 1.0)
        line = smooth(face.front(points))
        canvas.wash(ribbon(line, (0.4 * width, 2.2 * width, 0.4 * width)), tone, 0.16 * strength)
        width *= 0.45 + 0.55 * strength
        canvas.wash(ribbon(line, (0.3 * width, width, 0.15 * width)), tone, 0.35 + 0.5 * strength)

    left, right = face.mouth.upper[0], face.mouth.upper[-1]
    half, corner_y = float(right[0] - left[0]) / 2.0, float(right[1])
    w, low = face.nose_width, float(face.mouth.bottom[:, 1].max())
    smile = max(m.corner_pull, 0.8 * m.nose_wrinkle, 0.8 * m.lip_raise, 0.45 * m.corner_depress)
    for s in (-1.0, 1.0):
        frown = [(s * 0.085, -0.37), (s * 0.06, -0.25), (s * 0.08, -0.14)]
        fold(frown, m.brow_lower)
        fold([(s * 0.11, -0.03), (s * 0.05, 0.02), (s * 0.03, 0.07)], m.nose_wrinkle, 0.026)
        cheek = [(s * (w + 0.03), 0.35), (s * (w + 0.13 + 0.05 * m.corner_pull), 0.45),
                 (s * max(half + 0.09, w + 0.17), corner_y - 0.08),
                 (s * max(half + 0.095, w + 0.17), corner_y + 0.04)]  # fmt: skip
        fold(cheek, max(0.85 * smile, 0.9 * years))
        dimple = [(s * (half + 0.025), corner_y - 0.04), (s * (half + 0.05), corner_y),
                  (s * (half + 0.035), corner_y + 0.04)]  # fmt: skip
        fold(dimple, 0.8 * m.corner_pull, 0.028)
        droop = [(s * (half + 0.015), corner_y), (s * (half + 0.045), corner_y + 0.06),
                 (s * (half + 0.05), corner_y + 0.13)]  # fmt: skip
        fold(droop, 0.8 * m.corner_depress, 0.03)
        for k in (-1, 0, 1):
            y = -0.03 + 0.04 * k
            crow = [(s * 0.68, y), (s * 0.73, y + 0.02 * k), (s * 0.78, y + 0.05 * k + 0.005)]
            fold(crow, max(0.55 * m.cheek_raise, 0.6 * years), 0.02)
        bag = [(s * 0.25, 0.12), (s * 0.40, 0.175 - 0.05 * m.cheek_raise), (s * 0.58, 0.11)]
        fold(bag, max(0.55 * m.cheek_raise, 0.7 * years), 0.026)
    spread = 0.26 + 0.26 * min(m.brow_outer, 1.0)
    for y in (-0.64, -0.75):
        brow = [(-spread, y + 0.03), (-spread * 0.4, y - 0.01), (0.0, y + 0.012),
                (spread * 0.4, y - 0.01), (spread, y + 0.03)]  # fmt: skip
        fold(brow, max(0.75 * m.brow_inner, 0.6 * years), 0.026)
    fold([(-0.12, low + 0.14), (0.0, low + 0.11), (0.12, low + 0.14)], 0.8 * m.chin_raise, 0.028)


def paint_beard(canvas: Canvas, face: Face) -> None:
    """Paints beard and moustache, soft at the edges, where there are any."""
    person, mouth = face.person, face.mouth
    if not person.beard and not person.moustache:
        return
    hair = mixed(shaded(person.hair, 0.95), person.skin, 0.12)
    layer = canvas.layer((0.0, 0.0, 0.0))
    layer.pixels[:] = canvas.finished()
    if person.beard:
        layer.soft(beard_outline(face), hair, 0.92 * person.beard, 0.035)
        chin = ellipse(face.yaw, face.chin_y - 0.08, 0.25, 0.08)
        layer.soft(chin, mixed(hair, WARM_WHITE, 0.2), 0.4 * person.beard, 0.05)
    if person.moustache:
        half = float(mouth.upper[-1, 0] - mouth.upper[0, 0]) / 2.0
        y, top = float(mouth.upper[0, 1]), float(mouth.top[:, 1].min())
        moustache = both_sides(
            [(0.0, top - 0.10), (0.14, top - 0.11), (half * 0.75, top - 0.05),
             (half + 0.07, y + 0.03), (half + 0.03, y + 0.06), (half * 0.7, top + 0.03),
             (0.0, top + 0.03)]
        )  # fmt: skip
        layer.soft(face.front(smooth(moustache, closed=True)), hair, 0.92 * person.moustache, 0.022)
    canvas.paste(layer, face.head)


def beard_outline(face: Face) -> Points:
    """Outlines a full beard; it runs on beyond the jaw, for the head to cut off."""
    mouth = face.mouth
    half = float(mouth.upper[-1, 0] - mouth.upper[0, 0]) / 2.0
    y, low = float(mouth.upper[0, 1]), float(mouth.bottom[:, 1].max())
    right = [(0.0, 1.7), (0.6, 1.6), (1.1, 0.6), (0.97, -0.05), (0.87, 0.12), (0.80, 0.42),
             (0.60, 0.60), (half + 0.12, y), (half * 0.75, low + 0.03),
             (0.0, low + 0.05)]  # fmt: skip
    return turned(smooth(both_sides(right), closed=True), face.yaw * 0.5)


def paint_glasses(canvas: Canvas, face: Face) -> None:
    """Paints glasses, where there are any."""
    person = face.person
    if person.glasses is None:
        return
    for side in (-1.0, 1.0):
        lens = lens_outline(face, side)
        x = side * person.eye_spacing + face.yaw
        with canvas.inside(lens) as part:
            part.wash(lens, (205, 225, 240), 0.10)
            for near, wide in ((-0.12, 0.06), (-0.02, 0.025)):
                glint = [(0.13, -0.3), (0.13 + wide, -0.3), (wide - 0.12, 0.3), (-0.12, 0.3)]
                part.wash(moved(glint, x + near, 0.0), (255, 255, 255), 0.16)
        canvas.line(np.concatenate([lens, lens[:2]]), (0.04, 0.04), person.frame)
        hinge = face.front([(side * (person.eye_spacing + 0.29), -0.08)])[0]
        canvas.line([hinge, (side * 0.97 * person.head_width, -0.12)], (0.04, 0.03), person.frame)
    reach = person.eye_spacing - 0.28
    bridge = face.front([(-reach, -0.06), (0.0, -0.10), (reach, -0.06)])
    canvas.line(bridge, (0.04, 0.035, 0.04), person.frame)


def lens_outline(face: Face, side: float) -> Points:
    """Outlines one lens of a pair of glasses."""
    x = side * face.person.eye_spacing
    if face.person.glasses == "round":
        return face.front(ellipse(x, -0.01, 0.285, 0.265))
    box = [(-0.29, -0.19), (0.0, -0.21), (0.29, -0.19), (0.30, 0.02), (0.22, 0.20), (0.0, 0.23),
           (-0.22, 0.20), (-0.30, 0.02)]  # fmt: skip
    return face.front(smooth(moved(box, x, 0.0), closed=True, steps=4))
