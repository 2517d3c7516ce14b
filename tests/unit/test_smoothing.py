import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.inference.smoothing import Smoother

PROBS = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(
    lambda raw: (np.array(raw) + 0.01) / (sum(raw) + 0.03)
)
STEPS = st.lists(st.tuples(PROBS, st.floats(0, 2)), min_size=1, max_size=20)


@given(STEPS, st.floats(0, 3))
def test_probabilities_stay_probabilities(
    steps: list[tuple[np.ndarray, float]], seconds: float
) -> None:
    smoother, time_s = Smoother(seconds), 0.0
    for probs, step_s in steps:
        time_s += step_s
        mean = smoother.add(probs, time_s)
        assert mean.sum() == pytest.approx(1)
        assert mean.min() >= 0


def test_zero_changes_nothing() -> None:
    smoother = Smoother(0.0)
    for probs in (np.array([1.0, 0.0]), np.array([0.2, 0.8])):
        assert np.array_equal(smoother.add(probs, 0.0), probs)


@pytest.mark.parametrize("rate_hz", [5, 25, 100])
def test_the_rate_of_frames_changes_nothing(rate_hz: int) -> None:
    smoother = Smoother(0.5)
    smoother.add(np.array([1.0, 0.0]), 0.0)
    for number in range(1, rate_hz + 1):
        mean = smoother.add(np.array([0.0, 1.0]), number / rate_hz)
    assert mean[0] == pytest.approx(np.exp(-2))


def test_a_pause_fades() -> None:
    smoother = Smoother(0.3)
    smoother.add(np.array([1.0, 0.0]), 0.0)
    assert smoother.add(np.array([0.0, 1.0]), 10.0)[1] == pytest.approx(1)
