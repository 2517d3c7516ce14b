"""`benchmarks/gpu` at toy size on the CPU: everything runs and its numbers arrive."""

import csv
import doctest
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    loader = SourceFileLoader("benchmarks_gpu", str(SCRIPT))
    module = module_from_spec(ModuleSpec(loader.name, loader, origin=loader.path))
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


def test_everything_runs_at_toy_size_and_writes_its_numbers(tmp_path: Path, gpu: ModuleType):
    command = [sys.executable, str(SCRIPT), "--toy", "--out", str(tmp_path), "--machine", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "gpu-x.csv").open(newline="") as stream:
        rows = {row["work"]: row for row in csv.DictReader(stream)}
    assert list(rows) == list(gpu.list_ways(toy=True))
    for row in rows.values():
        assert tuple(row) == gpu.COLUMNS
        assert float(row["ours"]) > 0
        assert float(row["data_share"]) > 0
        assert row["unit"] == "images/s"
        assert row["share_of_peak"] == "", "nobody knows what a CPU could do here"
    known = json.loads((tmp_path / "gpu-x.json").read_text())
    assert list(known["works"]) == gpu.list_works(toy=True)
    assert known["works"]["draws"]["together_us"] < known["works"]["draws"]["one_by_one_us"]
    for facts in (known["works"]["agreement"], known["works"]["agreement"]["compiled"]):
        assert all(facts[policy]["mean"] < 1 for policy in ("sound", "paper"))
    assert len(known["estimates"]) == len(rows)
    profile = (tmp_path / "gpu-x-profile.txt").read_text()
    assert "convolution" in profile
    assert all(f"{work}: one epoch" in profile for work in list(rows)[:2])


def test_without_a_gpu_it_says_so_and_stops(
    gpu: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        gpu.main()
    assert stopped.value.code == 2
    assert "no CUDA GPU" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_meant_is_refused(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for arguments, sentence in (
        (["--works", "nothing"], "there is no work nothing"),
        (["--toy"], "--toy needs --out"),
    ):
        monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
        with pytest.raises(SystemExit):
            gpu.read_arguments()
        assert sentence in capsys.readouterr().err


def test_examples_hold(gpu: ModuleType):
    assert doctest.testmod(gpu) == (0, 1)
    four = {
        f"{name}_single_batch32_eager": {"images_per_s": 17_370_600 / 60} for name in gpu.OTHERS
    }
    assert gpu.estimate(four)["matrix_other_four_min"] == 4
