"""What a model said, drawn onto a frame: box, words, time, and the infrared picture beside."""

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from ferfusion.imaging.faces.detector import Face

_SURE, _UNSURE = (120, 220, 140), (255, 190, 110)
_INK, _GROUND = (255, 255, 255), (25, 28, 32)
_LEAST_FONT_PX = 11
_FONT_SHARE = 1 / 22
_INSET_SHARE = 0.28
_GAP_SHARE = 1 / 60


def annotate(
    picture: UInt8[np.ndarray, "height width 3"],
    words: str,
    *,
    is_sure: bool,
    time_s: float,
    face: Face | None = None,
    inset: UInt8[np.ndarray, "_ _ 3"] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Gives a frame with an answer drawn onto it.

    Args:
        picture: RGB; it stays as it is.
        words: The answer, or why there is none; stands at the box, or without one at the top.
        is_sure: Whether box and words are green, or orange.
        time_s: Stands in the lower left.
        face: What the box is drawn around.
        inset: A second picture, in the lower right.
    """
    height, width = picture.shape[:2]
    gap = max(2, round(_GAP_SHARE * height))
    font_px = max(_LEAST_FONT_PX, round(_FONT_SHARE * height))
    drawn, colour = picture.copy(), _SURE if is_sure else _UNSURE
    if inset is not None:
        _lay_inset(drawn, inset, gap)
    top, left = gap, gap
    if face is not None:
        corner = round(face.left), round(face.top)
        opposite = round(face.left + face.width), round(face.top + face.height)
        cv2.rectangle(drawn, corner, opposite, colour, max(1, round(height / 240)), cv2.LINE_AA)
        left = min(max(corner[0], 0), width - 1)
        above = corner[1] - font_px - gap
        # Where there is no room above the face, below its upper edge.
        top = above if above >= 0 else min(max(corner[1] + gap, gap), height - font_px)
    image = Image.fromarray(drawn)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(font_px)
    _write(pen, words, left, top, font, colour, width)
    _write(pen, f"{time_s:.2f} s", gap, height - font_px - 2 * gap, font, _INK, width)
    return np.array(image)


def _lay_inset(drawn: UInt8[np.ndarray, "height width 3"], inset: np.ndarray, gap: int) -> None:
    height, width = drawn.shape[:2]
    factor = min(_INSET_SHARE * height / inset.shape[0], _INSET_SHARE * width / inset.shape[1])
    small = max(1, round(inset.shape[1] * factor)), max(1, round(inset.shape[0] * factor))
    top, left = height - small[1] - gap, width - small[0] - gap
    if top < 1 or left < 1:
        return
    drawn[top - 1 : top + small[1] + 1, left - 1 : left + small[0] + 1] = _INK
    shrunk = cv2.resize(inset, small, interpolation=cv2.INTER_AREA)
    drawn[top : top + small[1], left : left + small[0]] = shrunk


def _write(
    pen: ImageDraw.ImageDraw,
    words: str,
    left: int,
    top: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """Writes words on a dark ground, moved left where they would end outside."""
    left = max(0, min(left, width - round(font.getlength(words)) - 4))
    pen.rectangle(pen.textbbox((left + 2, top), words, font), _GROUND)
    pen.text((left + 2, top), words, colour, font)
