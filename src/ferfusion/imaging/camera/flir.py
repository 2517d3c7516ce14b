"""FLIR radiometric JPEG and FFF: temperatures through flyr, photo and placement beside them.

The sensor's counts are decoded, and made temperatures, by flyr (EUPL-1.2, an optional dependency).
It trusts what a file says about itself. So this module finds the records itself, checks their
sizes, and hands over two of them: the counts and the calibration.

Source:
    The records as exiftool documents them (tag names of FLIR).
"""

import io
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ferfusion.errors import ConfigError, ImageError, ThermogramError
from ferfusion.imaging.camera.grids import looks_swapped
from ferfusion.imaging.camera.jpeg import SCAN, Segment, list_segments
from ferfusion.imaging.camera.kinds import FLIR_FFF, FLIR_JPEG, FLIR_PICTURE
from ferfusion.imaging.camera.thermogram import CameraSettings, Thermogram
from ferfusion.imaging.files import decode_image, read_camera
from ferfusion.imaging.registration.motion import Motion

_ZERO_C = 273.15
_MAX_RECORDS = 1024
# The largest sensors have 1280 x 1024. flyr takes about 100 bytes a pixel while decoding.
_MAX_SENSOR_PIXELS = 2_000_000
_COUNTS, _PHOTO, _CALIBRATION, _PLACEMENT = 1, 14, 32, 42
_WANTED = (_COUNTS, _PHOTO, _CALIBRATION, _PLACEMENT)
_HEADER = 32  # of a record that holds a picture
_PNG = b"\x89PNG\r\n\x1a\n"
_FLYR_NAMES = {
    "emissivity": "emissivity",
    "distance_m": "object_distance",
    "reflected_c": "reflected_apparent_temperature",
    "atmospheric_c": "atmospheric_temperature",
    "humidity": "relative_humidity",
}

Records = Mapping[int, bytes]


def read_flir(name: str, data: bytes, overrides: CameraSettings) -> Thermogram:
    """Reads a FLIR radiometric JPEG, or an FFF file of one frame.

    Args:
        name: What messages call it.
        data: All of it.
        overrides: What to calculate with instead of what the camera was told.

    Raises:
        ConfigError: flyr isn't installed.
        ThermogramError: The file is damaged, or in a layout that isn't known.
    """
    is_jpeg = data[:4] != b"FFF\0"
    segments = list_segments(data)[0] if is_jpeg else ()
    records = _find_records(name, _join_segments(name, data, segments) if is_jpeg else data)
    temperature_c, settings, doubts = _calculate(name, records, overrides)
    photo, photo_doubts = _read_photo(name, records)
    picture = None
    if any(segment.marker == SCAN for segment in segments):
        try:
            picture = decode_image(name, data)
        except ImageError as error:
            doubts.append(f"The camera's own picture can't be used: {error}")
    elif is_jpeg:
        doubts.append("The file is cut short: the camera's own picture is missing.")
    model = records[_CALIBRATION][212:244].split(b"\0")[0].decode("ascii", "ignore").strip(" *")
    camera = (read_camera(name, data) if picture is not None else None) or model or None
    return Thermogram(
        kind=FLIR_JPEG if is_jpeg else FLIR_FFF,
        temperature_c=temperature_c,
        photo=photo,
        picture=picture,
        placement=None if photo is None else _read_placement(records, photo.shape[1]),
        settings=settings,
        camera=camera,
        warnings=(*doubts, *photo_doubts),
    )


def _join_segments(name: str, data: bytes, segments: Iterable[Segment]) -> bytes:
    """Puts the FLIR segments of a JPEG together: each says which of how many it is."""
    parts: dict[int, bytes] = {}
    last = 0
    for segment in segments:
        content = data[segment.start : segment.end]
        if segment.marker == 0xE1 and content[:5] == b"FLIR\0" and len(content) > 8:
            if content[6] in parts:
                break  # the same again, in a copy or a preview
            parts[content[6]] = content[8:]
            last = content[7]
    if set(parts) != set(range(last + 1)):
        raise _damaged(name, f"{len(parts)} of {last + 1} parts of its thermal data are there")
    return b"".join(parts[number] for number in sorted(parts))


def _find_records(name: str, block: bytes) -> Records:
    for order in (">", "<"):
        if len(block) >= 64 and 100 <= struct.unpack_from(order + "I", block, 20)[0] < 200:
            break
    else:
        raise _damaged(name, "its thermal data don't begin as they should")
    start, count = struct.unpack_from(order + "II", block, 24)
    if count > _MAX_RECORDS or start + 32 * count > len(block):
        raise _damaged(name, f"it says it has {count} records, which don't fit in")
    records: dict[int, bytes] = {}
    for entry in range(start, start + 32 * count, 32):
        (kind,) = struct.unpack_from(order + "H", block, entry)
        offset, length = struct.unpack_from(order + "II", block, entry + 12)
        # Only those that are used: records may overlap, and a thousand copies would fill memory.
        if kind in _WANTED and kind not in records and offset + length <= len(block):
            records[kind] = block[offset : offset + length]
    if _COUNTS not in records:
        raise ThermogramError(
            f"{name} has FLIR's data about the camera, but not the sensor's counts, so it holds no "
            f"temperatures. {FLIR_PICTURE.way}"
        )
    if _CALIBRATION not in records:
        raise _damaged(name, "the calibration is missing")
    _check_counts(name, records[_COUNTS])
    return records


def _check_counts(name: str, record: bytes) -> None:
    """Refuses counts that would take flyr long, or much memory."""
    if len(record) < _HEADER or record[:2] != b"\2\0":
        raise _damaged(name, "its counts are in a byte order that no camera is known to write")
    width, height = struct.unpack_from("<HH", record, 2)
    if not 0 < width * height <= _MAX_SENSOR_PIXELS:
        raise _damaged(name, f"it says its sensor has {width} x {height} pixels")
    body = record[_HEADER:]
    if body[:8] == _PNG:
        if len(body) < 33 or body[16:26] != struct.pack(">IIBB", width, height, 16, 0):
            raise _damaged(name, "the picture of its counts isn't what is said about it")
    elif body[:3] == b"\xff\xd8\xff":
        raise ThermogramError(
            f"{name} holds its counts as JPEG-LS, as recordings (CSQ) do, which isn't read: export "
            "the frame from FLIR's program as radiometric JPEG or 16-bit TIFF."
        )
    elif len(body) < width * height * 2:
        raise _damaged(name, "some of its counts are missing")


def _calculate(
    name: str, records: Records, overrides: CameraSettings
) -> tuple[Float[np.ndarray, "rows columns"], CameraSettings, list[str]]:
    try:
        from flyr.thermal import parse_camera_info, parse_raw_data
        from flyr.thermogram import FlyrThermogram
    except ImportError as error:
        raise ConfigError(
            "Reading FLIR files needs flyr, whose licence is EUPL-1.2: "
            "pip install 'ferfusion[thermal]'."
        ) from error

    doubts = []
    # flyr raises whatever Python, NumPy and Pillow raise.
    try:
        counts = parse_raw_data(
            io.BytesIO(records[_COUNTS]), (0, _COUNTS, 0, len(records[_COUNTS]) - _HEADER)
        )[2].astype(np.uint16)
        calibration: dict[str, Any] = parse_camera_info(
            io.BytesIO(records[_CALIBRATION]), (0, _CALIBRATION, 0, len(records[_CALIBRATION]))
        )
        if looks_swapped(counts):
            # Most cameras write these in the wrong order, which flyr mends, but not all.
            counts = counts.byteswap()
        if calibration["relative_humidity"] > 2:
            calibration["relative_humidity"] /= 100  # a percentage, in some FFF files
        settings = _read_settings(calibration).changed_by(overrides)
        transmission = calibration["ir_window_transmission"]
        with np.errstate(all="ignore"):
            temperature_c = (
                FlyrThermogram(counts, calibration)
                .adjust_metadata(False, **_name_as_flyr(overrides))
                .celsius.astype(np.float32)
            )
    except Exception as error:
        raise _damaged(name, f"flyr says: {type(error).__name__} {error}".strip()) from error
    if transmission < 0.999:
        doubts.append(
            f"A window that lets {transmission:.0%} through was set in front of the lens."
        )
    return temperature_c, settings, doubts


def _read_settings(calibration: Mapping[str, float]) -> CameraSettings:
    values = {ours: float(calibration[theirs]) for ours, theirs in _FLYR_NAMES.items()}
    for ours in values:
        if ours.endswith("_c"):
            values[ours] -= _ZERO_C
    return CameraSettings(**{k: round(v, 4) for k, v in values.items() if math.isfinite(v)})


def _name_as_flyr(settings: CameraSettings) -> dict[str, float]:
    return {
        _FLYR_NAMES[name]: value + (_ZERO_C if name.endswith("_c") else 0.0)
        for name, value in settings.known().items()
    }


def _read_photo(
    name: str, records: Records
) -> tuple[UInt8[np.ndarray, "_ _ 3"] | None, tuple[str, ...]]:
    body = records.get(_PHOTO, b"")[_HEADER:]
    if not body:
        return None, ()
    is_png = body[:8] == _PNG
    if not is_png and body[:3] != b"\xff\xd8\xff":
        return None, ("There is a photo inside, in a layout that isn't read.",)
    try:
        photo = decode_image(f"the photo inside {name}", body)
    except ImageError as error:
        return None, (f"The photo can't be used: {error}",)
    if is_png:
        # exiftool: PNG photos have Y, Cb and Cr where others have red, green and blue.
        photo = np.array(Image.fromarray(photo, "YCbCr").convert("RGB"))
    return photo, ()


def _read_placement(records: Records, photo_width: int) -> Motion | None:
    """Gives how infrared lies on the photo by the camera's Real2IR, OffsetX and OffsetY.

    The infrared picture covers a part of the photo that is 1/Real2IR as wide, whose centre is
    moved by the offset from the photo's.
    """
    record = records.get(_PLACEMENT, b"")
    if len(record) < 8:
        return None
    ratio, right, down = struct.unpack_from("<fhh", record)
    if not 0.2 < ratio < 20 or max(abs(right), abs(down)) > photo_width:
        return None
    return Motion(scale=ratio, dx_px=-ratio * right + 0.0, dy_px=-ratio * down + 0.0)


def _damaged(name: str, why: str) -> ThermogramError:
    return ThermogramError(
        f"{name} is damaged, or in a layout of FLIR's that isn't known ({why}): copy it again from "
        "the camera, or export it from FLIR's program as 16-bit TIFF or CSV."
    )
