import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from ferfusion.training.support_vectors import Grid, choose_svm, rank_features

SMALL = Grid(cs=(0.1, 1.0, 10.0), gammas=(None, 0.5), n_features=(3, None))


def make_features(n: int, n_classes: int = 3, width: int = 12, seed: int = 0):
    """Gives features of which the first four tell the class, in part."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    features = rng.normal(size=(n, width)) * rng.uniform(0.1, 50, width)
    centres = np.random.default_rng(99).normal(size=(n_classes, 4))
    features[:, :4] += 1.2 * centres[labels] * features[:, :4].std(axis=0)
    return features, labels


TRAIN, TRAIN_LABELS = make_features(60, seed=1)
VAL, VAL_LABELS = make_features(33, seed=2)
TEST, TEST_LABELS = make_features(300, seed=3)


@pytest.mark.parametrize("gamma", [None, 0.5])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_it_decides_as_scikit_learn_does(gamma: float | None, n_classes: int) -> None:
    train, labels = make_features(60, n_classes, seed=1)
    val, val_labels = make_features(33, n_classes, seed=2)
    chosen = choose_svm(train, labels, val, val_labels, Grid((1.0,), (gamma,), (6,)))
    svc = SVC(C=1.0, kernel="linear") if gamma is None else SVC(C=1.0, gamma=gamma)
    shrink = FunctionTransformer(lambda x: x / np.sqrt(6))
    pipeline = make_pipeline(SelectKBest(k=6), StandardScaler(), shrink, svc).fit(train, labels)
    values = pipeline.decision_function(TEST)
    order = values > 0 if n_classes == 2 else values.argmax(axis=1)
    assert (chosen.probs(TEST).argmax(axis=1) == order).all()


def test_choice_is_the_one_that_validation_prefers() -> None:
    chosen = choose_svm(TRAIN, TRAIN_LABELS, VAL, VAL_LABELS, SMALL)
    rivals = [
        choose_svm(TRAIN, TRAIN_LABELS, VAL, VAL_LABELS, Grid((c,), (gamma,), (n,)))
        for c in SMALL.cs
        for gamma in SMALL.gammas
        for n in SMALL.n_features
    ]
    assert chosen.val_correct == max(rival.val_correct for rival in rivals)
    assert chosen.val_correct == (chosen.probs(VAL).argmax(axis=1) == VAL_LABELS).sum()
    assert chosen.val_n == len(VAL)
    assert any(np.array_equal(chosen.probs(TEST), rival.probs(TEST)) for rival in rivals)


def test_it_learns() -> None:
    chosen = choose_svm(TRAIN, TRAIN_LABELS, VAL, VAL_LABELS, SMALL)
    assert (chosen.probs(TEST).argmax(axis=1) == TEST_LABELS).mean() > 0.6


@settings(max_examples=30)
@given(shift=st.floats(-10, 10), factors=st.lists(st.floats(0.01, 100), min_size=12, max_size=12))
def test_units_of_features_do_not_matter(shift: float, factors: list[float]) -> None:
    grid = Grid((1.0,), (0.5,), (None,))
    here = choose_svm(TRAIN, TRAIN_LABELS, VAL, VAL_LABELS, grid).probs(TEST)
    there = choose_svm(
        TRAIN * factors + shift, TRAIN_LABELS, VAL * factors + shift, VAL_LABELS, grid
    ).probs(TEST * factors + shift)
    np.testing.assert_allclose(there, here, atol=1e-3)


def test_temperature_makes_validation_likelier() -> None:
    chosen = choose_svm(TRAIN, TRAIN_LABELS, VAL, VAL_LABELS, SMALL)

    def loss(temperature: float) -> float:
        probs = replace(chosen, temperature=temperature).probs(VAL)
        np.testing.assert_allclose(probs.sum(axis=1), 1)
        return float(-np.log(probs[np.arange(len(VAL)), VAL_LABELS]).mean())

    assert loss(chosen.temperature) < min(
        loss(0.8 * chosen.temperature), loss(1.25 * chosen.temperature)
    )


def test_ranking_is_that_of_select_k_best() -> None:
    ranking = rank_features(TRAIN, TRAIN_LABELS)
    for k in (1, 4, 9):
        kept = np.flatnonzero(SelectKBest(k=k).fit(TRAIN, TRAIN_LABELS).get_support())
        assert sorted(ranking[:k]) == list(kept)
    assert set(ranking[:4]) & {0, 1, 2, 3}


def test_constant_and_perfect_features() -> None:
    features = np.concatenate(
        [np.full((60, 1), 3.0), TRAIN, TRAIN_LABELS[:, None].astype(float)], axis=1
    )
    ranking = rank_features(features, TRAIN_LABELS)
    assert ranking[0] == 13, "it tells the class for certain"
    assert 0 not in ranking, "it tells nothing, and can't be divided by its deviation"


def test_features_that_vary_little_do_not_disturb_in_single_precision() -> None:
    rng = np.random.default_rng(0)
    faint = (1000 + 1e-3 * rng.normal(size=(60, 1))).astype(np.float32)
    features = np.concatenate([TRAIN.astype(np.float32), faint], axis=1)
    chosen = choose_svm(features, TRAIN_LABELS, features, TRAIN_LABELS, SMALL)
    assert np.isfinite(chosen.probs(features)).all()


def test_what_was_chosen_is_plain_and_counted() -> None:
    linear = choose_svm(TRAIN, TRAIN_LABELS, VAL, VAL_LABELS, Grid((0.3,), (None,), (3,)))
    facts = json.loads(json.dumps(linear.to_json()))
    assert (facts["kernel"], facts["c"], facts["gamma"]) == ("linear", 0.3, None)
    assert facts["n_features"] == 3
    # Three pairs of classes, each with a weight a feature and a bias; mean and scale a feature.
    assert linear.n_parameters == 3 * 3 + 3 + 2 * 3
    rbf = choose_svm(TRAIN, TRAIN_LABELS, VAL, VAL_LABELS, Grid((0.3,), (0.1,), (3,)))
    n_vectors = int(rbf.svc.n_support_.sum())
    assert rbf.n_parameters == n_vectors * 3 + n_vectors * 2 + 3 + 2 * 3
    assert rbf.to_json()["gamma"] == 0.1


def test_more_features_asked_for_than_there_are() -> None:
    grid = Grid((1.0,), (None,), (500,))
    assert len(choose_svm(TRAIN, TRAIN_LABELS, VAL, VAL_LABELS, grid).columns) == 12


@pytest.mark.parametrize(
    ("features", "labels", "why"),
    [
        (TRAIN, np.zeros(60, dtype=int), "every class"),
        (TRAIN, np.where(TRAIN_LABELS == 1, 0, TRAIN_LABELS), "every class"),
        (np.ones((60, 12)), TRAIN_LABELS, "the same"),
    ],
)
def test_training_that_can_teach_nothing(features, labels, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        choose_svm(features, labels, VAL, VAL_LABELS, SMALL)
