"""Temperatures as pictures that a model sees."""

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.imaging.camera.grids import SCALES
from ferfusion.imaging.camera.opening import open_thermogram
from ferfusion.imaging.files import read_image
from ferfusion.imaging.palette import colourise, fill_unknown, show_heat
from ferfusion.preprocessing import HeatInput
from ferfusion.sample import ImageFile

_DEVIATIONS = 2.5
"""To either side of the mean; beyond, all looks the same."""


def read_picture(
    file: ImageFile, heat: HeatInput | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Reads a picture, or the temperatures in a file as a picture.

    Args:
        file: A picture or a grid; with `heat`, a file that holds temperatures.
        heat: None for pictures as they are, and for grids in grey, each stretched for itself.

    Raises:
        DataError: It is unusable, or holds no temperatures.
    """
    if heat is None and file.is_grid:
        # What a count is doesn't matter to the pattern.
        grid = open_thermogram(file.path, scale=SCALES["celsius"])
        return show_heat(grid.temperature_c, None, "white-hot")
    if heat is None:
        return read_image(file)
    return show_heat_to_model(open_thermogram(file.path).temperature_c, heat)


def show_heat_to_model(
    temperature_c: Float[np.ndarray, "rows columns"], heat: HeatInput
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Gives temperatures as bytes.

    256 levels over 10 degrees are steps of 0.04, about the noise of a camera. Where there is no
    temperature stands the level of the nearest one.

    Args:
        temperature_c: Degrees Celsius; NaN where there is no value.
        heat: How.
    """
    if heat.kind == "standardised":
        known = _middle(temperature_c)
        mean = float(known.mean()) if known.size else 0.0
        spread = max(float(known.std()) if known.size else 0.0, 1e-3)
        reach = _DEVIATIONS * spread
        filled = fill_unknown(temperature_c, mean)
        return colourise(filled, mean - reach, mean + reach, "white-hot")
    palette = "iron" if heat.kind == "palette" else "white-hot"
    filled = fill_unknown(temperature_c, heat.low_c)
    return colourise(filled, heat.low_c, heat.high_c, palette)


def _middle(temperature_c: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, " known"]:
    """Gives the temperatures of the middle half, where the face is; of all, if there are none.

    With the background in it, the deviation is that between face and room, and the face is flat.
    """
    rows, columns = temperature_c.shape
    middle = temperature_c[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    for values in (middle, temperature_c):
        known = values[np.isfinite(values)]
        if known.size:
            return known
    return np.empty(0, np.float32)
