"""The report of a study: one HTML file that needs nothing else, read by people."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import jinja2
import numpy as np
from jaxtyping import Float, Int

from ferfusion.atomic import write_text
from ferfusion.evaluation.breakdown import (
    SubjectBreakdown,
    SubjectScore,
    WrongAnswer,
    break_down_subjects,
    list_worst_errors,
)
from ferfusion.evaluation.statistics import Interval
from ferfusion.reporting.breakdown_figures import draw_class_recall, draw_subjects
from ferfusion.reporting.comparisons import BACKBONE, BASELINE, QUIRK, compare_models
from ferfusion.reporting.embedding import open_templates
from ferfusion.reporting.figures import draw_accuracies, draw_learning_curves
from ferfusion.reporting.files import list_files_beside
from ferfusion.reporting.fusion_surface import draw_fusion_surface
from ferfusion.reporting.headline import write_headline, write_quirks_headline
from ferfusion.reporting.reported import gather_recipes, tell_reported
from ferfusion.reporting.sections import (
    Table,
    find_collapsed,
    find_main,
    find_quirk_pair,
    gather_shared,
    group_comparisons,
    group_splits,
    leave_out_person,
    list_late,
    make_ablation,
    make_overview,
    make_tables,
    resolve_pair,
    tell_splits,
)
from ferfusion.reporting.summary import StudySummary
from ferfusion.reporting.tables import (
    ResultRow,
    add_seconds,
    format_millions,
    format_p,
    format_percent,
    format_points,
    make_rows,
    pool_folds,
)
from ferfusion.reporting.trust import (
    break_down_recall,
    count_confusions,
    examine,
    list_hardest_people,
    pool_seeds,
)
from ferfusion.reporting.trust_figures import draw_coverage, draw_reliability
from ferfusion.training.recipe import METHOD_NOTES, QUIRKS

_MOST_MODELS_SHOWN = 12


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
    runs = pool_folds(study.runs)
    rows, comparisons = make_rows(runs), compare_models(runs)
    tables = make_tables(rows, runs, study.variants)
    first = tables[0]
    # With full titles, as comparisons have them.
    first_rows = [row for row in rows if row.variant == first.name]
    collapsed = find_collapsed(study.runs)
    main = find_quirk_pair(rows, comparisons) or find_main(first.rows)
    trust = {model: examine(table.runs[model]) for table in tables for model in table.runs}
    n_classes = len(study.runs[0].predictions.classes)
    splits = {(run.record.seed, run.record.fold) for run in study.runs}
    html = (
        _open_templates()
        .get_template("report.html.j2")
        .render(
            study=study,
            tables=tables,
            headline=write_quirks_headline(rows, comparisons, collapsed)
            or write_headline(first_rows, comparisons),
            collapsed=collapsed,
            overview=make_overview(tables) if len(tables) > 1 else {},
            questions=[q for q in group_comparisons(rows, comparisons) if q.text != QUIRK],
            n_comparisons=len(comparisons),
            asks_backbone=BACKBONE,
            asks_baseline=BASELINE,
            methods={
                name: about
                for name, about in METHOD_NOTES.items()
                if any(row.method == name for row in rows)
            },
            ablation=make_ablation(tables, rows, comparisons),
            quirks=QUIRKS,
            resolution=resolve_pair(runs, *main) if main else None,
            main=main,
            without=leave_out_person(runs, *main) if main else None,
            trust=trust,
            classes=study.runs[0].predictions.classes,
            accuracies={t.name: _draw_accuracies(t, n_classes) for t in tables},
            confusions={t.name: make_confusion_tables(t) for t in tables},
            opens_all=len(tables) == 1 and len(first.rows) <= _MOST_MODELS_SHOWN,
            recall=_draw_recall(first),
            people=_show_people(first),
            coverage=draw_coverage(
                [(row, trust[row.model].curve) for row in first.chosen], n_classes
            ),
            reliability={
                row.model: draw_reliability(
                    row.title,
                    {
                        "as trained": trust[row.model].raw.bins,
                        "after temperature": trust[row.model].tempered.bins,
                    },
                )
                for row in first.chosen
            },
            late=list_late(study, first.rows),
            surfaces=_draw_surfaces(study, first),
            curves={t.name: _draw_curves(study, t, is_first=t is first) for t in tables},
            costs={
                model: next((run.cost for run in of_model if run.cost), None)
                for table in tables
                for model, of_model in table.runs.items()
            },
            profiles={t.name: _gather_profiles(t) for t in tables},
            seeds=sorted({seed for seed, _ in splits}),
            n_folds=len({fold for _, fold in splits if fold is not None}),
            shared=gather_shared(study.splits),
            split_groups=group_splits(study.splits),
            recipes=gather_recipes(tables, study.reported),
            beside=list_files_beside(path.parent),
        )
    )
    write_text(path, html)


def _gather_profiles(table: Table) -> dict[str, dict[str, float]]:
    """Gives key of a model -> seconds by phase over all its trainings, where measured."""
    profiles = {
        model: add_seconds([run.profile for run in of_model])
        for model, of_model in table.runs.items()
    }
    return {model: profile for model, profile in profiles.items() if profile}


def make_confusion_tables(table: Table) -> tuple[ConfusionTable, ...]:
    """Adds up the confusion matrices of each model's seeds and folds, in the table's order."""
    found: list[ConfusionTable] = []
    for row in table.rows:
        counts = count_confusions(table.runs[row.model])
        rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        classes = table.runs[row.model][0].predictions.classes
        found.append(ConfusionTable(row.model, classes, counts, rates))
    return tuple(found)


def format_duration(seconds: float) -> str:
    """Writes a training time as people say it.

    >>> format_duration(7.4), format_duration(312), format_duration(9000)
    ('7 s', '5.2 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_range(interval: Interval | None, scale: float = 100, digits: int = 1) -> str:
    """Writes an interval in brackets, in per cent unless told otherwise.

    One without width is no certainty: all people drawn are alike in it.

    >>> format_range(Interval(0.7, 0.905)), format_range(Interval(0.1, 0.2), 1, 3)
    ('[70.0, 90.5]', '[0.100, 0.200]')
    """
    if interval is None:
        return "[one person]"
    if interval.low == interval.high:
        return "[can't tell]"  # everybody is alike, so drawing people anew shows nothing
    return f"[{scale * interval.low:.{digits}f}, {scale * interval.high:.{digits}f}]"


@dataclass(frozen=True, eq=False)
class PeopleView:
    """Whom a model knows least, and where it was sure and wrong.

    Attributes:
        row: The model.
        strip: A figure of everybody; None where fewer than two people are named.
        told: The spread over people, in words.
        hardest: People with the lowest accuracy, with intervals.
        errors: Wrong answers, the surest first.
    """

    row: ResultRow
    strip: str | None
    told: str
    hardest: tuple[tuple[SubjectScore, Interval], ...]
    errors: tuple[WrongAnswer, ...]


def _show_people(table: Table) -> list[PeopleView]:
    views: list[PeopleView] = []
    for row in table.chosen:
        runs = table.runs[row.model]
        pooled = pool_seeds(runs)
        people = break_down_subjects(pooled)
        views.append(
            PeopleView(
                row,
                draw_subjects(row.title, people) if len(people.subjects) > 1 else None,
                _tell_spread(people),
                list_hardest_people(runs),
                list_worst_errors(pooled, 15),
            )
        )
    return views


def _tell_spread(people: SubjectBreakdown) -> str:
    rates = [person.accuracy for person in people.subjects]
    if not rates:
        return ""
    every, never = sum(rate == 1 for rate in rates), sum(rate == 0 for rate in rates)
    return (
        f"{len(rates)} people, from {100 * rates[0]:.0f} to {100 * rates[-1]:.0f} % right, median "
        f"{100 * median(rates):.0f} %; {every} always right, {never} never"
    )


def _draw_accuracies(table: Table, n_classes: int) -> str:
    shows_paper = any(row.paper_accuracy is not None for row in table.rows)
    return draw_accuracies(table.rows, n_classes, shows_paper=shows_paper)


def _draw_surfaces(study: StudySummary, table: Table) -> dict[str, str]:
    surfaces: dict[str, str] = {}
    for row, runs in list_late(study, table.rows):
        choices = [choice for run in runs for choice in run.late]
        if len(choices[0].modalities) in (2, 3):
            seeds = {run.record.seed for run in runs}
            has_folds = runs[0].record.fold is not None
            unit = "fold" if len(seeds) == 1 else "split" if has_folds else "seed"
            surfaces[row.model] = draw_fusion_surface(choices, unit=unit)
    return surfaces


def _draw_curves(study: StudySummary, table: Table, *, is_first: bool) -> dict[str, str]:
    shown = {row.model: row.title for row in (table.rows if is_first else table.chosen)}
    return draw_learning_curves([r for r in study.runs if r.record.key in shown], shown)


def _draw_recall(table: Table) -> str:
    shown = [row for row in table.rows if row.method == "network"] or table.rows
    return draw_class_recall([(row, break_down_recall(table.runs[row.model])) for row in shown])


def _open_templates() -> jinja2.Environment:
    environment = open_templates()
    environment.filters.update(
        percent=format_percent,
        points=format_points,
        p_value=format_p,
        millions=format_millions,
        duration=format_duration,
        range=format_range,
        splits=tell_splits,
        reported=tell_reported,
        sentence_case=lambda text: text[:1].upper() + text[1:],
    )
    return environment
