"""The benchmarks at toy size: every work runs and its numbers arrive. No time is judged."""

import argparse
import ast
import csv
import doctest
import importlib
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

FOLDER = Path(__file__).parents[2] / "benchmarks"
COLUMNS = ["work", "plain", "ours", "unit", "ratio_median", "ratio_min", "ratio_max", "peak_mb",
           "commit"]  # fmt: skip


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Imports a file of the benchmarks, as `run` does."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "run"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def open_run() -> ModuleType:
    loader = SourceFileLoader("benchmarks_run", str(FOLDER / "run"))
    run = module_from_spec(ModuleSpec(loader.name, loader, origin=loader.path))
    run.__file__ = loader.path
    loader.exec_module(run)
    return run


def test_every_work_runs_at_toy_size_and_writes_its_numbers(tmp_path: Path, load):
    done = call("--toy", "--out", tmp_path, "--machine", "toy", "--work-folder", tmp_path / "w")
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "toy.csv").open(newline="") as stream:
        reader = csv.DictReader(stream)
        rows = {row["work"]: row for row in reader}
    assert reader.fieldnames == COLUMNS
    works = load("measuring").UNITS
    assert list(rows) == [work for work in works if work in load("our_works").WORKS]
    for row in rows.values():
        numbers = [float(row[name]) for name in COLUMNS[1:3] + COLUMNS[4:8]]
        assert min(numbers) > 0
        assert float(row["ratio_min"]) <= float(row["ratio_median"]) <= float(row["ratio_max"])
        assert row["commit"]
    conditions = json.loads((tmp_path / "toy.json").read_text())
    assert list(conditions["works"]) == list(works)
    assert conditions["machine"]["peak"]["matmul_bf16_gflop_per_s"] > 0
    assert all(len(facts["plain_rounds"]) == 1 for facts in conditions["works"].values())
    single = conditions["works"]["epoch_single"]
    assert single["share_of_bf16_peak"] > 0
    assert 0 < single["ours"]["share_of_data_path"] < 1
    triple = conditions["works"]["infer_triple_fp32"]
    assert triple["share_of_fp32_peak"] > 0
    assert "Conv" in triple["ours"]["network_by_kind_of_layer"]
    assert min(triple["ours"][name] for name in ("reading_ms", "with_onnxruntime_ms")) > 0
    compared = conditions["works"]["comparison"]
    assert sorted(compared["plain"]["correct"]) == sorted(compared["ours"]["correct"])
    assert len(compared["ours"]["correct"]) == 12
    # Nothing is left behind but the faces and the weights.
    assert not list((tmp_path / "w").glob("run-*"))


def test_lines_of_other_works_stay(tmp_path: Path, load):
    measuring = load("measuring")
    old = measuring.make_line("late_grid", [9.0], [3.0], [100.0], "old")
    path = tmp_path / "machine.csv"
    measuring.write_lines(path, {"late_grid": old})
    new = measuring.make_line(
        "epoch_single", [8.0, 9.0, 4.0], [4.0, 3.0, 2.0], [5.0, 7.0, 6.0], "new"
    )
    measuring.write_lines(path, {**measuring.read_lines(path), "epoch_single": new})
    assert path.read_text().splitlines() == [
        ",".join(COLUMNS),
        "epoch_single,8.0,3.0,s,2.0,2.0,3.0,7.0,new",
        "late_grid,9.0,3.0,ms,3.0,3.0,3.0,100.0,old",
    ]
    measuring.update_conditions(tmp_path / "c.json", {"cores": 1}, {"late_grid": {"a": 1}})
    measuring.update_conditions(tmp_path / "c.json", {"cores": 2}, {"epoch_single": {"a": 2}})
    kept = json.loads((tmp_path / "c.json").read_text())
    assert kept == {
        "machine": {"cores": 2},
        "works": {"epoch_single": {"a": 2}, "late_grid": {"a": 1}},
    }


def test_what_cannot_be_meant_is_refused(
    load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    load("measuring")
    run = open_run()
    for arguments, sentence in (
        (["--works", "epoch_double"], "there is no work epoch_double"),
        (["--toy"], "--toy needs --out"),
    ):
        monkeypatch.setattr(sys, "argv", ["run", *arguments])
        with pytest.raises(SystemExit):
            run.read_arguments()
        assert sentence in capsys.readouterr().err


def test_names_of_works_are_whole_on_a_narrow_terminal(
    load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    measuring = load("measuring")
    run = open_run()
    monkeypatch.setattr(run, "console", run.Console(width=80))
    lines = {work: measuring.make_line(work, [9e7], [3.3], [2000.0], "x") for work in run.UNITS}
    run.print_table(argparse.Namespace(toy=False, machine="m"), lines)
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert all(rows[work][-2:] == ["2.73e+07", "2000"] for work in run.UNITS)
    assert max(map(len, said.splitlines())) <= 80


def test_examples_hold(load):
    assert doctest.testmod(load("measuring")) == (0, 2 + 2)


def test_the_plain_script_uses_nothing_of_ours():
    tree = ast.parse((FOLDER / "plain_script.py").read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
    }
    outside = names - sys.stdlib_module_names
    assert outside <= {"torch", "torchvision", "PIL", "numpy", "safetensors"}


def test_the_plain_script_lists_the_grid_and_searches_it(load):
    plain = load("plain_script")
    mixtures = plain.list_mixtures(plain.MODALITIES)
    assert len({tuple(weights.values()) for weights in mixtures}) == 66
    assert all(sum(weights.values()) == pytest.approx(1) for weights in mixtures)

    class Says(torch.nn.Module):
        def __init__(self, logits: torch.Tensor) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, _: object) -> torch.Tensor:
            return self.logits

    right, wrong = torch.eye(3) * 2, torch.eye(3).roll(1, 0) * 3
    singles = {"visible": Says(right), "infrared": Says(wrong)}
    batches = [({"visible": None, "infrared": None}, torch.arange(3))]
    weights = plain.search_mixture(singles, batches)
    assert plain.count_mixture(singles, weights, batches) == 3
    # The most even of the mixtures that are right.
    lesser = {"visible": weights["visible"] - 0.1, "infrared": weights["infrared"] + 0.1}
    assert plain.count_mixture(singles, lesser, batches) < 3


def test_the_plain_script_changes_all_modalities_alike_but_spares_infrared_light(load):
    plain = load("plain_script")
    picture = Image.fromarray(np.full((32, 32, 3), 120, np.uint8))
    dark = plain.Change(32)
    dark.box, dark.brightness, dark.gamma = None, 0.5, 1.0
    centre = (slice(None), 16, 16)
    kept, dimmed = (dark(picture, m)[centre] for m in ("infrared", "visible"))
    assert torch.allclose(kept, plain.to_tensor(picture)[centre])
    assert (dimmed < kept).all()
    shape = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    alike = plain.Change(32)
    alike.brightness = alike.gamma = 1.0
    first, second = (alike(Image.fromarray(shape), m) for m in ("infrared", "msx"))
    assert torch.equal(first, second)


def test_the_plain_script_reads_viris_folders_as_we_do(tmp_path: Path, load):
    from ferfusion.data.opening import open_dataset
    from ferfusion.data.synthetic import write_synthetic_dataset

    folder = write_synthetic_dataset(tmp_path / "faces", subjects=2, size_px=32)
    ours = {s.id: s.expression for s in open_dataset(folder).samples}
    plain = {s["id"]: s["expression"] for s in load("plain_script").read_samples(folder)}
    assert plain == ours
