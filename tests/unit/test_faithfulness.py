import re

import numpy as np
import pytest

from ferfusion.evaluation.faithfulness import (
    Comparison,
    compare_orders,
    measure_areas,
    tell_faithfulness,
)
from ferfusion.evaluation.statistics import Interval

PEOPLE = tuple(f"p{i // 2}" for i in range(24))


def make_curves(map_gain: float, centre_gain: float = 0.0) -> dict[str, dict[str, np.ndarray]]:
    """A map that is better than random by these areas in both games."""
    rng = np.random.default_rng(0)
    curves = {}
    for kind, sign in (("deletion", -1), ("insertion", 1)):
        flat = 0.5 + 0.02 * rng.standard_normal((24, 1))
        one = np.ones((1, 5))
        curves[kind] = {
            "map": (flat + sign * map_gain) * one,
            "random": flat + 0.02 * rng.standard_normal((24, 1)) * one,
            "centre": (flat + sign * centre_gain + 0.02 * rng.standard_normal((24, 1))) * one,
        }
    return curves


def test_areas_are_those_of_trapezoids() -> None:
    curve = np.array([[1.0, 0.5, 0.0], [0.2, 0.2, 0.2], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(measure_areas(curve), [0.5, 0.2, 0.5])


@pytest.mark.parametrize(
    ("map_gain", "centre_gain", "wanted"),
    [
        (0.2, 0.0, "are faithful for this model.*they know more than that faces are there"),
        (0.2, 0.2, "are faithful for this model.*starting in the middle.*does as well"),
        (0.2, 0.4, "are faithful for this model.*starting in the middle.*does even better"),
        (0.0, 0.0, "are no better than random for this model"),
        (-0.2, 0.0, "mislead for this model: in deletion and insertion"),
    ],
)
def test_the_sentence_says_what_the_tests_support(
    map_gain: float, centre_gain: float, wanted: str
) -> None:
    found = compare_orders(make_curves(map_gain, centre_gain), PEOPLE)
    assert [(c.kind, c.other) for c in found] == [
        ("deletion", "random"), ("deletion", "centre"), ("insertion", "random"),
        ("insertion", "centre"),
    ]  # fmt: skip
    for one in found:
        if one.other == "random":
            assert one.gain == pytest.approx(map_gain, abs=0.03)
            assert one.interval.low <= one.gain <= one.interval.high
        assert one.adjusted >= one.p_value
    assert re.search(wanted, tell_faithfulness("gradcam", found, 12))


def test_half_faithful_says_which_half() -> None:
    curves = make_curves(0.2)
    curves["insertion"]["map"] = curves["insertion"]["random"].copy()
    said = tell_faithfulness("saliency", compare_orders(curves, PEOPLE), 12)
    assert said.startswith("The maps of saliency are half faithful")
    assert "when they are removed" in said


def test_too_few_people_are_named_as_the_reason() -> None:
    some = slice(0, 6)
    curves = {k: {o: c[some] for o, c in of.items()} for k, of in make_curves(0.3).items()}
    said = tell_faithfulness("gradcam", compare_orders(curves, PEOPLE[some]), 3)
    assert "no better than random" in said
    assert "with 3 people, no test could show it" in said


def test_better_needs_the_test_and_the_direction() -> None:
    def make(gain: float, adjusted: float) -> Comparison:
        near = Interval(gain, gain)
        return Comparison("deletion", "random", 9, 0.5, 0.5, gain, near, adjusted, adjusted)

    assert make(0.1, 0.01).is_better
    assert not make(0.1, 0.2).is_better
    assert not make(-0.1, 0.01).is_better
    assert make(-0.1, 0.01).is_worse
