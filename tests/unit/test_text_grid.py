import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ferfusion.errors import ThermogramError
from ferfusion.imaging.camera.text_grid import holds_grid, read_text_grid

GRIDS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(2, 12), st.integers(2, 12)),
    elements=st.floats(-40, 150, width=32),
)


def read(text: str | bytes, max_values: int = 10_000) -> tuple[np.ndarray, tuple[str, ...]]:
    data = text if isinstance(text, bytes) else text.encode()
    return read_text_grid("a.csv", data, max_values)


@settings(max_examples=60)
@given(
    GRIDS,
    st.sampled_from([",", ";", "\t", " ", "; ", "  "]),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "Camera;FLIR\nEmissivity;0,95\n\n", "Frame 1\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.booleans(),
)
def test_what_is_written_comes_back(
    grid: np.ndarray,
    delimiter: str,
    has_comma: bool,
    end: str,
    header: str,
    encoding: str,
    closes: bool,
) -> None:
    rows = [delimiter.join(f"{value:.9g}" for value in row) for row in grid]
    if has_comma and delimiter != ",":
        rows = [row.replace(".", ",") for row in rows]
    if closes and delimiter.strip():
        rows = [row + delimiter for row in rows]
    data = (header.replace("\n", end) + end.join(rows) + end).encode(encoding)
    assert holds_grid(data)
    back, _ = read(data)
    if back.shape == grid.shape:  # else a first row or column counted the others
        np.testing.assert_array_equal(back, grid)
    else:
        assert grid.shape[0] >= 8 or grid.shape[1] >= 8


def test_numbering_is_left_out_and_that_is_said() -> None:
    grid = np.random.default_rng(0).uniform(20, 30, (9, 10)).round(2)
    lines = ["," + ",".join(str(n) for n in range(1, 11))]
    lines += [f"{n}," + ",".join(map(str, row)) for n, row in enumerate(grid, start=1)]
    # The corner is empty, so the first line has one cell less than the others.
    back, left_out = read("\n".join(lines))
    assert back.shape == (9, 10)
    np.testing.assert_allclose(back, grid, rtol=1e-6)
    assert len(left_out) >= 1


def test_a_hole_is_nan() -> None:
    back, _ = read("1.5,2.5,3.5\n1.5,,3.5\n1.5,NaN,--\n")
    assert np.isnan(back).sum() == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no grid"),
        ("hello\nworld", "holds no grid"),
        ("1.5;2.5;3.5\n", "holds no grid"),
        ("1,2,3\n4,5,6\n7,8\n", "line 3: 2 numbers, but the grid above has 3"),
        ("1,2,3\n4,5,6\n\nFrame 2\n1,2,3\n", "line 5: 3 numbers"),
        ("1_0,2_0\n3_0,4_0\n", "holds no grid"),
        ("1,2\n" * 6000, "million numbers"),
        ("1,2\n3,4\n" + "x\n" * 20_000, "more than 20000 lines"),
    ],
)
def test_no_grid(text: str, words: str) -> None:
    with pytest.raises(ThermogramError, match=words):
        read(text)


def test_words_below_the_grid_are_passed_over() -> None:
    back, _ = read("20.5,21.5\n22.5,23.5\n\nMax: 23.5\n")
    assert back.tolist() == [[20.5, 21.5], [22.5, 23.5]]


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=400), st.text("0123456789.,;\t \n-eEnaif_\0x", max_size=400)))
def test_anything_is_a_grid_or_one_sentence(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    holds_grid(raw)
    said, size = "", 0
    try:
        size = read(raw, 1000)[0].size
    except ThermogramError as error:
        said = str(error)
    assert "\n" not in said
    assert bool(said) != (0 < size <= 1400)
