"""The interval of a proportion, as `statistics.py` offers it; it needs nothing but Python."""

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Interval:
    """A range that covers the true value in the stated share of experiments (95 % by default)."""

    low: float
    high: float


def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Gives Wilson's score interval of a proportion.

    Honest for one model on one test split, when its samples are independent. With several pictures
    of each person it is somewhat too narrow.

    >>> interval = wilson(76, 90)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.756, 0.905)

    Raises:
        ValueError: There is no sample, or more are correct than there are.
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"{correct} of {n} is not a proportion.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = correct / n, z * z / n
    middle = (rate + weight / 2) / (1 + weight)
    reach = z * math.sqrt(rate * (1 - rate) / n + weight / n / 4) / (1 + weight)
    # Rounding must not push the ends off 0 and 1, where they are exact.
    low = 0.0 if correct == 0 else middle - reach
    high = 1.0 if correct == n else middle + reach
    return Interval(low, high)
