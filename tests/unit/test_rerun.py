import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferfusion.errors import ResultsError
from ferfusion.modality import MODALITIES
from ferfusion.study.plan import list_other_rows, list_rows
from ferfusion.study.rerun import (
    Repetition,
    describe_repetition,
    describe_row,
    recall_setup,
    repeat_run,
)
from ferfusion.study.run import Finished, read_run
from ferfusion.study.schedule import Table


def ignore(*event: Any) -> None:
    pass


@pytest.fixture
def visible(small_study: Any) -> Finished:
    return read_run(small_study.table.folder / "runs" / "visible-fold2")


@pytest.mark.parametrize(
    "row", [*list_rows(MODALITIES), *list_other_rows(MODALITIES)], ids=lambda row: row.name
)
def test_a_run_says_which_row_it_is(visible: Finished, row: Any) -> None:
    record = replace(
        visible.record,
        model=row.name,
        modalities="+".join(row.modalities),
        fusion=row.fusion,
        steps=row.steps,
        method=row.method,
    )
    assert describe_row(replace(visible, record=record)) == row


def test_setup_is_recalled(small_study: Any, visible: Finished, tmp_path: Path) -> None:
    setup = recall_setup(visible, None, tmp_path)
    assert setup.split_file == visible.folder / "split.csv"
    was = small_study.table.setup
    assert replace(setup, split_file=None, cache=None, n_folds=2) == was
    assert recall_setup(visible, "elsewhere.safetensors", None).weights == "elsewhere.safetensors"


def test_quirks_are_recalled_as_they_were(visible: Finished) -> None:
    facts = json.loads(json.dumps(dict(visible.facts)))
    facts["setup"]["recipe"]["quirks"] = ["double_softmax", "image_split"]
    facts["setup"]["early_schedule"] = "cosine"
    setup = recall_setup(replace(visible, facts=facts), None, None)
    assert setup.recipe.quirks == ("double_softmax", "image_split")
    assert setup.early_schedule == "cosine"


def test_a_run_of_an_older_release_is_refused(visible: Finished) -> None:
    facts = {name: value for name, value in visible.facts.items() if name != "setup"}
    with pytest.raises(ResultsError, match=r"doesn't say how it was made \('setup' is missing\)"):
        recall_setup(replace(visible, facts=facts), None, None)


def test_other_data_is_refused_before_anything_is_trained(
    visible: Finished, make_table: Callable[..., Table], tmp_path: Path
) -> None:
    table = make_table(tmp_path)
    renamed = tuple(
        replace(sample, subject="drawn001") if sample.subject == "drawn002" else sample
        for sample in table.dataset.samples
    )
    assert renamed != table.dataset.samples
    other = replace(table.dataset, samples=renamed)
    setup = recall_setup(visible, None, None)
    with pytest.raises(ResultsError, match=r"is not the data that .*--data"):
        repeat_run(visible, other, setup, tmp_path / "out", ignore, ignore)
    assert not list(tmp_path.rglob("run.json"))


def test_repetition_of_an_svm_and_of_a_network(
    small_study: Any, make_table: Callable[..., Table], tmp_path: Path
) -> None:
    dataset = make_table(tmp_path).dataset
    for name in ("regions-svm-late-visible-infrared-fold1", "visible-fold2"):
        before = read_run(small_study.table.folder / "runs" / name)
        setup = recall_setup(before, None, None)
        repetition = repeat_run(before, dataset, setup, tmp_path / name, ignore, ignore)
        assert repetition.is_same
        assert repetition.largest_difference == 0
        assert repetition.n == before.record.n_test == 15
        assert repetition.changes.keys() <= {"commit"}, "somebody may be at work"
        assert repetition.after.folder == tmp_path / name


def test_what_a_repetition_finds_changed(
    small_study: Any, visible: Finished, tmp_path: Path
) -> None:
    folder = shutil.copytree(visible.folder, tmp_path / "run")
    facts = json.loads((folder / "run.json").read_text())
    facts["versions"] = {**facts["versions"], "torch": "1.0", "abacus": "2"}
    (folder / "run.json").write_text(json.dumps(facts))
    table = (folder / "test.csv").read_text().splitlines()
    first = table[1].split(",")
    assert len(first) == 3 + 5
    probs = np.array(first[3:], float)
    worst = np.zeros(5)
    worst[probs.argmin()] = 1.0
    table[1] = ",".join([*first[:3], *map(str, worst)])
    (folder / "test.csv").write_text("\n".join(table) + "\n")
    changed = read_run(folder)
    dataset = small_study.table.dataset
    setup = recall_setup(changed, None, None)
    found = repeat_run(changed, dataset, setup, tmp_path / "again", ignore, ignore)
    assert not found.is_same
    assert (found.n, found.n_same) == (15, 14)
    assert found.largest_difference == pytest.approx(1 - probs.min())
    now = visible.facts["versions"]["torch"]
    changes = {name: pair for name, pair in found.changes.items() if name != "commit"}
    assert changes == {"torch": ("1.0", now), "abacus": ("2", "none")}
    plain = describe_repetition(found)
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["run"], plain["fold"], plain["same_answers"], plain["n"]) == (
        "visible",
        2,
        14,
        15,
    )
    assert plain["changes"]["torch"] == ["1.0", now]


def test_same_means_every_answer(visible: Finished) -> None:
    assert Repetition(visible, visible, n=90, n_same=90, largest_difference=0.1, changes={}).is_same
    assert not Repetition(
        visible, visible, n=90, n_same=89, largest_difference=0.0, changes={}
    ).is_same


def test_another_device_and_its_precision_take_the_place_of_the_runs_own(visible: Finished) -> None:
    facts = {**visible.facts, "device": "cuda", "precision": "bf16", "processes": 2}
    run = replace(visible, facts=facts)
    own = recall_setup(run, None, None).hardware
    assert (own.device, own.devices, own.precision) == ("cuda", 2, "bf16")
    here = recall_setup(run, None, None, "cpu").hardware
    assert (here.device, here.devices, here.precision) == ("cpu", 1, "auto")


def test_pattern_and_leaks_are_recalled(visible: Finished) -> None:
    assert recall_setup(visible, None, None).leaks == ()
    setup = {**visible.facts["setup"], "subject_pattern": r"(s\d+)_"}
    run = replace(visible, facts={**visible.facts, "setup": setup, "leaks": ["One is twice."]})
    again = recall_setup(run, None, None)
    assert (again.subject_pattern, again.leaks) == (r"(s\d+)_", ("One is twice.",))
