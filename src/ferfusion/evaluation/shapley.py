"""How much of an answer each modality gave: exact Shapley values over all subsets.

Source:
    Shapley 1953, A value for n-person games; for models, Lundberg and Lee 2017.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
from jaxtyping import Float, Int

from ferfusion.evaluation.heat_regions import list_explained
from ferfusion.evaluation.statistics import Interval, bootstrap_by_subject
from ferfusion.modality import Modality

Subset = frozenset[Modality]


@dataclass(frozen=True)
class Contribution:
    """What a modality added, averaged over samples.

    Attributes:
        explained: The class; None for all samples together.
        modality: Which.
        n: Samples.
        mean: Of its Shapley values: how much it moved the probability of the class.
        interval: 95 %, drawn by subject.
    """

    explained: str | None
    modality: Modality
    n: int
    mean: float
    interval: Interval


def list_subsets(modalities: Sequence[Modality]) -> list[Subset]:
    """Lists all subsets, from the empty one to the whole."""
    return [
        frozenset(chosen)
        for size in range(len(modalities) + 1)
        for chosen in combinations(modalities, size)
    ]


def share_credit(
    values: Mapping[Subset, Float[np.ndarray, " samples"]],
) -> dict[Modality, Float[np.ndarray, " samples"]]:
    """Gives each modality its Shapley value: what it adds, averaged over all orders of coming in.

    Together they are the value of the whole less that of nothing, and equal modalities get equally
    much; no other division does both and adds up over games.

    Args:
        values: Of every subset, for each sample.

    Raises:
        ValueError: A subset is missing.
    """
    whole = max(values, key=len, default=frozenset())
    if len(values) != 2 ** len(whole) or any(not subset <= whole for subset in values):
        raise ValueError("Shapley values need the value of every subset of modalities.")
    n = len(whole)
    credit: dict[Modality, np.ndarray] = {}
    for modality in Modality:
        if modality not in whole:
            continue
        credit[modality] = np.sum(
            [
                factorial(len(rest)) * factorial(n - len(rest) - 1) / factorial(n)
                * (values[rest | {modality}] - values[rest])
                for rest in values if modality not in rest
            ],
            axis=0,
        )  # fmt: skip
    return credit


def average_credit(
    credit: Mapping[Modality, Float[np.ndarray, " samples"]],
    explained: Int[np.ndarray, " samples"],
    subjects: Sequence[str | None],
    classes: Sequence[str],
) -> list[Contribution]:
    """Averages Shapley values over all samples, and over those of each class that is explained."""
    found: list[Contribution] = []
    for place, name in ((None, None), *list_explained(explained, classes)):
        rows = np.arange(len(explained)) if place is None else np.nonzero(explained == place)[0]
        if not len(rows):
            continue
        people = [subjects[int(row)] for row in rows]
        found += [
            Contribution(
                name, modality, len(rows), float(values[rows].mean()),
                bootstrap_by_subject(values[rows].astype(np.float64), people, seed=0),
            )
            for modality, values in credit.items()
        ]  # fmt: skip
    return found
