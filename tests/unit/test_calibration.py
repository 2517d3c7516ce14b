import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from statsmodels.discrete.conditional_models import ConditionalLogit
from statsmodels.stats.proportion import proportion_confint

from ferfusion.evaluation.calibration import (
    apply_temperature,
    brier_score,
    calibration_error_by_chance,
    expected_calibration_error,
    fit_temperature,
    list_reliability_bins,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def draw_calibrated(n: int, seed: int, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the probabilities themselves, so that these are right by construction."""
    rng = np.random.default_rng(seed)
    probs = softmax(rng.normal(0, 1.5, (n, classes)))
    return probs, (rng.random((n, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)


@pytest.mark.parametrize("n_bins", [1, 7, 10])
@pytest.mark.parametrize("n", [1, 90, 1000])
def test_bins_are_those_of_scikit_learn(n: int, n_bins: int):
    probs, labels = draw_calibrated(n, seed=n)
    correct = probs.argmax(axis=1) == labels
    bins = list_reliability_bins(probs, labels, n_bins)
    accuracy, confidence = calibration_curve(correct, probs.max(axis=1), n_bins=n_bins)
    assert len(bins) == n_bins
    assert [b.accuracy for b in bins if b.n] == pytest.approx(accuracy)
    assert [b.confidence for b in bins if b.n] == pytest.approx(confidence)
    assert sum(b.n for b in bins) == n
    for b in bins:
        assert b.high - b.low == pytest.approx(1 / n_bins)
        if b.n:
            expected = proportion_confint(round(b.accuracy * b.n), b.n, method="wilson")
            assert b.interval is not None
            assert (b.interval.low, b.interval.high) == pytest.approx(expected)
        else:
            assert b.interval is None
            assert np.isnan([b.confidence, b.accuracy]).all()


def test_a_bin_contains_its_upper_end():
    probs = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    bins = list_reliability_bins(probs, np.zeros(3, dtype=np.int64), n_bins=4)
    assert [b.n for b in bins] == [0, 1, 1, 1]
    assert [(b.low, b.high) for b in bins] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 15), st.integers(0, 99))
def test_the_error_is_that_of_the_bins(n: int, n_bins: int, seed: int):
    probs, labels = draw_calibrated(n, seed)
    bins = [b for b in list_reliability_bins(probs, labels, n_bins) if b.n]
    expected = sum(b.n / n * abs(b.accuracy - b.confidence) for b in bins)
    assert expected_calibration_error(probs, labels, n_bins) == pytest.approx(expected)


def test_chance_alone_makes_an_error_and_its_size_is_known():
    seen = [expected_calibration_error(*draw_calibrated(90, seed)) for seed in range(300)]
    probs, _ = draw_calibrated(90, seed=0)
    by_chance = calibration_error_by_chance(probs, seed=0)
    assert by_chance == calibration_error_by_chance(probs, seed=0)
    assert by_chance == pytest.approx(np.mean(seen), abs=0.01)
    assert by_chance > 0.05
    many, labels = draw_calibrated(50_000, seed=0)
    assert expected_calibration_error(many, labels) < 0.01


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_brier_is_the_sum_of_scikit_learns_over_classes(classes: int):
    probs, labels = draw_calibrated(80, seed=classes, classes=classes)
    each = [brier_score_loss(labels == k, probs[:, k]) for k in range(classes)]
    assert brier_score(probs, labels) == pytest.approx(sum(each))


def test_brier_goes_from_0_to_2():
    labels = np.array([0, 1, 2])
    assert brier_score(np.eye(3)[labels], labels) == 0
    assert brier_score(np.eye(3)[[1, 2, 0]], labels) == 2
    assert brier_score(np.full((3, 5), 0.2), labels) == pytest.approx(0.8)
    kept = np.eye(3)
    brier_score(kept, labels)
    np.testing.assert_array_equal(kept, np.eye(3))


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 2.5])
def test_temperature_is_the_slope_of_a_conditional_logit(true_temperature: float):
    probs, labels = draw_calibrated(300, seed=2)
    distorted = softmax(np.log(probs) * true_temperature)
    model = ConditionalLogit(
        np.eye(5)[labels].ravel(),
        np.log(distorted).reshape(-1, 1),
        groups=np.repeat(np.arange(300), 5),
    )
    found = fit_temperature(distorted, labels)
    assert found == pytest.approx(1 / model.fit(disp=False).params[0], rel=1e-3)
    assert found == pytest.approx(true_temperature, rel=0.15)


def test_temperature_mends_new_data():
    def distort(probs: np.ndarray) -> np.ndarray:
        return softmax(np.log(probs) * 3).astype(np.float32)

    val, test = draw_calibrated(500, seed=0), draw_calibrated(2000, seed=1)
    temperature = fit_temperature(distort(val[0]), val[1])
    mended = apply_temperature(distort(test[0]), temperature)
    before = expected_calibration_error(distort(test[0]), test[1])
    assert expected_calibration_error(mended, test[1]) < before / 3
    assert brier_score(mended, test[1]) < brier_score(distort(test[0]), test[1])


@settings(max_examples=40)
@given(st.integers(2, 40), st.integers(0, 200), st.floats(0.1, 4))
def test_a_temperature_never_makes_validation_less_likely(n: int, seed: int, scale: float):
    probs, labels = draw_calibrated(n, seed, classes=3)
    probs = softmax(np.log(probs) * scale)
    mended = apply_temperature(probs, fit_temperature(probs, labels))
    every = [0, 1, 2]
    assert log_loss(labels, mended, labels=every) <= log_loss(labels, probs, labels=every) + 1e-6


@given(st.integers(0, 500), st.floats(0.05, 20))
def test_a_temperature_changes_no_answer(seed: int, temperature: float):
    probs, _ = draw_calibrated(20, seed)
    mended = apply_temperature(probs, temperature)
    np.testing.assert_array_equal(mended.argmax(axis=1), probs.argmax(axis=1))
    np.testing.assert_allclose(mended.sum(axis=1), 1)
    if temperature > 1:  # Sharper ones may leave no more than the smallest probability.
        np.testing.assert_allclose(apply_temperature(mended, 1 / temperature), probs, atol=1e-6)


def test_extreme_validation_splits():
    sure = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    right = np.array([0, 0, 1])
    assert fit_temperature(sure, right) == 1.0
    assert fit_temperature(np.full((3, 2), 0.5), right) == 1.0
    assert fit_temperature(sure, 1 - right) == pytest.approx(20, rel=1e-3)
    assert 1 < fit_temperature(sure, np.array([0, 0, 0])) < 20 * 1.001
    # One certain and wrong answer of a hundred: one log-odds, 12 ln 10 / T, that is right in 99.
    certain = np.tile([1.0, 0.0], (100, 1))
    one_wrong = np.array([1] + [0] * 99)
    expected = 12 * np.log(10) / np.log(99)
    assert fit_temperature(certain, one_wrong) == pytest.approx(expected, rel=1e-4)


def test_what_makes_no_sense_is_refused():
    nothing, labels = np.empty((0, 3)), np.empty(0, dtype=np.int64)
    for function in (
        list_reliability_bins,
        expected_calibration_error,
        brier_score,
        fit_temperature,
    ):
        with pytest.raises(ValueError, match="at least one sample"):
            function(nothing, labels)
    with pytest.raises(ValueError, match="at least one sample"):
        calibration_error_by_chance(nothing, seed=0)
    with pytest.raises(ValueError, match="at least one bin"):
        expected_calibration_error(np.ones((1, 1)), np.zeros(1, dtype=np.int64), n_bins=0)
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="above 0"):
            apply_temperature(np.ones((1, 1)), temperature)
