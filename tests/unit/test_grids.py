import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.errors import ConfigError, ImageError, NoScaleError, ThermogramError
from ferfusion.imaging.camera.grids import SCALES, Scale, looks_swapped, parse_scale
from ferfusion.imaging.camera.opening import open_thermogram

REAL = Path(__file__).parents[3] / "shared/data/radiometric"
TEMPERATURE_C = np.linspace(18.0, 37.0, 30 * 40).reshape(30, 40).astype(np.float32)


def save(tmp_path: Path, data: bytes, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def save_array(tmp_path: Path, array: np.ndarray) -> Path:
    np.save(tmp_path / "a.npy", array)
    return tmp_path / "a.npy"


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_degrees(dtype: str, order: str, tmp_path: Path) -> None:
    path = save_array(tmp_path, np.asarray(TEMPERATURE_C, dtype=dtype, order=order))
    read = open_thermogram(path)
    assert read.temperature_c.dtype == np.float32
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() < (0.02 if dtype == "<f2" else 1e-6)
    assert read.photo is None
    assert read.warnings == ()


def test_an_archive_with_one_array(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", t=TEMPERATURE_C)
    assert (open_thermogram(tmp_path / "a.npz").temperature_c == TEMPERATURE_C).all()
    np.savez(tmp_path / "b.npz", t=TEMPERATURE_C, u=TEMPERATURE_C)
    with pytest.raises(ThermogramError, match="holds 2 arrays"):
        open_thermogram(tmp_path / "b.npz")


@pytest.mark.parametrize(("name", "scale"), SCALES.items())
@pytest.mark.parametrize("suffix", ["png", "tiff", "npy"])
def test_counts_with_a_scale(name: str, scale: Scale, suffix: str, tmp_path: Path) -> None:
    counts = np.rint((TEMPERATURE_C - scale.offset_c) / scale.gain_c).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    np.save(path, counts) if suffix == "npy" else Image.fromarray(counts).save(path)
    read = open_thermogram(path, scale=parse_scale(name))
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() <= scale.gain_c / 2 + 1e-4
    with pytest.raises(NoScaleError, match=rf"from {counts.min()} to {counts.max()}.*--scale"):
        open_thermogram(path)


def test_a_big_endian_tiff_is_the_same(tmp_path: Path) -> None:
    counts = np.rint(TEMPERATURE_C * 100 + 27_315).astype(np.uint16)
    Image.fromarray(counts).save(tmp_path / "a.tiff", big_endian=True)
    read = open_thermogram(tmp_path / "a.tiff", scale=SCALES["centikelvin"])
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() < 0.006


def test_a_float_tiff_is_degrees_or_says_that_it_looks_like_kelvin(tmp_path: Path) -> None:
    Image.fromarray(TEMPERATURE_C).save(tmp_path / "a.tiff")
    assert (open_thermogram(tmp_path / "a.tiff").temperature_c == TEMPERATURE_C).all()
    Image.fromarray(TEMPERATURE_C + 273.15).save(tmp_path / "b.tiff")
    assert any("kelvin" in doubt for doubt in open_thermogram(tmp_path / "b.tiff").warnings)
    read = open_thermogram(tmp_path / "b.tiff", scale=SCALES["kelvin"])
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() < 1e-4


def test_of_several_pages_the_first_is_read_and_that_is_said(tmp_path: Path) -> None:
    pages = [Image.fromarray(TEMPERATURE_C + shift) for shift in (0, 5)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    read = open_thermogram(tmp_path / "a.tiff")
    assert (read.temperature_c == TEMPERATURE_C).all()
    assert any("only the first" in doubt for doubt in read.warnings)


def test_swapped_bytes_are_noticed(tmp_path: Path) -> None:
    counts = np.rint(TEMPERATURE_C * 100 + 27_315).astype(np.uint16)
    assert not looks_swapped(counts)
    assert looks_swapped(counts.byteswap())
    rng = np.random.default_rng(0)
    assert not looks_swapped(rng.integers(0, 65_536, (40, 40), dtype=np.uint16))  # noise both ways
    Image.fromarray(counts.byteswap()).save(tmp_path / "a.png")
    read = open_thermogram(tmp_path / "a.png", scale=SCALES["centikelvin"])
    assert any("two bytes" in doubt for doubt in read.warnings)


def test_holes_stay_holes(tmp_path: Path) -> None:
    holed = TEMPERATURE_C.copy()
    holed[0, 0], holed[1, 1], holed[2, 2] = np.nan, np.inf, -np.inf
    read = open_thermogram(save_array(tmp_path, holed))
    assert np.isnan(read.temperature_c).sum() == 3
    assert any("3 of 1200 pixels" in doubt for doubt in read.warnings)
    with pytest.raises(ThermogramError, match="no temperature at any pixel"):
        open_thermogram(save_array(tmp_path, np.full((4, 4), np.nan)))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[{}]], dtype=object), "Python objects"),
        (np.zeros((4, 4), complex), "real numbers"),
        (np.zeros((4, 4), bool), "real numbers"),
        (np.zeros(9), "shape 9, not rows"),
        (np.float64(3.0), "of one number"),
        (np.zeros((3, 4, 4)), "shape 3 x 4 x 4"),
        (np.zeros((0, 4)), "shape 0 x 4"),
    ],
)
def test_arrays_that_are_no_picture(array: np.ndarray, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ThermogramError, match=words):
        open_thermogram(tmp_path / "a.npy")


def test_axes_of_one_are_no_matter(tmp_path: Path) -> None:
    read = open_thermogram(save_array(tmp_path, TEMPERATURE_C[np.newaxis, :, :, np.newaxis]))
    assert read.temperature_c.shape == (30, 40)


def lie_about_shape(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(400)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("(1000000, 1000000)", "million numbers"),
        ("(100, 100)", "damaged or cut short"),
        ("(-1, -1)", "shape -1"),
        ("'many'", "damaged"),
        ("(" * 3000 + ")" * 3000, "damaged"),
        ("(3, 4L)", "damaged"),
    ],
)
def test_sizes_are_checked_before_anything_is_allocated(
    shape: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ThermogramError, match=words):
        open_thermogram(save(tmp_path, lie_about_shape(shape), "a.npy"))


def test_a_bomb_in_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", lie_about_shape("(30000, 30000)") + bytes(40_000_000))
    with pytest.raises(ThermogramError, match="900 million numbers"):
        open_thermogram(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", b"x")
    with pytest.raises(ThermogramError, match="damaged"):
        open_thermogram(path)


def test_a_16_bit_picture_larger_than_any_sensor_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4001, 4001), np.uint16)).save(buffer, "PNG")
    path = save(tmp_path, buffer.getvalue(), "a.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="more than 16 megapixels"):
        open_thermogram(path)


@pytest.mark.parametrize("text", ["centi-kelvin", "1", "1,2,3", "0,5", "nan,1", "1,inf", ""])
def test_scales_that_make_no_sense(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_scale(text)


def test_a_scale_of_ones_own() -> None:
    assert parse_scale("0.04, -273.15") == SCALES["0.04K"]


def test_real_counts_are_said_to_be_counts() -> None:
    if not REAL.exists():
        pytest.skip("shared/data/radiometric is not here")
    with pytest.raises(NoScaleError, match="counts of the sensor from 6743 to 7077, not temp"):
        open_thermogram(REAL / "boson_counts_16bit.tiff")
