import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.cli import camera_extract
from ferfusion.cli.camera_extract import name_stems
from ferfusion.imaging.palette import colourise

REAL = Path(__file__).parents[3] / "shared/data/radiometric"
TEMPERATURE_C = np.linspace(20, 36, 60 * 80).reshape(60, 80).astype(np.float32)


@pytest.fixture
def folder(
    tmp_path: Path, make_flir: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A camera's card: two radiometric pictures, counts, a palette picture, and other things."""
    card = tmp_path / "card"
    card.mkdir()
    counts = np.linspace(9000, 14000, 60 * 80).reshape(60, 80).astype(np.uint16)
    photo = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    (card / "FLIR0001.jpg").write_bytes(make_flir(counts, photo=photo, placement=(1.25, 4, -2)))
    (card / "FLIR0002.jpg").write_bytes(make_flir(counts))
    np.save(card / "grid.npy", TEMPERATURE_C)
    Image.fromarray(colourise(TEMPERATURE_C, 20.0, 36.0)).save(card / "screen.png")
    (card / "notes.txt").write_text("Monday")
    (card / ".thumbs").mkdir()
    (card / ".thumbs" / "x.jpg").write_bytes(b"rubbish")
    monkeypatch.chdir(tmp_path)
    return card


def read_table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as stream:
        return {Path(row["file"]).name: row for row in csv.DictReader(stream)}


def test_probe_says_what_is_inside(ferfusion, folder: Path) -> None:
    answer = ferfusion("camera", "probe", "card")
    assert answer.code == 0
    assert "card/FLIR0001.jpg: FLIR radiometric JPEG, FLIR Test" in answer.said
    assert "60 rows, 80 columns" in answer.said
    assert "320 x 240 pixels; infrared lies on 256 x 192 of it" in answer.said
    assert "card/screen.png: 8-bit picture" in answer.said
    assert "aren't temperatures" in answer.said
    assert "100% of the colours are those of iron" in answer.said
    assert (
        "Passed over, as they are of no kind that cameras write: 1 (card/notes.txt)" in answer.said
    )
    assert "thumbs" not in answer.said


def test_probe_for_programs(ferfusion, folder: Path) -> None:
    answer = ferfusion("camera", "probe", "card", "--json")
    assert answer.code == 0
    found = {Path(entry["file"]).name: entry for entry in json.loads(answer.out)}
    assert list(found) == ["FLIR0001.jpg", "FLIR0002.jpg", "grid.npy", "screen.png"]
    assert found["grid.npy"]["temperature"]["max_c"] == 36.0
    assert found["FLIR0001.jpg"]["placement"]["scale"] == 1.25
    assert found["FLIR0001.jpg"]["photo_px"] == [320, 240]
    assert found["FLIR0002.jpg"]["photo_px"] is None
    assert found["screen.png"]["holds"] == "colours"
    assert found["screen.png"]["palettes"][0]["palette"] == "iron"
    assert "Passed over" in answer.err
    assert "card/notes.txt" in answer.err


def test_probe_of_what_is_unknown_broken_or_missing(ferfusion, folder: Path) -> None:
    (folder / "cut.jpg").write_bytes((folder / "FLIR0002.jpg").read_bytes()[:900])
    answer = ferfusion("camera", "probe", "card", "card/notes.txt", "nowhere.jpg")
    assert answer.code == 2
    assert "3 files can't be used:" in answer.err
    assert "card/cut.jpg is damaged" in answer.err
    assert "card/notes.txt (unknown)" in answer.err
    assert "nowhere.jpg does not exist" in answer.err
    assert "card/FLIR0001.jpg: FLIR radiometric" in answer.out
    (folder / "empty").mkdir()
    answer = ferfusion("camera", "probe", "card/empty")
    assert answer.code == 2
    assert "no files in card/empty" in answer.err


def test_extract_writes_all_that_is_inside(ferfusion, folder: Path) -> None:
    answer = ferfusion("camera", "extract", "card", "--out", "out", "--emissivity", "0.9")
    assert answer.code == 0, answer.err
    assert "as they hold no temperatures: 2 (card/notes.txt, card/screen.png)" in answer.said
    names = {path.name for path in Path("out").iterdir()}
    first = {f"FLIR0001{ending}" for ending in camera_extract.ENDINGS}
    rest = {f"{stem}{ending}" for stem in ("FLIR0002", "grid")
            for ending in (".temperature.npy", ".temperature.tiff", ".infrared.png")}  # fmt: skip
    assert names == first | rest | {"extract.csv"}
    array = np.load("out/FLIR0001.temperature.npy")
    assert array.dtype == np.float32
    assert (array == np.array(Image.open("out/FLIR0001.temperature.tiff"))).all()
    for kind in ("visible", "infrared", "msx"):
        with Image.open(f"out/FLIR0001.{kind}.png") as picture:
            assert picture.size == (256, 192)
    table = read_table(Path("out/extract.csv"))
    assert tuple(next(iter(table.values()))) == camera_extract.COLUMNS
    row = table["FLIR0001.jpg"]
    assert float(row["emissivity"]) == 0.9
    assert float(row["mean_c"]) == pytest.approx(float(array.mean()), abs=0.001)
    assert "skin has 0.98" in row["warnings"]
    assert (row["scale"], row["dx_px"], row["dy_px"]) == ("1.25", "-5.0", "2.5")
    assert (row["crop_width_px"], row["crop_height_px"]) == ("256", "192")
    assert "Nothing was changed by emissivity" in table["grid.npy"]["warnings"]
    # What was written can be read again, as degrees.
    again = ferfusion("camera", "extract", "out/FLIR0001.temperature.tiff", "--out", "again")
    assert again.code == 0
    assert (np.load("again/FLIR0001.temperature.temperature.npy") == array).all()


def test_what_was_extracted_is_a_data_set(ferfusion, folder: Path) -> None:
    for label in ("happy", "sad"):
        assert ferfusion("camera", "extract", "card", "--out", f"data/{label}").code == 0
    answer = ferfusion("inspect", "data", "--out", "seen")
    assert answer.code == 0, answer.err
    assert "sample happy/grid has no visible and no msx picture" in answer.said
    assert "temperature" not in answer.said
    assert "photo" not in answer.said


def test_a_palette_picture_with_a_range(ferfusion, folder: Path) -> None:
    words = ("camera", "extract", "card/screen.png", "--out", "out")
    answer = ferfusion(*words)
    assert answer.code == 2
    assert "--range LOW,HIGH" in answer.err
    assert not Path("out").exists()
    answer = ferfusion(*words, "--range", "20,36")
    assert answer.code == 0, answer.err
    assert np.abs(np.load("out/screen.temperature.npy") - TEMPERATURE_C).max() < 0.3
    assert "read off colours" in answer.out


def test_the_others_go_on_when_one_is_broken(ferfusion, folder: Path) -> None:
    (folder / "cut.jpg").write_bytes((folder / "FLIR0002.jpg").read_bytes()[:900])
    answer = ferfusion("camera", "extract", "card", "--out", "out")
    assert answer.code == 2
    assert "1 file gave nothing (3 others are written):" in answer.err
    assert "card/cut.jpg is damaged" in answer.err
    assert Path("out/grid.temperature.npy").exists()
    table = read_table(Path("out/extract.csv"))
    assert "damaged" in table["cut.jpg"]["problem"]
    assert table["grid.npy"]["problem"] == ""


def test_nothing_is_overwritten_unasked(ferfusion, folder: Path) -> None:
    words = ("camera", "extract", "card/grid.npy", "--out", "out")
    assert ferfusion(*words).code == 0
    written = Path("out/grid.temperature.npy").read_bytes()
    np.save(folder / "grid.npy", TEMPERATURE_C + 1)
    answer = ferfusion(*words)
    assert answer.code == 2
    assert "--overwrite" in answer.err
    assert Path("out/grid.temperature.npy").read_bytes() == written
    assert ferfusion(*words, "--overwrite").code == 0
    assert Path("out/grid.temperature.npy").read_bytes() != written


def test_the_table_keeps_the_lines_of_other_files(ferfusion, folder: Path) -> None:
    assert ferfusion("camera", "extract", "card", "--out", "out").code == 0
    before = read_table(Path("out/extract.csv"))
    np.save(folder / "grid.npy", TEMPERATURE_C + 1)
    again = ("camera", "extract", "card/grid.npy", "--out", "out", "--overwrite")
    assert ferfusion(*again).code == 0
    after = read_table(Path("out/extract.csv"))
    assert after.pop("grid.npy") != before.pop("grid.npy")
    assert after == before
    Path("out/extract.csv").write_text("mine\n1\n")
    answer = ferfusion(*again)
    assert answer.code == 2
    assert "no table of 'camera extract'" in answer.said
    assert Path("out/extract.csv").read_text() == "mine\n1\n"


def test_a_kill_leaves_no_half_files(
    ferfusion, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object, **options: object) -> None:
        args[0].write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(camera_extract.np, "save", stop)
    assert ferfusion("camera", "extract", "card", "--out", "out").code == 130
    assert list(Path("out").iterdir()) == []


def test_the_same_stem_twice(ferfusion, folder: Path) -> None:
    other = folder / "more"
    other.mkdir()
    for name in ("FLIR0002.npy", "more/FLIR0002.npy", "more/flir0001.npy"):
        np.save(folder / name, TEMPERATURE_C)
    answer = ferfusion("camera", "extract", "card", "--out", "out")
    assert answer.code == 0, answer.err
    stems = [row["stem"] for row in read_rows(Path("out/extract.csv"))]
    assert stems == [
        "FLIR0001-jpg", "FLIR0002-jpg", "card-FLIR0002", "grid", "more-FLIR0002", "flir0001-npy",
    ]  # fmt: skip
    for stem in stems:
        assert Path(f"out/{stem}.temperature.npy").exists()


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_stems_are_never_alike() -> None:
    files = [Path(p) for p in ("a/x.jpg", "b/x.jpg", "a-x.jpg", "x.jpg", "X.JPG", "x-jpg.npy")]
    stems = name_stems(files)
    assert len({stem.casefold() for stem in stems}) == len(files)
    assert all(os.sep not in stem for stem in stems)


def test_options_that_make_no_sense(ferfusion, folder: Path) -> None:
    for option, value, words in (
        ("--emissivity", "2", "emissivity must be from 0.01 to 1"),
        ("--scale", "milli", "There is no scale 'milli'"),
        ("--range", "36", "write LOW,HIGH"),
        ("--range", "36,20", "--range 36,20 must rise"),
        ("--span", "a,b", "--span a,b is not two temperatures"),
        ("--palette", "irn", "Did you mean 'iron'"),
        ("--picture-palette", "nofile.png", "no palette 'nofile.png'"),
        ("--picture-palette", "iron", "add --range LOW,HIGH"),
    ):
        answer = ferfusion("camera", "extract", "card", "--out", "out", option, value)
        assert answer.code == 2
        assert words in answer.said
    assert not Path("out").exists()


def test_an_output_folder_within_is_not_read_again(ferfusion, folder: Path) -> None:
    for _ in range(2):
        answer = ferfusion("camera", "extract", "card", "--out", "card/out", "--overwrite")
        assert answer.code == 0
    assert len(read_rows(Path("card/out/extract.csv"))) == 3


def test_real_files(ferfusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not REAL.exists():
        pytest.skip("shared/data/radiometric is not here")
    monkeypatch.chdir(tmp_path)
    answer = ferfusion("camera", "probe", REAL)
    assert answer.code == 0
    assert "counts of the sensor from 6743 to 7077, not temperatures" in answer.said
    answer = ferfusion("camera", "extract", REAL, "--out", "out")
    assert answer.code == 2
    assert "1 file gave nothing (2 others are written):" in answer.err
    assert "boson_counts_16bit.tiff" in answer.err
    table = read_table(Path("out/extract.csv"))
    for name, low, mean, high in (
        ("flir_example.jpg", 25.95, 29.119, 62.32),
        ("flir_ax8.jpg", 24.36, 25.031, 25.47),
    ):
        said = [float(table[name][column]) for column in ("min_c", "mean_c", "max_c")]
        assert said == pytest.approx([low, mean, high], abs=0.05)


def test_a_full_disk_is_one_sentence(
    ferfusion, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(camera_extract.np, "save", fill)
    answer = ferfusion("camera", "extract", "card", "--out", "out")
    assert answer.code == 2
    assert "can't be written (No space left on device): make room" in answer.said
    assert list(Path("out").iterdir()) == []


def test_a_file_that_may_not_be_read_is_listed(
    ferfusion, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.open

    def refuse(path: Path, *args: object, **options: object) -> object:
        if path.name == "FLIR0001.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", refuse)
    answer = ferfusion("camera", "probe", "card")
    assert answer.code == 2
    assert "card/FLIR0001.jpg may not be read by you" in answer.said
    assert "card/FLIR0002.jpg: FLIR radiometric" in answer.said
