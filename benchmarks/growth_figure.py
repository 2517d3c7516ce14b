"""The figure of how time and memory grow."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from ferfusion.reporting.drawing import (
    FAINT,
    FUSION_COLOURS,
    INK,
    RULE,
    measure_text,
    spread_out,
    strip_axes,
    to_svg,
    use_style,
)

Points = Sequence[tuple[float, float]]
"""Value of the axis, and seconds or MB."""

WORKS = {
    "read_csv": "read a table",
    "split_by_subject": "split by subject",
    "take_batches": "200 batches",
    "decode": "decode JPEGs",
    "prepare": "prepare pairs",
    "late_grid": "late fusion's grid",
    "bootstrap": "bootstrap",
    "permute": "permutation",
    "score": "scores",
    "step_head": "step of a head",
    "train_step": "training step",
}
"""What each work is called in figure and tables."""

WIDTH_PT, HEIGHT_PT, LEFT_PT = 620.0, 440.0, 46.0
_COLOURS = (FUSION_COLOURS["early"], FUSION_COLOURS["late"], FUSION_COLOURS["single"], INK)
_DASHES = ("-", (0, (3.5, 1.6)), (0, (1, 1.4)))
_MARKERS = "os^Dv<P*X>hd"
_LEAST_MB = 1.0


def draw_growth(rows: Sequence[Mapping[str, str]]) -> str:
    """Draws time and memory against samples, and time against classes, modalities and size, as SVG.

    Args:
        rows: Of the table that `grow` writes. What it lacks is left out.
    """
    time = {axis: _collect(rows, axis, "seconds", 1000) for axis in _TITLES}
    memory = {
        work: [(x, max(_LEAST_MB, y)) for x, y in points]
        for work, points in _collect(rows, "samples", "anon_mb", 1).items()
    }
    with use_style():
        figure = Figure(figsize=(WIDTH_PT / 72, HEIGHT_PT / 72), facecolor="white")
        upper, lower = 1 - 28 / HEIGHT_PT, 0.5 - 28 / HEIGHT_PT
        tall = 0.5 - 52 / HEIGHT_PT

        def panel(place: int, n: int, top: float, title: str) -> Axes:
            label_pt = 92.0 if n == 2 else 0.0
            each = (WIDTH_PT - n * (LEFT_PT + label_pt) - (n - 1) * 8 - 12) / n
            left = place * (each + LEFT_PT + label_pt + 8) + LEFT_PT
            axes = figure.add_axes((left / WIDTH_PT, top - tall, each / WIDTH_PT, tall))
            axes.set_title(title, loc="left", fontsize=9, color=INK, pad=8)
            return axes

        many = panel(0, 2, upper, "Milliseconds, by samples")
        _draw(many, time["samples"], beside=True)
        held = panel(1, 2, upper, "Memory added (MB), by samples")
        _draw(held, memory, beside=True, least=_LEAST_MB)
        for place, axis in enumerate(("classes", "modalities", "size")):
            axes = panel(place, 3, lower, _TITLES[axis])
            _draw(axes, time[axis], beside=False, is_even=axis != "classes")
        said = "; ".join(
            f"{WORKS.get(work, work)} at {points[-1][0]:,.0f} samples {points[-1][1] / 1000:.3g} s"
            for work, points in time["samples"].items()
        )
        return to_svg(figure, f"How time and memory grow: {said}.")


_TITLES = {
    "samples": "",
    "classes": "Milliseconds, by classes",
    "modalities": "Milliseconds, by modalities",
    "size": "Milliseconds a sample, by size (px)",
}


def measure_slope(points: Points) -> float | None:
    """Gives the power with which something grows over the last tenfold: 1 is in proportion.

    >>> measure_slope([(10, 5.0), (100, 7.0), (1000, 70.0)])
    1.0
    """
    (x0, y0), (x1, y1) = points[-2:] if len(points) > 1 else ((1, 0), (1, 0))
    if min(y0, y1) <= 0 or x0 == x1:
        return None
    return round(math.log(y1 / y0) / math.log(x1 / x0), 2)


def _collect(
    rows: Sequence[Mapping[str, str]], axis: str, column: str, factor: float
) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["axis"] == axis and row[column]:
            point = (float(row["value"]), factor * float(row[column]))
            found.setdefault(row["work"], []).append(point)
    return {work: sorted(points) for work, points in found.items()}


def _draw(
    axes: Axes,
    lines: Mapping[str, Points],
    *,
    beside: bool,
    is_even: bool = False,
    least: float | None = None,
) -> None:
    for number, points in enumerate(lines.values()):
        x, y = zip(*points, strict=True)
        axes.plot(x, y, **_choose_style(number), linewidth=1.3)
    if not lines:
        axes.text(0.5, 0.5, "not measured yet", ha="center", transform=axes.transAxes, color=FAINT)
        axes.set_xticks([])
        axes.set_yticks([])
        strip_axes(axes)
        return
    every = [y for points in lines.values() for _, y in points]
    places = sorted({x for points in lines.values() for x, _ in points})
    if is_even:
        axes.set_ylim(0, 1.25 * max(every))
    else:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(0.6 * min(every) if least is None else 0.7 * least, 2.2 * max(every))
        axes.yaxis.set_major_locator(LogLocator(10))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.grid(color=RULE, linewidth=0.6)
    strip_axes(axes)
    _label_ends(axes, lines, beside=beside)


def _choose_style(number: int) -> dict[str, Any]:
    """Gives the look of a line: colours come again, so dashes and markers tell lines apart, too."""
    marker = _MARKERS[number]
    return {
        "color": _COLOURS[number % 4],
        "linestyle": _DASHES[number // 4],
        "marker": marker,
        "markersize": 4.6 if marker in "P*" else 3.4,
    }


def _label_ends(axes: Axes, lines: Mapping[str, Points], *, beside: bool) -> None:
    """Writes each work's name at the end of its line, moved apart where they would touch.

    Args:
        axes: With their last limits.
        lines: Of each work.
        beside: Whether there is room for the names beside the axes; else they stand within.
    """
    is_log = axes.get_yscale() == "log"
    low, high = (math.log10(limit) if is_log else limit for limit in axes.get_ylim())
    box = axes.get_position()
    width_pt, height_pt = box.width * WIDTH_PT, box.height * HEIGHT_PT
    ends = [points[-1][1] for points in lines.values()]
    heights = [
        ((math.log10(end) if is_log else end) - low) / (high - low) * height_pt for end in ends
    ]
    for number, (work, place) in enumerate(zip(lines, spread_out(heights, 10.5), strict=True)):
        text = WORKS.get(work, work)
        x, y = lines[work][-1]
        colour = _COLOURS[number % 4]
        axes.annotate(
            text,
            (x, y),
            (1 + 9 / width_pt if beside else 1, (place if beside else place + 8) / height_pt),
            textcoords="axes fraction",
            ha="left" if beside else "right",
            va="center",
            fontsize=8,
            color=colour,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "linestyle": _DASHES[number // 4],
                "alpha": 0.7,
            }
            if beside
            else None,
        )
        assert measure_text(text, 8) < 90, "the name needs more room"


def _short(value: float) -> str:
    """Writes a number of samples shortly.

    >>> [_short(n) for n in (50, 1_000, 100_000, 1_000_000)]
    ['50', '1k', '100k', '1M']
    """
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if value >= factor and value % factor == 0:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"
