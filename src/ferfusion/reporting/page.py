"""The report of a study: one HTML file that needs nothing else, read by people."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from jaxtyping import Float, Int

from ferfusion.atomic import write_text
from ferfusion.evaluation.metrics import confusion_matrix
from ferfusion.reporting.figures import draw_accuracies, draw_learning_curves
from ferfusion.reporting.summary import RunReport, StudySummary
from ferfusion.reporting.tables import (
    Comparison,
    ResultRow,
    compare_models,
    find_best_single,
    format_millions,
    format_p,
    format_percent,
    format_points,
    make_rows,
)


@dataclass(frozen=True)
class ConfusionTable:
    """A confusion matrix over all seeds of a model; rows are the true classes."""

    model: str
    classes: tuple[str, ...]
    counts: Int[np.ndarray, "true predicted"]
    rates: Float[np.ndarray, "true predicted"]


def write_report(study: StudySummary, path: Path) -> None:
    """Writes the page of a study: no script, no picture of a face, nothing fetched.

    Raises:
        ValueError: The study has no run.
    """
    if not study.runs:
        raise ValueError("A study without a finished run has nothing to report.")
    rows = make_rows(study.runs)
    comparisons = compare_models(study.runs)
    by_model = {row.model: row for row in rows}
    shows_paper = any(row.paper_accuracy is not None for row in rows)
    n_classes = len(study.runs[0].predictions.classes)
    curves = draw_learning_curves(study.runs, {model: row.title for model, row in by_model.items()})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ferfusion", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=format_percent,
        points=format_points,
        p_value=format_p,
        millions=format_millions,
        duration=format_duration,
        sentence_case=lambda text: text[:1].upper() + text[1:],
    )
    html = environment.get_template("report.html.j2").render(
        study=study,
        rows=rows,
        comparisons=comparisons,
        headline=write_headline(rows, comparisons),
        best_single=find_best_single(rows),
        shows_paper=shows_paper,
        seeds=sorted({run.record.seed for run in study.runs}),
        confusions=make_confusion_tables(study.runs),
        accuracies=draw_accuracies(rows, n_classes, shows_paper=shows_paper),
        curves=curves,
        late_runs=[
            (row, [r for r in study.runs if r.record.model == row.model and r.late_weights])
            for row in rows
            if row.fusion == "late"
        ],
        by_model=by_model,
        shared=sorted({s for split in study.splits for s in split.shared_subjects}),
        n_test=min(n for row in rows for n in row.n_test),
        n_classes=n_classes,
    )
    write_text(path, html)


@dataclass(frozen=True)
class Headline:
    """What was found, in one plain sentence, and what it rests on."""

    finding: str
    support: str


def write_headline(rows: Sequence[ResultRow], comparisons: Sequence[Comparison]) -> Headline:
    """Says what was found, and no more than the tests support.

    The fused model that is named is the one that validation prefers, like the single one that
    it is held against.
    """
    best = find_best_single(rows)
    fused = max(
        (row for row in rows if row.fusion != "single"),
        key=lambda row: row.val_accuracy,
        default=None,
    )
    if fused is None or best is None:
        alone = fused or best or rows[0]
        others = "fused model" if fused is None else "single model"
        return Headline(
            f"{_describe(alone)} gets {_count(alone)}.",
            f"It did best on validation. No {others} was trained to hold it against.",
        )
    of_n = "" if sum(best.n_test) == sum(fused.n_test) else f" of {sum(best.n_test)}"
    numbers = (
        f"{_describe(fused)} gets {_count(fused)}, {best.inputs} alone "
        f"{sum(best.correct)}{of_n} ({format_percent(best.accuracy)})."
    )
    against_best = [c for c in comparisons if c.against == best.title]
    own = next((c for c in against_best if c.title == fused.title), None)
    if own is None:
        return Headline(numbers, "They were not tested on the same samples: no test compares them.")
    if own.verdict == "no difference shown":
        finding = "Fusion is not shown to differ from the single model that validation prefers"
    else:
        finding = f"Fusion is {own.verdict} than the single model that validation prefers"
    support = (
        "Both models were chosen on validation. Paired test on the same faces: "
        f"{format_points(own.test.difference)} points, adjusted p {_p_equals(own)}."
    )
    if len(against_best) > 1:
        better = sum(c.verdict == "better" for c in against_best)
        worse = sum(c.verdict == "worse" for c in against_best)
        support += (
            f" Of {len(against_best)} fused models, {better or 'none'} "
            f"{'is' if better < 2 else 'are'} shown to be better than that single model, "
            f"{worse or 'none'} worse."
        )
    return Headline(f"{finding}: {numbers}", support)


def make_confusion_tables(runs: Sequence[RunReport]) -> tuple[ConfusionTable, ...]:
    """Adds up the confusion matrices of each model's seeds, models in order of occurrence."""
    counts: dict[str, np.ndarray] = {}
    classes: dict[str, tuple[str, ...]] = {}
    for run in runs:
        predictions = run.predictions
        model = run.record.model
        matrix = confusion_matrix(
            predictions.labels, predictions.predicted, len(predictions.classes)
        )
        if classes.setdefault(model, predictions.classes) != predictions.classes:
            raise ValueError(f"The seeds of {model} don't have the same classes.")
        counts[model] = counts.get(model, 0) + matrix
    return tuple(
        ConfusionTable(
            model,
            classes[model],
            matrix,
            matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1),
        )
        for model, matrix in counts.items()
    )


def format_duration(seconds: float) -> str:
    """Writes a training time as people say it.

    >>> format_duration(7.4), format_duration(312), format_duration(9000)
    ('7 s', '5.2 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _describe(row: ResultRow) -> str:
    return row.inputs if row.how == "single" else f"{row.inputs} ({row.how})"


def _count(row: ResultRow) -> str:
    correct, n = sum(row.correct), sum(row.n_test)
    return f"{correct} of {n} test faces right ({format_percent(row.accuracy)})"


def _p_equals(comparison: Comparison) -> str:
    text = format_p(comparison.adjusted_p)
    return text if text.startswith("<") else f"= {text}"
