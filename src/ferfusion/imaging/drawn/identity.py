"""Who a drawn face is: everything that stays the same from picture to picture."""

from dataclasses import dataclass

import numpy as np

Rgb = tuple[float | int, float | int, float | int]

HAIR_STYLES = (
    "short",
    "side_part",
    "quiff",
    "buzz",
    "bald",
    "long_straight",
    "long_wavy",
    "bob",
    "bun",
    "ponytail",
    "afro",
    "curly_long",
    "headscarf",
)
CLOTHES = ("crew", "v_neck", "collar", "hoodie", "turtleneck")

# From very light to very dark.
_SKIN: tuple[Rgb, ...] = (
    (255, 216, 194),
    (247, 202, 174),
    (232, 185, 150),
    (216, 162, 122),
    (194, 138, 99),
    (166, 112, 76),
    (138, 89, 58),
    (110, 69, 46),
    (84, 53, 37),
)
_DARK_HAIR: tuple[Rgb, ...] = ((30, 25, 27), (46, 33, 28), (66, 44, 33), (26, 28, 36))
_ANY_HAIR: tuple[Rgb, ...] = (
    *_DARK_HAIR,
    (104, 66, 42),
    (134, 78, 44),
    (168, 78, 40),
    (182, 136, 82),
    (222, 184, 118),
    (236, 206, 148),
)
_OLD_HAIR: tuple[Rgb, ...] = ((150, 148, 146), (206, 204, 200))
_DARK_EYES: tuple[Rgb, ...] = ((74, 46, 28), (56, 36, 26), (92, 58, 32))
_ANY_EYES: tuple[Rgb, ...] = (*_DARK_EYES, (70, 120, 170), (92, 140, 104), (122, 104, 60))
_CLOTH: tuple[Rgb, ...] = (
    (52, 92, 140),
    (164, 62, 62),
    (64, 118, 98),
    (224, 176, 74),
    (112, 88, 146),
    (70, 76, 90),
    (226, 224, 218),
    (208, 122, 92),
    (40, 52, 76),
    (142, 172, 190),
)


@dataclass(frozen=True)
class Identity:
    """A person who doesn't exist. Lengths are in face units, colours RGB from 0 to 255."""

    skin: Rgb
    hair: Rgb
    iris: Rgb
    lips: Rgb
    cloth: Rgb
    cloth_accent: Rgb
    hair_style: str
    clothes: str
    part_left: bool
    head_width: float
    jaw_width: float
    chin_width: float
    chin_y: float
    neck_width: float
    ear_size: float
    eye_spacing: float
    eye_width: float
    eye_height: float
    eye_slant: float
    lashes: float
    brow_y: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_y: float
    mouth_y: float
    mouth_width: float
    lip_fullness: float
    resting_corners: float
    resting_brows: float
    wrinkles: float
    freckles: float
    beard: float
    moustache: float
    glasses: str | None
    frame: Rgb
    warmth_c: float
    cool_nose_c: float
    cool_ears_c: float
    cool_cheeks_c: float
    seed: int


def _between(rng: np.random.Generator, colours: tuple[Rgb, ...], place: float) -> Rgb:
    """Mixes neighbouring colours of a scale at a place in [0, 1], with a little noise."""
    at = place * (len(colours) - 1)
    low = min(int(at), len(colours) - 2)
    mixed = (1 - at + low) * np.array(colours[low]) + (at - low) * np.array(colours[low + 1])
    r, g, b = np.clip(mixed + rng.normal(0, 2.5, 3), 20, 255)
    return (float(r), float(g), float(b))


def _pick(rng: np.random.Generator, colours: tuple[Rgb, ...]) -> Rgb:
    return colours[int(rng.integers(len(colours)))]


def draw_identity(seed: int) -> Identity:
    """Draws a person: the same seed gives the same person."""
    rng = np.random.default_rng([seed, 0xFACE])
    darkness = float(rng.uniform(0.0, 1.0))
    soft = bool(rng.random() < 0.5)  # softer features, longer hair; or squarer ones, beards
    age = float(rng.beta(1.4, 2.2))
    skin = _between(rng, _SKIN, darkness)
    dark = np.array(skin) * (0.78, 0.52, 0.50)
    lips = (
        dark * 0.55
        + np.array((188, 70, 78)) * (0.45 if soft else 0.22)
        + np.array(skin) * (0.0 if soft else 0.23)
    )
    if age > 0.72:
        hair = _pick(rng, _OLD_HAIR)
    else:
        hair = _pick(rng, _DARK_HAIR if darkness > 0.5 or rng.random() < 0.3 else _ANY_HAIR)
    styles, weights = zip(
        *(
            {
                "long_straight": 3, "long_wavy": 3, "bob": 3, "bun": 2, "ponytail": 2, "afro": 1.2,
                "curly_long": 2, "headscarf": 1.2, "side_part": 1,
            }
            if soft
            else {
                "short": 3, "side_part": 3, "quiff": 2.5, "buzz": 2, "bald": 1.6, "afro": 1,
                "long_wavy": 0.5, "curly_long": 0.6,
            }
        ).items(),
        strict=True,
    )  # fmt: skip
    style = str(rng.choice(styles, p=np.array(weights) / sum(weights)))
    bearded = not soft and rng.random() < 0.45
    cloth, accent = _pick(rng, _CLOTH), _pick(rng, _CLOTH)
    return Identity(
        skin=skin,
        hair=hair,
        iris=_pick(rng, _DARK_EYES if darkness > 0.45 else _ANY_EYES),
        lips=(float(lips[0]), float(lips[1]), float(lips[2])),
        cloth=cloth,
        cloth_accent=accent,
        hair_style=style,
        clothes=str(rng.choice(CLOTHES)),
        part_left=bool(rng.random() < 0.5),
        head_width=float(rng.uniform(0.93, 1.04)),
        jaw_width=float(rng.uniform(0.68, 0.78) if soft else rng.uniform(0.74, 0.86)),
        chin_width=float(rng.uniform(0.34, 0.44) if soft else rng.uniform(0.40, 0.54)),
        chin_y=float(rng.uniform(1.13, 1.24)),
        neck_width=float(rng.uniform(0.42, 0.48) if soft else rng.uniform(0.52, 0.64)),
        ear_size=float(rng.uniform(0.85, 1.15)),
        eye_spacing=float(rng.uniform(0.385, 0.425)),
        eye_width=float(rng.uniform(0.205, 0.235)),
        eye_height=float(rng.uniform(0.115, 0.145)),
        eye_slant=float(rng.normal(0.012, 0.016)),
        lashes=float(rng.uniform(0.7, 1.0) if soft else rng.uniform(0.25, 0.5)),
        brow_y=float(rng.uniform(-0.40, -0.34)),
        brow_thickness=float(rng.uniform(0.055, 0.08) if soft else rng.uniform(0.08, 0.11)),
        brow_arch=float(rng.uniform(0.03, 0.075) if soft else rng.uniform(0.01, 0.045)),
        nose_width=float(rng.uniform(0.16, 0.2) + 0.05 * darkness),
        nose_y=float(rng.uniform(0.36, 0.43)),
        mouth_y=float(rng.uniform(0.70, 0.76)),
        mouth_width=float(rng.uniform(0.30, 0.37)),
        lip_fullness=float(rng.uniform(0.75, 1.1) + 0.35 * darkness),
        resting_corners=float(rng.normal(0.0, 0.07)),
        resting_brows=float(rng.normal(-0.01, 0.05)),
        wrinkles=max(0.0, age - 0.25),
        freckles=float(rng.uniform(0.4, 1.0)) if darkness < 0.4 and rng.random() < 0.25 else 0.0,
        beard=float(rng.uniform(0.35, 1.0)) if bearded else 0.0,
        moustache=float(rng.uniform(0.5, 1.0))
        if bearded or rng.random() < 0.08 * (not soft)
        else 0.0,
        glasses=str(rng.choice(("round", "square"))) if rng.random() < 0.2 else None,
        frame=_pick(
            rng, ((38, 34, 36), (96, 58, 36), (150, 120, 70), (120, 40, 48), (52, 70, 110))
        ),
        warmth_c=float(rng.normal(0.0, 0.35)),
        cool_nose_c=float(rng.uniform(1.0, 3.2)),
        cool_ears_c=float(rng.uniform(0.8, 2.8)),
        cool_cheeks_c=float(rng.uniform(0.7, 1.8)),
        seed=seed,
    )
