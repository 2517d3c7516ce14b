"""The one entrance: from the path of a camera file, of whatever kind, to a thermogram."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import ConfigError, ThermogramError
from ferfusion.imaging.camera import kinds
from ferfusion.imaging.camera.flir import read_flir
from ferfusion.imaging.camera.grids import (
    MAX_VALUES,
    Scale,
    read_levels,
    read_numpy,
    to_celsius,
)
from ferfusion.imaging.camera.kinds import Kind, is_recording, recognise
from ferfusion.imaging.camera.palette_pictures import invert_palette, rank_palettes, read_strip
from ferfusion.imaging.camera.seek import read_seek
from ferfusion.imaging.camera.text_grid import read_text_grid
from ferfusion.imaging.camera.thermogram import CameraSettings, Thermogram, find_doubts
from ferfusion.imaging.camera.triple import find_lit
from ferfusion.imaging.file_bytes import read_bytes
from ferfusion.imaging.files import decode_image, read_image, recognise_impostor
from ferfusion.imaging.palette import PALETTES, find_palette
from ferfusion.sample import ImageFile

_GRIDS = (kinds.LEVELS, kinds.FLOAT_TIFF, kinds.NUMPY, kinds.CSV_GRID)
# Below this, a picture was made with another palette, or with none.
_LEAST_SHARE = 0.5
_IMPOSSIBLE_C = 1e6
_MAX_PICTURE_PIXELS = 8_000_000


def read_kind(path: Path) -> tuple[Kind, bytes]:
    """Gives the kind of a file, and its bytes; of a recording only the first.

    Raises:
        ImageError: It is missing, empty, can't be read, too big, or a damaged picture.
    """
    # What can't be opened gets its sentence from `read_bytes`.
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as stream:
                head = stream.read(kinds.HEAD_BYTES)
            if is_recording(path.name, head):
                return recognise(path.name, head), head
    data = read_bytes(ImageFile(path))
    return recognise(str(path), data), data


def open_thermogram(
    path: Path,
    *,
    scale: Scale | None = None,
    overrides: CameraSettings | None = None,
    palette: str | None = None,
    value_range_c: tuple[float, float] | None = None,
) -> Thermogram:
    """Reads temperatures from a camera file of any kind that has them.

    Args:
        path: The file.
        scale: What counts are, or numbers that aren't degrees Celsius. Not for FLIR's own files.
        overrides: What to calculate with instead of what the camera was told. Only for files that
            hold radiation and calibration, which are FLIR's; others get a warning.
        palette: Of palette pictures: a name of `PALETTES`, or the path of a picture of the
            camera's colour scale. None: the one that fits best.
        value_range_c: Of palette pictures: temperatures of the first and the last colour.

    Raises:
        ImageError: It is missing, empty, can't be read, too big, or a damaged picture.
        ThermogramError: It holds no temperatures, or not in a way that is read.
        ConfigError: An option makes no sense, or flyr is missing.
    """
    if overrides is not None:
        overrides.check()
    kind, data = read_kind(path)
    return _read(kind, str(path), data, scale, overrides, palette, value_range_c)


def decode_thermogram(name: str, data: bytes) -> Thermogram:
    """Does what `open_thermogram` does with the bytes of a file that was read before.

    Args:
        name: What messages call it.
        data: All of it.

    Raises:
        ImageError: It is a damaged picture.
        ThermogramError: It holds no temperatures, or not in a way that is read.
        ConfigError: flyr is missing.
    """
    return _read(recognise(name, data), name, data)


def _read(
    kind: Kind,
    name: str,
    data: bytes,
    scale: Scale | None = None,
    overrides: CameraSettings | None = None,
    palette: str | None = None,
    value_range_c: tuple[float, float] | None = None,
) -> Thermogram:
    overrides = overrides or CameraSettings()
    if kind in (kinds.FLIR_JPEG, kinds.FLIR_FFF):
        read = read_flir(name, data, overrides)
    elif kind == kinds.SEEK_HIR:
        read = read_seek(name, data)
    elif kind in _GRIDS:
        temperature_c, doubts = _read_grid(kind, name, data, scale)
        read = Thermogram(kind, temperature_c, warnings=doubts)
    elif value_range_c is not None and kind.has_picture:
        read = _read_picture(kind, name, data, palette, value_range_c)
    else:
        raise _refuse(kind, name, data)
    return _finish(read, name, overrides)


def choose_palette(
    picture: UInt8[np.ndarray, "height width 3"], palette: str | None
) -> tuple[str, UInt8[np.ndarray, "colours 3"]]:
    """Gives the name and the colours of a palette that is named, in a file, or fits best.

    Raises:
        ConfigError: It is neither a name nor a file.
        ImageError: The file can't be read.
        ThermogramError: The file isn't a picture of a colour scale.
    """
    if palette is None:
        palette = rank_palettes(picture)[0].palette
    if palette not in PALETTES and Path(palette).is_file():
        strip = read_image(ImageFile(Path(palette)))
        return Path(palette).name, read_strip(palette, strip)
    return palette, find_palette(palette)


def _read_grid(
    kind: Kind, name: str, data: bytes, scale: Scale | None
) -> tuple[Float[np.ndarray, "rows columns"], tuple[str, ...]]:
    if kind == kinds.NUMPY:
        return read_numpy(name, data, scale)
    if kind == kinds.CSV_GRID:
        grid, left_out = read_text_grid(name, data, MAX_VALUES)
        # Text doesn't say whether 3051 is a count, so it is as for numbers with a point.
        temperature_c, doubts = to_celsius(name, grid, scale)
        return temperature_c, (*left_out, *doubts)
    return read_levels(name, data, scale)


def _read_picture(
    kind: Kind, name: str, data: bytes, palette: str | None, value_range_c: tuple[float, float]
) -> Thermogram:
    low, high = value_range_c
    if not (low < high and np.isfinite(high - low)):
        raise ConfigError(f"The range must rise, but it goes from {low:g} to {high:g} °C.")
    picture = decode_image(name, data)
    if picture.shape[0] * picture.shape[1] > _MAX_PICTURE_PIXELS:
        raise ThermogramError(
            f"{name} has more than {_MAX_PICTURE_PIXELS / 1e6:g} megapixels, as no picture of a "
            "thermal camera has: shrink it, or leave it out."
        )
    chosen, table = choose_palette(picture, palette)
    position, fit = invert_palette(picture, chosen, table)
    if fit.share < _LEAST_SHARE:
        raise ThermogramError(
            f"{name} is no picture in the palette {chosen}: {fit.say()} Name another with "
            f"--picture-palette ({', '.join(PALETTES)}), or give it a picture of the camera's "
            "colour scale."
        )
    doubts = [f"Temperatures were read off colours, between the ends that were given: {fit.say()}"]
    if chosen in ("iron", "rainbow"):
        doubts.append(
            f"Cameras' palettes called {chosen} differ: warmer is warmer, but degrees may be wrong "
            "by a quarter of the range. Better is a picture of the camera's own colour scale "
            "(--picture-palette FILE)."
        )
    temperature_c = (low + (high - low) * position).astype(np.float32)
    return Thermogram(kind, temperature_c, picture=picture, warnings=tuple(doubts))


def _refuse(kind: Kind, name: str, data: bytes) -> ThermogramError:
    if kind == kinds.UNKNOWN and (impostor := recognise_impostor(data[:256])):
        return ThermogramError(f"{name} {impostor}")
    return ThermogramError(f"{name} ({kind.name}): {kind.says} {kind.way}".rstrip())


def _finish(read: Thermogram, name: str, overrides: CameraSettings) -> Thermogram:
    # Nothing is that hot: damage, which would also be too much for the arithmetic of pictures.
    is_known = np.abs(read.temperature_c) < _IMPOSSIBLE_C
    temperature_c = np.where(is_known, read.temperature_c, np.float32(np.nan))
    if np.isnan(temperature_c).all():
        raise ThermogramError(
            f"{name} gives no temperature at any pixel: its calibration or its numbers are "
            "damaged, or emissivity and distance make no sense."
        )
    doubts = find_doubts(temperature_c, read.settings)
    if read.photo is not None:
        rows, columns = find_lit(read.photo)
        if read.photo[rows, columns].shape != read.photo.shape:
            doubts = (
                "The photo has a black frame, which is cut off the aligned pictures; photo and "
                "temperatures keep all.",
                *doubts,
            )
    if overrides.known() and read.settings == CameraSettings():
        names = ", ".join(overrides.known())
        doubts = (
            f"Nothing was changed by {names}: this file holds temperatures, not radiation.",
            *doubts,
        )
    return replace(read, temperature_c=temperature_c, warnings=(*read.warnings, *doubts))
