import dataclasses

import numpy as np
import pytest

from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import Interval, bootstrap_by_subject, wilson
from ferfusion.modality import parse_modalities
from ferfusion.reporting.record import Fusion, make_record
from ferfusion.reporting.summary import RunReport
from ferfusion.reporting.tables import (
    estimate_share,
    find_best_single,
    format_proportion,
    make_rows,
    pool_folds,
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
    variant: str = "",
    method: str = "network",
    fold: int | None = None,
    shift: int = 0,
    temperature: float = 1.0,
) -> RunReport:
    predictions = predict(right, shift=shift, subjects=subjects)
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
        variant=variant,
        method=method,
        fold=fold,
    )
    return RunReport(
        record=record,
        predictions=predictions,
        calibrated=apply_temperature(predictions.probs, temperature),
        temperatures=(temperature,),
        stages=(),
        val_correct=val,
        val_n=50,
    )


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


def test_a_baseline_is_never_the_best_single_model():
    rows = make_rows([run("visible", right(40), val=10), *_baselines()])
    best = find_best_single(rows)
    assert best is not None
    assert best.method == "network"


def _baselines() -> tuple[RunReport, ...]:
    return (run("svm-visible", right(70), val=45, method="alexnet-svm"),)


def folds(model: str, counts: tuple[int, ...], seed: int = 0) -> list[RunReport]:
    return [
        run(model, right(k, 20), val=15, seed=seed, fold=f + 1, shift=20 * f, temperature=1 + f)
        for f, k in enumerate(counts)
    ]


def test_folds_of_a_seed_become_one_run_over_all_samples():
    parts = folds("visible", (12, 15, 20))
    (pooled,) = pool_folds(parts)
    assert pooled.predictions.sample_ids == tuple(f"s{i}" for i in range(60))
    assert (pooled.record.correct, pooled.record.n_test, pooled.record.fold) == (47, 60, None)
    assert (pooled.fold_correct, pooled.fold_n) == ((12, 15, 20), (20, 20, 20))
    assert pooled.temperatures == (1, 2, 3)
    np.testing.assert_array_equal(
        pooled.calibrated, np.concatenate([part.calibrated for part in parts])
    )
    assert (pooled.val_correct, pooled.val_n) == (45, 150)
    assert pool_folds([pooled]) == (pooled,)


def test_a_sample_in_two_folds_is_refused():
    parts = folds("visible", (12, 15))
    twice = dataclasses.replace(parts[1], predictions=parts[0].predictions)
    with pytest.raises(ValueError, match="more than once"):
        pool_folds([parts[0], twice])


def test_every_fold_of_every_seed_is_a_point():
    runs = [*folds("visible", (12, 15, 20)), *folds("visible", (10, 20, 20), seed=1)]
    (row,) = make_rows(runs)
    assert row.points == (0.6, 0.75, 1.0, 0.5, 1.0, 1.0)
    assert row.each_seed == "47, 50 of 60"
    assert row.proportion.startswith("97/120 = 80.8 % [")


def test_titles_name_the_table_only_where_there_are_several():
    one = [run("visible", right(40), val=30, variant="resnet18")]
    assert make_rows(one)[0].title == "visible"
    two = [*one, run("visible", right(40), val=30, variant="vgg16", backbone="vgg16")]
    assert [row.title for row in make_rows(two)] == [
        "visible, resnet18",
        "visible, vgg16",
    ]


def test_a_share_is_never_surer_than_wilson_for_as_many_samples():
    everything = np.ones(30, dtype=bool)
    ids = [f"s{i % 10}" for i in range(30)]
    groups = [("sample", i) for i in ids]
    assert estimate_share(everything, groups, ids) == wilson(10, 10)


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
