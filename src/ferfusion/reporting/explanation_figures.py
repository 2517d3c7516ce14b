"""Figures about one model's explanations: curves of deletion and insertion, and intervals."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ferfusion.evaluation.faithfulness import KINDS, Curves, measure_areas
from ferfusion.evaluation.heat_regions import RegionTotal
from ferfusion.evaluation.shapley import Contribution
from ferfusion.evaluation.statistics import Interval
from ferfusion.modality import MODALITIES, Modality
from ferfusion.reporting.drawing import (
    FAINT,
    FUSION_COLOURS,
    INK,
    PAPER,
    PERCENT,
    RULE,
    measure_text,
    strip_axes,
    to_svg,
    use_style,
    write_below,
)

ORDER_WORDS = {"map": "the map's order", "random": "at random", "centre": "from the middle"}
_LINES = {
    "map": (FUSION_COLOURS["early"], (0, ()), 2.0),
    "random": (INK, (0, (1, 1.6)), 1.4),
    "centre": (FUSION_COLOURS["late"], (0, (5, 2)), 1.4),
}
_TITLES = {"deletion": "removed: lower is better", "insertion": "shown: higher is better"}
_COLOURS = dict(zip(MODALITIES, ("#0b6aa8", "#c2570c", "#5d6670"), strict=True))
_MARKERS = dict(zip(MODALITIES, ("o", "s", "^"), strict=True))

Measured = tuple[float, Interval]


def draw_curves(curves: Curves) -> str:
    """Draws the mean probability of the explained class while pixels are removed or shown, as SVG.

    Raises:
        ValueError: There is no sample.
    """
    panel_pt, gap_pt, left_pt, height_pt = 190, 34, 36, 196
    width_pt = left_pt + 2 * panel_pt + gap_pt + 12
    if not len(curves["deletion"]["map"]):
        raise ValueError("Without a sample there is no curve.")
    said: list[str] = []
    with use_style():
        figure = Figure(figsize=(width_pt / 72, height_pt / 72))
        for i, kind in enumerate(KINDS):
            x = (left_pt + i * (panel_pt + gap_pt)) / width_pt
            axes = figure.add_axes((x, 50 / height_pt, panel_pt / width_pt, 122 / height_pt))
            for order, curve in curves[kind].items():
                colour, dashes, width = _LINES[order]
                places = np.linspace(0, 100, curve.shape[1])
                axes.plot(places, 100 * curve.mean(axis=0), color=colour, ls=dashes, lw=width)
            axes.set(xlim=(0, 100), ylim=(0, 102), xticks=(0, 50, 100), yticks=(0, 50, 100))
            axes.xaxis.set_major_formatter(PERCENT)
            axes.yaxis.set_major_formatter(PERCENT)
            axes.grid(color=RULE, linewidth=0.6)
            strip_axes(axes)
            if i:
                axes.tick_params(labelleft=False)
            _annotate(axes, _TITLES[kind])
            areas = {o: float(measure_areas(c).mean()) for o, c in curves[kind].items()}
            said.append(
                f"{kind}: " + ", ".join(f"{ORDER_WORDS[o]} {a:.3f}" for o, a in areas.items())
            )
        _write_legend(
            figure, left_pt / width_pt, {ORDER_WORDS[o]: (c, d, None)
                                         for o, (c, d, _) in _LINES.items()},
        )  # fmt: skip
        write_below(
            figure, left_pt / width_pt,
            "across: share of the blocks; upwards: mean probability of the explained class",
        )  # fmt: skip
        return to_svg(figure, f"Area under the curves of {'; of '.join(said)}.")


def draw_densities(totals: Sequence[RegionTotal]) -> str:
    """Draws how dense the heat is in each region of the face, by modality, as SVG."""
    rows: dict[str, dict[Modality, Measured]] = {}
    for total in totals:
        if total.explained is None:
            found = rows.setdefault(total.region, {})
            found[total.modality] = (total.density, total.density_interval)
    return _draw_rows(
        rows, 1.0, lambda value, _: f"{value:g} x", "1 x: as much heat as its area alone would get",
        "Density of the heat", lambda value: f"{value:.2f}",
    )  # fmt: skip


def draw_contributions(contributions: Sequence[Contribution]) -> str:
    """Draws how much each modality moved the probability of the explained class, as SVG."""
    rows: dict[str, dict[Modality, Measured]] = {}
    for one in contributions:
        interval = Interval(100 * one.interval.low, 100 * one.interval.high)
        name = "all" if one.explained is None else one.explained
        rows.setdefault(name, {})[one.modality] = (100 * one.mean, interval)
    return _draw_rows(
        rows, 0.0, lambda value, _: f"{value:+.0f}" if value else "0",
        "percentage points that the modality adds to the explained class",
        "Mean Shapley values in percentage points", lambda value: f"{value:+.1f}",
    )  # fmt: skip


def _draw_rows(
    rows: Mapping[str, Mapping[Modality, Measured]],
    reference: float,
    tick: Callable[[float, float], str],
    below: str,
    title: str,
    write: Callable[[float], str],
) -> str:
    """Draws one row a name, in it a dot with its interval for each modality."""
    modalities = [m for m in MODALITIES if any(m in found for found in rows.values())]
    step_pt = 11 * len(modalities) + 8
    left_pt = 14 + max(measure_text(name, 9) for name in rows)
    above_pt, below_pt, plot_pt = 24, 38, 330
    width_pt, height_pt = left_pt + plot_pt + 14, above_pt + below_pt + step_pt * len(rows)
    with use_style():
        figure = Figure(figsize=(width_pt / 72, height_pt / 72))
        axes = figure.add_axes(
            (left_pt / width_pt, below_pt / height_pt, plot_pt / width_pt,
             step_pt * len(rows) / height_pt)
        )  # fmt: skip
        for i, found in enumerate(rows.values()):
            for j, modality in enumerate(modalities):
                if modality not in found:
                    continue
                value, interval = found[modality]
                y = i + (j - (len(modalities) - 1) / 2) * 11 / step_pt
                colour = _COLOURS[modality]
                axes.plot([interval.low, interval.high], [y, y], color=colour, lw=1.6, alpha=0.55)
                axes.plot(
                    value, y, _MARKERS[modality], color=colour, ms=6, mec=PAPER, mew=0.7, zorder=4
                )
        axes.axvline(reference, color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), list(rows), color=INK)
        axes.tick_params(axis="y", labelsize=9, labelcolor=INK)
        axes.xaxis.set_major_formatter(tick)
        axes.margins(x=0.06)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        strip_axes(axes)
        _write_legend(
            figure, left_pt / width_pt, {str(m): (_COLOURS[m], "", _MARKERS[m]) for m in modalities}
        )
        write_below(figure, left_pt / width_pt, below)
        said = "; ".join(
            f"{name}: " + ", ".join(f"{m} {write(value)}" for m, (value, _) in found.items())
            for name, found in rows.items()
        )
        return to_svg(figure, f"{title}. {said}.")


def _annotate(axes: Axes, text: str) -> None:
    axes.annotate(
        text, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=8,
        color=FAINT,
    )  # fmt: skip


def _write_legend(
    figure: Figure, x: float, entries: Mapping[str, tuple[str, object, str | None]]
) -> None:
    """Writes words behind a bit of each line, or its mark, on one line."""
    width, height = (72 * side for side in figure.get_size_inches())
    is_top = any(marker for *_, marker in entries.values())
    y, place = (height - 10 if is_top else 25), x * width
    canvas = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    canvas.set_axis_off()
    for words, (colour, dashes, marker) in entries.items():
        if marker is None:
            canvas.plot([place, place + 18], [y, y], color=colour, ls=dashes, lw=1.8)
        else:
            canvas.plot(place + 9, y, marker, color=colour, ms=6, mec=PAPER, mew=0.7)
        canvas.text(place + 23, y, words, fontsize=8, va="center_baseline")
        place += 38 + measure_text(words, 8)
