"""Palette pictures read backwards: from a colour to its place between the coldest and warmest.

Colours aren't temperatures. A camera spreads its palette anew over every scene, so the same blue
is 20 degrees in one picture and 30 in the next, and most cameras' palettes differ a little from
ours. So everything here says how well it fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import ThermogramError
from ferfusion.imaging.palette import PALETTES, find_palette

# In Lab, where 2 is just seen side by side. JPEG moves a colour by up to about 10.
_FITS = 12.0
_IS_OVERLAY = 30.0
# A few more colours than eyes can tell, and few enough to look each up only once.
_STEP = 4
_SAMPLE_PIXELS = 250_000
_GREYS = ("white-hot", "black-hot")


@dataclass(frozen=True)
class PaletteFit:
    """How well the colours of a picture are those of a palette.

    Attributes:
        palette: Its name.
        median_distance: Of the pixels' colours from the palette's nearest, in Lab.
        p95_distance: Likewise, the 95th percentile.
        share: Of pixels nearer than 12; logos, scales and crosshairs aren't.
    """

    palette: str
    median_distance: float
    p95_distance: float
    share: float

    def say(self) -> str:
        """Says it in one sentence."""
        text = (
            f"{self.share:.0%} of the colours are those of {self.palette} (distance in Lab: median "
            f"{self.median_distance:.1f}, 95 % below {self.p95_distance:.1f})."
        )
        if self.palette in _GREYS:
            text += " White-hot and black-hot have the same colours, and so has any grey photo."
        return text


def rank_palettes(
    picture: UInt8[np.ndarray, "height width 3"],
    more: Mapping[str, UInt8[np.ndarray, "colours 3"]] | None = None,
) -> tuple[PaletteFit, ...]:
    """Lists how well palettes fit a picture, the best first.

    Args:
        picture: RGB.
        more: Palettes to be tried besides ours.
    """
    tables = {**{name: find_palette(name) for name in PALETTES}, **(more or {})}
    stride = max(1, round((picture.shape[0] * picture.shape[1] / _SAMPLE_PIXELS) ** 0.5))
    few = picture[::stride, ::stride]
    fits = [_judge(name, _match(few, table)[1]) for name, table in tables.items()]
    # Sorted stably: of the two greys, white-hot comes first.
    return tuple(sorted(fits, key=lambda fit: (-round(fit.share, 3), fit.median_distance)))


def invert_palette(
    picture: UInt8[np.ndarray, "height width 3"],
    name: str,
    table: UInt8[np.ndarray, "colours 3"],
) -> tuple[Float[np.ndarray, "height width"], PaletteFit]:
    """Finds for every pixel where its colour stands in a palette.

    Args:
        picture: RGB.
        name: What the palette is called.
        table: Its colours from cold to warm.

    Returns:
        From 0, the first colour, to 1, the last; NaN where the colour isn't near the palette, as
        in most logos and crosshairs. And how well the palette fits.
    """
    index, distance = _match(picture, table)
    position = (index / np.float32(len(table) - 1)).astype(np.float32)
    position[distance > _IS_OVERLAY] = np.nan
    return position, _judge(name, distance)


def read_strip(
    name: str, picture: UInt8[np.ndarray, "height width 3"]
) -> UInt8[np.ndarray, "256 3"]:
    """Reads a palette from a picture of a camera's colour scale.

    Args:
        name: What messages call it.
        picture: The scale alone, cut out: cold at the left or the bottom.

    Raises:
        ThermogramError: It is no strip.
    """
    height, width = picture.shape[:2]
    if max(height, width) < 32 or max(height, width) < 3 * min(height, width):
        raise ThermogramError(
            f"{name} has {width} x {height} pixels and isn't a colour scale: cut the scale out of "
            "a picture of the camera, without numbers and frame."
        )
    along = np.median(picture, axis=0) if width >= height else np.median(picture, axis=1)[::-1]
    steps = np.linspace(0, len(along) - 1, 256)
    channels = [np.interp(steps, np.arange(len(along)), along[:, c]) for c in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def _match(
    picture: UInt8[np.ndarray, "height width 3"], table: UInt8[np.ndarray, "colours 3"]
) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "height width"]]:
    """Gives the nearest entry of the palette for each pixel, and how far away it is."""
    # Imported here, since it takes longer than all that most callers of this package need.
    from scipy.spatial import KDTree

    tree = KDTree(_to_lab(table))
    steps = 256 // _STEP
    cells = (picture // _STEP).astype(np.int32)
    code = (cells[..., 0] * steps + cells[..., 1]) * steps + cells[..., 2]
    # The mean colour of each cell of colour space that is there, not its middle.
    used, inverse, count = np.unique(code, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    flat = picture.reshape(-1, 3)
    means = np.stack(
        [np.bincount(inverse, flat[:, c], len(used)) / count for c in range(3)], axis=1
    )
    distance, index = tree.query(_to_lab(means))
    shape = picture.shape[:2]
    return (
        np.asarray(index)[inverse].reshape(shape).astype(np.float32),
        np.asarray(distance)[inverse].reshape(shape).astype(np.float32),
    )


def _judge(name: str, distance: Float[np.ndarray, "height width"]) -> PaletteFit:
    median, p95 = (float(value) for value in np.percentile(distance, (50, 95)))
    return PaletteFit(name, median, p95, float((distance < _FITS).mean()))


def _to_lab(colours: np.ndarray) -> Float[np.ndarray, "colours 3"]:
    rgb = (np.asarray(colours, np.float32) / 255)[np.newaxis]
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)[0]
