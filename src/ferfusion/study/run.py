"""Runs the rows of a comparison, each once, and keeps everything that is finished.

A run is finished when its `run.json` is there: that file is written last. Whatever is finished is
read back instead of being done again, and a training that was stopped goes on from its last saved
epoch.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning_fabric import Fabric

from ferfusion.atomic import write_text
from ferfusion.data.augmentation import count_copies
from ferfusion.data.cache import Advance, ImageStore, decode_all
from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import (
    Split,
    check_split,
    draw_paper_split,
    draw_subject_split,
    read_split,
    shared_subjects,
    write_split,
)
from ferfusion.errors import ConfigError, ResultsError
from ferfusion.evaluation.predictions import Predictions, read_predictions, write_predictions
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.backbones import build_trunk, find_backbone
from ferfusion.models.blueprint import count_parameters
from ferfusion.models.checkpoint import load_checkpoint, save_checkpoint
from ferfusion.reporting.record import RunRecord, make_record
from ferfusion.study.manifest import describe_versions
from ferfusion.study.plan import Row, list_rows
from ferfusion.training.loop import STATE, Epoch
from ferfusion.training.machine import settle, start_fabric
from ferfusion.training.recipe import Hardware, Recipe
from ferfusion.training.stages import Lab, Trained, fit_early, fit_single, mix_late

RUN, SPLIT, SEEN = "run.json", "split.csv", "seen.json"
VAL, TEST = "val.csv", "test.csv"


OURS = frozenset({"setup.json", "config.toml", "splits", "runs", "stages", STATE})
"""What an unfinished study or training leaves in its folder."""


@dataclass(frozen=True)
class Setup:
    """All that decides the results of a study, but the data itself.

    Attributes:
        modalities: Samples that lack one of these are left out of every row.
        backbone: Name of every trunk.
        weights: First weights: `imagenet`, `none`, or a file.
        size_px: Side of the pictures.
        split_kind: `subject` or `paper`.
        split_file: Used instead of drawing a split, where given.
        recipe: How every model is trained; its seed is replaced by each seed of the study.
        hardware: Where.
        cache: Folder of decoded pictures; None is the usual one.
    """

    modalities: tuple[Modality, ...]
    backbone: str
    weights: str
    size_px: int
    split_kind: str
    split_file: Path | None
    recipe: Recipe
    hardware: Hardware
    cache: Path | None = None


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


class Workbench:
    """A data set, decoded and split, on a machine that is ready to train."""

    def __init__(self, dataset: Dataset, setup: Setup, out: Path, advance: Advance | None) -> None:
        backbone = find_backbone(setup.backbone)
        self.dataset = dataset.complete_in(setup.modalities)
        self.setup = setup
        self.out = out
        self.backbone = backbone
        build_trunk(backbone, setup.weights)  # fails now, not after the pictures are decoded
        self.hardware = settle(setup.hardware, backbone)
        self.fabric: Fabric = start_fabric(self.hardware)
        self.store: ImageStore = decode_all(
            self.dataset, setup.modalities, setup.size_px, folder=setup.cache, advance=advance
        )
        self._splits: dict[int, Split] = {}
        self._refuse_other_results()

    def lab(self, seed: int) -> Lab:
        """Gives what all trainings of one seed share."""
        return Lab(
            fabric=self.fabric,
            hardware=self.hardware,
            store=self.store,
            labels=self.dataset.labels,
            split=self.split(seed),
            backbone=self.backbone,
            weights=self.setup.weights,
            recipe=replace(self.setup.recipe, seed=seed),
        )

    def split(self, seed: int) -> Split:
        """Gives the split of a seed, from its file if it was drawn before."""
        if seed not in self._splits:
            self._splits[seed] = self._find_split(seed)
        return self._splits[seed]

    def _find_split(self, seed: int) -> Split:
        drawn_before = self.out / "splits" / f"{self.setup.split_kind}-seed{seed}.csv"
        path = self.setup.split_file or drawn_before
        # A split without results may be of other data: a first try that failed, say.
        if self.setup.split_file is not None or (path.exists() and self._setup_path.exists()):
            split = read_split(path)
            check_split(split, self.dataset)
            return split
        draw = draw_subject_split if self.setup.split_kind == "subject" else draw_paper_split
        split = draw(self.dataset, seed)
        if self.fabric.is_global_zero:
            write_split(split, path)
        self.fabric.barrier()
        return split

    def work(self, row: Row, seed: int) -> float:
        """Counts pictures that pass through a trunk while a row is trained."""
        if row.fusion == "late":
            return 0
        recipe = self.setup.recipe
        n_train = len(self.split(seed).parts["train"])
        return recipe.epochs * n_train * count_copies(recipe.augmentation) * len(row.modalities)

    def _refuse_other_results(self) -> None:
        """Makes sure that a folder only ever holds results of one setup on one data set."""
        recipe = asdict(self.setup.recipe)
        recipe.pop("seed")
        facts = {
            "data": self.store.fingerprint,
            "modalities": [str(m) for m in self.setup.modalities],
            "backbone": self.setup.backbone,
            "weights": Path(self.setup.weights).name,
            "size": self.setup.size_px,
            "split": self.setup.split_kind,
            "split_file": ""
            if self.setup.split_file is None
            else read_split(self.setup.split_file).checksum,
            "precision": self.hardware.precision,
            **recipe,
        }
        if self._setup_path.exists():
            before = json.loads(self._setup_path.read_text())
            changed = [
                f"{name} was {before.get(name)!r}, now {value!r}"
                for name, value in facts.items()
                if before.get(name) != value
            ]
            if changed:
                raise ResultsError(
                    f"{self.out} holds results made otherwise: {'; '.join(changed)}. Give another "
                    f"--out, or go on with the old options (--config {self.out / 'config.toml'})."
                )
        elif self.out.exists() and any(p.name not in OURS for p in self.out.iterdir()):
            raise ResultsError(
                f"{self.out} is not empty and not ours. Give another --out; nothing is overwritten."
            )
        self._facts = facts

    @property
    def _setup_path(self) -> Path:
        return self.out / "setup.json"

    def commit_setup(self) -> None:
        """Ties the folder to this setup; called when there is a first result to protect."""
        if not self._setup_path.exists():
            write_text(self._setup_path, json.dumps(self._facts, indent=2) + "\n")


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
    """Lists, per part, the hashes of its picture files, so that `evaluate` knows them again."""
    part_of = {i: part for part, ids in split.parts.items() for i in ids}
    digests: dict[str, list[str]] = {part: [] for part in split.parts}
    for rows in store.digests.values():
        for sample, digest in zip(store.samples, rows, strict=True):
            if sample.id in part_of:
                digests[part_of[sample.id]].append(digest)
    return digests


def check_rows(dataset: Dataset, modalities: Sequence[Modality]) -> None:
    """Makes sure that the data has what the rows need.

    Raises:
        ConfigError: A modality is asked for that no sample has.
    """
    missing = [m for m in modalities if m not in dataset.modalities]
    if missing:
        raise ConfigError(
            f"{dataset.root} has no {' and no '.join(missing)} pictures, only "
            f"{', '.join(dataset.modalities)}. Choose with --modalities."
        )
