"""`ferfusion predict` as people use it: pictures, folders, tables, data sets, videos, cameras."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ferfusion.data.synthetic import draw_sample
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.weights import VARIABLE
from ferfusion.imaging.video import read_frames

pytest.importorskip("onnxruntime")
Ferfusion = Callable[..., Any]
IN_PLACE = "x,1,0,0,0,1,yes"
"""A line of alignment.csv: infrared lies on visible as it is."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, make_bundle: Callable[..., Path]) -> Path:
    """A folder of models that say how light their pictures are."""
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(folder / "both.zip", "visible", "infrared", least_confidence=0.6)
    make_bundle(folder / "one.zip", "visible")
    make_bundle(folder / "heat.zip", "infrared")
    make_bundle(folder / "msx.zip", "msx")
    return folder


@pytest.fixture
def here(tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the models in it."""
    monkeypatch.chdir(tmp_path)
    for model in bundles.glob("*.zip"):
        Path(model.name).symlink_to(model)
    return tmp_path


@pytest.fixture
def with_detector(detector_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(detector_weights))


def save(name: str, level: int | np.ndarray) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.full((20, 20, 3), level, np.uint8) if isinstance(level, int) else level
    Image.fromarray(grey).save(path)
    return name


def read_csv(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="") as file:
        return list(csv.DictReader(file))


def read_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# --- pictures


def test_one_face_is_a_table_for_people_and_a_line_for_programs(
    ferfusion: Ferfusion, here: Path
) -> None:
    given = ("both.zip", "--visible", save("v.png", 255), "--infrared", save("i.png", 153))
    done = ferfusion("predict", *given)
    assert done.code == 0, done.said
    (line,) = read_lines(done.out)
    assert line["label"] == "light"
    assert line["confidence"] == pytest.approx(0.8, abs=1e-3)
    assert line["abstained"] is False
    shown = ferfusion("predict", *given, "--format", "table")
    assert "dark" in shown.out
    assert "0.800" in shown.out
    unsure = ferfusion("predict", *given, "--format", "table", "--least-confidence", 0.9)
    assert "It would rather not say: light is likeliest" in unsure.said
    (line,) = read_lines(ferfusion("predict", *given, "--least-confidence", 0.9).out)
    assert line["abstained"] is True


def test_folders_are_paired_by_name_and_what_is_left_over_is_listed(
    ferfusion: Ferfusion, here: Path
) -> None:
    for name in ("a", "b", "lonely"):
        save(f"vis/{name}_vis.png", 250)
    for name in ("a", "b", "other"):
        save(f"ir/{name}_IR.jpg", 20)
    save("ir/b_IR.jpg", 250)
    Path("vis/c_vis.png").write_bytes(b"no picture")
    save("ir/c_IR.jpg", 9)
    line = ("both.zip", "--visible", "vis", "--infrared", "ir", "--out", "answers.csv")
    done = ferfusion("predict", *line)
    assert done.code == 0, done.said
    rows = {row["sample_id"]: row for row in read_csv("answers.csv")}
    assert list(rows) == ["a", "b", "c"]
    assert (rows["a"]["label"], rows["a"]["abstained"]) == ("light", "yes")
    assert (rows["b"]["label"], rows["b"]["abstained"]) == ("light", "no")
    assert "c_vis.png is not a picture" in rows["c"]["reason"]
    assert "Left over: 2" in done.said
    assert "lonely_vis.png has no partner" in done.said
    assert "2 of 3 samples have an answer" in done.said
    again = ferfusion("predict", *line)
    assert again.code == 2
    assert "answers.csv is there already" in again.said
    assert ferfusion("predict", *line, "--overwrite").code == 0


def test_a_table_needs_neither_names_nor_expressions(ferfusion: Ferfusion, here: Path) -> None:
    save("data/v.png", 250), save("data/i.png", 250)
    rows = "v.png,i.png", "v.png,", "v.png,gone.png", ",i.png", "v.png,i.png"
    Path("data/t.csv").write_text("\n".join(("visible,infrared", *rows)))
    done = ferfusion("predict", "both.zip", "data/t.csv")
    assert done.code == 0, done.said
    first, second, third, fourth, fifth = read_lines(done.out)
    assert (first["sample_id"], first["label"]) == ("row 2", "light")
    assert second["reason"] == "there is no infrared picture"
    assert "data/gone.png does not exist" in third["reason"]
    assert fourth["reason"] == "there is no visible picture"
    assert fifth["label"] == "light"
    assert "right" not in first


def test_a_table_without_a_column_that_all_rows_need_is_a_mistake(
    ferfusion: Ferfusion, here: Path, with_detector: None
) -> None:
    save("v.png", 250), save("faces/dark/visible/1.png", 5), save("faces/light/visible/1.png", 250)
    Path("t.csv").write_text("visible\nv.png\nv.png\n")
    for given in (("t.csv",), ("faces",), ("t.csv", "--find-face")):
        done = ferfusion("predict", "both.zip", *given, "--out", "a.csv")
        assert done.code == 2
        assert f"no sample of {given[0]} names its infrared picture" in done.said
        assert not Path("a.csv").exists()


def test_of_a_data_set_it_says_what_is_right(ferfusion: Ferfusion, here: Path) -> None:
    for expression, level in (("dark", 5), ("light", 250), ("happy", 200)):
        for name in ("1", "2"):
            save(f"faces/{expression}/visible/{name}.png", level)
    save("faces/light/visible/2.png", 30)
    done = ferfusion("predict", "one.zip", "faces", "--out", "a.csv")
    assert done.code == 0, done.said
    rows = {row["sample_id"]: row for row in read_csv("a.csv")}
    assert [rows[f"light/{n}"]["right"] for n in (1, 2)] == ["yes", "no"]
    assert rows["dark/1"]["expression"] == "dark"
    assert "Right: 3 of 4 whose expression is known" in done.said
    assert "2 show what the model never learned: happy" in done.said
    shown = ferfusion("predict", "one.zip", "faces", "--format", "table")
    assert "dark/1" in shown.out


def test_pictures_nobody_sorted_are_asked_about_too(ferfusion: Ferfusion, here: Path) -> None:
    save("pile/1.png", 250), save("pile/2.png", 3)
    done = ferfusion("predict", "one.zip", "pile")
    assert [line["label"] for line in read_lines(done.out)] == ["light", "dark"]
    assert [line["sample_id"] for line in read_lines(done.out)] == ["1", "2"]
    assert "Nothing is said about what is right" in done.said


def test_msx_is_made_and_said_once(ferfusion: Ferfusion, here: Path) -> None:
    for name in ("1", "2"):
        save(f"v/{name}.png", 100), save(f"i/{name}.png", 240)
    done = ferfusion("predict", "msx.zip", "--visible", "v", "--infrared", "i")
    assert done.code == 0, done.said
    assert done.said.count("MSX-style pictures are made") == 1
    for line in read_lines(done.out):
        assert line["probabilities"]["light"] == pytest.approx(240 / 255, abs=0.01)


def test_a_face_is_cut_as_prepare_cuts_it(
    ferfusion: Ferfusion, here: Path, with_detector: None
) -> None:
    drawn = draw_sample(
        draw_identity(4), "happy", light="even", intensity=0.8, seed=4, size_px=320,
        misalignment=0.0,
    ).visible  # fmt: skip
    scene = np.full((480, 640, 3), 90, np.uint8)
    scene[80:400, 200:520] = drawn
    save("pile/scene.png", scene)
    assert ferfusion("prepare", "pile", "--out", "cut", "--workers", 1).code == 0
    (cut,) = Path("cut").glob("visible/*/*.png")
    wanted = read_lines(ferfusion("predict", "one.zip", "--visible", cut).out)
    for options in ((), ("--like", "cut")):
        found = ferfusion("predict", "one.zip", "pile/scene.png", "--find-face", *options)
        assert found.code == 0, found.said
        (line,) = read_lines(found.out)
        assert line["probabilities"] == pytest.approx(wanted[0]["probabilities"], abs=1e-6)
    nobody = ferfusion("predict", "one.zip", save("wall.png", 90), "--find-face")
    assert nobody.code == 1
    assert "wall.png: no face was found. Give a picture with one face" in nobody.err
    (line,) = read_lines(nobody.out)
    assert "no face was found" in line["reason"]


def test_a_single_broken_picture_is_no_answer(ferfusion: Ferfusion, here: Path) -> None:
    Path("broken.png").write_bytes(b"no picture")
    for options in ((), ("--format", "table"), ("--out", "a.csv")):
        done = ferfusion("predict", "one.zip", "broken.png", *options)
        assert done.code == 1, done.said
        assert "No answer: broken.png is not a picture" in done.err
    (row,) = read_csv("a.csv")
    assert "broken.png is not a picture" in row["reason"]


def test_its_help_can_be_read(ferfusion: Ferfusion) -> None:
    said = ferfusion("predict", "--help").out
    assert "\n  Two videos:    predict MODEL --visible a.mp4" in said
    assert "\\b" not in said
    assert "0 if anything was answered, 1 if nothing was, and 2" in " ".join(said.split())


# --- videos


def draw_frames(modality: str, n: int, rate_hz: float) -> Iterator[np.ndarray]:
    """Gives a drawn face that moves a little, 320 x 240."""
    drawn = draw_sample(
        draw_identity(1), "happy", light="even", intensity=0.8, seed=1, size_px=200,
        misalignment=0.0,
    )  # fmt: skip
    for number in range(n):
        move = np.array([[1, 0, 60 + 15 * np.sin(2 * number / rate_hz)], [0, 1, 25.0]])
        yield cv2.warpAffine(
            getattr(drawn, modality), move, (320, 240), borderMode=cv2.BORDER_REPLICATE
        )


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path]) -> Path:
    """Two seconds of a face: visible at 10 frames a second; infrared with a gap."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "v.mp4", draw_frames("visible", 20, 10))
    kept = [n for n in range(20) if n not in (4, 10, 11, 12, 13)]
    infrared = list(draw_frames("infrared", 20, 10))
    write_video(folder / "i.mp4", [infrared[n] for n in kept], times_s=[n / 10 for n in kept])
    return folder


def test_two_videos_are_matched_by_time(
    ferfusion: Ferfusion, here: Path, videos: Path, with_detector: None
) -> None:
    done = ferfusion(
        *("predict", "both.zip", "--visible", videos / "v.mp4", "--infrared", videos / "i.mp4"),
        *("--motion", IN_PLACE, "--out", "a.csv", "--video-out", "seen.mp4"),
    )
    assert done.code == 0, done.said
    rows = read_csv("a.csv")
    assert [int(row["frame"]) for row in rows] == list(range(20))
    assert [float(row["time_s"]) for row in rows] == pytest.approx([n / 10 for n in range(20)])
    silent = [int(row["frame"]) for row in rows if row["reason"]]
    assert silent == [11, 12]
    assert rows[11]["reason"] == "no infrared frame is near in time"
    assert "18 of 20 frames have an answer" in done.said
    # One frame of the infrared video, whose rate is that of the frames it has.
    assert "18 of 20 visible frames have a partner within 0.147 s, 2 have none" in done.said
    assert "frames a second" in done.said
    assert "smoothed over 0.3 s" in done.said
    answered = [row for row in rows if not row["reason"]]
    light = np.array([float(row["light"]) for row in answered])
    raw = np.array([float(row["raw_light"]) for row in answered])
    assert light[0] == raw[0]
    assert np.abs(np.diff(light)).sum() < np.abs(np.diff(raw)).sum()
    shown = list(read_frames(Path("seen.mp4")))
    assert len(shown) == 20
    plain = next(iter(read_frames(videos / "v.mp4"))).picture
    changed = np.abs(shown[0].picture.astype(int) - plain).max(axis=2) > 60
    assert changed[180:235, 240:315].mean() > 0.3  # the infrared picture, small
    assert not changed[:20, :40].any()


def test_as_it_is_and_without_smoothing(ferfusion: Ferfusion, here: Path, videos: Path) -> None:
    line = ("one.zip", videos / "v.mp4", "--as-is", "--smooth", 0, "--seconds", 1)
    done = ferfusion("predict", *line)
    assert done.code == 0, done.said
    lines = read_lines(done.out)
    assert len(lines) == 10
    assert "raw_probabilities" not in lines[0]
    means = [f.picture.mean() / 255 for f in read_frames(videos / "v.mp4")][:10]
    found = [line["probabilities"]["light"] for line in lines]
    assert found == pytest.approx(means, abs=0.01)
    assert "smoothed" not in done.said
    assert "says that it has" not in done.said
    assert "10 of 10 frames" in done.said


def test_msx_of_two_videos(ferfusion: Ferfusion, here: Path, videos: Path) -> None:
    line = ("--visible", videos / "v.mp4", "--infrared", videos / "v.mp4", "--as-is")
    done = ferfusion("predict", "msx.zip", *line, "--seconds", 0.5)
    assert len(read_lines(done.out)) == 5
    assert "5 of 5 visible frames" in done.said
    assert "the same source is given for visible and infrared" in done.said
    assert done.said.count("MSX-style pictures are made") == 1


def test_frames_without_a_face_have_no_answer(
    ferfusion: Ferfusion, here: Path, with_detector: None, write_video: Callable[..., Path]
) -> None:
    wall = [np.full((120, 160, 3), 90, np.uint8)] * 6
    video = write_video(here / "wall.mp4", wall)
    done = ferfusion("predict", "heat.zip", video)
    assert done.code == 1
    assert {line["reason"] for line in read_lines(done.out)} == {"no face was found"}
    assert "0 of 6 frames have an answer" in done.said


# --- cameras, played by videos


def test_cameras_until_they_stop(
    ferfusion: Ferfusion, here: Path, videos: Path, with_detector: None
) -> None:
    done = ferfusion(
        *("predict", "both.zip", "--live", "--motion", IN_PLACE, "--out", "a.jsonl"),
        *("--visible", videos / "v.mp4", "--infrared", videos / "i.mp4"),
    )
    assert done.code == 0, done.said
    lines = read_lines(Path("a.jsonl").read_text())
    assert lines
    assert [line["frame"] for line in lines] == sorted({line["frame"] for line in lines})
    assert "gave 20 frames" in done.said
    assert "It stopped" in done.said


def test_ctrl_c_ends_cameras_with_their_counts(
    here: Path, write_video: Callable[..., Path]
) -> None:
    grey = (np.full((48, 64, 3), 10 + n % 200, np.uint8) for n in range(600))
    video = write_video(here / "long.mp4", grey)
    line = [sys.executable, "-m", "ferfusion", "predict", "one.zip", "--live", "--visible", video]
    with subprocess.Popen(
        [*line, "--as-is", "--out", "a.csv"], stderr=subprocess.PIPE, text=True
    ) as running:
        deadline = time.monotonic() + 60
        while not (Path("a.csv").exists() and len(Path("a.csv").read_text().splitlines()) > 3):
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 0, said
    rows = read_csv("a.csv")
    assert f"{len(rows)} of {len(rows)} frames have an answer" in said
    assert all(row["label"] for row in rows)


@pytest.mark.parametrize("is_live", [False, True])
def test_ctrl_c_says_that_nothing_is_kept(
    here: Path, write_video: Callable[..., Path], detector_weights: Path, is_live: bool
) -> None:
    grey = (np.full((240, 320, 3), 10 + n % 200, np.uint8) for n in range(900))
    video = write_video(here / "long.mp4", grey)
    options = ("--live",) if is_live else ("--out", "a.csv")
    line = [sys.executable, "-m", "ferfusion", "predict", "heat.zip", video, "--detect-every", 1]
    if is_live:
        # Nothing was answered yet: it looks for how infrared lies on visible.
        line[4:6] = ["both.zip", "--visible", video, "--infrared", video]
    environment = {**os.environ, VARIABLE: str(detector_weights), "FORCE_COLOR": "1"}
    with subprocess.Popen(
        [*map(str, line), *options], stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stderr is not None
        begun = "Looking at" if is_live else "smoothed over"
        said = ""
        while begun not in said:
            assert running.poll() is None, said
            said += running.stderr.readline()
        running.send_signal(signal.SIGINT)
        said += running.communicate(timeout=60)[1]
    assert running.returncode == 130, said
    assert "No file was written, and the answers so far are lost" in said
    assert "nothing that was finished" not in said.lower()
    assert not [path.name for path in here.iterdir() if "a.csv" in path.name]


# --- mistakes


def test_mistakes_are_one_sentence(
    ferfusion: Ferfusion, here: Path, videos: Path, write_video: Callable[..., Path]
) -> None:
    picture, video = save("v.png", 9), videos / "v.mp4"
    Path("empty").mkdir()
    Path("junk.mp4").write_bytes(b"junk" * 400)
    Path("song.mp3").write_bytes(b"ID3")
    Path("out.csv").write_text("kept")
    for line, words in (
        (("both.zip", "--visible", picture), "infrared is missing: give --infrared"),
        (("one.zip", "--visible", picture, "--infrared", picture), "not at infrared: leave"),
        (("msx.zip", "--visible", picture), "--msx. An MSX-style picture is made where"),
        (("both.zip", "--visible", picture, "--infrared", video), "v.mp4 is a video: give"),
        (("both.zip", picture), "is one file, and this model looks at visible and infrared"),
        (("one.zip",), "There is nothing to look at"),
        (("one.zip", "empty", "--visible", picture), "not both"),
        (("one.zip", "empty"), "empty"),
        (("one.zip", "--visible", "empty"), "holds no picture"),
        (("one.zip", "--visible", "nowhere.png"), "There is nothing at"),
        (("one.zip", "--visible", "junk.mp4"), "can't be read as a video"),
        (("one.zip", "--visible", "song.mp3"), "is sound without pictures"),
        (("one.zip", "--live", "--visible", "97"), "There is no camera 97"),
        (("one.zip", "--live", "--visible", "gone.mp4"), "There is no camera or file gone.mp4"),
        (("empty", picture), "empty is no bundle and no run"),
        (("one.zip", "--live"), "There is nothing to look at"),
        (("one.zip", "--live", "--visible", 0, "--offset", 1), "--offset is for videos"),
        (("one.zip", picture, "--smooth", 1), "--smooth is for videos and cameras"),
        (("one.zip", picture, "--out", "a.txt"), "use .csv or .jsonl"),
        (("one.zip", video, "--video-out", "a.txt"), "no ending of a video that is written"),
        (("one.zip", video, "--video-out", video, "--overwrite"), "is what is read"),
        (("one.zip", picture, "--out", "out.csv"), "out.csv is there already"),
        (("one.zip", picture, "--like", "empty"), "no folder that ferfusion prepare wrote"),
        (("gone.zip", picture), "There is no model"),
    ):
        done = ferfusion("predict", *line)
        assert done.code == 2, line
        assert words in done.said, (line, done.said)
        assert "Traceback" not in done.said
    assert Path("out.csv").read_text() == "kept"


def test_who_has_read_enough_is_no_error(here: Path, videos: Path) -> None:
    line = f"{sys.executable} -m ferfusion predict one.zip {videos / 'v.mp4'} --as-is | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


WITHOUT = """
import sys
class No:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "scipy", "sklearn", "matplotlib",
                                  "lightning_fabric", "safetensors", "captum", "onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, No())
from ferfusion.cli.main import main
main()
"""


def test_it_runs_where_no_pytorch_is(here: Path, videos: Path, detector_weights: Path) -> None:
    save("faces/dark/visible/1.png", 5), save("faces/light/visible/1.png", 250)
    environment = {**os.environ, VARIABLE: str(detector_weights)}
    for given in (
        ("faces",),
        (videos / "v.mp4", "--seconds", "0.3", "--video-out", "a.mp4"),
    ):
        line = [sys.executable, "-c", WITHOUT, "predict", "one.zip", *given]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert '"label": ' in done.stdout


def test_check_says_what_it_can_do_where_no_pytorch_is(here: Path) -> None:
    line = [sys.executable, "-c", WITHOUT, "check"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "This installation has no PyTorch. It can prepare pictures" in done.stdout
    assert "'ferfusion[train]'" in done.stdout
    assert "'ferfusion[explain]'" in done.stdout
    for command, extra in (("explain", "explain"), ("export", "export")):
        line = [sys.executable, "-c", WITHOUT, command, "one.zip", "x", "--out", "y"]
        line = line[:5] + line[6:] if command == "export" else line
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f"pip install 'ferfusion[{extra}]'" in done.stderr, done.stderr


# --- an hour


def measure_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_is_flat_over_an_hour(here: Path, write_video: Callable[..., Path]) -> None:
    n = 36_000

    def frames(seed: int) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(seed)
        ground = rng.integers(60, 200, (240, 320, 3), np.uint8)
        for number in range(n):
            yield np.roll(ground, number % 320, axis=1)

    visible = write_video(here / "v.mp4", frames(0))
    infrared = write_video(here / "i.mp4", frames(1))
    line = ["predict", "both.zip", "--visible", visible, "--infrared", infrared, "--as-is"]
    seen: list[float] = []
    with subprocess.Popen(
        [sys.executable, "-m", "ferfusion", *line], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        for number, _ in enumerate(running.stdout, start=1):
            if number in (n // 4, n // 2, n - 20):
                seen.append(measure_mb(running.pid))
    assert running.returncode == 0
    quarter, half, end = seen
    print(f"RSS after a quarter, a half, all of an hour: {quarter:.0f}, {half:.0f}, {end:.0f} MB")
    assert half < 1.05 * quarter + 5
    assert end < 1.05 * quarter + 5
