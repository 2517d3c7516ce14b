import numpy as np
import pytest

from ferfusion.evaluation.heat_regions import measure_shares, tell_grain, total_regions
from ferfusion.modality import MODALITIES

V, IR, _ = MODALITIES
LAYOUT = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [2, 2, 2, 2], [2, 2, 2, 2]], np.uint8)


def test_shares_are_counted_and_sum_to_one() -> None:
    maps = np.zeros((3, 4, 4))
    maps[0] = 1
    maps[1, 0, 3] = 3
    maps[1, 3, 0] = 1
    shares, areas = measure_shares(maps, np.stack([LAYOUT] * 3), 3)
    np.testing.assert_allclose(shares[0], [6 / 16, 2 / 16, 8 / 16])
    np.testing.assert_allclose(shares[1], [0, 0.75, 0.25])
    assert np.isnan(shares[2]).all(), "a map without heat has no share anywhere"
    np.testing.assert_allclose(areas, [[6 / 16, 2 / 16, 8 / 16]] * 3)


def test_density_takes_the_size_of_a_region_out() -> None:
    rng = np.random.default_rng(0)
    maps = {V: np.ones((6, 4, 4)), IR: np.where(rng.random((6, 4, 4)) < 2, 0.0, 0.0)}
    maps[IR][:4, :, 3] = 1.0
    explained = np.array([0, 0, 1, 1, 1, 1])
    people = ("a", "a", "b", "b", "c", "c")
    totals = total_regions(
        maps, np.stack([LAYOUT] * 6), ("x", "y", "z"), explained, people, ("angry", "happy")
    )
    found = {(t.explained, t.modality, t.region): t for t in totals}
    for region in ("x", "y", "z"):
        even = found[None, V, region]
        assert even.density == pytest.approx(1)
        assert even.density_interval.low == pytest.approx(1)
        assert even.n == 6
    column = found[None, IR, "y"]
    assert column.n == 4, "two samples have no infrared heat"
    assert column.share == pytest.approx(0.5)
    assert column.density == pytest.approx(0.5 / (2 / 16))
    assert found["angry", IR, "y"].n == 2
    assert found["happy", IR, "z"].share == pytest.approx(0.5)


def test_a_class_without_heat_has_no_row() -> None:
    maps = {V: np.zeros((2, 4, 4))}
    assert (
        total_regions(
            maps, np.stack([LAYOUT] * 2), ("x", "y", "z"), np.array([0, 0]), ("a", "b"), ("angry",)
        )
        == []
    )


def test_one_class_is_said_once() -> None:
    totals = total_regions(
        {V: np.ones((2, 4, 4))}, np.stack([LAYOUT] * 2), ("x", "y", "z"), np.array([1, 1]),
        ("a", "b"), ("angry", "happy"),
    )  # fmt: skip
    assert {total.explained for total in totals} == {None}


def test_coarse_maps_are_not_read_region_by_region() -> None:
    assert "25% of the picture's width" in tell_grain(0.25)
    assert "integrated-gradients" in tell_grain(1 / 7)
    assert tell_grain(0) == ""
