import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from ferfusion.evaluation.statistics import (
    bootstrap_by_subject,
    bootstrap_statistic_by_subject,
    flip_by_subject,
    holm,
    mcnemar_exact,
    permute_by_subject,
    wilson,
)


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(f1_score(labels, predicted, average="macro", zero_division=0))


def draw_answers(
    rng: np.random.Generator, accuracy: float, correlation: float, n_subjects: int, size: int
) -> np.ndarray:
    """Right and wrong answers, subjects by samples, with this correlation within a subject."""
    weight = 1 / correlation - 1
    able = rng.beta(accuracy * weight, (1 - accuracy) * weight, (n_subjects, 1))
    return rng.random((n_subjects, size)) < able


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


@pytest.mark.parametrize("n", [4, 12, 60])
def test_bootstrap_is_that_of_scipy_at_the_level_that_hesterberg_gives(n: int):
    values = np.random.default_rng(n).normal(0, 1, n)
    tail = stats.norm.cdf(stats.t.ppf(0.025, n - 1) * np.sqrt(n / (n - 1)))
    expected = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=20_000,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    interval = bootstrap_by_subject(values, [None] * n, seed=0, draws=20_000)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=0.05)


def test_one_person_says_nothing_about_others():
    interval = bootstrap_by_subject(np.array([0.0, 1.0, 1.0]), ["a"] * 3, seed=0)
    assert (interval.low, interval.high) == (0, 1)
    with pytest.raises(ValueError, match="One subject"):
        bootstrap_statistic_by_subject(np.mean, [np.ones(3)], ["a"] * 3, seed=0)


def test_bootstrap_of_a_statistic_that_is_a_mean():
    rng = np.random.default_rng(2)
    values, subjects = rng.random(120), rng.integers(0, 25, 120).tolist()
    there = bootstrap_by_subject(values, subjects, seed=0, draws=4000)
    here = bootstrap_statistic_by_subject(np.mean, [values], subjects, seed=0, draws=4000)
    assert (here.low, here.high) == pytest.approx((there.low, there.high), abs=0.006)
    assert here == bootstrap_statistic_by_subject(np.mean, [values], subjects, 0, draws=4000)


def test_bootstrap_of_a_statistic_draws_whole_people_row_by_row():
    rng = np.random.default_rng(4)
    subjects = ["a", None, "b", "a", "c", "b", "a", None, "c", "d"]
    rows, twice = np.arange(10), 2 * np.arange(10)[:, None] + np.array([0, 1])
    groups = [{0, 3, 6}, {2, 5}, {4, 8}, {9}, {1}, {7}]
    drawn: list[float] = []

    def look(rows: np.ndarray, twice: np.ndarray) -> float:
        np.testing.assert_array_equal(twice[:, 0], 2 * rows)
        times = np.bincount(rows, minlength=10)
        counts = [{int(times[row]) for row in group} for group in groups]
        assert all(len(count) == 1 for count in counts)
        assert sum(count.pop() for count in counts) == len(groups)
        drawn.append(float(rng.random()))
        return drawn[-1]

    interval = bootstrap_statistic_by_subject(look, [rows, twice], subjects, seed=0, draws=50)
    assert len(drawn) == 50
    assert min(drawn) <= interval.low < interval.high <= max(drawn)


def test_statistics_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match=r"2 subjects and arrays of length \(2, 3\)"):
        bootstrap_statistic_by_subject(np.mean, [np.ones(2), np.ones(3)], ["a", "b"], seed=0)
    with pytest.raises(ValueError, match="0 values"):
        bootstrap_statistic_by_subject(np.mean, [np.ones(0)], [], seed=0)
    with pytest.raises(ValueError, match="not a number"):
        bootstrap_statistic_by_subject(lambda _: np.nan, [np.ones(2)], ["a", "b"], seed=0)


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


@pytest.mark.parametrize(("n_subjects", "least"), [(10, 0.90), (40, 0.92)])
def test_intervals_of_clustered_answers_cover_where_wilson_does_not(n_subjects: int, least: float):
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(n_subjects), 6).tolist()
    truth, n = 0.75, 6 * n_subjects
    covered = {"by subject": 0, "as if independent": 0}
    for seed in range(400):
        values = draw_answers(rng, truth, 0.3, n_subjects, 6).ravel()
        drawn = bootstrap_by_subject(values.astype(float), subjects, seed, draws=800)
        pooled = wilson(int(values.sum()), n)
        covered["by subject"] += drawn.low <= truth <= drawn.high
        covered["as if independent"] += pooled.low <= truth <= pooled.high
    # The standard error of these shares is about 0.012.
    assert least < covered["by subject"] / 400 < 0.98
    assert covered["as if independent"] / 400 < 0.85


def test_intervals_of_macro_f1_cover():
    rng = np.random.default_rng(1)
    labels = np.tile(np.arange(3), (30, 2))
    subjects = np.repeat(np.arange(30), 6).tolist()

    def answer(truth: np.ndarray) -> np.ndarray:
        """Class 0 is always seen, and people differ in how often the other two are mistaken."""
        right = draw_answers(rng, 0.7, 0.3, *truth.shape)
        return np.where(right | (truth == 0), truth, 3 - truth)

    def quick_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
        hits = np.bincount(labels[labels == predicted], minlength=3)
        both = np.bincount(labels, minlength=3) + np.bincount(predicted, minlength=3)
        return float((2 * hits / np.maximum(both, 1))[both > 0].mean())

    many = np.tile(np.arange(3), (20_000, 2))
    predicted = answer(many)
    truth = macro_f1(many.ravel(), predicted.ravel())
    assert quick_f1(many.ravel(), predicted.ravel()) == pytest.approx(truth)
    covered = 0
    for seed in range(200):
        arrays = [labels.ravel(), answer(labels).ravel()]
        interval = bootstrap_statistic_by_subject(quick_f1, arrays, subjects, seed, draws=200)
        covered += interval.low <= truth <= interval.high
    assert 0.9 <= covered / 200 <= 0.99


def test_under_clustering_the_permutation_holds_its_level_and_mcnemar_does_not():
    rng = np.random.default_rng(2)
    n_subjects, size, tries = 20, 8, 600
    subjects = np.repeat(np.arange(n_subjects), size).tolist()
    false_alarms = {"permutation": 0, "mcnemar": 0}
    for seed in range(tries):
        # Equally good models, each with people of its own that it is bad with.
        a, b = (draw_answers(rng, 0.8, 0.3, n_subjects, size).ravel() for _ in range(2))
        test = permute_by_subject(a, b, subjects, seed, draws=500)
        false_alarms["permutation"] += test.p_value <= 0.05
        false_alarms["mcnemar"] += mcnemar_exact(a, b).p_value <= 0.05
    # The standard error is 0.009 at the level of 0.05.
    assert 0.02 < false_alarms["permutation"] / tries < 0.075
    assert false_alarms["mcnemar"] / tries > 0.15


def test_holm_holds_the_level_of_a_family_of_models_under_one_baseline():
    rng = np.random.default_rng(3)
    n_subjects, size, tries = 24, 5, 250
    subjects = np.repeat(np.arange(n_subjects), size).tolist()
    false_alarms = {"holm": 0, "as they are": 0}
    found = 0
    for seed in range(tries):
        baseline = draw_answers(rng, 0.7, 0.2, n_subjects, size).ravel()
        # Eight models are as good as the baseline, which makes the tests depend; one is better.
        models = [draw_answers(rng, 0.7, 0.2, n_subjects, size).ravel() for _ in range(8)]
        models.append(draw_answers(rng, 0.95, 0.2, n_subjects, size).ravel())
        p_values = [
            permute_by_subject(model, baseline, subjects, seed, draws=1000).p_value
            for model in models
        ]
        adjusted = holm(p_values)
        false_alarms["holm"] += min(adjusted[:8]) <= 0.05
        false_alarms["as they are"] += min(p_values[:8]) <= 0.05
        found += adjusted[8] <= 0.05
    # The standard error is 0.014 at the level of 0.05.
    assert false_alarms["holm"] / tries <= 0.05 + 2 * 0.014
    assert false_alarms["as they are"] / tries > 0.1
    assert found / tries > 0.6


def test_bootstrap_of_many_people_takes_little_memory_and_gives_the_same():
    rng = np.random.default_rng(0)
    people = [f"p{n}" for n in range(30_000)]
    values = rng.random(len(people))
    tracemalloc.start()
    try:
        found = bootstrap_by_subject(values, people, seed=0, draws=250)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All draws at once would be 60 MB, and as much again as floats.
    assert peak < 80e6
    even = np.full(len(people), 1 / len(people))
    times = np.random.default_rng(0).multinomial(len(people), even, size=250)
    low, high = np.quantile(times @ values / len(people), (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)


# --- differences of any size


def test_flipping_signs_agrees_with_every_way_of_flipping() -> None:
    differences = np.array([0.3, 0.1, 0.2, -0.05, 0.4, 0.02])
    signs = np.array(np.meshgrid(*[(-1, 1)] * 6)).reshape(6, -1)
    exact = (np.abs(differences @ signs) >= differences.sum() - 1e-12).mean()
    found = flip_by_subject(differences, list(range(6)), seed=0, draws=40_000)
    assert found == pytest.approx(exact, abs=0.005)


def test_flipping_signs_flips_whole_people() -> None:
    differences = np.full(40, 0.1)
    assert flip_by_subject(differences, [None] * 40, seed=0) < 0.001
    four = [f"p{row // 10}" for row in range(40)]
    assert flip_by_subject(differences, four, seed=0) == pytest.approx(2 / 16, abs=0.02)
    assert flip_by_subject(differences, ["one"] * 40, seed=0) == 1
    assert flip_by_subject(np.zeros(5), [None] * 5, seed=0) == 1
