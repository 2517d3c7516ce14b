import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

from ferfusion.evaluation.breakdown import (
    break_down_classes,
    break_down_subjects,
    list_worst_errors,
)
from ferfusion.evaluation.predictions import Predictions

CLASSES = ("angry", "happy", "neutral")


def predict(
    labels: list[int], predicted: list[int], sure: list[float], subjects: list[str | None]
) -> Predictions:
    probs = np.zeros((len(labels), 3))
    for row, (k, p) in enumerate(zip(predicted, sure, strict=True)):
        probs[row] = (1 - p) / 2
        probs[row, k] = p
    ids = tuple(f"face{row:02d}" for row in range(len(labels)))
    return Predictions(ids, tuple(subjects), CLASSES, np.array(labels, dtype=np.int64), probs)


rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 2),
        st.sampled_from([0.5, 0.6, 0.9]),
        st.sampled_from(["anna", "ben", "cleo", None]),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40)
@given(rows)
def test_classes_are_those_of_scikit_learn_and_statsmodels(drawn):
    labels, predicted, sure, subjects = (list(column) for column in zip(*drawn, strict=True))
    classes = break_down_classes(predict(labels, predicted, sure, subjects))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=[0, 1, 2], zero_division=0
    )
    assert [c.name for c in classes] == list(CLASSES)
    assert [c.n for c in classes] == support.tolist()
    assert [c.n_predicted for c in classes] == [predicted.count(k) for k in range(3)]
    assert [c.precision for c in classes] == pytest.approx(precision)
    assert [c.recall for c in classes] == pytest.approx(recall)
    assert [c.f1 for c in classes] == pytest.approx(f1)
    for c in classes:
        for interval, n in ((c.recall_interval, c.n), (c.precision_interval, c.n_predicted)):
            if n == 0:
                assert interval is None
            else:
                expected = proportion_confint(c.correct, n, method="wilson")
                assert (interval.low, interval.high) == pytest.approx(expected)


@settings(max_examples=40)
@given(rows)
def test_people_are_counted_once_each_and_worst_first(drawn):
    predictions = predict(*(list(column) for column in zip(*drawn, strict=True)))
    breakdown = break_down_subjects(predictions)
    assert {s.subject for s in breakdown.subjects} == {s for *_, s in drawn} - {None}
    for score in breakdown.subjects:
        own = [k == p for k, p, _, subject in drawn if subject == score.subject]
        assert (score.n, score.correct) == (len(own), sum(own))
        expected = proportion_confint(score.correct, score.n, method="wilson")
        assert (score.interval.low, score.interval.high) == pytest.approx(expected)
    accuracies = [s.accuracy for s in breakdown.subjects]
    assert accuracies == sorted(accuracies)
    assert sum(s.n for s in breakdown.subjects) + breakdown.n_without_subject == len(drawn)
    assert breakdown.n_without_subject == sum(s is None for *_, s in drawn)


def test_equally_bad_people_stand_in_the_order_of_their_samples_then_names():
    people = ["ben", "anna", "cleo", "cleo", "dora"]
    predictions = predict([0] * 5, [1, 1, 1, 1, 0], [0.9] * 5, people)
    breakdown = break_down_subjects(predictions)
    assert [s.subject for s in breakdown.subjects] == ["cleo", "anna", "ben", "dora"]


@given(rows, st.integers(0, 5))
def test_the_worst_errors_are_the_surest(drawn, count):
    predictions = predict(*(list(column) for column in zip(*drawn, strict=True)))
    every = list_worst_errors(predictions, count=len(drawn))
    assert list_worst_errors(predictions, count) == every[:count]
    assert len(every) == sum(k != p for k, p, *_ in drawn)
    assert [(-e.confidence, e.sample_id) for e in every] == sorted(
        (-e.confidence, e.sample_id) for e in every
    )
    for error in every:
        label, predicted, sure, subject = drawn[predictions.sample_ids.index(error.sample_id)]
        assert (error.label, error.predicted) == (CLASSES[label], CLASSES[predicted])
        assert (error.confidence, error.subject) == (pytest.approx(sure), subject)


def test_nothing_to_break_down():
    nothing = predict([], [], [], [])
    with pytest.raises(ValueError, match="nothing to summarise"):
        break_down_classes(nothing)
    assert break_down_subjects(nothing).subjects == ()
    assert list_worst_errors(nothing) == ()
