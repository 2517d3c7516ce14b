"""Every form in which somebody may hold a picture, as the square that a model looks at."""

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ferfusion.data.cache import resize
from ferfusion.errors import DataError, ImageError
from ferfusion.imaging.camera.opening import decode_thermogram
from ferfusion.imaging.file_bytes import MAX_MEBIBYTES, read_bytes
from ferfusion.imaging.files import decode_image, take_pillow
from ferfusion.imaging.heat_input import read_picture, show_heat_to_model
from ferfusion.imaging.msx import blend_msx
from ferfusion.preprocessing import HeatInput
from ferfusion.sample import ImageFile

if TYPE_CHECKING:
    Bytes = bytes | bytearray | memoryview
    Picture = str | os.PathLike[str] | ImageFile | Bytes | np.ndarray | Image.Image | IO[bytes]
    """A path, the bytes of a file, a file that is open, a NumPy array, or a picture of Pillow."""
else:
    # What people give is checked below, with a sentence for what it is not.
    Picture = object

LEAST_PX = 16
"""Of the shorter side; with less, nobody sees what a face shows."""

MSX_PX = 224
"""Side of the pictures that `ferfusion prepare` blends, unless told otherwise."""

_WANTED = (
    "a path, bytes, an open file, a Pillow picture, or a NumPy array of bytes (uint8), rows x "
    "columns x 3 in the order red, green, blue, or rows x columns in grey"
)


def read_square(
    source: Picture,
    size_px: int,
    *,
    name: str = "The picture",
    reduced: bool = False,
    heat: HeatInput | None = None,
) -> UInt8[np.ndarray, "size size 3"]:
    """Gives a picture as models look at it.

    Args:
        source: In any form; arrays are RGB. For a model of temperatures a file with them, or an
            array of degrees Celsius, rows x columns, NaN where there is none.
        size_px: Side of the square.
        name: What messages call a picture that has no path.
        reduced: Whether large JPEGs may be decoded at a half, a quarter or an eighth. It takes
            about half the time. From 500 px to 224 the pixels of photographs differ by 0.7 levels
            on average, 99 % of them by at most 5, the worst by 19.
        heat: How temperatures become a picture; None where it is one.

    Raises:
        DataError: It can't be used, or holds no temperatures; says why.
    """
    at_least_px = size_px if reduced else None
    return resize(read_whole(source, name=name, at_least_px=at_least_px, heat=heat), size_px)


def read_whole(
    source: Picture,
    *,
    name: str = "The picture",
    at_least_px: int | None = None,
    heat: HeatInput | None = None,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Gives a picture as models look at it, but in its own size.

    Args:
        source: See `read_square`.
        name: Likewise.
        at_least_px: As in `decode_image`.
        heat: See `read_square`.

    Raises:
        DataError: It can't be used, or holds no temperatures; says why.
    """
    picture = _read(source, name, at_least_px, heat)
    height, width = picture.shape[:2]
    if min(height, width) < LEAST_PX:
        what = str(source) if isinstance(source, (str, os.PathLike, ImageFile)) else name
        raise ImageError(
            f"{what} is {width} x {height} pixels, and models look at a face of {LEAST_PX} x "
            f"{LEAST_PX} at least: give a larger picture, cut to the face."
        )
    return picture


def _read(
    source: Picture, name: str, at_least_px: int | None, heat: HeatInput | None
) -> UInt8[np.ndarray, "rows columns 3"]:
    if isinstance(source, (bytearray, memoryview)):
        source = bytes(source)
    if isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[2] == 1:
        source = source[:, :, 0]
    if heat is not None:
        return _show_heat(source, name, heat)
    if isinstance(source, (str, os.PathLike, ImageFile)):
        file = source if isinstance(source, ImageFile) else ImageFile(Path(source))
        if file.is_grid:
            return read_picture(file)
        return decode_image(file, read_bytes(file), at_least_px=at_least_px)
    if isinstance(source, bytes):
        return decode_image(name, source, at_least_px=at_least_px)
    if isinstance(source, np.ndarray):
        return _check_array(source, name)
    if isinstance(source, Image.Image):
        return take_pillow(name, source)
    return decode_image(name, _read_stream(source, name), at_least_px=at_least_px)


def make_msx(
    visible: Picture, infrared: Picture, *, size_px: int = MSX_PX
) -> UInt8[np.ndarray, "{size_px} {size_px} 3"]:
    """Gives an MSX-style picture of two that are cut alike, as `ferfusion prepare` makes it.

    Args:
        visible: In any form.
        infrared: Likewise, in false colours; it shows the same square of the scene.
        size_px: Outlines are as fine as in pictures of this side.

    Raises:
        DataError: One of them can't be used.
    """
    seen = read_square(visible, size_px, name="The visible picture")
    return blend_msx(seen, read_square(infrared, size_px, name="The infrared picture"))


def _show_heat(source: Picture, name: str, heat: HeatInput) -> UInt8[np.ndarray, "rows columns 3"]:
    if isinstance(source, (str, os.PathLike, ImageFile)):
        file = source if isinstance(source, ImageFile) else ImageFile(Path(source))
        return read_picture(file, heat)
    if isinstance(source, bytes):
        return show_heat_to_model(decode_thermogram(name, source).temperature_c, heat)
    if (
        isinstance(source, np.ndarray)
        and source.ndim == 2
        and source.size
        and np.issubdtype(source.dtype, np.floating)
    ):
        return show_heat_to_model(source.astype(np.float32), heat)
    raise DataError(
        f"{name} must hold temperatures for this model: give a file with them, or a NumPy "
        f"array of degrees Celsius (float), rows x columns, not {_describe(source)}."
    )


def _check_array(array: np.ndarray, name: str) -> UInt8[np.ndarray, "rows columns 3"]:
    if array.dtype == np.uint8 and array.size:
        if array.ndim == 2:
            return np.repeat(array[:, :, None], 3, axis=2)
        if array.ndim == 3 and array.shape[2] == 3:
            return array
    raise ImageError(f"{name} is {_describe(array)}. Give {_WANTED}.")


def _read_stream(source: object, name: str) -> bytes:
    read = getattr(source, "read", None)
    try:
        data = read(MAX_MEBIBYTES * 2**20 + 1) if callable(read) else None
    except (OSError, ValueError) as error:
        # Of a text file what can't be decoded is a ValueError, too.
        what = "a file that was closed" if getattr(source, "closed", False) else "no binary file"
        raise ImageError(f"{name} is {what} ({error}). Give {_WANTED}.") from error
    if isinstance(data, bytes):
        return data
    what = "a file opened as text" if isinstance(data, str) else _describe(source)
    raise ImageError(f"{name} is {what}. Give {_WANTED}.")


def _describe(source: object) -> str:
    if isinstance(source, np.ndarray):
        shape = " x ".join(map(str, source.shape)) or "no dimension"
        return f"an array of {source.dtype}, {shape}"
    return "nothing" if source is None else f"of the type {type(source).__name__}"
