import numpy as np
import pytest

from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import holm, mcnemar_exact
from ferfusion.modality import parse_modalities
from ferfusion.reporting.comparisons import (
    ATTENTION,
    BACKBONE,
    BASELINE,
    FUSION,
    QUIRK,
    STEPS,
    THIRD,
    WHERE,
    compare_models,
    compare_pair,
    render_comparisons_markdown,
)
from ferfusion.reporting.record import Fusion, make_record
from ferfusion.reporting.summary import RunReport
from ferfusion.reporting.tables import make_rows


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


def test_every_fused_model_against_the_best_single_and_three_steps_against_one():
    comparisons = compare_models(study())
    assert [(c.title, c.against) for c in comparisons] == [
        ("visible + infrared, early, 1-step", "visible"),
        ("visible + infrared, early, 3-step", "visible"),
        ("visible + infrared, late", "visible"),
        ("visible + infrared, early, 3-step", "visible + infrared, early, 1-step"),
        ("visible + infrared, early, 3-step", "visible + infrared, late"),
    ]
    assert [c.verdict for c in comparisons] == [
        "no difference shown", "better", "worse", "better", "better",
    ]  # fmt: skip
    assert tuple(c.adjusted_p for c in comparisons) == holm([c.test.p_value for c in comparisons])
    assert comparisons[1].test.difference == pytest.approx(38 / 80)
    assert [c.question for c in comparisons] == [FUSION, FUSION, FUSION, STEPS, WHERE]
    for c in comparisons:
        assert c.mcnemar_p == mcnemar_exact(c.paired.first, c.paired.second).p_value


def test_steps_of_different_backbones_or_modalities_are_not_compared():
    early = {"val": 30, "fusion": "early"}
    runs = [
        run("one", right(40), steps=1, modalities="visible+msx", variant="a", **early),
        run("three", right(50), steps=3, modalities="visible+infrared", variant="a", **early),
        run("vgg", right(50), steps=3, modalities="visible+msx", variant="b",
            backbone="vgg16", **early),
    ]  # fmt: skip
    assert compare_models(runs) == ()
    assert make_rows(runs)[2].title == "visible + MSX, early, 3-step, b"


def test_models_are_paired_by_sample_and_seed_never_by_position():
    first = predict(right(10, 20))
    later = predict(np.ones(20, dtype=bool), shift=15)
    paired = compare_pair({0: first, 1: first}, {0: later, 2: later})
    assert paired is not None
    test = paired.test
    # s15 to s19 of seed 0, which the first model gets wrong.
    assert (test.n, test.only_a, test.only_b) == (5, 0, 5)
    assert compare_pair({0: first}, {1: first}) is None


def test_only_people_who_differ_count_over_seeds():
    a, b = {}, {}
    for seed in range(3):
        # One person, four samples, the same luck under every seed.
        a[seed], b[seed] = predict(right(4, 40)), predict(right(0, 40))
    paired = compare_pair(a, b)
    assert paired is not None
    test = paired.test
    assert (test.only_a, test.only_b) == (12, 0)
    assert test.p_value == 1


def test_markdown_of_comparisons():
    text = render_comparisons_markdown(compare_models(study()))
    assert (
        "| visible + infrared, early, 1-step | visible | 4 | 0 | +5.0 | 1.000 | 1.000 | no" in text
    )
    assert len(text.splitlines()) == 7


def titles(runs: list[RunReport]) -> list[tuple[str, str, str]]:
    return [(c.title, c.against, c.question) for c in compare_models(runs)]


def test_three_modalities_are_held_against_two_of_the_same_fusion_in_the_first_table():
    def fused(variant: str) -> list[RunReport]:
        return [
            run(f"{fusion}-{m}", right(50), val=30, fusion=fusion, steps=steps, modalities=m,
                variant=variant, backbone=variant)
            for fusion, steps in (("early", 3), ("late", None))
            for m in ("visible+infrared", "visible+msx", "visible+infrared+msx")
        ]  # fmt: skip

    found = titles([*fused("a"), *fused("b")])
    assert [pair[:2] for pair in found if pair[2] == THIRD] == [
        ("visible + infrared + MSX, early, 3-step, a", "visible + infrared, early, 3-step, a"),
        ("visible + infrared + MSX, early, 3-step, a", "visible + MSX, early, 3-step, a"),
        ("visible + infrared + MSX, late, a", "visible + infrared, late, a"),
        ("visible + infrared + MSX, late, a", "visible + MSX, late, a"),
    ]
    assert [pair[:2] for pair in found if pair[2] == WHERE] == [
        (f"{inputs}, early, 3-step, a", f"{inputs}, late, a")
        for inputs in ("visible + infrared", "visible + MSX", "visible + infrared + MSX")
    ]


def test_a_backbone_is_held_against_the_same_network_of_the_first():
    both = "visible+infrared"
    runs = [
        run("visible", right(40), val=30, variant="resnet18"),
        run("early", right(50), val=40, fusion="early", steps=3, modalities=both,
            variant="resnet18"),
        run("visible", right(45), val=45, variant="vgg16", backbone="vgg16"),
        run("msx", right(45), val=20, modalities="msx", variant="vgg16", backbone="vgg16"),
    ]  # fmt: skip
    assert titles(runs) == [
        ("visible + infrared, early, 3-step, resnet18", "visible, resnet18", FUSION),
        ("visible, vgg16", "visible, resnet18", BACKBONE),
    ]


def test_a_quirk_is_held_against_the_same_model_without():
    runs = [
        run("visible", right(60), val=30, variant="none"),
        run("infrared", right(50), val=20, modalities="infrared", variant="none"),
        run("visible", right(20), val=40, variant="double_softmax"),
        run("msx", right(20), val=40, modalities="msx", variant="double_softmax"),
    ]
    (comparison,) = compare_models(runs)
    assert comparison.question == QUIRK
    assert comparison.title == "visible, double_softmax"
    assert comparison.against == "visible, none"
    assert comparison.verdict == "worse"


def test_baselines_and_attention_are_held_against_the_network_with_the_same_inputs():
    both = "visible+infrared"
    runs = [
        run("visible", right(40), val=30),
        run("early-1", right(44), val=33, fusion="early", steps=1, modalities=both),
        run("early-3", right(78), val=40, fusion="early", steps=3, modalities=both),
        run("svm", right(30), val=20, method="frozen-svm"),
        run("svm-early", right(30), val=20, fusion="early", modalities=both, method="frozen-svm"),
        run("svm-msx", right(30), val=20, modalities="msx", method="frozen-svm"),
        run("attention", right(50), val=20, method="attention"),
    ]
    assert [pair for pair in titles(runs) if pair[2] in (BASELINE, ATTENTION)] == [
        ("visible", "visible, frozen-svm", BASELINE),
        ("visible + infrared, early, 3-step", "visible + infrared, frozen-svm, early", BASELINE),
        ("visible, attention", "visible", ATTENTION),
    ]


def test_folds_are_pooled_before_comparing():
    models: tuple[tuple[str, int, Fusion, str], ...] = (
        ("visible", 8, "single", "visible"),
        ("late", 19, "late", "visible+msx"),
    )
    runs = [
        run(model, right(k, 20), val=30, fold=f + 1, shift=20 * f, fusion=fusion, modalities=m)
        for f in range(4)
        for model, k, fusion, m in models
    ]
    (comparison,) = compare_models(runs)
    assert (comparison.test.n, comparison.test.only_a, comparison.test.only_b) == (80, 44, 0)
    assert comparison.verdict == "better"


def test_one_comparison_more_raises_every_adjusted_p():
    few, many = study()[:2] + study()[4:], study()
    alone = next(c for c in compare_models(few) if c.title.endswith("late"))
    among = next(c for c in compare_models(many) if c.title.endswith("late"))
    assert alone.test.p_value == among.test.p_value
    assert alone.adjusted_p == alone.test.p_value < among.adjusted_p
