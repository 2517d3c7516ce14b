"""How small a difference between two models a test set can show, and what would show more.

Everything is about accuracies from 0 to 1: a difference of 0.05 is what people call 5 points.
Two models answer the same samples, so only the answers that one of them alone gets right count
(the discordant ones). Answers about one person resemble each other. That makes a sample worth
less than one, by the design effect.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, stats

from ferfusion.evaluation.statistics import number_subjects


@dataclass(frozen=True)
class Clustering:
    """How much answers about one subject resemble each other.

    Attributes:
        n_subjects: People; an answer without a subject counts as a person of its own.
        samples_per_subject: The mean.
        correlation: Between two answers about one subject (intra-class), from 0 to 1.
        design_effect: How many of these samples tell as much as one independent sample.
    """

    n_subjects: int
    samples_per_subject: float
    correlation: float
    design_effect: float


@dataclass(frozen=True)
class Needed:
    """How large a test set would have to be, with as many samples of each subject as in this."""

    samples: int
    subjects: int


@dataclass(frozen=True)
class Resolution:
    """What a test set can and can't tell of two models.

    Attributes:
        n: Samples.
        clustering: Of the differences between the models.
        alpha: A difference counts as shown if p is at most this.
        power: How surely a difference should be found.
        one_sample: What a single sample adds to an accuracy.
        discordant_needed: The fewest discordant answers that can show anything, all of them in
            favour of one model. As many subjects are needed, too.
        smallest_shown: The difference they make, the smallest that an exact McNemar test could
            ever show; None where there are fewer samples.
        difference: What was seen: accuracy of the first model minus that of the second.
        discordant_share: Share of the samples that only one of the models got right.
        detectable: The smallest true difference that is shown with probability `power`; None
            where there is none.
        wanted: The difference that was asked about.
        power_for_wanted: How probably this test set shows it if it is true.
        needed_for_wanted: What shows it with probability `power`.
        needed_for_seen: What shows the difference that was seen, if it is the true one; None
            where none was seen.
    """

    n: int
    clustering: Clustering
    alpha: float
    power: float
    one_sample: float
    discordant_needed: int
    smallest_shown: float | None
    difference: float
    discordant_share: float
    detectable: float | None
    wanted: float
    power_for_wanted: float
    needed_for_wanted: Needed
    needed_for_seen: Needed | None


def resolve_test_set(
    correct_a: Bool[np.ndarray, " samples"],
    correct_b: Bool[np.ndarray, " samples"],
    subjects: Sequence[Hashable | None],
    wanted: float = 0.05,
    alpha: float = 0.05,
    power: float = 0.8,
) -> Resolution:
    """Says what this test set can tell of these two models, and how many samples would tell more.

    The share of discordant answers and the likeness within people are those seen here, so with
    few people all that follows from them is rough. Where fewer answers were discordant than a
    difference needs, as few as it needs are supposed, which is the most favourable case.

    Args:
        correct_a: Whether the first model is right, per sample; each sample once.
        correct_b: The same for the second model, on the same samples.
        subjects: Whom each sample shows; a sample with None is supposed to be of somebody else.
        wanted: A difference one would like to be able to show.
        alpha: Of the two-sided test; for one of many comparisons it should be smaller.
        power: How surely differences should be found.

    Raises:
        ValueError: There is no sample, the parts don't fit together, or a number is not a
            possible difference or probability.
    """
    if correct_a.shape != correct_b.shape:
        raise ValueError("Two models are compared on the same samples.")
    clustering = measure_clustering(correct_a.astype(np.float64) - correct_b, subjects)
    n = correct_a.size
    effect = clustering.design_effect
    share = float((correct_a != correct_b).mean())
    difference = float(correct_a.mean() - correct_b.mean())
    fewest = count_discordant_needed(alpha)

    def need(wished: float) -> Needed:
        independent = count_samples_needed(wished, share, alpha, power)
        samples = math.ceil(independent * effect)
        # With fewer subjects than this, no swapping of models' names could show anything.
        people = max(fewest, math.ceil(samples / clustering.samples_per_subject))
        return Needed(max(samples, people), people)

    can_show = n >= fewest and clustering.n_subjects >= fewest
    return Resolution(
        n=n,
        clustering=clustering,
        alpha=alpha,
        power=power,
        one_sample=1 / n,
        discordant_needed=fewest,
        smallest_shown=fewest / n if n >= fewest else None,
        difference=difference,
        discordant_share=share,
        detectable=find_detectable(n / effect, share, alpha, power) if can_show else None,
        wanted=wanted,
        power_for_wanted=find_power(wanted, n / effect, share, alpha) if can_show else 0.0,
        needed_for_wanted=need(wanted),
        needed_for_seen=need(abs(difference)) if difference else None,
    )


def count_discordant_needed(alpha: float = 0.05) -> int:
    """Counts the discordant answers that show a difference if all favour one model.

    >>> count_discordant_needed(0.05), count_discordant_needed(0.01)
    (6, 8)
    """
    _check_probability(alpha)
    fewest = 1
    while 2 * 0.5**fewest > alpha:
        fewest += 1
    return fewest


def measure_clustering(
    values: Float[np.ndarray, " samples"], subjects: Sequence[Hashable | None]
) -> Clustering:
    """Measures how alike the values of one subject are, and what that costs a mean over samples.

    The correlation is that of a one-way analysis of variance, for groups of unequal size, and 0
    where it would be negative. It is 0 where nobody has two samples or all values are equal, and
    1, the worst case, where there is one person only.

    Raises:
        ValueError: There is no value, or not one subject per value.

    Source:
        Donner and Koval 1980, Biometrics 36; design effect after Kish 1965 with the size of the
        group that a sample is in on average.
    """
    groups = number_subjects(subjects, values.size)
    sizes = np.bincount(groups)
    n, n_subjects = values.size, sizes.size
    mean_size_met = float((sizes**2).sum() / n)
    if n_subjects == 1:
        correlation = 1.0
    elif n_subjects == n:
        correlation = 0.0
    else:
        means = np.bincount(groups, weights=values) / sizes
        between = float((sizes * (means - values.mean()) ** 2).sum()) / (n_subjects - 1)
        within = float(((values - means[groups]) ** 2).sum()) / (n - n_subjects)
        typical_size = (n - mean_size_met) / (n_subjects - 1)
        total = between + (typical_size - 1) * within
        # Rounding can leave a trace of variance where all values are equal.
        is_constant = bool((values == values[0]).all())
        correlation = 0.0 if is_constant else min(1.0, max(0.0, (between - within) / total))
    return Clustering(
        n_subjects=n_subjects,
        samples_per_subject=n / n_subjects,
        correlation=correlation,
        design_effect=1 + (mean_size_met - 1) * correlation,
    )


def count_samples_needed(
    difference: float, discordant_share: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Counts the independent samples with which an exact McNemar test shows a difference.

    Args:
        difference: The true one, without sign.
        discordant_share: Of the samples; taken to be the difference where it is smaller.
        alpha: Of the two-sided test.
        power: How surely the difference should be found.

    Raises:
        ValueError: A number is not a possible difference or probability.

    Source:
        Connor 1987, Biometrics 43.

    Deviation:
        With a continuity correction, because exact tests are cautious. Where a power of 0.8 was
        asked, exact McNemar had 0.76 to 0.80 without it. With it, it has 0.80 to 0.83, and up to
        0.93 where nearly all discordant answers favour one model.
    """
    _check_difference(difference, discordant_share)
    _check_probability(alpha)
    _check_probability(power)
    return math.ceil(_count_exactly(difference, discordant_share, alpha, power))


def find_power(difference: float, n: float, discordant_share: float, alpha: float = 0.05) -> float:
    """Gives how probably `n` independent samples show a difference; see `count_samples_needed`."""
    _check_difference(difference, discordant_share)
    _check_probability(alpha)
    share = max(difference, discordant_share)
    surplus = n * difference - 1 - _normal_quantile(1 - alpha / 2) * math.sqrt(n * share)
    spread = math.sqrt(n * max(share - difference**2, 0.0))
    if spread == 0:
        return float(surplus >= 0)
    return float(stats.norm.cdf(surplus / spread))


def find_detectable(
    n: float, discordant_share: float, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """Gives the smallest difference that `n` independent samples show, or None if there is none."""
    _check_difference(1.0, discordant_share)
    _check_probability(alpha)
    _check_probability(power)

    def surplus(difference: float) -> float:
        return n - _count_exactly(difference, discordant_share, alpha, power)

    if surplus(1.0) < 0:
        return None
    # The lower end would need billions of samples.
    return float(optimize.root_scalar(surplus, bracket=(1e-9, 1.0)).root)


def _count_exactly(difference: float, discordant_share: float, alpha: float, power: float) -> float:
    """Solves `find_power` = `power` for the number of samples, not rounded."""
    share = max(difference, discordant_share)
    reach = _normal_quantile(1 - alpha / 2) * math.sqrt(share) + _normal_quantile(
        power
    ) * math.sqrt(max(share - difference**2, 0.0))
    return ((reach + math.sqrt(reach**2 + 4 * difference)) / (2 * difference)) ** 2


def _normal_quantile(probability: float) -> float:
    return float(stats.norm.ppf(probability))


def _check_probability(value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"A significance level or a power lies between 0 and 1, not at {value}.")


def _check_difference(difference: float, discordant_share: float) -> None:
    if not 0 < difference <= 1:
        raise ValueError(f"A difference is above 0 and at most 1, not {difference}.")
    if not 0 <= discordant_share <= 1:
        raise ValueError(f"A share is from 0 to 1, not {discordant_share}.")
