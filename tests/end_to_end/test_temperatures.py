"""Degrees as input, from the folder to the graph, as people type it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import draw_sample
from ferfusion.data.temperatures import use_temperatures
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.modality import Modality
from ferfusion.models.checkpoint import load_checkpoint
from ferfusion.preprocessing import HeatInput

Ferfusion = Callable[..., Any]
MODEL = ("--backbone", "resnet10t", "--weights", "none", "--modalities", "infrared")
TRAINING = ("--size", 48, "--epochs", 1, "--head-epochs", 0, "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten people, two expressions, as `prepare` writes them; one sample has no degrees."""
    root = tmp_path_factory.mktemp("degrees")
    lines = ["sample_id,subject"]
    for who in range(10):
        for label in ("happy", "sad"):
            drawn = draw_sample(
                draw_identity(who), label, light="even", intensity=1.0, seed=who, size_px=64
            )
            for kind in ("infrared", "temperature"):
                (root / kind / label).mkdir(parents=True, exist_ok=True)
            picture = cv2.cvtColor(drawn.infrared, cv2.COLOR_RGB2BGR)
            assert cv2.imwrite(str(root / "infrared" / label / f"{who}.png"), picture)
            if (who, label) != (0, "sad"):
                np.save(root / "temperature" / label / f"{who}.npy", drawn.temperature_c)
            lines.append(f"{label}/{who},S{who}")
    (root / "subjects.csv").write_text("\n".join(lines) + "\n")
    return root


def test_a_model_of_degrees_is_trained_tested_and_repeated(
    ferfusion: Ferfusion, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    way = ("--infrared-as", "window:20,40")
    done = ferfusion("train", data, *MODEL, *TRAINING, *way, "--out", "RUN")
    assert done.code == 0, done.said
    assert load_checkpoint(Path("RUN")).preprocessing.heat == HeatInput("window", 20, 40)
    assert json.loads(Path("RUN/setup.json").read_text())["infrared_as"] == "window:20,40"
    # It knows by itself what it looks at.
    tested = ferfusion("evaluate", "RUN", data, "--part", "all", "--device", "cpu")
    assert tested.code == 0, tested.said
    assert "of 19" in tested.said or "/19" in tested.said
    again = ferfusion("rerun", "RUN", "--device", "cpu")
    assert again.code == 0, again.said
    pytest.importorskip("onnxruntime")
    for precision in ("fp32", "int8"):
        carried = ferfusion("export", "RUN", "--out", precision, "--precision", precision)
        assert carried.code == 0, carried.said
        assert json.loads(Path(precision, "parity.json").read_text())["asked"] == "test samples"
    other = ferfusion("train", data, *MODEL, *TRAINING, "--out", "RUN")
    assert other.code == 2
    assert "infrared_as was 'window:20,40', now 'picture'" in other.said


def test_its_graph_looks_at_degrees_too(
    ferfusion: Ferfusion, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    from ferfusion.inference.graph import export_graph
    from ferfusion.inference.parity import measure_parity
    from ferfusion.inference.prediction import predict_one
    from ferfusion.inference.runner import open_graph

    monkeypatch.chdir(tmp_path)
    way = ("--infrared-as", "standardised")
    done = ferfusion("train", data, *MODEL, *TRAINING, *way, "--out", "RUN")
    assert done.code == 0, done.said
    checkpoint = load_checkpoint(Path("RUN"))
    export_graph(checkpoint, Path("model.onnx"))
    runner = open_graph(Path("model.onnx"))
    assert runner.facts.heat == HeatInput("standardised")
    samples = [s for s in use_temperatures(open_dataset(data)).samples if s.images][:6]
    parity = measure_parity(runner, checkpoint, samples)
    assert parity.max_probability_difference < 1e-3
    probs = predict_one(runner, samples[0].images)
    assert probs.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("windw", "Did you mean 'window'"),
        ("window:40,20", "--infrared-as window:40,20 must rise"),
        ("palette:x", "is not two temperatures: write LOW,HIGH as in --infrared-as palette:28,38"),
    ],
)
def test_wrong_ways_are_refused(
    ferfusion: Ferfusion, data: Path, tmp_path: Path, way: str, sentence: str
) -> None:
    line = ("train", data, *MODEL, *TRAINING, "--infrared-as", way, "--out", tmp_path / "RUN")
    done = ferfusion(*line)
    assert done.code == 2
    assert sentence in done.said


def test_data_without_degrees_is_told_so(ferfusion: Ferfusion, data: Path, tmp_path: Path) -> None:
    line = ("train", data / "infrared", *MODEL, *TRAINING, "--infrared-as", "window")
    folder = tmp_path / "pictures" / "infrared"
    for label in ("happy", "sad"):
        (folder / label).mkdir(parents=True)
        cv2.imwrite(str(folder / label / "1.png"), np.full((48, 48, 3), 90, np.uint8))
    done = ferfusion(line[0], folder.parent, *line[2:], "--out", tmp_path / "RUN")
    assert done.code == 2
    assert "No infrared file of" in done.said


@pytest.fixture
def grids(tmp_path: Path) -> Path:
    """Pictures beside grids of degrees: NumPy for one class, CSV for the other, one with both."""
    root = tmp_path / "grids"
    for who in range(8):
        for label in ("happy", "sad"):
            drawn = draw_sample(
                draw_identity(who), label, light="even", intensity=1.0, seed=who, size_px=64
            )
            for modality in ("visible", "infrared"):
                (root / label / modality).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / label / "visible" / f"{who}.png"), drawn.visible)
            heat = root / label / "infrared" / str(who)
            if label == "happy":
                np.save(heat, drawn.temperature_c)
            else:
                np.savetxt(f"{heat}.csv", drawn.temperature_c, "%.2f", ",")
    cv2.imwrite(str(root / "sad/infrared/0.png"), np.full((64, 64, 3), 90, np.uint8))
    (root / "happy" / "infrared" / "notes.csv").write_text("frame,who\n1,anna\n")
    np.save(root / "happy" / "landmarks.npy", np.zeros((5, 2), np.float32))
    return root


def test_grids_in_infrared_folders_are_infrared(
    ferfusion: Ferfusion, grids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = ferfusion("inspect", grids, "--out", "seen")
    assert seen.code == 0, seen.said
    assert "16 of 16 samples have visible, infrared" in seen.said
    assert "1 infrared pictures have degrees beside them" in seen.said
    assert "infrared: 64x64 (16)" in seen.said
    assert "landmarks.npy: holds numbers, and no folder or file name" in seen.said
    assert "notes.csv" not in seen.said
    picture = {str(s.id): s.images for s in open_dataset(grids).samples}["sad/0"]
    assert picture[Modality.INFRARED].path.suffix == ".png"
    line = ("prepare", grids, "--out", "out", "--whole", "--no-align", "--size", 64, "--workers", 1)
    done = ferfusion(*line, "--span", "20,40")
    assert done.code == 0, done.said
    assert "--span changes nothing" not in done.said
    assert len(list(Path("out/temperature").rglob("*.npy"))) == 16
    expected = np.loadtxt(grids / "sad/infrared/0.csv", delimiter=",")
    assert np.allclose(np.load("out/temperature/sad/0.npy"), expected, atol=0.05)


@pytest.mark.parametrize("way", ["picture", "window:20,40"])
def test_a_study_sees_grids(ferfusion: Ferfusion, grids: Path, tmp_path: Path, way: str) -> None:
    rows = ("--modalities", "infrared", "--rows", "infrared", "--split", "paper")
    line = ("study", grids, *MODEL[:-2], *rows, *TRAINING, "--infrared-as", way, "--allow-leaks")
    done = ferfusion(*line, "--out", tmp_path / "study")
    assert done.code == 0, done.said
