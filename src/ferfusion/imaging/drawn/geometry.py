"""The outlines of a face: identity and muscles in, curves in face units out."""

import math
from dataclasses import dataclass

import numpy as np

from ferfusion.imaging.drawn.canvas import Outline, Points, both_sides, smooth
from ferfusion.imaging.drawn.identity import Identity
from ferfusion.imaging.drawn.muscles import Muscles

_T = -np.cos(np.linspace(0.0, math.pi, 33))  # from corner to corner, denser at the corners
_ARC = np.sqrt(np.clip(1.0 - _T**2, 0.0, 1.0))


@dataclass(frozen=True)
class Eye:
    """One eye. Curves run from the left corner to the right one."""

    side: int
    upper: Points
    lower: Points
    crease: Points
    iris: tuple[float, float]
    iris_radius: float

    @property
    def opening(self) -> Points:
        """Outlines what shows of the eyeball."""
        return np.concatenate([self.upper, self.lower[::-1]])

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the opening."""
        x, y = self.opening.mean(axis=0)
        return (float(x), float(y))


@dataclass(frozen=True)
class Mouth:
    """The mouth. Curves run from the left corner to the right one."""

    top: Points
    upper: Points
    lower: Points
    bottom: Points
    upper_teeth: Points
    lower_teeth: Points
    tongue: Points
    openness: float

    @property
    def outline(self) -> Points:
        """Outlines both lips."""
        return np.concatenate([self.top, self.bottom[::-1]])

    @property
    def cavity(self) -> Points:
        """Outlines the gap between the lips."""
        return np.concatenate([self.upper, self.lower[::-1]])


@dataclass(frozen=True)
class Face:
    """A face at one moment: who it is, what it does, and where everything in it lies."""

    person: Identity
    muscles: Muscles
    yaw: float
    head: Points
    ears: tuple[Points, Points]
    eyes: tuple[Eye, Eye]
    brows: tuple[Points, Points]
    mouth: Mouth
    nose_tip: tuple[float, float]
    nose_width: float
    chin_y: float

    def front(self, points: Outline) -> Points:
        """Turns points on the front of the face as the head is turned."""
        return turned(points, self.yaw)


def turned(points: Outline, yaw: float) -> Points:
    """Moves what lies on the front of the head sideways, as when the head turns."""
    points = np.asarray(points, dtype=np.float64)
    bulge = np.cos(np.clip(points[:, 0], -1.0, 1.0) * math.pi / 2.0)
    return points + np.stack([yaw * bulge, np.zeros(len(points))], axis=1)


def shape_face(person: Identity, muscles: Muscles, yaw: float) -> Face:
    """Lays out a face; `yaw` is how far the features move to the right, in face units."""
    chin = person.chin_y + 0.18 * muscles.jaw_drop - 0.015 * muscles.chin_raise
    w = person.head_width
    cheek = 0.02 * muscles.corner_pull
    head = both_sides(
        [
            (0.0, -1.30), (0.34 * w, -1.265), (0.66 * w, -1.10), (0.87 * w, -0.78),
            (0.94 * w, -0.35), ((0.93 + cheek) * w, 0.05), ((0.885 + cheek) * w, 0.40),
            (person.jaw_width * w, 0.74), (person.chin_width * w, chin - 0.12), (0.0, chin),
        ]
    )  # fmt: skip
    ear = smooth(
        [(0.84, -0.14), (0.98, -0.24), (1.07, -0.14), (1.06, 0.08), (0.99, 0.26), (0.88, 0.30)],
        closed=True,
    )
    ear = (ear - (0.9, 0.03)) * person.ear_size + (0.9 * w, 0.03)
    return Face(
        person=person,
        muscles=muscles,
        yaw=yaw,
        head=smooth(head, closed=True),
        ears=(ear * (-1.0, 1.0), ear),
        eyes=(_eye(person, muscles, -1, yaw), _eye(person, muscles, 1, yaw)),
        brows=(_brow(person, muscles, -1, yaw), _brow(person, muscles, 1, yaw)),
        mouth=_mouth(person, muscles, yaw),
        nose_tip=(yaw * 1.35, person.nose_y - 0.02 * muscles.nose_wrinkle),
        nose_width=person.nose_width
        * (1 + 0.12 * muscles.nose_wrinkle + 0.1 * muscles.corner_pull),
        chin_y=chin,
    )


def _eye(person: Identity, muscles: Muscles, side: int, yaw: float) -> Eye:
    cx, cy = side * person.eye_spacing, -0.03
    open_up = (
        1.0 + 0.42 * muscles.lid_raise - 0.30 * muscles.lid_tighten - 0.55 * muscles.lid_droop
        - 0.22 * muscles.cheek_raise - 0.12 * muscles.brow_lower
    )  # fmt: skip
    upper_height = person.eye_height * max(open_up, 0.18)
    lower_height = person.eye_height * (
        0.62 + 0.15 * muscles.lid_raise - 0.45 * muscles.lid_tighten - 0.75 * muscles.cheek_raise
    )
    out = _T * side  # -1 at the inner corner, 1 at the outer one
    corners = -person.eye_slant * out + 0.045 * muscles.lid_droop * np.clip(out, 0, 1)
    # The upper lid's peak lies a little inwards; an angry lid is pressed down at its inner end,
    # a sad one hangs at its outer end.
    lean = (
        1.0
        - 0.10 * out
        + (0.30 * muscles.brow_lower - 0.32 * muscles.brow_inner)
        * out
        * (1.0 - 0.8 * muscles.lid_raise)
    )
    upper = cy + corners - upper_height * _ARC**0.85 * lean
    lower = np.maximum(cy + corners + lower_height * _ARC * (1 + 0.12 * out), upper)
    x = cx + person.eye_width * _T
    crease_lift = 0.055 - 0.03 * muscles.brow_lower + 0.02 * muscles.lid_raise
    crease = np.stack([x * 1.0, upper - crease_lift * (0.35 + 0.65 * _ARC)], axis=1)[2:-2]
    iris_y = cy - 0.012 + 0.055 * muscles.gaze_down
    moved = turned(np.array([[cx, iris_y]]), yaw * 1.2)[0]
    return Eye(
        side=side,
        upper=turned(np.stack([x, upper], axis=1), yaw),
        lower=turned(np.stack([x, lower], axis=1), yaw),
        crease=turned(crease, yaw),
        iris=(float(moved[0]), float(moved[1])),
        iris_radius=0.108,
    )


def _brow(person: Identity, muscles: Muscles, side: int, yaw: float) -> Points:
    rest, arch = person.brow_y, person.brow_arch
    lower = muscles.brow_lower + person.resting_brows
    knots = np.array(
        [(0.17, rest - 0.015), (0.33, rest - 0.025 - 0.5 * arch), (0.50, rest - 0.01 - arch),
         (0.69, rest + 0.06)]
    )  # fmt: skip
    knots += lower * np.array([(-0.055, 0.19), (-0.045, 0.12), (-0.02, 0.03), (0.0, -0.04)])
    knots += muscles.brow_inner * np.array([(-0.01, -0.20), (0.0, -0.11), (0.0, -0.01), (0, 0.07)])
    knots += muscles.brow_outer * np.array([(0.0, 0.0), (0.0, -0.08), (0.0, -0.16), (0.01, -0.18)])
    return turned(smooth(knots * (side, 1.0)), yaw)


def _mouth(person: Identity, muscles: Muscles, yaw: float) -> Mouth:
    pull, depress = muscles.corner_pull, muscles.corner_depress
    half = person.mouth_width * (
        1.0 + 0.36 * pull - 0.05 * depress - 0.42 * muscles.jaw_drop * (1 - min(pull, 1.0))
        - 0.06 * muscles.chin_raise + 0.05 * muscles.lip_raise
    )  # fmt: skip
    middle = person.mouth_y - 0.03 * muscles.chin_raise - 0.01 * muscles.lip_raise
    lift = 0.17 * pull - 0.155 * depress + 0.12 * person.resting_corners
    line = middle - lift * (np.abs(_T) ** 1.8 - 0.35)
    gap = 0.19 * muscles.lips_part + 0.42 * muscles.jaw_drop
    # A shouting mouth is square, a smiling one a half moon, an astonished one round.
    square = 0.55 * min(muscles.lip_raise, 1.0)
    profile = _ARC ** (1.0 - square)
    rising = gap * (0.16 + 0.30 * min(muscles.lip_raise, 1.0) + 0.20 * muscles.jaw_drop)
    rising *= 1.0 - 0.75 * min(pull, 1.0)
    upper = line - rising * profile
    lower = line + (gap - rising) * profile
    thin = (
        1.0 - 0.62 * muscles.lip_press - 0.25 * min(pull, 1.0) * min(1.0, muscles.lips_part + 0.3)
    )
    bow = 1.0 - 0.24 * np.exp(-((_T / 0.16) ** 2))
    full = person.lip_fullness
    top = upper - 0.062 * full * max(thin, 0.25) * _ARC**0.8 * bow * (1 + 0.1 * muscles.chin_raise)
    pout = 1.0 + 0.35 * muscles.chin_raise - 0.1 * muscles.jaw_drop
    bottom = lower + 0.092 * full * max(thin, 0.25) * pout * _ARC**0.9
    x = half * _T

    def at(y: np.ndarray) -> Points:
        return turned(np.stack([x, y], axis=1), yaw)

    bared = max(min(pull, 1.0), square, 0.16)
    teeth = min(0.095, (0.15 + 0.75 * bared) * gap) * (0.4 + 0.6 * _ARC) + 0.04 * square
    upper_teeth = np.minimum(upper + teeth, lower)
    low_teeth = np.maximum(lower - (0.16 * square) * profile, upper_teeth)
    tongue_height = np.sqrt(np.clip(1.0 - (_T / 0.62) ** 2, 0.0, 1.0))
    tongue = np.maximum(lower - 0.36 * gap * tongue_height, upper)
    return Mouth(
        top=at(top),
        upper=at(upper),
        lower=at(lower),
        bottom=at(bottom),
        upper_teeth=np.concatenate([at(upper), at(upper_teeth)[::-1]]),
        lower_teeth=np.concatenate([at(low_teeth), at(lower)[::-1]]),
        tongue=np.concatenate([at(tongue), at(lower)[::-1]]),
        openness=float(gap),
    )
