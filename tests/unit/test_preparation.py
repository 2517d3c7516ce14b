import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import draw_sample
from ferfusion.errors import DataError, ResultsError
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.detector import FaceDetector
from ferfusion.imaging.files import read_image
from ferfusion.imaging.palette import colourise
from ferfusion.imaging.registration.motion import Motion
from ferfusion.modality import Modality
from ferfusion.preparation.folder import RECORDS, Finished, Progress, prepare_folder
from ferfusion.preparation.recipe import Preparation, Record, read_records, write_records
from ferfusion.preparation.sample import prepare_sample
from ferfusion.preparation.tables import picture_path
from ferfusion.sample import ImageFile, Sample

SIDE = 256
MOTION = Motion(scale=1.05, dx_px=9, dy_px=-6, angle_deg=2)
PREPARATION = Preparation(size_px=64)
V, IR, MSX = Modality.VISIBLE, Modality.INFRARED, Modality.MSX


def write(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[..., ::-1])
    return path


@pytest.fixture(scope="session")
def camera_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces as two cameras see them: infrared moved, no MSX; one picture without a face."""
    root = tmp_path_factory.mktemp("camera")
    for who, expression in ((1, "happy"), (4, "sad")):
        face = draw_sample(
            draw_identity(who), expression, light="even", intensity=0.8, seed=who,
            size_px=SIDE, misalignment=0.0,
        )  # fmt: skip
        moved = cv2.warpAffine(
            face.infrared, MOTION.matrix(SIDE, SIDE), (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE
        )
        write(root / expression / f"S{who}_vis.png", face.visible)
        write(root / expression / f"S{who}_ir.png", moved)
    write(root / "sad" / "S20_vis.png", np.full((SIDE, SIDE, 3), 127, np.uint8))
    return root


@pytest.fixture
def folder(camera_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(camera_folder, tmp_path / "camera"))


@pytest.fixture
def prepare(folder: Path, tmp_path: Path, detector_weights: Path) -> Callable[..., list[Record]]:
    def run(**changes: object) -> list[Record]:
        samples = open_dataset(folder, subject_pattern=r"/(S\d+)").samples
        values = {"workers": 1, "preparation": PREPARATION, **changes}
        return prepare_folder(samples, weights=detector_weights, out=tmp_path / "out", **values)

    return run


def test_a_data_set_comes_out_that_is_read_as_it_was_meant(
    prepare: Callable[..., list[Record]], tmp_path: Path
) -> None:
    records = prepare()
    kept = [record for record in records if record.kept]
    assert len(kept) == 2
    (left,) = [record for record in records if not record.kept]
    assert left.sample_id == "sad/s20"
    assert left.reason == "no face was found"
    dataset = open_dataset(tmp_path / "out")
    assert dataset.class_counts == {"happy": 1, "sad": 1}
    assert dataset.subjects == ("S1", "S4")
    assert dataset.modalities == (V, IR, MSX)
    assert not dataset.leftovers
    for sample in dataset.samples:
        assert {read_image(file).shape for file in sample.images.values()} == {(64, 64, 3)}


def test_the_motion_is_found_and_undone(
    prepare: Callable[..., list[Record]], tmp_path: Path
) -> None:
    for record in prepare():
        if record.kept:
            found = Motion(record.scale, record.dx_px, record.dy_px, record.angle_deg)
            assert found.distance_px(MOTION, SIDE, SIDE) < 2.5
            assert record.made_msx


def test_workers_change_nothing(prepare: Callable[..., list[Record]], tmp_path: Path) -> None:
    alone = prepare()
    pictures = {p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*.png")}
    shutil.rmtree(tmp_path / "out")
    assert prepare(workers=2) == alone
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*.png")} == pictures


def test_run_again_only_what_is_new_is_done(
    prepare: Callable[..., list[Record]], folder: Path, tmp_path: Path
) -> None:
    first = prepare()
    steps: list[Progress] = []
    assert prepare(advance=steps.append) == first
    assert steps == []
    shutil.copy(folder / "happy" / "S1_vis.png", folder / "happy" / "S30_vis.png")
    shutil.copy(folder / "sad" / "S4_vis.png", folder / "happy" / "S1_vis.png")
    (folder / "sad" / "S4_vis.png").unlink()
    (folder / "sad" / "S4_ir.png").unlink()
    records = prepare(advance=steps.append)
    assert [step.record.sample_id for step in steps] == ["happy/s1", "happy/s30"]
    assert not any(record.sample_id == "sad/s4" for record in records)
    assert not list((tmp_path / "out").rglob("s4.png"))
    pictures = list((tmp_path / "out" / "visible").rglob("*.png"))
    assert len(pictures) == sum(record.kept for record in records)


def test_what_was_done_before_a_stop_is_not_lost(
    prepare: Callable[..., list[Record]], tmp_path: Path
) -> None:
    def stop(step: Progress) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(advance=stop)
    assert not (tmp_path / "out").exists()
    steps: list[Progress] = []
    records = prepare(advance=steps.append)
    assert len(steps) == len(records) - 2
    shutil.rmtree(tmp_path / "out")
    assert prepare() == records


def test_the_old_data_set_stays_until_the_new_one_is_whole(
    prepare: Callable[..., list[Record]], folder: Path, tmp_path: Path
) -> None:
    prepare()
    before = sorted(p.name for p in (tmp_path / "out").rglob("*"))

    def fail(_: Finished) -> None:
        raise RuntimeError("the page can't be drawn")

    shutil.copy(folder / "happy" / "S1_vis.png", folder / "happy" / "S31_vis.png")
    with pytest.raises(RuntimeError):
        prepare(finish=fail)
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == before


def test_another_way_of_preparing_needs_a_word(
    prepare: Callable[..., list[Record]], tmp_path: Path
) -> None:
    prepare()
    other = replace(PREPARATION, size_px=48)
    with pytest.raises(ResultsError, match="size_px 64, now 48"):
        prepare(preparation=other)
    prepare(preparation=other, overwrites=True)
    assert read_image(ImageFile(tmp_path / "out/visible/happy/s1.png")).shape == (48, 48, 3)


def test_a_folder_of_somebody_else_is_left_alone(
    prepare: Callable[..., list[Record]], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    prepare()
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("all of it")
    with pytest.raises(ResultsError, match="was not made by 'ferfusion prepare'"):
        prepare()
    assert (tmp_path / "out" / "thesis.txt").read_text() == "all of it"


def test_a_torn_journal_is_no_trap(prepare: Callable[..., list[Record]], tmp_path: Path) -> None:
    def stop(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(advance=stop)
    journal = tmp_path / ".out.preparing" / RECORDS
    journal.write_text(journal.read_text()[:-30])
    assert sum(record.kept for record in prepare()) == 2


def test_broken_pictures_are_listed_and_the_rest_goes_on(
    prepare: Callable[..., list[Record]], folder: Path
) -> None:
    (folder / "happy" / "S1_ir.png").write_bytes(b"no picture")
    records = {record.sample_id: record for record in prepare()}
    assert not records["happy/s1"].kept
    assert "S1_ir.png" in records["happy/s1"].reason
    assert records["sad/s4"].kept


def test_strangers_are_kept_out(camera_folder: Path, detector: FaceDetector) -> None:
    images = {
        V: ImageFile(camera_folder / "happy/S1_vis.png"),
        IR: ImageFile(camera_folder / "sad/S4_ir.png"),
    }
    sample = Sample("x", "happy", None, images)
    out = prepare_sample(sample, PREPARATION, detector).record
    assert not out.kept
    assert out.reason == "infrared can't be laid on the visible picture with certainty"
    trusting = replace(PREPARATION, aligns=False)
    assert prepare_sample(sample, trusting, detector).record.kept


def test_whole_pictures_need_no_face(camera_folder: Path) -> None:
    sample = Sample("x", "sad", None, {V: ImageFile(camera_folder / "sad/S20_vis.png")})
    out = prepare_sample(sample, replace(PREPARATION, finds_faces=False), None)
    assert out.record.kept
    assert out.pictures[V].shape == (64, 64, 3)


def test_degrees_come_along(camera_folder: Path, tmp_path: Path, detector: FaceDetector) -> None:
    face = draw_sample(
        draw_identity(4), "sad", light="even", intensity=0.8, seed=4, size_px=SIDE, misalignment=0
    )
    heat = write(tmp_path / "x_vis.png", face.visible).with_name("x_ir.npy")
    np.save(heat, face.temperature_c)
    images = {V: ImageFile(tmp_path / "x_vis.png"), IR: ImageFile(heat)}
    sample = Sample("sad/x", "sad", None, images)
    out = prepare_sample(sample, replace(PREPARATION, span_c=(20.0, 40.0)), detector)
    assert out.record.has_temperatures
    assert out.temperature_c is not None
    middle = out.temperature_c[16:48, 16:48]
    assert 33 < np.median(middle) < 36
    # The same window for every picture: the same colour is the same temperature.
    shown = colourise(np.clip(middle, 20, 40), 20.0, 40.0)
    assert (out.pictures[IR][16:48, 16:48] == shown).all()


def test_beyond_the_edge_all_repeat_it_and_there_are_no_degrees(
    camera_folder: Path, tmp_path: Path
) -> None:
    face = draw_sample(
        draw_identity(4), "sad", light="even", intensity=0.8, seed=4, size_px=SIDE, misalignment=0
    )
    heat = write(tmp_path / "x_vis.png", face.visible[:200]).with_name("x_ir.npy")
    np.save(heat, face.temperature_c[:200])
    images = {V: ImageFile(tmp_path / "x_vis.png"), IR: ImageFile(heat)}
    way = replace(PREPARATION, finds_faces=False, aligns=False)
    out = prepare_sample(Sample("sad/x", "sad", None, images), way, None)
    assert out.temperature_c is not None
    above = np.flatnonzero(np.isnan(out.temperature_c).any(axis=1))
    assert out.record.beyond_edge == pytest.approx(len(above) / 64, abs=0.01)
    assert out.record.beyond_edge == pytest.approx(56 / 256, abs=0.02)
    for modality in (V, IR):
        picture = out.pictures[modality].astype(int)
        top = picture[: above[above < 32].max() + 1]
        assert np.abs(top - top[-1]).max() <= 2
        assert np.abs(top[-1] - picture[len(top)]).mean() < 12


def test_infrared_alone_is_cut_to_its_own_face(camera_folder: Path, detector: FaceDetector) -> None:
    sample = Sample("x", "sad", None, {IR: ImageFile(camera_folder / "sad/S4_ir.png")})
    out = prepare_sample(sample, PREPARATION, detector)
    assert out.record.kept
    assert out.record.face_in in ("infrared", "warmth")
    assert out.record.modalities == "infrared"


def test_records_come_back_from_their_file(tmp_path: Path) -> None:
    records = [
        Record("a/1", "a", "S1", kept=True, quality=0.5, face_in="visible", made_msx=True),
        Record("a/2", "", "", kept=False, reason='no "face", none\nat all'),
    ]
    (tmp_path / "records.csv").write_text(write_records(records))
    assert read_records(tmp_path / "records.csv") == records
    (tmp_path / "records.csv").write_text("sample_id,kept\nx,perhaps\n")
    with pytest.raises(DataError, match=r"records\.csv: a line of prepared\.csv can't be read"):
        read_records(tmp_path / "records.csv")


def test_pictures_lie_by_modality_and_class() -> None:
    record = Record("happy/s1/003", "happy", "", kept=True)
    assert picture_path(record, IR) == Path("infrared/happy/s1/003.png")
    assert picture_path(Record("sad/3", "sad", "", kept=True), V) == Path("visible/sad/3.png")


def test_settings_are_written_beside(prepare: Callable[..., list[Record]], tmp_path: Path) -> None:
    prepare()
    kept = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert {**kept, "data": ""} == {"data": "", **PREPARATION.to_json()}


def test_a_folder_is_made_of_one_source(
    prepare: Callable[..., list[Record]], folder: Path, tmp_path: Path
) -> None:
    prepare(source=folder)
    with pytest.raises(ResultsError, match="prepared in another way"):
        prepare(source=tmp_path)
    prepare(source=folder)


def test_what_somebody_put_there_is_not_lost(
    prepare: Callable[..., list[Record]], tmp_path: Path
) -> None:
    prepare()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ResultsError, match=r"notes\.txt"):
        prepare(overwrites=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_subjects_named_by_hand_stay(folder: Path, tmp_path: Path, detector_weights: Path) -> None:
    samples = open_dataset(folder).samples

    def run() -> None:
        prepare_folder(samples, PREPARATION, detector_weights, tmp_path / "out", workers=1)

    run()
    table = tmp_path / "out" / "subjects.csv"
    table.write_text(table.read_text() + "happy/s1,Anna\n")
    run()
    assert "happy/s1,Anna" in table.read_text()


def test_samples_that_are_gone_are_counted(
    prepare: Callable[..., list[Record]], folder: Path
) -> None:
    gone: list[int] = []
    prepare(finish=lambda finished: gone.append(finished.gone))
    for name in ("S4_vis.png", "S4_ir.png"):
        (folder / "sad" / name).unlink()
    prepare(finish=lambda finished: gone.append(finished.gone))
    assert gone == [0, 1]


def test_a_face_that_is_too_small_is_not_looked_for_elsewhere(
    camera_folder: Path, detector: FaceDetector
) -> None:
    images = {
        V: ImageFile(camera_folder / "sad/S4_vis.png"),
        IR: ImageFile(camera_folder / "sad/S4_ir.png"),
    }
    sample = Sample("x", "sad", None, images)
    picky = replace(PREPARATION, least_face_px=1000, least_quality=0.0)
    out = prepare_sample(sample, picky, detector).record
    assert not out.kept
    assert "too small" in out.reason


def test_a_hot_mug_is_no_face(tmp_path: Path, detector: FaceDetector) -> None:
    y, x = np.mgrid[:200, :160]
    mug = ((x - 80) / 40) ** 2 + ((y - 100) / 55) ** 2 < 1
    for degrees, is_kept in ((62.0, False), (34.0, True)):
        heat = np.where(mug, degrees, 21.0).astype(np.float32)
        np.save(tmp_path / "mug.npy", heat)
        sample = Sample("x", "sad", None, {IR: ImageFile(tmp_path / "mug.npy")})
        assert prepare_sample(sample, PREPARATION, detector).record.kept == is_kept
