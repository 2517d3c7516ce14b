import dataclasses
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import PairedTest
from ferfusion.expression import VIRI
from ferfusion.modality import Modality
from ferfusion.reporting.comparisons import FUSION, QUIRK, Comparison, compare_models
from ferfusion.reporting.headline import write_headline, write_quirks_headline
from ferfusion.reporting.page import make_confusion_tables, write_report
from ferfusion.reporting.record import Fusion, make_record
from ferfusion.reporting.sections import Collapse, make_tables
from ferfusion.reporting.summary import (
    Cost,
    DataFacts,
    Epoch,
    LateChoice,
    Reported,
    RunReport,
    Skipped,
    SplitFacts,
    StageHistory,
    StudySummary,
    VariantFacts,
)
from ferfusion.reporting.tables import make_rows, pool_folds
from ferfusion.training.weight_search import list_weights

V, I, M = Modality.VISIBLE, Modality.INFRARED, Modality.MSX  # noqa: E741
MODELS: list[tuple[str, tuple[Modality, ...], Fusion, int | None, float, float | None]] = [
    ("visible", (V,), "single", None, 0.81, 0.8111),
    ("infrared", (I,), "single", None, 0.50, 0.5),
    ("msx", (M,), "single", None, 0.74, 0.7444),
    ("early-1-visible-infrared", (V, I), "early", 1, 0.83, 0.8333),
    ("early-1-visible-msx", (V, M), "early", 1, 0.86, 0.8556),
    ("early-1-visible-infrared-msx", (V, I, M), "early", 1, 0.90, 0.8667),
    ("early-3-visible-infrared", (V, I), "early", 3, 0.87, 0.8444),
    ("early-3-visible-msx", (V, M), "early", 3, 0.88, 0.8778),
    ("early-3-visible-infrared-msx", (V, I, M), "early", 3, 0.94, 0.8667),
    ("late-visible-infrared", (V, I), "late", None, 0.83, 0.8222),
    ("late-visible-msx", (V, M), "late", None, 0.84, 0.8333),
    ("late-visible-infrared-msx", (V, I, M), "late", None, 0.88, 0.8444),
]
N_TEST, N_VAL = 90, 83
FEW = (0, 2, 6, 9)
"""Of each kind one, for tests that need no more."""


def make_predictions(accuracy: float, seed: int, luck: np.random.Generator) -> Predictions:
    labels = np.repeat(np.arange(5), N_TEST // 5)
    # How hard a face is belongs to the face: every model of this seed meets the same ones.
    hard = np.random.default_rng(seed).random(N_TEST)
    difficulty = 0.6 * hard + 0.4 * luck.random(N_TEST)
    right = difficulty < np.quantile(difficulty, accuracy - 0.02 * luck.random())
    likely = np.where(right, labels, (labels + luck.choice([1, 2, 4], N_TEST)) % 5)
    probs = luck.dirichlet(np.full(5, 0.3), N_TEST) * 0.4
    probs[np.arange(N_TEST), likely] += 0.6
    people = np.random.default_rng(seed + 50).permutation(110)[: N_TEST // 5]
    return Predictions(
        sample_ids=tuple(f"{people[i % 18]:03d}-{VIRI[k]}" for i, k in enumerate(labels)),
        subjects=tuple(f"person {people[i % 18]:03d}" for i in range(N_TEST)),
        classes=VIRI,
        labels=labels,
        probs=probs,
    )


def make_stage(name: str, accuracy: float, luck: np.random.Generator) -> StageHistory:
    n = int(luck.integers(16, 22))
    epochs = tuple(
        Epoch(
            epoch=e,
            train_loss=1.6 * math.exp(-e / 5) + 0.05 * luck.random(),
            val_loss=0.55 + 1.1 * math.exp(-e / 3) + 0.08 * luck.random() + 0.006 * e,
            val_accuracy=accuracy - 0.5 * math.exp(-e / 3) + 0.03 * luck.standard_normal(),
            learning_rate=1e-3,
        )
        for e in range(1, n + 1)
    )
    return StageHistory(name, epochs, max(epochs, key=lambda e: e.val_accuracy).epoch)


def make_choice(modalities: tuple[Modality, ...], luck: np.random.Generator) -> LateChoice:
    grid = list_weights(len(modalities), 10)
    correct = luck.integers(60, 70, len(grid))
    return LateChoice(tuple(map(str, modalities)), grid / 10, correct, int(correct.argmax()), N_VAL)


def make_run(
    index: int,
    seed: int,
    *,
    variant: str = "",
    fold: int | None = None,
    gain: float = 0.0,
    n_epochs: int = 18,
) -> RunReport:
    model, modalities, fusion, steps, accuracy, paper = MODELS[index]
    luck = np.random.default_rng([seed, index, fold or 0])
    predictions = make_predictions(accuracy + gain, seed if fold is None else 7 * seed + fold, luck)
    if fold is not None:
        predictions = dataclasses.replace(
            predictions,
            sample_ids=tuple(f"{fold}-{i}" for i in predictions.sample_ids),
            subjects=tuple(f"{fold}-{s}" for s in predictions.subjects),
        )
    names = {"single": [str(modalities[0])], "early": ["fusion"], "late": []}[fusion]
    if steps == 3:
        names = [*map(str, modalities), *names]
    temperature = 1.2 + 0.1 * (fold or 0)
    return RunReport(
        record=make_record(
            predictions,
            model=model,
            modalities=modalities,
            fusion=fusion,
            steps=steps,
            backbone="resnet18",
            split="subject",
            seed=seed,
            parameters=11_309_125 * len(modalities),
            seconds=140.0 * len(modalities) * (steps or 1),
            paper_accuracy=paper,
            variant=variant,
            fold=fold,
        ),
        predictions=predictions,
        calibrated=apply_temperature(predictions.probs, temperature),
        temperatures=(temperature,),
        stages=tuple(make_stage(name, accuracy, luck) for name in names),
        val_correct=round((accuracy + gain) * N_VAL) + seed,
        val_n=N_VAL,
        late=(make_choice(modalities, luck),) if fusion == "late" else (),
        cost=Cost(45.2, 3.64, 12.3, 88.0, "2 CPU cores") if index != 1 else None,
    )


def make_split(seed: int, shared: tuple[str, ...] = (), fold: int | None = None) -> SplitFacts:
    return SplitFacts(
        kind="subject",
        seed=seed,
        checksum="9f2c0b1d7a6e5f4c3b2a19087f6e5d4c",
        counts={
            "train": dict(zip(VIRI, (77, 79, 79, 79, 79), strict=True)),
            "val": dict(zip(VIRI, (16, 17, 17, 17, 16), strict=True)),
            "test": dict.fromkeys(VIRI, 18),
        },
        subjects={"train": 76, "val": 16, "test": 18},
        shared_subjects=shared,
        fold=fold,
    )


RECIPE = {
    "first weights": "resnet18, ImageNet",
    "optimiser": "AdamW, learning rate 0.001, weight decay 0.01",
    "augmentation": "own set: flip, rotation, zoom, light",
}


def make_study(
    seeds: tuple[int, ...] = (0, 1), models: tuple[int, ...] = tuple(range(len(MODELS)))
) -> StudySummary:
    return StudySummary(
        title="Visible, infrared and MSX faces: the paper's comparison",
        data=DataFacts(
            root_name="viri_standin",
            reader="VIRI as published",
            pairing="Pictures of one sample have the same file name in every modality's folder.",
            subjects_from="the subject column of subjects.csv",
            class_counts=dict(zip(VIRI, (111, 114, 114, 114, 113), strict=True)),
            n_subjects=110,
            modalities=("visible", "infrared", "msx"),
            n_leftovers=3,
            note="Stand-in data: the infrared is simulated, so these accuracies say nothing "
            "about real infrared.",
        ),
        splits=tuple(make_split(seed) for seed in seeds),
        runs=tuple(make_run(i, seed) for seed in seeds for i in models),
        variants=(VariantFacts("", RECIPE),),
        versions={"ferfusion": "0.1.0, commit 3f2a9c1", "torch": "2.9.0", "machine": "2 CPU cores"},
        command="ferfusion study data/viri_standin --split subject --seed 0,1 --out study",
        audited="1698 pictures of 566 samples were looked at.",
        reported=tell_reports([make_run(i, seeds[0]) for i in models]),
    )


def tell_reports(runs: list[RunReport]) -> dict[str, Reported]:
    """What the paper says of these models, with a fact of its recipe."""
    fact = ("epochs", "100", "paper")
    return {
        run.record.key: Reported(
            100 * accuracy, round(90 * accuracy), 90, "Naseem et al. 2024", "paper", "", (fact,)
        )
        for run in runs
        if (accuracy := run.record.paper_accuracy) is not None
    }


def make_plan(
    plan: str, gains: dict[str, float], models: tuple[int, ...], n_folds: int = 2
) -> StudySummary:
    """A study of several tables; `gains` says how much more each gets right."""
    runs = [
        dataclasses.replace(
            run, record=dataclasses.replace(run.record, backbone=name if plan == "sound" else "a")
        )
        for name, gain in gains.items()
        for fold in range(1, n_folds + 1)
        for i in models
        for run in [make_run(i, 0, variant=name, fold=fold, gain=gain)]
    ]
    return dataclasses.replace(
        make_study((0,)),
        plan=plan,
        runs=tuple(runs),
        splits=tuple(make_split(0, fold=fold + 1) for fold in range(n_folds)),
        variants=tuple(
            VariantFacts(name, {**RECIPE, "first weights": f"{name}, ImageNet"}) for name in gains
        ),
    )


class Reader(HTMLParser):
    """Collects what a page says and what it would fetch; checks that tags are closed."""

    VOID = frozenset({"meta", "col", "br", "link", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "data") and not (value or "").startswith("#"):
                self.fetched.append(f"{tag} {value}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def render(study: StudySummary, tmp_path: Path) -> tuple[str, Reader]:
    path = tmp_path / "report.html"
    write_report(study, path)
    html = path.read_text(encoding="utf-8")
    return html, Reader(html)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[StudySummary, str, Reader]]:
    """Drawing takes seconds, so several tests read the same pages."""
    studies = {
        "plain": make_study((0,), FEW),
        "backbones": make_plan("sound", {"resnet18": 0.0, "vgg16": -0.4, "ghost_net": 0.02}, FEW),
        "quirks": make_plan(
            "quirks", {"none": 0.0, "double_softmax": -0.5, "identical_flips": 0.0}, (0, 3)
        ),
    }
    folder = tmp_path_factory.mktemp("pages")
    return {name: (study, *render(study, folder)) for name, study in studies.items()}


Pages = dict[str, tuple[StudySummary, str, Reader]]


def test_the_page_of_a_whole_study(tmp_path: Path):
    study = make_study()
    html, page = render(study, tmp_path)
    assert page.open == []
    assert page.fetched == []
    assert "<script" not in html
    assert "@import" not in html
    assert "url(http" not in html
    for row in make_rows(study.runs):
        assert row.proportion in page.text
        assert row.each_seed in page.text
    for said in (
        "Stand-in data: the infrared is simulated",
        "They are of other data",
        "100 [paper]",
        "Split of seed 1",
        "One image of 90 is 1.1 percentage points",
        study.command,
        "9f2c0b1d7a6e5f4c",
        "early, 3-step",
    ):
        assert said in page.text, said
    assert html.count('class="confusion"') == 12
    assert html.count("Learning curves of") == 9
    assert html.count("Late fusion of") == 3
    assert html.count("Reliability of") == 3
    assert "It found no leak." in page.text
    assert "73/90 = 81.1 %" in page.text
    assert "not measured" in page.text
    assert "<nav" not in html
    assert "more than one part of the split" not in page.text
    assert "missing from this page" not in page.text
    assert len(html) < 1_500_000


def test_the_same_study_gives_the_same_page(tmp_path: Path):
    assert (
        render(make_study((0,), (0, 9)), tmp_path)[0]
        == (render(make_study((0,), (0, 9)), tmp_path)[0])
    )


def test_one_seed_shows_wilson_and_no_pooling(pages: Pages):
    _, html, page = pages["plain"]
    assert "Wilson's score interval" in page.text
    assert "each seed" not in page.text
    assert "late-visible" not in html
    assert "What this test set can resolve" in page.text
    assert re.search(r"one image 1\.1 points of accuracy", page.text)


def test_people_in_two_parts_are_said_in_red(tmp_path: Path):
    study = make_study((0,), (0,))
    shared = dataclasses.replace(
        study, splits=(make_split(0, shared=("person 003", "person 007 <b>")),)
    )
    html, page = render(shared, tmp_path)
    assert "2 people are in more than one part of the split" in page.text
    assert '<div class="box warning"' in html
    assert "person 007 &lt;b&gt;" in html


def test_missing_models_are_said_and_nothing_is_invented(tmp_path: Path):
    study = make_study((0,), (0,))
    runs = tuple(
        dataclasses.replace(
            run, stages=(), record=dataclasses.replace(run.record, paper_accuracy=None)
        )
        for run in study.runs[:1]
    )
    bare = dataclasses.replace(
        study,
        runs=runs,
        data=dataclasses.replace(study.data, note=None, subjects_from=None, n_subjects=0),
        splits=(),
        audited=None,
        likely_shared="Likely the same person is in test and outside it: 8 of 9 test samples.",
        reported={},
        skipped=(Skipped("infrared, seed 0", "The training was stopped."),),
    )
    html, page = render(bare, tmp_path)
    assert page.open == []
    assert "1 planned training is missing" in page.text
    assert "The training was stopped." in page.text
    assert "diamond" not in page.text
    assert "Do the models differ?" not in page.text
    assert "What this test set can resolve" not in page.text
    assert "How training went" not in page.text
    assert "nobody is named" in page.text
    assert "8 of 9 test samples. ferfusion subjects writes the guess" in page.text
    assert "not audited for leaks" in page.text
    assert "Learning curves of" not in html
    with pytest.raises(ValueError, match="nothing to report"):
        write_report(dataclasses.replace(study, runs=()), tmp_path / "none.html")


def test_no_id_occurs_twice_with_different_meaning(pages: Pages):
    _, html, page = pages["plain"]
    assert len([i for i in page.ids if i in ("results", "errors", "data")]) == 3
    meanings: dict[str, str] = {}
    for name, body in re.findall(
        r'<(?:path|clipPath) id="([^"]+)"(.*?)(?:/>|</clipPath>)', html, re.S
    ):
        assert meanings.setdefault(name, body) == body


def test_confusion_tables_add_up_the_seeds():
    runs = [make_run(0, 0), make_run(0, 1)]
    (table,) = make_confusion_tables(make_tables(make_rows(runs), runs, ())[0])
    assert table.counts.sum() == 2 * N_TEST
    assert table.counts.trace() == sum(run.record.correct for run in runs)
    np.testing.assert_allclose(table.rates.sum(axis=1), 1)


def test_the_headline_says_what_the_test_supports():
    single, fused, other = make_run(0, 0), make_run(9, 0), make_run(3, 0)
    fused = dataclasses.replace(fused, predictions=single.predictions)
    other = dataclasses.replace(other, predictions=single.predictions)
    runs = (single, fused, other)
    rows, comparisons = make_rows(runs), compare_models(runs)
    said = write_headline(rows, comparisons)
    assert (
        "Fusion is not shown to differ from the single model that validation prefers"
        in said.finding
    )
    assert "adjusted p = 1.000" in said.support
    assert "Of 2 fused models, none is shown to differ" in said.support

    ahead = PairedTest(n=90, only_a=9, only_b=1, p_value=0.01)
    said = write_headline(
        rows, [dataclasses.replace(c, test=ahead, adjusted_p=0.02) for c in comparisons]
    )
    assert (
        "Fusion is better than the single model that validation prefers: visible + infrared ("
        in said.finding
    )
    assert "+8.9 points, adjusted p = 0.020" in said.support
    assert "Of 2 fused models, 2 are shown to be better" in said.support
    behind = dataclasses.replace(ahead, only_a=1, only_b=9)
    said = write_headline(
        rows, [dataclasses.replace(c, test=behind, adjusted_p=0.0001) for c in comparisons]
    )
    assert "Fusion is worse" in said.finding
    assert "2 are shown to be worse" in said.support
    assert "adjusted p < 0.001" in said.support
    assert "no test compares them" in write_headline(rows, ()).support


def test_the_headline_names_no_model_that_lacks_folds():
    single, fused, other = make_run(0, 0), make_run(9, 0), make_run(3, 0)
    # Validation prefers it by far, but it answered about half of the faces only.
    half = np.arange(N_TEST // 2)
    predictions = fused.predictions
    fewer = dataclasses.replace(
        predictions,
        sample_ids=tuple(predictions.sample_ids[i] for i in half),
        subjects=tuple(predictions.subjects[i] for i in half),
        labels=predictions.labels[half],
        probs=predictions.probs[half],
    )
    record = dataclasses.replace(fused.record, n_test=len(half), correct=len(half))
    lacking = dataclasses.replace(
        fused, predictions=fewer, record=record, val_correct=fused.val_n, calibrated=fewer.probs
    )
    rows = make_rows((single, lacking, other))
    comparisons = compare_models((single, lacking, other))
    assert rows[1].val_accuracy == 1 > rows[2].val_accuracy
    assert rows[2].inputs in write_headline(rows, comparisons).finding
    assert f"of {N_TEST} test faces" in write_headline(rows, comparisons).finding
    assert f"of {len(half)} test faces" not in write_headline(rows, comparisons).finding


def test_the_headline_of_quirks_says_which_change_anything():
    def quirk(run: RunReport, name: str) -> RunReport:
        record = dataclasses.replace(run.record, variant=name)
        return dataclasses.replace(run, record=record)

    single, fused = make_run(0, 0), make_run(9, 0)
    runs = [quirk(run, name) for name in ("none", "double_softmax") for run in (single, fused)]
    rows, comparisons = make_rows(runs), compare_models(runs)
    only_fusion = [c for c in comparisons if c.question == FUSION]
    assert write_quirks_headline(rows, only_fusion, {}) is None
    said = write_quirks_headline(rows, comparisons, {})
    assert said is not None
    assert said.finding.startswith("None of the 1 quirks is shown to change")
    lower = PairedTest(n=90, only_a=1, only_b=21, p_value=0.001)
    told = [
        dataclasses.replace(c, test=lower, adjusted_p=0.002)
        if c.question == QUIRK and c.title.startswith("visible, ")
        else c
        for c in comparisons
    ]
    said = write_quirks_headline(rows, told, {})
    assert said is not None
    assert "double softmax (lower in 1 of 2 models)" in said.finding
    assert "adjusted p = 0.002" in said.support
    assert "collapsed" not in said.support
    key = next(row.model for row in rows if row.title.startswith("visible, double"))
    said = write_quirks_headline(rows, told, {key: Collapse(2, 3)})
    assert said is not None
    assert "in 2 of its 3 trainings it gave one answer to (nearly) every face" in said.support


def test_the_headline_of_half_a_study():
    single, fused = (make_run(0, 0),), (make_run(9, 0),)
    said = write_headline(make_rows(single), ())
    assert said.finding.startswith("visible gets ")
    assert "No fused model was trained" in said.support
    said = write_headline(make_rows(fused), ())
    assert said.finding.startswith("visible + infrared (late) gets ")
    assert "No single model was trained" in said.support


def test_what_the_runs_cannot_know_is_said_where_it_belongs(tmp_path: Path):
    remarks = {FUSION: "Added after the results had been seen.", "cost": "Fourteen at once."}
    study = dataclasses.replace(make_study((0,)), remarks=remarks)
    html, page = render(study, tmp_path)
    fusion, cost = html.index("Does fusion help?"), html.index('id="cost"')
    assert fusion < html.index(remarks[FUSION]) < html.index("Do three steps help?")
    assert html.index(remarks["cost"]) > cost
    assert "where one was added after these results had been seen, it says so" in page.text
    assert "it says so" not in render(make_study((0,)), tmp_path)[1].text


def test_what_lies_beside_the_page_is_linked(tmp_path: Path):
    for name in ("tables.tex", "figures/augmentation.png", "figures/augmentation-b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    html, _ = render(make_study((0,)), tmp_path)
    assert set(re.findall(r'href="([^#"]+)"', html)) == {
        "tables.tex", "figures", "figures/augmentation.png", "figures/augmentation-b.png",
    }  # fmt: skip


def test_a_training_that_collapsed_is_said_beside_its_count(tmp_path: Path):
    study = make_study((0, 1))
    dull = study.runs[0]
    probs = np.tile([0.6, 0.1, 0.1, 0.1, 0.1], (N_TEST, 1))
    predictions = dataclasses.replace(dull.predictions, probs=probs)
    runs = (dataclasses.replace(dull, predictions=predictions), *study.runs[1:])
    _, page = render(dataclasses.replace(study, runs=runs), tmp_path)
    assert page.text.count("one answer to (nearly) every face in 1 of 2 splits") == 1
    assert "one answer to" not in render(study, tmp_path)[1].text


def test_where_a_quirk_cannot_act_it_says_so(tmp_path: Path):
    study = make_plan("quirks", {"none": 0.0, "independent_augmentation": 0.0}, (0, 3))
    _, page = render(study, tmp_path)
    single = [run for run in study.runs if run.record.fusion == "single"]
    assert single
    assert page.text.count("can't act here") == len({run.record.model for run in single})


def test_people_shared_in_one_table_are_said_of_that_table(tmp_path: Path):
    study = make_plan("quirks", {"none": 0.0, "image_split": 0.0}, (0, 3))
    clean = [dataclasses.replace(s, tables=("none",), shared_subjects=()) for s in study.splits]
    shared = [
        dataclasses.replace(s, tables=("image_split",), shared_subjects=("p7",), kind="paper")
        for s in study.splits
    ]
    _, page = render(dataclasses.replace(study, splits=(*clean, *shared)), tmp_path)
    assert "In image split, 1 person is in more than one part of a split" in page.text
    assert "Folds of seed 0, image split" in page.text


def test_where_the_time_went_is_shown_in_shares(tmp_path: Path):
    study = make_study((0, 1))
    seconds = {"data": 1.0, "forward": 3.0}
    runs = tuple(dataclasses.replace(run, profile=seconds) for run in study.runs)
    _, page = render(dataclasses.replace(study, runs=runs), tmp_path)
    assert "Where the time went" in page.text
    assert "25.0 %" in page.text
    assert "Where the time went" not in render(study, tmp_path)[1].text


def test_baselines_are_explained_with_what_is_simplified(tmp_path: Path):
    study = make_study((0,))
    first = study.runs[0]
    record = dataclasses.replace(first.record, model="regions-svm-visible", method="regions-svm")
    runs = (*study.runs, dataclasses.replace(first, record=record))
    _, page = render(dataclasses.replace(study, runs=runs), tmp_path)
    assert "regions at fixed places instead of landmarks" in page.text
    assert "After Siddiqui" not in page.text, "there is no such row"


def test_a_leaking_split_is_said_in_red(tmp_path: Path):
    study = dataclasses.replace(
        make_study((0,), (0,)), leaks=("12 pairs of near twins lie across train and test.",)
    )
    html, page = render(study, tmp_path)
    assert "The split leaks, and the study was told to run all the same." in page.text
    assert "12 pairs of near twins" in page.text
    assert html.count('<div class="box warning"') == 1
    assert "It found leaks" in page.text


def test_many_skipped_runs_are_folded_away(tmp_path: Path):
    skipped = tuple(Skipped(f"vgg16, seed {i}", "Out of memory.") for i in range(9))
    study = dataclasses.replace(make_study((0,), (0,)), skipped=skipped)
    html, page = render(study, tmp_path)
    assert "9 planned trainings are missing" in page.text
    assert "<summary>Which and why</summary>" in html


def test_several_backbones_in_folds(pages: Pages):
    study, html, page = pages["backbones"]
    assert page.open == []
    assert page.fetched == []
    targets = set(re.findall(r'href="#([^"]+)"', html[html.index("<nav") : html.index("</nav>")]))
    assert {"results", "table-1", "table-2", "table-3", "comparisons", "data"} <= targets
    assert targets <= set(page.ids)
    for row in make_rows(study.runs):
        assert row.proportion in page.text
    for said in (
        "right answers, all folds",
        "Does the backbone matter?",
        "This is the first of 3 tables, resnet18.",
        "ghost_net: 4 models",
        "first weights: vgg16, ImageNet",
        "Every sample is in the test part of one fold",
        "2 folds",
    ):
        assert said in page.text, said
    assert "Split of seed" not in page.text
    # Every table has its matrices, but only the first has the curves of all its models.
    assert html.count('class="confusion"') == 12
    assert html.count("Learning curves of") == 3 + 2 + 2
    assert html.count("Reliability of") == 3


def test_quirks_stand_in_one_table_before_all_else(pages: Pages):
    study, html, page = pages["quirks"]
    assert page.open == []
    assert html.index('id="ablation"') < html.index('id="results"')
    table = html[html.index('class="wide ablation"') :]
    table = table[: table.index("</table>")]
    assert '<b class="worse">lower</b>' in table
    assert "higher" not in table
    assert table.count("<small>p ") == 4
    assert "can't fall below 0.905" in page.text
    assert "What does the quirk change?" not in page.text
    assert "quirks, 1 is shown to change how often a model is right" in page.text
    differing = [c for c in compare_models(pool_folds(study.runs)) if c.question == QUIRK]
    assert {c.verdict for c in differing} == {"worse", "no difference shown"}


EXPLAINED = '"Better" and "worse" stand on this page only where'


@pytest.mark.parametrize("name", ["plain", "backbones", "quirks"])
def test_better_and_worse_stand_only_beside_a_test_that_supports_them(name: str, pages: Pages):
    study, html, _ = pages[name]
    word = re.compile(r"\b(better|worse)\b", re.IGNORECASE)
    comparisons = compare_models(pool_folds(study.runs))
    shown = [c for c in comparisons if c.adjusted_p < 0.05]
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    n_in_rows = 0
    for cells in re.findall(r"<tr>(.*?)</tr>", body, re.S):
        text = re.sub(r"<[^>]+>", " ", cells)
        if word.search(text):
            n_in_rows += 1
            adjusted = re.findall(r"< 0\.001|&lt; 0\.001|\b[01]\.\d{3}\b", text)[-1]
            assert "0.001" in adjusted or float(adjusted) < 0.05, text
    assert n_in_rows == sum(c.question != QUIRK for c in shown)
    assert n_in_rows or name != "backbones"
    outside = re.sub(r"<tr>.*?</tr>", "", body, flags=re.S)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", outside)).replace(EXPLAINED, "")
    headline = write_headline(
        [r for r in make_rows(study.runs) if r.variant == study.variants[0].name], comparisons
    )
    supported = any(
        c.question == FUSION and c.title.endswith(study.variants[0].name) for c in shown
    )
    found = word.findall(text)
    assert len(found) == len(word.findall(headline.finding + headline.support))
    assert supported or not found
    # What people hear who can't see the figures.
    assert not word.search(" ".join(re.findall(r'aria-label="([^"]*)"', html)))


def test_an_untested_comparison_has_no_verdict():
    runs = (make_run(0, 0), make_run(9, 0))
    (comparison,) = compare_models(runs)
    assert isinstance(comparison, Comparison)
    assert dataclasses.replace(comparison, adjusted_p=0.05).verdict == "no difference shown"
