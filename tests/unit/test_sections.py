from dataclasses import replace

import numpy as np
import pytest

from ferfusion.evaluation.predictions import Predictions
from ferfusion.modality import parse_modalities
from ferfusion.reporting.comparisons import QUIRK, compare_models
from ferfusion.reporting.record import Fusion, make_record
from ferfusion.reporting.sections import (
    Collapse,
    choose_models,
    find_collapsed,
    find_main,
    find_quirk_pair,
    gather_shared,
    group_comparisons,
    group_splits,
    leave_out_person,
    make_ablation,
    make_overview,
    make_tables,
    resolve_pair,
    tell_splits,
)
from ferfusion.reporting.summary import RunReport, SplitFacts, VariantFacts
from ferfusion.reporting.tables import make_rows


def run(
    variant: str,
    modalities: str,
    correct: int,
    *,
    val: int = 30,
    fusion: Fusion = "single",
    steps: int | None = None,
    method: str = "network",
    seed: int = 0,
    backbone: str = "",
) -> RunReport:
    n = 80
    labels = np.arange(n) % 2
    probs = np.eye(2)[np.where(np.arange(n) < correct, labels, 1 - labels)]
    predictions = Predictions(
        sample_ids=tuple(f"s{i}" for i in range(n)),
        subjects=tuple(f"p{i // 4}" for i in range(n)),
        classes=("happy", "sad"),
        labels=labels,
        probs=probs,
    )
    record = make_record(
        predictions,
        model=f"{method}-{fusion}-{steps}-{modalities}",
        modalities=parse_modalities(modalities.split("+")),
        fusion=fusion,
        steps=steps,
        backbone=backbone or variant,
        split="subject",
        seed=seed,
        parameters=1,
        seconds=1.0,
        paper_accuracy=None,
        method=method,
        variant=variant,
    )
    return RunReport(record, predictions, probs, (1.0,), (), val, 50)


def study(*, backbone: str = "") -> list[RunReport]:
    both = "visible+infrared"
    models: tuple[tuple[str, int, int, Fusion, int | None], ...] = (
        ("visible", 40, 32, "single", None),
        ("infrared", 35, 20, "single", None),
        (both, 70, 44, "early", 1),
        (both, 75, 43, "early", 3),
        (both, 60, 41, "late", None),
    )
    return [
        run(variant, m, k - drop, val=val, fusion=fusion, steps=steps, backbone=backbone)
        for variant, drop in (("a", 0), ("b", 30))
        for m, k, val, fusion, steps in models
    ]


FACTS = (
    VariantFacts("a", {"first weights": "a.safetensors", "epochs": "20"}),
    VariantFacts("b", {"first weights": "b.safetensors", "epochs": "20"}),
)


def test_tables_have_short_titles_and_only_what_differs_of_later_recipes():
    runs = study()
    first, second = make_tables(make_rows(runs), runs, FACTS)
    assert [row.title for row in second.rows] == [
        "visible",
        "infrared",
        "visible + infrared, early, 1-step",
        "visible + infrared, early, 3-step",
        "visible + infrared, late",
    ]
    assert first.recipe == FACTS[0].recipe
    assert second.recipe == {"first weights": "b.safetensors"}
    assert set(second.runs) == {row.model for row in second.rows}


def test_validation_picks_a_single_an_early_and_a_late_network():
    runs = [*study(), run("a", "visible", 80, val=50, method="frozen-svm")]
    rows = [row for row in make_rows(runs) if row.variant == "a"]
    assert [(row.fusion, row.steps) for row in choose_models(rows)] == [
        ("single", None),
        ("early", 1),
        ("late", None),
    ]
    main = find_main(rows)
    assert main is not None
    assert (main[0].steps, main[1].inputs, main[1].method) == (1, "visible", "network")
    (alone,) = choose_models([row for row in rows if row.method != "network"])
    assert alone.method == "frozen-svm"


def test_the_overview_has_the_models_of_several_tables():
    runs = [*study(), run("a", "msx", 50)]
    overview = make_overview(make_tables(make_rows(runs), runs, FACTS))
    assert len(overview) == 5
    assert "MSX" not in overview
    assert set(overview["visible"]) == {"a", "b"}


def test_comparisons_are_sorted_by_question_and_told_shortly():
    runs = [*study(), run("a", "visible", 30, method="frozen-svm")]
    rows = make_rows(runs)
    questions = group_comparisons(rows, compare_models(runs))
    told = {
        question.text: {
            name: [(line.title, line.against) for line in lines]
            for name, lines in question.blocks.items()
        }
        for question in questions
    }
    assert told["do three steps help?"] == {
        name: [("visible + infrared, early, 3-step", "early, 1-step")] for name in "ab"
    }
    assert told["does the backbone matter?"] == {
        "": [("visible + infrared, early, 1-step, b", "early, 1-step, a")]
    }
    assert told["does a network differ from the baseline?"] == {"a": [("visible", "frozen-svm")]}
    assert told["does fusion help?"]["b"][2] == ("visible + infrared, late", "visible")
    for question in questions:
        for lines in question.blocks.values():
            for line in lines:
                difference = line.comparison.test.difference
                assert line.interval.low <= difference <= line.interval.high


def test_an_ablation_holds_every_quirk_against_none():
    runs = study(backbone="resnet18")
    rows, comparisons = make_rows(runs), compare_models(runs)
    ablation = make_ablation(make_tables(rows, runs, FACTS), rows, comparisons)
    assert len(ablation) == 5
    for cells in ablation.values():
        assert cells["a"].line is None
        line = cells["b"].line
        assert line is not None
        assert line.comparison.question == QUIRK
        assert line.comparison.test.difference == pytest.approx(-30 / 80)
    assert make_ablation(make_tables(rows, runs, FACTS), rows, []) == {}


def test_the_resolution_is_of_one_seed():
    runs = [replace(r, record=replace(r.record, seed=seed)) for seed in (3, 4) for r in study()]
    main = find_main(make_rows(runs))
    assert main is not None
    resolution = resolve_pair(runs, *main)
    assert resolution is not None
    assert (resolution.n, resolution.clustering.n_subjects) == (80, 20)
    assert resolution.difference == pytest.approx(30 / 80)


def test_splits_are_told_as_counts_rates_or_range():
    (row, *_) = make_rows(study())
    assert tell_splits(row) == "40 of 80"
    assert tell_splits(replace(row, points=(0.5, 0.612, 1.0))) == "50, 61, 100 %"
    assert tell_splits(replace(row, points=(0.5, 0.7, 0.9) * 5)) == "50 to 90 % in 15"


def test_trainings_that_collapsed_are_counted_split_by_split():
    runs = study()
    dull = runs[0]

    def say(answer: int) -> RunReport:
        probs = np.tile(np.eye(2)[answer], (80, 1))
        # Four of 80 answers differ: that is one answer to nearly every face.
        probs[:4] = 1 - probs[:4]
        return replace(dull, predictions=replace(dull.predictions, probs=probs))

    several = [*runs, say(0), say(1)]
    assert find_collapsed(runs) == {}
    assert find_collapsed(several) == {dull.record.key: Collapse(2, 3)}


def test_first_weights_are_told_in_words():
    facts = [
        VariantFacts("a", {"first weights": "none"}),
        VariantFacts("b", {"first weights": "b.safetensors"}),
    ]
    tables = make_tables(make_rows(study()), study(), facts)
    assert [table.weights for table in tables] == ["random weights", "b.safetensors"]


def test_splits_belong_to_the_tables_that_were_made_with_them():
    def split(fold: int, tables: tuple[str, ...], *shared: str) -> SplitFacts:
        return SplitFacts("subject", 0, "c", {}, {}, shared, fold, tables)

    splits = [split(1, ("a",)), split(2, ("a",)), split(1, ("b",), "p1"), split(2, ("b",), "p2")]
    assert [(tables, len(of)) for tables, of in group_splits(splits)] == [(("a",), 2), (("b",), 2)]
    assert gather_shared(splits) == {("b",): ("p1", "p2")}


def test_a_person_with_many_faces_is_left_out_once():
    def big(report: RunReport) -> RunReport:
        people = tuple("p0" if i < 20 else f"p{i}" for i in range(80))
        return replace(report, predictions=replace(report.predictions, subjects=people))

    runs = [big(report) for report in study()]
    main = find_main(make_rows(runs))
    assert main is not None
    without = leave_out_person(runs, *main)
    assert without is not None
    assert (without.person, without.n_left_out) == ("p0", 20)
    # The first 20 answers of both models are right; they no longer count.
    assert without.correct == tuple(sum(row.correct) - 20 for row in main)
    assert without.test.n == 60
    evenly = find_main(make_rows(study()))
    assert evenly is not None
    assert leave_out_person(study(), *evenly) is None, "four faces of 80 carry nothing alone"

    def few(report: RunReport) -> RunReport:
        people = tuple(f"p{i // 20}" for i in range(80))
        return replace(report, predictions=replace(report.predictions, subjects=people))

    alike = [few(report) for report in study()]
    assert leave_out_person(alike, *evenly) is None, "four people with 20 faces each"


def test_a_study_of_quirks_resolves_what_a_quirk_changes():
    runs = study(backbone="resnet18")
    rows, comparisons = make_rows(runs), compare_models(runs)
    pair = find_quirk_pair(rows, comparisons)
    assert pair is not None
    # Of the fused models validation prefers early fusion in one step.
    assert [row.variant for row in pair] == ["b", "a"]
    assert {(row.fusion, row.steps) for row in pair} == {("early", 1)}
    assert find_quirk_pair(rows, [c for c in comparisons if c.question != QUIRK]) is None
