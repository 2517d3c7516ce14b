"""Grids of numbers: NumPy arrays, and pictures of 16 bits or floats in one channel."""

import io
import struct
import warnings
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from ferfusion.errors import ConfigError, NoScaleError, ThermogramError, unknown_name
from ferfusion.imaging.files import decode_levels

MAX_VALUES = 16_000_000
"""More than any thermal sensor has; a larger grid is refused before it is read."""

_ZERO_C = 273.15
# What zipfile raises on damaged archives.
_BROKEN_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError),
    *(ValueError, EOFError, struct.error),
)


@dataclass(frozen=True)
class Scale:
    """What a count is: degrees Celsius are `gain_c * count + offset_c`."""

    gain_c: float
    offset_c: float

    def apply(self, counts: Num[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
        """Gives degrees Celsius as float32, calculated in float64."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (counts.astype(np.float64) * self.gain_c + self.offset_c).astype(np.float32)


SCALES = {
    "celsius": Scale(1.0, 0.0),
    "kelvin": Scale(1.0, -_ZERO_C),
    "decikelvin": Scale(0.1, -_ZERO_C),
    "centikelvin": Scale(0.01, -_ZERO_C),
    "0.04K": Scale(0.04, -_ZERO_C),
}


def parse_scale(text: str) -> Scale:
    """Gives a scale by its name, or from GAIN,OFFSET.

    >>> parse_scale("0.01,-273.15") == parse_scale("centikelvin")
    True

    Raises:
        ConfigError: It is neither.
    """
    if text in SCALES:
        return SCALES[text]
    try:
        gain, offset = (float(number) for number in text.split(","))
    except ValueError as error:
        known = unknown_name("scale", text, SCALES)
        raise ConfigError(f"{known} Or give GAIN,OFFSET as in 0.01,-273.15.") from error
    if not (np.isfinite(gain) and np.isfinite(offset) and gain != 0):
        raise ConfigError(f"The scale {text} makes no temperatures: gain and offset must be finite "
                          "and the gain not 0.")  # fmt: skip
    return Scale(gain, offset)


def read_levels(
    name: str, data: bytes, scale: Scale | None
) -> tuple[Float[np.ndarray, "rows columns"], tuple[str, ...]]:
    """Reads a TIFF or PNG of one channel with more than 8 bits.

    Returns:
        Degrees Celsius, and doubts.

    Raises:
        ImageError: It is damaged or too big.
        NoScaleError: It holds counts, and there is no scale.
    """
    levels, has_more_pages = decode_levels(name, data, max_pixels=MAX_VALUES)
    doubts = ("Of several pages only the first was read.",) if has_more_pages else ()
    temperature_c, more = to_celsius(name, levels, scale)
    return temperature_c, (*doubts, *more)


def read_numpy(
    name: str, data: bytes, scale: Scale | None
) -> tuple[Float[np.ndarray, "rows columns"], tuple[str, ...]]:
    """Reads an array saved by NumPy: .npy, or .npz with one array.

    Returns:
        Degrees Celsius, and doubts.

    Raises:
        NoScaleError: It holds counts, and there is no scale.
        ThermogramError: It is damaged, too large, no picture, or needs pickle.
    """
    if data[:2] == b"PK":
        data = _unpack(name, data)
    return to_celsius(name, _read_array(name, data), scale)


def to_celsius(
    name: str, values: Num[np.ndarray, "rows columns"], scale: Scale | None
) -> tuple[Float[np.ndarray, "rows columns"], tuple[str, ...]]:
    """Makes degrees Celsius of values: with the scale, or as they are if they aren't whole.

    Raises:
        NoScaleError: They are whole numbers, and there is no scale.
    """
    doubts = []
    if values.dtype.kind in "iu":
        if scale is None:
            raise NoScaleError(
                f"{name} holds counts of the sensor from {values.min()} to {values.max()}, not "
                "temperatures. If you know what a count is, give --scale centikelvin, 0.04K, "
                "decikelvin, celsius or GAIN,OFFSET; a camera without calibration, as a Boson "
                "mostly is, has no such scale."
            )
        if looks_swapped(values):
            doubts.append(
                "Neighbouring pixels differ wildly, and would not with the two bytes of each in "
                "the other order: whatever wrote this file probably swapped them."
            )
    elif scale is None:
        with np.errstate(over="ignore"):
            celsius = values.astype(np.float32)
        known = celsius[np.isfinite(celsius)]
        if known.size and float(np.median(known)) > 200:
            doubts.append(
                "The numbers were taken as degrees Celsius, but look like kelvin: --scale kelvin."
            )
        return celsius, tuple(doubts)
    return scale.apply(values), tuple(doubts)


def looks_swapped(counts: Num[np.ndarray, "rows columns"]) -> bool:
    """Says whether counts of 16 bits would be far smoother with their bytes in the other order."""
    if counts.dtype.kind not in "iu" or counts.min() < 0 or counts.max() > 65_535:
        return False
    words = counts.astype(np.uint16)
    as_is, swapped = _roughness(words), _roughness(words.byteswap())
    return as_is > 256 and as_is > 4 * swapped


def _roughness(words: Num[np.ndarray, "rows columns"]) -> float:
    if words.shape[1] < 2:
        return 0.0
    return float(np.abs(np.diff(words.astype(np.int32), axis=1)).mean())


def _read_array(name: str, data: bytes) -> Num[np.ndarray, "rows columns"]:
    stream = io.BytesIO(data)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    # NumPy hands headers to Python's parser and tokeniser, which raise and warn of all kinds.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shape, is_fortran, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except Exception as error:
        raise _damaged(name) from error
    if dtype.hasobject:
        raise ThermogramError(
            f"{name} holds Python objects, which could run any code when loaded: save it again as "
            "plain numbers, np.save(path, array.astype('float32'))."
        )
    if dtype.kind not in "fiu":
        raise ThermogramError(f"{name} holds {dtype} values: save real numbers.")
    rows_and_columns = [side for side in shape if side != 1] if len(shape) > 2 else list(shape)
    if len(rows_and_columns) != 2 or min(rows_and_columns) < 1:
        raise ThermogramError(
            f"{name} has the shape {' x '.join(map(str, shape)) or 'of one number'}, not rows x "
            "columns: save one frame alone."
        )
    count = rows_and_columns[0] * rows_and_columns[1]
    if count > MAX_VALUES:
        raise ThermogramError(
            f"{name} says it holds {count / 1e6:,.0f} million numbers, more than "
            f"{MAX_VALUES / 1e6:g}: save one frame alone."
        )
    if count * dtype.itemsize > len(data) - stream.tell():
        raise _damaged(name)
    values = np.frombuffer(data, dtype, count, offset=stream.tell())
    return values.reshape(rows_and_columns, order="F" if is_fortran else "C")


def _unpack(name: str, data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            if len(members) != 1:
                raise ThermogramError(
                    f"{name} holds {len(members)} arrays: save the temperatures alone, as .npy."
                )
            # Other methods can ask for any amount of memory before the first byte.
            if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _damaged(name)
            with archive.open(members[0]) as stream:
                return stream.read(MAX_VALUES * 8 + 4096)
    except _BROKEN_ARCHIVE as error:
        raise _damaged(name) from error


def _damaged(name: str) -> ThermogramError:
    return ThermogramError(
        f"{name} is damaged or cut short, or was not saved by NumPy: copy or save it again."
    )
