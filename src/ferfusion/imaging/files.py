"""From the bytes of a file, or of one member of a zip archive, to RGB pixels.

Every picture of every data set comes in through here, so this is where size limits, the camera's
turn (EXIF) and 16-bit pictures are dealt with, and where an unusable file gets its sentence.
"""

import ctypes
import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cache

import numpy as np
from jaxtyping import Num, UInt8
from PIL import ExifTags, Image

from ferfusion.errors import ImageError, TooManyPixelsError
from ferfusion.imaging.file_bytes import check_bytes, empty_file, opening, read_bytes
from ferfusion.impostors import recognise_impostor
from ferfusion.sample import ImageFile

MAX_MEGAPIXELS = 64

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
_DEEP_GREY = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# What Pillow raises on damaged input, found by cutting files of each format and changing bytes in
# them, 40 000 times.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_warnings_lock = threading.Lock()


def read_image(file: ImageFile) -> UInt8[np.ndarray, "height width 3"]:
    """Reads a picture as RGB, upright.

    The turn in the EXIF is applied; EXIF too damaged to be read counts as none. Grey, palette and
    CMYK pictures become RGB. Transparency is dropped, not blended: the camera's
    pixels lie under it. Pictures of one channel with more than 8 bits are stretched so that their
    0.5 percentile becomes 0 and their 99.5 percentile 255; this keeps the pattern of a thermal
    picture and loses its absolute temperature. Of several frames the first is read.

    Raises:
        ImageError: The file is missing, empty, too big, cut short, or no picture. The message is
            one sentence with the path, what is wrong and what to do.
    """
    return decode_image(file, read_bytes(file))


def decode_image(
    file: ImageFile | str, data: bytes, *, at_least_px: int | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Does what `read_image` does with the bytes of a file that was read before.

    Args:
        file: What messages call it.
        data: All of it.
        at_least_px: Allows a JPEG with sides at least twice as long to be decoded at a half, a
            quarter or an eighth. Faster, but these are not the same pixels.

    Raises:
        ImageError: As `read_image`.
    """
    check_bytes(file, len(data))
    if not data:
        raise empty_file(file)
    picture = _open_picture(file, io.BytesIO(data))
    try:
        # Only TIFF warns while decoding; the others may run in parallel threads.
        with _pillow_quiet() if picture.format == "TIFF" else nullcontext():
            if at_least_px is not None:
                picture.draft(None, (at_least_px, at_least_px))
            picture.load()
        return _to_rgb(_turn_upright(picture))
    except _DAMAGE as error:
        raise _damaged(file, error) from error


def take_pillow(name: str, picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Gives the pixels of a picture that somebody opened with Pillow, as `read_image` would.

    Args:
        name: What messages call it.
        picture: Perhaps not decoded yet.

    Raises:
        ImageError: It has too many pixels, or is damaged.
    """
    if picture.width * picture.height > MAX_MEGAPIXELS * 1_000_000:
        raise TooManyPixelsError(_too_many(name))
    try:
        return _to_rgb(_turn_upright(picture))
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def decode_levels(
    file: ImageFile | str, data: bytes, *, max_pixels: int
) -> tuple[Num[np.ndarray, "height width"], bool]:
    """Gives the levels of a one-channel picture with more than 8 bits as they are stored.

    Args:
        file: What messages call it.
        data: All of a file for which `read_depth` says "whole" or "float".
        max_pixels: A larger picture is refused without decoding it.

    Returns:
        The levels of the first page, and whether there are more pages.

    Raises:
        ImageError: As `read_image`, or it has 8 bits.
    """
    check_bytes(file, len(data))
    picture = _open_picture(file, io.BytesIO(data))
    try:
        if picture.mode not in _DEEP_GREY:
            raise ImageError(f"{file} has no more than 8 bits: it holds colours, not levels.")
        if picture.width * picture.height > max_pixels:
            raise ImageError(
                f"{file} has more than {max_pixels / 1e6:g} megapixels, as no thermal sensor has: "
                "save one frame alone."
            )
        with _pillow_quiet():
            picture.load()
            levels = np.array(picture)
        return levels, _has_more_pages(picture)
    except _DAMAGE as error:
        raise _damaged(file, error) from error


def read_depth(file: ImageFile | str, data: bytes) -> str:
    """Says what a picture's pixels are: "8-bit" colours, "whole" levels of 16 bits, or "float".

    Raises:
        ImageError: As `read_image`, save for damage behind the header.
    """
    mode = _open_picture(file, io.BytesIO(data)).mode
    return "float" if mode == "F" else "whole" if mode in _DEEP_GREY else "8-bit"


def read_camera(file: ImageFile | str, data: bytes) -> str | None:
    """Gives maker and model of the camera as the EXIF names them, if it does.

    Raises:
        ImageError: As `read_image`, save for damage behind the header.
    """
    picture = _open_picture(file, io.BytesIO(data))
    with _pillow_quiet():
        try:
            exif = picture.getexif()
        except _DAMAGE:
            return None
    said = [exif.get(tag) for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
    names = [name.strip("\0 ") for name in said if isinstance(name, str)]
    names = [name for name in names if name.isprintable() and name not in ("", "*")]
    if len(names) == 2 and names[1].startswith(names[0].split()[0]):
        return names[1]  # which says who made it
    return " ".join(names) or None


def read_taken_at(file: ImageFile) -> datetime | None:
    """Gives when the picture was taken, as the EXIF says (DateTimeOriginal), if it does.

    The time is the camera's clock: no time zone, and right only as its owner set it. Of a file that
    is in no archive only the beginning is read, as far as the EXIF goes.

    Raises:
        ImageError: As `read_image`, save for damage behind the header.
    """
    with opening(file) as stream:
        picture = _open_picture(file, stream)
        return _read_clock(picture)


def _read_clock(picture: Image.Image) -> datetime | None:
    with _pillow_quiet():
        try:
            details = picture.getexif().get_ifd(ExifTags.IFD.Exif)
            said = details.get(ExifTags.Base.DateTimeOriginal)
            part = details.get(ExifTags.Base.SubsecTimeOriginal)
        except (*_DAMAGE, struct.error, LookupError, ArithmeticError):
            return None
    if not isinstance(said, str):
        return None
    text = said.strip("\0 ")
    try:
        taken_at = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    fraction = part.strip("\0 ") if isinstance(part, str) else ""
    if re.fullmatch(r"[0-9]+", fraction):
        taken_at = taken_at.replace(microsecond=int(f"{fraction:0<6}"[:6]))
    return taken_at


def read_image_size(file: ImageFile) -> tuple[int, int]:
    """Gives width and height in pixels of the upright picture, without decoding it.

    Raises:
        ImageError: As `read_image`, save for damage behind the header.
    """
    return measure_image(file, read_bytes(file))


def measure_image(file: ImageFile | str, data: bytes) -> tuple[int, int]:
    """Does what `read_image_size` does with the bytes of a file that was read before.

    Raises:
        ImageError: As `read_image`, save for damage behind the header.
    """
    check_bytes(file, len(data))
    if not data:
        raise empty_file(file)
    picture = _open_picture(file, io.BytesIO(data))
    width, height = picture.size
    # Pillow turns a TIFF's size by itself (since 11.0); a PNG whose EXIF doesn't come first would
    # be decoded to find it.
    if picture.format == "TIFF" or (picture.format == "PNG" and "exif" not in picture.info):
        return width, height
    is_sideways = _read_turn(picture) in (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])
    return (height, width) if is_sideways else (width, height)


def _open_picture(file: ImageFile | str, stream: io.BytesIO | io.BufferedReader) -> Image.Image:
    """Reads the header only, and refuses a picture with too many pixels before decoding it."""
    try:
        with _pillow_quiet():
            picture = Image.open(stream, formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixelsError(_too_many(file)) from error
    except Image.UnidentifiedImageError as error:
        stream.seek(0)
        head = stream.read(256)
        if head[4:8] == b"ftyp":
            what = "is a phone's HEIC or AVIF picture: save it as JPEG or PNG."
        else:
            what = recognise_impostor(head) or (
                "is not a picture of a kind that can be read (JPEG, PNG, BMP, TIFF, WebP), or its "
                "beginning is damaged: convert it, copy it again, or remove it."
            )
        raise ImageError(f"{file} {what}") from error
    except _DAMAGE as error:
        raise _damaged(file, error) from error
    if picture.format == "TIFF":
        _hush_libtiff()
    if picture.width * picture.height > MAX_MEGAPIXELS * 1_000_000:
        raise TooManyPixelsError(_too_many(file))
    # Pillow would cut 16 bits per colour to the upper 8, which turns 12-bit pictures black.
    if picture.mode not in _DEEP_GREY and any(";16" in str(t.args) for t in picture.tile):
        raise ImageError(
            f"{file} has 16 bits per colour, which isn't read: save it with 8 bits per colour, or "
            "as 16-bit grey if it holds one channel."
        )
    return picture


def _has_more_pages(picture: Image.Image) -> bool:
    """Says so without counting them, which takes long in a file made for that."""
    with _pillow_quiet():
        try:
            picture.seek(1)
        except (EOFError, *_DAMAGE):
            return False
    return True


def _read_turn(picture: Image.Image) -> Image.Transpose | None:
    """Reads how the camera was held; EXIF too damaged to say so counts as upright."""
    with _pillow_quiet():
        try:
            return _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
        except _DAMAGE:
            return None


def _turn_upright(picture: Image.Image) -> Image.Image:
    turn = _read_turn(picture)
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    if picture.mode in _DEEP_GREY:
        grey = _stretch(np.asarray(picture))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _stretch(values: Num[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    if not np.isfinite(values).all():
        raise ValueError("some pixels are not numbers")
    low, high = np.percentile(values, (0.5, 99.5))
    if low == high:
        low, high = float(values.min()), float(values.max())
    if low == high:
        return np.full(values.shape, 128, np.uint8)
    return (np.clip((values - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)


@contextmanager
def _pillow_quiet() -> Iterator[None]:
    """Makes the bomb warning an error and hushes the rest (odd EXIF and TIFF tags).

    Python's warning filters belong to the whole process, so threads take turns; only headers
    are read meanwhile, decoding runs in parallel.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _too_many(file: ImageFile | str) -> str:
    return f"{file} has more than {MAX_MEGAPIXELS} megapixels: shrink it, or remove it."


@cache
def _hush_libtiff() -> None:
    """Keeps libtiff from writing to stderr what Pillow raises anyway.

    Pillow has no switch for that. The function is looked up in what Pillow itself has loaded, so it
    is the same copy of libtiff; where it isn't to be found, the lines are written, no more.
    """
    with suppress(AttributeError, OSError):
        set_handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


def _damaged(file: ImageFile | str, error: Exception) -> ImageError:
    return ImageError(
        f"{file} is damaged or cut short ({error}): copy it again from where it came, or remove it."
    )
