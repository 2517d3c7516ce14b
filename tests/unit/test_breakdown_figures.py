import re
from xml.etree import ElementTree

import numpy as np
import pytest

from ferfusion.evaluation.breakdown import break_down_classes, break_down_subjects
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import Interval
from ferfusion.reporting.breakdown_figures import draw_class_recall, draw_subjects
from ferfusion.reporting.record import Fusion
from ferfusion.reporting.tables import ResultRow


def make_row(title: str, fusion: Fusion = "single") -> ResultRow:
    return ResultRow(
        model=title,
        variant="",
        inputs=title,
        how="single",
        fusion=fusion,
        method="network",
        backbone="resnet18",
        steps=None,
        seeds=(0,),
        correct=(3,),
        n_test=(5,),
        points=(3 / 5,),
        interval=Interval(0.2, 0.8),
        macro_precision=0.7,
        macro_recall=0.7,
        macro_f1=0.7,
        parameters=1,
        seconds=1.0,
        paper_accuracy=None,
        val_accuracy=0.7,
    )


def answer(right: list[tuple[str, bool]], n_classes: int = 2) -> Predictions:
    """Gives answers about these people; all are truly of the first class or of the second."""
    labels = np.arange(len(right)) % 2
    predicted = np.where([is_right for _, is_right in right], labels, 1 - labels)
    return Predictions(
        tuple(f"f{i}" for i in range(len(right))),
        tuple(person for person, _ in right),
        ("happy", "sad", "angry")[:n_classes],
        labels,
        np.eye(n_classes)[predicted],
    )


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [(e.text or "").strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]


def told(svg: str) -> str:
    return str(ElementTree.fromstring(svg).get("aria-label"))


def test_people_are_told_and_named():
    answers = answer([("ann", True), ("ann", True), ("ben", True), ("ben", False), ("cy", False)])
    svg = draw_subjects("visible", break_down_subjects(answers))
    assert [text for text in texts(svg) if text in ("ann", "ben", "cy")] == ["cy", "ben", "ann"]
    assert told(svg) == (
        "Accuracy of visible for each of 3 people: from 0.0 % to 100.0 %, median 50.0 %; 1 with "
        "all faces right, 1 with none; all faces together 3 of 5."
    )
    assert {"all 3/5 = 60.0 %", "3 people, 1 to 2 faces each (area of a dot)"} <= set(texts(svg))


def test_many_people_are_dots_without_names():
    people = [(f"p{i}", i % 3 > 0) for i in range(40)]
    svg = draw_subjects("visible", break_down_subjects(answer(people)))
    assert not [text for text in texts(svg) if re.fullmatch(r"p\d+", text)]
    fewer = draw_subjects("visible", break_down_subjects(answer(people[:39])))
    assert svg.count("fill-opacity: 0.75") - fewer.count("fill-opacity: 0.75") == 1


def test_where_nobody_is_named_nothing_is_drawn():
    answers = answer([("ann", True)])
    nobody = Predictions(("f0",), (None,), answers.classes, answers.labels, answers.probs)
    with pytest.raises(ValueError, match="nobody is named"):
        draw_subjects("visible", break_down_subjects(nobody))


def test_recall_shows_the_count_of_each_class_and_model():
    answers = answer([("a", True), ("b", False), ("c", True), ("d", True), ("e", False)])
    rows = [(make_row("visible"), answers), (make_row("all", "early"), answers)]
    svg = draw_class_recall([(row, break_down_classes(a)) for row, a in rows])
    shown = texts(svg)
    assert shown.count("happy") == shown.count("Visible") == 1
    assert shown.count("2/3") == shown.count("1/2") == 2
    assert told(svg) == (
        "Recall of each class. visible: happy 2 of 3, sad 1 of 2; all: happy 2 of 3, sad 1 of 2."
    )


def test_a_class_without_samples_has_no_mark():
    right = [("a", True), ("b", True), ("c", False), ("d", False)]
    without = break_down_classes(answer(right, n_classes=3))
    svg = draw_class_recall([(make_row("visible"), without)])
    assert "0/0" in texts(svg)
    assert svg.count("<use ") == 2


def test_models_of_other_classes_are_refused():
    rows = [
        (make_row("a"), break_down_classes(answer([("a", True)]))),
        (make_row("b"), break_down_classes(answer([("a", True)], n_classes=3))),
    ]
    with pytest.raises(ValueError, match="same classes"):
        draw_class_recall(rows)
    with pytest.raises(ValueError, match="same classes"):
        draw_class_recall([])
