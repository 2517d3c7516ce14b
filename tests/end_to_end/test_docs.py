"""Python in the documents runs as it stands there."""

import csv
import json
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ferfusion.cli.explain_files import FILES
from ferfusion.data.synthetic import draw_sample, write_synthetic_dataset
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.weights import VARIABLE
from ferfusion.inference.cam import METHODS
from ferfusion.inference.subsets import ABSENT

DOCS = Path(__file__).parents[2] / "docs"


def test_the_graph_of_the_performance_page_is_made_and_asked(
    ferfusion: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    write_synthetic_dataset(Path("DATA"), subjects=6, size_px=48)
    model = ("--backbone", "resnet10t", "--weights", "none", "--modalities", "visible,infrared")
    training = ("--steps", 1, "--size", 48, "--epochs", 1, "--head-epochs", 0)
    trained = ferfusion("train", "DATA", *model, *training, "--out", "RUN")
    assert trained.code == 0, trained.said
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "performance.md").read_text(), re.S)
    exec(compile(code, "performance.md", "exec"), {})
    said = capsys.readouterr().out
    assert re.search(r"\{'angry': [\d.]+, .*'surprised': [\d.]+\}", said)
    assert "30 answers in answers.csv" in said
    with Path("answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    probs = [[float(row[name]) for name in list(row)[3:]] for row in rows]
    assert all(sum(some) == pytest.approx(1, abs=1e-4) for some in probs)
    assert Path("int8.onnx").stat().st_size < Path("fp32.onnx").stat().st_size / 2


def test_the_line_of_the_page_on_explaining_does_what_is_said(
    ferfusion: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("captum", reason="heat maps need captum")
    monkeypatch.chdir(tmp_path)
    write_synthetic_dataset(Path("DATA"), subjects=6, size_px=48)
    model = ("--backbone", "shufflenet_v2", "--weights", "none", "--modalities", "visible,msx")
    training = ("--steps", 1, "--size", 32, "--epochs", 1, "--head-epochs", 0, "--device", "cpu")
    assert ferfusion("train", "DATA", *model, *training, "--out", "RUN").code == 0
    text = (DOCS / "explain.md").read_text()
    (line,) = re.findall(r"^ferfusion (explain .*)$", text, re.M)
    answer = ferfusion(*line.split())
    assert answer.code == 0, answer.said
    for name in (*FILES, *METHODS, *ABSENT):
        assert f"`{name}`" in text, name
    assert {path.name for path in Path("EXPLAINED").iterdir()} == set(FILES)
    finding = json.loads(Path("EXPLAINED/explain.json").read_text())["finding"]
    assert finding in answer.out
    for picture in re.findall(r"\]\((pictures/.*?)\)", text):
        assert (DOCS / picture).is_file(), picture


def test_every_line_of_the_predict_page_runs(
    ferfusion: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_bundle: Callable[..., Path],
    write_video: Callable[..., Path],
    detector_weights: Path,
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, str(detector_weights))
    make_bundle(Path("BUNDLE"), "visible", "infrared")
    drawn = draw_sample(
        draw_identity(2), "happy", light="even", intensity=0.8, seed=2, size_px=320,
        misalignment=0.0,
    )  # fmt: skip
    pictures = {"visible": drawn.visible, "infrared": drawn.infrared}
    for modality, names in {
        "visible": ("face.jpg", "photo.jpg", "VISIBLE/1.jpg", "VISIBLE/2.jpg"),
        "infrared": ("heat.jpg", "thermal.jpg", "INFRARED/1.jpg", "INFRARED/2.jpg"),
    }.items():
        for name in names:
            Path(name).parent.mkdir(exist_ok=True)
            cv2.imwrite(name, np.ascontiguousarray(pictures[modality][..., ::-1]))
    Path("samples.csv").write_text("visible,infrared\nface.jpg,heat.jpg\n")
    write_synthetic_dataset(Path("DATA"), subjects=6, size_px=48)
    write_video(Path("a.mp4"), [drawn.visible] * 150)
    write_video(Path("b.mp4"), [drawn.infrared] * 150)
    page = (DOCS / "predict.md").read_text()
    lines = re.findall(r"^ferfusion (predict .*)$", page, re.M)
    assert len(lines) == 7
    for line in lines:
        # Nobody has two cameras here: files play them, for a moment.
        words = [{"0": "a.mp4", "2": "b.mp4"}.get(word, word) for word in shlex.split(line)]
        words += ["--seconds", "0.5"] if "a.mp4" in words else []
        done = ferfusion(*words)
        assert done.code == 0, (line, done.said)
        for option in ("--out", "--video-out"):
            if option in words:
                assert Path(words[words.index(option) + 1]).stat().st_size > 0
    capsys.readouterr()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(code, "predict.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"(dark|light) 0\.\d+ (True|False)", said[0])
    assert [line.split("(")[0] for line in said[1:]] == ["Prediction", "Prediction"]


def test_the_predict_page_names_every_option(ferfusion: Callable[..., Any]) -> None:
    page = (DOCS / "predict.md").read_text()
    options = re.findall(r"^  (?:-h, )?(--[a-z-]+)", ferfusion("predict", "--help").out, re.M)
    unnamed = [option for option in options if option not in page]
    assert unnamed == ["--msx", "--engine", "--help"]


def test_the_readme_on_using_a_model_runs_line_by_line(
    ferfusion: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_video: Callable[..., Path],
    detector_weights: Path,
) -> None:
    pytest.importorskip("captum", reason="heat maps need captum")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, str(detector_weights))
    write_synthetic_dataset(Path("DATA"), subjects=6, size_px=48)
    write_synthetic_dataset(Path("OTHER_DATA"), subjects=6, size_px=48, seed=1)
    model = ("--backbone", "shufflenet_v2", "--weights", "none", "--size", 32)
    rows = ("--rows", "early-visible-infrared-3step", "--epochs", 1, "--head-epochs", 0)
    done = ferfusion("study", "DATA", "--out", "STUDY", *model, *rows, "--device", "cpu")
    assert done.code == 0, done.said
    drawn = draw_sample(
        draw_identity(2), "happy", light="even", intensity=0.8, seed=2, size_px=320,
        misalignment=0.0,
    )  # fmt: skip
    for name, pixels in (("face.jpg", drawn.visible), ("heat.jpg", drawn.infrared)):
        cv2.imwrite(name, np.ascontiguousarray(pixels[..., ::-1]))
    write_video(Path("light.mp4"), [drawn.visible] * 20)
    write_video(Path("heat.mp4"), [drawn.infrared] * 20)
    readme = (DOCS.parent / "README.md").read_text().partition("## Use the model")[2]
    lines, code = re.findall(r"```(?:python)?\n(.*?)```", readme, re.S)[:2]
    *asked, served = [shlex.split(line)[1:] for line in lines.strip().splitlines()]
    assert [line[0] for line in asked] == ["explain", "export", "evaluate", "predict", "predict"]
    for line in asked:
        done = ferfusion(*line)
        assert done.code == 0, (line, done.said)
    assert {"EXPLAINED", "BUNDLE", "answers.csv"} <= {path.name for path in Path().iterdir()}
    known: dict[str, Any] = {"visible": np.zeros((1, 60, 80, 3), np.uint8)}
    known["infrared"] = known["visible"]
    exec(compile(code, "README.md", "exec"), known)
    assert known["answer"].label in known["answer"].probabilities
    by_itself = (DOCS / "export.md").read_text().partition("## The graph by itself")[2]
    exec(
        compile(re.findall(r"```python\n(.*?)```", by_itself, re.S)[0], "export.md", "exec"), known
    )
    assert known["probabilities"].shape == (1, 5)
    command = [sys.executable, "-m", "ferfusion", *served, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"served at (\S+)", server.stdout.readline())
        assert found
        with urllib.request.urlopen(f"{found[1]}/health", timeout=30) as answer:
            assert json.load(answer) == {"status": "ok"}
        server.terminate()
        assert server.wait(60) == 0
