"""Whether a model that says 80 % is right in 80 of 100 cases, and how to mend it if not.

A model's confidence is the probability of its most probable class. Temperature is fitted on
validation and never on test.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize, special

from ferfusion.evaluation.statistics import Interval, wilson

# A probability of 0 has no logarithm. At 1e-12 a wrong answer costs 28 nats, not infinitely many.
_SMALLEST_PROB = 1e-12
_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 0.05, 20.0


@dataclass(frozen=True)
class ReliabilityBin:
    """The answers whose confidence is above `low` and at most `high`.

    Attributes:
        low: Lower end; only the first bin contains its own.
        high: Upper end.
        n: Answers in the bin.
        confidence: Their mean confidence; not a number where there is none.
        accuracy: Share of them that is right; not a number where there is none.
        interval: Wilson's, of the accuracy; None where there is no answer.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: Interval | None


def list_reliability_bins(
    probs: Float[np.ndarray, "samples classes"],
    labels: Int[np.ndarray, " samples"],
    n_bins: int = 10,
) -> tuple[ReliabilityBin, ...]:
    """Gives the bars of a reliability diagram: bins of equal width from 0 to 1, empty ones too.

    Raises:
        ValueError: There is no sample or no bin.

    Source:
        Guo et al. 2017, On calibration of modern neural networks, section 2.
    """
    confidence, correct = _rate_answers(probs, labels)
    edges, which = _sort_into_bins(confidence, n_bins)
    counts = np.bincount(which, minlength=n_bins)
    sure = np.bincount(which, weights=confidence, minlength=n_bins)
    right = np.bincount(which, weights=correct, minlength=n_bins)
    bins: list[ReliabilityBin] = []
    for index, n in enumerate(counts.tolist()):
        bins.append(
            ReliabilityBin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                n=n,
                confidence=float(sure[index]) / n if n else math.nan,
                accuracy=float(right[index]) / n if n else math.nan,
                interval=wilson(int(right[index]), n) if n else None,
            )
        )
    return tuple(bins)


def expected_calibration_error(
    probs: Float[np.ndarray, "samples classes"],
    labels: Int[np.ndarray, " samples"],
    n_bins: int = 10,
) -> float:
    """Gives the mean distance between confidence and accuracy over bins, weighted by their size.

    Chance alone makes it larger than 0, by much where samples are few; hold it against
    `calibration_error_by_chance`. Drawing samples anew adds such chance a second time. So a
    bootstrap interval of it lies too high.

    >>> sure = np.array([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25]])
    >>> expected_calibration_error(sure, np.array([0, 0, 0, 1]))
    0.0
    >>> expected_calibration_error(sure, np.array([0, 0, 1, 1]))
    0.25

    Raises:
        ValueError: There is no sample or no bin.

    Source:
        Guo et al. 2017, equation 3.
    """
    confidence, correct = _rate_answers(probs, labels)
    _, which = _sort_into_bins(confidence, n_bins)
    gaps = np.bincount(which, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(labels))


def calibration_error_by_chance(
    probs: Float[np.ndarray, "samples classes"], seed: int, draws: int = 1000, n_bins: int = 10
) -> float:
    """Gives the calibration error that a faultless model with these confidences would show.

    Its answers are drawn right as often as the confidence says. The mean over the draws is how
    much of `expected_calibration_error` says nothing, if samples are independent.

    Raises:
        ValueError: There is no sample or no bin.
    """
    if len(probs) == 0:
        raise ValueError("Calibration needs at least one sample.")
    confidence = probs.max(axis=1).astype(np.float64)
    _, which = _sort_into_bins(confidence, n_bins)
    rng = np.random.default_rng(seed)
    total = 0.0
    for _ in range(draws):
        correct = rng.random(len(confidence)) < confidence
        total += np.abs(np.bincount(which, weights=correct - confidence)).sum()
    return float(total / draws / len(confidence))


def brier_score(
    probs: Float[np.ndarray, "samples classes"], labels: Int[np.ndarray, " samples"]
) -> float:
    """Gives the mean squared distance between probabilities and truth, summed over all classes.

    0 is best and 2 is worst. Even probabilities get 1 - 1 / classes, so 0.8 with five.

    Raises:
        ValueError: There is no sample.

    Source:
        Brier 1950, Verification of forecasts expressed in terms of probability.
    """
    _rate_answers(probs, labels)
    distance = probs.astype(np.float64)
    distance[np.arange(len(labels)), labels] -= 1
    return float((distance**2).sum(axis=1).mean())


def fit_temperature(
    probs: Float[np.ndarray, "samples classes"], labels: Int[np.ndarray, " samples"]
) -> float:
    """Finds the temperature that makes validation probabilities most likely.

    Above 1 the model was too sure of itself, below 1 not sure enough.

    Args:
        probs: Of a validation split, never of the test split.
        labels: The true classes.

    Returns:
        From 0.05 to 20. Exactly 1, which changes nothing, where no answer is wrong: then ever
        surer would be ever better, and the split can't say how sure the model may be.

    Raises:
        ValueError: There is no sample.

    Source:
        Guo et al. 2017, section 4.2.

    Deviation:
        Logits are the logarithms of the probabilities, which is the same after softmax. So late
        fusion, which has no logits of its own, is calibrated alike.
    """
    _rate_answers(probs, labels)
    logits = _take_logs(probs)
    of_truth = logits[np.arange(len(labels)), labels]
    if (of_truth == logits.max(axis=1)).all():
        return 1.0

    def mean_loss(log_temperature: float) -> float:
        sharpness = math.exp(-log_temperature)
        scaled = logits * sharpness
        return float((np.logaddexp.reduce(scaled, axis=1) - of_truth * sharpness).mean())

    # The loss is convex in 1 / temperature, so it has one valley in its logarithm, too.
    found = optimize.minimize_scalar(
        mean_loss,
        bounds=(math.log(_LOWEST_TEMPERATURE), math.log(_HIGHEST_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(float(found.x))


def apply_temperature(
    probs: Float[np.ndarray, "samples classes"], temperature: float
) -> Float[np.ndarray, "samples classes"]:
    """Gives the probabilities at another temperature. No answer changes, only how sure it is.

    Raises:
        ValueError: The temperature is not above 0.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"A temperature is a number above 0, not {temperature}.")
    return special.softmax(_take_logs(probs) / temperature, axis=1)


def _rate_answers(
    probs: Float[np.ndarray, "samples classes"], labels: Int[np.ndarray, " samples"]
) -> tuple[Float[np.ndarray, " samples"], Bool[np.ndarray, " samples"]]:
    """Gives how sure each answer is and whether it is right."""
    if len(labels) == 0:
        raise ValueError("Calibration needs at least one sample.")
    return probs.max(axis=1).astype(np.float64), probs.argmax(axis=1) == labels


def _sort_into_bins(
    confidence: Float[np.ndarray, " samples"], n_bins: int
) -> tuple[Float[np.ndarray, " edges"], Int[np.ndarray, " samples"]]:
    """Gives the bins' edges and the number of each answer's bin."""
    if n_bins < 1:
        raise ValueError(f"There must be at least one bin, not {n_bins}.")
    edges = np.linspace(0, 1, n_bins + 1)
    return edges, np.searchsorted(edges[1:-1], confidence, side="left")


def _take_logs(
    probs: Float[np.ndarray, "samples classes"],
) -> Float[np.ndarray, "samples classes"]:
    return np.log(np.maximum(probs.astype(np.float64), _SMALLEST_PROB))
