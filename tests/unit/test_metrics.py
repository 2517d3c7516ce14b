import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from ferfusion.evaluation.metrics import confusion_matrix, count_correct, summarise

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 2, 2])


def test_against_a_hand_count():
    scores = summarise(LABELS, PREDICTED, 3)
    assert (scores.n, scores.correct, scores.accuracy) == (6, 4, 4 / 6)
    first, second, third = scores.per_class
    assert (first.support, first.correct, first.precision, first.recall) == (3, 2, 1.0, 2 / 3)
    assert first.f1 == pytest.approx(0.8)
    assert (second.precision, second.recall, second.f1) == (0.5, 0.5, 0.5)
    assert (third.precision, third.recall) == (0.5, 1.0)
    assert scores.macro_precision == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert scores.macro_recall == pytest.approx((2 / 3 + 0.5 + 1) / 3)
    assert scores.macro_f1 == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    np.testing.assert_array_equal(
        confusion_matrix(LABELS, PREDICTED, 3), [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    )


def test_the_visible_model_of_the_paper():
    # Naseem et al. 2024: 13, 17, 15, 13, 15 of 18 right; which wrong class is only known in part.
    rows = [
        [13, 0, 2, 1, 2],
        [0, 17, 1, 0, 0],
        [0, 0, 15, 3, 0],
        [0, 0, 5, 13, 0],
        [0, 0, 3, 0, 15],
    ]
    labels = np.repeat(np.arange(5), 18)
    predicted = np.concatenate([np.repeat(np.arange(5), row) for row in rows])
    scores = summarise(labels, predicted, 5)
    assert (scores.correct, scores.n) == (73, 90)
    assert scores.macro_recall == pytest.approx(scores.accuracy)


def test_a_class_that_never_occurs_does_not_count_and_one_never_predicted_scores_0():
    scores = summarise(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    assert scores.macro_recall == 0.5
    assert scores.per_class[1].precision == 0
    assert scores.per_class[2].support == 0


def test_no_sample_has_no_scores():
    nothing = np.array([], dtype=np.int64)
    assert count_correct(nothing, nothing) == 0
    assert confusion_matrix(nothing, nothing, 2).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="No sample"):
        summarise(nothing, nothing, 2)


answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(answers, st.permutations(range(4)))
def test_permuting_classes_permutes_the_matrix_and_keeps_the_scores(pairs, order):
    labels, predicted = np.array(pairs).T
    renamed = np.array(order)
    matrix = confusion_matrix(labels, predicted, 4)
    permuted = confusion_matrix(renamed[labels], renamed[predicted], 4)
    np.testing.assert_array_equal(permuted[np.ix_(order, order)], matrix)
    before, after = (
        summarise(labels, predicted, 4),
        summarise(renamed[labels], renamed[predicted], 4),
    )
    assert after.correct == before.correct == count_correct(labels, predicted)
    assert after.macro_f1 == pytest.approx(before.macro_f1)


@given(answers)
def test_macro_rates_are_those_of_scikit_learn(pairs):
    labels, predicted = np.array(pairs).T
    scores = summarise(labels, predicted, 4)
    expected = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, average="macro", zero_division=0
    )[:3]
    assert (scores.macro_precision, scores.macro_recall, scores.macro_f1) == pytest.approx(expected)
