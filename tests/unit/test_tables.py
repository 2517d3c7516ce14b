import dataclasses

import numpy as np
import pytest

from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import Interval, bootstrap_by_subject, holm, wilson
from ferfusion.modality import parse_modalities
from ferfusion.reporting.record import Fusion, make_record
from ferfusion.reporting.summary import RunReport
from ferfusion.reporting.tables import (
    compare_models,
    compare_pair,
    find_best_single,
    format_proportion,
    make_rows,
    render_comparisons_markdown,
    render_results_markdown,
)


def predict(right: np.ndarray, *, shift: int = 0, subjects: bool = True) -> Predictions:
    """Predictions of two classes with the given right answers; sample ids start at `shift`."""
    n = len(right)
    labels = np.arange(n) % 2
    return Predictions(
        sample_ids=tuple(f"s{i + shift}" for i in range(n)),
        subjects=tuple(f"p{(i + shift) // 4}" if subjects else None for i in range(n)),
        classes=("happy", "sad"),
        labels=labels,
        probs=np.eye(2)[np.where(right, labels, 1 - labels)],
    )


def run(
    model: str,
    right: np.ndarray,
    *,
    val: int,
    seed: int = 0,
    fusion: Fusion = "single",
    steps: int | None = None,
    modalities: str = "visible",
    backbone: str = "resnet18",
    paper: float | None = None,
    subjects: bool = True,
) -> RunReport:
    predictions = predict(right, subjects=subjects)
    record = make_record(
        predictions,
        model=model,
        modalities=parse_modalities(modalities.split("+")),
        fusion=fusion,
        steps=steps,
        backbone=backbone,
        split="subject",
        seed=seed,
        parameters=11_000_000,
        seconds=10.0,
        paper_accuracy=paper,
    )
    return RunReport(record, predictions, (), val_correct=val, val_n=50)


def right(correct: int, n: int = 80) -> np.ndarray:
    return np.arange(n) < correct


def study() -> tuple[RunReport, ...]:
    both = "visible+infrared"
    return (
        run("visible", right(40), val=30, paper=0.8111),
        run("infrared", right(60), val=29, modalities="infrared"),
        run("early-1", right(44), val=33, fusion="early", steps=1, modalities=both),
        run("early-3", right(78), val=40, fusion="early", steps=3, modalities=both),
        run("late", right(12), val=31, fusion="late", modalities=both),
    )


def test_one_seed_is_shown_with_wilson():
    row = make_rows(study())[0]
    assert row.proportion == format_proportion(40, 80)
    assert row.interval == wilson(40, 80)
    assert row.each_seed == "40 of 80"


@pytest.mark.parametrize("subjects", [True, False])
def test_several_seeds_are_pooled_by_subject_or_else_by_sample(subjects: bool):
    runs = [
        run("visible", right(k), val=30 + k % 2, seed=s, subjects=subjects)
        for s, k in enumerate((40, 45, 50))
    ]
    (row,) = make_rows(runs)
    assert row.each_seed == "40, 45, 50 of 80"
    assert row.accuracy == pytest.approx(135 / 240)
    values = np.concatenate([right(40), right(45), right(50)]).astype(float)
    groups = [i // 4 if subjects else i for i in range(80)] * 3
    spread, floor = bootstrap_by_subject(values, groups, seed=0), wilson(45, 80)
    assert row.interval == Interval(min(spread.low, floor.low), max(spread.high, floor.high))
    # Three looks at one sample are not three samples.
    assert row.interval.high - row.interval.low > wilson(135, 240).high - wilson(135, 240).low
    assert row.proportion.startswith("135/240 = 56.2 % [")


def test_seeds_with_test_splits_of_different_size():
    runs = [run("visible", right(4, 8), val=3, seed=0), run("visible", right(4, 9), val=3, seed=1)]
    assert make_rows(runs)[0].each_seed == "4/8, 4/9"


def test_the_best_single_model_is_chosen_on_validation_not_on_test():
    best = find_best_single(make_rows(study()))
    assert best is not None
    assert best.title == "visible"
    assert find_best_single(make_rows(study()[2:])) is None


def test_every_fused_model_against_the_best_single_and_three_steps_against_one():
    comparisons = compare_models(study())
    assert [(c.title, c.against) for c in comparisons] == [
        ("visible + infrared, early, 1-step", "visible"),
        ("visible + infrared, early, 3-step", "visible"),
        ("visible + infrared, late", "visible"),
        ("visible + infrared, early, 3-step", "same, 1-step"),
    ]
    assert [c.verdict for c in comparisons] == ["no difference shown", "better", "worse", "better"]
    assert tuple(c.adjusted_p for c in comparisons) == holm([c.test.p_value for c in comparisons])
    assert comparisons[1].test.difference == pytest.approx(38 / 80)


def test_steps_of_different_backbones_or_modalities_are_not_compared():
    runs = [
        run("one", right(40), val=30, fusion="early", steps=1, modalities="visible+msx"),
        run("three", right(50), val=30, fusion="early", steps=3, modalities="visible+infrared"),
        run(
            "vgg",
            right(50),
            val=30,
            fusion="early",
            steps=3,
            modalities="visible+msx",
            backbone="vgg16",
        ),
    ]
    assert compare_models(runs) == ()
    assert make_rows(runs)[2].title == "visible + MSX, early, 3-step, vgg16"


def test_models_are_paired_by_sample_and_seed_never_by_position():
    first = predict(right(10, 20))
    later = predict(np.ones(20, dtype=bool), shift=15)
    test = compare_pair({0: first, 1: first}, {0: later, 2: later})
    assert test is not None
    # s15 to s19 of seed 0, which the first model gets wrong.
    assert (test.n, test.only_a, test.only_b) == (5, 0, 5)
    assert compare_pair({0: first}, {1: first}) is None


def test_only_people_who_differ_count_over_seeds():
    a, b = {}, {}
    for seed in range(3):
        # One person, four samples, the same luck under every seed.
        a[seed], b[seed] = predict(right(4, 40)), predict(right(0, 40))
    test = compare_pair(a, b)
    assert test is not None
    assert (test.only_a, test.only_b) == (12, 0)
    assert test.p_value == 1


def test_markdown_of_one_seed_and_several():
    text = render_results_markdown(make_rows(study()), paper_heading="paper (VIRI)")
    lines = text.splitlines()
    assert len(lines) == 7
    assert len({line.count("|") for line in lines}) == 1
    assert "each seed" not in lines[0]
    assert lines[0].endswith("| paper (VIRI) |")
    assert lines[2] == (
        "| visible | 40/80 = 50.0 % [39.3, 60.7] | 0.500 | 11.00 M | 81.1 % |".replace(
            "0.500", f"{make_rows(study())[0].macro_f1:.3f}"
        )
    )
    runs = [dataclasses.replace(r) for r in study()]
    again = [dataclasses.replace(r, record=dataclasses.replace(r.record, seed=1)) for r in study()]
    text = render_results_markdown(make_rows([*runs, *again]))
    assert "| each seed |" in text.splitlines()[0]
    assert "40, 40 of 80" in text
    assert "paper" not in text


def test_markdown_of_comparisons():
    text = render_comparisons_markdown(compare_models(study()))
    assert (
        "| visible + infrared, early, 1-step | visible | 4 | 0 | +5.0 | 1.000 | 1.000 | no" in text
    )
    assert len(text.splitlines()) == 6
