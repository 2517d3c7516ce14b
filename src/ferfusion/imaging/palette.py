"""Temperatures in false colour, as thermal cameras show them."""

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import ConfigError, unknown_name

# Positions in [0, 1] and RGB colours of our own iron-like scale: brightness rises all the way.
_IRON = (
    (0.00, (4, 2, 18)),
    (0.14, (34, 8, 92)),
    (0.30, (112, 12, 142)),
    (0.46, (184, 36, 112)),
    (0.62, (228, 92, 42)),
    (0.78, (250, 164, 28)),
    (0.91, (254, 228, 112)),
    (1.00, (255, 252, 236)),
)
_GREY = ((0.0, (0, 0, 0)), (1.0, (255, 255, 255)))


def _table(stops: tuple[tuple[float, tuple[int, int, int]], ...]) -> UInt8[np.ndarray, "256 3"]:
    positions, colours = zip(*stops, strict=True)
    steps = np.linspace(0.0, 1.0, 256)
    channels = [np.interp(steps, positions, channel) for channel in zip(*colours, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


_TABLES = {"iron": _table(_IRON), "grey": _table(_GREY)}


def colourise(
    temperature_c: Float[np.ndarray, "height width"],
    low_c: float,
    high_c: float,
    palette: str = "iron",
) -> UInt8[np.ndarray, "height width 3"]:
    """Shows a temperature map in false colour, cold dark and warm bright.

    Args:
        temperature_c: Degrees Celsius.
        low_c: The temperature of the darkest colour; anything colder looks the same.
        high_c: The temperature of the brightest colour; anything warmer looks the same.
        palette: "iron" (black, purple, red, orange, yellow, white) or "grey".

    Raises:
        ConfigError: The palette is unknown.
        ValueError: The span is empty, or a temperature is not a number.
    """
    if palette not in _TABLES:
        raise ConfigError(unknown_name("palette", palette, _TABLES))
    if not low_c < high_c:
        raise ValueError(f"The span must rise, but it goes from {low_c} to {high_c} °C.")
    if np.isnan(temperature_c).any():
        raise ValueError("The temperature map holds values that are not numbers (NaN).")
    position = (np.clip(temperature_c, low_c, high_c) - low_c) * (255.0 / (high_c - low_c))
    return _TABLES[palette][np.rint(position).astype(np.uint8)]
