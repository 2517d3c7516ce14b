"""Results as counts with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from jaxtyping import Bool

from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import Interval, bootstrap_by_subject, wilson
from ferfusion.modality import Modality
from ferfusion.reporting.record import Fusion, make_record
from ferfusion.reporting.summary import RunReport

RESAMPLING_SEED = 0
"""A page made twice from the same files is the same page."""


@dataclass(frozen=True)
class ResultRow:
    """One model over all its seeds and folds.

    Attributes:
        model: Its `RunRecord.key`.
        variant: Which table it stands in.
        inputs: Modalities in words.
        how: Method and fusion in words; with the variant where a study has several that doesn't
            name itself.
        fusion: "single", "early" or "late".
        method: "network", "attention" or a baseline.
        backbone: Of every trunk.
        steps: 1 or 3 for early fusion.
        seeds: Each seed that was run.
        correct: Right answers of each seed, its folds pooled.
        n_test: Answers of each seed.
        points: Accuracy of every single test split: each seed, or each fold of each seed.
        interval: 95 %: Wilson's for one split, drawn by subject over several.
        macro_precision: Mean over classes, and over seeds.
        macro_recall: Likewise.
        macro_f1: Likewise.
        parameters: Weights of the whole model.
        seconds: Mean training time of a seed.
        paper_accuracy: What the paper reports, from 0 to 1.
        val_accuracy: On validation, pooled over seeds.
    """

    model: str
    variant: str
    inputs: str
    how: str
    fusion: Fusion
    method: str
    backbone: str
    steps: int | None
    seeds: tuple[int, ...]
    correct: tuple[int, ...]
    n_test: tuple[int, ...]
    points: tuple[float, ...]
    interval: Interval
    macro_precision: float
    macro_recall: float
    macro_f1: float
    parameters: int
    seconds: float
    paper_accuracy: float | None
    val_accuracy: float

    @property
    def title(self) -> str:
        """The model in words: "visible + MSX, early, 3-step", or only "visible"."""
        how = self.how.removeprefix("single").removeprefix(", ")
        return f"{self.inputs}, {how}" if how else self.inputs

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
    """Gathers the seeds and folds of each model, in the order in which models first occur."""
    several = len({run.record.variant for run in runs}) > 1
    return tuple(
        _make_row(of_model, names_variant=several)
        for of_model in group_by_model(pool_folds(runs)).values()
    )


def pool_folds(runs: Sequence[RunReport]) -> tuple[RunReport, ...]:
    """Puts the folds of each seed together: every sample is tested once by a model that never
    saw it.

    Runs without folds stay as they are. Temperatures and late fusion's weights were chosen in each
    fold apart, so they are applied before pooling.

    Raises:
        ValueError: Two folds of a seed tested the same sample.
    """  # noqa: D205
    grouped: dict[tuple[str, int], list[RunReport]] = {}
    for run in runs:
        grouped.setdefault((run.record.key, run.record.seed), []).append(run)
    return tuple(
        folds[0] if folds[0].record.fold is None else _pool(folds) for folds in grouped.values()
    )


def _pool(folds: Sequence[RunReport]) -> RunReport:
    first, parts = folds[0].record, [run.predictions for run in folds]
    predictions = Predictions(
        sample_ids=tuple(i for p in parts for i in p.sample_ids),
        subjects=tuple(s for p in parts for s in p.subjects),
        classes=parts[0].classes,
        labels=np.concatenate([p.labels for p in parts]),
        probs=np.concatenate([p.probs for p in parts]),
    )
    record = make_record(
        predictions,
        model=first.model,
        modalities=[Modality(m) for m in first.modalities.split("+")],
        fusion=first.fusion,
        steps=first.steps,
        method=first.method,
        variant=first.variant,
        backbone=first.backbone,
        split=first.split,
        seed=first.seed,
        parameters=first.parameters,
        seconds=sum(run.record.seconds for run in folds),
        paper_accuracy=first.paper_accuracy,
    )
    return RunReport(
        record=record,
        predictions=predictions,
        calibrated=np.concatenate([run.calibrated for run in folds]),
        temperatures=tuple(t for run in folds for t in run.temperatures),
        stages=tuple(stage for run in folds for stage in run.stages),
        val_correct=sum(run.val_correct for run in folds),
        val_n=sum(run.val_n for run in folds),
        late=tuple(choice for run in folds for choice in run.late),
        fold_correct=tuple(run.record.correct for run in folds),
        fold_n=tuple(run.record.n_test for run in folds),
        cost=next((run.cost for run in folds if run.cost is not None), None),
        profile=add_seconds([run.profile for run in folds]),
    )


def add_seconds(profiles: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Adds up seconds phase by phase.

    >>> add_seconds([{"data": 1.0}, {}, {"data": 0.5, "forward": 2.0}])
    {'data': 1.5, 'forward': 2.0}
    """
    phases = dict.fromkeys(phase for profile in profiles for phase in profile)
    return {phase: sum(profile.get(phase, 0.0) for profile in profiles) for phase in phases}


def find_best_single(rows: Sequence[ResultRow]) -> ResultRow | None:
    """Finds the single-modality network with the best validation accuracy; the first among equals.

    Never by test accuracy: the model that fusion must beat would be picked for its luck.
    """
    singles = [row for row in rows if row.fusion == "single" and row.method == "network"]
    return max(keep_complete(singles), key=lambda row: row.val_accuracy, default=None)


def keep_complete(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Keeps the models that answered most often: others lack folds or seeds that failed."""
    most = max((sum(row.n_test) for row in rows), default=0)
    return [row for row in rows if sum(row.n_test) == most]


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
    return render_markdown(heading, body, left=1)


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


def group_by_model(runs: Sequence[RunReport]) -> dict[str, list[RunReport]]:
    """Gathers runs by `RunRecord.key`, in the order in which models first occur."""
    by_model: dict[str, list[RunReport]] = {}
    for run in runs:
        by_model.setdefault(run.record.key, []).append(run)
    return by_model


def _make_row(runs: Sequence[RunReport], *, names_variant: bool) -> ResultRow:
    records = [run.record for run in runs]
    first = records[0]
    if len(runs) == 1 and not runs[0].fold_n:
        interval = Interval(first.ci_low, first.ci_high)
    else:
        interval = estimate_share(
            np.concatenate([run.predictions.correct for run in runs]),
            [group for run in runs for group in list_groups(run.predictions)],
            [i for run in runs for i in run.predictions.sample_ids],
        )
    return ResultRow(
        model=first.key,
        variant=first.variant,
        inputs=first.inputs,
        how=first.how
        if not names_variant or first.how.startswith((first.variant, "regions-svm"))
        else f"{first.how}, {first.variant}",
        fusion=first.fusion,
        method=first.method,
        backbone=first.backbone,
        steps=first.steps,
        seeds=tuple(record.seed for record in records),
        correct=tuple(record.correct for record in records),
        n_test=tuple(record.n_test for record in records),
        points=tuple(
            k / n
            for run in runs
            for k, n in zip(
                run.fold_correct or (run.record.correct,),
                run.fold_n or (run.record.n_test,),
                strict=True,
            )
        ),
        interval=interval,
        macro_precision=fmean(record.macro_precision for record in records),
        macro_recall=fmean(record.macro_recall for record in records),
        macro_f1=fmean(record.macro_f1 for record in records),
        parameters=first.parameters,
        seconds=fmean(record.seconds for record in records),
        paper_accuracy=first.paper_accuracy,
        val_accuracy=sum(run.val_correct for run in runs) / sum(run.val_n for run in runs),
    )


def estimate_share(
    right: Bool[np.ndarray, " answers"],
    groups: Sequence[tuple[str, str]],
    sample_ids: Sequence[str],
) -> Interval:
    """Gives the 95 % interval of a share of answers, drawing whole people anew.

    Args:
        right: Of all seeds and folds.
        groups: Whom each answer is about, as `list_groups` says.
        sample_ids: Which sample each answer is about.
    """
    values = right.astype(np.float64)
    spread = bootstrap_by_subject(values, groups, RESAMPLING_SEED)
    # With few people the bootstrap is too narrow, down to nothing. So many different samples
    # can't know the share better than Wilson says.
    n_samples = len(set(sample_ids))
    floor = wilson(round(float(values.mean()) * n_samples), n_samples)
    return Interval(min(spread.low, floor.low), max(spread.high, floor.high))


def list_groups(predictions: Predictions) -> list[tuple[str, str]]:
    """Whom each answer is about: the subject, or the sample where nobody is named."""
    return [
        ("subject", subject) if subject is not None else ("sample", sample_id)
        for sample_id, subject in zip(predictions.sample_ids, predictions.subjects, strict=True)
    ]


def render_markdown(heading: list[str], body: list[list[str]], *, left: int) -> str:
    """Writes a table; all but the first `left` columns are numbers."""
    rule = ["---"] * left + ["---:"] * (len(heading) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heading, rule, *body)) + "\n"
