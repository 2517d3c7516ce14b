import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferfusion.data.splits import read_split
from ferfusion.errors import ResultsError
from ferfusion.evaluation.calibration import fit_temperature
from ferfusion.modality import Modality
from ferfusion.models.checkpoint import load_checkpoint
from ferfusion.reporting.record import make_record
from ferfusion.study.plan import Row
from ferfusion.study.run import Done, list_digests, name_run, read_run, run_row
from ferfusion.study.schedule import Table, open_bench
from ferfusion.study.workbench import Workbench
from ferfusion.training.recipe import Recipe

V, IR, M = Modality.VISIBLE, Modality.INFRARED, Modality.MSX
KEPT = {"run.json", "split.csv", "seen.json", "val.csv", "test.csv"}
MODEL = {"model.json", "model.safetensors"}


def say_nothing(event: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("row", "seed", "fold", "name"),
    [
        (Row("single", (V,)), 0, None, "visible"),
        (Row("single", (V,)), 2, None, "visible-seed2"),
        (Row("early", (V, M), 3), 0, 1, "early-visible-msx-3step-fold1"),
        (Row("late", (V, IR, M)), 10, 4, "late-visible-infrared-msx-seed10-fold4"),
        (Row("early", (V, M), None, "frozen-svm"), 0, 2, "frozen-svm-early-visible-msx-fold2"),
    ],
)
def test_name_of_a_run(row: Row, seed: int, fold: int | None, name: str) -> None:
    assert name_run(row, seed, fold) == name


def test_what_is_kept_of_every_run(small_study: Any) -> None:
    table: Table = small_study.table
    bench = open_bench(table)
    folders = sorted(p for p in (table.folder / "runs").iterdir() if p.is_dir())
    assert len(folders) == 10
    for folder in folders:
        run = read_run(folder)
        facts, record = run.facts, run.record
        files = {path.name for path in folder.iterdir()}
        assert files == (KEPT if "svm" in folder.name else KEPT | MODEL)
        split = read_split(folder / "split.csv")
        assert split == bench.split(0, record.fold)
        assert facts["split_checksum"] == split.checksum
        assert facts["shared_subjects"] == 0
        assert facts["data_fingerprint"] == bench.store.fingerprint
        assert facts["data"] == str(table.setup.root)
        assert facts["n_folds"] == 2
        assert facts["versions"]["torch"]
        assert facts["finished"].endswith("+00:00")
        # Who was asked, and that every number follows from the answers.
        assert run.predictions.sample_ids == split.parts["test"]
        assert run.val.sample_ids == split.parts["val"]
        assert record == make_record(
            run.predictions,
            model=record.model,
            modalities=[Modality(m) for m in record.modalities.split("+")],
            fusion=record.fusion,
            steps=record.steps,
            method=record.method,
            backbone=record.backbone,
            split="subject",
            seed=0,
            fold=record.fold,
            parameters=record.parameters,
            seconds=record.seconds,
            paper_accuracy=record.paper_accuracy,
        )
        assert facts["val_correct"] == int(run.val.correct.sum())
        assert facts["val_n"] == len(run.val)
        assert facts["temperature"] == pytest.approx(
            fit_temperature(run.val.probs, run.val.labels), rel=1e-6
        )
        if "svm" not in folder.name:
            checkpoint = load_checkpoint(folder)
            assert checkpoint.blueprint.fusion == record.fusion
            n_weights = sum(w.numel() for w in checkpoint.model.parameters())
            assert n_weights == record.parameters


def test_a_training_says_what_it_was_trained_with(small_study: Any) -> None:
    runs = small_study.table.folder / "runs"
    recipe = small_study.table.setup.recipe
    facts = read_run(runs / "visible-fold2").facts
    assert Recipe(**{**facts["recipe"], "quirks": tuple(facts["recipe"]["quirks"])}) == replace(
        recipe, backbone_learning_rate=recipe.learning_rate, frozen_norms=False
    ), "random trunks have the head's rate, and learn the statistics of their norms"
    assert len(facts["history"]) == 1
    assert facts["best_epoch"] == facts["history"][0]["epoch"]
    assert facts["history"][0]["val_correct"] == facts["val_correct"]
    late = read_run(runs / "late-visible-infrared-fold1").facts
    assert late["history"] is None
    assert sum(late["late_weights"]["weights"].values()) == pytest.approx(1)


def test_late_fusion_mixes_the_answers_of_its_single_models(small_study: Any) -> None:
    runs = small_study.table.folder / "runs"
    for fold in (1, 2):
        late = read_run(runs / f"late-visible-infrared-fold{fold}")
        weights = late.facts["late_weights"]["weights"]
        for part in ("val", "predictions"):
            single = {m: getattr(read_run(runs / f"{m}-fold{fold}"), part) for m in (V, IR)}
            mixed = sum(weights[m] * single[m].probs for m in (V, IR))
            np.testing.assert_allclose(getattr(late, part).probs, mixed, atol=1e-6)


def test_an_svm_says_what_validation_chose(small_study: Any) -> None:
    run = read_run(small_study.table.folder / "runs" / "regions-svm-late-visible-infrared-fold1")
    assert (run.record.backbone, run.record.method) == ("none", "regions-svm")
    assert run.facts["setup"]["backbone"] == "shufflenet_v2"
    assert run.facts["recipe"].keys() == {"seed", "visible", "infrared", "weights"}
    assert run.facts["history"] is run.facts["late_weights"] is None


def test_hashes_of_every_picture_by_part(small_study: Any) -> None:
    bench = open_bench(small_study.table)
    for fold in (1, 2):
        split = bench.split(0, fold)
        digests = list_digests(bench.store, split)
        people = digests.pop("subjects")
        for part, ids in split.parts.items():
            assert len(digests[part]) == 2 * len(ids)
        everything = [digest for part in digests.values() for digest in part]
        assert len(set(everything)) == len(everything) == 2 * len(bench.dataset.samples)
        tested = {s.subject for s in bench.dataset.samples if s.id in split.parts["test"]}
        assert set(people) == set(bench.dataset.subjects) - tested
        seen = small_study.table.folder / "runs" / f"visible-fold{fold}" / "seen.json"
        assert json.loads(seen.read_text()) == {**digests, "subjects": people}


def test_a_finished_run_is_read_back_and_another_model_is_refused(small_study: Any) -> None:
    table = small_study.table
    bench, folder = open_bench(table), table.folder / "runs" / "visible-fold1"
    told: list[Any] = []
    visible = Row("single", (V,))
    again = run_row(bench, visible, 0, folder, {}, told.append, fold=1)
    assert again.facts == read_run(folder).facts
    (done,) = told
    assert isinstance(done, Done)
    assert not done.is_new
    for row, seed, fold in (
        (Row("single", (IR,)), 0, 1),
        (visible, 1, 1),
        (visible, 0, 2),
        (Row("single", (V,), method="attention"), 0, 1),
    ):
        with pytest.raises(ResultsError, match=r"holds another model: visible with seed 0"):
            run_row(bench, row, seed, folder, {}, say_nothing, fold=fold)


def damage(folder: Path, how: str) -> None:
    path = folder / "run.json"
    facts = json.loads(path.read_text())
    match how:
        case "missing":
            path.unlink()
        case "half":
            path.write_text(path.read_text()[:100])
        case "older":
            del facts["record"]["method"]
            path.write_text(json.dumps(facts))
        case "list":
            path.write_text("[1, 2]")


@pytest.mark.parametrize("how", ["missing", "half", "older", "list"])
def test_damaged_run_is_named(small_study: Any, tmp_path: Path, how: str) -> None:
    folder = shutil.copytree(small_study.table.folder / "runs" / "visible-fold1", tmp_path / "run")
    damage(folder, how)
    with pytest.raises(ResultsError, match=r"missing, so|Move .* away and run again") as it:
        read_run(folder)
    assert str(folder / "run.json") in str(it.value)


def test_a_folder_that_another_study_took_meanwhile_is_left_alone(
    make_table: Callable[..., Table], tmp_path: Path
) -> None:
    # Two studies of different setups start on an empty folder at once: both find nothing there.
    table = make_table(tmp_path / "out", "regions-svm-infrared")
    other = make_table(tmp_path / "out", "regions-svm-infrared", recipe=Recipe(epochs=7))
    bench = Workbench(table.dataset, table.setup, table.folder, None)
    late_comer = Workbench(other.dataset, other.setup, other.folder, None)
    row = table.rows[0]
    folder = table.folder / "runs" / name_run(row, 0, 1)
    run_row(bench, row, 0, folder, {}, say_nothing, fold=1)
    second = folder.with_name(name_run(row, 0, 2))
    with pytest.raises(ResultsError, match="epochs was 1, now 7"):
        run_row(late_comer, row, 0, second, {}, say_nothing, fold=2)
    assert not second.exists()
    run_row(bench, row, 0, second, {}, say_nothing, fold=2)
    assert read_run(second).record.fold == 2
