"""How far a model's answers can be trusted: every number that a page shows of it, with intervals.

All answers of a model count, over all seeds and folds, and whole people are drawn anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from ferfusion.evaluation.breakdown import (
    ClassBreakdown,
    SubjectScore,
    break_down_classes,
    break_down_subjects,
)
from ferfusion.evaluation.calibration import (
    ReliabilityBin,
    brier_score,
    expected_calibration_error,
    list_reliability_bins,
)
from ferfusion.evaluation.coverage import CoverageCurve, accuracy_at, trace_coverage
from ferfusion.evaluation.metrics import confusion_matrix
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import (
    Interval,
    bootstrap_by_subject,
    bootstrap_statistic_by_subject,
    number_subjects,
    wilson,
)
from ferfusion.reporting.summary import RunReport
from ferfusion.reporting.tables import RESAMPLING_SEED, estimate_share, list_groups

COVERAGES = (0.8, 0.5)
"""Shares of the samples that a model answers, the surest first."""

_N_BINS = 10
_CHANCE_DRAWS = 300


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; None where one person can't say how others would fare."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, eq=False)
class Calibration:
    """Whether a model is as sure as it is right, with one set of probabilities.

    Attributes:
        error: Expected calibration error.
        by_chance: What a faultless model would show, if answers were independent.
        brier: Brier score.
        bins: Of the reliability diagram.
    """

    error: Estimate
    by_chance: float
    brier: Estimate
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, eq=False)
class Trust:
    """What is known of one model besides its accuracy.

    Attributes:
        macro_f1: Mean over seeds.
        raw: As trained.
        tempered: After the temperature that validation chose.
        temperatures: One for each seed and fold.
        answered: Share of samples answered -> accuracy on these, sure as after temperature.
        curve: Accuracy against coverage.
    """

    macro_f1: Estimate
    raw: Calibration
    tempered: Calibration
    temperatures: tuple[float, ...]
    answered: dict[float, Estimate]
    curve: CoverageCurve


def examine(runs: Sequence[RunReport]) -> Trust:
    """Measures one model.

    Args:
        runs: One for each seed, folds pooled.
    """
    groups = [group for run in runs for group in list_groups(run.predictions)]
    labels = np.concatenate([run.predictions.labels for run in runs])
    probs = np.concatenate([run.predictions.probs for run in runs])
    calibrated = np.concatenate([run.calibrated for run in runs])
    ids = [i for run in runs for i in run.predictions.sample_ids]
    return Trust(
        macro_f1=estimate_macro_f1([run.predictions for run in runs]),
        raw=calibrate(probs, labels, groups),
        tempered=calibrate(calibrated, labels, groups),
        temperatures=tuple(t for run in runs for t in run.temperatures),
        answered={c: _answer(calibrated, labels, groups, ids, c) for c in COVERAGES},
        curve=trace_coverage(calibrated, labels),
    )


def calibrate(
    probs: Float[np.ndarray, "samples classes"],
    labels: Int[np.ndarray, " samples"],
    groups: Sequence[tuple[str, str]],
) -> Calibration:
    """Measures how well probabilities are calibrated.

    Args:
        probs: Of all answers.
        labels: The true classes.
        groups: Whom each answer is about.

    Deviation:
        Chance makes the calibration error larger, and larger again in each draw, so plain
        percentiles would never hold the truth of a well calibrated model. Hence they are mirrored
        at the value, stretched to hold it, and begin at 0 where the value is no larger than chance
        makes it in 95 of 100 cases. In simulations (18 and 110 people, 5 samples each) they held
        the truth in 86 to 96 % of the cases.
    """
    error = expected_calibration_error(probs, labels, _N_BINS)
    chance = _draw_chance_errors(probs)
    distance = probs.astype(np.float64)
    distance[np.arange(len(labels)), labels] -= 1
    people = number_subjects(groups, len(labels))
    several = people.max() > 0
    interval = None
    if several:
        drawn = _bootstrap_error(probs, labels, people)
        low = min(error, max(0.0, 2 * error - drawn.high))
        is_chance = error <= float(np.quantile(chance, 0.95))
        interval = Interval(0.0 if is_chance else low, max(error, 2 * error - drawn.low))
    return Calibration(
        error=Estimate(error, interval),
        by_chance=float(chance.mean()),
        brier=Estimate(
            brier_score(probs, labels),
            bootstrap_by_subject((distance**2).sum(axis=1), groups, RESAMPLING_SEED)
            if several
            else None,
        ),
        bins=list_reliability_bins(probs, labels, _N_BINS),
    )


def estimate_macro_f1(seeds: Sequence[Predictions]) -> Estimate:
    """Gives the macro F1, mean over seeds, with an interval over people.

    As in `summarise`, a class that occurs neither in truth nor in prediction doesn't count.
    """
    n_classes = len(seeds[0].classes)
    people = number_subjects(
        [group for p in seeds for group in list_groups(p)], sum(len(p) for p in seeds)
    )
    # The confusion matrices of a person say all that a draw needs to know of them.
    cells = np.zeros((people.max() + 1, len(seeds), n_classes, n_classes))
    seed_of = np.repeat(np.arange(len(seeds)), [len(p) for p in seeds])
    labels = np.concatenate([p.labels for p in seeds])
    predicted = np.concatenate([p.predicted for p in seeds])
    np.add.at(cells, (people, seed_of, labels, predicted), 1)

    def mean_f1(drawn: np.ndarray) -> float:
        matrices = drawn.sum(axis=0)
        right = np.diagonal(matrices, axis1=1, axis2=2)
        seen = matrices.sum(axis=1) + matrices.sum(axis=2)
        f1 = 2 * right / np.maximum(seen, 1)
        occurs = seen > 0
        # A draw may leave a seed without any answer: then it says nothing.
        seeds_seen = occurs.any(axis=1)
        return float((f1.sum(axis=1)[seeds_seen] / occurs.sum(axis=1)[seeds_seen]).mean())

    interval = None
    if len(cells) > 1:
        interval = bootstrap_statistic_by_subject(
            mean_f1, [cells], list(range(len(cells))), RESAMPLING_SEED
        )
    return Estimate(mean_f1(cells), interval)


def pool_seeds(runs: Sequence[RunReport]) -> Predictions:
    """Puts the answers of all seeds under each other, sample ids told apart by their seed."""
    if len(runs) == 1:
        return runs[0].predictions
    parts = [run.predictions for run in runs]
    if any(p.classes != parts[0].classes for p in parts):
        raise ValueError(f"The seeds of {runs[0].record.key} don't have the same classes.")
    return Predictions(
        sample_ids=tuple(
            f"{i} (seed {run.record.seed})" for run in runs for i in run.predictions.sample_ids
        ),
        subjects=tuple(s for p in parts for s in p.subjects),
        classes=parts[0].classes,
        labels=np.concatenate([p.labels for p in parts]),
        probs=np.concatenate([p.probs for p in parts]),
    )


def count_confusions(runs: Sequence[RunReport]) -> Int[np.ndarray, "true predicted"]:
    """Adds up the confusion matrices of a model's runs."""
    pooled = pool_seeds(runs)
    return confusion_matrix(pooled.labels, pooled.predicted, len(pooled.classes))


def break_down_recall(runs: Sequence[RunReport]) -> tuple[ClassBreakdown, ...]:
    """Gives the scores of every class over all seeds and folds, with intervals for recall.

    Wilson's for one test split; over several, whole people are drawn. The intervals of precision
    are left out.
    """
    pooled = pool_seeds(runs)
    classes = break_down_classes(pooled)
    if len(runs) == 1 and not runs[0].fold_n:
        return classes
    groups = [group for run in runs for group in list_groups(run.predictions)]
    ids = [i for run in runs for i in run.predictions.sample_ids]
    found: list[ClassBreakdown] = []
    for k, scores in enumerate(classes):
        rows = np.flatnonzero(pooled.labels == k).tolist()
        interval = None
        if rows:
            interval = estimate_share(
                pooled.correct[rows], [groups[row] for row in rows], [ids[row] for row in rows]
            )
        found.append(replace(scores, recall_interval=interval, precision_interval=None))
    return tuple(found)


def list_hardest_people(
    runs: Sequence[RunReport], count: int = 10
) -> tuple[tuple[SubjectScore, Interval], ...]:
    """Gives the people with the lowest accuracy, with Wilson's interval for their distinct samples.

    Seeing a sample under several seeds makes nobody better known.
    """
    pooled = pool_seeds(runs)
    samples: dict[str | None, set[str]] = {}
    for run in runs:
        for subject, i in zip(run.predictions.subjects, run.predictions.sample_ids, strict=True):
            samples.setdefault(subject, set()).add(i)
    return tuple(
        (person, wilson(round(person.accuracy * n), n))
        for person in break_down_subjects(pooled).subjects[:count]
        if (n := len(samples[person.subject]))
    )


def _answer(
    probs: Float[np.ndarray, "samples classes"],
    labels: Int[np.ndarray, " samples"],
    groups: Sequence[tuple[str, str]],
    ids: Sequence[str],
    coverage: float,
) -> Estimate:
    curve = trace_coverage(probs, labels)
    order = np.argsort(-probs.max(axis=1), kind="stable")
    rows: list[int] = order[: max(1, round(coverage * len(labels)))].tolist()
    right = probs[rows].argmax(axis=1) == labels[rows]
    interval = estimate_share(right, [groups[row] for row in rows], [ids[row] for row in rows])
    value = accuracy_at(curve, coverage)
    return Estimate(value, Interval(min(value, interval.low), max(value, interval.high)))


def _bootstrap_error(
    probs: Float[np.ndarray, "samples classes"],
    labels: Int[np.ndarray, " samples"],
    people: Int[np.ndarray, " samples"],
) -> Interval:
    # What a person adds to each bin says all that a draw needs to know of them.
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == labels
    gaps = np.zeros((people.max() + 1, _N_BINS))
    np.add.at(gaps, (people, _find_bins(confidence)), correct - confidence)

    def mean_gap(drawn: np.ndarray, counts: np.ndarray) -> float:
        return float(np.abs(drawn.sum(axis=0)).sum() / counts.sum())

    return bootstrap_statistic_by_subject(
        mean_gap, [gaps, np.bincount(people)], list(range(len(gaps))), RESAMPLING_SEED
    )


def _draw_chance_errors(
    probs: Float[np.ndarray, "samples classes"],
) -> Float[np.ndarray, " draws"]:
    """Gives the calibration errors of a faultless model, as `calibration_error_by_chance` does."""
    confidence = probs.max(axis=1).astype(np.float64)
    which = np.eye(_N_BINS)[_find_bins(confidence)]
    rng = np.random.default_rng(RESAMPLING_SEED)
    correct = rng.random((_CHANCE_DRAWS, len(confidence))) < confidence
    return np.abs((correct - confidence) @ which).sum(axis=1) / len(confidence)


def _find_bins(confidence: Float[np.ndarray, " samples"]) -> Int[np.ndarray, " samples"]:
    edges = np.linspace(0, 1, _N_BINS + 1)
    return np.searchsorted(edges[1:-1], confidence, side="left")
