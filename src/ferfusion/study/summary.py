"""From finished runs to what a page shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import Split, shared_subjects
from ferfusion.reporting.summary import (
    DataFacts,
    Epoch,
    RunReport,
    SplitFacts,
    StageHistory,
    StudySummary,
)
from ferfusion.study.run import Finished

VIRI_COUNTS = (111, 114, 114, 114, 113)
"""Images per class of VIRI (Naseem et al. 2024, Table 1)."""


def summarise_study(
    dataset: Dataset,
    splits: Sequence[Split],
    finished: Sequence[Finished],
    *,
    title: str,
    n_incomplete: int,
    note: str,
    command: str,
) -> StudySummary:
    """Gathers what the report shows.

    Args:
        dataset: As it was used: samples that have every modality in use.
        splits: One per seed.
        finished: The rows, seeds together.
        title: Heading of the page.
        n_incomplete: Samples left out because they lack a modality in use.
        note: What readers must know of the data; may be empty.
        command: The line that makes these results again.
    """
    facts = finished[0].facts
    return StudySummary(
        title=title,
        data=_describe_data(dataset, note, n_incomplete),
        splits=tuple(_describe_split(dataset, split) for split in splits),
        runs=tuple(describe_run(run) for run in finished),
        recipe=describe_recipe(facts),
        versions={name: str(value) for name, value in facts["versions"].items()},
        command=command,
    )


def describe_recipe(facts: Mapping[str, Any]) -> dict[str, str]:
    """Names everything a run was trained with, in words."""
    recipe = facts["recipe"]
    named = {name.replace("_", " "): str(value) for name, value in recipe.items() if name != "seed"}
    return {
        "first weights": str(facts["weights"]),
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


def _describe_split(dataset: Dataset, split: Split) -> SplitFacts:
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
    )


def describe_run(run: Finished) -> RunReport:
    """Gives what tables and the page show of a run."""
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
    late = facts["late_weights"]
    return RunReport(
        record=run.record,
        predictions=run.predictions,
        stages=stages,
        val_correct=facts["val_correct"],
        val_n=facts["val_n"],
        late_weights=None if late is None else late["weights"],
    )
