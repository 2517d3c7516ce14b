from pathlib import Path

import numpy as np
import pytest

from ferfusion.data.cache import decode_all
from ferfusion.data.dataset import Dataset
from ferfusion.data.temperatures import use_temperatures
from ferfusion.errors import BrokenFilesError, ConfigError, DataError
from ferfusion.imaging.heat_input import read_picture, show_heat_to_model
from ferfusion.modality import Modality
from ferfusion.preprocessing import HeatInput, Preprocessing, parse_heat
from ferfusion.sample import ImageFile, Sample

V, IR = Modality.VISIBLE, Modality.INFRARED


@pytest.mark.parametrize(
    "text", ["window:20,40", "window:-5,38.5", "standardised", "palette:30,36"]
)
def test_a_way_comes_back_from_its_words(text: str) -> None:
    assert str(parse_heat(text)) == text
    made = Preprocessing(64, {IR: (0, 0, 0)}, {IR: (1, 1, 1)}, parse_heat(text))
    assert Preprocessing.from_json(made.to_json()) == made


def test_pictures_are_no_way_and_old_checkpoints_are_read() -> None:
    assert parse_heat("picture") is None
    old = Preprocessing(64, {IR: (0, 0, 0)}, {IR: (1, 1, 1)}).to_json()
    del old["infrared_as"]
    assert Preprocessing.from_json(old).heat is None


@pytest.mark.parametrize("text", ["windw", "window:40,20", "window:warm", "picture:20,40", ""])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_heat(text)


def test_a_window_shows_the_same_degrees_alike() -> None:
    one = np.array([[20.0, 30.0, 40.0, 50.0, np.nan]], np.float32)
    shown = show_heat_to_model(one, HeatInput("window", 20, 40))[0, :, 0]
    assert shown.tolist() == [0, 128, 255, 255, 255]  # where there is none, the nearest
    assert (shown == show_heat_to_model(one + 0, HeatInput("window", 20, 40))[0, :, 1]).all()


def test_standardising_takes_away_how_warm_a_face_is() -> None:
    rng = np.random.default_rng(0)
    face = rng.normal(34, 1, (40, 40)).astype(np.float32)
    way = HeatInput("standardised")
    cooler = show_heat_to_model(face - 3, way).astype(int)
    assert np.abs(cooler - show_heat_to_model(face, way)).max() <= 1
    window = HeatInput("window", 20, 40)
    assert (show_heat_to_model(face - 3, window) != show_heat_to_model(face, window)).any()
    flat = np.full((8, 8), 30, np.float32)
    assert np.ptp(show_heat_to_model(flat, way)) == 0
    nothing = np.full((8, 8), np.nan, np.float32)
    assert show_heat_to_model(nothing, way).shape == (8, 8, 3)


def test_a_palette_has_colours() -> None:
    ramp = np.linspace(20, 40, 50, dtype=np.float32)[None]
    shown = show_heat_to_model(ramp, HeatInput("palette")).astype(int)
    assert np.ptp(shown, axis=2).max() > 100


@pytest.fixture
def prepared(tmp_path: Path) -> Dataset:
    """Two samples with temperatures beside, one without."""
    samples = []
    for number, has_degrees in enumerate((True, True, False)):
        picture = tmp_path / "infrared" / "happy" / f"{number}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        import cv2

        cv2.imwrite(str(picture), np.full((40, 40, 3), 50, np.uint8))
        if has_degrees:
            path = tmp_path / "temperature" / "happy" / f"{number}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.linspace(25, 35 + number, 1600, dtype=np.float32).reshape(40, 40))
        images = {IR: ImageFile(picture)}
        samples.append(Sample(f"happy/{number}", "happy", None, images))
    return Dataset(tmp_path, "", "", None, ("happy",), tuple(samples))


def test_temperatures_take_the_place_of_pictures(prepared: Dataset, tmp_path: Path) -> None:
    found = use_temperatures(prepared)
    assert [IR in sample.images for sample in found.samples] == [True, True, False]
    assert found.samples[0].images[IR].path.suffix == ".npy"
    way = HeatInput("window", 20, 40)
    store = decode_all(found, (IR,), 32, heat=way, folder=tmp_path / "cache")
    wanted = read_picture(found.samples[1].images[IR], way)
    assert store.pictures[IR].shape == (2, 32, 32, 3)
    assert abs(int(store.pictures[IR][1].max()) - int(wanted.max())) <= 2


def test_another_way_is_another_entry_and_other_data(prepared: Dataset, tmp_path: Path) -> None:
    found = use_temperatures(prepared)
    stores = [
        decode_all(found, (IR,), 32, heat=parse_heat(text), folder=tmp_path / "cache")
        for text in ("window:20,40", "window:22,38", "standardised")
    ]
    assert len({store.fingerprint for store in stores}) == 3
    assert (stores[0].pictures[IR] != stores[1].pictures[IR]).any()


def test_without_temperatures_it_is_said(prepared: Dataset, tmp_path: Path) -> None:
    (tmp_path / "temperature").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="--infrared-as picture"):
        use_temperatures(prepared)


def test_broken_temperatures_are_listed(prepared: Dataset, tmp_path: Path) -> None:
    found = use_temperatures(prepared)
    found.samples[0].images[IR].path.write_bytes(b"no array")
    with pytest.raises(BrokenFilesError, match=r"0\.npy"):
        decode_all(found, (IR,), 32, heat=HeatInput("window"), folder=tmp_path / "cache")
