import io
import os
import threading
import warnings
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ferfusion.errors import ImageError
from ferfusion.imaging import file_bytes, files
from ferfusion.imaging.files import (
    decode_levels,
    read_camera,
    read_depth,
    read_image,
    read_image_size,
)
from ferfusion.sample import ImageFile

RNG = np.random.default_rng(0)
# Smooth, so that JPEG decoders agree closely; no axis is symmetric, so that turns show.
RGB = cv2.resize(RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8), (48, 32), interpolation=2)
COUNTS = (6743 + RGB[:, :, 0].astype(np.uint16)).astype(np.uint16)


def encode(array: np.ndarray, suffix: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, suffix.lstrip(".").upper(), **options)
    return buffer.getvalue()


def save(path: Path, data: bytes) -> ImageFile:
    path.write_bytes(data)
    return ImageFile(path)


def fail(file: ImageFile) -> str:
    """Reads, and returns the sentence; it must be one, start with the path, and end."""
    with pytest.raises(ImageError) as caught:
        read_image(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert message.endswith(".")
    assert "\n" not in message
    return message.removeprefix(str(file)).strip()


@pytest.mark.parametrize("suffix", ["jpeg", "png", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_opencv(suffix: str, channels: int, tmp_path: Path) -> None:
    array = RGB if channels == 3 else RGB[:, :, 0]
    options = {"lossless": True} if suffix == "webp" else {}
    file = save(tmp_path / f"a.{suffix}", encode(array, suffix, **options))
    expected = cv2.imread(str(file.path), cv2.IMREAD_COLOR)
    assert expected is not None
    image = read_image(file)
    assert image.dtype == np.uint8
    assert image.shape == (32, 48, 3)
    assert read_image_size(file) == (48, 32)
    difference = np.abs(image.astype(int) - cv2.cvtColor(expected, cv2.COLOR_BGR2RGB))
    assert difference.max() <= (3 if suffix == "jpeg" else 0)


@pytest.mark.parametrize("suffix", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_applies_the_turn_as_opencv_does(suffix: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = save(tmp_path / f"a.{suffix}", encode(RGB, suffix, exif=exif, quality=95))
    image = read_image(file)
    assert read_image_size(file) == (image.shape[1], image.shape[0])
    assert image.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    turned = np.rot90(RGB, {3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}.get(orientation, 0))
    mirrored = turned[:, ::-1] if orientation in (2, 4, 5, 7) else turned
    assert np.abs(image.astype(int) - mirrored).mean() < 6
    if suffix == "jpeg":
        expected = cv2.imread(str(file.path), cv2.IMREAD_COLOR)
        assert expected is not None
        assert np.abs(image[:, :, ::-1].astype(int) - expected).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "PA"])
def test_modes_of_png_become_rgb(mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(RGB).convert(mode.replace("PA", "P"))
    options = {"transparency": bytes([0, 128])} if mode == "PA" else {}
    if mode in ("LA", "RGBA"):
        picture.putalpha(0)
    picture.save(tmp_path / "a.png", **options)
    image = read_image(ImageFile(tmp_path / "a.png"))
    assert image.shape == (32, 48, 3)
    # Transparency hides nothing: even a wholly transparent picture keeps its colours.
    assert abs(float(image.mean()) - float(RGB.mean())) < 15


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    image = read_image(ImageFile(tmp_path / "a.jpg"))
    assert np.abs(image.astype(int) - RGB).mean() < 6


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_stretched_between_percentiles(suffix: str, tmp_path: Path) -> None:
    file = save(tmp_path / f"a.{suffix}", encode(COUNTS, suffix))
    low, high = np.percentile(COUNTS, (0.5, 99.5))
    expected = np.clip((COUNTS - low) / (high - low), 0, 1) * 255
    image = read_image(file)
    assert np.abs(image - expected[:, :, None]).max() <= 0.5
    assert image.min() == 0
    assert image.max() == 255


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4", "<f4"])
def test_other_deep_grey_gives_the_same_picture(dtype: str, tmp_path: Path) -> None:
    reference = read_image(save(tmp_path / "a.png", encode(COUNTS, "png")))
    if dtype == ">u2":
        data = encode(COUNTS, "tiff", big_endian=True)
    else:
        data = encode(COUNTS.astype(dtype), "tiff")
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.tiff", data)), reference)


def test_hot_pixel_and_flat_picture_do_not_turn_black(tmp_path: Path) -> None:
    hot = COUNTS.copy()
    hot[0, 0] = 65535
    assert read_image(save(tmp_path / "a.png", encode(hot, "png"))).mean() > 60
    flat = np.full((8, 8), 7000, np.uint16)
    assert (read_image(save(tmp_path / "b.png", encode(flat, "png"))) == 128).all()


def test_sixteen_bits_per_colour_are_refused_rather_than_darkened(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([COUNTS] * 3))
    assert "16 bits per colour" in fail(ImageFile(tmp_path / "a.png"))


@pytest.mark.parametrize("suffix", ["jpeg", "png", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_cut_short(suffix: str, share: float, tmp_path: Path) -> None:
    data = encode(cv2.resize(RGB, (300, 200)), suffix)
    file = save(tmp_path / f"a.{suffix}", data[: int(len(data) * share)])
    message = fail(file)
    assert "damaged" in message
    assert "copy it again" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello", "not a picture of a kind that can be read"),
        (b"GIF89a" + bytes(50), "JPEG, PNG, BMP, TIFF, WebP"),
        (b"\n<!doctype HTML><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "HEIC"),
    ],
)
def test_no_picture(content: bytes, said: str, tmp_path: Path) -> None:
    file = save(tmp_path / "a.jpg", content)
    assert said in fail(file)
    with pytest.raises(ImageError):
        read_image_size(file)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/a.jpg", content)
    assert said in fail(ImageFile(tmp_path / "a.zip", "in/a.jpg"))


def test_missing_and_folder_and_pipe(tmp_path: Path) -> None:
    assert "does not exist" in fail(ImageFile(tmp_path / "no.jpg"))
    assert "is a folder" in fail(ImageFile(tmp_path))
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "a pipe" in fail(ImageFile(tmp_path / "pipe.jpg"))


def test_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "a.png", encode(RGB, "png"))

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Replaced rather than chmod, because root may read everything.
    monkeypatch.setattr(Path, "open", refuse)
    assert "chmod" in fail(file)


def test_too_many_bytes(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as stream:
        stream.truncate(64 * 2**20 + 1)
    assert "larger than 64 MiB" in fail(ImageFile(tmp_path / "a.jpg"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(64 * 2**20 + 1))
    assert "larger than 64 MiB" in fail(ImageFile(tmp_path / "a.zip", "a.jpg"))


@pytest.mark.parametrize("side", [8001, 10_000, 30_000])
def test_too_many_pixels_without_decoding_or_warning(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = bytearray(encode(np.zeros((1, 1), np.uint8), "bmp"))
    header[18:26] = np.array([side, side], "<i4").tobytes()
    file = save(tmp_path / "a.bmp", bytes(header))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert "more than 64 megapixels" in fail(file)
        with pytest.raises(ImageError):
            read_image_size(file)
    assert caught == []


def test_zip_member_is_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/a.png", encode(RGB, "png"))
    np.testing.assert_array_equal(read_image(ImageFile(path, "in/a.png")), RGB)
    assert read_image_size(ImageFile(path, "in/a.png")) == (48, 32)
    assert list(tmp_path.iterdir()) == [path]
    assert "changed since" in fail(ImageFile(path, "in/b.png"))


def test_damaged_and_locked_zip_members(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encode(RGB, "png"))
    data = bytearray(path.read_bytes())
    data[200] ^= 255
    path.write_bytes(data)
    assert "can't be unpacked (Bad CRC-32" in fail(ImageFile(path, "a.png"))
    data[200] ^= 255
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "password" in fail(ImageFile(path, "a.png"))
    path.write_bytes(data[:100])
    assert "download or copy the archive again" in fail(ImageFile(path, "a.png"))


def test_damaged_exif_counts_as_upright(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\xff\xff\xff\x7f"
    file = save(tmp_path / "a.jpg", encode(RGB, "jpeg", exif=exif))
    assert read_image(file).shape == (32, 48, 3)


def test_threads_leave_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    good = [save(tmp_path / f"{i}.jpg", encode(RGB, "jpeg")) for i in range(8)]
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda f=f: [read_image(f) for _ in range(20)]) for f in good
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_limits_are_those_in_the_messages() -> None:
    assert (file_bytes.MAX_MEBIBYTES, files.MAX_MEGAPIXELS) == (64, 64)


@pytest.mark.parametrize(
    ("maker", "model", "said"),
    [
        ("FLIR Systems AB", "FLIR AX8\0", "FLIR AX8"),
        ("FLIR Systems AB", "*", "FLIR Systems AB"),
        ("DJI", "M3T", "DJI M3T"),
        ("", "", None),
        ("\1\2", "X", "X"),
    ],
)
def test_the_camera_by_its_exif(maker: str, model: str, said: str | None) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = maker, model
    assert read_camera("a.jpg", encode(RGB, "jpeg", exif=exif)) == said
    assert read_camera("a.jpg", encode(RGB, "jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")) is None


@pytest.mark.parametrize(
    ("dtype", "depth"), [("u1", "8-bit"), ("u2", "whole"), ("i4", "whole"), ("f4", "float")]
)
def test_depth_and_levels_as_they_are_stored(dtype: str, depth: str) -> None:
    data = encode(COUNTS.astype(dtype), "tiff")
    assert read_depth("a.tiff", data) == depth
    if depth == "8-bit":
        with pytest.raises(ImageError, match="no more than 8 bits"):
            decode_levels("a.tiff", data, max_pixels=9999)
        return
    levels, has_more_pages = decode_levels("a.tiff", data, max_pixels=9999)
    np.testing.assert_array_equal(levels, COUNTS)
    assert not has_more_pages
    with pytest.raises(ImageError, match="as no thermal sensor has"):
        decode_levels("a.tiff", data, max_pixels=999)


def test_libtiff_writes_no_lines_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = io.BytesIO()
    levels = RNG.integers(0, 60_000, (60, 80)).astype(np.uint16)
    Image.fromarray(levels).save(stream, "TIFF", compression="tiff_lzw")
    data = bytearray(stream.getvalue())
    for at in range(100, 4000, 50):
        data[at] ^= 0x55
    assert "is damaged or cut short" in fail(save(tmp_path / "x.tiff", bytes(data)))
    assert capfd.readouterr().err == ""
