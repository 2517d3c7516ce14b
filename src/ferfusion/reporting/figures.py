"""Figures as SVG text that stands in a page or in a file of its own.

Text stays text. Colours are CSS variables with a fallback, so that a page may redefine them for
a dark screen; the fallbacks are told apart by colour-blind readers and in grey print.
"""

import io
import re
from collections.abc import Sequence
from html import escape
from itertools import accumulate
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ferfusion.reporting.summary import RunReport, StageHistory
from ferfusion.reporting.tables import ResultRow, find_best_single, format_percent

# What matplotlib draws -> what stands in the SVG.
_INK = "#23282e"
_FAINT = "#6f7780"
_RULE = "#d9dde1"
_PAPER = "#fefefe"
_FUSION_COLOURS = {"single": "#5d6670", "early": "#0b6aa8", "late": "#c2570c"}
_TRAIN, _VAL = "#8d959e", "#0b6aa9"
_VARIABLES = {
    _INK: "--ink",
    _FAINT: "--faint",
    _RULE: "--rule",
    _PAPER: "--paper",
    _FUSION_COLOURS["single"]: "--single",
    _FUSION_COLOURS["early"]: "--early",
    _FUSION_COLOURS["late"]: "--late",
    _TRAIN: "--train",
    _VAL: "--val",
}
_FUSION_MARKERS = {"single": "o", "early": "s", "late": "^"}
_PAPER_MARKER = "D"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ferfusion",
    "font.size": 9.0,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _FAINT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _FAINT,
    "ytick.labelcolor": _FAINT,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.linewidth": 0.8,
    "lines.solid_capstyle": "round",
}


def draw_accuracies(rows: Sequence[ResultRow], n_classes: int, *, shows_paper: bool) -> str:
    """Draws the test accuracy of every model with its interval, as SVG.

    A filled mark is the pooled accuracy, its line the 95 % interval; small ticks are single
    seeds; a hollow diamond is the paper's number. A dotted line marks chance, a dashed one the
    single model that validation prefers.

    Args:
        rows: From top to bottom.
        n_classes: For chance level.
        shows_paper: Whether the paper's numbers can be held against these at all.
    """
    with mpl.rc_context(_STYLE):
        height_in = 0.29 * len(rows) + 0.6
        figure = Figure(figsize=(8.6, height_in))
        axes = figure.add_axes((0.335, 0.32 / height_in, 0.645, (height_in - 0.6) / height_in))
        chance = 100 / n_classes
        ends = [100 * row.interval.low for row in rows] + [chance]
        tops = [100 * row.interval.high for row in rows]
        if shows_paper:
            ends += [100 * row.paper_accuracy for row in rows if row.paper_accuracy is not None]
            tops += [100 * row.paper_accuracy for row in rows if row.paper_accuracy is not None]
        axes.set_xlim(max(0.0, min(ends) - 2), min(100.5, max(tops) + 2))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.axvline(chance, color=_FAINT, linewidth=0.9, linestyle=(0, (1, 2)))
        _write_above(axes, chance, "chance")
        best = find_best_single(rows)
        if best is not None:
            x = 100 * best.accuracy
            axes.axvline(x, color=_FUSION_COLOURS["single"], linewidth=0.9, linestyle=(0, (5, 3)))
            _write_above(axes, x, "best single")
        for y, row in enumerate(rows):
            _draw_row(axes, y, row, shows_paper=shows_paper)
        axes.set_yticks(range(len(rows)), [_capitalise(row.title) for row in rows])
        axes.tick_params(axis="y", length=0, pad=8, labelsize=9, labelcolor=_INK)
        axes.tick_params(axis="x", length=0, pad=5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.grid(axis="x", color=_RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        said = ", ".join(f"{row.title} {format_percent(row.accuracy)}" for row in rows)
        return _to_svg(figure, f"Test accuracy of each model: {said}.")


def draw_learning_curves(runs: Sequence[RunReport], titles: dict[str, str]) -> dict[str, str]:
    """Draws the training of each model as one SVG: losses above, validation accuracy below.

    Seeds are separate thin lines, stages follow each other from left to right, and a dot marks
    the epoch that validation chose. Axes of all models have the same heights.

    Args:
        runs: Every run of the study; those without stages are left out.
        titles: Model name -> its name in words, for people who can't see the figure.

    Returns:
        Model name -> SVG, in the order in which models first occur.
    """
    by_model: dict[str, list[RunReport]] = {}
    for run in runs:
        if any(stage.epochs for stage in run.stages):
            by_model.setdefault(run.record.model, []).append(run)
    epochs = [e for run in runs for stage in run.stages for e in stage.epochs]
    if not epochs:
        return {}
    # One early explosion of a loss must not flatten every other curve.
    losses = sorted(loss for e in epochs for loss in (e.train_loss, e.val_loss))
    loss_top = 1.05 * losses[min(len(losses) - 1, int(0.99 * len(losses)))]
    accuracies = [100 * e.val_accuracy for e in epochs]
    accuracy_limits = (max(0.0, min(accuracies) - 4), min(102.0, max(accuracies) + 6))
    with mpl.rc_context(_STYLE):
        return {
            model: _draw_training(
                [run.stages for run in of_model],
                (0.0, loss_top),
                accuracy_limits,
                f"Learning curves of {titles[model]}.",
            )
            for model, of_model in by_model.items()
        }


def _draw_row(axes: Axes, y: int, row: ResultRow, *, shows_paper: bool) -> None:
    colour = _FUSION_COLOURS[row.fusion]
    axes.plot(
        [100 * row.interval.low, 100 * row.interval.high],
        [y, y],
        color=colour,
        linewidth=1.6,
        alpha=0.55,
    )
    if len(row.seeds) > 1:
        each = [100 * k / n for k, n in zip(row.correct, row.n_test, strict=True)]
        axes.plot(
            each, [y] * len(each), linestyle="none", marker="|", markersize=9, color=colour, mew=1.1
        )
    axes.plot(
        100 * row.accuracy,
        y,
        marker=_FUSION_MARKERS[row.fusion],
        markersize=6.5,
        color=colour,
        mec=_PAPER,
        mew=0.8,
    )
    if shows_paper and row.paper_accuracy is not None:
        axes.plot(
            100 * row.paper_accuracy,
            y,
            marker=_PAPER_MARKER,
            markersize=6,
            mfc="none",
            mec=_INK,
            mew=1.1,
        )


def _write_above(axes: Axes, x: float, text: str) -> None:
    axes.annotate(
        text,
        (x, 1),
        (0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=_FAINT,
    )


def _draw_training(
    seeds: Sequence[Sequence[StageHistory]],
    loss_limits: tuple[float, float],
    accuracy_limits: tuple[float, float],
    said: str,
) -> str:
    figure = Figure(figsize=(3.4, 2.6))
    above = figure.add_axes((0.125, 0.57, 0.86, 0.34))
    below = figure.add_axes((0.125, 0.1, 0.86, 0.38), sharex=above)
    n_stages = max(len(stages) for stages in seeds)
    # Seeds may stop early at different epochs: a stage is as wide as its longest training.
    widths = [
        max((len(stages[i].epochs) for stages in seeds if i < len(stages)), default=0)
        for i in range(n_stages)
    ]
    starts = [0, *accumulate(widths)]
    thin = 1.3 if len(seeds) == 1 else 0.9
    for stages in seeds:
        for start, stage in zip(starts, stages, strict=False):
            x = [start + i for i in range(1, len(stage.epochs) + 1)]
            above.plot(x, [e.train_loss for e in stage.epochs], color=_TRAIN, linewidth=thin)
            above.plot(x, [e.val_loss for e in stage.epochs], color=_VAL, linewidth=thin)
            accuracies = [100 * e.val_accuracy for e in stage.epochs]
            below.plot(x, accuracies, color=_VAL, linewidth=thin)
            chosen = [i for i, e in enumerate(stage.epochs) if e.epoch == stage.best_epoch]
            below.plot(
                [x[i] for i in chosen],
                [accuracies[i] for i in chosen],
                linestyle="none",
                marker="o",
                markersize=4.5,
                color=_VAL,
                mec=_PAPER,
                mew=0.7,
                zorder=4,
            )
    names = max(seeds, key=len)
    for start, width, stage in zip(starts, widths, names, strict=False):
        above.annotate(
            stage.name,
            ((start + start + width + 1) / 2, 1),
            (0, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=_FAINT,
        )
    for axes in (above, below):
        for start in starts[1:-1]:
            axes.axvline(start + 0.5, color=_FAINT, linewidth=0.7, linestyle=(0, (2, 2)))
        axes.grid(axis="y", color=_RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        axes.yaxis.set_major_locator(MaxNLocator(3))
    above.set_ylim(*loss_limits)
    below.set_ylim(*accuracy_limits)
    below.set_xlim(0.5, starts[-1] + 0.5)
    below.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    above.tick_params(labelbottom=False)
    return _to_svg(figure, said)


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _to_svg(figure: Figure, said: str) -> str:
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(
        buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Ids that nothing refers to would occur again in the next figure of the page.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(said)}" ', 1)
