"""The user's own pictures inside a page: small, as data addresses, nothing fetched."""

import base64

import cv2
import jinja2
import numpy as np
from jaxtyping import UInt8

Picture = UInt8[np.ndarray, "_ _ 3"]

_SIDE_PX = 128
_QUALITY = 80


def open_templates() -> jinja2.Environment:
    """Gives the templates beside this file, with `embed` for pictures."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ferfusion", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(embed=embed_picture)
    return environment


def embed_picture(picture: Picture, side_px: int = _SIDE_PX) -> str:
    """Gives a small JPEG as a data address, its longer side at most this."""
    height, width = picture.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
