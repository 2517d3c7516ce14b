"""How right a model is where it is sure: accuracy against the share of samples it answers.

A model that may stay silent answers the samples it is most sure of. The share answered is the
coverage. If confidence means something, accuracy rises as coverage falls.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """Accuracy of the answers at least as sure as each confidence that occurs, surest first.

    Samples of equal confidence enter together, so the order of rows doesn't matter.

    Attributes:
        n: Samples at full coverage.
        confidence: What is asked of an answer, falling.
        coverage: Share of the samples that fulfil it, rising to 1.
        accuracy: Share of these that are right; the last is the accuracy on all samples.
    """

    n: int
    confidence: Float[np.ndarray, " points"]
    coverage: Float[np.ndarray, " points"]
    accuracy: Float[np.ndarray, " points"]


@dataclass(frozen=True)
class AnswerRule:
    """When a model would rather not answer.

    Attributes:
        least_confidence: An answer is given where the most probable class has at least this.
        coverage: Share of the validation samples that was to be answered, by which it was chosen.
        n: How many these were.
    """

    least_confidence: float
    coverage: float
    n: int


def choose_answer_rule(
    probs: Float[np.ndarray, "samples classes"],
    labels: Int[np.ndarray, " samples"],
    coverage: float,
) -> AnswerRule:
    """Gives the rule by which the least sure validation samples stay without an answer.

    Args:
        probs: Of a validation split, calibrated as the model's answers will be.
        labels: The true classes.
        coverage: Share to be answered.

    Raises:
        ValueError: There is no sample, or the coverage is not above 0 and at most 1.
    """
    least = find_least_confidence(trace_coverage(probs, labels), coverage)
    return AnswerRule(least, coverage, len(labels))


def trace_coverage(
    probs: Float[np.ndarray, "samples classes"], labels: Int[np.ndarray, " samples"]
) -> CoverageCurve:
    """Gives accuracy against coverage, with the highest probability as confidence.

    Raises:
        ValueError: There is no sample.

    Source:
        Geifman and El-Yaniv 2017, Selective classification for deep neural networks.
    """
    n = len(labels)
    if n == 0:
        raise ValueError("Coverage needs at least one sample.")
    confidence = probs.max(axis=1).astype(np.float64)
    order = np.argsort(-confidence)
    falling = confidence[order]
    right = np.cumsum((probs.argmax(axis=1) == labels)[order])
    last_of_equals = np.append(np.flatnonzero(np.diff(falling)), n - 1)
    answered = last_of_equals + 1
    return CoverageCurve(
        n=n,
        confidence=falling[last_of_equals],
        coverage=answered / n,
        accuracy=right[last_of_equals] / answered,
    )


def accuracy_at(curve: CoverageCurve, coverage: float) -> float:
    """Gives the accuracy when this share of the samples is answered, the surest first.

    Where only some of equally sure samples can be answered, it is the mean over all choices.

    >>> probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.4, 0.6]])
    >>> curve = trace_coverage(probs, np.array([0, 0, 1, 0]))
    >>> accuracy_at(curve, 0.5), accuracy_at(curve, 1.0)
    (1.0, 0.75)

    Raises:
        ValueError: The coverage is not above 0 and at most 1.
    """
    _check_coverage(coverage)
    return float(_interpolate(curve, np.array([float(coverage)]))[0])


def find_least_confidence(curve: CoverageCurve, coverage: float) -> float:
    """Gives what must be asked of an answer so that at least this share is answered.

    Chosen on validation, it says when a model would rather not answer.

    >>> probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.55, 0.45]])
    >>> find_least_confidence(trace_coverage(probs, np.array([0, 0, 1, 0])), 0.75)
    0.6

    Raises:
        ValueError: The coverage is not above 0 and at most 1.
    """
    _check_coverage(coverage)
    # Shares are ratios of whole numbers; rounding must not cost a sample.
    enough = np.flatnonzero(curve.coverage >= coverage - 1e-9)
    return float(curve.confidence[enough[0]])


def risk_coverage_area(curve: CoverageCurve) -> float:
    """Gives the mean error over all coverages (AURC), from one sample to all; lower is better.

    It falls with fewer errors and with errors that are less sure. Only models of equal accuracy
    are compared by their confidence alone.

    Source:
        Geifman, Uziel and El-Yaniv 2019, Bias-reduced uncertainty estimation.
    """
    shares = np.arange(1, curve.n + 1) / curve.n
    return float(1 - _interpolate(curve, shares).mean())


def _check_coverage(coverage: float) -> None:
    if not 0 < coverage <= 1:
        raise ValueError(f"A coverage is above 0 and at most 1, not {coverage}.")


def _interpolate(
    curve: CoverageCurve, shares: Float[np.ndarray, " shares"]
) -> Float[np.ndarray, " shares"]:
    """Right answers, and not accuracy, grow evenly while samples of equal confidence enter."""
    right = np.append(0, curve.coverage * curve.accuracy)
    return np.interp(shares, np.append(0, curve.coverage), right) / shares
