"""Results as counts with intervals, and comparisons that say no more than a test supports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import (
    Interval,
    PairedTest,
    bootstrap_by_subject,
    holm,
    permute_by_subject,
    wilson,
)
from ferfusion.reporting.record import Fusion, RunRecord
from ferfusion.reporting.summary import RunReport

# A page made twice from the same files is the same page.
_RESAMPLING_SEED = 0

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class ResultRow:
    """One model over all its seeds.

    Attributes:
        model: Name in results.csv.
        inputs: Modalities in words.
        how: Fusion in words; with the backbone where a study has several.
        fusion: "single", "early" or "late".
        seeds: Each seed that was run.
        correct: Right answers of each seed.
        n_test: Answers of each seed.
        interval: 95 %: Wilson's for one seed, drawn by subject over several.
        macro_f1: Mean over seeds.
        parameters: Weights of the whole model.
        seconds: Mean training time of a seed.
        paper_accuracy: What the paper reports, from 0 to 1.
        val_accuracy: On validation, pooled over seeds.
    """

    model: str
    inputs: str
    how: str
    fusion: Fusion
    seeds: tuple[int, ...]
    correct: tuple[int, ...]
    n_test: tuple[int, ...]
    interval: Interval
    macro_f1: float
    parameters: int
    seconds: float
    paper_accuracy: float | None
    val_accuracy: float

    @property
    def title(self) -> str:
        """The model in words: "visible + MSX, early, 3-step", or only "visible"."""
        return self.inputs if self.how == "single" else f"{self.inputs}, {self.how}"

    @property
    def accuracy(self) -> float:
        """Right answers of all seeds by answers of all seeds."""
        return sum(self.correct) / sum(self.n_test)

    @property
    def proportion(self) -> str:
        """The pooled count with its interval, as in `format_proportion`."""
        return _format_count(sum(self.correct), sum(self.n_test), self.interval)

    @property
    def each_seed(self) -> str:
        """The count of each seed, for example "76, 74, 79 of 90"."""
        if len(set(self.n_test)) == 1:
            return f"{', '.join(map(str, self.correct))} of {self.n_test[0]}"
        return ", ".join(f"{k}/{n}" for k, n in zip(self.correct, self.n_test, strict=True))


@dataclass(frozen=True)
class Comparison:
    """One model against another on the same test samples.

    Attributes:
        title: Of the model in question.
        against: What it is held against: a title, or "same, 1-step".
        test: First model = `title`.
        adjusted_p: After Holm, over all comparisons of the table.
    """

    title: str
    against: str
    test: PairedTest
    adjusted_p: float

    @property
    def verdict(self) -> str:
        """Says "better" or "worse" only where the adjusted p is below 0.05."""
        if self.adjusted_p >= SIGNIFICANCE:
            return "no difference shown"
        return "better" if self.test.difference > 0 else "worse"


def format_proportion(correct: int, n: int) -> str:
    """Writes a count with its rate and 95 % Wilson interval in per cent.

    >>> format_proportion(76, 90)
    '76/90 = 84.4 % [75.6, 90.5]'
    """
    return _format_count(correct, n, wilson(correct, n))


def format_p(p_value: float) -> str:
    """Writes a p-value with three digits, never as 0.

    >>> format_p(0.01234), format_p(0.00002), format_p(1.0)
    ('0.012', '< 0.001', '1.000')
    """
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def make_rows(runs: Sequence[RunReport]) -> tuple[ResultRow, ...]:
    """Gathers the seeds of each model, in the order in which models first occur."""
    several = len({run.record.backbone for run in runs}) > 1
    return tuple(
        _make_row(of_model, names_backbone=several) for of_model in _group_by_model(runs).values()
    )


def find_best_single(rows: Sequence[ResultRow]) -> ResultRow | None:
    """Finds the single-modality model with the best validation accuracy; the first among equals.

    Never by test accuracy: the model that fusion must beat would be picked for its luck.
    """
    singles = [row for row in rows if row.fusion == "single"]
    return max(singles, key=lambda row: row.val_accuracy, default=None)


def compare_models(runs: Sequence[RunReport]) -> tuple[Comparison, ...]:
    """Compares each fused model with the best single one, and 3-step with 1-step.

    The best single model is the one that validation prefers. Answers are paired by seed and
    sample; whole subjects are permuted, over all seeds together, and the p-values are adjusted
    (Holm) for the number of comparisons in the table.
    """
    rows = make_rows(runs)
    best = find_best_single(rows)
    pairs: list[tuple[str, str, str]] = []
    if best is not None:
        pairs += [(r.model, best.model, best.title) for r in rows if r.fusion != "single"]
    steps = {_fusion_key(run.record): run.record.model for run in runs}
    pairs += [
        (model, steps[modalities, backbone, 1], "same, 1-step")
        for (modalities, backbone, step), model in steps.items()
        if step == 3 and (modalities, backbone, 1) in steps
    ]
    predictions = {
        model: {run.record.seed: run.predictions for run in of_model}
        for model, of_model in _group_by_model(runs).items()
    }
    titles = {row.model: row.title for row in rows}
    tested = [
        (titles[model], words, test)
        for model, against, words in pairs
        if (test := compare_pair(predictions[model], predictions[against])) is not None
    ]
    adjusted = holm([test.p_value for _, _, test in tested])
    return tuple(
        Comparison(title, against, test, p)
        for (title, against, test), p in zip(tested, adjusted, strict=True)
    )


def compare_pair(
    first: Mapping[int, Predictions], second: Mapping[int, Predictions]
) -> PairedTest | None:
    """Compares two models on the samples that both answered under the same seed.

    Args:
        first: Test predictions per seed.
        second: The same of the other model.

    Returns:
        None where they share no seed and sample.
    """
    right: tuple[list[bool], list[bool]] = ([], [])
    groups: list[tuple[str, str]] = []
    for seed in sorted(first.keys() & second.keys()):
        answers = dict(zip(second[seed].sample_ids, second[seed].correct, strict=True))
        own = zip(first[seed].sample_ids, first[seed].correct, _groups(first[seed]), strict=True)
        for sample_id, is_correct, group in own:
            if sample_id in answers:
                right[0].append(bool(is_correct))
                right[1].append(bool(answers[sample_id]))
                groups.append(group)
    if not groups:
        return None
    return permute_by_subject(np.array(right[0]), np.array(right[1]), groups, _RESAMPLING_SEED)


def render_results_markdown(rows: Sequence[ResultRow], *, paper_heading: str | None = None) -> str:
    """Writes the results table for a README.

    Args:
        rows: As `make_rows` gives them.
        paper_heading: Heading of the column with the paper's numbers, which should say how far
            they can be compared; None leaves the column out.
    """
    has_seeds = any(len(row.seeds) > 1 for row in rows)
    shows_paper = paper_heading is not None and any(row.paper_accuracy for row in rows)
    heading = ["model", "all seeds [95 % by subject]" if has_seeds else "test accuracy [95 %]"]
    heading += ["each seed"] * has_seeds + ["macro F1", "parameters"]
    heading += [paper_heading or ""] * shows_paper
    body = [
        [row.title, row.proportion]
        + [row.each_seed] * has_seeds
        + [f"{row.macro_f1:.3f}", format_millions(row.parameters)]
        + [format_percent(row.paper_accuracy)] * shows_paper
        for row in rows
    ]
    return _render_markdown(heading, body, left=1)


def render_comparisons_markdown(comparisons: Sequence[Comparison]) -> str:
    """Writes the paired comparisons for a README."""
    heading = ["model", "against", "only first right", "only second right", "points"]
    heading += ["p", "p adjusted", "finding"]
    body = [
        [
            comparison.title,
            comparison.against,
            str(comparison.test.only_a),
            str(comparison.test.only_b),
            format_points(comparison.test.difference),
            format_p(comparison.test.p_value),
            format_p(comparison.adjusted_p),
            comparison.verdict,
        ]
        for comparison in comparisons
    ]
    return _render_markdown(heading, body, left=2)


def format_percent(rate: float | None) -> str:
    """Writes a rate in per cent, nothing for None.

    >>> format_percent(0.8444)
    '84.4 %'
    """
    return "" if rate is None else f"{100 * rate:.1f} %"


def format_points(difference: float) -> str:
    """Writes a difference of rates in percentage points, with its sign.

    >>> format_points(-0.0111), format_points(0.0)
    ('-1.1', '0.0')
    """
    text = f"{100 * difference:+.1f}"
    return "0.0" if text[1:] == "0.0" else text


def format_millions(count: int) -> str:
    """Writes a number of parameters.

    >>> format_millions(11_309_125)
    '11.31 M'
    """
    return f"{count / 1e6:.2f} M"


def _format_count(correct: int, n: int, interval: Interval) -> str:
    low, high = 100 * interval.low, 100 * interval.high
    return f"{correct}/{n} = {100 * correct / n:.1f} % [{low:.1f}, {high:.1f}]"


def _group_by_model(runs: Sequence[RunReport]) -> dict[str, list[RunReport]]:
    by_model: dict[str, list[RunReport]] = {}
    for run in runs:
        by_model.setdefault(run.record.model, []).append(run)
    return by_model


def _make_row(runs: Sequence[RunReport], *, names_backbone: bool) -> ResultRow:
    records = [run.record for run in runs]
    first = records[0]
    if len(runs) == 1:
        interval = Interval(first.ci_low, first.ci_high)
    else:
        right = np.concatenate([run.predictions.correct for run in runs]).astype(np.float64)
        groups = [group for run in runs for group in _groups(run.predictions)]
        spread = bootstrap_by_subject(right, groups, _RESAMPLING_SEED)
        # With few people the bootstrap is too narrow, down to nothing. So many different samples
        # can't know the accuracy better than Wilson says.
        n_samples = len({i for run in runs for i in run.predictions.sample_ids})
        floor = wilson(round(float(right.mean()) * n_samples), n_samples)
        interval = Interval(min(spread.low, floor.low), max(spread.high, floor.high))
    return ResultRow(
        model=first.model,
        inputs=first.inputs,
        how=f"{first.how}, {first.backbone}" if names_backbone else first.how,
        fusion=first.fusion,
        seeds=tuple(record.seed for record in records),
        correct=tuple(record.correct for record in records),
        n_test=tuple(record.n_test for record in records),
        interval=interval,
        macro_f1=fmean(record.macro_f1 for record in records),
        parameters=first.parameters,
        seconds=fmean(record.seconds for record in records),
        paper_accuracy=first.paper_accuracy,
        val_accuracy=sum(run.val_correct for run in runs) / sum(run.val_n for run in runs),
    )


def _groups(predictions: Predictions) -> list[tuple[str, str]]:
    """Whom each answer is about: the subject, or the sample where nobody is named."""
    return [
        ("subject", subject) if subject is not None else ("sample", sample_id)
        for sample_id, subject in zip(predictions.sample_ids, predictions.subjects, strict=True)
    ]


def _fusion_key(record: RunRecord) -> tuple[str, str, int | None]:
    return record.modalities, record.backbone, record.steps


def _render_markdown(heading: list[str], body: list[list[str]], *, left: int) -> str:
    rule = ["---"] * left + ["---:"] * (len(heading) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heading, rule, *body)) + "\n"
