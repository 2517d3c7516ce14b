"""A finished run made once more, and whether its numbers came out the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferfusion.data.cache_folder import LIMIT_GB
from ferfusion.data.dataset import Dataset
from ferfusion.errors import ResultsError
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.run_folder import SPLIT
from ferfusion.modality import Modality
from ferfusion.preprocessing import PICTURE, parse_heat
from ferfusion.study.plan import Row
from ferfusion.study.run import Event, Finished, run_row
from ferfusion.study.workbench import Setup, Workbench
from ferfusion.training.recipe import Hardware, Recipe


@dataclass(frozen=True)
class Repetition:
    """A run and its repetition.

    Attributes:
        before: The run.
        after: Its repetition.
        n: Test samples.
        n_same: Of them, those that got the same answer.
        largest_difference: Between two probabilities of the same sample and class.
        changes: What is not as it was then: software, machine. Name -> then, now.
    """

    before: Finished
    after: Finished
    n: int
    n_same: int
    largest_difference: float
    changes: Mapping[str, tuple[str, str]]

    @property
    def is_same(self) -> bool:
        """Whether every test sample got the same answer."""
        return self.n_same == self.n


def describe_row(run: Finished) -> Row:
    """Tells which row a run is."""
    record = run.record
    modalities = tuple(Modality(name) for name in record.modalities.split("+"))
    return Row(record.fusion, modalities, record.steps, record.method)  # pyright: ignore[reportArgumentType]


def recall_setup(
    run: Finished,
    weights: str | None,
    cache: Path | None,
    device: str | None = None,
    *,
    cache_limit_gb: float = LIMIT_GB,
) -> Setup:
    """Gives the setup that a run was made with; its own split file takes the place of a draw.

    Args:
        run: Finished.
        weights: First weights instead of those it names: a file that lies elsewhere now.
        cache: Folder of decoded pictures; None is the usual one.
        cache_limit_gb: How large it may grow.
        device: Where to train; None is the run's own. On another one its precision is chosen anew.

    Raises:
        ResultsError: The run is of an older release that didn't keep its setup.
    """
    facts = run.facts
    try:
        recipe = {**facts["setup"]["recipe"]}
        return Setup(
            modalities=tuple(Modality(name) for name in facts["setup"]["modalities"]),
            backbone=facts["setup"]["backbone"],
            weights=weights or facts["weights"],
            size_px=facts["size_px"],
            split_kind=run.record.split,
            split_file=run.folder / SPLIT,
            recipe=Recipe(**{**recipe, "quirks": tuple(recipe["quirks"])}),
            hardware=Hardware(facts["device"], facts["processes"], 1, facts["precision"])
            if device in (None, facts["device"])
            else Hardware(device),
            cache=cache,
            cache_limit_gb=cache_limit_gb,
            early_schedule=facts["setup"]["early_schedule"],
            root=Path(facts["data"]),
            subject_pattern=facts["setup"].get("subject_pattern", ""),
            leaks=tuple(facts.get("leaks", ())),
            heat=parse_heat(facts["setup"].get("infrared_as", PICTURE)),
            note=str(facts.get("note") or ""),
        )
    except KeyError as error:
        raise ResultsError(
            f"{run.folder} doesn't say how it was made ({error} is missing), so it can't be "
            "repeated. Train it anew with `ferfusion train` or `ferfusion study`."
        ) from error


def repeat_run(
    before: Finished,
    dataset: Dataset,
    setup: Setup,
    out: Path,
    advance: Callable[[int, int], None],
    tell: Callable[[str, Event], None],
) -> Repetition:
    """Makes a run once more, with the single models it starts from, and compares.

    Args:
        before: The run.
        dataset: Read again.
        setup: As `recall_setup` gives it.
        out: Where the repetition is kept.
        advance: Told of decoding.
        tell: Told (name of the model, what happened).

    Raises:
        ResultsError: The data or the split is not what the run was made of.
    """
    bench = Workbench(dataset, setup, out, advance)
    _refuse_other_data(before, bench)
    row, seed = describe_row(before), before.record.seed
    singles = {need.modalities[0]: out / "stages" / need.name for need in row.needs}
    for need in row.needs:
        folder = singles[need.modalities[0]]
        run_row(bench, need, seed, folder, {}, lambda e, name=need.name: tell(name, e))
    after = run_row(bench, row, seed, out, singles, lambda e: tell(row.name, e))
    first, second = before.predictions, _align(after.predictions, before.predictions)
    then, now = before.facts["versions"], after.facts["versions"]
    return Repetition(
        before,
        after,
        n=len(first),
        n_same=int((first.predicted == second.predicted).sum()),
        largest_difference=float(np.abs(first.probs - second.probs).max()),
        changes={
            name: (str(then.get(name, "none")), str(now.get(name, "none")))
            for name in (*now, *(n for n in then if n not in now))
            if then.get(name) != now.get(name)
        },
    )


def _refuse_other_data(before: Finished, bench: Workbench) -> None:
    fingerprint = before.facts["data_fingerprint"]
    if bench.store.fingerprint != fingerprint:
        raise ResultsError(
            f"{bench.dataset.root} is not the data that {before.folder} was made of: its pictures, "
            "classes or subjects have changed (fingerprint "
            f"{bench.store.fingerprint[:12]} instead of {fingerprint[:12]}). Name the right "
            "data with --data."
        )


def _align(predictions: Predictions, like: Predictions) -> Predictions:
    if predictions.sample_ids != like.sample_ids:
        raise ResultsError("The repetition tested other samples, so nothing can be compared.")
    return predictions


def describe_repetition(repetition: Repetition) -> dict[str, Any]:
    """Gives plain values of a repetition, for a file."""
    before, after = repetition.before.record, repetition.after.record
    return {
        "run": before.key,
        "seed": before.seed,
        "fold": before.fold,
        "correct_before": before.correct,
        "correct_after": after.correct,
        "n": repetition.n,
        "same_answers": repetition.n_same,
        "largest_probability_difference": repetition.largest_difference,
        "changes": {name: list(pair) for name, pair in repetition.changes.items()},
    }
