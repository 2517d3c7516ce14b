"""What kind of file a thermal camera or its program wrote: told by content, not by name."""

import re
from dataclasses import dataclass
from typing import Literal

from ferfusion.errors import ImageError
from ferfusion.imaging.camera.jpeg import SCAN, is_jpeg, list_segments
from ferfusion.imaging.camera.text_grid import holds_grid
from ferfusion.imaging.files import read_camera, read_depth

Holds = Literal["temperatures", "counts", "colours", "nothing known"]

HEAD_BYTES = 65_536
"""How much of a recording, which may be huge, is enough to recognise it."""

_EXPORT = (
    "Export single frames from the maker's program as radiometric JPEG, or as 16-bit TIFF or CSV."
)
_MEANWHILE = "Until then its picture can be used as a palette picture (--range LOW,HIGH)."


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What tables call it.
        holds: What its numbers are. Counts are of the sensor, and need a scale.
        is_read: Whether this software can make temperatures of it.
        says: What it is, as a sentence.
        way: What can be done with it, as sentences.
        has_picture: Whether it can be taken as a palette picture, if nothing else.
    """

    name: str
    holds: Holds
    is_read: bool
    says: str
    way: str = ""
    has_picture: bool = False


FLIR_JPEG = Kind(
    "FLIR radiometric JPEG",
    "temperatures",
    True,
    "The sensor's counts and the camera's calibration lie inside, mostly with a photo.",
)
FLIR_FFF = Kind(
    "FLIR FFF frame",
    "temperatures",
    True,
    "One frame with the sensor's counts and the camera's calibration.",
)
FLIR_RECORDING = Kind(
    "FLIR recording",
    "temperatures",
    False,
    "A SEQ, CSQ, AFF or ATS recording holds temperatures, in layouts that differ from camera to "
    "camera.",
    _EXPORT,
)
FLIR_PICTURE = Kind(
    "FLIR picture without temperatures",
    "colours",
    True,
    "It comes from a FLIR camera, but only its colours are left.",
    "Look for the original on the camera's card: messengers, editors and some exports drop the "
    "temperatures; or take the picture again with the camera set to radiometric JPEG.",
    has_picture=True,
)
DJI_JPEG = Kind(
    "DJI R-JPEG",
    "temperatures",
    False,
    "It holds temperatures in a layout of DJI's own that only DJI's library reads.",
    "With DJI's Thermal SDK: dji_irp -s FILE -a measure --measurefmt float32 -o FILE.raw, then "
    "save those numbers, 640 x 512 for most cameras, as .npy.",
    has_picture=True,
)
INFIRAY_JPEG = Kind(
    "JPEG with data of an InfiRay-like camera",
    "temperatures",
    False,
    "It probably holds raw frames in APP3 segments, as phone cameras of InfiRay and Thermal "
    "Master write them; the layout isn't read here.",
    f"Export CSV or 16-bit TIFF from the maker's program. {_MEANWHILE}",
    has_picture=True,
)
HIKMICRO_JPEG = Kind(
    "HIKMICRO JPEG",
    "temperatures",
    False,
    "It holds thermal data after the picture (HDRI), in a layout its maker doesn't publish.",
    f"Export CSV from HIKMICRO Analyzer. {_MEANWHILE}",
    has_picture=True,
)
SEEK_HIR = Kind(
    "Seek Shot HIR",
    "temperatures",
    True,
    "A screenshot, the temperatures of 206 x 156 pixels, and a photo, one after the other.",
)
TRAILING_JPEG = Kind(
    "JPEG with data after its end",
    "nothing known",
    False,
    "Something lies after the picture; cameras of HTI (Tooltop) keep temperatures there, and "
    "others other things. The layout isn't read here.",
    f"Export CSV or 16-bit TIFF from the maker's program. {_MEANWHILE}",
    has_picture=True,
)
TRAILING_BMP = Kind(
    "BMP with data after its end",
    "colours",
    False,
    "UNI-T cameras write these: after the picture lies another one without overlays. It holds "
    "screen values, not temperatures, and with their contrast raised.",
    _MEANWHILE.replace("Until then its", "Its"),
    has_picture=True,
)
VIDEO = Kind(
    "video",
    "colours",
    False,
    "MP4, MOV and AVI hold colours. Those of thermal cameras aren't radiometric.",
    "Set the camera to record SEQ or CSQ, or to take radiometric pictures.",
)
LEVELS = Kind(
    "16-bit picture",
    "counts",
    True,
    "It holds counts of the sensor.",
    "Say what a count is: --scale centikelvin, 0.04K, decikelvin, celsius, or GAIN,OFFSET.",
)
FLOAT_TIFF = Kind("float TIFF", "temperatures", True, "Its numbers are taken as degrees Celsius.")
NUMPY = Kind(
    "NumPy array",
    "temperatures",
    True,
    "Decimal numbers are taken as degrees Celsius, whole ones need a scale.",
)
CSV_GRID = Kind("CSV grid", "temperatures", True, "Its numbers are taken as degrees Celsius.")
PICTURE = Kind(
    "8-bit picture",
    "colours",
    True,
    "It holds colours, which aren't temperatures.",
    "If it is a palette picture and you know the temperatures of its darkest and brightest "
    "colour: --range LOW,HIGH.",
    has_picture=True,
)
UNKNOWN = Kind(
    "unknown",
    "nothing known",
    False,
    "It is none of the files that thermal cameras are known to write, or its beginning is damaged.",
    "Export radiometric JPEG, 16-bit TIFF or CSV from the maker's program.",
)

# What follows in the header of one more frame: its version is 100 to 199, in either byte order.
_FRAME = re.compile(rb"FFF\0.{16}(?:\0\0\0[\x64-\xc7]|[\x64-\xc7]\0\0\0)", re.DOTALL)


def is_recording(name: str, head: bytes) -> bool:
    """Says whether a file is a recording, of which `recognise` needs no more than the head."""
    return _recognise_recording(name, head) is not None


def recognise(name: str, data: bytes) -> Kind:
    """Says what kind of file this is.

    Args:
        name: The file's; it counts only where kinds have no mark of their own.
        data: All of it, or of a recording the first `HEAD_BYTES`.

    Raises:
        ImageError: It is a picture, but damaged or too big.
    """
    recording = _recognise_recording(name, data)
    if recording:
        return recording
    if data[:4] == b"FFF\0":
        return FLIR_RECORDING if _FRAME.search(data, 64) else FLIR_FFF
    if is_jpeg(data):
        return _recognise_jpeg(name, data)
    if data[:6] == b"\x93NUMPY" or (data[:4] == b"PK\3\4" and b".npy" in data[:256]):
        return NUMPY
    if data[:2] == b"BM" and len(data) > 0x2000 + int.from_bytes(data[2:6], "little") > 0x2000:
        return TRAILING_BMP
    if data[:4] in (b"II*\0", b"MM\0*", b"\x89PNG", b"RIFF") or data[:2] == b"BM":
        depth = read_depth(name, data)
        return {"float": FLOAT_TIFF, "whole": LEVELS}.get(depth, PICTURE)
    return CSV_GRID if holds_grid(data[:HEAD_BYTES]) else UNKNOWN


def _recognise_recording(name: str, head: bytes) -> Kind | None:
    if head[:4] == b"AFF\0":
        return FLIR_RECORDING
    # ATS has no mark that is known.
    if name.lower().endswith((".seq", ".csq", ".ats")) and not is_jpeg(head):
        return FLIR_RECORDING
    if head[4:8] == b"ftyp" and head[8:12] not in (b"heic", b"heix", b"mif1", b"avif"):
        return VIDEO
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return VIDEO
    return None


def _recognise_jpeg(name: str, data: bytes) -> Kind:
    segments, end = list_segments(data)
    if any(s.marker == 0xE1 and data[s.start : s.start + 5] == b"FLIR\0" for s in segments):
        return FLIR_JPEG
    if not any(segment.marker == SCAN for segment in segments):
        raise ImageError(
            f"{name} is damaged or cut short before its picture begins: copy it again from where "
            "it came, or remove it."
        )
    camera = (read_camera(name, data) or "").upper()
    frames = sum(s.end - s.start for s in segments if s.marker == 0xE3)
    if frames > 32_768:
        return DJI_JPEG if "DJI" in camera else INFIRAY_JPEG
    after = b"" if end is None else data[end:]
    if after[:4] == b"HDRI" or (len(after) > 4096 and b"HDRI" in after[:65_536]):
        return HIKMICRO_JPEG
    # A phone's JPEG may go on with more pictures, listed in an MPF segment, or a short video.
    is_phone = after[4:8] == b"ftyp" or any(
        s.marker == 0xE2 and data[s.start : s.start + 4] == b"MPF\0" for s in segments
    )
    if len(after) > 0x2000 and not is_phone:
        return SEEK_HIR if name.lower().endswith(".hir") else TRAILING_JPEG
    return FLIR_PICTURE if "FLIR" in camera else PICTURE
