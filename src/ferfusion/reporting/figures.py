"""The figures of a comparison: how often each model is right, and how each was trained."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ferfusion.reporting.drawing import (
    FAINT,
    FUSION_COLOURS,
    FUSION_MARKERS,
    INK,
    PAPER,
    RULE,
    TRAIN,
    VAL,
    capitalise,
    measure_text,
    stack_dots,
    strip_axes,
    to_svg,
    use_style,
    wrap_text,
    write_above,
)
from ferfusion.reporting.summary import RunReport, StageHistory
from ferfusion.reporting.tables import ResultRow, find_best_single

_PAPER_MARKER = "D"
# Longer titles of models are broken into lines.
_TITLE_WIDTH_PT = 235


def draw_accuracies(rows: Sequence[ResultRow], n_classes: int, *, shows_paper: bool) -> str:
    """Draws the test accuracy of every model with its interval, as SVG.

    A filled mark is the pooled accuracy, its line the 95 % interval; the small dots below it are
    the single seeds and folds; a hollow diamond is the paper's number. A dotted line marks chance,
    a dashed one the single model that validation prefers.

    Args:
        rows: From top to bottom.
        n_classes: For chance level.
        shows_paper: Whether the paper's numbers can be held against these at all.
    """
    with use_style():
        titles = [wrap_text(capitalise(row.title), _TITLE_WIDTH_PT, 9) for row in rows]
        left_pt = 18 + max(measure_text(line, 9) for title in titles for line in title.split("\n"))
        has_dots = any(len(row.points) > 1 for row in rows)
        is_wrapped = any("\n" in title for title in titles)
        pitch_pt = 30 if has_dots else 28 if is_wrapped else 21
        width_pt, height_pt = 620, pitch_pt * len(rows) + 43
        axes_pt = width_pt - left_pt - 14
        figure = Figure(figsize=(width_pt / 72, height_pt / 72))
        axes = figure.add_axes(
            (left_pt / width_pt, 23 / height_pt, axes_pt / width_pt, 1 - 43 / height_pt)
        )
        chance = 100 / n_classes
        shown = [chance]
        for row in rows:
            shown += [100 * rate for rate in (row.interval.low, row.interval.high, *row.points)]
            if shows_paper and row.paper_accuracy is not None:
                shown.append(100 * row.paper_accuracy)
        low, high = max(-1.0, min(shown) - 2), min(101.0, max(shown) + 2)
        axes.set_xlim(low, high)
        axes.set_ylim(len(rows) - (0.25 if has_dots else 0.4), -0.6)
        best = find_best_single(rows)
        # Where the two lines are near each other their words go to both sides.
        align = ("center", "center")
        if best is not None and abs(100 * best.accuracy - chance) / (high - low) * axes_pt < 60:
            align = ("right", "left") if 100 * best.accuracy >= chance else ("left", "right")
        axes.axvline(chance, color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)))
        write_above(axes, chance, "chance", align=align[0])
        if best is not None:
            x = 100 * best.accuracy
            axes.axvline(x, color=FUSION_COLOURS["single"], linewidth=0.9, linestyle=(0, (5, 3)))
            write_above(axes, x, "best single", align=align[1])
        for y, row in enumerate(rows):
            _draw_row(axes, y, row, shows_paper=shows_paper)
            if len(row.points) > 1:
                _draw_each(axes, y, row, axes_pt / (high - low), pitch_pt)
        axes.set_yticks(range(len(rows)), titles)
        axes.tick_params(axis="y", pad=8, labelsize=9, labelcolor=INK)
        axes.tick_params(axis="x", pad=5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        strip_axes(axes)
        said = "; ".join(f"{row.title} {row.proportion}" for row in rows)
        return to_svg(figure, f"Test accuracy of each model: {said}.")


def draw_learning_curves(runs: Sequence[RunReport], titles: dict[str, str]) -> dict[str, str]:
    """Draws the training of each model as one SVG: losses above, validation accuracy below.

    Seeds are separate thin lines, stages follow each other from left to right, and a dot marks
    the epoch that validation chose. Axes of all models have the same heights.

    Args:
        runs: Every run of the study; those without stages are left out.
        titles: `RunRecord.key` -> its name in words, for people who can't see the figure.

    Returns:
        `RunRecord.key` -> SVG, in the order in which models first occur.
    """
    by_model: dict[str, list[RunReport]] = {}
    for run in runs:
        if any(stage.epochs for stage in run.stages):
            by_model.setdefault(run.record.key, []).append(run)
    epochs = [e for run in runs for stage in run.stages for e in stage.epochs]
    if not epochs:
        return {}
    # One early explosion of a loss must not flatten every other curve.
    losses = sorted(loss for e in epochs for loss in (e.train_loss, e.val_loss))
    loss_top = 1.05 * losses[min(len(losses) - 1, int(0.99 * len(losses)))]
    accuracies = [100 * e.val_accuracy for e in epochs]
    accuracy_limits = (max(0.0, min(accuracies) - 4), min(102.0, max(accuracies) + 6))
    with use_style():
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
    colour = FUSION_COLOURS[row.fusion]
    axes.plot(
        [100 * row.interval.low, 100 * row.interval.high],
        [y, y],
        color=colour,
        linewidth=1.6,
        alpha=0.55,
    )
    axes.plot(
        100 * row.accuracy,
        y,
        marker=FUSION_MARKERS[row.fusion],
        markersize=6.5,
        color=colour,
        mec=PAPER,
        mew=0.8,
    )
    if shows_paper and row.paper_accuracy is not None:
        axes.plot(
            100 * row.paper_accuracy,
            y,
            marker=_PAPER_MARKER,
            markersize=6,
            mfc="none",
            mec=INK,
            mew=1.1,
        )


def _draw_each(axes: Axes, y: int, row: ResultRow, pt_per_percent: float, pitch_pt: int) -> None:
    """Draws a dot for each seed and fold below the row's own mark; equal ones on each other."""
    each = [100 * rate for rate in row.points]
    levels = stack_dots([percent * pt_per_percent for percent in each], 4.4)
    step_pt = min(4.4, 12 / max(1, max(levels)))
    axes.plot(
        each,
        [y + (8.5 + step_pt * level) / pitch_pt for level in levels],
        linestyle="none",
        marker="o",
        markersize=4.2,
        color=FUSION_COLOURS[row.fusion],
        alpha=0.85,
        mec=PAPER,
        mew=0.5,
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
            # A line of one point can't be seen.
            dot = "o" if len(x) == 1 else None
            for losses, colour in (
                ([e.train_loss for e in stage.epochs], TRAIN),
                ([e.val_loss for e in stage.epochs], VAL),
            ):
                above.plot(x, losses, color=colour, linewidth=thin, marker=dot, markersize=3)
            accuracies = [100 * e.val_accuracy for e in stage.epochs]
            below.plot(x, accuracies, color=VAL, linewidth=thin)
            chosen = [i for i, e in enumerate(stage.epochs) if e.epoch == stage.best_epoch]
            below.plot(
                [x[i] for i in chosen],
                [accuracies[i] for i in chosen],
                linestyle="none",
                marker="o",
                markersize=4.5,
                color=VAL,
                mec=PAPER,
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
            color=FAINT,
        )
    for axes in (above, below):
        for start in starts[1:-1]:
            axes.axvline(start + 0.5, color=FAINT, linewidth=0.7, linestyle=(0, (2, 2)))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        axes.yaxis.set_major_locator(MaxNLocator(3))
    above.set_ylim(*loss_limits)
    below.set_ylim(*accuracy_limits)
    below.set_xlim(0.5, starts[-1] + 0.5)
    below.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    above.tick_params(labelbottom=False)
    return to_svg(figure, said)
