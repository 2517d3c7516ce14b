import numpy as np
import pytest

from ferfusion.imaging.contact_sheet import draw_contact_sheet


def paint(colour: tuple[int, int, int], height: int = 40, width: int = 40) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def has(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((sheet == np.array(colour, dtype=np.uint8)).all(axis=2).sum())


def test_each_picture_fills_its_cell_and_keeps_its_shape():
    sheet = draw_contact_sheet(
        [[paint((250, 0, 0)), paint((0, 250, 0), 20, 40)], [paint((0, 0, 250))]],
        ["anna", "bert"],
        ["visible", "infrared"],
        cell_px=60,
    )
    assert sheet.dtype == np.uint8
    assert has(sheet, (250, 0, 0)) == has(sheet, (0, 0, 250)) == 3600
    assert has(sheet, (0, 250, 0)) == 1800
    red = np.argwhere((sheet == (250, 0, 0)).all(axis=2)).mean(axis=0)
    green = np.argwhere((sheet == (0, 250, 0)).all(axis=2)).mean(axis=0)
    blue = np.argwhere((sheet == (0, 0, 250)).all(axis=2)).mean(axis=0)
    assert red[0] == pytest.approx(green[0])
    assert red[1] < green[1]
    assert red[1] == blue[1]
    assert red[0] < blue[0]


def test_titles_are_drawn_and_long_ones_shortened():
    plain = draw_contact_sheet([[paint((9, 9, 9))]], [""], [""])
    titled = draw_contact_sheet([[paint((9, 9, 9))]], ["a" * 500], ["b" * 500])
    assert titled.shape[1] < plain.shape[1] + 320
    assert titled.shape[0] > plain.shape[0]
    assert (titled[:, :300] < 128).any()


def test_a_missing_picture_is_shown_as_missing():
    sheet = draw_contact_sheet([[None, paint((250, 0, 0))]], ["anna"], ["visible", "msx"])
    assert has(sheet, (238, 240, 242)) > 10_000


@pytest.mark.parametrize(
    ("rows", "row_titles", "column_titles"),
    [([], [], []), ([[]], ["a"], []), ([[None]], [], ["b"]), ([[None]], ["a"], ["b", "c"])],
)
def test_titles_that_do_not_fit_are_refused(rows: list, row_titles: list, column_titles: list):
    with pytest.raises(ValueError, match=r"no picture|titles"):
        draw_contact_sheet(rows, row_titles, column_titles)
