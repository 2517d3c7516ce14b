"""How often a model is right, as pure functions of label arrays."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from sklearn import metrics as sklearn_metrics


@dataclass(frozen=True)
class ClassScores:
    """How one class fared. `support` counts its true samples; a 0/0 rate is 0."""

    support: int
    correct: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Scores:
    """How a model fared. Rates are fractions from 0 to 1.

    Macro rates are plain means over the classes that occur, in truth or in prediction. Where all
    classes have equally many samples, as in the paper's test split, macro recall is accuracy.
    """

    n: int
    correct: int
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    per_class: tuple[ClassScores, ...]


def count_correct(
    labels: Int[np.ndarray, " samples"], predicted: Int[np.ndarray, " samples"]
) -> int:
    """Counts the samples whose predicted class is the true one."""
    return int((labels == predicted).sum())


def confusion_matrix(
    labels: Int[np.ndarray, " samples"], predicted: Int[np.ndarray, " samples"], n_classes: int
) -> Int[np.ndarray, "true predicted"]:
    """Counts samples by true class (rows) and predicted class (columns)."""
    if labels.size == 0:
        return np.zeros((n_classes, n_classes), dtype=np.int64)
    return sklearn_metrics.confusion_matrix(labels, predicted, labels=np.arange(n_classes))


def summarise(
    labels: Int[np.ndarray, " samples"], predicted: Int[np.ndarray, " samples"], n_classes: int
) -> Scores:
    """Gives every score that results.csv and the pages show.

    Raises:
        ValueError: There is no sample, so that no rate is defined.
    """
    if labels.size == 0:
        raise ValueError("No sample was tested, so there is nothing to summarise.")
    precision, recall, f1, support = (
        np.asarray(values)
        for values in sklearn_metrics.precision_recall_fscore_support(
            labels,
            predicted,
            labels=np.arange(n_classes),
            average=None,
            zero_division=0,  # pyright: ignore[reportArgumentType]
        )
    )
    matrix = confusion_matrix(labels, predicted, n_classes)
    occurs = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    correct = count_correct(labels, predicted)
    return Scores(
        n=labels.size,
        correct=correct,
        accuracy=correct / labels.size,
        macro_precision=float(precision[occurs].mean()),
        macro_recall=float(recall[occurs].mean()),
        macro_f1=float(f1[occurs].mean()),
        per_class=tuple(
            ClassScores(
                support=int(support[k]),
                correct=int(matrix[k, k]),
                precision=float(precision[k]),
                recall=float(recall[k]),
                f1=float(f1[k]),
            )
            for k in range(n_classes)
        ),
    )
