"""Whether heat maps mark what a model goes by: curves of deletion and insertion, against random.

Source:
    Petsiuk, Das and Saenko 2018, RISE: Randomized Input Sampling for Explanation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ferfusion.evaluation.statistics import (
    Interval,
    bootstrap_by_subject,
    flip_by_subject,
    holm,
    number_subjects,
)

KINDS = ("deletion", "insertion")
ORDERS = ("map", "random", "centre")

Curves = Mapping[str, Mapping[str, Float[np.ndarray, "samples places"]]]
"""Kind and order -> probability of the explained class with more and more pixels removed or shown,
evenly spaced."""

LEVEL = 0.05
WORTH = 0.05
"""A gain worth having: so much of the explained class's mean probability."""
MOST_MEASURED = 1000
"""Samples that are measured at once: all their maps are held in memory."""
FEWEST = 8
"""With fewer people no test by flipping signs can fall below the level: it corrects for four."""

_DRAWS = 10_000  # the tails of four intervals together are thin

Verdict = Literal["better", "worse", "no better", "can't be told"]


@dataclass(frozen=True)
class Comparison:
    """A map's order against another, in one of the two games.

    Attributes:
        kind: Which.
        other: `random` or `centre`.
        n: Samples.
        people: Different subjects among them.
        area: Under the curve of the map's order.
        other_area: Under that of the other.
        gain: How much better the map's order is: lower in deletion, higher in insertion.
        interval: Of the gain, drawn by subject; 95 % for all intervals of a page together.
        p_value: Of a paired test by subject that the gain is 0.
        adjusted: That, by Holm for all comparisons of a page.
    """

    kind: str
    other: str
    n: int
    people: int
    area: float
    other_area: float
    gain: float
    interval: Interval
    p_value: float
    adjusted: float

    @property
    def verdict(self) -> Verdict:
        """What is shown: a difference by the test, or by the interval that no gain is worth it."""
        if self.adjusted < LEVEL and self.gain:
            return "better" if self.gain > 0 else "worse"
        is_settled = self.people >= FEWEST and self.interval.high < WORTH
        return "no better" if is_settled else "can't be told"


def measure_areas(
    curve: Float[np.ndarray, "samples places"],
) -> Float[np.ndarray, " samples"]:
    """Gives the area under each curve, over all pixels from none to all: a mean probability."""
    return (curve[:, 1:] + curve[:, :-1]).mean(axis=1) / 2


def compare_orders(curves: Curves, subjects: Sequence[str | None]) -> list[Comparison]:
    """Compares the map's order with every other one, in both games.

    Args:
        curves: Rows are samples, the same in all of them.
        subjects: Whom each sample shows.
    """
    rows: list[tuple[str, str, np.ndarray, np.ndarray, np.ndarray]] = []
    for kind in KINDS:
        areas = {order: measure_areas(curve) for order, curve in curves[kind].items()}
        sign = 1 if kind == "insertion" else -1
        rows += [
            (kind, other, areas["map"], areas[other], sign * (areas["map"] - areas[other]))
            for other in ORDERS
            if other != "map"
        ]
    people = len(np.unique(number_subjects(subjects, len(subjects))))
    p_values = [flip_by_subject(gain, subjects, seed=0) for *_, gain in rows]
    each = 1 - LEVEL / len(rows)
    return [
        Comparison(
            kind, other, len(gain), people, float(own.mean()), float(against.mean()),
            float(gain.mean()),
            bootstrap_by_subject(gain, subjects, seed=0, draws=_DRAWS, confidence=each),
            p_value, adjusted,
        )
        for (kind, other, own, against, gain), p_value, adjusted
        in zip(rows, p_values, holm(p_values), strict=True)
    ]  # fmt: skip


def tell_faithfulness(
    method: str, comparisons: Sequence[Comparison], *, samples: int, people: int
) -> str:
    """Says in a sentence whether maps are to be believed, only what is shown.

    Args:
        method: Name of the maps' method.
        comparisons: As `compare_orders` gave them.
        samples: How many might have been measured, these among them.
        people: Different subjects among those.
    """
    random = {c.kind: c for c in comparisons if c.other == "random"}
    verdicts: dict[str, Verdict] = {kind: c.verdict for kind, c in random.items()}
    some = random[KINDS[0]]
    measured = f"{_count(some.n, 'sample')} of {_count(some.people, 'person', 'people')}"
    maps = f"maps of {method}"
    if "worse" in verdicts.values():
        return (
            f"The {maps} mislead for this model: in {_list(verdicts, 'worse')}, places drawn at "
            "random matter more to its answers than those that the maps mark."
        )
    if set(verdicts.values()) == {"no better"}:
        return (
            f"The {maps} are no better than random for this model: in both games a gain of "
            f"{WORTH:g} over places drawn at random is ruled out ({measured}). Don't read them as "
            "what the model uses."
        )
    if "better" not in verdicts.values():
        return (
            f"Whether the {maps} are better than random for this model can't be told from "
            f"{measured}, so don't read them as what the model uses. "
            + _advise(some, samples, people)
        )
    if set(verdicts.values()) != {"better"}:
        is_shown = verdicts["insertion"] == "better"
        game = "they alone are shown" if is_shown else "they are removed"
        rest = (
            "they are no better"
            if "no better" in verdicts.values()
            else f"that can't be told from {measured}. " + _advise(some, samples, people)
        )
        return (
            f"The {maps} are half faithful for this model: what they mark matters more than places "
            f"drawn at random when {game}; the other way round {rest.rstrip('.')}."
        )
    return (
        f"The {maps} are faithful for this model: what they mark matters more to its answers than "
        "places drawn at random, both removed and shown alone"
        f"{_tell_centre({c.kind: c.verdict for c in comparisons if c.other == 'centre'})}."
    )


def _tell_centre(verdicts: Mapping[str, Verdict]) -> str:
    better, worse = _list(verdicts, "better"), _list(verdicts, "worse")
    if set(verdicts.values()) == {"better"}:
        return (
            "; and they beat starting in the middle of the picture, so they know more than that "
            "faces are there"
        )
    if worse:
        also = f"; by {better} they beat starting in the middle of the picture" if better else ""
        return f"{also}; but by {worse} starting in the middle of every picture does even better"
    if better:
        return f"; by {better} only they also beat starting in the middle of the picture"
    if set(verdicts.values()) == {"no better"}:
        return "; but starting in the middle of every picture does as well"
    return "; whether they beat starting in the middle of the picture can't be told"


def _advise(measured: Comparison, samples: int, people: int) -> str:
    """Says what would help a test that shows nothing."""
    more = f"--measure {min(samples, MOST_MEASURED)} takes "
    more += f"all {samples} samples there are" if samples <= MOST_MEASURED else "more samples"
    if measured.people < FEWEST:
        why = f"No test can show it with fewer than {FEWEST} people: "
        return why + (f"{more}." if people >= FEWEST else "pictures of more people are needed.")
    if measured.n < min(samples, MOST_MEASURED):
        return f"It may help to measure more: {more}."
    return "All samples there are were measured; pictures of more people would help."


def _list(verdicts: Mapping[str, Verdict], wanted: Verdict) -> str:
    return " and ".join(kind for kind, verdict in verdicts.items() if verdict == wanted)


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one}" if n == 1 else f"{n} {many or one + 's'}"
