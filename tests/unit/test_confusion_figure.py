from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from ferfusion.errors import ConfigError
from ferfusion.reporting.confusion_figure import draw_confusion, save_confusion

# Visible ResNet-18 as the paper has it, made up where it is silent.
COUNTS = np.array(
    [[13, 0, 2, 1, 2], [0, 17, 1, 0, 0], [1, 0, 15, 2, 0], [2, 0, 3, 13, 0], [1, 0, 2, 0, 15]]
)
CLASSES = ("angry", "happy", "neutral", "sad", "surprised")


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [(e.text or "").strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_every_count_and_rate_is_text():
    shown = texts(draw_confusion(COUNTS, CLASSES, "visible"))
    for count in (13, 17, 15, 2, 3):
        assert shown.count(str(count)) == COUNTS.ravel().tolist().count(count)
    assert shown.count("72 %") == 2
    assert shown.count("18") == 5
    assert all(shown.count(name) == 2 for name in CLASSES)


def test_the_label_says_the_numbers():
    svg = draw_confusion(COUNTS[:2, :2], CLASSES[:2], 'visible & "MSX"')
    assert ElementTree.fromstring(svg).get("aria-label") == (
        'Confusion matrix of visible & "MSX", 30 of 30 right: of 13 angry 13 right; of 17 happy 17 '
        "right."
    )
    whole = draw_confusion(COUNTS, CLASSES, "visible")
    assert "of 18 angry 13 right, 2 taken for neutral, 1 taken for sad, 2 taken" in whole


def test_rows_are_true_and_columns_predicted():
    counts = np.array([[5, 3], [0, 7]])
    root = ElementTree.fromstring(draw_confusion(counts, ("sad", "angry"), "x"))
    places = {
        (e.text or "").strip(): (float(str(e.get("x"))), float(str(e.get("y"))))
        for e in root.iter("{http://www.w3.org/2000/svg}text")
        if e.get("x")
    }
    assert places["3"][1] == pytest.approx(places["5"][1])
    assert places["3"][0] > places["5"][0]


def test_rare_is_not_never_and_an_empty_class_is_no_error():
    shown = texts(draw_confusion(np.array([[999, 1], [0, 0]]), ("a", "b"), "x"))
    assert "< 1 %" in shown
    assert shown.count("0") == 3


@pytest.mark.parametrize("shape", [(2, 2), (5, 4), (0, 0)])
def test_names_must_fit(shape: tuple[int, int]):
    with pytest.raises(ValueError, match="names don't fit"):
        draw_confusion(np.zeros(shape, dtype=np.int64), () if shape == (0, 0) else CLASSES, "x")


def test_a_paper_gets_a_sharp_picture_one_column_wide(tmp_path: Path):
    save_confusion(COUNTS, CLASSES, "visible", tmp_path / "m.png")
    picture = cv2.imread(str(tmp_path / "m.png"))
    assert picture is not None
    assert picture.shape[1] / 300 == pytest.approx(3.5, abs=0.1)
    # White ground, and the strongest cells in the colour of the page.
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture.min() < 60


def test_the_file_of_svg_is_the_figure_of_the_page(tmp_path: Path):
    save_confusion(COUNTS, CLASSES, "visible", tmp_path / "m.svg")
    written = (tmp_path / "m.svg").read_text(encoding="utf-8")
    assert written == draw_confusion(COUNTS, CLASSES, "visible")
    save_confusion(COUNTS, CLASSES, "visible", tmp_path / "m.pdf")
    # Type 3 fonts would be refused by journals.
    assert b"/Type3" not in (tmp_path / "m.pdf").read_bytes()
    with pytest.raises(ConfigError, match="can't be written"):
        save_confusion(COUNTS, CLASSES, "visible", tmp_path / "m.gif")
