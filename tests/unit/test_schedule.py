import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferfusion.errors import ConfigError
from ferfusion.locks import hold
from ferfusion.modality import MODALITIES
from ferfusion.study.executors import Failure
from ferfusion.study.plan import Row, list_other_rows, list_rows
from ferfusion.study.run import Done, Learned, Started, Waiting
from ferfusion.study.schedule import (
    Table,
    list_jobs,
    open_bench,
    order_with_needs,
    read_finished,
    run_job,
    run_jobs,
)

V, IR, M = MODALITIES
MakeTable = Callable[..., Table]
SIX = [
    *("visible", "infrared", "early-visible-infrared-3step"),
    *("late-visible-infrared", "regions-svm-late-visible-infrared"),
]


def when_changed(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def copy(table: Table, folder: Path) -> Table:
    """Gives the same table in another folder, with all that is there."""
    shutil.copytree(table.folder, folder)
    return replace(table, folder=folder)


def run(table: Table) -> tuple[tuple[Failure, ...], list[tuple[str, Any]]]:
    events: list[tuple[str, Any]] = []
    failures = run_jobs(list_jobs([table], [0]), lambda name, e: events.append((name, e)))
    return failures, events


# ------------------------------------------------------------------------------------------- order


def test_needs_come_first_and_once() -> None:
    rows = (*list_rows(MODALITIES), *list_other_rows(MODALITIES))
    for some in (rows, rows[::-1], rows[-1:], (Row("late", (V, M)),)):
        ordered = order_with_needs(some)
        assert len(set(ordered)) == len(ordered)
        assert set(some) <= set(ordered)
        for place, row in enumerate(ordered):
            assert set(row.needs) <= set(ordered[:place])
    singles = [Row("single", (V,)), Row("single", (M,))]
    assert order_with_needs([Row("late", (V, M))]) == (*singles, Row("late", (V, M)))


def test_jobs_have_names_and_folders_of_their_own(make_table: MakeTable, tmp_path: Path) -> None:
    tables = [make_table(tmp_path, name=name) for name in ("one", "two")]
    jobs = list_jobs(tables, [0, 3, 0])
    assert len(jobs) == 2 * 2 * 2 * 5, "a seed given twice is one seed"
    assert len({job.name for job in jobs}) == len({job.folder for job in jobs}) == len(jobs)
    place = {job.name: n for n, job in enumerate(jobs)}
    for job in jobs:
        assert all(place[need.name] < place[job.name] for need in job.needs)
    assert jobs[0].name == "one/visible-fold1"
    assert jobs[-1].name == "two/regions-svm-late-visible-infrared-seed3-fold2"
    assert jobs[0].folder == tmp_path / "one" / "runs" / "visible-fold1"
    late = next(job for job in jobs if job.name == "one/late-visible-infrared-seed3-fold2")
    assert [n.name for n in late.needs] == ["one/visible-seed3-fold2", "one/infrared-seed3-fold2"]


def test_one_table_without_folds_has_short_names(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table(tmp_path, "visible", n_folds=0)
    assert [job.name for job in list_jobs([table], [0, 1])] == ["visible", "visible-seed1"]


# ---------------------------------------------------------------------------------------- workbench


def test_a_workbench_is_opened_once_until_another_is_asked_for(
    make_table: MakeTable, tmp_path: Path
) -> None:
    table = make_table(tmp_path, "visible")
    bench = open_bench(table)
    assert open_bench(table) is bench
    assert open_bench(make_table(tmp_path, "visible")) is bench
    other = make_table(tmp_path, "visible", size_px=48)
    assert open_bench(other).store.size_px == 48
    assert open_bench(table).store.size_px == 32


# ----------------------------------------------------------------------------------------- running


def test_every_run_is_told_of_and_kept(small_study: Any) -> None:
    jobs = list_jobs([small_study.table], [0])
    told = {job.name: [e for name, e in small_study.events if name == job.name] for job in jobs}
    assert Counter(name for name, _ in small_study.events).keys() == told.keys()
    for job in jobs:
        started, *learned, done = told[job.name]
        trains = job.row.fusion != "late" and not job.row.is_svm
        assert started == Started(1 if trains else 0)
        assert len(learned) == (1 if trains else 0)
        assert all(isinstance(event, Learned) for event in learned)
        assert isinstance(done, Done)
        assert done.is_new
        assert done.record.model == job.row.name
        assert done.record.fold == job.fold
        assert (done.late_weights is not None) == (job.row.name == "late-visible-infrared")
        assert (job.folder / "run.json").exists()


def test_work_that_was_promised_is_what_is_told(small_study: Any) -> None:
    bench = open_bench(small_study.table)
    jobs = list_jobs([small_study.table], [0])
    promised = sum(bench.work(job.row, job.seed, job.fold) for job in jobs)
    told = sum(event.work for _, event in small_study.events if isinstance(event, Learned))
    assert promised == told > 0


def test_again_nothing_is_done(small_study: Any) -> None:
    before = when_changed(small_study.table.folder)
    failures, events = run(small_study.table)
    assert not failures
    assert len(events) == 10
    assert all(isinstance(event, Done) and not event.is_new for _, event in events)
    bench = open_bench(small_study.table)
    promised = sum(bench.work(j.row, j.seed, j.fold) for j in list_jobs([small_study.table], [0]))
    assert sum(event.work for _, event in events) == promised, "the bar must reach its end"
    assert when_changed(small_study.table.folder) == before


def test_finished_runs_are_read_in_the_order_of_the_paper(small_study: Any, tmp_path: Path) -> None:
    table = small_study.table
    finished = read_finished([table.folder])
    assert [(r.record.model, r.record.fold) for r in finished] == [
        (name, fold) for name in SIX for fold in (1, 2)
    ]
    for one in finished:
        assert len(one.predictions) == one.record.n_test
        assert one.folder == table.folder / "runs" / f"{one.record.model}-fold{one.record.fold}"
    copied = copy(table, tmp_path / "copy")
    strange = copied.folder / "runs" / "visible-fold1" / "run.json"
    facts = json.loads(strange.read_text())
    facts["record"]["model"] = "of-a-later-release"
    strange.write_text(json.dumps(facts))
    assert read_finished([copied.folder])[-1].record.model == "of-a-later-release"
    assert len(read_finished([copied.folder, table.folder])) == 20
    assert read_finished([tmp_path / "nothing"]) == []


def test_a_run_that_fails_stops_only_those_that_need_it(small_study: Any, tmp_path: Path) -> None:
    table = copy(small_study.table, tmp_path / "copy")
    runs = table.folder / "runs"
    for name in ("infrared-fold1", "late-visible-infrared-fold1", "visible-fold2"):
        shutil.rmtree(runs / name)
    kept = when_changed(runs)
    # Something that nobody expects: no exception of ours, so the failure keeps its trace.
    (runs / "infrared-fold1").write_text("a file where a folder belongs")
    failures, events = run(table)
    first, second, third = failures
    assert first.name == "infrared-fold1"
    assert "NotADirectoryError" in first.why or "FileExistsError" in first.why
    assert "Traceback" in first.trace
    # The 3-step model is finished, but what it is made of has failed: it isn't looked at.
    assert second == Failure(
        "early-visible-infrared-3step-fold1", "infrared-fold1, which it needs, failed"
    )
    assert third.name == "late-visible-infrared-fold1"
    assert [e for _, e in events if isinstance(e, Failure)] == list(failures)
    new = [name for name, event in events if isinstance(event, Done) and event.is_new]
    assert new == ["visible-fold2"]
    after = when_changed(runs)
    assert {path: after[path] for path in kept} == kept

    # Mended and started again, only what is missing is done, and it comes out as it was.
    (runs / "infrared-fold1").unlink()
    failures, events = run(table)
    assert failures == ()
    new = [name for name, event in events if isinstance(event, Done) and event.is_new]
    assert new == ["infrared-fold1", "late-visible-infrared-fold1"]
    for path in sorted(runs.glob("*/test.csv")):
        theirs = small_study.table.folder / "runs" / path.parent.name / "test.csv"
        assert path.read_text() == theirs.read_text(), path


def test_a_run_that_another_study_makes_is_waited_for(small_study: Any, tmp_path: Path) -> None:
    table = copy(small_study.table, tmp_path / "copy")
    job = next(j for j in list_jobs([table], [0]) if j.name == "infrared-fold2")
    finished = shutil.move(job.folder, tmp_path / "elsewhere")
    held, waited = threading.Event(), threading.Event()

    def other_study() -> None:
        with hold(job.folder):
            held.set()
            waited.wait(30)
            shutil.copytree(finished, job.folder)

    thread = threading.Thread(target=other_study)
    thread.start()
    held.wait(30)
    told: list[Any] = []

    def tell(event: Any) -> None:
        told.append(event)
        waited.set()

    run_job(job, tell)
    thread.join()
    waiting, done = told
    assert waiting == Waiting()
    assert isinstance(done, Done)
    assert not done.is_new


def test_workers_and_ray_are_not_asked_for_together() -> None:
    with pytest.raises(ConfigError, match="with --ray leave them out"):
        run_jobs([], lambda name, event: None, workers=2, ray="local")


def test_no_jobs_no_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_jobs([], lambda name, event: None) == ()
    assert run_jobs([], lambda name, event: None, workers=3) == ()
    assert os.environ["OMP_NUM_THREADS"] == "1"
