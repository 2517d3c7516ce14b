"""A guess at who is who: samples in groups, how surely, and in words why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["names", "times", "appearance"]


@dataclass(frozen=True)
class Guess:
    """Whom one sample may show.

    Attributes:
        subject: A name for whoever it is, the same for all samples that may show them.
        confidence: That this sample is in the right company, 0 to 1; a rule's estimate, no
            measured frequency.
        how: In words.
    """

    subject: str
    confidence: float
    how: str


@dataclass(frozen=True)
class Grouping:
    """What one way of guessing made of a data set.

    Attributes:
        way: Which.
        sentence: What it went by, or why it found nothing.
        confidence: In the grouping as a whole, 0 to 1; 0 where nothing was found.
        guesses: By sample id; samples of which nothing can be said are missing.
    """

    way: Way
    sentence: str
    confidence: float = 0.0
    guesses: Mapping[str, Guess] = field(default_factory=dict[str, Guess])
