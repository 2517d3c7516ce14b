"""Plans of many tables, in folds and in several processes, and repeating what they made."""

import csv
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferfusion.data.splits import PARTS, read_split
from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.modality import MODALITIES
from ferfusion.reporting.comparisons import compare_models
from ferfusion.study.plan import Row, list_variants
from ferfusion.study.schedule import read_finished
from ferfusion.study.summary import describe_run
from ferfusion.training.recipe import QUIRKS

FERFUSION = Path(sys.executable).with_name("ferfusion")
PEOPLE = 12
FAST = (
    *("--backbones", "shufflenet_v2", "--weights", "none", "--size", "64", "--epochs", "1"),
    *("--folds", "2", "--batch-size", "16", "--device", "cpu", "--precision", "fp32"),
)
TABLES = ("shufflenet_v2", "alexnet")
# One model of every kind that the plan has; all of them would take twice the time.
ROWS = [
    *("visible", "infrared", "msx"),
    *("early-visible-infrared-1step", "early-visible-infrared-3step"),
    *("late-visible-infrared", "late-visible-infrared-msx"),
    *("attention-visible", "attention-infrared", "attention-early-visible-infrared-3step"),
    "regions-svm-visible",
    *("regions-svm-early-visible-infrared", "regions-svm-late-visible-infrared"),
    *("frozen-svm-msx", "frozen-svm-early-visible-msx"),
    *("alexnet-svm-visible", "alexnet-svm-early-visible-infrared"),
]
FEW = "late-visible-infrared"
FEW_MODELS = ("visible", "infrared", FEW)
FEW_RUNS = [f"{model}-fold{fold}" for fold in (1, 2) for model in FEW_MODELS]

Ferfusion = Callable[..., Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "data"
    return write_synthetic_dataset(folder, subjects=PEOPLE, size_px=64)


@pytest.fixture(scope="module")
def sound(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished plan, made by two processes; tests that change it take a copy."""
    out = tmp_path_factory.mktemp("sound") / "out"
    line = ("study", data, "--plan", "sound", *FAST, "--rows", ",".join(ROWS), "--workers", "2")
    done = subprocess.run(
        [FERFUSION, *line, "--out", out],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture
def cut_down(sound: Path, tmp_path: Path) -> Path:
    """The same study, as if only few of its models had been asked for."""
    out = tmp_path / "study"
    for run in FEW_RUNS:
        shutil.copytree(sound / TABLES[0] / "runs" / run, out / TABLES[0] / "runs" / run)
    shutil.copytree(sound / TABLES[0] / "splits", out / TABLES[0] / "splits")
    shutil.copy(sound / TABLES[0] / "setup.json", out / TABLES[0])
    shutil.copy(sound / "config.toml", out)
    return out


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def when_changed(out: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in sorted(out.glob("*/runs/*/*")) if p.is_file()}


def read_page(out: Path) -> str:
    """Gives what a reader sees: no style, no script, no figure."""
    page = (out / "report.html").read_text()
    page = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [FERFUSION, *(str(word) for word in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def assert_same_to_the_last_digit(out: Path, sound: Path, models: tuple[str, ...]) -> None:
    for model in models:
        for folder in (f"{TABLES[0]}/runs/{model}-fold1", f"{TABLES[0]}/runs/{model}-fold2"):
            for name in ("split.csv", "val.csv", "test.csv"):
                ours, theirs = out / folder / name, sound / folder / name
                assert ours.read_bytes() == theirs.read_bytes(), ours
        table = Path("predictions", TABLES[0], f"{model}.csv")
        assert (out / table).read_bytes() == (sound / table).read_bytes(), table


# ----------------------------------------------------------------------------------- the plan sound


def list_planned(*names: str) -> Iterator[tuple[str, Row]]:
    for variant in list_variants("sound", names, MODALITIES, ["shufflenet_v2"]):
        for row in variant.rows:
            yield variant.name, row


def test_plan_sound_leaves_all_its_files(sound: Path) -> None:
    kinds, tested = (
        {(row.fusion, row.steps, row.method) for _, row in list_planned(*names)}
        for names in (["all"], ROWS)
    )
    assert tested == kinds
    planned = [(table, row.name) for table, row in list_planned(*ROWS)]
    assert [name for _, name in planned] == ROWS
    rows = read_csv(sound / "results.csv")
    assert [(r["variant"], r["model"], r["fold"]) for r in rows] == [
        (*model, fold) for model in planned for fold in "12"
    ]
    assert {r["variant"] for r in rows} == set(TABLES)
    assert {r["split"] for r in rows} == {"subject"}
    assert sum(path.is_dir() for path in sound.glob("*/runs/*")) == 2 * len(planned)
    for table, model in planned:
        assert (sound / "predictions" / table / f"{model}.csv").exists()
    assert len(list((sound / "predictions").rglob("*.csv"))) == len(planned)
    assert "table" in (sound / "tables.tex").read_text()
    assert not list(sound.rglob("unfinished.safetensors"))
    assert not list(sound.rglob("*.part"))
    config = tomllib.loads((sound / "config.toml").read_text())
    assert (config["plan"], config["folds"], config["split"]) == ("sound", 2, "subject")
    assert config["backbones"] == ["shufflenet_v2"]


def test_every_sample_is_tested_once_by_every_model(sound: Path, data: Path) -> None:
    runs = read_csv(sound / "results.csv")
    everybody: set[str] = set()
    for path in sorted((sound / "predictions").rglob("*.csv")):
        answers = read_csv(path)
        ids = [a["sample_id"] for a in answers]
        assert len(set(ids)) == len(ids) == 5 * PEOPLE
        everybody = everybody or set(ids)
        assert set(ids) == everybody
        labels = list(answers[0])[3:]
        right = sum(max(labels, key=lambda c: float(a[c])) == a["label"] for a in answers)
        model, table = path.stem, path.parent.name
        folds = [r for r in runs if (r["variant"], r["model"]) == (table, model)]
        assert right == sum(int(r["correct"]) for r in folds)
        assert len(answers) == sum(int(r["n_test"]) for r in folds)
    subject_of = {a["sample_id"]: a["subject"] for a in answers}
    for path in sound.glob("*/runs/*/split.csv"):
        parts = read_split(path).parts
        people = [{subject_of[i] for i in parts[part]} for part in PARTS]
        assert sum(map(len, people)) == len(set.union(*people)) == PEOPLE


def test_tables_of_one_plan_share_splits_and_data(sound: Path) -> None:
    facts = [json.loads(path.read_text()) for path in sound.glob("*/runs/*/run.json")]
    assert len({f["data_fingerprint"] for f in facts}) == 1
    assert len({f["split_checksum"] for f in facts}) == 2, "one for each fold"
    assert {f["record"]["fold"]: f["split_checksum"] for f in facts}.keys() == {1, 2}


def test_page_says_better_and_worse_only_where_a_test_does(sound: Path) -> None:
    finished = read_finished([sound / table for table in TABLES])
    comparisons = compare_models([describe_run(run) for run in finished])
    found = Counter(comparison.verdict for comparison in comparisons)
    assert found["better"] + found["worse"] > 0, "else this test looks at nothing"
    assert found["no difference shown"] > 0
    page = (sound / "report.html").read_text()
    for verdict in ("better", "worse"):
        cells = re.findall(rf'<td class="count {verdict}">{verdict}</td>', page)
        assert len(cells) == found[verdict]
    # Elsewhere only where the words are explained.
    words = Counter(re.findall(r"\b(better|worse)\b", read_page(sound).lower()))
    assert words["better"] == found["better"] + 1
    assert words["worse"] == found["worse"] + 1


def test_page_shows_every_model_with_its_pooled_count(sound: Path) -> None:
    page = read_page(sound)
    runs = read_csv(sound / "results.csv")
    for table, row in list_planned(*ROWS):
        model = row.name
        folds = [r for r in runs if (r["variant"], r["model"]) == (table, model)]
        pooled = sum(int(r["correct"]) for r in folds)
        assert f"{pooled}/{5 * PEOPLE} = " in page
    for word in ("plan: sound", "2 folds", "each fold", "Wilson"):
        assert word in page


def test_again_nothing_is_trained(ferfusion: Ferfusion, cut_down: Path, data: Path) -> None:
    before = when_changed(cut_down)
    line = ("study", data, "--config", cut_down / "config.toml", "--rows", FEW, "--out", cut_down)
    answer = ferfusion(*line)
    assert answer.code == 0, answer.said
    assert answer.said.count("was there already") == len(FEW_RUNS)
    assert "training" not in answer.said
    after = when_changed(cut_down)
    assert {path: after[path] for path in before} == before
    added = {path.name for path in after.keys() - before.keys()}
    assert added <= {"cost.json"}
    assert len(read_csv(cut_down / "results.csv")) == len(FEW_RUNS)


# ------------------------------------------------------------------------------------ other plans


def test_plan_quirks(ferfusion: Ferfusion, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # The paper augments each picture to 26, so few of them must do.
    people = 6
    data = write_synthetic_dataset(tmp_path / "faces", subjects=people, size_px=32)
    small = ("--size", "32", "--rows", "visible")
    answer = ferfusion("study", data, "--plan", "quirks", *FAST, *small, "--out", out)
    assert answer.code == 0, answer.said
    rows = read_csv(out / "results.csv")
    tables = ["none", *QUIRKS]
    assert [(r["variant"], r["fold"]) for r in rows] == [(t, f) for t in tables for f in "12"]
    by_image = {r["variant"] for r in rows if r["split"] == "paper"}
    assert by_image == {"image_split"}
    for table in tables:
        for fold in (1, 2):
            facts = json.loads((out / table / "runs" / f"visible-fold{fold}/run.json").read_text())
            assert facts["recipe"]["quirks"] == ([] if table == "none" else [table])
            assert facts["recipe"]["augmentation"] == "paper"
            assert (facts["shared_subjects"] > 0) == (table == "image_split")
    page = read_page(out)
    for quirk in QUIRKS:
        assert quirk in page or quirk.replace("_", " ") in page
    # Each quirk is held against none, on the same samples.
    comparisons = compare_models(
        [describe_run(r) for r in read_finished([out / t for t in tables])]
    )
    assert [c.question for c in comparisons] == ["what does the quirk change?"] * len(QUIRKS)
    assert all(len(c.paired.first) == 5 * people for c in comparisons)


def test_a_folder_holds_one_plan(ferfusion: Ferfusion, cut_down: Path, data: Path) -> None:
    before = when_changed(cut_down)
    line = ("study", data, *FAST, "--rows", "visible", "--out", cut_down)
    answer = ferfusion(*line, "--plan", "quirks")
    assert answer.code == 2
    assert "holds a study of the plan sound, now the plan is quirks" in answer.err
    plain = ("--backbone", "shufflenet_v2", "--weights", "none", "--size", 64)
    answer = ferfusion("study", data, *plain, "--rows", "visible", "--out", cut_down)
    assert answer.code == 2
    assert "not empty and not ours" in answer.err
    answer = ferfusion(*line, "--plan", "sound", "--epochs", 2)
    assert answer.code == 2
    assert "epochs was 1, now 2" in answer.err
    assert f"--config {cut_down / 'config.toml'}" in answer.err
    assert when_changed(cut_down) == before
    assert tomllib.loads((cut_down / "config.toml").read_text())["plan"] == "sound"


def test_a_plan_leaves_the_folders_of_others_alone(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("precious")
    answer = ferfusion("study", data, "--plan", "sound", *FAST, "--out", tmp_path)
    assert answer.code == 2
    assert "nothing is overwritten" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


# ------------------------------------------------------- several processes, some of them killed


def find_holder(process: subprocess.Popen[str], lock: Path) -> int | None:
    """Finds the child that has a file open."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        try:
            links = [link.readlink() for link in Path(f"/proc/{child}/fd").iterdir()]
        except OSError:  # it has just ended, or the file was just closed
            continue
        if lock in links:
            return int(child)
    return None


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds processes by /proc")
def test_a_killed_worker_loses_its_run_and_nothing_else(
    ferfusion: Ferfusion, sound: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = ("study", data, "--plan", "sound", *FAST, "--rows", FEW, "--out", out)
    lock = out / TABLES[0] / "runs" / ".infrared-fold1.lock"
    process = start(*line, "--workers", 2)
    try:
        deadline = time.monotonic() + 120
        while (victim := find_holder(process, lock)) is None:
            assert process.poll() is None, "it ended before a worker could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.003)
        os.kill(victim, signal.SIGKILL)
        said, err = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 2, said + err
    assert "Traceback" not in err
    assert "2 runs failed. Everything else is kept" in err
    assert re.search(rf"{TABLES[0]}/infrared-fold1: .*signal 9 \(Killed\)", err)
    assert f"{FEW}-fold1: {TABLES[0]}/infrared-fold1, which it needs, failed" in err
    rows = read_csv(out / "results.csv")
    missing = {"infrared-fold1", f"{FEW}-fold1"}
    made = {f"{r['model']}-fold{r['fold']}" for r in rows}
    assert made == set(FEW_RUNS) - missing
    page = read_page(out)
    assert "signal 9 (Killed)" in page
    assert "which it needs, failed" in page

    before = when_changed(out)
    answer = ferfusion(*line)
    assert answer.code == 0, answer.said
    assert answer.said.count("was there already") == len(FEW_RUNS) - len(missing)
    after = when_changed(out)
    assert {path: after[path] for path in before} == before
    assert "signal 9" not in read_page(out)
    # As if nobody had killed anything.
    assert_same_to_the_last_digit(out, sound, FEW_MODELS)


def test_two_studies_share_a_folder(sound: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Both decode all pictures, too.
    cache = ("--cache", tmp_path / "cache")
    line = ("study", data, "--plan", "sound", *FAST, "--rows", FEW, *cache, "--out", out)
    both = [start(*line), start(*line)]
    try:
        answers = [process.communicate(timeout=300) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], answers
    told = [line for said, _ in answers for line in said.splitlines() if ": test " in line]
    assert len(told) == 2 * len(FEW_RUNS)
    old = [line for line in told if "was there already" in line]
    assert len(old) == len(FEW_RUNS), "each run is made by one of them, and read by the other"
    assert not any("Error" in err or "Traceback" in err for _, err in answers)
    assert not list(out.rglob("unfinished.safetensors"))
    assert not list(out.rglob("*.part"))
    assert len(read_csv(out / "results.csv")) == len(FEW_RUNS)
    # What one process made, and what several made: no digit differs.
    assert_same_to_the_last_digit(out, sound, FEW_MODELS)


# ------------------------------------------------------------------------------------------ rerun


@pytest.mark.parametrize(
    "name",
    [
        f"{TABLES[0]}/runs/visible-fold2",
        f"{TABLES[0]}/runs/early-visible-infrared-3step-fold1",
        f"{TABLES[0]}/runs/late-visible-infrared-msx-fold2",
        f"{TABLES[0]}/runs/attention-early-visible-infrared-3step-fold1",
        f"{TABLES[0]}/runs/frozen-svm-early-visible-msx-fold1",
        f"{TABLES[1]}/runs/alexnet-svm-visible-fold2",
    ],
)
def test_rerun_comes_out_the_same_to_the_last_digit(
    ferfusion: Ferfusion,
    sound: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = sound / name
    before = when_changed(sound)
    answer = ferfusion("rerun", run)
    assert answer.code == 0, answer.said
    assert "The same, to the last digit" in answer.said
    again = tmp_path / f"rerun-{run.name}"
    for file in ("split.csv", "val.csv", "test.csv"):
        assert (again / file).read_bytes() == (run / file).read_bytes()
    facts = json.loads((again / "rerun.json").read_text())
    assert facts["same_answers"] == facts["n"] == 5 * PEOPLE // 2
    assert facts["largest_probability_difference"] == 0
    assert when_changed(sound) == before


def test_rerun_of_a_model_that_was_trained_alone(
    ferfusion: Ferfusion, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ("--backbone", "shufflenet_v2", *FAST[2:8], "--device", "cpu", "--modalities", "msx")
    assert ferfusion("train", data, *options, "--out", run).code == 0
    answer = ferfusion("rerun", run, "--out", tmp_path / "again")
    assert answer.code == 0, answer.said
    assert "The same, to the last digit" in answer.said
    assert "(was there already)" not in answer.said
    # What was read back would prove nothing.
    answer = ferfusion("rerun", run, "--out", tmp_path / "again")
    assert answer.code == 2
    assert "holds an earlier repetition" in answer.err
    answer = ferfusion("rerun", run, "--out", run)
    assert answer.code == 2


def test_rerun_tells_numbers_that_were_changed_by_hand(
    ferfusion: Ferfusion, sound: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(sound / TABLES[0] / "runs/regions-svm-visible-fold1", tmp_path / "run")
    table = (run / "test.csv").read_text().splitlines()
    for place, line in enumerate(table[1:4], start=1):
        cells = line.split(",")
        least = min(range(3, 8), key=lambda column: float(cells[column]))
        cells[3:] = ["1.0" if column == least else "0.0" for column in range(3, 8)]
        table[place] = ",".join(cells)
    (run / "test.csv").write_text("\n".join(table) + "\n")
    answer = ferfusion("rerun", run, "--out", tmp_path / "again")
    assert answer.code == 1
    assert "Not the same: 3 of 30 answers differ" in answer.said
    assert json.loads((tmp_path / "again/rerun.json").read_text())["same_answers"] == 27


def test_rerun_refuses_other_data_and_finds_data_that_moved(
    ferfusion: Ferfusion, sound: Path, data: Path, tmp_path: Path
) -> None:
    run = sound / TABLES[0] / "runs/regions-svm-visible-fold2"
    other = write_synthetic_dataset(tmp_path / "other", subjects=4, size_px=64, seed=5)
    answer = ferfusion("rerun", run, "--data", other, "--out", tmp_path / "again")
    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert not (tmp_path / "again" / "run.json").exists()

    moved = shutil.copytree(data, tmp_path / "moved")
    forgetful = shutil.copytree(run, tmp_path / "run")
    facts = json.loads((forgetful / "run.json").read_text())
    facts["data"] = str(tmp_path / "gone")
    (forgetful / "run.json").write_text(json.dumps(facts))
    answer = ferfusion("rerun", forgetful, "--out", tmp_path / "again")
    assert answer.code == 2
    assert "which isn't there" in answer.err
    assert "--data" in answer.err
    answer = ferfusion("rerun", forgetful, "--data", moved, "--out", tmp_path / "again")
    assert answer.code == 0, answer.said
    assert "The same, to the last digit" in answer.said
    # One picture of the same name, redrawn.
    picture = next(moved.glob("VIRI-Happy-Ir/*.png"))
    shutil.copy(next(other.glob("VIRI-Happy-Ir/*.png")), picture)
    answer = ferfusion("rerun", forgetful, "--data", moved, "--out", tmp_path / "once-more")
    assert answer.code == 2
    assert "is not the data that" in answer.err


def test_rerun_of_what_is_no_run(ferfusion: Ferfusion, sound: Path, tmp_path: Path) -> None:
    answer = ferfusion("rerun", sound, "--out", tmp_path / "again")
    assert answer.code == 2
    assert "is not a finished run: it has no run.json" in answer.err
