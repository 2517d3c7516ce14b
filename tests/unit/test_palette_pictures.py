import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.stats import spearmanr

from ferfusion.errors import ConfigError, ThermogramError
from ferfusion.imaging.camera.opening import open_thermogram
from ferfusion.imaging.camera.palette_pictures import invert_palette, rank_palettes, read_strip
from ferfusion.imaging.palette import PALETTES, colourise, find_palette

REAL = Path(__file__).parents[3] / "shared/data"


def draw_scene(seed: int = 0) -> np.ndarray:
    """A smooth scene from 0 to 1."""
    rng = np.random.default_rng(seed)
    scene = cv2.GaussianBlur(rng.random((120, 160)).astype(np.float32), (0, 0), 9)
    return (scene - scene.min()) / (scene.max() - scene.min())


def press(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("quality", [95, 75, 40])
def test_colours_go_back_to_where_they_came_from(palette: str, quality: int) -> None:
    scene = draw_scene()
    picture = press(colourise(scene, 0.0, 1.0, palette), quality)
    best, second = rank_palettes(picture)[:2]
    if palette.endswith("-hot"):
        # Nobody can tell: the colours are the same.
        assert {best.palette, second.palette} == {"white-hot", "black-hot"}
        assert best.palette == "white-hot"
        assert "grey photo" in best.say()
    else:
        assert best.palette == palette
        assert best.share - second.share > 0.5
    position, fit = invert_palette(picture, palette, find_palette(palette))
    assert fit.share > 0.98
    error = np.abs(position - scene)
    assert np.nanmedian(error) < 0.01
    assert np.nanpercentile(error, 99) < 0.04


def test_overlays_become_holes_and_spoil_little() -> None:
    scene = draw_scene()
    picture = Image.fromarray(colourise(scene, 0.0, 1.0, "iron"))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((5, 5, 44, 16), fill=(40, 220, 60))
    pen.line((60, 60, 100, 60), fill=(0, 200, 255), width=3)
    position, fit = invert_palette(press(np.array(picture), 85), "iron", find_palette("iron"))
    assert rank_palettes(np.array(picture))[0].palette == "iron"
    assert 0.9 < fit.share < 0.98
    assert np.isnan(position[6:16, 6:44]).mean() > 0.9
    assert np.isnan(position[59:62, 64:96]).mean() > 0.8
    rest = np.ones_like(scene, bool)
    rest[:22, :50] = rest[54:68, 54:106] = False
    assert np.nanpercentile(np.abs(position - scene)[rest], 99) < 0.04


def test_a_picture_in_no_palette_fits_none() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert rank_palettes(noise)[0].share < 0.4


@pytest.mark.parametrize("turn", [0, 1])
def test_a_strip_cut_out_of_a_picture_is_a_palette(turn: int) -> None:
    # Of a camera whose palette is none of ours: green to white through violet.
    stops = np.array([[0, 90, 30], [120, 20, 200], [255, 255, 255]])
    strange = np.stack(
        [np.interp(np.linspace(0, 2, 256), range(3), stops[:, c]) for c in range(3)], 1
    )
    strange = strange.round().astype(np.uint8)
    scene = draw_scene()
    picture = strange[np.rint(scene * 255).astype(int)]
    bar = np.repeat(strange[np.newaxis, ::2], 12, axis=0)  # cold at the left
    strip = read_strip("a.png", np.rot90(bar) if turn else bar)
    assert rank_palettes(picture)[0].share < 0.5
    assert rank_palettes(picture, {"mine": strip})[0].palette == "mine"
    position, fit = invert_palette(press(picture, 85), "mine", strip)
    assert fit.share > 0.97
    assert np.nanpercentile(np.abs(position - scene), 99) < 0.04


def test_what_is_no_strip_is_refused() -> None:
    with pytest.raises(ThermogramError, match="isn't a colour scale"):
        read_strip("a.png", np.zeros((40, 60, 3), np.uint8))


def test_a_picture_becomes_temperatures_only_with_a_range(tmp_path: Path) -> None:
    scene = draw_scene()
    path = tmp_path / "a.jpg"
    Image.fromarray(colourise(scene, 0.0, 1.0, "rainbow")).save(path, quality=90)
    with pytest.raises(ThermogramError, match=r"aren't temperatures.*--range"):
        open_thermogram(path)
    read = open_thermogram(path, value_range_c=(20.0, 40.0))
    assert np.abs(read.temperature_c - (20 + 20 * scene)).mean() < 0.2
    assert any("read off colours" in doubt and "rainbow" in doubt for doubt in read.warnings)
    with pytest.raises(ThermogramError, match="no picture in the palette iron"):
        open_thermogram(path, value_range_c=(20.0, 40.0), palette="iron")
    with pytest.raises(ConfigError, match="Did you mean 'rainbow'"):
        open_thermogram(path, value_range_c=(20.0, 40.0), palette="ranbow")
    with pytest.raises(ConfigError, match="must rise"):
        open_thermogram(path, value_range_c=(40.0, 20.0))


def test_black_hot_must_be_said(tmp_path: Path) -> None:
    scene = draw_scene()
    Image.fromarray(colourise(scene, 0.0, 1.0, "black-hot")).save(tmp_path / "a.png")
    read = open_thermogram(tmp_path / "a.png", value_range_c=(0.0, 1.0), palette="black-hot")
    assert np.abs(read.temperature_c - scene).max() < 0.02
    upside_down = open_thermogram(tmp_path / "a.png", value_range_c=(0.0, 1.0))
    assert np.abs(upside_down.temperature_c - (1 - scene)).max() < 0.02
    assert any("White-hot and black-hot" in doubt for doubt in upside_down.warnings)


def test_the_cameras_own_scale_gives_degrees_and_our_iron_only_the_order(tmp_path: Path) -> None:
    """The figures of docs/cameras.md."""
    if not REAL.exists():
        pytest.skip("shared/data is not here")
    read = open_thermogram(REAL / "radiometric/flir_ax8.jpg")
    assert read.picture is not None
    strip = tmp_path / "scale.png"
    Image.fromarray(read.picture[25:448, 628:636]).save(strip)  # beside it: 22.9 to 27.0
    Image.fromarray(read.picture).save(tmp_path / "ax8.png")
    colours = open_thermogram(
        tmp_path / "ax8.png", palette=str(strip), value_range_c=(22.9, 27.0)
    ).temperature_c
    error = np.abs(colours - cv2.resize(read.temperature_c, (640, 480)))
    assert np.nanmedian(error) < 0.03
    assert np.nanpercentile(error, 90) < 0.15

    read = open_thermogram(REAL / "radiometric/flir_example.jpg")
    assert read.picture is not None
    Image.fromarray(read.picture).save(tmp_path / "example.png")
    colours = open_thermogram(tmp_path / "example.png", value_range_c=(25.92, 61.79)).temperature_c
    truth = cv2.resize(read.temperature_c, (480, 640))
    is_known = np.isfinite(colours)
    assert spearmanr(colours[is_known], truth[is_known]).statistic > 0.99
    assert np.nanmedian(np.abs(colours - truth)) > 5


def test_real_cameras_iron_is_found_to_be_iron() -> None:
    if not REAL.exists():
        pytest.skip("shared/data is not here")
    picture = open_thermogram(REAL / "radiometric/flir_example.jpg").picture
    assert picture is not None
    best, second = rank_palettes(picture)[:2]
    assert best.palette == "iron"
    assert best.share > 0.9
    assert second.share < 0.6
    # The AX8's palette is none of ours, and that is seen.
    picture = open_thermogram(REAL / "radiometric/flir_ax8.jpg").picture
    assert picture is not None
    assert rank_palettes(picture)[0].share < 0.3
