"""Where a model is right and wrong: by class, by person, and its surest wrong answers."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ferfusion.evaluation.metrics import confusion_matrix, summarise
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import Interval, wilson


@dataclass(frozen=True)
class ClassBreakdown:
    """How one class fared. Rates are from 0 to 1, and 0 where there is nothing to count.

    Attributes:
        name: Of the class.
        n: Samples that truly are of the class.
        n_predicted: Samples that the model put into it.
        correct: Samples that are both.
        recall: correct / n.
        recall_interval: Wilson's; None where `n` is 0.
        precision: correct / n_predicted.
        precision_interval: Wilson's; None where `n_predicted` is 0.
        f1: Harmonic mean of recall and precision.
    """

    name: str
    n: int
    n_predicted: int
    correct: int
    recall: float
    recall_interval: Interval | None
    precision: float
    precision_interval: Interval | None
    f1: float


@dataclass(frozen=True)
class SubjectScore:
    """How one person's samples fared. `interval` is Wilson's, of `correct` / `n`."""

    subject: str
    n: int
    correct: int
    interval: Interval

    @property
    def accuracy(self) -> float:
        """Share of the person's samples that are right."""
        return self.correct / self.n


@dataclass(frozen=True)
class SubjectBreakdown:
    """How each person fared.

    Attributes:
        subjects: Lowest accuracy first; among equals who has more samples, then by name.
        n_without_subject: Samples of which nobody said whom they show. They are left out.
    """

    subjects: tuple[SubjectScore, ...]
    n_without_subject: int


@dataclass(frozen=True)
class WrongAnswer:
    """A sample that the model got wrong. `confidence` is the probability of `predicted`."""

    sample_id: str
    subject: str | None
    label: str
    predicted: str
    confidence: float


def break_down_classes(predictions: Predictions) -> tuple[ClassBreakdown, ...]:
    """Gives the scores of every class, in the order of the classes.

    Raises:
        ValueError: There is no sample.
    """
    n_classes = len(predictions.classes)
    scores = summarise(predictions.labels, predictions.predicted, n_classes)
    matrix = confusion_matrix(predictions.labels, predictions.predicted, n_classes)
    return tuple(
        ClassBreakdown(
            name=name,
            n=row.support,
            n_predicted=n_predicted,
            correct=row.correct,
            recall=row.recall,
            recall_interval=wilson(row.correct, row.support) if row.support else None,
            precision=row.precision,
            precision_interval=wilson(row.correct, n_predicted) if n_predicted else None,
            f1=row.f1,
        )
        for name, row, n_predicted in zip(
            predictions.classes, scores.per_class, matrix.sum(axis=0).tolist(), strict=True
        )
    )


def break_down_subjects(predictions: Predictions) -> SubjectBreakdown:
    """Gives the right answers of every person, the worst first."""
    n: Counter[str] = Counter()
    correct: Counter[str] = Counter()
    for subject, is_correct in zip(predictions.subjects, predictions.correct.tolist(), strict=True):
        if subject is not None:
            n[subject] += 1
            correct[subject] += is_correct
    scores = [SubjectScore(s, n[s], correct[s], wilson(correct[s], n[s])) for s in n]
    return SubjectBreakdown(
        subjects=tuple(sorted(scores, key=lambda s: (s.accuracy, -s.n, s.subject))),
        n_without_subject=len(predictions) - n.total(),
    )


def list_worst_errors(predictions: Predictions, count: int = 20) -> tuple[WrongAnswer, ...]:
    """Gives the wrong answers the model was surest of, the surest first, then by sample id."""
    predicted, confidence = predictions.predicted, predictions.probs.max(axis=1)
    wrong = [
        WrongAnswer(
            sample_id=predictions.sample_ids[row],
            subject=predictions.subjects[row],
            label=predictions.classes[predictions.labels[row]],
            predicted=predictions.classes[predicted[row]],
            confidence=float(confidence[row]),
        )
        for row in np.flatnonzero(~predictions.correct).tolist()
    ]
    return tuple(sorted(wrong, key=lambda w: (-w.confidence, w.sample_id))[:count])
