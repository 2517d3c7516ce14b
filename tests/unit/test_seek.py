import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.errors import ThermogramError
from ferfusion.imaging.camera.opening import open_thermogram


def make_hir(temperature_c: np.ndarray, photo: np.ndarray, screen_side_px: int) -> bytes:
    """By the README that describes them: screenshot, temperatures, photo, each at its place."""
    rng = np.random.default_rng(0)
    screen = rng.integers(0, 256, (screen_side_px, screen_side_px, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(screen).save(buffer, "JPEG")
    start = (len(buffer.getvalue()) & 0xFFFFF000) + 0x2000
    counts = np.rint((temperature_c + 40) * 64).astype("<u2").tobytes()
    light, blue, red = (np.array(band) for band in Image.fromarray(photo).convert("YCbCr").split())
    planes = light.tobytes() + blue[::2, ::2].tobytes() + red[::2, ::2].tobytes()
    return buffer.getvalue().ljust(start, b"\0") + counts.ljust(0x10000, b"\0") + planes


@pytest.mark.parametrize("screen_side_px", [60, 170])
def test_temperatures_and_photo_are_where_the_description_says(
    screen_side_px: int, tmp_path: Path
) -> None:
    temperature_c = np.linspace(-20, 120, 156 * 206).reshape(156, 206)
    photo = np.zeros((1080, 1440, 3), np.uint8)
    photo[:540], photo[540:, :720] = (220, 40, 30), (30, 60, 200)
    path = tmp_path / "A.HIR"
    data = make_hir(temperature_c, photo, screen_side_px)
    path.write_bytes(data)
    read = open_thermogram(path)
    assert np.abs(read.temperature_c - temperature_c).max() <= 1 / 128 + 1e-5
    assert read.photo is not None
    assert np.abs(read.photo.astype(int) - photo).mean() < 6
    assert read.picture is not None
    assert read.picture.shape == (screen_side_px, screen_side_px, 3)
    assert any("compare" in doubt for doubt in read.warnings)
    path.write_bytes(data[: len(data) - 2_000_000])
    assert open_thermogram(path).photo is None
    path.write_bytes(data[: len(data) - 2_360_000])
    with pytest.raises(ThermogramError, match="cut short"):
        open_thermogram(path)
