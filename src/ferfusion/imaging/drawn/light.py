"""What light, or the want of it, makes of a picture."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.imaging.drawn.canvas import Canvas, Pose

LIGHTS = ("even", "dim", "side")


def light_picture(
    picture: UInt8[np.ndarray, "height width 3"],
    light: str,
    pose: Pose,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lights a picture that was painted in even light, and adds the camera's noise.

    Args:
        picture: RGB.
        light: "even"; "dim" (a fraction of the light, so noise hides much); or "side" (one half
            bright, the other nearly dark).
        pose: Where the head is; its roundness shapes the light from the side.
        rng: Draws strength, direction, tint and noise.
    """
    side_px = picture.shape[0]
    linear = (picture.astype(np.float32) / 255.0) ** 2.2
    tint = rng.normal(1.0, 0.018, 3)
    noise = 0.008
    if light == "even":
        linear *= rng.uniform(0.86, 1.04) * tint
    elif light == "dim":
        glow = (1.12, 0.98, 0.80) if rng.random() < 0.5 else (0.85, 0.98, 1.2)
        linear *= rng.uniform(0.012, 0.035) * np.asarray(glow) * tint
        noise = float(rng.uniform(0.04, 0.065))
    else:
        linear *= _side_light(side_px, pose, rng)[..., np.newaxis] * tint
        noise = 0.014
    shown = np.clip(linear, 0.0, 1.0).astype(np.float32) ** (1 / 2.2)
    if light == "dim":
        shown = cv2.GaussianBlur(shown, (0, 0), 0.005 * side_px)
    # Noise has the grain of the sensor's cells, which are about 1/128 of the picture.
    grain = rng.normal(0.0, noise, (128, 128, 3)).astype(np.float32)
    if side_px != 128:
        grain = cv2.resize(grain, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.rint((shown + grain) * 255.0), 0, 255).astype(np.uint8)


def _side_light(
    side_px: int, pose: Pose, rng: np.random.Generator
) -> Float[np.ndarray, "height width"]:
    x, y = Canvas.blank(side_px, pose, 0.0, dtype=np.float32).to_units()
    nx, ny = x / 1.05, (y + 0.05) / 1.45
    depth = np.sqrt(np.clip(1.0 - nx**2 - ny**2, 0.0, 1.0))
    from_left = -1.0 if rng.random() < 0.5 else 1.0
    angle = rng.uniform(0.9, 1.2)
    lambert = from_left * nx * np.sin(angle) + depth * np.cos(angle) - 0.2 * ny
    beside = 0.35 + 0.3 * from_left * np.clip(x / 2.0, -1, 1)
    round_head = np.clip(lambert, 0.0, 1.2)
    on_head = np.clip((1.0 - nx**2 - ny**2) * 6.0, 0.0, 1.0)
    field = on_head * round_head + (1.0 - on_head) * np.clip(beside, 0.02, 1.0)
    return rng.uniform(0.02, 0.05) + 1.35 * cv2.GaussianBlur(field, (0, 0), 0.02 * side_px)
