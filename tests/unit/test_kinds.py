import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from ferfusion.errors import ImageError
from ferfusion.imaging.camera import kinds
from ferfusion.imaging.camera.jpeg import list_segments
from ferfusion.imaging.camera.kinds import Kind, recognise

GREY = np.arange(64 * 48, dtype=np.uint8).reshape(48, 64)
ALL = [value for value in vars(kinds).values() if isinstance(value, Kind)]


def encode(array: np.ndarray, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, name, **options)
    return buffer.getvalue()


def jpeg(
    maker: str = "", segments: tuple[tuple[int, bytes], ...] = (), after: bytes = b""
) -> bytes:
    exif = Image.Exif()
    if maker:
        exif[0x010F] = maker
    data = encode(GREY, "JPEG", exif=exif)
    packed = b"".join(
        bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content
        for marker, content in segments
    )
    return data[:2] + packed + data[2:] + after


def save_array(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def save_arrays(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, temperature=array)
    return buffer.getvalue()


FRAMES = ((0xE3, bytes(60_000)), (0xE3, bytes(60_000)))
FFF = b"FFF\0" + bytes(16) + struct.pack("<I", 100) + bytes(40)
CASES = {
    "flir.jpg": (jpeg("FLIR Systems AB", ((0xE1, b"FLIR\0\1\0\0" + FFF),)), kinds.FLIR_JPEG),
    "screen.jpg": (jpeg("FLIR Systems AB"), kinds.FLIR_PICTURE),
    "frame.fff": (FFF + bytes(999), kinds.FLIR_FFF),
    "frames.bin": (FFF + bytes(999) + FFF + bytes(999), kinds.FLIR_RECORDING),
    "a.seq": (FFF + bytes(99), kinds.FLIR_RECORDING),
    "a.csq": (FFF + bytes(99), kinds.FLIR_RECORDING),
    "a.ats": (bytes(range(256)), kinds.FLIR_RECORDING),
    "a.aff": (b"AFF\0" + bytes(99), kinds.FLIR_RECORDING),
    "dji.jpg": (jpeg("DJI", FRAMES), kinds.DJI_JPEG),
    "phone-camera.jpg": (jpeg("", FRAMES), kinds.INFIRAY_JPEG),
    "dji-photo.jpg": (jpeg("DJI"), kinds.PICTURE),
    "hik.jpg": (jpeg(after=b"HDRI" + bytes(9999)), kinds.HIKMICRO_JPEG),
    "seek.hir": (jpeg(after=bytes(99_999)), kinds.SEEK_HIR),
    "hti.jpg": (jpeg(after=bytes(99_999)), kinds.TRAILING_JPEG),
    "moving.jpg": (jpeg(after=b"\0\0\0\x18ftypmp42" + bytes(99_999)), kinds.PICTURE),
    "stereo.jpg": (jpeg(segments=((0xE2, b"MPF\0" + bytes(9)),), after=jpeg() * 9), kinds.PICTURE),
    "uni-t.bmp": (encode(GREY, "BMP") + bytes(99_999), kinds.TRAILING_BMP),
    "clip.mp4": (b"\0\0\0\x18ftypmp42" + bytes(99), kinds.VIDEO),
    "clip.mov": (b"\0\0\0\x14ftypqt  " + bytes(99), kinds.VIDEO),
    "clip.avi": (b"RIFF\0\0\0\0AVI LIST" + bytes(99), kinds.VIDEO),
    "deep.png": (encode(GREY.astype(np.uint16) * 9, "PNG"), kinds.LEVELS),
    "deep.tiff": (encode(GREY.astype(np.uint16) * 9, "TIFF"), kinds.LEVELS),
    "degrees.tiff": (encode(GREY.astype(np.float32), "TIFF"), kinds.FLOAT_TIFF),
    "a.npy": (save_array(GREY), kinds.NUMPY),
    "a.npz": (save_arrays(GREY), kinds.NUMPY),
    "a.csv": (b"Emissivity,0.95\n21.5,22.5,23.5\n21.6,22.6,23.6\n", kinds.CSV_GRID),
    "a.tsv": (b"21,5\t22,5\n21,6\t22,6\n", kinds.CSV_GRID),
    "wide.txt": ("21.5 22.5\n21.6 22.6\n".encode("utf-16"), kinds.CSV_GRID),
    "a.jpg": (jpeg("Canon"), kinds.PICTURE),
    "a.png": (encode(GREY, "PNG"), kinds.PICTURE),
    "a.bmp": (encode(GREY, "BMP"), kinds.PICTURE),
    "a.webp": (encode(np.dstack([GREY] * 3), "WEBP"), kinds.PICTURE),
    "names.csv": (b"stem,subject\na,1\nb,2\n", kinds.UNKNOWN),
    "a.txt": (b"hello", kinds.UNKNOWN),
    "a.bin": (bytes(range(256)) * 9, kinds.UNKNOWN),
}


@pytest.mark.parametrize("name", CASES)
def test_files_are_told_apart(name: str) -> None:
    data, kind = CASES[name]
    assert recognise(name, data).name == kind.name


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_name_misleads_nobody(name: str) -> None:
    data, kind = CASES[name]
    if name.endswith(".ats") or kind == kinds.SEEK_HIR:
        pytest.skip("has no mark but its name")
    wrong = "clip.jpg" if name.endswith(".csv") else "table.csv"
    expected = kinds.FLIR_FFF if name in ("a.seq", "a.csq") else kind  # one frame, as it happens
    assert recognise(wrong, data).name == expected.name


def test_a_real_radiometric_file_is_one(make_flir: Callable[..., bytes]) -> None:
    assert recognise("a.png", make_flir(np.full((6, 8), 9000, np.uint16))) == kinds.FLIR_JPEG


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_each_kind_says_what_it_is_and_what_to_do(kind: Kind) -> None:
    assert kind.says.endswith(".")
    assert kind.way.endswith(".") or kind.is_read
    if kind.holds in ("colours", "counts"):
        assert kind.way


@pytest.mark.parametrize("rubbish", [b"\xff\xe0\0\2", b"\xff\0", b"\xff", b"\0"])
def test_rubbish_before_the_picture_is_not_walked_through(rubbish: bytes) -> None:
    """Pillow would, a byte or a segment at a time: 40 seconds for 60 MB."""
    data = b"\xff\xd8\xff\xe0\0\2" + rubbish * 3_000_000
    segments, end = list_segments(data)
    assert len(segments) <= 4096
    assert end is None
    with pytest.raises(ImageError, match="cut short before its picture"):
        recognise("a.jpg", data)


def test_every_kind_is_recognised_by_some_test() -> None:
    assert {kind.name for _, kind in CASES.values()} == {kind.name for kind in ALL}
    assert len({kind.name for kind in ALL}) == len(ALL)
