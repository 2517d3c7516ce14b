import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferfusion.data.dataset import Dataset
from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.expression import VIRI
from ferfusion.modality import Modality
from ferfusion.reporting.summary import Skipped, StudySummary
from ferfusion.reporting.tables import make_rows, pool_folds
from ferfusion.sample import ImageFile, Sample
from ferfusion.study.run import Finished, read_run
from ferfusion.study.schedule import open_bench, read_finished
from ferfusion.study.summary import (
    VIRI_COUNTS,
    describe_recipe,
    describe_run,
    find_splits,
    summarise_study,
)


@pytest.fixture
def finished(small_study: Any) -> list[Finished]:
    return read_finished([small_study.table.folder])


def summarise(small_study: Any, finished: list[Finished], **more: Any) -> StudySummary:
    bench = open_bench(small_study.table)
    named = {"title": "Study", "n_incomplete": 0, "note": "", "command": "ferfusion study"}
    return summarise_study(bench.dataset, finished, **{**named, **more})


def test_summary_of_a_study(small_study: Any, finished: list[Finished]) -> None:
    skipped = (Skipped("msx-fold1", "It was killed."),)
    summary = summarise(
        small_study, finished, note="Drawn.", n_incomplete=2, plan="sound", skipped=skipped,
        leaks=("One is twice there.",), audited="Everything.", likely_shared="Perhaps.",
    )  # fmt: skip
    assert [run.record for run in summary.runs] == [run.record for run in finished]
    assert summary.data.class_counts == dict.fromkeys(VIRI, 6)
    assert (summary.data.n_subjects, summary.data.n_leftovers) == (6, 2)
    assert summary.data.note == "Drawn."
    assert not summary.data.is_viri
    assert summary.versions == finished[0].facts["versions"]
    assert (summary.plan, summary.skipped) == ("sound", skipped)
    assert summary.leaks == ("One is twice there.",)
    assert summary.audited == "Everything."
    assert summary.likely_shared == "Perhaps."
    assert [split.fold for split in summary.splits] == [1, 2]
    for split in summary.splits:
        assert split.shared_subjects == ()
        assert sum(split.subjects.values()) == 6
        assert sum(sum(counts.values()) for counts in split.counts.values()) == 30
    tested = [split.counts["test"] for split in summary.splits]
    assert {label: sum(t[label] for t in tested) for label in VIRI} == dict.fromkeys(VIRI, 6)


def test_folds_of_a_study_pool_to_every_sample_once(
    small_study: Any, finished: list[Finished]
) -> None:
    summary = summarise(small_study, finished)
    pooled = pool_folds(summary.runs)
    assert len(pooled) == 5
    everybody = sorted(s.id for s in open_bench(small_study.table).dataset.samples)
    for run in pooled:
        assert sorted(run.predictions.sample_ids) == everybody
        assert run.record.fold is None
        assert run.record.n_test == sum(run.fold_n) == 30
        assert run.record.correct == sum(run.fold_correct) == int(run.predictions.correct.sum())
    rows = make_rows(summary.runs)
    assert [row.n_test for row in rows] == [(30,)] * 5


def test_temperatures_are_those_of_validation(finished: list[Finished]) -> None:
    for run in finished:
        report = describe_run(run)
        (temperature,) = report.temperatures
        assert temperature == run.facts["temperature"]
        wanted = apply_temperature(run.predictions.probs, temperature)
        np.testing.assert_array_equal(report.calibrated, wanted)


def test_choice_of_late_fusion_is_seen_among_all_mixtures(
    small_study: Any, finished: list[Finished]
) -> None:
    summary = summarise(small_study, finished)
    late = [run for run in summary.runs if run.record.model == "late-visible-infrared"]
    assert len(late) == 2
    for run, source in zip(late, [f for f in finished if f.record.fusion == "late"], strict=False):
        (choice,) = run.late
        assert choice.modalities == ("visible", "infrared")
        weights = source.facts["late_weights"]["weights"]
        assert choice.mixture == pytest.approx(weights)
        assert choice.correct[choice.chosen] == choice.correct.max() == run.val_correct
        assert choice.n == run.val_n
        assert choice.n_tied == source.facts["late_weights"]["n_tied"]
    others = [run for run in summary.runs if run not in late]
    assert not any(run.late for run in others)
    # Without the single models nothing can be said of the mixtures that lost.
    alone = next(run for run in finished if run.record.model == "late-visible-infrared")
    assert describe_run(alone).late == ()
    assert describe_run(alone, {}).late == ()


def test_stages_are_those_that_were_trained(finished: list[Finished]) -> None:
    names = {
        run.record.model: [stage.name for stage in describe_run(run).stages] for run in finished
    }
    assert names == {
        "visible": ["visible"],
        "infrared": ["infrared"],
        "early-visible-infrared-3step": ["fusion"],
        "late-visible-infrared": [],
        "regions-svm-late-visible-infrared": [],
    }


def test_costs_are_shown_where_they_were_measured(small_study: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(small_study.table.folder / "runs" / "visible-fold1", tmp_path / "run")
    assert describe_run(read_run(folder)).cost is None
    cost = {"megabytes": 6.1, "gflop": 0.02, "latency_ms": 15.5, "memory_mb": 6.0, "device": "cpu"}
    (folder / "cost.json").write_text(json.dumps(cost))
    found = describe_run(read_run(folder)).cost
    assert found is not None
    assert (found.gflop, found.device) == (0.02, "cpu")


def test_recipe_in_words(finished: list[Finished]) -> None:
    by_name = {run.record.model: run.facts for run in finished}
    recipe = describe_recipe(by_name["visible"])
    assert recipe["first weights"] == "none"
    assert recipe["picture size"] == "32 px"
    assert recipe["epochs"] == "1"
    assert recipe["quirks"] == "none"
    assert "seed" not in recipe
    quirky = {**by_name["visible"], "weights": "/some/where/trunk.safetensors"}
    quirky["recipe"] = {**quirky["recipe"], "quirks": ["double_softmax", "image_split"]}
    assert describe_recipe(quirky)["quirks"] == "double_softmax, image_split"
    assert describe_recipe(quirky)["first weights"] == "trunk.safetensors"
    # What one SVM chose in one fold is not what a table was trained with.
    svm = describe_recipe(by_name["regions-svm-late-visible-infrared"])
    assert "support vector machine" in svm["classifier"]
    assert not {"c", "kernel", "visible", "weights", "temperature"} & svm.keys()


def test_what_others_report_stands_beside_its_row(
    small_study: Any, finished: list[Finished]
) -> None:
    summary = summarise(small_study, finished)
    assert summary.reported.keys() == {"visible"}, "of ShuffleNet the paper gives visible and MSX"
    reported = summary.reported["visible"]
    assert (reported.percent, reported.correct, reported.n) == (77.78, 70, 90)
    assert reported.recipe
    as_resnet = [replace(run, record=replace(run.record, backbone="resnet18")) for run in finished]
    assert summarise(small_study, as_resnet).reported.keys() == {
        "visible", "infrared", "early-visible-infrared-3step", "late-visible-infrared",
    }  # fmt: skip


def test_only_virs_own_counts_are_called_viri(small_study: Any, finished: list[Finished]) -> None:
    images = {m: ImageFile(Path("a.png")) for m in Modality}
    samples = tuple(
        Sample(f"{label}{n}", label, None, images)
        for label, count in zip(VIRI, VIRI_COUNTS, strict=True)
        for n in range(count)
    )
    viri = Dataset(Path("faces"), "", "", None, VIRI, samples)
    named = {"title": "", "n_incomplete": 0, "command": ""}
    assert summarise_study(viri, finished, note="", **named).data.is_viri
    # Who says what the data is knows better than a count.
    assert not summarise_study(viri, finished, note="Stand-in.", **named).data.is_viri
    fewer = replace(viri, samples=samples[1:])
    assert not summarise_study(fewer, finished, note="", **named).data.is_viri


def test_splits_are_gathered_from_all_tables(finished: list[Finished], tmp_path: Path) -> None:
    def rename(run: Finished, variant: str, **facts: Any) -> Finished:
        record = replace(run.record, variant=variant)
        return replace(run, record=record, facts={**run.facts, **facts})

    same = [rename(run, variant) for variant in ("a", "b") for run in finished]
    assert [(used.fold, used.tables) for used in find_splits(same)] == [
        (1, ("a", "b")), (2, ("a", "b")),
    ]  # fmt: skip
    other = [rename(run, "c", split_checksum=f"other {run.record.fold}") for run in finished]
    found = find_splits([*same, *other])
    assert [(used.fold, used.tables) for used in found] == [
        (1, ("a", "b")), (2, ("a", "b")), (1, ("c",)), (2, ("c",)),
    ]  # fmt: skip


def test_a_split_is_also_found_where_it_was_drawn(small_study: Any, tmp_path: Path) -> None:
    table = shutil.copytree(small_study.table.folder, tmp_path / "table")
    for path in (table / "runs").glob("*/split.csv"):
        path.unlink()
    drawn = find_splits(read_finished([table]))
    kept = find_splits(read_finished([small_study.table.folder]))
    assert [used.split.checksum for used in drawn] == [used.split.checksum for used in kept]
