"""From a study to a bundle that answers as its run does, without PyTorch."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from PIL import Image, ImageOps

from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.inference.bundle import CARD, FACTS, GRAPH, LICENCES, PARITY, SEEN
from ferfusion.inference.engines import Engine

pytest.importorskip("onnxruntime")
Ferfusion = Callable[..., Any]
RUNS = {"early": "early-visible-infrared-1step", "late": "late-visible-infrared"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn faces and a small study of them."""
    folder = tmp_path_factory.mktemp("export")
    write_synthetic_dataset(folder / "faces", subjects=7, size_px=64)
    line = [
        *(sys.executable, "-m", "ferfusion", "study", "faces", "--out", "study", "--size", "32"),
        *("--epochs", "1", "--weights", "none", "--backbone", "shufflenet_v2", "--rows"),
        ",".join(RUNS.values()),
    ]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def read_table(path: str) -> tuple[list[list[str]], np.ndarray]:
    rows = list(csv.reader(Path(path).read_text().splitlines()))[1:]
    return [row[:3] for row in rows], np.array([[float(cell) for cell in row[3:]] for row in rows])


@pytest.mark.parametrize(
    ("kind", "precision", "out"),
    [("early", "fp32", "e"), ("late", "fp32", "l.zip"), ("early", "int8", "e8.zip")],
)
def test_a_bundle_says_what_its_run_says(
    ferfusion: Ferfusion, here: Path, kind: str, precision: str, out: str
) -> None:
    run = f"study/runs/{RUNS[kind]}"
    made = ferfusion("export", run, "--out", out, "--precision", precision)
    assert made.code == 0, made.said
    assert "Parity with the trained model on 5 samples" in made.said
    for model, table in ((run, f"{out}-run.csv"), (out, f"{out}-bundle.csv")):
        done = ferfusion("evaluate", model, "faces", "--out", table)
        assert done.code == 0, done.said
        assert "30 of these 35 samples trained or chose this model" in done.said
    told, expected = read_table(f"{out}-run.csv")
    same, found = read_table(f"{out}-bundle.csv")
    assert same == told
    np.testing.assert_allclose(found, expected, atol=1e-3 if precision == "fp32" else 0.1)
    again = ferfusion("export", run, "--out", out)
    assert again.code == 2
    assert "is there already" in again.said
    assert ferfusion("export", run, "--out", out, "--overwrite").code == 0


def test_the_folder_holds_card_proof_and_licences(ferfusion: Ferfusion, here: Path) -> None:
    run = f"study/runs/{RUNS['late']}"
    line = ("export", run, "--out", "whole", "--note", "Drawn faces, of nobody.")
    assert ferfusion(*line).code == 0
    names = {path.name for path in Path("whole").iterdir()}
    assert names == {GRAPH, FACTS, PARITY, SEEN, CARD, LICENCES}
    parity = json.loads(Path("whole", PARITY).read_text())
    assert parity["samples"] == 5
    assert parity["max_probability_difference"] <= parity["bound"] == 1e-3
    assert parity["max_uncalibrated_difference"] <= 1e-3
    assert [name.partition(" ")[0] for name in parity["engines"]] == list(get_args(Engine))
    for each in parity["engines"].values():
        assert each["max_probability_difference"] <= parity["max_probability_difference"]
    facts = json.loads(Path(run, "run.json").read_text())
    card = Path("whole", CARD).read_text()
    record = facts["record"]
    for words in (
        f"{record['correct']}/{record['n_test']} = ",
        "posed expressions, not feelings",
        "5(1)(f)",
        "Drawn faces, of nobody.",
        "training people don't exist",
        "load('THIS FOLDER').predict(visible=..., infrared=...)",
    ):
        assert words in card
    licences = Path("whole", LICENCES).read_text()
    assert "random weights" in licences
    assert "drawn by ferfusion and are nobody's" in licences
    graph = onnx.load(Path("whole", GRAPH)).graph
    assert [each.name for each in graph.input] == ["visible_picture", "infrared_picture"]
    people = json.loads(Path(run, "seen.json").read_text())["subjects"]
    assert people
    everything = "".join(p.read_text() for p in Path("whole").iterdir() if p.name != GRAPH)
    assert not any(f'"{person}"' in everything for person in people)


def test_past_the_bound_nothing_is_written(ferfusion: Ferfusion, here: Path) -> None:
    line = ("export", f"study/runs/{RUNS['early']}", "--out", "never", "--bound", "0")
    done = ferfusion(*line, "--precision", "int8")
    assert done.code == 2
    assert "The int8 graph is not the trained model" in done.said
    assert "Nothing is written" in done.said
    assert not Path("never").exists()


def test_the_data_may_have_moved(ferfusion: Ferfusion, here: Path, tmp_path: Path) -> None:
    run = shutil.copytree(f"study/runs/{RUNS['early']}", tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "data": "/gone"}))
    done = ferfusion("export", run, "--out", tmp_path / "out")
    assert done.code == 2
    assert "not at /gone any more" in done.said
    line = ("export", run, "--out", tmp_path / "out", "--data", "faces")
    assert ferfusion(*line).code == 0


def test_what_is_no_run_is_refused(ferfusion: Ferfusion, here: Path) -> None:
    done = ferfusion("export", "faces", "--out", "never")
    assert done.code == 2
    assert "is no finished run" in done.said


def test_other_pictures_of_the_same_names_are_not_taken_for_the_runs_own(
    ferfusion: Ferfusion, here: Path, tmp_path: Path
) -> None:
    run, other = f"study/runs/{RUNS['early']}", tmp_path / "other"
    shutil.copytree("faces", other)
    for path in other.rglob("*.png"):
        with Image.open(path) as picture:
            mirrored = ImageOps.mirror(picture)
        mirrored.save(path)
    done = ferfusion("export", run, "--out", tmp_path / "a", "--data", other, "--precision", "int8")
    assert done.code == 2
    assert "are other pictures" in done.said
    assert not (tmp_path / "a").exists()
    done = ferfusion("export", run, "--out", tmp_path / "b", "--data", other)
    assert done.code == 0, done.said
    assert "the certificate is of other data than the run's" in done.said
    assert "other data" in json.loads((tmp_path / "b" / PARITY).read_text())["asked"]


WITHOUT = """
import sys
class No:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "scipy", "sklearn", "matplotlib",
                                  "lightning_fabric", "safetensors", "captum", "onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, No())
from ferfusion import load
model = load(sys.argv[1])
answer = model.predict(visible=sys.argv[2], infrared=sys.argv[3])
print(answer.label, sum(answer.probabilities.values()))
"""


def test_a_bundle_runs_where_no_pytorch_is(ferfusion: Ferfusion, here: Path) -> None:
    run = f"study/runs/{RUNS['early']}"
    assert ferfusion("export", run, "--out", "bare.zip").code == 0
    pair = [next(Path("faces", f"VIRI-Happy-{m}").glob("*.png")) for m in ("Vis", "Ir")]
    line = [sys.executable, "-c", WITHOUT, "bare.zip", *pair]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label, total = done.stdout.split()
    assert label in ("angry", "happy", "neutral", "sad", "surprised")
    assert float(total) == pytest.approx(1)
    refused = subprocess.run([*line[:3], run, *pair], capture_output=True, text=True, check=False)
    assert "needs PyTorch" in refused.stderr
