import re

import numpy as np
import pytest

from ferfusion.cli.model_commands import explain
from ferfusion.evaluation.faithfulness import (
    MOST_MEASURED,
    Comparison,
    compare_orders,
    measure_areas,
    tell_faithfulness,
)
from ferfusion.evaluation.statistics import Interval, bootstrap_by_subject

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
        (
            0.0,
            0.0,
            "are no better than random for this model: in both games a gain of 0.05 .*24 sam",
        ),
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
    assert re.search(wanted, tell_faithfulness("gradcam", found, samples=24, people=12))


def test_half_faithful_says_which_half() -> None:
    curves = make_curves(0.2)
    curves["insertion"]["map"] = curves["insertion"]["random"].copy()
    said = tell_faithfulness("saliency", compare_orders(curves, PEOPLE), samples=24, people=12)
    assert said.startswith("The maps of saliency are half faithful")
    assert "when they are removed; the other way round they are no better." in said


def test_too_few_people_are_not_taken_for_no_better_than_random() -> None:
    some = slice(0, 6)
    curves = {k: {o: c[some] for o, c in of.items()} for k, of in make_curves(0.3).items()}
    found = compare_orders(curves, PEOPLE[some])
    assert {c.verdict for c in found} == {"can't be told"}
    said = tell_faithfulness("gradcam", found, samples=6, people=3)
    assert "can't be told from 6 samples of 3 people, so don't read them" in said
    assert "fewer than 8 people: pictures of more people are needed." in said
    assert "no better than" not in said
    said = tell_faithfulness("gradcam", found, samples=24, people=12)
    assert "--measure 24 takes all 24 samples there are." in said


def test_a_wide_interval_is_not_taken_for_no_better_than_random() -> None:
    curves = make_curves(0.1)
    rng = np.random.default_rng(1)
    for of in curves.values():
        of["random"] = of["random"] + 0.4 * rng.standard_normal((24, 1))
    found = compare_orders(curves, PEOPLE)
    said = tell_faithfulness("gradcam", found, samples=24, people=12)
    assert "can't be told from 24 samples of 12 people" in said
    assert said.endswith("pictures of more people would help.")
    said = tell_faithfulness("gradcam", found, samples=5000, people=900)
    assert "--measure 1000 takes more samples." in said


def test_ranges_are_for_all_four_together() -> None:
    curves = make_curves(0.2)
    gain = measure_areas(curves["insertion"]["map"]) - measure_areas(curves["insertion"]["random"])
    alone = bootstrap_by_subject(gain, PEOPLE, seed=0, draws=10_000)
    (one,) = [
        c for c in compare_orders(curves, PEOPLE) if (c.kind, c.other) == ("insertion", "random")
    ]
    assert one.interval.low < alone.low
    assert one.interval.high > alone.high


def compare(
    gain: float, adjusted: float, *, high: float = 1.0, people: int = 9, kind: str = "deletion",
    other: str = "random",
) -> Comparison:  # fmt: skip
    near = Interval(gain - 0.01, high)
    return Comparison(kind, other, 9, people, 0.5, 0.5, gain, near, adjusted, adjusted)


def test_a_verdict_needs_the_test_or_the_interval() -> None:
    assert compare(0.1, 0.01).verdict == "better"
    assert compare(-0.1, 0.01).verdict == "worse"
    assert compare(0.1, 0.2).verdict == "can't be told"
    assert compare(0.01, 0.2, high=0.049).verdict == "no better"
    assert compare(0.01, 0.2, high=0.051).verdict == "can't be told"
    assert compare(0.01, 0.2, high=0.049, people=7).verdict == "can't be told"


@pytest.mark.parametrize(
    ("deletion", "insertion", "wanted"),
    [
        ((0.1, 0.2), (-0.2, 0.01), "; but by insertion starting in the middle of every picture "
         "does even better"),
        ((0.2, 0.01), (-0.2, 0.01), "; by deletion they beat starting in the middle of the "
         "picture; but by insertion starting in the middle of every picture does even better"),
        ((0.2, 0.01), (0.1, 0.2), "; by deletion only they also beat starting in the middle"),
        ((0.1, 0.2), (0.1, 0.2), "; whether they beat starting in the middle of the picture can't"),
    ],
)  # fmt: skip
def test_the_middle_is_said_to_do_better_only_where_that_is_shown(
    deletion: tuple[float, float], insertion: tuple[float, float], wanted: str
) -> None:
    found = [
        *(compare(0.3, 0.01, kind=kind) for kind in ("deletion", "insertion")),
        compare(*deletion, kind="deletion", other="centre"),
        compare(*insertion, kind="insertion", other="centre"),
    ]
    assert wanted in tell_faithfulness("gradcam", found, samples=9, people=9)


def test_the_command_measures_as_many_as_the_sentence_says() -> None:
    (option,) = [p for p in explain.params if p.name == "measure"]
    assert getattr(option.type, "max", None) == MOST_MEASURED
