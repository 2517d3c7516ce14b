"""Drawn faces to try a model with: nobody's, and always the same."""

import io
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ferfusion.data.synthetic import DrawnSample, draw_sample
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.modality import Modality

Example = Literal["angry", "happy", "neutral", "sad", "surprised"]
"""What they show; their names in addresses."""

EXAMPLES: tuple[Example, ...] = get_args(Example)

_SIZE_PX = 224
_LIGHTS = ("even", "even", "side", "even", "even")
_PEOPLE = (11, 23, 5, 42, 31)


@lru_cache(maxsize=32)
def draw_example(name: Example, modality: Modality, *, in_degrees: bool = False) -> bytes:
    """Gives the file of a drawn face.

    Args:
        name: What it shows.
        modality: Which picture of it.
        in_degrees: Whether infrared is a NumPy file of degrees Celsius, not a PNG.
    """
    drawn = _draw(EXAMPLES.index(name))
    file = io.BytesIO()
    if in_degrees and modality is Modality.INFRARED:
        np.save(file, drawn.temperature_c.astype(np.float32))
        return file.getvalue()
    pixels: UInt8[np.ndarray, "size size 3"] = getattr(drawn, modality)
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


@lru_cache(maxsize=len(EXAMPLES))
def _draw(place: int) -> DrawnSample:
    return draw_sample(
        draw_identity(_PEOPLE[place]),
        EXAMPLES[place],
        light=_LIGHTS[place],
        intensity=0.95,
        seed=_PEOPLE[place],
        size_px=_SIZE_PX,
    )
