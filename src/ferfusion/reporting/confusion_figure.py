"""What is taken for what, as a figure for a page or a paper."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ferfusion.reporting.drawing import (
    FAINT,
    HEAT,
    HOT,
    INK,
    ON_HEAT,
    measure_text,
    save_figure,
    shorten_text,
    to_svg,
    use_style,
)


def draw_confusion(
    counts: Int[np.ndarray, "true predicted"], classes: Sequence[str], title: str
) -> str:
    """Draws a confusion matrix with counts and with the share of each true class, as SVG.

    Args:
        counts: Samples by true class (rows) and predicted class (columns).
        classes: Names, in the order of rows and columns.
        title: Of the model, for people who can't see the figure.

    Raises:
        ValueError: There is not one name for each row and column.

    Source:
        Naseem et al. 2024, Figs 8 to 12.
    """
    with use_style():
        return to_svg(_make_figure(counts, classes), _describe(counts, classes, title))


def save_confusion(
    counts: Int[np.ndarray, "true predicted"], classes: Sequence[str], title: str, path: Path
) -> None:
    """Writes the figure of `draw_confusion` to a file for a paper: .svg, .pdf or .png.

    Five classes are as wide as one column of a journal.

    Raises:
        ValueError: There is not one name for each row and column.
        ConfigError: The path has another ending.
    """
    with use_style():
        save_figure(_make_figure(counts, classes), _describe(counts, classes, title), path)


def _make_figure(counts: Int[np.ndarray, "true predicted"], classes: Sequence[str]) -> Figure:
    n = len(classes)
    if counts.shape != (n, n) or n == 0:
        raise ValueError(f"{n} names don't fit a matrix of {' by '.join(map(str, counts.shape))}.")
    cell_pt = 34.0 if n <= 6 else 28.0
    names = [shorten_text(name, 90, 8) for name in classes]
    name_pt = max(measure_text(name, 8) for name in names)
    totals = counts.sum(axis=1)
    total_pt = 8 + max(measure_text(f"{total}", 8) for total in totals)
    is_turned = name_pt > cell_pt - 1
    left_pt, above_pt = 18 + name_pt + 6, 20 + (name_pt if is_turned else 9) + 4
    width_pt, height_pt = left_pt + n * cell_pt + total_pt + 4, above_pt + n * cell_pt + 3
    figure = Figure(figsize=(width_pt / 72, height_pt / 72))
    axes = figure.add_axes(
        (left_pt / width_pt, 3 / height_pt, n * cell_pt / width_pt, n * cell_pt / height_pt)
    )
    axes.set_xlim(0, n)
    axes.set_ylim(n, 0)
    axes.set_axis_off()
    for i in range(n):
        for j in range(n):
            rate = counts[i, j] / max(1, totals[i])
            # A trace of colour shows where the matrix is, also where it is empty.
            heat = 0.05 + 0.87 * rate
            axes.add_patch(
                Rectangle((j + 0.025, i + 0.025), 0.95, 0.95, fc=HEAT, ec="none", alpha=heat)
            )
            colour = ON_HEAT if heat > HOT else INK if counts[i, j] else FAINT
            middle = (j + 0.5, i + (0.37 if counts[i, j] else 0.5))
            axes.text(
                *middle,
                f"{counts[i, j]}",
                ha="center",
                va="center",
                fontsize=9,
                color=colour,
                weight="bold" if i == j else "normal",
            )
            if counts[i, j]:
                axes.text(
                    j + 0.5,
                    i + 0.72,
                    f"{100 * rate:.0f} %" if rate >= 0.005 else "< 1 %",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color=colour,
                )
    across, down = axes.get_xaxis_transform(), axes.get_yaxis_transform()
    up = 1 / (n * cell_pt)
    for i, name in enumerate(names):
        axes.text(
            -6 * up,
            i + 0.5,
            name,
            transform=down,
            ha="right",
            va="center",
            fontsize=8,
            color=INK,
        )
        axes.text(
            1 + (total_pt - 2) * up,
            i + 0.5,
            f"{totals[i]}",
            transform=down,
            ha="right",
            va="center",
            fontsize=8,
            color=FAINT,
        )
        axes.text(
            i + 0.5,
            1 + 5 * up,
            name,
            transform=across,
            ha="left" if is_turned else "center",
            va="center" if is_turned else "baseline",
            rotation=90 if is_turned else 0,
            rotation_mode="anchor",
            fontsize=8,
            color=INK,
        )
    top = 1 + (above_pt - 11) * up
    axes.text(0, top, "predicted", transform=axes.transAxes, fontsize=8, color=FAINT)
    axes.text(
        -(left_pt - 10) * up,
        1,
        "true",
        transform=axes.transAxes,
        ha="right",
        rotation=90,
        rotation_mode="anchor",
        fontsize=8,
        color=FAINT,
    )
    return figure


def _describe(counts: Int[np.ndarray, "true predicted"], classes: Sequence[str], title: str) -> str:
    parts: list[str] = []
    for i, name in enumerate(classes):
        taken_for = ", ".join(
            f"{counts[i, j]} taken for {other}"
            for j, other in enumerate(classes)
            if i != j and counts[i, j]
        )
        own = f"of {counts[i].sum()} {name} {counts[i, i]} right"
        parts.append(f"{own}, {taken_for}" if taken_for else own)
    right, n = np.trace(counts), counts.sum()
    return f"Confusion matrix of {title}, {right} of {n} right: {'; '.join(parts)}."
