"""Support vector machines on features, with all that has to be chosen chosen on validation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax
from sklearn.feature_selection import f_classif
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel
from sklearn.svm import SVC

from ferfusion.evaluation.calibration import apply_temperature, fit_temperature


@dataclass(frozen=True)
class Grid:
    """What is tried.

    Attributes:
        cs: How much a training sample on the wrong side costs.
        gammas: Inverse widths of an RBF kernel; None is a linear kernel.
        n_features: How many of the best features by F-test; None is all of them.
    """

    cs: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    gammas: tuple[float | None, ...] = (None,)
    n_features: tuple[int | None, ...] = (None,)


@dataclass(frozen=True, eq=False)
class ChosenSvm:
    """The machine that validation chose, ready to be asked.

    Attributes:
        columns: Which features it looks at.
        mean: Of each on training.
        scale: What each is divided by: its deviation, times the root of the number of features. So
            a sample has a length near 1, and C and gamma mean the same for any number of features.
        svc: Fitted on training; one class against one other, as in LIBSVM.
        temperature: What decision values are divided by before softmax, fitted on validation.
        val_correct: Validation samples that are right.
        val_n: Validation samples.
    """

    columns: Int[np.ndarray, " chosen"]
    mean: Float[np.ndarray, " chosen"]
    scale: Float[np.ndarray, " chosen"]
    svc: SVC
    temperature: float
    val_correct: int
    val_n: int

    def probs(
        self, features: Float[np.ndarray, "samples features"]
    ) -> Float[np.ndarray, "samples classes"]:
        """Gives class probabilities: softmax of the decision values at the fitted temperature."""
        seen = (features[:, self.columns] - self.mean) / self.scale
        return apply_temperature(_decide(self.svc, seen), self.temperature)

    @property
    def n_parameters(self) -> int:
        """Numbers that make the decision: weights, or support vectors and their weights."""
        parts = [self.svc.intercept_, self.mean, self.scale]
        if self.svc.kernel == "linear":
            parts.append(self.svc.coef_)
        else:
            parts += [self.svc.support_vectors_, self.svc.dual_coef_]
        return sum(part.size for part in parts)

    def to_json(self) -> dict[str, Any]:
        """Gives what was chosen as plain values."""
        is_linear = self.svc.kernel == "linear"
        return {
            "kernel": str(self.svc.kernel),
            "c": float(self.svc.C),
            "gamma": None if is_linear else float(self.svc.gamma),
            "n_features": len(self.columns),
            "temperature": self.temperature,
            "val_correct": self.val_correct,
            "val_n": self.val_n,
        }


def choose_svm(
    train: Float[np.ndarray, "train features"],
    train_labels: Int[np.ndarray, " train"],
    val: Float[np.ndarray, "val features"],
    val_labels: Int[np.ndarray, " val"],
    grid: Grid,
) -> ChosenSvm:
    """Fits every machine of a grid on training and keeps the one that is best on validation.

    Features are ranked and standardised by what training shows of them. Nothing here is random.

    Args:
        train: Features of the training samples.
        train_labels: Their classes, every one from 0 up, at least two.
        val: Features of the validation samples.
        val_labels: Their classes.
        grid: What is tried.

    Returns:
        The machine that is most often right on validation; among equals the one with the lowest
        log loss; then the one that looks at fewer features and has the smaller C.

    Raises:
        ValueError: Training lacks a class, has only one, or all its features are constant.
    """
    classes = np.arange(max(2, train_labels.max() + 1, val_labels.max() + 1))
    if not np.array_equal(np.unique(train_labels), classes):
        raise ValueError("training must show every class, and at least two")
    # Sums of squares in single precision would decide the F-test of nearly constant features.
    train, val = train.astype(np.float64), val.astype(np.float64)
    tried: list[tuple[tuple[float, ...], ChosenSvm]] = []
    for columns in _list_columns(rank_features(train, train_labels), grid):
        mean = train[:, columns].mean(axis=0)
        scale = train[:, columns].std(axis=0) * np.sqrt(len(columns))
        seen, asked = ((part[:, columns] - mean) / scale for part in (train, val))
        for gamma in grid.gammas:
            # One matrix of kernel values serves all C and makes a fit ten times faster.
            inside, across = _compare(seen, seen, gamma), _compare(asked, seen, gamma)
            for c in grid.cs:
                svc = SVC(C=c, kernel="precomputed").fit(inside, train_labels)
                answers = _decide(svc, across)
                temperature = fit_temperature(answers, val_labels)
                probs = apply_temperature(answers, temperature)
                correct = int((probs.argmax(axis=1) == val_labels).sum())
                of_truth = probs[np.arange(len(val)), val_labels]
                loss = -float(np.log(np.maximum(of_truth, 1e-12)).mean())
                unfitted = SVC(C=c, **_describe_kernel(gamma))
                machine = ChosenSvm(columns, mean, scale, unfitted, temperature, correct, len(val))
                tried.append(((-correct, loss, len(columns), c), machine))
    _, best = min(tried, key=lambda item: item[0])
    best.svc.fit((train[:, best.columns] - best.mean) / best.scale, train_labels)
    return best


def rank_features(
    features: Float[np.ndarray, "samples features"], labels: Int[np.ndarray, " samples"]
) -> Int[np.ndarray, " ranked"]:
    """Orders features by the F-test of analysis of variance, the most telling one first.

    Features that are the same for all samples are left out. The order is that of scikit-learn's
    SelectKBest; features that tell equally much keep their order.

    >>> features = np.array([[0.0, 1, 5], [1, 0, 5], [0, 9, 5], [1, 8, 5]])
    >>> rank_features(features, np.array([0, 0, 1, 1]))
    array([1, 0])

    Raises:
        ValueError: No feature differs between samples.
    """
    varying = np.flatnonzero(np.ptp(features, axis=0) > 0)
    if len(varying) == 0:
        raise ValueError("all features are the same for all samples")
    with np.errstate(divide="ignore", invalid="ignore"):
        values, _ = f_classif(features[:, varying], labels)
    # Without spread inside the classes F is infinite, and that feature comes first.
    return varying[np.argsort(-np.nan_to_num(values, nan=0.0), kind="stable")]


def _list_columns(ranking: Int[np.ndarray, " ranked"], grid: Grid) -> Iterator[np.ndarray]:
    """Gives each set of columns once, the smallest first."""
    counts = {len(ranking) if n is None else min(n, len(ranking)) for n in grid.n_features}
    for count in sorted(counts):
        yield np.sort(ranking[:count])


def _describe_kernel(gamma: float | None) -> dict[str, Any]:
    return {"kernel": "linear"} if gamma is None else {"kernel": "rbf", "gamma": gamma}


def _compare(
    ones: Float[np.ndarray, "ones features"],
    others: Float[np.ndarray, "others features"],
    gamma: float | None,
) -> Float[np.ndarray, "ones others"]:
    return linear_kernel(ones, others) if gamma is None else rbf_kernel(ones, others, gamma=gamma)


def _decide(
    svc: SVC, features: Float[np.ndarray, "samples features"]
) -> Float[np.ndarray, "samples classes"]:
    """Gives softmax of the decision values, which is not calibrated yet."""
    values = svc.decision_function(features)
    # Of two classes scikit-learn gives one value, for the second class and against the first.
    return softmax(values if values.ndim == 2 else np.stack([-values, values], axis=1), axis=1)
