import csv
import json
import subprocess
import sys
from collections import Counter

import cv2
import numpy as np
import pytest

from ferfusion.data.synthetic import draw_sample, write_synthetic_dataset
from ferfusion.errors import ConfigError, ResultsError
from ferfusion.expression import VIRI
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.palette import colourise

SMALL = {"subjects": 3, "per_expression": 2, "size_px": 48, "seed": 5}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_synthetic_dataset(tmp_path_factory.mktemp("drawn") / "faces", **SMALL)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def drawn(seed=3, light="even", expression="happy", size_px=64):
    return draw_sample(
        draw_identity(1), expression, light=light, intensity=0.9, seed=seed, size_px=size_px
    )


def test_a_sample_has_all_modalities_in_one_size():
    sample = drawn(size_px=80)
    for picture in (sample.visible, sample.infrared, sample.msx):
        assert picture.shape == (80, 80, 3)
        assert picture.dtype == np.uint8
    assert sample.temperature_c.shape == (80, 80)
    assert sample.temperature_c.dtype == np.float32


def test_the_same_seed_draws_the_same_picture():
    first, again, other = drawn(), drawn(), drawn(seed=4)
    assert (first.visible == again.visible).all()
    assert (first.temperature_c == again.temperature_c).all()
    assert (first.visible != other.visible).any()


def test_global_random_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    drawn()
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_the_thermal_camera_sees_no_light_and_the_visible_one_does():
    even, dim = drawn(light="even"), drawn(light="dim")
    assert dim.visible.mean() < 0.4 * even.visible.mean()
    # The face is the same; only the draws of the scene and the noise that come later differ.
    assert abs(dim.temperature_c.max() - even.temperature_c.max()) < 1.5


def test_infrared_is_the_temperature_in_iron_colours():
    sample = drawn()
    shades = {tuple(c) for c in colourise(np.linspace(0, 1, 256, dtype=np.float32)[None], 0, 1)[0]}
    assert {tuple(c) for c in sample.infrared.reshape(-1, 3)} <= shades


def test_msx_carries_visible_detail_over_infrared():
    sample = drawn()
    difference = sample.msx.astype(int) - sample.infrared
    assert np.abs(difference).max() > 15
    assert abs(difference.mean()) < 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [({"light": "sunny"}, "There is no light 'sunny'"), ({"expression": "bored"}, "'bored'")],
)
def test_unknown_names_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        drawn(**change)


def test_the_folders_are_viri_s_and_names_pair_across_modalities(written):
    for name in ("Angry", "Happy", "Neutral", "Sad", "Surprise"):
        stems = [
            sorted(p.name for p in (written / f"VIRI-{name}-{kind}").iterdir())
            for kind in ("Vis", "Ir", "MSX")
        ]
        assert stems[0] == stems[1] == stems[2]
        assert len(stems[0]) == 6
        picture = cv2.imread(str(written / f"VIRI-{name}-Vis" / stems[0][0]))
        assert picture is not None
        assert picture.shape == (48, 48, 3)


def test_files_hold_what_was_drawn(written):
    """Red and blue are not swapped: skin is redder than it is blue, and so is warmth."""
    for kind in ("Vis", "Ir"):
        faces = []
        for p in (written / f"VIRI-Happy-{kind}").iterdir():
            picture = cv2.imread(str(p))
            assert picture is not None
            faces.append(picture[20:32, 20:28].reshape(-1, 3).mean(axis=0))
        blue, _, red = np.mean(faces, axis=0)
        assert red > blue


def test_every_subject_shows_every_expression_equally(written):
    with (written / "subjects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["stem", "subject", "expression", "visible_light"]
    shown = Counter((r["subject"], r["expression"]) for r in rows)
    assert set(shown.values()) == {2}
    assert len(shown) == 3 * len(VIRI)
    assert len({r["stem"] for r in rows}) == len(rows)
    on_disk = {p.stem for p in written.glob("VIRI-*-Vis/*.png")}
    assert {r["stem"] for r in rows} == on_disk


def test_the_same_parameters_give_the_same_bytes(written, tmp_path):
    again = write_synthetic_dataset(tmp_path / "again", **SMALL)
    assert contents(again) == contents(written)


def test_a_complete_folder_is_returned_untouched(written):
    before = {p: p.stat().st_mtime_ns for p in written.rglob("*")}
    calls = []
    assert write_synthetic_dataset(written, **SMALL, progress=lambda *c: calls.append(c)) == written
    assert {p: p.stat().st_mtime_ns for p in written.rglob("*")} == before
    assert calls == []


def test_other_parameters_are_refused(written):
    with pytest.raises(ResultsError, match=r"made with .*'subjects': 3"):
        write_synthetic_dataset(written, **{**SMALL, "subjects": 4})


def test_anything_else_in_the_way_is_refused_and_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ResultsError, match="something else"):
        write_synthetic_dataset(tmp_path, **SMALL)
    with pytest.raises(ResultsError, match="something else"):
        write_synthetic_dataset(tmp_path / "notes.txt", **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_damaged_folder_is_refused(tmp_path):
    one = {"subjects": 1, "size_px": 32}
    folder = write_synthetic_dataset(tmp_path / "faces", **one)
    next(folder.glob("VIRI-Sad-Ir/*")).unlink()
    with pytest.raises(ResultsError, match="added or missing"):
        write_synthetic_dataset(folder, **one)
    (folder / "synthetic.json").write_text("{")
    with pytest.raises(ResultsError, match="something else"):
        write_synthetic_dataset(folder, **one)


def test_an_empty_folder_is_filled_and_progress_counts_up(tmp_path):
    (tmp_path / "faces").mkdir()
    calls = []
    folder = write_synthetic_dataset(
        tmp_path / "faces", subjects=2, size_px=32, progress=lambda *c: calls.append(c)
    )
    assert calls == [(k, 10) for k in range(1, 11)]
    assert json.loads((folder / "synthetic.json").read_text())["subjects"] == 2


def test_a_broken_off_run_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic_dataset(tmp_path / "faces", subjects=1, size_px=32, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"subjects": 0}, {"per_expression": 0}, {"size_px": 8}])
def test_numbers_that_are_too_small_are_refused(tmp_path, change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        write_synthetic_dataset(tmp_path / "faces", **change)


def test_drawing_does_not_load_torch():
    code = "import sys, ferfusion.data.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
