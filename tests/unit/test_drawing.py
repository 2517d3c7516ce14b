"""What all figures share; above all that no text lies on another, and none is cut off."""

from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.special import softmax

from ferfusion.errors import ConfigError
from ferfusion.evaluation.breakdown import break_down_classes, break_down_subjects
from ferfusion.evaluation.calibration import apply_temperature, list_reliability_bins
from ferfusion.evaluation.coverage import trace_coverage
from ferfusion.evaluation.metrics import confusion_matrix
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import wilson
from ferfusion.modality import Modality
from ferfusion.reporting import (
    breakdown_figures,
    confusion_figure,
    drawing,
    figures,
    fusion_surface,
    trust_figures,
)
from ferfusion.reporting.drawing import measure_text, save_figure, spread_out, stack_dots, wrap_text
from ferfusion.reporting.record import Fusion
from ferfusion.reporting.summary import LateChoice
from ferfusion.reporting.tables import ResultRow
from ferfusion.training.weight_search import score_mixtures, search_weights

CLASSES = ("angry", "happy", "neutral", "sad", "surprised")
BACKBONES = ("resnet18", "vgg16", "shufflenet_v2", "mobilenet_v2", "ghostnet")
MODELS: tuple[tuple[str, str, Fusion], ...] = (
    ("visible", "single", "single"),
    ("visible + infrared + MSX", "early, 3-step", "early"),
    ("visible + infrared + MSX", "late", "late"),
)


def predict(seed: int, n: int = 120, people: int = 25) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, n)
    logits = rng.normal(size=(n, 5))
    logits[np.arange(n), labels] += 1.5
    return Predictions(
        tuple(f"f{i}" for i in range(n)),
        tuple(f"person-{i % people:03d}" for i in range(n)),
        CLASSES,
        labels,
        softmax(2 * logits, axis=1),
    )


def make_row(inputs: str, how: str, fusion: Fusion, answers: Predictions) -> ResultRow:
    correct, n = int(answers.correct.sum()), len(answers)
    return ResultRow(
        model=f"{inputs}-{how}",
        variant="",
        inputs=inputs,
        how=how,
        fusion=fusion,
        method="network",
        backbone="",
        steps=None,
        seeds=(0,),
        correct=(correct,),
        n_test=(n,),
        points=tuple(correct / n + np.linspace(-0.1, 0.1, 5)),
        interval=wilson(correct, n),
        macro_precision=0.5,
        macro_recall=0.5,
        macro_f1=0.5,
        parameters=1,
        seconds=1.0,
        paper_accuracy=0.8,
        val_accuracy=0.7,
    )


def list_models() -> list[tuple[ResultRow, Predictions]]:
    found = []
    for i, backbone in enumerate(BACKBONES):
        for j, (inputs, how, fusion) in enumerate(MODELS):
            answers = predict(10 * i + j)
            found.append((make_row(inputs, f"{how}, {backbone}", fusion, answers), answers))
    return found


def choose(seed: int, *modalities: str) -> LateChoice:
    probs = {Modality(m): predict(seed * 10 + i).probs for i, m in enumerate(modalities)}
    labels = predict(seed * 10).labels
    grid, correct = score_mixtures(probs, labels)
    won = search_weights(probs, labels)
    chosen = [tuple(row) for row in grid.tolist()].index(
        tuple(round(10 * weight) for weight in won.weights.values())
    )
    return LateChoice(modalities, grid / 10, correct, chosen, len(labels))


def draw_everything(name: str) -> None:
    models = list_models()
    answers = models[0][1]
    match name:
        case "accuracies":
            figures.draw_accuracies([row for row, _ in models], 5, shows_paper=True)
        case "line":
            fusion_surface.draw_fusion_surface([choose(0, "visible", "infrared")])
        case "lines":
            folds = [choose(seed, "visible", "infrared") for seed in range(5)]
            fusion_surface.draw_fusion_surface(folds)
        case "triangle":
            fusion_surface.draw_fusion_surface([choose(0, "visible", "infrared", "msx")])
        case "triangles":
            folds = [choose(seed, "visible", "infrared", "msx") for seed in (0, 1, 1, 1, 1, 2)]
            fusion_surface.draw_fusion_surface(folds, unit="seed")
        case "reliability":
            panels = {
                heading: list_reliability_bins(probs, answers.labels)
                for heading, probs in (
                    ("as trained", answers.probs),
                    ("after temperature 1.62", apply_temperature(answers.probs, 1.62)),
                )
            }
            trust_figures.draw_reliability("visible", panels)
        case "coverage":
            curves = [(row, trace_coverage(p.probs, p.labels)) for row, p in models]
            trust_figures.draw_coverage(curves, 5)
        case "few people":
            breakdown_figures.draw_subjects("visible", break_down_subjects(answers))
        case "many people":
            breakdown_figures.draw_subjects("visible", break_down_subjects(predict(1, 400, 110)))
        case "recall":
            breakdown_figures.draw_class_recall([(r, break_down_classes(p)) for r, p in models])
        case "confusion":
            counts = 3 * confusion_matrix(answers.labels, answers.predicted, 5)
            confusion_figure.draw_confusion(counts, CLASSES, "visible")
        case _:
            counts = np.eye(3, dtype=np.int64)
            long = ("fear", "happy", "disgust, contempt and whatever else there may be")
            confusion_figure.draw_confusion(counts, long, "visible")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Figure]:
    """Gives the figure behind an SVG."""
    kept: list[Figure] = []

    def keep(figure: Figure, said: str) -> str:
        assert said.endswith(".")
        kept.append(figure)
        return said

    for module in (figures, fusion_surface, trust_figures, breakdown_figures, confusion_figure):
        monkeypatch.setattr(module, "to_svg", keep)

    def draw(name: str) -> Figure:
        draw_everything(name)
        return kept[-1]

    return draw


@pytest.mark.parametrize(
    "name",
    [
        "accuracies",
        "line",
        "lines",
        "triangle",
        "triangles",
        "reliability",
        "coverage",
        "few people",
        "many people",
        "recall",
        "confusion",
        "long names",
    ],
)
def test_texts_lie_apart_and_inside(
    drawn: Callable[[str], Figure], name: str, monkeypatch: pytest.MonkeyPatch
):
    figure = drawn(name)
    # Axes hold labels of ticks that are out of sight: only what is drawn counts.
    seen: dict[int, Text] = {}
    draw = Text.draw

    def note(text: Text, renderer: RendererBase) -> None:
        if text.get_visible() and text.get_text().strip():
            seen[id(text)] = text
        draw(text, renderer)

    monkeypatch.setattr(Text, "draw", note)
    with drawing.use_style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [
            (text.get_text(), Text.get_window_extent(text, canvas.get_renderer()))
            for text in seen.values()
        ]
    assert len(boxes) > 5
    for text, box in boxes:
        assert -0.5 <= box.x0 < box.x1 <= figure.bbox.x1 + 0.5, text
        assert -0.5 <= box.y0 < box.y1 <= figure.bbox.y1 + 0.5, text
    for (one, a), (other, b) in combinations(boxes, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        # Boxes have room for descenders that these words may not have.
        assert width < 0.8 or height < 3, (one, other)


def test_colours_may_be_redefined_by_the_page():
    svg = confusion_figure.draw_confusion(np.eye(2, dtype=np.int64), ("a", "b"), "x")
    assert "rgb(var(--heat, 8 84 142))" in svg
    for colour in (drawing.INK, drawing.HEAT, drawing.FAINT):
        assert svg.count(colour) == svg.count(f", {colour})")
    ElementTree.fromstring(svg)


@pytest.mark.parametrize(
    ("kind", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<svg")]
)
def test_files_are_of_their_kind_and_the_same_each_time(tmp_path: Path, kind: str, magic: bytes):
    def write(name: str) -> bytes:
        path = tmp_path / name / f"figure.{kind}"
        with drawing.use_style():
            figure = Figure(figsize=(1, 1))
            figure.text(0.1, 0.5, "text")
            save_figure(figure, "A text.", path)
        assert [p.name for p in path.parent.iterdir()] == [path.name]
        return path.read_bytes()

    assert write("a").startswith(magic)
    assert write("a") == write("b")


def test_another_ending_is_refused_in_a_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"figure\.bmp.*\.svg, \.pdf or \.png"):
        save_figure(Figure(), "x", tmp_path / "figure.bmp")
    assert not list(tmp_path.iterdir())


@given(st.lists(st.floats(-100, 100), max_size=12), st.floats(0.1, 20))
def test_labels_that_were_spread_out_lie_apart_in_their_order(places: list[float], gap: float):
    moved = spread_out(places, gap)
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)
    by_height = sorted(moved)
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(by_height))
    for (a, b), (c, d) in combinations(zip(places, moved, strict=True), 2):
        assert (a - c) * (b - d) >= -1e-6


@given(st.lists(st.floats(-10, 10), max_size=20), st.floats(0.1, 5))
def test_dots_on_one_level_lie_apart(places: list[float], width: float):
    levels = stack_dots(places, width)
    for (a, one), (b, other) in combinations(zip(places, levels, strict=True), 2):
        assert one != other or abs(a - b) >= width


def test_wrapped_lines_fit_and_lose_no_word():
    text = "visible + infrared + MSX, early, 3-step, mobilenet_v2"
    wrapped = wrap_text(text, 120, 9)
    assert wrapped.split() == text.split()
    assert all(measure_text(line, 9) <= 120 for line in wrapped.split("\n"))
