from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.evaluation.shapley import average_credit, list_subsets, share_credit
from ferfusion.modality import MODALITIES, Modality

V, IR, M = MODALITIES
NUMBERS = st.floats(-1, 1)


def play(modalities: tuple[Modality, ...], numbers: list[float]) -> dict[frozenset, np.ndarray]:
    return {s: np.array([x]) for s, x in zip(list_subsets(modalities), numbers, strict=True)}


@given(st.lists(NUMBERS, min_size=8, max_size=8))
def test_it_is_the_mean_over_all_orders_of_coming_in(numbers: list[float]) -> None:
    values = play(MODALITIES, numbers)
    wanted = dict.fromkeys(MODALITIES, 0.0)
    for order in permutations(MODALITIES):
        known: frozenset[Modality] = frozenset()
        for modality in order:
            wanted[modality] += (values[known | {modality}] - values[known]).item() / 6
            known |= {modality}
    credit = share_credit(values)
    for modality, value in wanted.items():
        assert credit[modality].item() == pytest.approx(value, abs=1e-12)


@given(st.lists(NUMBERS, min_size=4, max_size=4))
def test_efficiency_symmetry_and_the_null_player(numbers: list[float]) -> None:
    values = play((V, IR), numbers)
    credit = share_credit(values)
    total = values[frozenset({V, IR})] - values[frozenset()]
    assert sum(c.item() for c in credit.values()) == pytest.approx(total.item(), abs=1e-12)
    a, b, *_ = numbers
    alike = share_credit(play((V, IR), [a, b, b, 0.3]))
    assert alike[V].item() == pytest.approx(alike[IR].item(), abs=1e-12)
    idle = share_credit(play((V, IR), [a, b, a, b]))
    assert idle[IR].item() == pytest.approx(0, abs=1e-12)


def test_a_missing_subset_is_a_mistake() -> None:
    values = play((V, IR), [0.0] * 4)
    del values[frozenset({IR})]
    with pytest.raises(ValueError, match="every subset"):
        share_credit(values)


def test_averages_stand_for_all_and_for_each_explained_class() -> None:
    credit = {V: np.array([0.1, 0.3, 0.5]), M: np.array([0.0, 0.0, 0.3])}
    found = average_credit(credit, np.array([1, 1, 2]), ("a", "b", "b"), ("x", "y", "z"))
    said = {(c.explained, c.modality): (c.n, round(c.mean, 6)) for c in found}
    assert said == {
        (None, V): (3, 0.3), (None, M): (3, 0.1), ("y", V): (2, 0.2), ("y", M): (2, 0.0),
        ("z", V): (1, 0.5), ("z", M): (1, 0.3),
    }  # fmt: skip
