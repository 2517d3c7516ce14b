import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import Interval
from ferfusion.modality import Modality
from ferfusion.reporting.figures import draw_accuracies, draw_learning_curves
from ferfusion.reporting.record import Fusion, make_record
from ferfusion.reporting.summary import Epoch, RunReport, StageHistory
from ferfusion.reporting.tables import ResultRow


def make_row(title: str, fusion: Fusion = "single", paper: float | None = None) -> ResultRow:
    return ResultRow(
        model=title,
        variant="",
        inputs=title,
        how=fusion,
        fusion=fusion,
        method="network",
        backbone="resnet18",
        steps=None,
        seeds=(0, 1),
        correct=(60, 70),
        n_test=(90, 90),
        points=(60 / 90, 70 / 90),
        interval=Interval(0.65, 0.79),
        macro_precision=0.7,
        macro_recall=0.7,
        macro_f1=0.7,
        parameters=1,
        seconds=1.0,
        paper_accuracy=paper,
        val_accuracy=0.7,
    )


def make_stage(name: str, n_epochs: int, best: int, loss: float = 1.0) -> StageHistory:
    epochs = tuple(
        Epoch(e, loss / (e + 1), loss / (e + 0.5), 0.5 + e / 100, 1e-3) for e in range(n_epochs)
    )
    return StageHistory(name, epochs, best)


def make_run(model: str, seed: int, stages: tuple[StageHistory, ...]) -> RunReport:
    predictions = Predictions(
        ("a",), (None,), ("happy", "sad"), np.array([0]), np.array([[1.0, 0]])
    )
    record = make_record(
        predictions,
        model=model,
        modalities=(Modality.VISIBLE,),
        fusion="single",
        steps=None,
        backbone="resnet18",
        split="subject",
        seed=seed,
        parameters=1,
        seconds=1.0,
        paper_accuracy=None,
    )
    return RunReport(record, predictions, predictions.probs, (1.0,), stages, 1, 1)


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [(e.text or "").strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_accuracies_are_text_and_stand_alone():
    rows = [make_row("visible", paper=0.81), make_row("visible + MSX", "early")]
    svg = draw_accuracies(rows, 5, shows_paper=True)
    assert {"Visible", "Visible + MSX, early", "chance", "best single"} <= set(texts(svg))
    assert svg.startswith("<svg role=")
    assert "Date" not in svg
    assert not re.search(r'(?:href|src)="(?!#)', svg)
    assert "var(--early, #0b6aa8)" in svg
    assert svg == draw_accuracies(rows, 5, shows_paper=True)


def test_the_papers_number_is_drawn_only_where_there_is_one():
    rows = [make_row("visible", paper=0.81), make_row("infrared")]
    with_paper = draw_accuracies(rows, 5, shows_paper=True)
    without = draw_accuracies(rows, 5, shows_paper=False)
    assert with_paper.count("fill-opacity: 0") == 1 + without.count("fill-opacity: 0")


def test_every_seed_and_fold_is_a_point():
    def count_dots(points: tuple[float, ...]) -> int:
        row = replace(make_row("visible"), points=points)
        svg = draw_accuracies([row], 5, shows_paper=False)
        assert "visible 130/180 = 72.2 % [65.0, 79.0]" in svg
        return svg.count("<use ")

    # One test split is what the row's own mark shows already.
    assert count_dots((0.7, 0.7, 0.72, 0.75, 0.7)) - count_dots((0.72,)) == 5


def test_points_outside_the_interval_are_seen():
    row = replace(make_row("visible"), points=(0.2, 0.95))
    shown = texts(draw_accuracies([row], 2, shows_paper=False))
    assert {"20 %", "90 %"} <= set(shown)


def test_titles_are_escaped():
    svg = draw_accuracies([make_row('a "b" & <c> $d$')], 2, shows_paper=False)
    assert 'A "b" & <c> $d$' in texts(svg)


def test_learning_curves_show_each_stage_once_and_mark_each_choice():
    runs = [
        make_run("early-3", seed, (make_stage("visible", 5 + seed, 3), make_stage("fusion", 4, 2)))
        for seed in (0, 1)
    ]
    runs.append(make_run("late", 0, ()))
    curves = draw_learning_curves(runs, {"early-3": "visible & MSX", "late": "late"})
    assert list(curves) == ["early-3"]
    shown = texts(curves["early-3"])
    assert shown.count("visible") == shown.count("fusion") == 1
    # One marker per seed and stage.
    assert curves["early-3"].count("<use ") >= 4
    assert "Learning curves of visible &amp; MSX." in curves["early-3"]
    assert curves == draw_learning_curves(runs, {"early-3": "visible & MSX", "late": "late"})


def test_models_share_their_axes():
    runs = [
        make_run("calm", 0, (make_stage("visible", 6, 3, loss=0.5),)),
        make_run("wild", 0, (make_stage("visible", 6, 3, loss=4.0),)),
    ]
    curves = draw_learning_curves(runs, {"calm": "calm", "wild": "wild"})

    def loss_ticks(svg: str) -> list[str]:
        return [t for t in texts(svg) if re.fullmatch(r"\d+\.?\d*", t)]

    assert loss_ticks(curves["calm"]) == loss_ticks(curves["wild"])


def test_no_training_no_curve():
    assert draw_learning_curves([make_run("late", 0, ())], {"late": "late"}) == {}


@pytest.mark.parametrize("fusion", ["single", "early", "late"])
def test_every_fusion_has_its_colour(fusion: Fusion):
    assert f"var(--{fusion}, " in draw_accuracies([make_row("x", fusion)], 5, shows_paper=False)
