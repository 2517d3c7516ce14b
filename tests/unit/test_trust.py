from dataclasses import replace

import numpy as np
import pytest

from ferfusion.evaluation.breakdown import break_down_classes
from ferfusion.evaluation.calibration import (
    apply_temperature,
    calibration_error_by_chance,
    expected_calibration_error,
)
from ferfusion.evaluation.metrics import confusion_matrix, summarise
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import (
    bootstrap_by_subject,
    bootstrap_statistic_by_subject,
    wilson,
)
from ferfusion.modality import Modality
from ferfusion.reporting.record import make_record
from ferfusion.reporting.summary import RunReport
from ferfusion.reporting.tables import RESAMPLING_SEED, list_groups
from ferfusion.reporting.trust import (
    break_down_recall,
    calibrate,
    count_confusions,
    estimate_macro_f1,
    examine,
    list_hardest_people,
    pool_seeds,
)


def make_run(
    seed: int, *, n: int = 60, n_people: int = 15, sureness: float = 1.0, named: bool = True
) -> RunReport:
    """Answers right as often as the probabilities say, then told `sureness` times as surely."""
    rng = np.random.default_rng([seed, 7])
    honest = rng.dirichlet(np.full(3, 0.6), n)
    labels = (honest.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    predictions = Predictions(
        sample_ids=tuple(f"s{i}" for i in range(n)),
        subjects=tuple(f"p{i % n_people}" if named else None for i in range(n)),
        classes=("angry", "happy", "sad"),
        labels=labels,
        probs=apply_temperature(honest, 1 / sureness),
    )
    record = make_record(
        predictions,
        model="visible",
        modalities=(Modality.VISIBLE,),
        fusion="single",
        steps=None,
        backbone="resnet18",
        split="subject",
        seed=seed,
        parameters=1,
        seconds=1.0,
        paper_accuracy=None,
    )
    return RunReport(record, predictions, honest, (sureness,), (), 30, 50)


def test_the_interval_of_macro_f1_is_the_plain_bootstrap():
    predictions = make_run(0).predictions

    def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
        return summarise(labels, predicted, 3).macro_f1

    found = estimate_macro_f1([predictions])
    assert found.value == pytest.approx(macro_f1(predictions.labels, predictions.predicted))
    plain = bootstrap_statistic_by_subject(
        macro_f1,
        [predictions.labels, predictions.predicted],
        predictions.subjects,
        RESAMPLING_SEED,
    )
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((plain.low, plain.high))


def test_macro_f1_of_several_seeds_is_their_mean():
    runs = [make_run(seed) for seed in range(3)]
    found = estimate_macro_f1([run.predictions for run in runs])
    assert found.value == pytest.approx(np.mean([run.record.macro_f1 for run in runs]))
    assert found.interval is not None
    assert found.interval.low < found.value < found.interval.high


def test_calibration_numbers_are_those_of_the_evaluation():
    run = make_run(1, sureness=3.0)
    p = run.predictions
    found = calibrate(p.probs, p.labels, list_groups(p))
    assert found.error.value == expected_calibration_error(p.probs, p.labels)
    assert found.by_chance == pytest.approx(
        calibration_error_by_chance(p.probs, seed=1, draws=3000), abs=0.01
    )
    distance = ((p.probs - np.eye(3)[p.labels]) ** 2).sum(axis=1)
    assert found.brier.value == pytest.approx(distance.mean())
    assert found.brier.interval == bootstrap_by_subject(distance, p.subjects, RESAMPLING_SEED)
    assert sum(b.n for b in found.bins) == len(p)


@pytest.mark.parametrize("n", [60, 600])
def test_the_interval_of_the_calibration_error_begins_at_zero_only_within_chance(n: int):
    run = make_run(2, n=n, n_people=n // 4, sureness=6.0)
    trust = examine([run])
    for calibration, is_calibrated in ((trust.raw, False), (trust.tempered, True)):
        interval = calibration.error.interval
        assert interval is not None
        assert interval.low <= calibration.error.value <= interval.high
        assert (interval.low == 0) == is_calibrated


def test_accuracy_of_the_surest_has_wilson_as_its_least_width():
    run = make_run(3, n=400, n_people=100)
    trust = examine([run])
    assert trust.answered[0.5].value > trust.answered[0.8].value > run.record.accuracy
    for coverage, share in trust.answered.items():
        assert share.interval is not None
        n = round(400 * coverage)
        floor = wilson(round(share.value * n), n)
        assert share.interval.low <= floor.low + 1e-9
        assert share.interval.high >= floor.high - 1e-9
    assert trust.curve.accuracy[-1] == run.record.accuracy


def test_one_person_says_nothing_about_others():
    trust = examine([make_run(0, n_people=1)])
    assert trust.macro_f1.interval is None
    assert trust.raw.error.interval is None
    assert trust.raw.brier.interval is None


def test_nobody_named_means_every_sample_alone():
    trust = examine([make_run(0, named=False)])
    assert trust.macro_f1.interval is not None
    assert list_hardest_people([make_run(0, named=False)]) == ()


def test_seeds_are_pooled_with_ids_that_tell_them_apart():
    runs = [make_run(0), make_run(1)]
    pooled = pool_seeds(runs)
    assert len(pooled) == 120
    assert pooled.sample_ids[60] == "s0 (seed 1)"
    expected = sum(
        confusion_matrix(run.predictions.labels, run.predictions.predicted, 3) for run in runs
    )
    np.testing.assert_array_equal(count_confusions(runs), expected)
    assert pool_seeds(runs[:1]) is runs[0].predictions


def test_recall_of_one_split_has_wilson_and_of_several_seeds_no_less():
    one = [make_run(0)]
    assert break_down_recall(one) == break_down_classes(one[0].predictions)
    three = [make_run(0) for _ in range(3)]
    for alone, thrice in zip(
        break_down_recall(one), break_down_recall(_renumber(three)), strict=True
    ):
        assert thrice.n == 3 * alone.n
        assert thrice.recall == alone.recall
        assert alone.recall_interval is not None
        assert thrice.recall_interval is not None
        # The same answers three times are no more knowledge.
        assert thrice.recall_interval.low <= alone.recall_interval.low
        assert thrice.recall_interval.high >= alone.recall_interval.high


def test_people_seen_under_several_seeds_are_not_better_known():
    runs = _renumber([make_run(0) for _ in range(4)])
    (hardest, interval), *_ = list_hardest_people(runs, 3)
    assert hardest.n == 16
    assert interval == wilson(hardest.correct // 4, 4)


def _renumber(runs: list[RunReport]) -> list[RunReport]:
    return [replace(run, record=replace(run.record, seed=s)) for s, run in enumerate(runs)]
