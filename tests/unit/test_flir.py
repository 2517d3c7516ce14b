import io
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.errors import ConfigError, ThermogramError
from ferfusion.imaging.camera.opening import open_thermogram
from ferfusion.imaging.camera.thermogram import CameraSettings
from ferfusion.imaging.registration.motion import Motion

REAL = Path(__file__).parents[3] / "shared/data/radiometric"
TEMPERATURE_C = np.linspace(-10.0, 90.0, 60 * 80).reshape(60, 80)


def radiate(values: dict[str, float], kelvin: np.ndarray | float) -> np.ndarray | float:
    """Planck's law in counts, as FLIR's cameras have it calibrated."""
    exponential = np.exp(values["B"] / kelvin) - values["F"]
    return values["R1"] / (values["R2"] * exponential) - values["O"]


def see(values: dict[str, float], temperature_c: np.ndarray) -> np.ndarray:
    """What the sensor counts: radiation of a thing, through air, a window, and air again.

    Forward, as light goes; the software under test solves it for the temperature.
    """
    air_c = values["air"] - 273.15
    water = values["humidity"] * np.exp(
        1.5587 + 0.06939 * air_c - 0.00027816 * air_c**2 + 0.00000068455 * air_c**3
    )
    half = np.sqrt(values["distance"] / 2)
    through = values["X"] * np.exp(-half * (values["alpha1"] + values["beta1"] * np.sqrt(water)))
    through += (1 - values["X"]) * np.exp(
        -half * (values["alpha2"] + values["beta2"] * np.sqrt(water))
    )
    air = (1 - through) * radiate(values, values["air"])
    seen = values["emissivity"] * radiate(values, temperature_c + 273.15)
    seen = seen + (1 - values["emissivity"]) * radiate(values, values["reflected"])
    seen = through * seen + air
    seen = values["window"] * seen + (1 - values["window"]) * radiate(values, values["window_k"])
    return through * seen + air


AT = {
    **{"emissivity": 0x20, "distance": 0x24, "reflected": 0x28, "air": 0x2C, "window_k": 0x30},
    **{"window": 0x34, "humidity": 0x3C, "R1": 0x58, "B": 0x5C, "F": 0x60},
    **{"alpha1": 0x70, "alpha2": 0x74, "beta1": 0x78, "beta2": 0x7C, "X": 0x80, "R2": 0x30C},
}
PLAIN = {
    **{"emissivity": 0.98, "distance": 1.0, "reflected": 293.15, "air": 293.15},
    **{"window_k": 293.15, "window": 1.0, "humidity": 0.5},
    **{"R1": 17000.0, "B": 1440.0, "F": 1.0, "O": -5000, "R2": 0.0131},
    **{"alpha1": 0.006569, "alpha2": 0.01262, "beta1": -0.002276, "beta2": -0.00667, "X": 1.9},
}


def save(tmp_path: Path, data: bytes, name: str = "a.jpg") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"emissivity": 0.7, "reflected": 313.15},
        {"distance": 30.0, "air": 303.15, "humidity": 0.9},
        {"window": 0.8, "window_k": 283.15},
        {"emissivity": 0.93, "distance": 7.0, "air": 278.15, "window": 0.9, "reflected": 263.15},
    ],
)
@pytest.mark.parametrize("is_png", [True, False])
def test_physics_backwards_is_physics_forwards(
    changes: dict[str, float], is_png: bool, make_flir: Callable[..., bytes], tmp_path: Path
) -> None:
    values = PLAIN | changes
    counts = np.rint(see(values, TEMPERATURE_C))
    assert counts.min() > 0
    assert counts.max() < 65_536
    calibration = {AT[name]: value for name, value in changes.items()}
    data = make_flir(counts.astype(np.uint16), is_png=is_png, calibration=calibration)
    read = open_thermogram(save(tmp_path, data))
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() < 0.03  # half a count, and float32
    assert read.camera == "FLIR Test"
    assert read.settings.emissivity == pytest.approx(values["emissivity"], abs=1e-4)
    assert any("window" in doubt for doubt in read.warnings) == ("window" in changes)


def test_overrides_are_as_if_the_camera_had_been_told(
    make_flir: Callable[..., bytes], tmp_path: Path
) -> None:
    changes = {"emissivity": 0.9, "distance": 12.0, "reflected": 303.15, "air": 288.15}
    changes["humidity"] = 0.8
    counts = np.rint(see(PLAIN | changes, TEMPERATURE_C)).astype(np.uint16)
    path = save(tmp_path, make_flir(counts))
    overrides = CameraSettings(0.9, 12.0, 30.0, 15.0, 0.8)
    read = open_thermogram(path, overrides=overrides)
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() < 0.03
    assert read.settings == overrides
    told = open_thermogram(path)
    assert told.settings == CameraSettings(0.98, 1.0, 20.0, 20.0, 0.5)
    assert np.abs(told.temperature_c - TEMPERATURE_C).max() > 1


@pytest.mark.parametrize(
    "overrides",
    [
        CameraSettings(emissivity=0.0),
        CameraSettings(emissivity=1.1),
        CameraSettings(distance_m=-1.0),
        CameraSettings(humidity=50.0),
        CameraSettings(reflected_c=float("nan")),
    ],
)
def test_impossible_overrides_are_refused(overrides: CameraSettings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be from"):
        open_thermogram(tmp_path / "never-looked-at.jpg", overrides=overrides)


def test_percent_counts_as_humidity(make_flir: Callable[..., bytes], tmp_path: Path) -> None:
    counts = np.rint(see(PLAIN | {"distance": 30.0}, TEMPERATURE_C)).astype(np.uint16)
    calibration = {AT["humidity"]: 50.0, AT["distance"]: 30.0}
    read = open_thermogram(save(tmp_path, make_flir(counts, calibration=calibration)))
    assert read.settings.humidity == 0.5
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() < 0.03


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_frame_alone_is_read_in_either_byte_order(
    order: str, make_flir: Callable[..., bytes], tmp_path: Path
) -> None:
    counts = np.rint(see(PLAIN, TEMPERATURE_C)).astype(np.uint16)
    read = open_thermogram(save(tmp_path, make_flir(counts, fff=order), "a.fff"))
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() < 0.03
    assert read.picture is None


def test_counts_in_the_right_byte_order_are_read_too(
    make_flir: Callable[..., bytes], tmp_path: Path
) -> None:
    counts = np.rint(see(PLAIN, TEMPERATURE_C)).astype(np.uint16)
    # The builder swaps, as most cameras do; so this one doesn't.
    read = open_thermogram(save(tmp_path, make_flir(counts.byteswap())))
    assert np.abs(read.temperature_c - TEMPERATURE_C).max() < 0.03


@pytest.mark.parametrize("photo_format", ["JPEG", "PNG"])
def test_the_photo_and_where_infrared_lies_on_it(
    photo_format: str, make_flir: Callable[..., bytes], tmp_path: Path
) -> None:
    photo = np.full((120, 160, 3), (200, 60, 30), np.uint8)
    stored = photo
    if photo_format == "PNG":
        stored = np.array(Image.fromarray(photo).convert("YCbCr"))
    counts = np.rint(see(PLAIN, TEMPERATURE_C)).astype(np.uint16)
    data = make_flir(counts, photo=stored, photo_format=photo_format, placement=(1.25, 6, -4))
    read = open_thermogram(save(tmp_path, data))
    assert read.photo is not None
    assert np.abs(read.photo.astype(int) - photo).max() <= 4
    # Infrared is 128 wide on the photo. Its middle lies 6 right of the photo's, so what is in the
    # photo's middle is 6 left of the middle of infrared, and 1.25 times that when it is as wide.
    assert read.placement == Motion(scale=1.25, dx_px=-7.5, dy_px=5.0)
    assert read.picture is not None
    assert read.picture.shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("name", "shape", "low", "high", "mean"),
    [
        ("flir_example.jpg", (320, 240), 25.95, 62.32, 29.119),
        ("flir_ax8.jpg", (60, 80), 24.36, 25.47, 25.031),
    ],
)
def test_real_files(
    name: str, shape: tuple[int, int], low: float, high: float, mean: float
) -> None:
    if not REAL.exists():
        pytest.skip("shared/data/radiometric is not here")
    read = open_thermogram(REAL / name)
    assert read.temperature_c.shape == shape
    assert float(read.temperature_c.min()) == pytest.approx(low, abs=0.05)
    assert float(read.temperature_c.max()) == pytest.approx(high, abs=0.05)
    assert float(read.temperature_c.mean()) == pytest.approx(mean, abs=0.05)
    assert read.photo is not None
    assert read.photo.size == 640 * 480 * 3
    assert "FLIR" in str(read.camera)
    # Without flyr: the counts from where they lie, and what radiates that many counts.
    data = (REAL / name).read_bytes()
    block, at = b"", 0
    while (at := data.find(b"FLIR\0\1", at)) > 0:
        block += data[at + 8 : at - 2 + int.from_bytes(data[at - 2 : at], "big")]
        at += 8
    png = block.index(b"\x89PNG")
    counts = np.array(Image.open(io.BytesIO(block[png:]))).astype(np.uint16).byteswap()
    entry = next(e for e in range(64, 512, 32) if block[e : e + 2] == b"\0\x20")
    info = block[struct.unpack_from(">I", block, entry + 12)[0] :]
    values = {key: struct.unpack_from("<f", info, at)[0] for key, at in AT.items()}
    values["O"] = struct.unpack_from("<i", info, 0x308)[0]
    seen = see(values, read.temperature_c.astype(np.float64))
    assert np.abs(seen - counts).max() < 0.5


def fail(tmp_path: Path, data: bytes) -> str:
    path = save(tmp_path, data)
    with pytest.raises(ThermogramError) as caught:
        open_thermogram(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_what_a_file_says_about_itself_is_checked_first(
    make_flir: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flyr.thermal

    monkeypatch.setattr(
        flyr.thermal, "parse_raw_data", lambda *a: pytest.fail("handed over unchecked")
    )
    counts = np.full((6, 8), 20_000, np.uint16)
    good = make_flir(counts)
    start = good.index(b"FFF\0")
    said = {
        "1431655765 records": (start + 28, struct.pack(">I", 0x55555555)),
        "don't begin": (start + 20, b"\xff\xff\xff\xff"),
        "65535 x 65535 pixels": (good.index(struct.pack("<HHH", 2, 8, 6)) + 2, b"\xff" * 4),
        "isn't what is said": (good.index(b"IHDR") + 4, struct.pack(">I", 50_000)),
    }
    for words, (at, change) in said.items():
        assert words in fail(tmp_path, good[:at] + change + good[at + len(change) :])
    raw = make_flir(counts, is_png=False)
    at = raw.index(struct.pack("<HHH", 2, 8, 6))
    assert "counts are missing" in fail(
        tmp_path, raw[:at] + struct.pack("<HHH", 2, 800, 600) + raw[at + 6 :]
    )
    assert "parts of its thermal data" in fail(
        tmp_path, good.replace(b"FLIR\0\1\0\0", b"FLIR\0\1\0\3")
    )


def test_flyr_that_fails_is_one_sentence(
    make_flir: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_flir(np.full((6, 8), 20_000, np.uint16), calibration={AT["emissivity"]: 0.0})
    assert "ZeroDivisionError" in fail(tmp_path, data)
    data = make_flir(np.full((6, 8), 20_000, np.uint16), calibration={AT["R1"]: float("nan")})
    assert "no temperature at any pixel" in fail(tmp_path, data)


def test_without_flyr_the_line_that_installs_it_is_given(
    make_flir: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flyr.thermal", None)
    path = save(tmp_path, make_flir(np.full((6, 8), 20_000, np.uint16)))
    with pytest.raises(ConfigError, match=r"EUPL-1.2.*pip install 'ferfusion\[thermal\]'"):
        open_thermogram(path)


def test_a_broken_photo_or_screen_costs_no_temperatures(
    make_flir: Callable[..., bytes], tmp_path: Path
) -> None:
    photo = np.full((64, 64, 3), 80, np.uint8)
    data = make_flir(np.full((6, 8), 20_000, np.uint16), photo=photo, placement=(1.0, 0, 0))
    inner = data.index(b"\xff\xd8\xff", 10)
    cut = data[: inner + 100] + bytes(400) + data[inner + 500 :]
    read = open_thermogram(save(tmp_path, cut))
    assert read.photo is None
    assert read.placement is None
    assert any("photo can't be used" in doubt for doubt in read.warnings)
    read = open_thermogram(save(tmp_path, data[:-300]))
    assert read.picture is None
    assert read.photo is not None
    assert read.camera == "FLIR Test"


def test_a_star_is_no_name_of_a_camera(make_flir: Callable[..., bytes], tmp_path: Path) -> None:
    data = make_flir(np.full((6, 8), 20_000, np.uint16)).replace(b"FLIR Test", b"*" + bytes(8))
    assert open_thermogram(save(tmp_path, data)).camera is None


def test_metadata_without_counts_is_said_plainly(
    make_flir: Callable[..., bytes], tmp_path: Path
) -> None:
    data = make_flir(np.full((6, 8), 20_000, np.uint16))
    entry = data.index(b"FFF\0") + 64
    assert data[entry : entry + 2] == b"\0\1"
    message = fail(tmp_path, data[:entry] + b"\0\7" + data[entry + 2 :])
    assert "not the sensor's counts" in message
    assert "original on the camera's card" in message


def test_records_that_overlap_are_not_copied_a_thousand_times(
    make_flir: Callable[..., bytes], tmp_path: Path
) -> None:
    block = make_flir(np.full((6, 8), 20_000, np.uint16), fff=">")

    records = 1000
    size = 64 + 32 * records + 20_000_000
    entries = b"".join(
        struct.pack(">HHIIII12x", kind, 1, 100, 1, 0, size) for kind in range(50, 50 + records)
    )
    head = block[:24] + struct.pack(">II", 64, records) + block[32:64]
    tracemalloc.start()
    try:
        assert "not the sensor's counts" in fail(tmp_path, (head + entries).ljust(size, b"\0"))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
