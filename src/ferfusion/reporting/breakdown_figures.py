"""Where a model is right: about whom, and in which class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ferfusion.evaluation.breakdown import ClassBreakdown, SubjectBreakdown
from ferfusion.reporting.drawing import (
    FAINT,
    FUSION_COLOURS,
    FUSION_MARKERS,
    INK,
    PAPER,
    PERCENT,
    RULE,
    VAL,
    capitalise,
    measure_text,
    shorten_text,
    strip_axes,
    to_svg,
    use_style,
    wrap_text,
    write_above,
    write_below,
)
from ferfusion.reporting.tables import ResultRow, format_percent


def draw_subjects(title: str, breakdown: SubjectBreakdown) -> str:
    """Draws the accuracy on every person, from the lowest to the highest, as SVG.

    A dot is a person, its area the number of samples; a dashed line is the accuracy on all of
    them together. Names are written where there are at most 30.

    Args:
        title: Of the model.
        breakdown: With at least one person.

    Raises:
        ValueError: Nobody is named.
    """
    people = breakdown.subjects
    if not people:
        raise ValueError("Where nobody is named there are no people to draw.")
    names = [shorten_text(person.subject, 60, 7) for person in people]
    is_named = len(people) <= 30
    below_pt = 26 + max(measure_text(name, 7) for name in names) if is_named else 24
    width_pt, plot_pt, above_pt = 620, 110, 16
    height_pt = below_pt + plot_pt + above_pt
    most = max(person.n for person in people)
    right, n = sum(person.correct for person in people), sum(person.n for person in people)
    with use_style():
        figure = Figure(figsize=(width_pt / 72, height_pt / 72))
        axes = figure.add_axes(
            (40 / width_pt, below_pt / height_pt, 1 - 56 / width_pt, plot_pt / height_pt)
        )
        biggest_pt = min(11.0, 0.95 * (width_pt - 56) / len(people) + 3)
        axes.axhline(100 * right / n, color=FAINT, linewidth=0.9, linestyle=(0, (5, 3)))
        axes.scatter(
            range(len(people)),
            [100 * person.accuracy for person in people],
            # Somebody with very many faces must not make all others too small to be seen.
            s=[max(4.0, biggest_pt**2 * person.n / most) for person in people],
            color=VAL,
            alpha=0.75,
            edgecolors=PAPER,
            linewidths=0.6,
            clip_on=False,
            zorder=3,
        )
        axes.set_ylim(-6, 106)
        axes.set_xlim(-0.8, len(people) - 0.2)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.yaxis.set_major_formatter(PERCENT)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        if is_named:
            axes.set_xticks(range(len(people)), names)
            # Turned text keeps its place in a browser only if it is anchored where it begins.
            for label in axes.get_xticklabels():
                label.set(rotation=90, rotation_mode="anchor", ha="right", va="center", size=7)
        else:
            axes.set_xticks([])
        strip_axes(axes)
        axes.annotate(
            f"all {right}/{n} = {format_percent(right / n)}",
            (0, 100 * right / n),
            (0, 7),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=8,
            color=FAINT,
        )
        smallest = min(person.n for person in people)
        sizes = f"{most}" if smallest == most else f"{smallest} to {most}"
        write_below(
            figure, 40 / width_pt, f"{len(people)} people, {sizes} faces each (area of a dot)"
        )
        none = sum(person.correct == 0 for person in people)
        every = sum(person.correct == person.n for person in people)
        said = (
            f"Accuracy of {title} for each of {len(people)} people: from "
            f"{format_percent(people[0].accuracy)} to {format_percent(people[-1].accuracy)}, "
            f"median {format_percent(float(np.median([p.accuracy for p in people])))}; "
            f"{every} with all faces right, {none} with none; "
            f"all faces together {right} of {n}."
        )
        return to_svg(figure, said)


def draw_class_recall(models: Sequence[tuple[ResultRow, Sequence[ClassBreakdown]]]) -> str:
    """Draws how many samples of each class every model finds, with Wilson intervals, as SVG.

    Classes stand side by side, models below each other, with the counts.

    Args:
        models: From top to bottom, all with the same classes.

    Raises:
        ValueError: There is no model, or classes differ.
    """
    names = [c.name for c in models[0][1]] if models else []
    if not names or any([c.name for c in classes] != names for _, classes in models):
        raise ValueError("Recall is drawn for models that have the same classes.")
    titles = [wrap_text(capitalise(row.title), 190, 8.5) for row, _ in models]
    title_pt = 12 + max(measure_text(line, 8.5) for title in titles for line in title.split("\n"))
    counts = [[f"{c.correct}/{c.n}" for c in classes] for _, classes in models]
    count_pt = max(measure_text(text, 7) for row in counts for text in row)
    width_pt = max(620.0, title_pt + len(names) * (46 + count_pt + 20))
    panel_pt = (width_pt - title_pt - 2) / len(names) - count_pt - 20
    pitch_pt = 24 if any("\n" in title for title in titles) else 18
    plot_pt = pitch_pt * len(models)
    height_pt = plot_pt + 42
    with use_style():
        figure = Figure(figsize=(width_pt / 72, height_pt / 72))
        for k, name in enumerate(names):
            left_pt = title_pt + k * (panel_pt + count_pt + 20)
            axes = figure.add_axes(
                (left_pt / width_pt, 22 / height_pt, panel_pt / width_pt, plot_pt / height_pt)
            )
            axes.set_xlim(-4, 104)
            axes.set_ylim(len(models) - 0.5, -0.5)
            for y, (row, classes) in enumerate(models):
                _draw_recall(axes, y, row, classes[k])
                axes.annotate(
                    counts[y][k],
                    (1, y),
                    (5 + count_pt, 0),
                    xycoords=("axes fraction", "data"),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    fontsize=7,
                    color=FAINT,
                )
            write_above(axes, 50, shorten_text(name, panel_pt + count_pt, 8))
            axes.set_xticks([0, 50, 100])
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
            axes.set_yticks(range(len(models)), titles if k == 0 else [""] * len(models))
            axes.grid(axis="x", color=RULE, linewidth=0.6)
            strip_axes(axes)
            axes.tick_params(axis="y", pad=6, labelsize=8.5, labelcolor=INK)
            axes.tick_params(axis="x", pad=3, labelsize=7)
        said = "; ".join(
            f"{row.title}: " + ", ".join(f"{c.name} {c.correct} of {c.n}" for c in classes)
            for row, classes in models
        )
        return to_svg(figure, f"Recall of each class. {said}.")


def _draw_recall(axes: Axes, y: int, row: ResultRow, scores: ClassBreakdown) -> None:
    if scores.recall_interval is None:
        return
    colour = FUSION_COLOURS[row.fusion]
    ends = [100 * scores.recall_interval.low, 100 * scores.recall_interval.high]
    axes.plot(ends, [y, y], color=colour, linewidth=1.4, alpha=0.55)
    axes.plot(
        100 * scores.recall,
        y,
        FUSION_MARKERS[row.fusion],
        color=colour,
        ms=5.5,
        mec=PAPER,
        mew=0.7,
    )
