"""The commands as people type them, on a few drawn faces."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ferfusion.config import OPTIONS
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import read_split
from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.evaluation.predictions import read_predictions, write_predictions
from ferfusion.expression import VIRI
from ferfusion.modality import MODALITIES
from ferfusion.models.checkpoint import load_checkpoint, read_tensors

REPOSITORY = Path(__file__).parents[2]
FERFUSION = Path(sys.executable).with_name("ferfusion")
FAST = (
    *("--backbone", "shufflenet_v2", "--weights", "none", "--size", "32", "--epochs", "1"),
    *("--head-epochs", "0", "--batch-size", "16", "--device", "cpu", "--precision", "fp32"),
)
COLUMNS = [
    *("variant", "model", "modalities", "fusion", "steps", "method", "backbone", "split", "seed"),
    *("fold", "n_test", "correct"),
    *("accuracy", "ci_low", "ci_high", "macro_precision", "macro_recall", "macro_f1"),
    *("parameters", "seconds", "paper_accuracy"),
]


Ferfusion = Callable[..., Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "data"
    return write_synthetic_dataset(folder, subjects=10, size_px=48)


@pytest.fixture(scope="module")
def studied(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of all twelve models; tests that change it take a copy."""
    out = tmp_path_factory.mktemp("study") / "out"
    done = subprocess.run(
        [FERFUSION, "study", data, *FAST, "--note", "Drawn.", "--out", out],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture
def copied(studied: Path, tmp_path: Path) -> Path:
    return shutil.copytree(studied, tmp_path / "study")


def read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


def when_changed(out: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in sorted((out / "runs").rglob("*")) if p.is_file()}


def calibrate(table: Path, run: Path, out: Path) -> Path:
    """Writes a study's predictions as `evaluate` gives them: at the run's temperature."""
    predictions = read_predictions(table)
    temperature = json.loads((run / "run.json").read_text())["temperature"]
    probs = apply_temperature(predictions.probs, temperature)
    write_predictions(replace(predictions, probs=probs), out)
    return out


def assert_same_answers(one: Path, other: Path) -> None:
    """Compares predictions; sums in another order differ in the last digits."""
    (columns, rows), (other_columns, other_rows) = read_csv(one), read_csv(other)
    assert columns == other_columns
    for row, other_row in zip(rows, other_rows, strict=True):
        for column in columns[:3]:
            assert row[column] == other_row[column]
        for label in columns[3:]:
            assert float(row[label]) == pytest.approx(float(other_row[label]), abs=1e-5)


# ---------------------------------------------------------------------------------------- inspect


def test_inspect_says_what_was_understood(ferfusion: Ferfusion, data: Path, tmp_path: Path) -> None:
    answer = ferfusion("inspect", data, "--size", 32, "--out", tmp_path / "sheets")
    assert answer.code == 0, answer.said
    assert "50 of 50 samples have visible, infrared, msx" in answer.said
    assert "10 subjects, from subjects.csv; samples each: least 5, median 5, most 5" in answer.said
    for label in VIRI:
        assert re.search(rf"{label} 10 10 10 10 10", answer.said)
    for sheet in ("samples.png", "augmentation-sound.png"):
        with Image.open(tmp_path / "sheets" / sheet) as picture:
            assert np.asarray(picture).std() > 10


def break_pictures(data: Path, folder: Path) -> tuple[Path, list[Path]]:
    broken_data = shutil.copytree(data, folder)
    pictures = sorted(broken_data.rglob("*.png"))
    broken = [pictures[3], pictures[60], pictures[-1]]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(b"this is no picture")
    broken[2].write_bytes(broken[2].read_bytes()[:500])
    return broken_data, broken


@pytest.mark.parametrize("command", ["inspect", "train", "study"])
def test_broken_pictures_are_all_listed_before_anything_is_trained(
    ferfusion: Ferfusion, data: Path, tmp_path: Path, command: str
) -> None:
    broken_data, broken = break_pictures(data, tmp_path / "data")
    options = ("--size", 32) if command == "inspect" else FAST
    answer = ferfusion(command, broken_data, *options, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "3 image files can't be used" in answer.err
    for path in broken:
        assert str(path) in answer.err
    assert "Traceback" not in answer.err
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("run.json"))


# ------------------------------------------------------------------------------------------ train


def test_train_single_then_again_does_nothing_new(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    line = ("train", data, "--modalities", "infrared", *FAST, "--out", out)
    answer = ferfusion(*line)
    assert answer.code == 0, answer.said
    assert "infrared, single, seed 0: test" in answer.said
    checkpoint = load_checkpoint(out)
    assert checkpoint.blueprint.fusion == "single"
    assert checkpoint.blueprint.labels == VIRI
    assert checkpoint.preprocessing.size_px == 32
    assert checkpoint.recipe["epochs"] == 1
    assert tomllib.loads((out / "config.toml").read_text())["backbone"] == "shufflenet_v2"
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert "was there already" in ferfusion(*line).said
    assert (out / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "name", "singles"),
    [
        (("--fusion", "early", "--steps", 3), "early, 3-step", True),
        (("--fusion", "early", "--steps", 1), "early, 1-step", False),
        (("--fusion", "late"), "late", True),
    ],
)
def test_train_fusion(
    ferfusion: Ferfusion,
    data: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    name: str,
    singles: bool,
) -> None:
    out = tmp_path / "run"
    answer = ferfusion("train", data, "--modalities", "visible,msx", *options, *FAST, "--out", out)
    assert answer.code == 0, answer.said
    assert f"visible + MSX, {name}, seed 0: test" in answer.said
    assert (out / "stages" / "msx" / "run.json").exists() == singles
    assert not list(out.rglob("unfinished.safetensors"))
    again = ferfusion("evaluate", out, data)
    assert again.code == 0, again.said
    scored = r"(\d+/\d+) = "
    assert re.search(scored, again.said)[1] == re.search(scored, answer.said.split(name)[-1])[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--modalities", "visible", "--fusion", "early"), "needs two or three modalities"),
        (("--fusion", "single"), "A single model sees one modality"),
        (("--fusion", "early", "--steps", 2), "--steps is 2"),
        (("--seed", "0,1"), "train takes one --seed"),
        (("--weights", "resnet18=x.pth"), "no model of this study has the backbone resnet18"),
        (("--split-file", "nowhere.csv"), "nowhere.csv"),
        (("--device", "cuda:99"), "cuda:99"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(
    ferfusion: Ferfusion,
    data: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    words: str,
) -> None:
    answer = ferfusion("train", data, *FAST, *options, "--out", tmp_path / "run")
    assert answer.code == 2
    assert words in answer.err
    assert answer.err.startswith("Error: ")
    assert not list(tmp_path.rglob("*.safetensors"))


# --------------------------------------------------------------------------------------- evaluate


def test_evaluate_takes_the_test_part_of_the_training_data(
    ferfusion: Ferfusion, studied: Path, data: Path, tmp_path: Path
) -> None:
    run, table = studied / "runs" / "visible", tmp_path / "answers.csv"
    answer = ferfusion("evaluate", run, data, "--out", table)
    assert answer.code == 0, answer.said
    assert "40 of these 50 samples trained or chose this model and are left out" in answer.said
    expected = calibrate(studied / "predictions" / "visible.csv", run, tmp_path / "expected.csv")
    assert_same_answers(table, expected)
    assert "not overwritten" in ferfusion("evaluate", run, data, "--out", table).err

    whole = ferfusion("evaluate", run, data, "--part", "all", "--out", tmp_path / "all.csv")
    assert "Careful" in whole.said
    assert len(read_csv(tmp_path / "all.csv")[1]) == 50
    ferfusion("evaluate", run, data, "--part", "val", "--out", tmp_path / "val.csv")
    ids = {row["sample_id"] for row in read_csv(tmp_path / "val.csv")[1]}
    assert ids == set(read_split(run / "split.csv").parts["val"])


def make_other_data(folder: Path) -> Path:
    """Writes faces of other people under other names, with only two of the classes."""
    drawn = write_synthetic_dataset(folder / "drawn", subjects=3, size_px=48, seed=7)
    rows = []
    for label in ("Happy", "Sad"):
        for path in sorted((drawn / f"VIRI-{label}-Vis").iterdir()):
            files = {k: drawn / f"VIRI-{label}-{k}" / path.name for k in ("Vis", "Ir", "MSX")}
            rows.append([f"other-{path.stem}", "", label, *files.values()])
    table = folder / "other.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_id", "subject", "expression", "visible", "infrared", "msx"])
        writer.writerows(rows)
    return table


def test_evaluate_takes_all_of_other_data(
    ferfusion: Ferfusion, studied: Path, tmp_path: Path
) -> None:
    other, table = make_other_data(tmp_path), tmp_path / "answers.csv"
    run = studied / "runs" / "late-visible-infrared-msx"
    answer = ferfusion("evaluate", run, other, "--out", table)
    assert answer.code == 0, answer.said
    columns, rows = read_csv(table)
    assert columns == ["sample_id", "subject", "label", *VIRI]
    assert len(rows) == 6
    assert re.search(r"\d/6 = ", answer.said)
    refused = ferfusion("evaluate", run, other, "--part", "test")
    assert refused.code == 2
    assert "No sample is left" in refused.err


def test_evaluate_knows_pictures_not_names(
    ferfusion: Ferfusion, studied: Path, data: Path, tmp_path: Path
) -> None:
    # Other people's faces whose files are called just like those of the training data.
    other = write_synthetic_dataset(tmp_path / "other", subjects=4, size_px=48, seed=3)
    run = studied / "runs" / "visible"
    answer = ferfusion("evaluate", run, other, "--out", tmp_path / "other.csv")
    assert answer.code == 0, answer.said
    assert "left out" not in answer.said
    assert len(read_csv(tmp_path / "other.csv")[1]) == 20
    # The training data under another name.
    shutil.copytree(data, tmp_path / "moved")
    answer = ferfusion("evaluate", run, tmp_path / "moved", "--out", tmp_path / "moved.csv")
    expected = calibrate(studied / "predictions" / "visible.csv", run, tmp_path / "expected.csv")
    assert_same_answers(tmp_path / "moved.csv", expected)


def test_evaluate_refuses_unknown_classes_and_folders_without_a_model(
    ferfusion: Ferfusion, studied: Path, data: Path, tmp_path: Path
) -> None:
    table = make_other_data(tmp_path)
    table.write_text(table.read_text().replace("Sad", "disgust", 1))
    answer = ferfusion("evaluate", studied / "runs" / "visible", table)
    assert answer.code == 2
    assert "disgust" in answer.err
    assert "never learned" in answer.err
    answer = ferfusion("evaluate", studied, data)
    assert answer.code == 2
    assert "holds no trained model" in answer.err


# ------------------------------------------------------------------------------------------ study


def test_study_leaves_what_the_issue_promises(studied: Path, data: Path) -> None:
    columns, rows = read_csv(studied / "results.csv")
    assert columns == COLUMNS
    assert len(rows) == 12
    assert [r["fusion"] for r in rows] == ["single"] * 3 + ["early"] * 6 + ["late"] * 3
    for row in rows:
        columns, answers = read_csv(studied / "predictions" / f"{row['model']}.csv")
        assert columns == ["sample_id", "subject", "label", *VIRI]
        assert len(answers) == int(row["n_test"]) == 10
        right = sum(max(VIRI, key=lambda c: float(a[c])) == a["label"] for a in answers)
        assert right == int(row["correct"])
        assert float(row["accuracy"]) == right / 10
        assert row["split"] == "subject"
        folder = studied / "runs" / row["model"]
        assert load_checkpoint(folder).blueprint.fusion == row["fusion"]
        facts = json.loads((folder / "run.json").read_text())
        assert facts["recipe"]["epochs"] == 1
        assert facts["versions"]["torch"]
        assert facts["split_checksum"] == read_split(folder / "split.csv").checksum
    papers = {row["model"]: row["paper_accuracy"] for row in rows}
    assert float(papers["visible"]) == 0.7778
    assert papers["infrared"] == "", "the paper gives infrared for ResNet-18 alone"
    by_name = {row["model"]: int(row["parameters"]) for row in rows}
    singles = sum(by_name[m] for m in ("visible", "infrared", "msx"))
    assert by_name["late-visible-infrared-msx"] == singles
    assert len([p for p in (studied / "runs").iterdir() if p.is_dir()]) == 12
    assert not list(studied.rglob("unfinished.safetensors"))
    assert not list(studied.rglob("*.part"))
    assert tomllib.loads((studied / "config.toml").read_text())["size"] == 32


def test_report_loads_nothing_from_elsewhere(studied: Path) -> None:
    page = (studied / "report.html").read_text()
    loads = re.findall(r"""(?:src|href|data|poster|action)\s*=\s*["']?([^"'\s>]+)""", page)
    loads += re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""", page)
    # Links may lead to what lies beside the page; nothing else is named.
    outside = [a for a in loads if not a.startswith(("data:", "#")) and not (studied / a).exists()]
    assert outside == []
    assert "<script src" not in page
    assert "Drawn." in page
    for row in read_csv(studied / "results.csv")[1]:
        assert f"{row['correct']}/{row['n_test']}" in page


def test_more_rows_and_seeds_train_only_what_is_missing(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    first = ferfusion("study", data, *FAST, "--rows", "visible,infrared", "--out", out)
    assert first.code == 0, first.said
    assert [r["model"] for r in read_csv(out / "results.csv")[1]] == ["visible", "infrared"]
    before = when_changed(out)
    wanted = "visible,infrared,late-visible-infrared,early-visible-infrared-3step"
    more = ferfusion("study", data, *FAST, "--rows", wanted, "--seed", "0,1", "--out", out)
    assert more.code == 0, more.said
    after = when_changed(out)
    assert {path: after[path] for path in before} == before
    rows = read_csv(out / "results.csv")[1]
    assert sorted((r["model"], r["seed"]) for r in rows) == sorted(
        (model, seed) for model in wanted.split(",") for seed in "01"
    )
    assert (out / "predictions" / "visible-seed1.csv").exists()
    assert more.said.count("was there already") == 2

    # Asking for less shows everything that is finished all the same.
    again = ferfusion("study", data, *FAST, "--rows", "infrared", "--seed", "1", "--out", out)
    assert again.code == 0
    assert when_changed(out) == after
    assert read_csv(out / "results.csv")[1] == rows


def test_a_row_alone_brings_the_single_models_it_needs(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    answer = ferfusion("study", data, *FAST, "--rows", "late-visible-msx", "--out", out)
    assert answer.code == 0, answer.said
    runs = {p.name for p in (out / "runs").iterdir() if p.is_dir()}
    assert runs == {"visible", "msx", "late-visible-msx"}
    models = [r["model"] for r in read_csv(out / "results.csv")[1]]
    assert models == ["visible", "msx", "late-visible-msx"]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--epochs", "2", "epochs was 1, now 2"),
        ("--size", "40", "size was 32, now 40"),
        ("--backbone", "resnet18", "backbone was 'shufflenet_v2', now 'resnet18'"),
        ("--split", "paper", "split was 'subject', now 'paper'"),
        ("--augmentation", "paper", "augmentation was 'sound', now 'paper'"),
    ],
)
def test_other_options_into_the_same_folder_are_refused(
    ferfusion: Ferfusion, copied: Path, data: Path, option: str, value: str, words: str
) -> None:
    before = when_changed(copied)
    answer = ferfusion("study", data, *FAST, option, value, "--out", copied)
    assert answer.code == 2
    assert words in answer.err
    assert "--out" in answer.err
    assert when_changed(copied) == before
    assert tomllib.loads((copied / "config.toml").read_text())["epochs"] == 1


def test_other_data_or_a_folder_of_others_is_refused(
    ferfusion: Ferfusion, copied: Path, tmp_path: Path
) -> None:
    other = write_synthetic_dataset(tmp_path / "other", subjects=10, size_px=48, seed=1)
    answer = ferfusion("study", other, *FAST, "--out", copied)
    assert answer.code == 2
    assert "the data or its pictures are others" in answer.err
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    answer = ferfusion("study", other, *FAST, "--out", tmp_path / "thesis")
    assert answer.code == 2
    assert "nothing is overwritten" in answer.err
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_saved_config_makes_the_same_study(ferfusion: Ferfusion, copied: Path, data: Path) -> None:
    before = when_changed(copied)
    answer = ferfusion("study", data, "--config", copied / "config.toml", "--out", copied)
    assert answer.code == 0, answer.said
    assert answer.said.count("was there already") == 12
    assert when_changed(copied) == before


def test_interrupted_study_goes_on_and_finishes(
    ferfusion: Ferfusion, studied: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    line = ("study", data, *FAST, "--note", "Drawn.", "--out", out)
    process = subprocess.Popen(
        [FERFUSION, *(str(w) for w in line)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / "runs" / "infrared" / "run.json").exists():
            assert process.poll() is None, "it ended before it could be interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Stopped" in err
    assert "Traceback" not in err
    assert not (out / "results.csv").exists()
    before = when_changed(out)
    finished = {p: t for p, t in before.items() if (p.parent / "run.json").exists()}

    answer = ferfusion(*line)
    assert answer.code == 0, answer.said
    after = when_changed(out)
    assert {p: after[p] for p in finished} == finished
    # The same answers as the study that nobody interrupted.
    for path in sorted((studied / "predictions").iterdir()):
        assert_same_answers(path, out / "predictions" / path.name)


def test_a_run_that_fails_stops_nothing_else_and_is_named(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    line = ("study", data, *FAST, "--rows", "late-visible-infrared,msx", "--out", out)
    (out / "runs").mkdir(parents=True)
    in_the_way = out / "runs" / "infrared"
    in_the_way.write_text("a file where a folder belongs")
    answer = ferfusion(*line)
    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert "2 runs failed. Everything else is kept" in answer.err
    assert re.search(r"^  infrared: .*infrared", answer.err, re.M)
    assert "  late-visible-infrared: infrared, which it needs, failed" in answer.err
    assert "infrared failed:" in answer.out
    assert [r["model"] for r in read_csv(out / "results.csv")[1]] == ["visible", "msx"]
    page = (out / "report.html").read_text()
    assert "infrared, which it needs, failed" in page
    before = when_changed(out)

    in_the_way.unlink()
    answer = ferfusion(*line)
    assert answer.code == 0, answer.said
    after = when_changed(out)
    kept = {path: when for path, when in before.items() if path != in_the_way}
    assert {path: after[path] for path in kept} == kept
    models = [r["model"] for r in read_csv(out / "results.csv")[1]]
    assert models == ["visible", "infrared", "msx", "late-visible-infrared"]
    assert "which it needs, failed" not in (out / "report.html").read_text()


def test_when_nothing_can_be_done_there_is_no_page(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    (out / "runs").mkdir(parents=True)
    (out / "runs" / "msx").write_text("a file where a folder belongs")
    answer = ferfusion("study", data, *FAST, "--rows", "msx", "--out", out)
    assert answer.code == 2
    assert "1 run failed" in answer.err
    assert not (out / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--folds", 1), "--folds 1 would test on what was learned"),
        (("--folds", 2, "--split-file", "mine.csv"), "--folds draws its splits"),
        (("--folds", 9, "--rows", "msx"), "9 folds by subject need at least 11 subjects"),
        (("--backbones", "vgg16"), "--backbones belongs to a plan"),
        (("--workers", 2, "--devices", 2), "--workers and --ray give each model one process"),
        (("--workers", 2, "--ray", "local", "--rows", "msx"), "with --ray leave them out"),
        (("--plan", "sond"), "Did you mean 'sound'?"),
        (("--plan", "sound", "--devices", 2), "A plan trains many models"),
        (("--plan", "sound", "--rows", "vissible"), "Did you mean 'visible'?"),
        (("--plan", "sound", "--backbones", "resnet-18"), "Did you mean 'resnet18'?"),
        (("--plan", "quirks", "--quirks", "same_flips"), "identical_flips"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused_before_anything_is_trained(
    ferfusion: Ferfusion, data: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    given = [word for word in FAST if "--plan" not in options or word != "--backbone"]
    if "--plan" in options:
        given.remove("shufflenet_v2")
    answer = ferfusion("study", data, *given, *options, "--out", tmp_path / "out")
    assert answer.code == 2
    assert words in answer.err
    assert not list(tmp_path.rglob("run.json"))


def test_a_plan_has_backbones_of_its_own(ferfusion: Ferfusion, data: Path, tmp_path: Path) -> None:
    answer = ferfusion("study", data, *FAST, "--plan", "sound", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "--backbone shufflenet_v2 would change nothing. Give --backbones" in answer.err


def test_folds_without_a_plan(ferfusion: Ferfusion, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    rows = ("--rows", "regions-svm-visible,regions-svm-infrared")
    line = ("study", data, *FAST, *rows, "--folds", 3, "--seed", "0,4")
    answer = ferfusion(*line, "--out", out)
    assert answer.code == 0, answer.said
    runs = {p.name for p in (out / "runs").iterdir() if p.is_dir()}
    assert runs == {
        f"regions-svm-{m}{seed}-fold{fold}"
        for m in ("visible", "infrared")
        for seed in ("", "-seed4")
        for fold in (1, 2, 3)
    }
    results = read_csv(out / "results.csv")[1]
    assert len(results) == 12
    assert {(r["fold"], r["variant"], r["steps"]) for r in results} == {
        (fold, "", "") for fold in "123"
    }
    everybody = sorted(
        i for part in read_split(next(out.rglob("split.csv"))).parts.values() for i in part
    )
    for name in ("visible", "visible-seed4", "infrared", "infrared-seed4"):
        _, answers = read_csv(out / "predictions" / f"regions-svm-{name}.csv")
        assert sorted(a["sample_id"] for a in answers) == everybody
    assert {p.name for p in (out / "splits").iterdir()} == {
        f"subject-seed{seed}-fold{fold}of3.csv" for seed in (0, 4) for fold in (1, 2, 3)
    }


def test_split_by_image_says_what_it_flatters(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    line = ("study", data, *FAST, "--rows", "msx", "--split", "paper", "--out", out)
    assert ferfusion(*line).code == 0
    (row,) = read_csv(out / "results.csv")[1]
    assert row["split"] == "paper"
    assert "in more than one part of the split" in (out / "report.html").read_text()


def test_split_file_is_used(
    ferfusion: Ferfusion, studied: Path, data: Path, tmp_path: Path
) -> None:
    lines = (studied / "runs" / "visible" / "split.csv").read_text().splitlines()[1:]
    swap = {"test": "val", "val": "test"}
    swapped = [",".join(((c := line.split(","))[0], swap.get(c[1], c[1]))) for line in lines]
    path = tmp_path / "my-split.csv"
    path.write_text("\n".join(swapped) + "\n")
    out = tmp_path / "run"
    line = ("train", data, "--modalities", "visible", "--split-file", path, *FAST, "--out", out)
    answer = ferfusion(*line)
    assert answer.code == 0, answer.said
    kept = read_split(out / "split.csv").parts
    assert kept["test"] == read_split(studied / "runs" / "visible" / "split.csv").parts["val"]


# ----------------------------------------------------------------------------- help, names, config


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("study", "--help"), ("train", "--help"), ("config", "show")]
)
def test_help_is_instant_and_loads_no_torch(words: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        "from ferfusion.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'cv2', 'matplotlib', 'scipy', 'sklearn', 'timm', 'numpy'}\n"
        "    print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - start
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
    assert "--" in done.stdout or "[" in done.stdout
    assert seconds < 1


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("studdy", "DATA"), "Did you mean 'study'?"),
        (("train", "DATA", "--out", "X", "--epoch", "3"), "--epochs"),
        (("train", "DATA", "--out", "X", "--optimiser", "adamww"), "Did you mean 'adamw'?"),
        (("train", "DATA", "--out", "X", "--modalities", "visibel"), "Did you mean 'visible'?"),
        (("study", "DATA", "--out", "X", "--rows", "late-visible"), "Did you mean 'late-visible-"),
        (("study", "DATA", "--out", "X", "--backbone", "resnet-18"), "Did you mean 'resnet18'?"),
        (("study", "DATA", "--out", "X", "--epochs", "many"), "--epochs must be a whole number"),
        (("study", "DATA", "--out", "X", "--epochs", "0"), "--epochs is 0"),
        (("study", "DATA", "--out", "X", "--config", "nowhere.toml"), "nowhere.toml"),
        (("study", "NOWHERE", "--out", "X"), "NOWHERE"),
        (("study", "DATA"), "--out"),
    ],
)
def test_misspelt_words_are_named(
    ferfusion: Ferfusion,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("DATA").symlink_to(data)
    answer = ferfusion(*words)
    assert answer.code == 2
    assert hint in answer.err
    assert "Traceback" not in answer.err
    assert not Path("X").exists()


def test_shown_config_is_accepted_and_the_command_line_wins(
    ferfusion: Ferfusion, tmp_path: Path
) -> None:
    shown = ferfusion("config", "show")
    assert shown.code == 0
    values = tomllib.loads(shown.out)
    assert list(values) == list(OPTIONS)
    for name, option in OPTIONS.items():
        assert f"# {option.metadata['comment']}\n{name} = " in shown.out
    path = tmp_path / "mine.toml"
    path.write_text(shown.out.replace(f"\nepochs = {values['epochs']}\n", "\nepochs = 77\n"))
    again = ferfusion("config", "show", "--config", path)
    assert again.out == path.read_text()
    assert tomllib.loads(again.out)["epochs"] == 77


def test_check_names_packages_devices_and_weights(ferfusion: Ferfusion) -> None:
    answer = ferfusion("check")
    assert answer.code == 0, answer.said
    for word in ("torch", "opencv-python-headless", "cpu", "fp32", "resnet18", "ghostnet"):
        assert word in answer.said


def test_version(ferfusion: Ferfusion) -> None:
    assert re.search(r"\d+\.\d+\.\d+", ferfusion("--version").out)


@pytest.mark.parametrize("script", ["demo", "test", "check", "setup"])
def test_the_readme_commands_can_be_run(script: str) -> None:
    path = REPOSITORY / "scripts" / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash")


# --------------------------------------------------------------------------------- two processes


def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    # As `ferfusion train --devices 2`, but each process also writes down what it ended with.
    script = tmp_path / "witness.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from ferfusion.cli.main import main\n"
        "from ferfusion.models.checkpoint import write_tensors\n"
        "from ferfusion.training import stages\n"
        "plain = stages.fit\n"
        "def fit(fabric, model, *rest, **named):\n"
        "    history = plain(fabric, model, *rest, **named)\n"
        f"    folder = Path({str(tmp_path)!r})\n"
        "    write_tensors(folder / f'rank{fabric.global_rank}.safetensors', model.state_dict())\n"
        "    return history\n"
        "stages.fit = fit\n"
        "main()\n"
    )
    out = tmp_path / "run"
    line = ("train", data, "--modalities", "visible", *FAST, "--devices", "2", "--out", out)
    line = (*line, "--epochs", "2", "--batch-size", "15")
    done = subprocess.run(
        [sys.executable, script, *(str(w) for w in line)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("seed 0: test") == 1, "only one process speaks"
    one, other = (read_tensors(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    kept = read_tensors(out / "model.safetensors")
    for name, tensor in one.items():
        assert tensor.equal(other[name]), name
        assert tensor.equal(kept[name]), name
    facts = json.loads((out / "run.json").read_text())
    assert facts["processes"] == 2
    split = read_split(out / "split.csv").parts
    assert [e["val_n"] for e in facts["history"]] == [len(split["val"])] * 2
    assert facts["val_n"] == len(split["val"])
    assert facts["record"]["n_test"] == len(split["test"])
    assert len(read_csv(out / "test.csv")[1]) == len(split["test"])
    assert len(list(out.rglob("model.safetensors"))) == 1


def test_a_leaking_study_says_so_wherever_its_numbers_go(
    ferfusion: Ferfusion, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "copied.csv"
    rows = []
    for sample in open_dataset(data).samples:
        paths = [str(sample.images[m].path) for m in MODALITIES]
        rows.append((sample.id, str(sample.subject), sample.expression, *paths))
        # The same pictures under the name of somebody else, who is drawn into another part.
        rows.append((f"again/{sample.id}", f"x{len(rows)}", sample.expression, *paths))
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("sample_id", "subject", "expression", "visible", "infrared", "msx"), *rows]
        )
    line = ("study", table, *FAST, "--rows", "regions-svm-visible", "--out", "out")
    refused = ferfusion(*line)
    assert refused.code == 2
    assert "--allow-leaks" in refused.err
    answer = ferfusion(*line, "--allow-leaks")
    assert answer.code == 0, answer.said
    run = tmp_path / "out" / "runs" / "regions-svm-visible"
    told = json.loads((run / "run.json").read_text())["leaks"]
    assert any("same file" in sentence for sentence in told)
    assert "The split leaks" in (tmp_path / "out" / "report.html").read_text()
    assert "The split leaks" in (tmp_path / "out" / "tables.tex").read_text()
    again = ferfusion("rerun", run)
    assert again.code == 0, again.said
    assert f"Its split leaks: {told[0]}" in again.said


def test_an_svms_features_have_a_cost_and_a_study_shows_what_training_makes_of_a_picture(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    rows = ("--rows", "frozen-svm-visible,frozen-svm-early-visible-infrared,regions-svm-infrared")
    answer = ferfusion("study", data, *FAST, *rows, "--out", out)
    assert answer.code == 0, answer.said
    one, two, regions = (
        json.loads((out / "runs" / name / "cost.json").read_text())
        for name in ("frozen-svm-visible", "frozen-svm-early-visible-infrared",
                     "regions-svm-infrared")
    )  # fmt: skip
    assert two["gflop"] == pytest.approx(2 * one["gflop"])
    assert two["megabytes"] == one["megabytes"], "one trunk looks at both"
    assert (regions["gflop"], regions["memory_mb"]) == (None, None)
    assert min(cost["latency_ms"] for cost in (one, two, regions)) > 0
    assert (out / "figures" / "augmentation.png").stat().st_size > 1000


# ------------------------------------------------------------------------------- what is said when


def test_train_says_in_which_numbers_it_computes_and_where_the_time_went(
    ferfusion: Ferfusion, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferfusion.training.machine.cpu_has_bf16", lambda: True)
    line = ("train", data, *FAST, "--modalities", "infrared", "--backbone", "resnet18")
    out = tmp_path / "run"
    answer = ferfusion(*line, "--precision", "auto", "--profile", "--out", out)
    assert answer.code == 0, answer.said
    assert answer.out.count("Computing in bf16 (this CPU and resnet18 gain by it; ") == 1
    assert "Where the time went" in answer.said
    assert re.search(r"infrared [\d.]+ s( \d+%){5}", answer.said)
    assert json.loads((out / "run.json").read_text())["precision"] == "bf16"
    again = ferfusion(*line, "--out", tmp_path / "fp32")
    assert again.code == 0, again.said
    assert "Computing" not in again.said
    assert "Where the time went" not in again.said


def test_study_says_in_which_numbers_it_computes(
    ferfusion: Ferfusion, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferfusion.training.machine.cpu_has_bf16", lambda: True)
    (tmp_path / "thesis.txt").touch()
    line = (*FAST, "--backbone", "resnet18", "--precision", "auto", "--out", tmp_path)
    answer = ferfusion("study", data, *line)
    assert answer.code == 2
    assert answer.out.count("Computing in bf16") == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_gets_a_sentence(
    ferfusion: Ferfusion,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("ferfusion.cli.train.save_config", fail)
    answer = ferfusion("train", data, *FAST, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "The disk is full" in answer.said
    assert "Make room" in answer.said
    assert "Traceback" not in answer.said


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_page(
    ferfusion: Ferfusion, data: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copied / "figures")
    (copied / "report.html").unlink()

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def break_down(*_: object) -> None:
        raise ValueError("no such colour")

    monkeypatch.setattr("ferfusion.cli.study.draw_activation_maps", fill)
    monkeypatch.setattr("ferfusion.cli.study.write_figures", break_down)
    answer = ferfusion("study", data, *FAST, "--note", "Drawn.", "--out", copied)
    assert answer.code == 0, answer.said
    assert "activation-maps.png is missing" in answer.said
    assert "The disk is full" in answer.said
    assert "Some figures are missing" in answer.said
    assert "no such colour" in answer.said
    page = (copied / "report.html").read_text()
    assert "figures/augmentation.png" in page
    assert "figures/activation-maps.png" not in page
