import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferfusion.data.augmentation import Policy, count_copies, draw
from ferfusion.data.batch_draws import NO_FILL, draw_many, hash_ids, stream
from ferfusion.modality import Modality

IDS = tuple(f"angry/{number}" for number in range(60))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=7), st.integers(1, 20))
def test_streams_are_numpys(words: list[int], length: int) -> None:
    key = np.array([words, [0] * len(words), words[::-1]], np.uint32).T
    found = stream(key, length)
    for row, of_one in zip(found, key.T, strict=True):
        wanted = np.random.default_rng([int(word) for word in of_one]).random(length)
        np.testing.assert_array_equal(row, wanted)


@pytest.mark.parametrize("only", [None, Modality.INFRARED])
@pytest.mark.parametrize("identical_flips", [False, True])
@pytest.mark.parametrize("policy", ["sound", "paper", "none"])
@settings(max_examples=5)
@given(st.one_of(st.integers(0, 100), st.integers(2**32, 2**70)), st.integers(0, 1000))
def test_each_draw_is_the_one_that_is_drawn_alone(
    policy: Policy, identical_flips: bool, only: Modality | None, seed: int, epoch: int
) -> None:
    copies = np.arange(len(IDS)) % count_copies(policy)
    of_all = {
        "seed": seed,
        "epoch": epoch,
        "only": only,
        "identical_flips": identical_flips,
    }
    drawn = draw_many(policy, hashes=hash_ids(IDS), copies=copies, **of_all)
    for row, (sample_id, copy) in enumerate(zip(IDS, copies, strict=True)):
        wanted = draw(policy, sample_id=sample_id, copy=int(copy), **of_all)
        np.testing.assert_allclose(drawn.matrix[row], wanted.matrix, rtol=0, atol=1e-12)
        assert drawn.fill[row] == (NO_FILL if wanted.fill is None else wanted.fill)
        assert drawn.gain[row] == pytest.approx(wanted.gain, rel=1e-12)
        assert drawn.gamma[row] == pytest.approx(wanted.gamma, rel=1e-12)
        np.testing.assert_allclose(drawn.erased[row], wanted.erased or (0,) * 4, atol=1e-12)
