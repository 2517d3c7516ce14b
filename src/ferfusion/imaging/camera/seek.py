"""Seek Shot's HIR files: a screenshot, temperatures and a photo, one after the other.

Source:
    The description in the README of git.tkolb.de/Public/decode_hir, made from one camera.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

from ferfusion.errors import ThermogramError
from ferfusion.imaging.camera.jpeg import list_segments
from ferfusion.imaging.camera.kinds import SEEK_HIR
from ferfusion.imaging.camera.thermogram import Thermogram
from ferfusion.imaging.files import decode_image

_COLUMNS, _ROWS = 206, 156
_WIDTH, _HEIGHT = 1440, 1080
_BLOCK, _GAP, _PHOTO_AFTER = 0x1000, 0x2000, 0x10000


def read_seek(name: str, data: bytes) -> Thermogram:
    """Reads an HIR file.

    Raises:
        ImageError: The screenshot is damaged.
        ThermogramError: It is cut short.
    """
    end = list_segments(data)[1] or len(data)
    start = end // _BLOCK * _BLOCK + _GAP
    raw = data[start : start + _COLUMNS * _ROWS * 2]
    if len(raw) < _COLUMNS * _ROWS * 2:
        raise ThermogramError(f"{name} is cut short: copy it again from the camera.")
    counts = np.frombuffer(raw, "<u2").reshape(_ROWS, _COLUMNS)
    return Thermogram(
        kind=SEEK_HIR,
        temperature_c=(counts / 64 - 40).astype(np.float32),
        photo=_read_photo(data[start + _PHOTO_AFTER :]),
        picture=decode_image(name, data),
        camera="Seek Shot",
        warnings=(
            "HIR files are read by a description made from one camera: compare with what its "
            "screen showed.",
        ),
    )


def _read_photo(data: bytes) -> UInt8[np.ndarray, "height width 3"] | None:
    """Puts the photo together: all of its brightness, then two colours at half the size."""
    pixels = _WIDTH * _HEIGHT
    if len(data) < pixels * 3 // 2:
        return None
    planes = np.frombuffer(data, np.uint8, pixels * 3 // 2)
    light = planes[:pixels].reshape(_HEIGHT, _WIDTH)
    blue, red = (
        cv2.resize(plane, (_WIDTH, _HEIGHT))
        for plane in planes[pixels:].reshape(2, _HEIGHT // 2, _WIDTH // 2)
    )
    return cv2.cvtColor(cv2.merge((light, red, blue)), cv2.COLOR_YCrCb2RGB)
