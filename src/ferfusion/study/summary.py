"""From finished runs to what a page shows."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import Split, read_split, shared_subjects
from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.run_folder import SPLIT
from ferfusion.modality import Modality
from ferfusion.reporting.summary import (
    Cost,
    DataFacts,
    Epoch,
    LateChoice,
    Reported,
    RunReport,
    Skipped,
    SplitFacts,
    StageHistory,
    StudySummary,
    VariantFacts,
)
from ferfusion.study.known_recipe import describe_known_recipe
from ferfusion.study.published import find_published
from ferfusion.study.run import Finished
from ferfusion.training.weight_search import score_mixtures

COST = "cost.json"
VIRI_COUNTS = (111, 114, 114, 114, 113)
"""Images per class of VIRI (Naseem et al. 2024, Table 1)."""


def summarise_study(
    dataset: Dataset,
    finished: Sequence[Finished],
    *,
    title: str,
    n_incomplete: int,
    note: str,
    command: str,
    plan: str = "",
    skipped: Sequence[Skipped] = (),
    leaks: Sequence[str] = (),
    audited: str | None = None,
    likely_shared: str | None = None,
) -> StudySummary:
    """Gathers what the report shows.

    Args:
        dataset: As it was used: samples that have every modality in use.
        finished: The runs, in the order of the tables.
        title: Heading of the page.
        n_incomplete: Samples left out because they lack a modality in use.
        note: What readers must know of the data; may be empty.
        command: The line that makes these results again.
        plan: Its name, or empty.
        skipped: Runs that failed, and why.
        leaks: What the audit found and the user chose to ignore.
        audited: What the audit looked at.
        likely_shared: Who, by a guess, is in test and in another part.
    """
    first = {run.record.variant: run.facts for run in reversed(finished)}
    names = dict.fromkeys(run.record.variant for run in finished)
    singles = {_place(run): run.val for run in finished if run.record.fusion == "single"}
    return StudySummary(
        title=title,
        data=_describe_data(dataset, note, n_incomplete),
        splits=tuple(_describe_split(dataset, used) for used in find_splits(finished)),
        runs=tuple(describe_run(run, singles) for run in finished),
        variants=tuple(VariantFacts(name, describe_recipe(first[name])) for name in names),
        versions={name: str(value) for name, value in finished[0].facts["versions"].items()},
        command=command,
        plan=plan,
        skipped=tuple(skipped),
        leaks=tuple(leaks),
        audited=audited,
        likely_shared=likely_shared,
        reported=_find_reported(finished, dataset.labels),
    )


def _find_reported(finished: Sequence[Finished], labels: tuple[str, ...]) -> dict[str, Reported]:
    """Finds what others report for each model; what is known of their recipe comes with it."""
    reported: dict[str, Reported] = {}
    for record in (run.record for run in finished):
        found = find_published(record.model, record.backbone, labels)
        recipe = describe_known_recipe(record.model, record.backbone, labels)
        if found is not None:
            reported[record.key] = Reported(
                found.percent, found.correct, found.n, found.source, found.mark, found.remark,
                recipe,
            )  # fmt: skip
    return reported


def describe_recipe(facts: Mapping[str, Any]) -> dict[str, str]:
    """Names everything a run was trained with, in words."""
    recipe = facts["recipe"]
    if "epochs" not in recipe:  # what an SVM's recipe says was chosen in that very run
        recipe = {"classifier": "support vector machine; all it has to choose, on validation"}
    named = {
        name.replace("_", " "): ", ".join(value) or "none"
        if isinstance(value, list)
        else str(value)
        for name, value in recipe.items()
        if name != "seed"
    }
    return {
        "first weights": Path(facts["weights"]).name,
        "picture size": f"{facts['size_px']} px",
        "precision": str(facts["precision"]),
        "device": f"{facts['device']}, {facts['processes']} process(es)",
        **named,
    }


def _describe_data(dataset: Dataset, note: str, n_incomplete: int) -> DataFacts:
    is_viri = not note and tuple(dataset.class_counts.values()) == VIRI_COUNTS
    return DataFacts(
        root_name=dataset.root.resolve().name,
        reader=dataset.reader,
        pairing=dataset.pairing,
        subjects_from=dataset.subjects_from,
        class_counts=dataset.class_counts,
        n_subjects=len(dataset.subjects),
        modalities=tuple(str(m) for m in dataset.modalities),
        n_leftovers=len(dataset.leftovers) + n_incomplete,
        note=note or None,
        is_viri=is_viri,
    )


@dataclass(frozen=True)
class UsedSplit:
    """A split, the number of its fold, and the tables whose runs it parted."""

    split: Split
    fold: int | None
    tables: tuple[str, ...]


def find_splits(finished: Sequence[Finished]) -> tuple[UsedSplit, ...]:
    """Reads every split that some runs were made with, each once, by table, seed and fold."""
    tables: dict[tuple[str, int, int], dict[str, None]] = {}
    files: dict[tuple[str, int, int], Path] = {}
    for run in finished:
        record = run.record
        place = (run.facts["split_checksum"], record.seed, record.fold or 0)
        tables.setdefault(place, {})[record.variant] = None
        files.setdefault(place, _find_split_file(run))
    order = list(dict.fromkeys(run.record.variant for run in finished))
    return tuple(
        UsedSplit(read_split(files[place]), place[2] or None, tuple(tables[place]))
        for place in sorted(
            tables, key=lambda place: (order.index(next(iter(tables[place]))), *place[1:])
        )
    )


def _find_split_file(run: Finished) -> Path:
    """Gives the run's own copy of its split, or the one it was drawn into."""
    own = run.folder / SPLIT
    if own.exists() or run.record.fold is None:
        return own
    name = f"{run.record.split}-seed{run.record.seed}-fold{run.record.fold}"
    return run.folder.parents[1] / "splits" / f"{name}of{run.facts['n_folds']}.csv"


def _describe_split(dataset: Dataset, used: UsedSplit) -> SplitFacts:
    split = used.split
    sample_of = {sample.id: sample for sample in dataset.samples}
    counts: dict[str, Mapping[str, int]] = {}
    subjects: dict[str, int] = {}
    for part, ids in split.parts.items():
        seen = Counter(sample_of[i].expression for i in ids if i in sample_of)
        counts[part] = {label: seen[label] for label in dataset.labels}
        if dataset.has_subjects:
            subjects[part] = len({sample_of[i].subject for i in ids if i in sample_of})
    return SplitFacts(
        kind=split.kind,
        seed=split.seed,
        checksum=split.checksum,
        counts=counts,
        subjects=subjects,
        shared_subjects=shared_subjects(split, dataset),
        fold=used.fold,
        tables=used.tables,
    )


def describe_run(
    run: Finished, singles: Mapping[tuple[Any, ...], Predictions] | None = None
) -> RunReport:
    """Gives what tables and the page show of a run.

    Args:
        run: Read from its folder.
        singles: Validation predictions of the single models of the study, by which late fusion's
            weights were found.
    """
    facts = run.facts
    stages: tuple[StageHistory, ...] = ()
    if facts["history"] is not None:
        epochs = tuple(
            Epoch(
                epoch=e["epoch"],
                train_loss=e["train_loss"],
                val_loss=e["val_loss"],
                val_accuracy=e["val_correct"] / e["val_n"],
                learning_rate=e["learning_rate"],
            )
            for e in facts["history"]
        )
        name = "fusion" if run.record.fusion == "early" else run.record.modalities
        stages = (StageHistory(name, epochs, facts["best_epoch"]),)
    late = None if facts["late_weights"] is None else _describe_choice(run, singles or {})
    cost = run.folder / COST
    return RunReport(
        record=run.record,
        predictions=run.predictions,
        calibrated=apply_temperature(run.predictions.probs, facts["temperature"]),
        temperatures=(facts["temperature"],),
        stages=stages,
        val_correct=facts["val_correct"],
        val_n=facts["val_n"],
        late=() if late is None else (late,),
        cost=Cost(**json.loads(cost.read_text())) if cost.exists() else None,
        profile=facts.get("profile") or {},
    )


def _place(run: Finished, modality: str | None = None) -> tuple[Any, ...]:
    record = run.record
    return record.variant, modality or record.modalities, record.method, record.seed, record.fold


def _describe_choice(
    run: Finished, singles: Mapping[tuple[Any, ...], Predictions]
) -> LateChoice | None:
    names = run.record.modalities.split("+")
    val = {Modality(name): singles.get(_place(run, name)) for name in names}
    known = {m: p for m, p in val.items() if p is not None}
    if len(known) < len(val):
        return None
    labels = next(iter(known.values())).labels
    grid, correct = score_mixtures({m: p.probs for m, p in known.items()}, labels)
    steps = int(grid[0].sum())
    wanted = [run.facts["late_weights"]["weights"][name] for name in names]
    chosen = np.flatnonzero((grid == np.round(np.array(wanted) * steps)).all(axis=1))
    return LateChoice(tuple(names), grid / steps, correct, int(chosen[0]), len(labels))
