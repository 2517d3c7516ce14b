"""Whether heat maps mark what a model goes by: curves of deletion and insertion, against random.

Source:
    Petsiuk, Das and Saenko 2018, RISE: Randomized Input Sampling for Explanation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ferfusion.evaluation.statistics import Interval, bootstrap_by_subject, flip_by_subject, holm

KINDS = ("deletion", "insertion")
ORDERS = ("map", "random", "centre")

Curves = Mapping[str, Mapping[str, Float[np.ndarray, "samples places"]]]
"""Kind and order -> probability of the explained class with more and more pixels removed or shown,
evenly spaced."""

LEVEL = 0.05
FEWEST = 8
"""With fewer people no test by flipping signs can fall below the level: it corrects for four."""


@dataclass(frozen=True)
class Comparison:
    """A map's order against another, in one of the two games.

    Attributes:
        kind: Which.
        other: `random` or `centre`.
        n: Samples.
        area: Under the curve of the map's order.
        other_area: Under that of the other.
        gain: How much better the map's order is: lower in deletion, higher in insertion.
        interval: 95 % of the gain, drawn by subject.
        p_value: Of a paired test by subject that the gain is 0.
        adjusted: That, by Holm for all comparisons of a page.
    """

    kind: str
    other: str
    n: int
    area: float
    other_area: float
    gain: float
    interval: Interval
    p_value: float
    adjusted: float

    @property
    def is_better(self) -> bool:
        """Whether the test supports that the map's order is better."""
        return self.gain > 0 and self.adjusted < LEVEL

    @property
    def is_worse(self) -> bool:
        """Whether the test supports that the map's order is worse."""
        return self.gain < 0 and self.adjusted < LEVEL


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
    p_values = [flip_by_subject(gain, subjects, seed=0) for *_, gain in rows]
    return [
        Comparison(
            kind, other, len(gain), float(own.mean()), float(against.mean()), float(gain.mean()),
            bootstrap_by_subject(gain, subjects, seed=0), p_value, adjusted,
        )
        for (kind, other, own, against, gain), p_value, adjusted
        in zip(rows, p_values, holm(p_values), strict=True)
    ]  # fmt: skip


def tell_faithfulness(method: str, comparisons: Sequence[Comparison], people: int) -> str:
    """Says in a sentence whether maps are to be believed, only what the tests support.

    Args:
        method: Name of the maps' method.
        comparisons: As `compare_orders` gave them.
        people: Different subjects among the samples.
    """
    random = {c.kind: c for c in comparisons if c.other == "random"}
    if any(c.is_worse for c in random.values()):
        worse = " and ".join(k for k in KINDS if random[k].is_worse)
        return (
            f"The maps of {method} mislead for this model: in {worse}, places drawn at random "
            "matter more to its answers than those that the maps mark."
        )
    better = [kind for kind in KINDS if random[kind].is_better]
    if not better:
        few = f" (with {people} people, no test could show it)" if people < FEWEST else ""
        return (
            f"The maps of {method} are no better than random for this model: nothing shows that "
            f"the places they mark matter more to its answers than places drawn at random{few}."
        )
    if len(better) == 1:
        game = "when they alone are shown" if better == ["insertion"] else "when they are removed"
        return (
            f"The maps of {method} are half faithful for this model: what they mark matters more "
            f"than places drawn at random {game}, and the other way round nothing shows it."
        )
    centre = [c for c in comparisons if c.other == "centre"]
    beats = sum(c.is_better for c in centre)
    beyond = (
        "; and they beat starting in the middle of the picture, so they know more than that faces "
        "are there"
        if beats == len(centre)
        else "; in one of the two games only they beat starting in the middle of the picture"
        if beats
        else "; but starting in the middle of every picture does "
        + ("even better" if any(c.is_worse for c in centre) else "as well")
    )
    return (
        f"The maps of {method} are faithful for this model: what they mark matters more to its "
        f"answers than places drawn at random, both removed and shown alone{beyond}."
    )
