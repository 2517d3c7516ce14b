"""The visible picture of a drawn face."""

import cv2
import numpy as np
from jaxtyping import UInt8

from ferfusion.imaging.face_canvas import Canvas, Colour, Pose, both_sides, ellipse, smooth
from ferfusion.imaging.face_geometry import Eye, FaceShape, turned
from ferfusion.imaging.face_hair import Hair
from ferfusion.imaging.face_identity import Identity
from ferfusion.imaging.face_muscles import Muscles

_WARM_WHITE = (255.0, 246.0, 234.0)


def mixed(first: Colour, second: Colour, share: float) -> tuple[float, ...]:
    """Mixes two colours; `share` is the second one's."""
    blend = (1.0 - share) * np.asarray(first) + share * np.asarray(second)
    return tuple(float(channel) for channel in blend)


def shaded(colour: Colour, factor: float) -> tuple[float, ...]:
    """Darkens a colour as shade does: green and blue go first."""
    return tuple(float(c) for c in np.asarray(colour) * factor * (1.0, 0.95, 0.94))


class _Painter:
    """Paints one face, from the back to the front."""

    def __init__(
        self,
        person: Identity,
        shape: FaceShape,
        hair: Hair,
        muscles: Muscles,
        pose: Pose,
        yaw: float,
        size_px: int,
        rng: np.random.Generator,
    ) -> None:
        self.person, self.shape, self.hair, self.muscles = person, shape, hair, muscles
        self.pose, self.yaw, self.size_px, self.rng = pose, yaw, size_px, rng
        self.fine = 4 if size_px <= 160 else 3
        self.canvas = Canvas.blank(size_px * self.fine, pose, (0, 0, 0))
        self.skin = person.skin
        self.shade = shaded(person.skin, 0.74)
        self.deep = shaded(person.skin, 0.48)
        self.shine = mixed(person.skin, _WARM_WHITE, 0.45)
        self.blood = mixed(shaded(person.skin, 0.92), (214, 74, 70), 0.42)

    def layer(self, colour: Colour) -> Canvas:
        return Canvas.blank(self.size_px, self.pose, colour, np.float32)

    def paint(self) -> UInt8[np.ndarray, "height width 3"]:
        self.background()
        self.back_hair()
        self.neck_and_clothes()
        self.face_skin()
        for eye in self.shape.eyes:
            self.eye(eye)
        self.wrinkles()
        self.nose()
        self.beard()
        self.mouth()
        self.brows()
        self.front_hair()
        self.glasses()
        side = (self.size_px, self.size_px)
        return cv2.resize(self.canvas.pixels, side, interpolation=cv2.INTER_AREA)

    def background(self) -> None:
        rng = self.rng
        walls = ((196, 206, 212), (214, 204, 190), (168, 186, 190), (206, 190, 196), (150, 160, 176),
                 (190, 200, 176), (226, 222, 214), (120, 132, 146))  # fmt: skip
        wall = np.array(walls[int(rng.integers(len(walls)))]) + rng.normal(0, 6, 3)
        layer = self.layer(tuple(wall))
        rows = np.linspace(-1, 1, self.size_px, dtype=np.float32)
        slope = rng.normal(0, 16, 2)
        layer.pixels += (rows[:, None] * slope[0] + rows[None, :] * slope[1])[..., None]
        for _ in range(int(rng.integers(1, 5))):
            x, y = rng.uniform(-2.0, 2.0), rng.uniform(-2.0, 1.6)
            tone = mixed(wall, tuple(rng.uniform(60, 250, 3)), 0.30)
            if rng.random() < 0.5:
                w, h = rng.uniform(0.2, 0.7), rng.uniform(0.3, 1.2)
                spot = np.array([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)])
            else:
                spot = ellipse(x, y, rng.uniform(0.15, 0.6))
            layer.soft(spot, tone, 0.8, rng.uniform(0.05, 0.16))
        layer.soft(self.shape.head * 1.12 + (0.12, 0.15), tuple(wall * 0.62), 0.5, 0.22)
        self.canvas.paste(layer)

    def back_hair(self) -> None:
        if self.hair.back:
            colour = self.person.cloth_accent if self.hair.is_cloth else self.person.hair
            self.covered(self.hair.back, self.hair.back_strands, shaded(colour, 0.72))

    def covered(self, outlines: tuple, strands: tuple, colour: Colour) -> None:
        """Paints hair: a soft base, a band of light over the crown, and strands."""
        layer = self.layer(colour)
        bright = mixed(colour, _WARM_WHITE, 0.22)
        crown = smooth([(-0.8, -0.85), (-0.5, -1.18), (0.0, -1.3), (0.5, -1.18), (0.8, -0.85),
                        (0.5, -1.02), (0.0, -1.12), (-0.5, -1.02)], closed=True)  # fmt: skip
        layer.soft(crown, bright, 0.55, 0.09)
        for side in (-1.0, 1.0):
            edge = np.array([(1.0, -0.7), (1.3, -0.3), (1.3, 1.4), (1.02, 1.4), (0.98, 0.0)])
            layer.soft(edge * (side, 1.0), shaded(colour, 0.62), 0.6, 0.10)
        self.canvas.paste(layer, *outlines)
        with self.canvas.inside(*outlines) as part:
            for k, strand in enumerate(strands):
                tone = mixed(colour, _WARM_WHITE, 0.13) if k % 2 else shaded(colour, 0.78)
                part.line(strand[:: max(len(strand) // 6, 1)], (0.012, 0.034, 0.01), tone)

    def neck_and_clothes(self) -> None:
        person, n = self.person, self.person.neck_width
        cloth = person.cloth
        shoulders = smooth(
            both_sides(
                [(0.0, 1.40), (n + 0.02, 1.40), (n + 0.30, 1.52), (1.22, 1.66), (1.62, 1.90),
                 (1.76, 2.4), (1.8, 3.2), (0.0, 3.2)]
            ),
            closed=True,
        )  # fmt: skip
        if person.clothes == "hoodie":
            hood = ellipse(0.0, 1.42, n + 0.34, 0.26)
            self.canvas.fill(hood, shaded(cloth, 0.62))
        layer = self.layer(cloth)
        for side in (-1.0, 1.0):
            arm = np.array([(1.25, 1.9), (1.35, 2.6), (1.15, 2.6)]) * (side, 1.0)
            layer.soft(arm, shaded(cloth, 0.6), 0.8, 0.06)
            top = np.array([(0.6, 1.52), (1.2, 1.66), (1.2, 1.74), (0.6, 1.62)]) * (side, 1.0)
            layer.soft(top, mixed(cloth, _WARM_WHITE, 0.35), 0.6, 0.06)
        layer.soft(ellipse(0.0, 1.5, n + 0.25, 0.25), shaded(cloth, 0.55), 0.7, 0.10)
        skin = self.layer(shaded(self.skin, 0.93))
        under = self.shape.head * (0.98, 1.0) + (0.0, 0.17)
        skin.soft(under, shaded(self.skin, 0.60), 0.9, 0.07)
        for side in (-1.0, 1.0):
            skin.soft(
                np.array([(n - 0.1, 0.9), (n + 0.1, 0.9), (n + 0.3, 1.6), (n + 0.02, 1.5)])
                * (side, 1.0), self.shade, 0.7, 0.06,
            )  # fmt: skip
            skin.soft(
                np.array([(0.06, 1.52), (0.34, 1.55), (0.40, 1.60), (0.10, 1.60)]) * (side, 1.0),
                self.shade, 0.6, 0.03,
            )  # fmt: skip
        self.canvas.paste(layer, shoulders)
        collar = {"v_neck": 1.98, "collar": 1.86}.get(person.clothes, 1.66)
        shape = 0.55 if person.clothes in ("v_neck", "collar") else 0.9
        opening = smooth(
            both_sides([(0.0, 1.2), (n, 1.2), (n + 0.05, 1.38), (n + 0.02, 1.46),
                        (n * shape, 1.40 + (collar - 1.40) * 0.55), (0.0, collar)]), closed=True,
        )  # fmt: skip
        column = both_sides([(0.0, 0.6), (n, 0.6), (n * 0.97, 1.1), (n + 0.05, 1.42), (0.0, 1.42)])
        self.canvas.paste(skin, opening, column)
        if person.clothes == "turtleneck":
            band = smooth(
                both_sides([(0.0, 1.20), (n + 0.02, 1.16), (n + 0.07, 1.36), (n + 0.10, 1.5),
                            (0.0, 1.66)]), closed=True,
            )  # fmt: skip
            roll = self.layer(mixed(cloth, _WARM_WHITE, 0.08))
            roll.soft(under, shaded(cloth, 0.5), 0.9, 0.06)
            self.canvas.paste(roll, band)
            return
        edge = smooth(
            both_sides([(0.0, collar), (n * shape, 1.40 + (collar - 1.40) * 0.55),
                        (n + 0.02, 1.44)])[[4, 3, 0, 1, 2]]
        )  # fmt: skip
        rim = person.cloth_accent if person.clothes == "crew" else cloth
        self.canvas.line(edge[::2], (0.05, 0.06, 0.05), shaded(rim, 0.78))
        if person.clothes == "collar":
            for side in (-1.0, 1.0):
                flap = np.array([(n + 0.04, 1.30), (n + 0.16, 1.48), (0.42, 1.98), (0.02, 1.84),
                                 (n * 0.72, 1.56)]) * (side, 1.0)  # fmt: skip
                self.canvas.fill(flap + (0.0, 0.03), shaded(cloth, 0.6))
                self.canvas.fill(flap, mixed(cloth, _WARM_WHITE, 0.16 if side < 0 else 0.06))
        if person.clothes == "hoodie":
            for side in (-1.0, 1.0):
                cord = [(side * 0.3, 1.66), (side * 0.34, 1.9), (side * 0.31, 2.2)]
                self.canvas.line(cord, (0.05, 0.045), mixed(cloth, _WARM_WHITE, 0.6))

    def face_skin(self) -> None:
        person, shape, m, yaw = self.person, self.shape, self.muscles, self.yaw
        ear_layer = self.layer(mixed(shaded(self.skin, 0.94), self.blood, 0.25))
        for side, ear in zip((-1.0, 1.0), shape.ears, strict=True):
            cx, cy = ear.mean(axis=0)
            inner = (ear - (cx, cy)) * (0.5, 0.62) + (cx + 0.015 * side, cy)
            ear_layer.soft(inner, shaded(self.skin, 0.6), 0.8, 0.03)
        self.canvas.paste(ear_layer, *shape.ears)

        layer = self.layer(self.skin)
        x, y = layer.to_units()
        # A head is round: light comes from above, a little from the left.
        nx, ny = x / 1.12, (y + 0.1) / 1.55
        depth = np.sqrt(np.clip(1.0 - nx**2 - ny**2, 0.05, 1.0))
        lambert = 0.80 + 0.26 * (0.86 * depth - 0.22 * nx - 0.36 * ny)
        layer.pixels *= np.stack([lambert, lambert**1.18, lambert**1.24], axis=2)

        def spot(cx: float, cy: float, w: float, h: float, colour: Colour, alpha: float,
                 blur: float = 0.08) -> None:  # fmt: skip
            layer.soft(turned(ellipse(cx, cy, w, h), yaw), colour, alpha, blur)

        if self.hair.stubble:
            scalp = smooth(
                [(-1.1, 0.1), (-1.1, -1.6), (1.1, -1.6), (1.1, 0.1), (0.90, 0.0), (0.84, -0.5),
                 (0.66, -0.82), (0.3, -0.93), (0.0, -0.90), (-0.3, -0.93), (-0.66, -0.82),
                 (-0.84, -0.5), (-0.90, 0.0)], closed=True,
            )  # fmt: skip
            layer.soft(scalp, mixed(person.hair, self.skin, 0.18), 0.86, 0.035)
        else:
            spot(-0.2, -0.85, 0.34, 0.18, self.shine, 0.5, 0.12)
        spot(0.0, -0.62, 0.4, 0.12, self.shine, 0.25, 0.12)
        lift = 0.08 * m.corner_pull
        for side in (-1.0, 1.0):
            spot(side * 0.40, -0.12, 0.26, 0.15, self.shade, 0.35)  # eye socket
            spot(side * 0.16, -0.10, 0.07, 0.16, self.shade, 0.45, 0.05)  # beside the bridge
            spot(side * 0.56, 0.36 - lift, 0.22, 0.17, self.blood,
                 0.34 + 0.2 * max(m.corner_pull, m.brow_lower * 0.7), 0.09)  # fmt: skip
            spot(side * 0.54, 0.26 - lift, 0.15, 0.08, self.shine, 0.28 + 0.3 * m.cheek_raise, 0.06)
            spot(side * 0.40, 0.16 - 0.03 * m.cheek_raise, 0.18, 0.035, self.shade,
                 0.2 + 0.5 * self.person.wrinkles + 0.3 * m.cheek_raise, 0.03)  # fmt: skip
            spot(side * 0.92, 0.35, 0.16, 0.6, self.shade, 0.55, 0.10)
        my, low = person.mouth_y, float(shape.mouth.bottom[:, 1].max())
        spot(0.0, my - 0.15, 0.05, 0.06, self.shade, 0.4, 0.03)  # philtrum
        spot(0.0, low + 0.07, 0.2, 0.04, self.shade, 0.75, 0.035)  # under the lip
        spot(0.0, shape.chin_y - 0.17, 0.2, 0.1, self.shine, 0.22, 0.07)
        nose_x, nose_y = shape.nose_tip
        w = shape.nose_width
        layer.soft(smooth([(nose_x * 0.6 + 0.05, -0.2), (nose_x + 0.10, 0.15), (nose_x + w, nose_y),
                           (nose_x + 0.05, nose_y - 0.02), (nose_x + 0.03, 0.1)], closed=True),
                   self.shade, 0.75, 0.035)  # fmt: skip
        layer.soft(ellipse(nose_x, nose_y + 0.09, w * 0.95, 0.035), self.deep, 0.5, 0.03)
        layer.soft(ellipse(nose_x, nose_y - 0.03, 0.09, 0.08), self.blood, 0.28, 0.04)
        layer.soft(smooth([(nose_x * 0.6 - 0.03, -0.1), (nose_x * 0.6 + 0.02, -0.1),
                           (nose_x + 0.015, 0.2), (nose_x - 0.04, 0.2)], closed=True),
                   self.shine, 0.6, 0.025)  # fmt: skip
        layer.soft(ellipse(nose_x - 0.025, nose_y - 0.06, 0.045, 0.04), _WARM_WHITE, 0.5, 0.02)
        if m.brow_lower > 0.2:
            spot(0.0, -0.26, 0.10, 0.10, self.shade, 0.6 * m.brow_lower, 0.04)
        for outline in self.hair.front:
            layer.soft(outline + (0.02, 0.06), self.deep, 0.55, 0.045)
        self.canvas.paste(layer, shape.head)
        if self.hair.stubble:
            for side in (-1.0, 1.0):
                self.canvas.line([(side * 0.93 * person.head_width, -0.2), (side * 0.955, 0.0)],
                                 (0.03, 0.01), self.shade)  # fmt: skip
        if person.freckles:
            spots = np.random.default_rng([person.seed, 3])
            for _ in range(int(26 * person.freckles)):
                fx, fy = spots.normal(0, 0.36), spots.normal(0.27 - lift, 0.09)
                self.canvas.fill(turned(ellipse(fx, fy, 0.014), yaw), mixed(self.skin, (150, 84, 50), 0.45))

    def eye(self, eye: Eye) -> None:
        person, canvas, m = self.person, self.canvas, self.muscles
        line = mixed((34, 22, 22), shaded(person.hair, 0.5), 0.3)
        with canvas.inside(eye.opening) as part:
            part.fill(eye.opening, (242, 238, 234))
            x, y = eye.iris
            r = eye.iris_radius
            part.fill(eye.upper[::4].tolist() + (eye.upper + (0, 0.05))[::-4].tolist(), (196, 186, 184))
            part.fill(ellipse(x, y, r), shaded(person.iris, 0.55))
            part.fill(ellipse(x, y + 0.008, r * 0.84), person.iris)
            part.fill(ellipse(x, y + r * 0.42, r * 0.55, r * 0.38), mixed(person.iris, (255, 226, 170), 0.35))
            part.fill(ellipse(x, y, r * 0.46), (16, 12, 14))
            part.fill(eye.upper.tolist() + (eye.upper + (0, 0.028))[::-1].tolist(),
                      shaded(person.iris, 0.25) if r < 0 else (92, 78, 78))  # fmt: skip
            part.fill(ellipse(x - 0.036, y - 0.042, 0.032), (255, 255, 255))
            part.fill(ellipse(x + 0.04, y + 0.04, 0.014), (230, 230, 236))
            inner = eye.opening[0 if eye.side > 0 else 32]
            part.fill(ellipse(inner[0] + 0.012 * eye.side, inner[1], 0.026), (222, 150, 146))
        canvas.line(eye.lower[2:-2:3], (0.01, 0.02, 0.014), self.deep)
        lashes = 0.034 + 0.02 * person.lashes
        widths = (0.012, lashes, lashes * 1.1) if eye.side > 0 else (lashes * 1.1, lashes, 0.012)
        upper = eye.upper.copy()
        canvas.line(upper[::4], widths, line)
        outer = eye.upper[-1 if eye.side > 0 else 0]
        if person.lashes > 0.6:
            canvas.line([outer + (-0.05 * eye.side, -0.02), outer + (0.045 * eye.side, -0.045)],
                        (0.04, 0.01), line)  # fmt: skip
        canvas.line(eye.crease[::4], (0.008, 0.022, 0.008), mixed(self.shade, self.deep, 0.5))

    def wrinkles(self) -> None:
        """Draws the lines that muscles fold into the skin."""
        m, yaw, person = self.muscles, self.yaw, self.person
        tone = mixed(self.shade, self.deep, 0.55)
        faint = mixed(self.skin, self.shade, 0.9)

        def fold(points: list, width: float, colour: Colour) -> None:
            if width > 0.008:
                self.canvas.line(turned(np.array(points), yaw), (0.3 * width, width, 0.2 * width), colour)

        for side in (-1.0, 1.0):
            frown = 0.034 * min(m.brow_lower, 1.1)
            fold([(side * 0.075, -0.36), (side * 0.055, -0.25), (side * 0.075, -0.15)], frown, tone)
            wrinkle = 0.03 * m.nose_wrinkle
            fold([(side * 0.10, -0.02), (side * 0.04, 0.02), (side * 0.02, 0.06)], wrinkle, tone)
            corner = np.array([side * abs(self.shape.mouth.outline[0, 0] - yaw), 0.0])
            cx = float(corner[0])
            cy = float(self.shape.mouth.upper[0, 1])
            deep = 0.036 * max(m.corner_pull, 0.9 * m.nose_wrinkle, 0.7 * m.lip_raise) + 0.02 * person.wrinkles
            w = self.shape.nose_width
            fold(
                [(side * (w + 0.04), 0.36), (side * (w + 0.17 + 0.05 * m.corner_pull), 0.47),
                 (cx + side * 0.09, cy - 0.06), (cx + side * 0.085, cy + 0.06)], deep, tone,
            )  # fmt: skip
            fold([(cx + side * 0.02, cy - 0.035), (cx + side * 0.045, cy), (cx + side * 0.03, cy + 0.04)],
                 0.03 * m.corner_pull, tone)  # fmt: skip
            sag = 0.03 * m.corner_depress
            fold([(cx + side * 0.02, cy - 0.01), (cx + side * 0.05, cy + 0.06), (cx + side * 0.05, cy + 0.13)],
                 sag, tone)  # fmt: skip
            crow = 0.022 * m.cheek_raise + 0.012 * person.wrinkles
            for k in (-1, 0, 1):
                fold([(side * 0.69, -0.03 + 0.035 * k), (side * 0.74, -0.03 + 0.055 * k),
                      (side * 0.79, -0.025 + 0.085 * k)], crow, tone)  # fmt: skip
            fold([(side * 0.24, 0.12), (side * 0.40, 0.175 - 0.05 * m.cheek_raise), (side * 0.6, 0.11)],
                 0.026 * m.cheek_raise + 0.014 * person.wrinkles, tone)  # fmt: skip
        raised = min(m.brow_inner, 1.1)
        spread = 0.25 + 0.30 * min(m.brow_outer, 1.0)
        for k, y in enumerate((-0.66, -0.76)):
            fold([(-spread, y + 0.03), (-spread * 0.4, y - 0.01), (0.0, y + 0.015), (spread * 0.4, y - 0.01),
                  (spread, y + 0.03)], (0.024 - 0.005 * k) * raised + 0.014 * person.wrinkles, tone)  # fmt: skip
        if m.chin_raise > 0.3:
            y = float(self.shape.mouth.bottom[:, 1].max()) + 0.11
            fold([(-0.12, y + 0.03), (0.0, y), (0.12, y + 0.03)], 0.026 * m.chin_raise, tone)

    def nose(self) -> None:
        x, y = self.shape.nose_tip
        w = self.shape.nose_width
        tone = mixed(self.shade, self.deep, 0.7)
        for side in (-1.0, 1.0):
            wing = [(x + side * w * 0.86, y - 0.09), (x + side * w * 1.04, y - 0.01),
                    (x + side * w * 0.92, y + 0.06), (x + side * w * 0.66, y + 0.065)]  # fmt: skip
            self.canvas.line(wing, (0.008, 0.03, 0.014), tone)
            hole = ellipse(0, 0, 0.058, 0.026)
            hole = hole + np.stack([0 * hole[:, 0], -0.25 * side * hole[:, 0] * -1], axis=1)
            self.canvas.fill(hole + (x + side * w * 0.45, y + 0.062), shaded(self.deep, 0.62))
        self.canvas.line([(x - w * 0.25, y + 0.07), (x, y + 0.088), (x + w * 0.25, y + 0.07)],
                         (0.01, 0.022, 0.01), tone)  # fmt: skip

    def beard(self) -> None:
        person, shape = self.person, self.shape
        if not person.beard and not person.moustache:
            return
        hair = mixed(shaded(person.hair, 0.95), self.skin, 0.12)
        layer = self.layer((0.0, 0.0, 0.0))
        layer.pixels[:] = cv2.resize(self.canvas.pixels, (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)
        mouth, chin = shape.mouth, shape.chin_y
        cx = abs(float(mouth.outline[0, 0]) - self.yaw)
        cy, top = float(mouth.upper[0, 1]), float(mouth.top[:, 1].min())
        if person.moustache:
            moustache = smooth(
                both_sides([(0.0, top - 0.10), (0.14, top - 0.11), (cx * 0.75, top - 0.05), (cx + 0.07, cy + 0.03),
                            (cx + 0.03, cy + 0.06), (cx * 0.7, top + 0.03), (0.0, top + 0.03)]), closed=True,
            )  # fmt: skip
            layer.soft(turned(moustache, self.yaw), hair, 0.92 * person.moustache, 0.022)
        if person.beard:
            bottom = float(mouth.bottom[:, 1].max())
            jaw = smooth(
                [(-0.96, -0.05), (-1.1, 0.6), (-0.6, 1.6), (0.6, 1.6), (1.1, 0.6), (0.96, -0.05), (0.86, 0.1),
                 (0.80, 0.42), (0.60, 0.62), (cx + 0.10, cy + 0.02), (cx * 0.7, bottom + 0.03), (0.0, bottom + 0.05),
                 (-cx * 0.7, bottom + 0.03), (-cx - 0.10, cy + 0.02), (-0.60, 0.62), (-0.80, 0.42), (-0.86, 0.1)],
                closed=True,
            )  # fmt: skip
            layer.soft(turned(jaw, self.yaw * 0.5), hair, 0.92 * person.beard, 0.035)
            layer.soft(ellipse(self.yaw, chin - 0.08, 0.25, 0.08), mixed(hair, _WARM_WHITE, 0.2), 0.4, 0.05)
        self.canvas.paste(layer, shape.head)

    def mouth(self) -> None:
        mouth, m, canvas = self.shape.mouth, self.muscles, self.canvas
        lips = self.person.lips
        canvas.fill(mouth.outline, lips)
        with canvas.inside(mouth.outline) as part:
            part.fill(np.concatenate([mouth.top, mouth.upper[::-1]]), shaded(lips, 0.84))
            middle = (mouth.lower + mouth.bottom) / 2.0
            part.line(middle[11:22:2], (0.01, 0.035, 0.01), mixed(lips, (255, 225, 220), 0.42))
        if mouth.openness > 0.015:
            with canvas.inside(mouth.cavity) as part:
                part.fill(mouth.cavity, (58, 18, 22))
                part.fill(mouth.tongue, (188, 84, 88))
                part.fill(mouth.upper_teeth, (250, 247, 240))
                if m.lip_raise > 0.3:
                    part.fill(mouth.lower_teeth, (238, 233, 226))
                part.line((mouth.upper + (0.0, 0.012))[::4], (0.02, 0.03, 0.02), (110, 50, 52))
            canvas.line(mouth.lower[1:-1:3], (0.006, 0.016, 0.006), shaded(lips, 0.6))
            canvas.line(mouth.upper[1:-1:3], (0.006, 0.016, 0.006), shaded(lips, 0.5))
        else:
            canvas.line(mouth.upper[::4], (0.014, 0.034, 0.014), shaded(lips, 0.42))
        for end in (0, -1):
            canvas.fill(ellipse(*mouth.upper[end], 0.02), shaded(self.deep, 0.8))

    def brows(self) -> None:
        person = self.person
        colour = mixed(shaded(person.hair, 0.8), self.skin, 0.10)
        if sum(person.hair) > 420:
            colour = mixed(shaded(person.hair, 0.55), self.deep, 0.4)
        thick = person.brow_thickness
        for brow in self.shape.brows:
            self.canvas.line(brow[::3], (thick * 0.75, thick * 1.1, thick * 0.85, thick * 0.18), colour)

    def front_hair(self) -> None:
        if self.hair.front:
            colour = self.person.cloth_accent if self.hair.is_cloth else self.person.hair
            self.covered(self.hair.front, self.hair.strands, colour)

    def glasses(self) -> None:
        if self.person.glasses is None:
            return
        frame, canvas, spacing = self.person.frame, self.canvas, self.person.eye_spacing
        for side in (-1.0, 1.0):
            ring = glass(self.person.glasses, side * spacing, self.yaw)
            with canvas.inside(ring) as part:
                x = side * spacing + self.yaw
                for dx, w in ((-0.12, 0.06), (-0.02, 0.025)):
                    glint = [(x + dx + 0.13, -0.3), (x + dx + 0.13 + w, -0.3), (x + dx - 0.12 + w, 0.3),
                             (x + dx - 0.12, 0.3)]  # fmt: skip
                    over = part.pixels.copy()
                    part.fill(glint, (255, 255, 255))
                    part.pixels[:] = cv2.addWeighted(over, 0.84, part.pixels, 0.16, 0)
            closed = np.concatenate([ring, ring[:2]])
            canvas.line(closed, (0.04, 0.04), frame)
            hinge = turned(np.array([(side * (spacing + 0.29), -0.08)]), self.yaw)[0]
            canvas.line([hinge, (side * 0.97 * self.person.head_width, -0.12)], (0.04, 0.035), frame)
        inner = spacing - 0.28
        canvas.line([(self.yaw - inner, -0.06), (self.yaw, -0.10), (self.yaw + inner, -0.06)],
                    (0.04, 0.035, 0.04), frame)  # fmt: skip


def glass(kind: str, x: float, yaw: float) -> np.ndarray:
    """Outlines one lens of a pair of glasses."""
    if kind == "round":
        return turned(ellipse(x, -0.01, 0.285, 0.265), yaw)
    box = [(-0.29, -0.19), (0.0, -0.21), (0.29, -0.19), (0.30, 0.02), (0.22, 0.20), (0.0, 0.23), (-0.22, 0.20),
           (-0.30, 0.02)]  # fmt: skip
    return turned(smooth(np.array(box) + (x, 0.0), closed=True, steps=4), yaw)


def paint_face(
    person: Identity,
    shape: FaceShape,
    hair: Hair,
    muscles: Muscles,
    pose: Pose,
    yaw: float,
    size_px: int,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "height width 3"]:
    """Paints a face in even light, RGB."""
    return _Painter(person, shape, hair, muscles, pose, yaw, size_px, rng).paint()
