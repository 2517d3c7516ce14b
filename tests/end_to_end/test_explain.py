"""`ferfusion explain` as people type it, on a few drawn faces."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ferfusion.cli import explain
from ferfusion.cli.explain_files import FILES
from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.imaging.faces.weights import VARIABLE
from ferfusion.models.checkpoint import Checkpoint, load_checkpoint

pytest.importorskip("captum", reason="heat maps need captum")

Ferfusion = Callable[..., Any]
FAST = (
    *("--backbone", "shufflenet_v2", "--weights", "none", "--size", "32", "--epochs", "1"),
    *("--head-epochs", "0", "--batch-size", "16", "--device", "cpu", "--precision", "fp32"),
)
FEW = ("--measure", 6, "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "data"
    return write_synthetic_dataset(folder, subjects=8, size_px=48)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Late fusion of two modalities, which brings its single models; and early fusion."""
    from ferfusion.cli.main import main

    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for name, words in (("late", ("--fusion", "late")), ("early", ("--steps", "1"))):
            line = ("train", data, *FAST, "--modalities", "visible,infrared", *words)
            patch.setattr(
                sys, "argv", ["ferfusion", *(str(w) for w in (*line, "--out", folder / name))]
            )
            main()
    return folder


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_page_sheet_tables_and_facts(
    ferfusion: Ferfusion, data: Path, runs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "explained"
    answer = ferfusion("explain", runs / "early", data, "--out", out, *FEW)
    assert answer.code == 0, answer.said
    assert "trained or chose this model and are left out" in answer.said
    assert "maps of gradcam" in answer.said
    assert "your own pictures" in answer.said
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    facts = json.loads((out / "explain.json").read_text())
    assert facts["method"] == "gradcam"
    assert facts["model"]["fusion"] == "early"
    assert len(facts["data_fingerprint"]) == 64
    assert "commit" in facts["versions"]
    seen = json.loads((runs / "early" / "run.json").read_text())
    assert facts["samples_available"] == facts["samples_measured"] == seen["record"]["n_test"]
    assert facts["correct"] == seen["record"]["correct"]
    assert "fixed places" in facts["regions_from"]
    page = (out / "explained.html").read_text()
    assert facts["finding"].replace("'", "&#39;") in page
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 600

    samples = read_csv(out / "samples.csv")
    assert len(samples) == facts["samples_measured"]
    for row in samples:
        step = float(row["prob_explained"]) - float(row["prob_nothing_known"])
        assert float(row["adds_visible"]) + float(row["adds_infrared"]) == pytest.approx(
            step, abs=1e-4
        )
    games = {(r["game"], r["against"]): r for r in read_csv(out / "faithfulness.csv")}
    own = np.mean([float(row["deletion_map"]) for row in samples])
    assert float(games["deletion", "random"]["area_map"]) == pytest.approx(own, abs=1e-4)
    shares = [r for r in read_csv(out / "regions.csv") if r["class"] == "all"]
    for modality in ("visible", "infrared"):
        of_modality = [float(r["share"]) for r in shares if r["modality"] == modality]
        assert sum(of_modality) == pytest.approx(1, abs=0.01) or not of_modality


def test_late_fusion_brings_its_single_models_and_regions_follow_a_detector(
    ferfusion: Ferfusion,
    data: Path,
    runs: Path,
    tmp_path: Path,
    detector_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, str(detector_weights))
    line = ("explain", runs / "late", data, "--out", tmp_path / "x", *FEW, "--absent", "left-out")
    answer = ferfusion(*line, "--method", "saliency", "--class", "happy", "--count", 2)
    assert answer.code == 0, answer.said
    page = (tmp_path / "x" / "explained.html").read_text()
    for title in ("visible alone", "infrared alone", "late fusion, in visible"):
        assert title in page
    facts = json.loads((tmp_path / "x" / "explain.json").read_text())
    assert "as a face detector found them" in facts["regions_from"]
    assert len(facts["samples_shown"]) == 2
    assert {row["explained"] for row in read_csv(tmp_path / "x" / "samples.csv")} == {"happy"}
    (nothing,) = {row["prob_nothing_known"] for row in read_csv(tmp_path / "x" / "samples.csv")}
    assert float(nothing) == pytest.approx(0.2)


def test_a_single_model_of_late_fusion_by_named_samples_and_maps_only(
    ferfusion: Ferfusion, data: Path, runs: Path, tmp_path: Path
) -> None:
    single = runs / "late" / "stages" / "infrared"
    line = ("explain", single, data, "--out", tmp_path / "x", "--measure", 0)
    answer = ferfusion(*line, "--samples", "happy/happy_001, sad/sad_002")
    assert answer.code == 0, answer.said
    written = {p.name for p in (tmp_path / "x").iterdir()}
    assert written == {"explained.html", "sheet.png", "explain.json"}
    page = (tmp_path / "x" / "explained.html").read_text()
    assert "sees infrared pictures only" in page
    assert "asked for by name" in page


def fingerprint(checkpoint: Checkpoint) -> list[object]:
    """All of a model that could be changed."""
    model = checkpoint.model
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return [
        {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()},
        {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()},
        {name: (m.training, len(m._forward_hooks), len(m._forward_pre_hooks),
                len(m._backward_hooks), len(m._backward_pre_hooks))
         for name, m in model.named_modules()},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method"), [("early", "integrated-gradients"), ("late", "gradcam")]
)
def test_the_model_is_left_exactly_as_it_was_found(
    ferfusion: Ferfusion,
    data: Path,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    method: str,
) -> None:
    given: list[tuple[Checkpoint, list[object]]] = []

    def load(run: Path) -> Checkpoint:
        checkpoint = load_checkpoint(run)
        # As a model in training with a frozen trunk would be, its gradients half gathered.
        checkpoint.model.train()
        modules = [m for m in checkpoint.model.modules() if isinstance(m, nn.BatchNorm2d)]
        modules[0].eval()
        parameters = list(checkpoint.model.parameters())
        parameters[0].requires_grad_(False)
        given.append((checkpoint, fingerprint(checkpoint)))
        return checkpoint

    monkeypatch.setattr(explain, "load_checkpoint", load)
    torch.manual_seed(7)
    line = ("explain", runs / name, data, "--out", tmp_path / "x", "--measure", 2)
    answer = ferfusion(*line, "--method", method, "--count", 1, "--device", "cpu")
    assert answer.code == 0, answer.said
    assert given
    for checkpoint, before in given:
        assert fingerprint(checkpoint) == before


def test_what_is_there_is_only_replaced_when_asked(
    ferfusion: Ferfusion, data: Path, runs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x"
    line = ("explain", runs / "early", data, "--out", out, "--measure", 0, "--count", 1)
    (out).mkdir()
    assert ferfusion(*line).code == 0, "an empty folder is no obstacle"
    before = (out / "explain.json").read_text()
    answer = ferfusion(*line)
    assert answer.code == 2
    assert "--overwrite" in answer.said
    assert (out / "explain.json").read_text() == before
    assert ferfusion(*line, "--overwrite", "--method", "saliency").code == 0
    assert json.loads((out / "explain.json").read_text())["method"] == "saliency"
    (out / "thesis.txt").write_text("mine")
    answer = ferfusion(*line, "--overwrite")
    assert answer.code == 2
    assert "thesis.txt" in answer.said
    assert (out / "thesis.txt").read_text() == "mine"
    assert not [p for p in tmp_path.iterdir() if p != out], "nothing else is left"


def test_a_stop_leaves_nothing(
    ferfusion: Ferfusion,
    data: Path,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ferfusion.cli.explain_files.draw_columns", stop)
    line = ("explain", runs / "early", data, "--out", tmp_path / "x", "--measure", 0)
    assert ferfusion(*line).code == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--method", "grad-cam"), "Did you mean 'gradcam'"),
        (("--class", "hapy"), "Did you mean 'happy'"),
        (("--samples", "happy/happy_999"), "There is no sample 'happy/happy_999'"),
        (("--absent", "other"), "Did you mean 'others'"),
        (("--absent", "left-out"), "left-out is for late fusion"),
    ],
)
def test_a_wrong_word_is_said(
    ferfusion: Ferfusion,
    data: Path,
    runs: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    wanted: str,
) -> None:
    answer = ferfusion("explain", runs / "early", data, "--out", tmp_path / "x", *FEW, *words)
    assert answer.code == 2
    assert wanted in answer.out + answer.err
    assert not (tmp_path / "x").exists()


def test_a_single_model_has_nothing_to_leave_out(
    ferfusion: Ferfusion, data: Path, runs: Path, tmp_path: Path
) -> None:
    single = runs / "late" / "stages" / "infrared"
    line = ("explain", single, data, "--out", tmp_path / "x", *FEW, "--absent", "left-out")
    answer = ferfusion(*line)
    assert answer.code == 2
    assert "This model has one modality" in answer.said
    assert not (tmp_path / "x").exists()


def test_without_captum_one_is_told_how_to_get_it(
    ferfusion: Ferfusion,
    data: Path,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    answer = ferfusion("explain", runs / "early", data, "--out", tmp_path / "x")
    assert answer.code == 2
    assert 'pip install "ferfusion[explain]"' in answer.out + answer.err


def test_runs_and_data_that_do_not_do_are_said(
    ferfusion: Ferfusion, data: Path, runs: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "x")
    answer = ferfusion("explain", tmp_path / "nowhere", data, *out)
    assert answer.code == 2
    assert "no folder" in answer.said
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "unfinished.safetensors").write_bytes(b"")
    answer = ferfusion("explain", unfinished, data, *out)
    assert answer.code == 2
    assert "is not finished" in answer.said
    visible_only = tmp_path / "visible"
    shutil.copytree(data, visible_only, ignore=shutil.ignore_patterns("*-Ir", "*-MSX"))
    answer = ferfusion("explain", runs / "early", visible_only, *out)
    assert answer.code == 2
    assert "visible, infrared" in answer.said
    copied = shutil.copytree(runs / "early", tmp_path / "copy")
    seen = json.loads((copied / "seen.json").read_text())
    everything = [i for part in ("train", "val", "test") for i in seen[part]]
    (copied / "seen.json").write_text(json.dumps({"train": everything, "val": [], "test": []}))
    answer = ferfusion("explain", copied, data, *out)
    assert answer.code == 2
    assert "--part all" in answer.said
    (copied / "seen.json").write_text("[1")
    answer = ferfusion("explain", copied, data, *out)
    assert answer.code == 2
    assert "seen.json is damaged" in answer.said


def test_help_names_every_method(ferfusion: Ferfusion) -> None:
    from ferfusion.inference.cam import METHODS
    from ferfusion.inference.subsets import ABSENT

    said = ferfusion("explain", "--help").said
    for name in (*METHODS, *ABSENT):
        assert name in said.replace("- ", "-"), name
