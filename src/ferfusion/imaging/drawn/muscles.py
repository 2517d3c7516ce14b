"""What a face does: muscle-like actions for each expression.

The names follow the Facial Action Coding System (Ekman and Friesen), whose numbers are given.
"""

from dataclasses import dataclass, fields

import numpy as np

from ferfusion.errors import ConfigError, unknown_name
from ferfusion.expression import VIRI, canonical_expression


@dataclass(frozen=True)
class Muscles:
    """How strongly each action is done, about 0 to 1."""

    brow_inner: float = 0.0
    """Inner brow raised (AU 1)."""
    brow_outer: float = 0.0
    """Outer brow raised (AU 2)."""
    brow_lower: float = 0.0
    """Brows lowered and drawn together (AU 4)."""
    lid_raise: float = 0.0
    """Upper lid raised (AU 5)."""
    cheek_raise: float = 0.0
    """Cheeks raised (AU 6)."""
    lid_tighten: float = 0.0
    """Lids tightened (AU 7)."""
    nose_wrinkle: float = 0.0
    """Nose wrinkled (AU 9)."""
    lip_raise: float = 0.0
    """Upper lip raised, teeth bared (AU 10)."""
    corner_pull: float = 0.0
    """Lip corners pulled up (AU 12)."""
    corner_depress: float = 0.0
    """Lip corners pulled down (AU 15)."""
    chin_raise: float = 0.0
    """Chin boss and lower lip raised (AU 17)."""
    lip_press: float = 0.0
    """Lips pressed together (AU 24)."""
    lips_part: float = 0.0
    """Lips parted (AU 25)."""
    jaw_drop: float = 0.0
    """Jaw dropped (AU 26)."""
    lid_droop: float = 0.0
    """Upper lid hanging (AU 43, in part)."""
    gaze_down: float = 0.0
    """Eyes cast down (AU 64)."""


# Several ways to show each expression; one is drawn for each picture.
_VARIANTS: dict[str, tuple[Muscles, ...]] = {
    "angry": (
        Muscles(
            brow_lower=1.0, lid_tighten=0.55, lid_raise=0.35, nose_wrinkle=0.4, lip_press=0.9,
            corner_depress=0.45, chin_raise=0.35,
        ),
        Muscles(
            brow_lower=1.0, lid_tighten=0.6, lid_raise=0.3, nose_wrinkle=0.9, lip_raise=0.9,
            lips_part=0.6, corner_depress=0.35, jaw_drop=0.08,
        ),
    ),
    "happy": (
        Muscles(cheek_raise=0.9, corner_pull=1.0, lips_part=0.85, jaw_drop=0.18),
        Muscles(cheek_raise=0.75, corner_pull=1.0, lips_part=0.55),
        Muscles(cheek_raise=0.65, corner_pull=1.0, brow_outer=0.15),
    ),
    "neutral": (Muscles(),),
    "sad": (
        Muscles(
            brow_inner=1.0, brow_lower=0.3, corner_depress=1.0, chin_raise=0.7, lid_droop=0.5,
            gaze_down=0.6,
        ),
        Muscles(
            brow_inner=1.0, brow_lower=0.2, corner_depress=0.9, lid_droop=0.35, lips_part=0.12,
            chin_raise=0.3,
        ),
    ),
    "surprised": (
        Muscles(brow_inner=0.95, brow_outer=1.0, lid_raise=1.0, jaw_drop=1.05),
        Muscles(brow_inner=1.0, brow_outer=1.0, lid_raise=0.9, jaw_drop=0.7),
    ),
}  # fmt: skip


# A stray movement of these reads as an expression of its own.
_ALWAYS_STILL = {"lips_part", "jaw_drop", "lip_raise", "nose_wrinkle"}


def draw_muscles(expression: str, intensity: float, rng: np.random.Generator) -> Muscles:
    """Draws one way to show an expression.

    Args:
        expression: One of `ferfusion.expression.VIRI`, in any spelling we know.
        intensity: From 0 (not shown) to 1 (in full).
        rng: Draws the variant and small stray movements.

    Raises:
        ConfigError: The expression is unknown.
    """
    name = canonical_expression(expression)
    if name not in _VARIANTS:
        raise ConfigError(unknown_name("drawn expression", expression, VIRI))
    variants = _VARIANTS[name]
    chosen = variants[int(rng.integers(len(variants)))]
    actions: dict[str, float] = {}
    for field in fields(Muscles):
        full = getattr(chosen, field.name)
        stray = abs(rng.normal(0.0, 0.05)) if field.name not in _ALWAYS_STILL else 0.0
        actions[field.name] = float(full * intensity * rng.normal(1.0, 0.08) + stray)
    return Muscles(**actions)
