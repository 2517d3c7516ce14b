from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from ferfusion.evaluation.coverage import accuracy_at, risk_coverage_area, trace_coverage


def answers(confidence: list[float], correct: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Two-class answers with these confidences, which are above one half."""
    sure = np.array(confidence)
    return np.stack([sure, 1 - sure], axis=1), np.where(correct, 0, 1)


def mean_risk(correct: np.ndarray) -> float:
    """The area as its authors write it, for answers in order and without equals."""
    return float(np.mean([1 - correct[:k].mean() for k in range(1, len(correct) + 1)]))


rows = st.lists(
    st.tuples(st.sampled_from([0.55, 0.7, 0.8, 0.9]), st.booleans()), min_size=1, max_size=30
)


@given(rows, st.randoms())
def test_the_order_of_rows_does_not_matter(drawn, random):
    shuffled = random.sample(drawn, len(drawn))
    here, there = (trace_coverage(*answers(*zip(*r, strict=True))) for r in (drawn, shuffled))
    np.testing.assert_array_equal(here.coverage, there.coverage)
    np.testing.assert_array_equal(here.accuracy, there.accuracy)
    assert risk_coverage_area(here) == risk_coverage_area(there)


@settings(max_examples=40)
@given(rows)
def test_every_point_is_the_accuracy_above_its_confidence(drawn):
    probs, labels = answers(*zip(*drawn, strict=True))
    curve = trace_coverage(probs, labels)
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == labels
    assert curve.confidence.tolist() == sorted(set(confidence), reverse=True)
    for limit, coverage, accuracy in zip(
        curve.confidence, curve.coverage, curve.accuracy, strict=True
    ):
        answered = confidence >= limit
        assert coverage == answered.mean()
        assert accuracy == pytest.approx(correct[answered].mean())
        assert accuracy_at(curve, coverage) == pytest.approx(accuracy)
    assert curve.n == len(drawn)
    assert curve.coverage[-1] == 1
    assert accuracy_at(curve, 1) == pytest.approx(accuracy_score(labels, probs.argmax(axis=1)))


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_the_area_of_distinct_confidences(correct):
    confidence = np.linspace(0.99, 0.51, len(correct)).tolist()
    curve = trace_coverage(*answers(confidence, correct))
    assert risk_coverage_area(curve) == pytest.approx(mean_risk(np.array(correct)))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from([0.6, 0.8]), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 6),
)
def test_among_equals_every_order_counts_alike(drawn, k):
    orders = [
        np.array([right for _, right in order])
        for order in permutations(drawn)
        if all(a[0] >= b[0] for a, b in pairwise(order))
    ]
    curve = trace_coverage(*answers(*zip(*drawn, strict=True)))
    assert risk_coverage_area(curve) == pytest.approx(np.mean([mean_risk(o) for o in orders]))
    k = min(k, len(drawn))
    expected = np.mean([o[:k].mean() for o in orders])
    assert accuracy_at(curve, k / len(drawn)) == pytest.approx(expected)


def test_confidence_that_means_nothing_is_worth_nothing():
    rng = np.random.default_rng(0)
    correct = rng.random(4000) < 0.8
    sure = rng.uniform(0.5, 1, 4000)
    vain = risk_coverage_area(trace_coverage(*answers(sure.tolist(), correct.tolist())))
    assert vain == pytest.approx(0.2, abs=0.03)
    honest = np.where(correct, 0.75 + sure / 4, sure / 2 + 0.25)
    curve = trace_coverage(*answers(honest.tolist(), correct.tolist()))
    # All right answers first: e + (1 - e) ln(1 - e) for an error rate e, when samples are many.
    error = 1 - correct.mean()
    best = error + (1 - error) * np.log(1 - error)
    assert risk_coverage_area(curve) == pytest.approx(best, abs=1e-3)
    assert accuracy_at(curve, 0.75) == 1
    assert accuracy_at(curve, 1e-4) == 1


def test_one_confidence_for_all_is_a_single_point():
    curve = trace_coverage(*answers([0.9] * 5, [True, True, True, False, True]))
    assert (curve.coverage.tolist(), curve.accuracy.tolist()) == ([1.0], [0.8])
    assert accuracy_at(curve, 0.3) == pytest.approx(0.8)
    assert risk_coverage_area(curve) == pytest.approx(0.2)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        trace_coverage(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    curve = trace_coverage(*answers([0.9], [True]))
    for coverage in (0.0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="at most 1"):
            accuracy_at(curve, coverage)
