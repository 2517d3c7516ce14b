"""Makes one model and everything that is kept of it, or reads it back.

A run is finished when its `run.json` is there: that file is written last. Whatever is finished is
read back instead of being done again, and a training that was stopped goes on from its last saved
epoch.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ferfusion.atomic import write_text
from ferfusion.data.cache import ImageStore
from ferfusion.data.splits import Split, shared_subjects, write_split
from ferfusion.errors import ResultsError
from ferfusion.evaluation.calibration import fit_temperature
from ferfusion.evaluation.predictions import Predictions, read_predictions, write_predictions
from ferfusion.evaluation.run_folder import RUN, SEEN, SPLIT, TEST, VAL, read_facts
from ferfusion.modality import Modality
from ferfusion.models.blueprint import count_parameters
from ferfusion.models.checkpoint import load_checkpoint, save_checkpoint
from ferfusion.preprocessing import PICTURE
from ferfusion.reporting.record import RunRecord, make_record
from ferfusion.study.manifest import describe_versions
from ferfusion.study.plan import Row
from ferfusion.study.published import find_published
from ferfusion.study.workbench import Workbench
from ferfusion.training.baselines import Baseline, fit_baseline
from ferfusion.training.loop import STATE, Epoch
from ferfusion.training.stages import Lab, Trained, fit_early, fit_single, mix_late


@dataclass(frozen=True)
class Finished:
    """One row under one seed and fold, read from its folder.

    Attributes:
        record: Its line of results.csv.
        predictions: Of the test samples.
        val: Of the validation samples.
        facts: All of its run.json.
        folder: Where it lies.
    """

    record: RunRecord
    predictions: Predictions
    val: Predictions
    facts: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Started:
    """A training begins."""

    epochs: int


@dataclass(frozen=True)
class Learned:
    """An epoch is over; `work` is what it took, in pictures through one trunk."""

    epoch: Epoch
    work: float


@dataclass(frozen=True)
class Done:
    """A row is finished, now or earlier."""

    record: RunRecord
    late_weights: Mapping[str, float] | None
    work: float
    is_new: bool


@dataclass(frozen=True)
class Waiting:
    """Another study makes this very run; it is waited for."""


Event = Started | Learned | Done | Waiting
Tell = Callable[[Event], None]


def run_row(
    bench: Workbench,
    row: Row,
    seed: int,
    folder: Path,
    single_folders: Mapping[Modality, Path],
    tell: Tell,
    *,
    fold: int | None = None,
    variant: str = "",
) -> Finished:
    """Makes one model and everything that is kept of it, or reads it back if it is finished.

    Args:
        bench: Data and machine.
        row: Which model.
        seed: Of split and training.
        folder: Where it is kept.
        single_folders: Where the finished single models are that it starts from or mixes.
        tell: Told how it goes.
        fold: Which of the seed's splits, from 1; None where there is only one.
        variant: Name of the table it belongs to, in a study of several.
    """
    work = bench.work(row, seed, fold)
    if (folder / RUN).exists():
        finished = read_run(folder)
        there = finished.record
        if (there.model, there.seed, there.fold) != (row.name, seed, fold):
            raise ResultsError(
                f"{folder} holds another model: {there.model} with seed {there.seed}, not "
                f"{row.name} with seed {seed}. Give another --out."
            )
        tell(Done(there, _late_weights(finished.facts), work, is_new=False))
        return finished
    lab = bench.lab(row, seed, fold)
    epochs = 0 if row.fusion == "late" or row.is_svm else lab.recipe.epochs
    tell(Started(epochs))
    began = time.monotonic()

    def on_epoch(epoch: Epoch) -> None:
        tell(Learned(epoch, work / epochs))

    made = _make(lab, row, folder, single_folders, on_epoch)
    seconds = time.monotonic() - began
    if isinstance(made, Trained) and made.history is not None:
        # Counts what an interrupted training did before.
        seconds = max(seconds, sum(e.seconds for e in made.history.epochs))
    if bench.fabric.is_global_zero:
        bench.commit_setup()
        _keep(bench, lab, row, made, seconds, folder, fold, variant)
    bench.fabric.barrier()
    finished = read_run(folder)
    tell(Done(finished.record, _late_weights(finished.facts), 0, is_new=True))
    return finished


def _make(
    lab: Lab,
    row: Row,
    folder: Path,
    single_folders: Mapping[Modality, Path],
    on_epoch: Callable[[Epoch], None],
) -> Trained | Baseline:
    if row.method in ("alexnet-svm", "frozen-svm", "regions-svm"):
        return fit_baseline(lab, row.method, row.fusion, row.modalities)
    attention = row.method == "attention"
    if row.fusion == "single":
        return fit_single(lab, row.modalities[0], folder, on_epoch, attention=attention)
    if row.fusion == "early":
        steps = row.steps or 1
        return fit_early(
            lab, row.modalities, steps, folder, single_folders, on_epoch, attention=attention
        )
    singles = {m: single_folders[m] for m in row.modalities}
    return mix_late(
        lab,
        {m: load_checkpoint(path).model for m, path in singles.items()},
        {m: read_predictions(path / VAL) for m, path in singles.items()},
        {m: read_predictions(path / TEST) for m, path in singles.items()},
    )


def _keep(
    bench: Workbench,
    lab: Lab,
    row: Row,
    made: Trained | Baseline,
    seconds: float,
    folder: Path,
    fold: int | None,
    variant: str,
) -> None:
    if isinstance(made, Trained):
        save_checkpoint(folder, made.model, made.blueprint, lab.preprocessing, asdict(made.recipe))
        details = _describe_training(made)
        parameters = count_parameters(made.model)
    else:
        details = {"recipe": {"seed": lab.recipe.seed, **made.chosen}}
        parameters = made.parameters
    write_split(lab.split, folder / SPLIT)
    write_text(folder / SEEN, json.dumps(list_digests(bench.store, lab.split)) + "\n")
    write_predictions(made.val, folder / VAL)
    write_predictions(made.test, folder / TEST)
    # Two baselines bring features of their own, whatever the study's backbone.
    own = {"regions-svm": "none", "alexnet-svm": "alexnet"}
    backbone = own.get(row.method, lab.backbone.name)
    published = find_published(row.name, backbone, lab.labels)
    record = make_record(
        made.test,
        model=row.name,
        modalities=row.modalities,
        fusion=row.fusion,
        steps=row.steps,
        method=row.method,
        variant=variant,
        backbone=backbone,
        split=lab.split.kind,
        seed=lab.recipe.seed,
        fold=fold,
        parameters=parameters,
        seconds=round(seconds, 2),
        paper_accuracy=None if published is None else published.percent / 100,
    )
    facts = {
        "record": asdict(record),
        "val_correct": int(made.val.correct.sum()),
        "val_n": len(made.val),
        "temperature": fit_temperature(made.val.probs, made.val.labels),
        "history": None,
        "best_epoch": None,
        "late_weights": None,
        **details,
        "data": str(bench.setup.root),
        "note": bench.setup.note,
        "setup": {
            "modalities": [str(m) for m in bench.setup.modalities],
            "backbone": bench.setup.backbone,
            "recipe": asdict(bench.setup.recipe),
            "early_schedule": bench.setup.early_schedule,
            "subject_pattern": bench.setup.subject_pattern,
            "infrared_as": str(bench.setup.heat or PICTURE),
        },
        "weights": str(lab.weights),
        "size_px": lab.store.size_px,
        "precision": lab.hardware.precision,
        "device": lab.hardware.device,
        "processes": lab.fabric.world_size,
        "n_folds": bench.setup.n_folds,
        "split_checksum": lab.split.checksum,
        "leaks": list(bench.setup.leaks),
        "shared_subjects": len(shared_subjects(lab.split, bench.dataset)),
        "data_fingerprint": lab.store.fingerprint,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": describe_versions(),
    }
    write_text(folder / RUN, json.dumps(facts, indent=2) + "\n")
    (folder / STATE).unlink(missing_ok=True)


def _describe_training(trained: Trained) -> dict[str, Any]:
    history, late = trained.history, trained.weights
    return {
        "history": None if history is None else [asdict(epoch) for epoch in history.epochs],
        "best_epoch": None if history is None else history.best_epoch,
        "profile": None if history is None else dict(history.seconds) or None,
        "late_weights": None
        if late is None
        else {**asdict(late), "weights": {str(m): w for m, w in late.weights.items()}},
        "recipe": asdict(trained.recipe),
    }


def _late_weights(facts: Mapping[str, Any]) -> Mapping[str, float] | None:
    return None if facts["late_weights"] is None else facts["late_weights"]["weights"]


def read_run(folder: Path) -> Finished:
    """Reads a finished run.

    Raises:
        ResultsError: The folder holds none, or its run.json is damaged.
    """
    facts = read_facts(folder)
    try:
        record = RunRecord(**facts["record"])
    except (KeyError, TypeError) as error:
        raise ResultsError(
            f"{folder / RUN} is missing or damaged ({error}). Move {folder} away and run again."
        ) from error
    return Finished(
        record, read_predictions(folder / TEST), read_predictions(folder / VAL), facts, folder
    )


def name_run(row: Row, seed: int, fold: int | None = None) -> str:
    """Names a run's folder and files: the row, the seed unless it is 0, the fold if any."""
    of_seed = "" if seed == 0 else f"-seed{seed}"
    return row.name + of_seed + ("" if fold is None else f"-fold{fold}")


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
