"""Temperatures in false colour, as thermal cameras show them."""

import cv2
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
_WHITE_HOT = ((0.0, (0, 0, 0)), (1.0, (255, 255, 255)))
_BLACK_HOT = ((0.0, (255, 255, 255)), (1.0, (0, 0, 0)))
# From blue over green and yellow to red, the hues that most cameras call rainbow.
_RAINBOW = (
    (0.00, (12, 8, 92)),
    (0.16, (20, 52, 220)),
    (0.32, (0, 168, 228)),
    (0.48, (20, 190, 84)),
    (0.62, (176, 218, 32)),
    (0.76, (250, 206, 24)),
    (0.88, (248, 112, 24)),
    (1.00, (200, 12, 24)),
)


def _table(stops: tuple[tuple[float, tuple[int, int, int]], ...]) -> UInt8[np.ndarray, "256 3"]:
    positions, colours = zip(*stops, strict=True)
    steps = np.linspace(0.0, 1.0, 256)
    channels = [np.interp(steps, positions, channel) for channel in zip(*colours, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


PALETTES = ("iron", "rainbow", "white-hot", "black-hot")
"""Their names; "grey" is another word for white-hot."""

_TABLES = {
    "iron": _table(_IRON),
    "rainbow": _table(_RAINBOW),
    "white-hot": _table(_WHITE_HOT),
    "black-hot": _table(_BLACK_HOT),
    "grey": _table(_WHITE_HOT),
}


def find_palette(name: str) -> UInt8[np.ndarray, "256 3"]:
    """Gives the colours of a palette, from cold to warm.

    Raises:
        ConfigError: There is no such palette.
    """
    if name not in _TABLES:
        raise ConfigError(unknown_name("palette", name, PALETTES))
    return _TABLES[name]


def fill_unknown(
    temperature_c: Float[np.ndarray, "height width"], otherwise_c: float
) -> Float[np.ndarray, "height width"]:
    """Gives the nearest temperature wherever there is none (NaN): to look at, never to measure.

    Args:
        temperature_c: Degrees Celsius.
        otherwise_c: What to give where there is none at all.
    """
    is_known = np.isfinite(temperature_c)
    if is_known.all():
        return temperature_c
    if not is_known.any():
        return np.full_like(temperature_c, otherwise_c)
    _, labels = cv2.distanceTransformWithLabels(
        (~is_known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.asarray(labels, np.int64)
    values = np.zeros(int(nearest.max()) + 1, temperature_c.dtype)
    values[nearest[is_known]] = temperature_c[is_known]
    return values[nearest]


def colourise(
    temperature_c: Float[np.ndarray, "height width"],
    low_c: float,
    high_c: float,
    palette: str = "iron",
) -> UInt8[np.ndarray, "height width 3"]:
    """Shows a temperature map in false colour.

    Args:
        temperature_c: Degrees Celsius.
        low_c: The temperature of the first colour; anything colder looks the same.
        high_c: The temperature of the last colour; anything warmer looks the same.
        palette: "iron" (black, purple, red, orange, yellow, white), "rainbow" (blue, green,
            yellow, red; not brighter all the way), "white-hot" or "black-hot".

    Raises:
        ConfigError: The palette is unknown.
        ValueError: The span is empty, or a temperature is not a number.
    """
    table = find_palette(palette)
    if not low_c < high_c:
        raise ValueError(f"The span must rise, but it goes from {low_c} to {high_c} °C.")
    if np.isnan(temperature_c).any():
        raise ValueError("The temperature map holds values that are not numbers (NaN).")
    position = (np.clip(temperature_c, low_c, high_c) - low_c) * (255.0 / (high_c - low_c))
    return table[np.rint(position).astype(np.uint8)]


def show_heat(
    temperature_c: Float[np.ndarray, "rows columns"],
    span_c: tuple[float, float] | None,
    palette: str = "iron",
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Gives temperatures in false colour; where there is none, that of the nearest one.

    Args:
        temperature_c: Degrees Celsius; NaN where there is no value.
        span_c: Of the first and the last colour; None spreads them over what is seen.
        palette: One of `PALETTES`.
    """
    known = temperature_c[np.isfinite(temperature_c)]
    if span_c is None:
        low, high = (float(v) for v in np.percentile(known, (1, 99))) if known.size else (0.0, 1.0)
        span_c = (low, high) if high > low else (low - 0.5, low + 0.5)
    return colourise(fill_unknown(temperature_c, span_c[0]), *span_c, palette)
