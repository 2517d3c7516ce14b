import numpy as np
import pytest

from ferfusion.imaging import shared_edges
from ferfusion.imaging.shared_edges import find_partners


def draw_pictures(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (n, 64, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize("block", [1, 2, 3, 64])
def test_blocks_of_any_size_give_what_the_whole_table_gives(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_edges, "_BLOCK", block)
    originals = draw_pictures(9, 0)
    # Each of the second is a mixture of originals, so that rivals are near; two are the same.
    rng = np.random.default_rng(1)
    mixed = [
        np.round(w * originals[a] + (1 - w) * originals[b]).astype(np.uint8)
        for a, b, w in zip(
            rng.permutation(9), rng.permutation(9), rng.uniform(0.5, 0.9, 9), strict=True
        )
    ]
    second = np.stack([*mixed, mixed[0]])
    trace = shared_edges._trace
    table = np.stack([trace(p) for p in originals]) @ np.stack([trace(p) for p in second]).T
    expected = set()
    for row, column in np.ndindex(table.shape):
        rivals = [*np.delete(table[row], column), *np.delete(table[:, column], row)]
        if table[row, column] >= max(0.4, max(rivals) + 0.10):
            expected.add((row, column))
    found = find_partners(originals, second, 0.4)
    assert {(row, column) for row, column, _ in found} == expected
    assert 2 <= len(expected) < 9
    for row, column, value in found:
        assert value == pytest.approx(table[row, column], abs=1e-5)


def test_one_of_each_are_partners_if_they_agree_and_none_of_nothing() -> None:
    one, other = draw_pictures(1, 0), draw_pictures(1, 1)
    assert [found[:2] for found in find_partners(one, one, 0.4)] == [(0, 0)]
    assert find_partners(one, other, 0.4) == []
    assert find_partners(one[:0], one, 0.4) == find_partners(one, one[:0], 0.4) == []
