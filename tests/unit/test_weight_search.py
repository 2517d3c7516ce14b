from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.late_fusion import mix_probs
from ferfusion.training.weight_search import list_weights, score_mixtures, search_weights

V, IR, M = MODALITIES


def make_predictions(seed: int, n: int, n_modalities: int, n_classes: int = 4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    truth = np.eye(n_classes)[labels]
    probs = {}
    for modality in MODALITIES[:n_modalities]:
        logits = rng.normal(size=(n, n_classes)) + rng.uniform(0, 3) * truth
        probs[modality] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probs, labels


predictions = st.builds(
    make_predictions, st.integers(0, 10**6), st.integers(1, 90), st.integers(1, 3)
)


def count_correct(probs, labels, weights) -> int:
    return int((mix_probs(probs, weights).argmax(axis=1) == labels).sum())


@given(predictions)
def test_winner_is_on_the_simplex_and_at_least_the_best_single(made) -> None:
    probs, labels = made
    found = search_weights(probs, labels)
    assert set(found.weights) == set(probs)
    assert min(found.weights.values()) >= 0
    assert sum(found.weights.values()) == pytest.approx(1)
    assert all(10 * w == pytest.approx(round(10 * w)) for w in found.weights.values())
    best = max(int((p.argmax(axis=1) == labels).sum()) for p in probs.values())
    assert found.correct >= best
    assert found.n == len(labels)
    assert found.correct == pytest.approx(count_correct(probs, labels, found.weights), abs=1)


@given(predictions)
def test_winner_is_that_of_the_papers_grid_run_by_hand(made) -> None:
    probs, labels = made
    rights = {}
    for pieces in product(range(11), repeat=len(probs)):
        if sum(pieces) == 10:
            mixed = sum(n / 10 * p for n, p in zip(pieces, probs.values(), strict=True))
            rights[pieces] = int((mixed.argmax(axis=1) == labels).sum())
    best = max(rights.values())
    tied = [pieces for pieces, right in rights.items() if right == best]
    found = search_weights(probs, labels)
    pieces = tuple(round(10 * w) for w in found.weights.values())
    assert found.correct == best
    assert found.n_tied == len(tied)
    evenness = min(sum(n * n for n in other) for other in tied)
    assert pieces in tied
    assert sum(n * n for n in pieces) == evenness


@given(predictions, st.permutations(range(3)))
def test_naming_the_modalities_otherwise_changes_no_score(made, order) -> None:
    probs, labels = made
    names = [MODALITIES[place] for place in order]
    renamed = dict(zip(names, probs.values(), strict=False))
    one, other = search_weights(probs, labels), search_weights(renamed, labels)
    assert (one.correct, one.n_tied) == (other.correct, other.n_tied)
    assert sorted(one.weights.values()) == sorted(other.weights.values())


@given(predictions, st.randoms(use_true_random=False))
def test_order_of_samples_does_not_matter(made, random) -> None:
    probs, labels = made
    order = list(range(len(labels)))
    random.shuffle(order)
    shuffled = {m: p[order] for m, p in probs.items()}
    assert search_weights(shuffled, labels[order]) == search_weights(probs, labels)


def test_ties_go_to_the_most_even_weights() -> None:
    labels = np.array([0, 1, 1])
    sure = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    found = search_weights({V: sure, M: sure}, labels)
    assert found.weights == {V: 0.5, M: 0.5}
    assert found.n_tied == 11
    assert found.correct == 3
    # Of three, ten pieces can't be shared evenly: the one more goes to the best alone.
    worse = np.array([[0.9, 0.1], [0.1, 0.9], [0.51, 0.49]])
    found = search_weights({V: worse, IR: sure, M: worse}, labels)
    assert found.weights == {V: 0.3, IR: 0.4, M: 0.3}


def test_useless_modality_gets_nothing() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    good = 0.4 * np.eye(3)[labels] + 0.2
    wrong = 0.97 * np.eye(3)[(labels + 1) % 3] + 0.01
    found = search_weights({V: wrong, IR: good}, labels)
    assert found.weights[IR] > 0.7
    assert found.correct == 60


def test_finer_grid_is_never_worse() -> None:
    probs, labels = make_predictions(3, 80, 3)
    assert search_weights(probs, labels, steps=20).correct >= search_weights(probs, labels).correct


@pytest.mark.parametrize(("n", "steps", "count"), [(1, 10, 1), (2, 10, 11), (3, 10, 66)])
def test_grid_lists_each_mixture_once(n: int, steps: int, count: int) -> None:
    grid = list_weights(n, steps)
    assert len({tuple(row) for row in grid.tolist()}) == len(grid) == count
    assert (grid.sum(axis=1) == steps).all()
    assert (grid >= 0).all()


def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(ValueError, match="modality"):
        search_weights({}, np.array([0]))
    with pytest.raises(ValueError, match="sample"):
        search_weights({Modality.MSX: np.zeros((0, 3))}, np.zeros(0, dtype=np.int64))


def test_mixing_refuses_weights_off_the_simplex_or_of_others() -> None:
    probs = {V: np.array([[0.2, 0.8]]), IR: np.array([[0.6, 0.4]])}
    np.testing.assert_allclose(mix_probs(probs, {V: 0.25, IR: 0.75}), [[0.5, 0.5]])
    for weights in ({V: 1.5, IR: -0.5}, {V: 0.5, IR: 0.4}, {V: 1.0}, {V: 0.5, M: 0.5}):
        with pytest.raises(ValueError, match="weights"):
            mix_probs(probs, weights)


def test_mixtures_are_scored_as_by_argmax_of_the_mixed_probabilities() -> None:
    rng = np.random.default_rng(5)
    # More samples of a class than one block holds; coarse probabilities, so that classes tie.
    probs = {m: rng.integers(0, 5, (5000, 3)) / 8 for m in MODALITIES}
    labels = rng.integers(0, 3, 5000) * (rng.random(5000) < 0.7)
    grid, correct = score_mixtures(probs, labels, steps=4)
    # Quarters and eighths are exact in binary, so equals are equal.
    mixed = np.tensordot(grid / 4, np.stack([probs[m] for m in MODALITIES]), axes=1)
    assert (correct == (mixed.argmax(axis=2) == labels).sum(axis=1)).all()
