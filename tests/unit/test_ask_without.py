"""What hiding tells of a model whose insides are known."""

from dataclasses import replace

import numpy as np
import pytest

from ferfusion.inference.ask_without import GRID, ask_without_each, map_influence
from ferfusion.inference.model_facts import ModelFacts, name_picture
from ferfusion.inference.runner import Runner
from ferfusion.modality import Modality

V, IR = Modality.VISIBLE, Modality.INFRARED
SIZE = 42
SPOT = (3, 5)  # row and column of the cell that the model looks at, in visible


def ask(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Looks at one pixel of visible, and a little at the mean of infrared."""
    at = [int((place + 0.5) * SIZE / GRID) for place in SPOT]
    spot = pictures[name_picture(V)][:, at[0], at[1], 0] / 255
    mean = pictures[name_picture(IR)].mean(axis=(1, 2, 3)) / 255
    first = 0.1 + 0.7 * spot + 0.1 * mean
    return np.stack([first, 1 - first], axis=1)


FACTS = ModelFacts(("a", "b"), (V, IR), SIZE, "fp32", 1.0, "early", "", {})
RUNNER = Runner(FACTS, ask)
SQUARES = {m: np.full((SIZE, SIZE, 3), 255, np.uint8) for m in (V, IR)}


def test_the_map_is_warm_where_the_model_looks() -> None:
    maps = map_influence(RUNNER, SQUARES, 0)
    assert maps[V].shape == (GRID, GRID)
    assert np.unravel_index(maps[V].argmax(), maps[V].shape) == SPOT
    assert maps[V][SPOT] == pytest.approx(0.7 * (1 - 128 / 255))
    assert maps[V][0, 0] == pytest.approx(0)
    assert 0 < maps[IR].max() < 0.01, "one scale for both"
    other = map_influence(RUNNER, SQUARES, 1)
    np.testing.assert_allclose(other[V], -maps[V], atol=1e-6)


def test_a_modality_left_out_is_its_mean_colour() -> None:
    dark = replace(FACTS, mean={V: (0.0, 0.0, 0.0), IR: (0.0, 0.0, 0.0)})
    black = ask_without_each(Runner(dark, ask), SQUARES)
    assert black[V][0] == pytest.approx(0.2)
    assert black[IR][0] == pytest.approx(0.8)
    assert map_influence(Runner(dark, ask), SQUARES, 0)[V][SPOT] == pytest.approx(0.7)
    grey = ask_without_each(RUNNER, SQUARES)  # a graph that doesn't say its mean
    assert grey[IR][0] == pytest.approx(0.8 + 0.1 * 128 / 255)


def test_hiding_leaves_the_pictures_as_they_were() -> None:
    before = {m: square.copy() for m, square in SQUARES.items()}
    ask_without_each(RUNNER, SQUARES)
    map_influence(RUNNER, SQUARES, 0)
    for modality, square in SQUARES.items():
        np.testing.assert_array_equal(square, before[modality])


def test_what_takes_too_long_is_left_out() -> None:
    assert map_influence(RUNNER, SQUARES, 0, seconds=0) == {}
