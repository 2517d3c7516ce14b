"""Heat maps laid over pictures, and a line of text under them."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

_GREYED = 0.85
"""How far the picture loses its colours, so that those of an infrared one aren't taken for heat."""
_STRONGEST = 0.65
"""How much of the heat's colour covers the picture where it is 1."""
_FONT_PX = 12
STRIP_PX = 18
"""Height of the line of text."""
_STRIP, _PAPER = (35, 40, 46), (255, 255, 255)
_INK, _WARNING = (255, 255, 255), (255, 176, 120)


def overlay_heat(
    picture: UInt8[np.ndarray, "height width 3"], heat: Float[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Lays a heat map over a picture, which shows in grey where there is no heat.

    Args:
        picture: RGB.
        heat: From 0 (blue, nearly transparent) over green and yellow to 1 (red).

    Raises:
        ValueError: The heat is outside 0 to 1 or not a number.
    """
    if not (np.isfinite(heat).all() and heat.min() >= 0 and heat.max() <= 1):
        raise ValueError("Heat must be between 0 and 1.")
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., np.newaxis].astype(np.float32)
    below = _GREYED * grey + (1 - _GREYED) * picture
    levels = np.rint(heat * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    share = (_STRONGEST * np.sqrt(heat))[..., np.newaxis]
    return np.rint((1 - share) * below + share * colours).astype(np.uint8)


def write_below(
    picture: UInt8[np.ndarray, "height width 3"], text: str, *, is_warning: bool = False
) -> UInt8[np.ndarray, "taller width 3"]:
    """Puts a strip with a line of text under a picture; without text the strip is white.

    Args:
        picture: RGB.
        text: Cut off where it is wider than the picture.
        is_warning: Whether the text is orange instead of white.
    """
    height, width = picture.shape[:2]
    image = Image.new("RGB", (width, height + STRIP_PX), _STRIP if text else _PAPER)
    image.paste(Image.fromarray(picture), (0, 0))
    font = ImageFont.load_default(_FONT_PX)
    place = (4, height + STRIP_PX // 2)
    ImageDraw.Draw(image).text(place, text, _WARNING if is_warning else _INK, font, anchor="lm")
    return np.asarray(image)
