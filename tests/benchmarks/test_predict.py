"""The benchmark of answers at toy size. No time is judged."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
FOLDER = Path(__file__).parents[2] / "benchmarks"


def call(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(FOLDER / "predict"), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_everybody_is_asked_and_who_cannot_is_named(tmp_path: Path) -> None:
    out = tmp_path / "results" / "benchmarks"
    done = call(
        *("--toy", "--out", out, "--machine", "toy", "--work-folder", tmp_path / "w"),
        *("--others", f"rmn={sys.executable},fer=/no/such/python"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with (out / "predict-toy.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["who"] for row in rows] == ["ferfusion", "ferfusion", "plain PyTorch", "rmn", "fer"]
    for row in rows[:3]:
        assert float(row["latency_min_ms"]) <= float(row["latency_ms"])
        assert float(row["faces_per_s"]) > 0
        assert not row["why"]
    for row in rows[3:]:
        assert row["why"].startswith("could not be run: ")
        assert not row["latency_ms"]
    assert "ModuleNotFoundError" in rows[3]["why"]
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text((FOLDER.parent / "docs" / "performance.md").read_text())
    line = [sys.executable, FOLDER / "tell", "--results", tmp_path / "results", "--page", page]
    subprocess.run(line, check=True)
    told = page.read_text().partition("<!-- answers:begin -->")[2].partition("<!-- answers")[0]
    assert "| plain PyTorch | shufflenet_v2 fp32, eager |" in told
    assert "| rmn |  | could not be run: ModuleNotFoundError" in told


def test_what_cannot_be_meant_is_refused() -> None:
    assert "--toy needs --out" in call("--toy").stderr
    assert "must be NAME=PYTHON" in call("--others", "fer").stderr
