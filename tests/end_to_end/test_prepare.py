"""From pictures as cameras leave them to a data set, as people type it."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ferfusion.cli.picture_commands import prepare
from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import draw_sample
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.weights import VARIABLE
from ferfusion.imaging.registration.motion import Motion
from ferfusion.preparation.alignment import read_pair
from ferfusion.preparation.recipe import Preparation
from ferfusion.sample import ImageFile

SIDE = 256
SHARED = Path(__file__).parents[3] / "shared" / "data"
MOTIONS = {"anna": Motion(1.04, 8.0, -5.0, 2.0), "bert": Motion(0.97, -6.0, 3.0, -1.0)}
WIDE = {
    "happy/0": Motion(1.4, 6.0, -4.0, 1.0),
    "happy/7": Motion(1.36, 3.0, 9.0, 0.0),
    "sad/5": Motion(1.47, -8.0, 3.0, -2.0),
}
Ferfusion = Callable[..., Any]


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch, detector_weights: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(detector_weights))


def test_the_command_and_the_library_have_the_same_defaults() -> None:
    shown = {option.name: option.default for option in prepare.params}
    usual = Preparation()
    assert shown["size"] == usual.size_px
    assert shown["margin"] == usual.margin
    assert shown["least_face"] == usual.least_face_px
    assert shown["least_quality"] == usual.least_quality
    assert (shown["align"], shown["msx"], shown["straighten"]) == (True, True, True)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two folders of two people; infrared is moved, each in its own way."""
    for who, (name, motion) in enumerate(MOTIONS.items(), 4):
        face = draw_sample(
            draw_identity(who), "happy", light="even", intensity=0.8, seed=who,
            size_px=SIDE, misalignment=0.0,
        )  # fmt: skip
        moved = cv2.warpAffine(
            face.infrared, motion.matrix(SIDE, SIDE), (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE
        )
        for folder, picture in (("vis", face.visible), ("ir", moved)):
            path = tmp_path / folder / f"{name}_{folder}.png"
            path.parent.mkdir(exist_ok=True)
            assert cv2.imwrite(str(path), picture[..., ::-1])
        np.save(tmp_path / f"{name}.npy", face.temperature_c)
    return tmp_path


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_two_folders_are_aligned(ferfusion: Ferfusion, pairs: Path) -> None:
    out = pairs / "aligned"
    done = ferfusion("align", pairs / "vis", pairs / "ir", "--out", out)
    rows = {row["sample_id"]: row for row in read_table(out / "alignment.csv")}
    columns = ["sample_id", "scale", "dx_px", "dy_px", "angle_deg", "quality", "passed"]
    assert list(rows["anna"]) == columns
    for name, motion in MOTIONS.items():
        row = rows[name]
        found = Motion(*(float(row[c]) for c in ("scale", "dx_px", "dy_px", "angle_deg")))
        assert found.distance_px(motion, SIDE, SIDE) < 3
        assert (out / f"{name}.infrared.png").exists()
    assert done.code == (0 if all(row["passed"] == "yes" for row in rows.values()) else 1)
    assert "of 2 pairs pass" in done.said
    assert (out / "sheet.png").exists()


def test_degrees_beside_pictures_are_aligned(ferfusion: Ferfusion, pairs: Path) -> None:
    for name in MOTIONS:
        shutil.copy(pairs / f"{name}.npy", pairs / "ir" / f"{name}_ir.npy")
    ferfusion("align", pairs / "vis", pairs / "ir", "--out", pairs / "aligned")
    for row in read_table(pairs / "aligned" / "alignment.csv"):
        # The pictures were moved, the degrees weren't.
        found = Motion(*(float(row[c]) for c in ("scale", "dx_px", "dy_px", "angle_deg")))
        assert found.distance_px(Motion(), SIDE, SIDE) < 3


def test_a_flat_folder_may_hold_grids(ferfusion: Ferfusion, pairs: Path) -> None:
    flat = pairs / "flat"
    flat.mkdir()
    for name in MOTIONS:
        shutil.copy(pairs / "vis" / f"{name}_vis.png", flat / f"{name}.png")
        shutil.copy(pairs / f"{name}.npy", flat)
    line = ("prepare", flat, "--out", pairs / "out", "--size", 64, "--workers", 1)
    done = ferfusion(*line, "--whole", "--no-align")
    assert done.code == 0, done.said
    assert "2 of 2 samples are kept, 2 of them in all three modalities" in done.said
    assert (pairs / "out/temperature/unlabelled/anna.npy").exists()


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Three people; infrared shows 1/1.4 of what visible does, somewhat turned and moved."""
    for name, motion in WIDE.items():
        label, who = name.split("/")
        face = draw_sample(
            draw_identity(int(who)), label, light="even", intensity=0.8, seed=int(who),
            size_px=SIDE, misalignment=0.0,
        )  # fmt: skip
        moved = cv2.warpAffine(face.infrared, motion.matrix(SIDE, SIDE), (SIDE, SIDE))
        for folder, picture in (("vis", face.visible), ("ir", moved)):
            (tmp_path / "data" / folder / label).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / "data" / folder / f"{name}.png"), picture[..., ::-1])
    return tmp_path / "data"


def read_motions(table: Path) -> dict[str, Motion]:
    columns = ("scale", "dx_px", "dy_px", "angle_deg")
    return {r["sample_id"]: Motion(*(float(r[c]) for c in columns)) for r in read_table(table)}


def test_infrared_that_shows_less_is_found(ferfusion: Ferfusion, wide: Path) -> None:
    out = wide.parent / "out"
    align = ("align", wide / "vis", wide / "ir", "--out", out, "--overwrite")
    prepare = ("prepare", wide, "--out", out / "data", "--size", 64, "--workers", 1, "--whole")

    def measure(table: Path) -> list[float]:
        found = read_motions(table)
        return [found[name].distance_px(motion, SIDE, SIDE) for name, motion in WIDE.items()]

    ferfusion(*align)
    assert min(measure(out / "alignment.csv")) > 5
    done = ferfusion(*align, "--infrared-covers", 0.7)
    assert "2 of 3 pairs pass" in done.said or "3 of 3 pairs pass" in done.said
    assert max(measure(out / "alignment.csv")) < 3
    done = ferfusion(*prepare, "--infrared-covers", 0.7, "--least-quality", 0)
    assert done.code == 0, done.said
    assert max(measure(out / "data" / "prepared.csv")) < 3


def test_where_the_camera_says_infrared_lies_counts(
    ferfusion: Ferfusion, tmp_path: Path, make_flir: Ferfusion
) -> None:
    face = draw_sample(
        draw_identity(7), "happy", light="even", intensity=0.8, seed=7, size_px=SIDE,
        misalignment=0.0,
    )  # fmt: skip
    motion = Motion(1.4, 6.0, -4.0)
    heat = cv2.warpAffine(face.temperature_c, motion.matrix(SIDE, SIDE), (SIDE, SIDE))
    counts = (9000 + heat * 100).astype(np.uint16)
    # A file that is off by some pixels, as cameras' are when the face is near.
    placement = (1.4, -2, 1)
    data = make_flir(counts, photo=face.visible, placement=placement)
    (tmp_path / "x.jpg").write_bytes(data)
    assert ferfusion("camera", "extract", tmp_path / "x.jpg", "--out", tmp_path / "e").code == 0
    photo = tmp_path / "e" / "x.photo.png"
    for visible in (photo, tmp_path / "x.jpg"):
        line = ("align", visible, tmp_path / "x.jpg", "--out", tmp_path / "out", "--overwrite")
        done = ferfusion(*line)
        (found,) = read_motions(tmp_path / "out" / "alignment.csv").values()
        assert found.distance_px(motion, SIDE, SIDE) < 3
        assert done.code == 0, done.said
    # Of another picture than its photo the file says nothing.
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), face.visible[:, ::-1, ::-1])
    shots = [
        read_pair(ImageFile(visible), ImageFile(tmp_path / "x.jpg"), Preparation())
        for visible in (photo, other)
    ]
    assert [shot.placement is None for shot in shots] == [False, True]
    # Where nothing can be seen, the file is believed, and that is said.
    blind = make_flir(counts, photo=np.full((SIDE, SIDE, 3), 90, np.uint8), placement=placement)
    (tmp_path / "x.jpg").write_bytes(blind)
    line = ("align", tmp_path / "x.jpg", tmp_path / "x.jpg", "--out", tmp_path / "out")
    done = ferfusion(*line, "--overwrite")
    assert done.code == 1
    assert "1 of these lie where the camera's file says" in done.said
    (found,) = read_motions(tmp_path / "out" / "alignment.csv").values()
    assert found == Motion(1.4, 2.8, -1.4)
    done = ferfusion("msx", tmp_path / "x.jpg", tmp_path / "x.jpg", "--out", tmp_path / "m.png")
    assert "infrared lies where the camera's file says" in done.said


def test_heat_alone_is_no_visible_picture(ferfusion: Ferfusion, pairs: Path) -> None:
    done = ferfusion(
        "msx", pairs / "anna.npy", pairs / "vis/anna_vis.png", "--out", pairs / "m.png"
    )
    assert done.code == 2
    assert "holds temperatures and no photo" in done.said


def test_an_alignment_is_not_written_over(ferfusion: Ferfusion, pairs: Path) -> None:
    line = ("align", pairs / "vis", pairs / "ir", "--out", pairs / "aligned")
    ferfusion(*line)
    again = ferfusion(*line)
    assert again.code == 2
    assert "is there already" in again.said
    assert ferfusion(*line, "--overwrite").code in (0, 1)


def test_an_affine_motion_has_its_columns(ferfusion: Ferfusion, pairs: Path) -> None:
    visible, infrared = pairs / "vis/anna_vis.png", pairs / "ir/anna_ir.png"
    ferfusion("align", visible, infrared, "--out", pairs / "one", "--motion", "affine")
    (row,) = read_table(pairs / "one" / "alignment.csv")
    assert float(row["aspect"]) == pytest.approx(1, abs=0.05)
    assert row["sample_id"] == "anna"


@pytest.mark.parametrize("problem", ["missing", "mixed", "no partner", "broken"])
def test_what_cannot_be_aligned_is_said(ferfusion: Ferfusion, pairs: Path, problem: str) -> None:
    visible, infrared = pairs / "vis", pairs / "ir"
    if problem == "missing":
        visible = pairs / "nowhere"
    elif problem == "mixed":
        infrared = pairs / "ir" / "anna_ir.png"
    else:
        for name in MOTIONS:
            path = infrared / f"{name}_ir.png"
            if problem == "broken":
                path.write_bytes(b"no picture")
            else:
                path.rename(infrared / f"other-{name}.png")
    done = ferfusion("align", visible, infrared, "--out", pairs / "out")
    assert done.code == 2
    assert "Error:" in done.said
    assert not (pairs / "out").exists()


def test_an_msx_style_picture_is_made(ferfusion: Ferfusion, pairs: Path) -> None:
    visible, infrared = pairs / "vis/anna_vis.png", pairs / "ir/anna_ir.png"
    out = pairs / "msx.png"
    assert ferfusion("msx", visible, infrared, "--out", out).code == 0
    assert cv2.imread(str(out)).shape == (SIDE, SIDE, 3)
    assert ferfusion("msx", visible, infrared, "--out", out).code == 2
    plain = pairs / "plain.png"
    assert ferfusion("msx", visible, infrared, "--out", plain, "--gain", 0, "--no-align").code == 0
    assert (cv2.imread(str(plain)) == cv2.imread(str(infrared))).all()


def test_msx_of_temperatures_takes_palette_and_span(ferfusion: Ferfusion, pairs: Path) -> None:
    line = ("msx", pairs / "vis/anna_vis.png", pairs / "anna.npy", "--no-align", "--gain", 0)
    ferfusion(*line, "--out", pairs / "a.png", "--palette", "white-hot", "--span", "20,40")
    ferfusion(*line, "--out", pairs / "b.png", "--palette", "black-hot", "--span", "20,40")
    first, second = (cv2.imread(str(pairs / name)).astype(int) for name in ("a.png", "b.png"))
    assert np.abs(first + second - 255).max() <= 1


def test_a_span_of_what_holds_no_degrees_is_said(ferfusion: Ferfusion, pairs: Path) -> None:
    visible, infrared = pairs / "vis/anna_vis.png", pairs / "flat" / "anna_ir.png"
    infrared.parent.mkdir()
    cv2.imwrite(str(infrared), np.random.default_rng(0).integers(0, 9999, (60, 80)).astype("u2"))
    line = ("msx", visible, infrared, "--out", pairs / "msx.png", "--no-align")
    assert "--span" not in ferfusion(*line).said
    assert "--span changes nothing" in ferfusion(*line, "--span", "20,40", "--overwrite").said
    shutil.copy(visible, infrared.parent)
    line = ("prepare", infrared.parent, "--out", pairs / "p", "--size", 64, "--whole", "--no-align")
    done = ferfusion(*line, "--workers", 1, "--span", "20,40")
    assert done.code == 0, done.said
    assert "1 of 1 infrared pictures hold no degrees, so --span changes nothing" in done.said
    assert "--span changes nothing" in (pairs / "p" / "prepared.html").read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--gain", -1), "--gain is -1"),
        (("--gain", "nan"), "--gain is nan"),
        (("--detail", 0), "--detail is 0 pixels"),
        (("--span", "40,20"), "--span 40,20 must rise"),
        (("--span", "warm"), "is not two temperatures"),
        (("--palette", "irn"), "Did you mean 'iron'"),
        (("--infrared-covers", 70), "--infrared-covers is 70"),
        (("--out", "x.gif"), "use .png or .jpg"),
    ],
)
def test_wrong_options_of_msx(
    ferfusion: Ferfusion, pairs: Path, options: tuple[object, ...], sentence: str
) -> None:
    done = ferfusion("msx", pairs / "vis/anna_vis.png", pairs / "ir/anna_ir.png", *options)
    assert done.code == 2
    assert sentence in done.said


def test_a_folder_is_prepared_and_read(ferfusion: Ferfusion, pairs: Path) -> None:
    data, out = pairs / "data", pairs / "prepared"
    for expression, name in (("happy", "anna"), ("sad", "bert")):
        for folder in ("vis", "ir"):
            goal = data / expression / folder / f"{name}.png"
            goal.parent.mkdir(parents=True)
            shutil.copy(pairs / folder / f"{name}_{folder}.png", goal)
    line = ("prepare", data, "--out", out, "--size", 64, "--workers", 1, "--least-quality", 0)
    done = ferfusion(*line)
    assert done.code == 0, done.said
    assert {path.name for path in pairs.iterdir() if path.name[0] == "."} == set()
    assert "2 of 2 samples are kept, 2 of them in all three modalities" in done.said
    dataset = open_dataset(out)
    assert [str(m) for m in dataset.modalities] == ["visible", "infrared", "msx"]
    assert not dataset.leftovers
    page = (out / "prepared.html").read_text()
    assert "This page holds your own pictures" in page
    assert page.count("data:image/jpeg") == 6
    assert "http" not in page.replace("http://www.w3.org", "")
    again = ferfusion(*line)
    assert again.code == 0
    assert "0 samples were prepared now; 2 are as they were the last time" in again.said
    other = ferfusion(*line[:-2], "--margin", 0.5)
    assert other.code == 2
    assert "was prepared in another way" in other.said


def test_who_is_who_may_be_said_later_and_corrected(ferfusion: Ferfusion, pairs: Path) -> None:
    data, out = pairs / "data", pairs / "prepared"
    (data / "happy" / "visible").mkdir(parents=True)
    for name in MOTIONS:
        shutil.copy(pairs / "vis" / f"{name}_vis.png", data / "happy" / "visible" / f"{name}.png")
    line = ("prepare", data, "--out", out, "--size", 64, "--workers", 1)

    def say_and_read(*lines: str) -> dict[str, str]:
        (data / "subjects.csv").write_text("\n".join(("sample_id,subject", *lines)) + "\n")
        done = ferfusion(*line)
        assert done.code == 0, done.said
        assert {row["sample_id"]: row["subject"] for row in read_table(out / "prepared.csv")}
        return {row["sample_id"]: row["subject"] for row in read_table(out / "subjects.csv")}

    assert ferfusion(*line).code == 0
    ids = [row["sample_id"] for row in read_table(out / "prepared.csv")]
    assert say_and_read(f"{ids[0]},s1", f"{ids[1]},s2") == {ids[0]: "s1", ids[1]: "s2"}
    assert say_and_read(f"{ids[0]},s1", f"{ids[1]},s1") == {ids[0]: "s1", ids[1]: "s1"}
    table = (out / "subjects.csv").read_text().replace(f"{ids[1]},s1", f"{ids[1]},by hand")
    (out / "subjects.csv").write_text(table)
    assert say_and_read(f"{ids[0]},s9", f"{ids[1]},s1") == {ids[0]: "s9", ids[1]: "by hand"}


def test_pictures_without_expressions_get_a_table_to_fill_in(
    ferfusion: Ferfusion, pairs: Path
) -> None:
    data = pairs / "flat"
    data.mkdir()
    for name in MOTIONS:
        shutil.copy(pairs / "vis" / f"{name}_vis.png", data)
    out = pairs / "prepared"
    done = ferfusion("prepare", data, "--out", out, "--size", 64, "--workers", 1)
    assert done.code == 0, done.said
    assert "fill in the column 'expression'" in done.said
    rows = read_table(out / "samples.csv")
    assert [row["sample_id"] for row in rows] == ["anna_vis", "bert_vis"]
    assert all((out / row["visible"]).exists() for row in rows)
    text = (out / "samples.csv").read_text()
    text = text.replace("anna_vis,,,", "anna_vis,,happy,").replace("bert_vis,,,", "bert_vis,,sad,")
    (out / "samples.csv").write_text(text)
    assert open_dataset(out / "samples.csv").class_counts == {"happy": 1, "sad": 1}
    again = ferfusion("prepare", data, "--out", out, "--size", 64, "--workers", 1)
    assert again.code == 0, again.said
    assert open_dataset(out / "samples.csv").class_counts == {"happy": 1, "sad": 1}


def test_nothing_usable_is_an_error(ferfusion: Ferfusion, tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = tmp_path / "data" / name / "1.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((90, 90, 3), 128, np.uint8))
    done = ferfusion("prepare", tmp_path / "data", "--out", tmp_path / "out", "--workers", 1)
    assert done.code == 2
    assert "no face was found" in done.said
    assert "--whole prepares pictures without looking for faces" in done.said
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--span", "40,20"), "must rise"),
        (("--emissivity", 3), "emissivity must be from 0.01 to 1"),
        (("--scale", "kilokelvin"), "There is no scale 'kilokelvin'"),
        (("--size", 3), "--size"),
        (("--margin", "nan"), "--margin must be a number"),
        (("--least-quality", 2), "--least-quality"),
    ],
)
def test_wrong_options_of_prepare(
    ferfusion: Ferfusion, pairs: Path, options: tuple[object, ...], sentence: str
) -> None:
    done = ferfusion("prepare", pairs / "vis", "--out", pairs / "out", *options)
    assert done.code == 2
    assert sentence in done.said
    assert not (pairs / "out").exists()


def test_camera_files_that_are_kept_out_are_called_infrared(
    ferfusion: Ferfusion, tmp_path: Path
) -> None:
    (tmp_path / "card").mkdir()
    counts = np.random.default_rng(0).integers(0, 9999, (60, 80)).astype("u2")
    cv2.imwrite(str(tmp_path / "card" / "x.png"), counts)
    face = draw_sample(
        draw_identity(4), "happy", light="even", intensity=0.8, seed=4, size_px=SIDE,
        misalignment=0.0,
    )  # fmt: skip
    cv2.imwrite(str(tmp_path / "card" / "face.png"), face.visible[..., ::-1])
    done = ferfusion("prepare", tmp_path / "card", "--out", tmp_path / "out", "--workers", 1)
    assert done.code == 0, done.said
    page = (tmp_path / "out" / "prepared.html").read_text()
    assert "<small>infrared</small>" in page.partition("Kept out")[2]


def test_real_camera_files_are_prepared(ferfusion: Ferfusion, tmp_path: Path) -> None:
    data = SHARED / "radiometric"
    if not data.is_dir():
        pytest.skip("needs ../shared/data/radiometric")
    pytest.importorskip("flyr")
    done = ferfusion("prepare", data, "--out", tmp_path / "out", "--whole", "--workers", 1)
    assert done.code == 0, done.said
    assert "2 of 3 samples are kept" in done.said
    assert "16-bit counts of a sensor" in done.said
    degrees = np.load(tmp_path / "out/temperature/unlabelled/flir_example.npy")
    assert np.nanmax(degrees) == pytest.approx(62.3, abs=0.8)
    picture = cv2.imread(str(tmp_path / "out/visible/unlabelled/flir_ax8.png"))
    assert (picture.max(axis=2) < 8).mean() < 0.05  # the black frame of its photo is filled
    found = ferfusion("prepare", data, "--out", tmp_path / "faces", "--workers", 1)
    assert found.code == 2, found.said  # a pipe on a wall is warm and round, and no face
    assert "No sample of" in found.said
