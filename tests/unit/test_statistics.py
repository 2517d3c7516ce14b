import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from ferfusion.evaluation.statistics import (
    bootstrap_by_subject,
    holm,
    mcnemar_exact,
    permute_by_subject,
    wilson,
)


def discordant(only_a: int, only_b: int, both: int = 60) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False], [both, only_a, only_b])
    b = np.repeat([True, False, True], [both, only_a, only_b])
    return a, b


@pytest.mark.parametrize(("correct", "n"), [(76, 90), (0, 12), (12, 12), (1, 1), (45, 90)])
def test_wilson_is_that_of_statsmodels(correct: int, n: int):
    for confidence in (0.9, 0.95):
        interval = wilson(correct, n, confidence)
        expected = proportion_confint(correct, n, alpha=1 - confidence, method="wilson")
        assert (interval.low, interval.high) == pytest.approx(expected)


def test_wilson_refuses_what_is_no_proportion():
    for correct, n in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="not a proportion"):
            wilson(correct, n)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (7, 2), (3, 3), (0, 12)])
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int):
    test = mcnemar_exact(*discordant(only_a, only_b))
    expected = mcnemar([[60, only_a], [only_b, 0]], exact=True).pvalue
    assert test.p_value == pytest.approx(min(1.0, expected))
    assert (test.only_a, test.only_b) == (only_a, only_b)


def test_the_papers_six_images_need_six_to_none():
    # paper.md A8, row 20: 79 against 73 of 90.
    values = [mcnemar_exact(*discordant(a, b)).p_value for a, b in ((6, 0), (8, 2), (10, 4))]
    assert values == pytest.approx([0.031, 0.109, 0.180], abs=1e-3)


@pytest.mark.parametrize(("only_a", "only_b"), [(6, 0), (8, 2), (3, 9), (4, 4)])
def test_permuting_people_with_one_picture_each_is_mcnemar(only_a: int, only_b: int):
    a, b = discordant(only_a, only_b)
    for subjects in ([None] * a.size, [f"person {i}" for i in range(a.size)]):
        test = permute_by_subject(a, b, subjects, seed=1, draws=40_000)
        assert test.p_value == pytest.approx(mcnemar_exact(a, b).p_value, abs=0.01)
        assert test.difference == pytest.approx((only_a - only_b) / a.size)


def test_many_pictures_of_few_people_prove_less():
    a, b = discordant(12, 0)
    alone = permute_by_subject(a, b, [None] * a.size, seed=0)
    three_people = permute_by_subject(a, b, [i % 3 for i in range(a.size)], seed=0)
    assert alone.p_value < 0.01
    # Three signs have eight outcomes, two of which are as extreme.
    assert three_people.p_value == pytest.approx(0.25, abs=0.02)


def test_permutation_against_all_sign_flips():
    rng = np.random.default_rng(3)
    a, b = rng.random(60) < 0.8, rng.random(60) < 0.6
    subjects = rng.integers(0, 10, 60)
    differences = np.array([(a[subjects == s].sum() - b[subjects == s].sum()) for s in range(10)])
    signs = 1 - 2 * ((np.arange(1024)[:, None] >> np.arange(10)) & 1)
    exact = (np.abs(signs @ differences) >= abs(differences.sum())).mean()
    test = permute_by_subject(a, b, subjects.tolist(), seed=0, draws=50_000)
    assert test.p_value == pytest.approx(exact, abs=0.01)


def test_equal_models_have_p_1_and_p_is_never_0():
    a = np.array([True, False] * 20)
    assert permute_by_subject(a, a, [None] * 40, seed=0).p_value == 1
    assert mcnemar_exact(a, a).p_value == 1
    every = np.ones(400, dtype=bool)
    assert permute_by_subject(every, ~every, [None] * 400, seed=0, draws=99).p_value == 0.01


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=1, max_size=30)
)
def test_swapping_the_models_keeps_p_and_turns_the_difference(rows):
    a, b = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    subjects = [r[2] for r in rows]
    there = permute_by_subject(a, b, subjects, seed=0, draws=200)
    back = permute_by_subject(b, a, subjects, seed=0, draws=200)
    assert there.p_value == back.p_value
    assert there.difference == -back.difference


def test_bootstrap_of_single_pictures_is_near_wilson():
    values = np.repeat([1.0, 0.0], [152, 48])
    interval = bootstrap_by_subject(values, [None] * 200, seed=0, draws=4000)
    expected = wilson(152, 200)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.015)


def test_bootstrap_against_drawing_people_one_by_one():
    rng = np.random.default_rng(5)
    subjects = rng.integers(0, 30, 150)
    values = (rng.random(150) < np.repeat([0.5, 0.95], 15)[subjects]).astype(float)
    interval = bootstrap_by_subject(values, subjects.tolist(), seed=0, draws=4000)
    present = np.unique(subjects)
    means = []
    for _ in range(4000):
        drawn = rng.choice(present, present.size)
        means.append(np.concatenate([values[subjects == s] for s in drawn]).mean())
    assert (interval.low, interval.high) == pytest.approx(
        tuple(np.quantile(means, (0.025, 0.975))), abs=0.012
    )


def test_bootstrap_is_wider_when_pictures_of_a_person_stand_together_and_repeats():
    values = np.repeat([1.0, 0.0], [90, 30])
    people = [i // 10 for i in range(120)]
    together = bootstrap_by_subject(values, people, seed=4)
    alone = bootstrap_by_subject(values, [None] * 120, seed=4)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert together == bootstrap_by_subject(values, people, seed=4)


def test_counts_that_disagree_are_refused():
    with pytest.raises(ValueError, match="2 values and 1 subjects"):
        bootstrap_by_subject(np.ones(2), ["a"], seed=0)
    with pytest.raises(ValueError, match="0 values"):
        bootstrap_by_subject(np.ones(0), [], seed=0)


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_holm_is_that_of_statsmodels(count: int):
    p_values = np.random.default_rng(count).random(count).round(1) ** 3
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values.tolist()) == pytest.approx(tuple(expected))


def test_holm_of_nothing():
    assert holm([]) == ()
