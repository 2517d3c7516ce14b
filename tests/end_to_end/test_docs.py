"""Python in the documents runs as it stands there."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferfusion.cli.explain_files import FILES
from ferfusion.data.synthetic import write_synthetic_dataset
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
