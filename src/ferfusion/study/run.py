"""Runs the rows of a comparison, each once, and keeps everything that is finished.

A run is finished when its `run.json` is there: that file is written last. Whatever is finished is
read back instead of being done again, and a training that was stopped goes on from its last saved
epoch.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ferfusion.atomic import write_text
from ferfusion.data.cache import ImageStore
from ferfusion.data.splits import (
    Split,
    shared_subjects,
    write_split,
)
from ferfusion.errors import ResultsError
from ferfusion.evaluation.predictions import Predictions, read_predictions, write_predictions
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.blueprint import count_parameters
from ferfusion.models.checkpoint import load_checkpoint, save_checkpoint
from ferfusion.reporting.record import RunRecord, make_record
from ferfusion.study.manifest import describe_versions
from ferfusion.study.plan import Row, list_rows
from ferfusion.study.workbench import Workbench
from ferfusion.training.loop import STATE, Epoch
from ferfusion.training.stages import Lab, Trained, fit_early, fit_single, mix_late

RUN, SPLIT, SEEN = "run.json", "split.csv", "seen.json"
VAL, TEST = "val.csv", "test.csv"


@dataclass(frozen=True)
class Finished:
    """One row under one seed, read from its folder.

    Attributes:
        record: Its line of results.csv.
        predictions: Of the test samples.
        facts: All of its run.json.
    """

    record: RunRecord
    predictions: Predictions
    facts: Mapping[str, Any]


@runtime_checkable
class Listener(Protocol):
    """Who wants to know how a study goes on."""

    def decode(self, done: int, total: int) -> None:
        """Told while pictures are decoded."""

    def plan(self, work: float) -> None:
        """Told how much work there is, in pictures to pass through one trunk."""

    def start(self, row: Row, seed: int, epochs: int) -> None:
        """A training begins."""

    def epoch(self, epoch: Epoch, work: float) -> None:
        """An epoch is over."""

    def finish(self, finished: Finished, work: float, *, is_new: bool) -> None:
        """A row is finished, now or earlier."""


def run_row(
    bench: Workbench,
    row: Row,
    seed: int,
    folder: Path,
    single_folders: Mapping[Modality, Path],
    listener: Listener,
) -> Finished:
    """Makes one model and everything that is kept of it, or reads it back if it is finished.

    Args:
        bench: Data and machine.
        row: Which model.
        seed: Of split and training.
        folder: Where it is kept.
        single_folders: Where the finished single models are that it starts from or mixes.
        listener: Told how it goes.
    """
    if (folder / RUN).exists():
        finished = read_run(folder)
        there = finished.record
        if (there.model, there.seed) != (row.name, seed):
            raise ResultsError(
                f"{folder} holds another model: {there.model} with seed {there.seed}, not "
                f"{row.name} with seed {seed}. Give another --out."
            )
        listener.finish(finished, bench.work(row, seed), is_new=False)
        return finished
    lab = bench.lab(seed)
    work = bench.work(row, seed)
    epochs = 0 if row.fusion == "late" else lab.recipe.epochs
    listener.start(row, seed, epochs)
    began = time.monotonic()

    def on_epoch(epoch: Epoch) -> None:
        listener.epoch(epoch, work / epochs)

    if row.fusion == "single":
        trained = fit_single(lab, row.modalities[0], folder, on_epoch)
    elif row.fusion == "early":
        trained = fit_early(lab, row.modalities, row.steps or 1, folder, single_folders, on_epoch)
    else:
        singles = {m: single_folders[m] for m in row.modalities}
        trained = mix_late(
            lab,
            {m: load_checkpoint(path).model for m, path in singles.items()},
            {m: read_predictions(path / VAL) for m, path in singles.items()},
            {m: read_predictions(path / TEST) for m, path in singles.items()},
        )
    seconds = time.monotonic() - began
    if trained.history is not None:
        # Counts what an interrupted training did before.
        seconds = max(seconds, sum(e.seconds for e in trained.history.epochs))
    if bench.fabric.is_global_zero:
        bench.commit_setup()
        _keep(bench, lab, row, trained, seconds, folder)
    bench.fabric.barrier()
    finished = read_run(folder)
    listener.finish(finished, 0, is_new=True)
    return finished


def _keep(
    bench: Workbench, lab: Lab, row: Row, trained: Trained, seconds: float, folder: Path
) -> None:
    save_checkpoint(
        folder, trained.model, trained.blueprint, lab.preprocessing, asdict(trained.recipe)
    )
    write_split(lab.split, folder / SPLIT)
    write_text(folder / SEEN, json.dumps(list_digests(bench.store, lab.split)) + "\n")
    write_predictions(trained.val, folder / VAL)
    write_predictions(trained.test, folder / TEST)
    record = make_record(
        trained.test,
        model=row.name,
        modalities=row.modalities,
        fusion=row.fusion,
        steps=row.steps,
        backbone=lab.backbone.name,
        split=lab.split.kind,
        seed=lab.recipe.seed,
        parameters=count_parameters(trained.model),
        seconds=round(seconds, 2),
        paper_accuracy=row.paper_accuracy(lab.backbone.name, lab.labels),
    )
    history = trained.history
    facts = {
        "record": asdict(record),
        "val_correct": int(trained.val.correct.sum()),
        "val_n": len(trained.val),
        "history": None if history is None else [asdict(epoch) for epoch in history.epochs],
        "best_epoch": None if history is None else history.best_epoch,
        "late_weights": None
        if trained.weights is None
        else {
            **asdict(trained.weights),
            "weights": {str(m): w for m, w in trained.weights.weights.items()},
        },
        "recipe": asdict(trained.recipe),
        "weights": Path(lab.weights).name,
        "size_px": lab.store.size_px,
        "precision": lab.hardware.precision,
        "device": lab.hardware.device,
        "processes": lab.fabric.world_size,
        "split_checksum": lab.split.checksum,
        "shared_subjects": len(shared_subjects(lab.split, bench.dataset)),
        "data_fingerprint": lab.store.fingerprint,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": describe_versions(),
    }
    write_text(folder / RUN, json.dumps(facts, indent=2) + "\n")
    (folder / STATE).unlink(missing_ok=True)


def read_run(folder: Path) -> Finished:
    """Reads a finished run.

    Raises:
        ResultsError: The folder holds none, or its run.json is damaged.
    """
    try:
        facts = json.loads((folder / RUN).read_text())
        record = RunRecord(**facts["record"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(
            f"{folder / RUN} is missing or damaged ({error}). Move {folder} away and run again."
        ) from error
    return Finished(record, read_predictions(folder / TEST), facts)


def order_with_needs(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Puts before each row the single models it needs, each once."""
    ordered: dict[Row, None] = {}
    for row in rows:
        ordered.update(dict.fromkeys((*row.needs, row)))
    return tuple(ordered)


def name_run(row: Row, seed: int) -> str:
    """Names a run's folder and files: the row, and the seed unless it is 0."""
    return row.name if seed == 0 else f"{row.name}-seed{seed}"


def run_rows(
    bench: Workbench, rows: Sequence[Row], seeds: Sequence[int], listener: Listener
) -> list[Finished]:
    """Runs every row under every seed; singles are trained once and reused.

    Returns:
        The rows asked for, seeds together, in the order of `rows`.
    """
    ordered = order_with_needs(rows)
    listener.plan(sum(bench.work(row, seed) for row in ordered for seed in seeds))
    results: dict[tuple[Row, int], Finished] = {}
    for seed in seeds:
        folders = {row: bench.out / "runs" / name_run(row, seed) for row in ordered}
        for row in ordered:
            singles = {need.modalities[0]: folders[need] for need in row.needs}
            finished = run_row(bench, row, seed, folders[row], singles, listener)
            results[row, seed] = finished
            if bench.fabric.is_global_zero:
                path = bench.out / "predictions" / f"{name_run(row, seed)}.csv"
                if not path.exists():
                    write_predictions(finished.predictions, path)
    return [results[row, seed] for row in rows for seed in seeds]


def read_finished(out: Path) -> list[Finished]:
    """Reads every finished run of a study, those of earlier calls too.

    Returns:
        In the order of the paper's tables, the seeds of a row together.
    """
    runs = [read_run(path.parent) for path in sorted((out / "runs").glob(f"*/{RUN}"))]
    order = [row.name for row in list_rows(MODALITIES)]
    return sorted(
        runs,
        key=lambda run: (
            order.index(run.record.model) if run.record.model in order else len(order),
            run.record.model,
            run.record.seed,
        ),
    )


def list_digests(store: ImageStore, split: Split) -> dict[str, list[str]]:
    """Lists the hashes of each part's picture files, and the subjects of train and val.

    By them `evaluate` knows pictures and people again.
    """
    part_of = {i: part for part, ids in split.parts.items() for i in ids}
    digests: dict[str, list[str]] = {part: [] for part in split.parts}
    learned = set(split.parts["train"]) | set(split.parts["val"])
    people = {s.subject for s in store.samples if s.id in learned and s.subject is not None}
    digests["subjects"] = sorted(people)
    for rows in store.digests.values():
        for sample, digest in zip(store.samples, rows, strict=True):
            if sample.id in part_of:
                digests[part_of[sample.id]].append(digest)
    return digests
