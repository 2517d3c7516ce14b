"""The figures of a study as files, for papers and slides."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ferfusion.atomic import write_text
from ferfusion.reporting.confusion_figure import save_confusion
from ferfusion.reporting.figures import draw_accuracies, draw_learning_curves
from ferfusion.reporting.fusion_surface import draw_fusion_surface
from ferfusion.reporting.summary import RunReport, StudySummary
from ferfusion.reporting.tables import group_by_model, make_rows, pool_folds
from ferfusion.reporting.trust import count_confusions


def write_figures(study: StudySummary, folder: Path, advance: Callable[[int, int], None]) -> None:
    """Writes the figures of a study's tables, seeds and folds together.

    accuracies.svg; for each model confusion-MODEL.png and .pdf; curves-MODEL.svg where something
    was trained; weights-MODEL.svg for late fusion. Those of later tables lie in folders with their
    names. None shows a face.

    Args:
        study: With at least one run.
        folder: Made if need be; figures of an earlier call are replaced.
        advance: Told of progress.
    """
    variants = list(dict.fromkeys(run.record.variant for run in study.runs))
    total, done = len({run.record.key for run in study.runs}), 0
    for variant in variants:
        runs = [run for run in study.runs if run.record.variant == variant]
        for _ in _write_table(runs, folder if variant == variants[0] else folder / variant):
            done += 1
            advance(done, total)


def _write_table(runs: Sequence[RunReport], folder: Path) -> Iterator[None]:
    """Writes the figures of one table, and stops after each model."""
    pooled, rows = group_by_model(pool_folds(runs)), make_rows(runs)
    classes = runs[0].predictions.classes
    shows_paper = any(row.paper_accuracy is not None for row in rows)
    write_text(
        folder / "accuracies.svg", draw_accuracies(rows, len(classes), shows_paper=shows_paper)
    )
    curves = draw_learning_curves(runs, {row.model: row.title for row in rows})
    for row in rows:
        name = row.model.rpartition("/")[2]
        of_model = pooled[row.model]
        for ending in ("png", "pdf"):
            path = folder / f"confusion-{name}.{ending}"
            save_confusion(count_confusions(of_model), classes, row.title, path)
        if row.model in curves:
            write_text(folder / f"curves-{name}.svg", curves[row.model])
        choices = [choice for run in of_model for choice in run.late]
        if choices:
            unit = "fold" if of_model[0].fold_n else "seed"
            write_text(folder / f"weights-{name}.svg", draw_fusion_surface(choices, unit=unit))
        yield
