"""How far a model can be trusted: how sure it is, and how right where it is sure."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ferfusion.evaluation.calibration import ReliabilityBin
from ferfusion.evaluation.coverage import CoverageCurve, accuracy_at
from ferfusion.reporting.drawing import (
    FAINT,
    FUSION_COLOURS,
    FUSION_MARKERS,
    INK,
    PAPER,
    PERCENT,
    RULE,
    VAL,
    measure_text,
    shorten_text,
    spread_out,
    strip_axes,
    to_svg,
    use_style,
    wrap_text,
    write_below,
)
from ferfusion.reporting.tables import ResultRow, format_percent

_RELIABILITY_AXES = "across: how sure in %; upwards: how often right; bars: answers"
_DASHES = ((0, ()), (0, (5, 2)), (0, (1, 1.6)), (0, (5, 2, 1, 2)))
# Accuracy among fewer answers than this jumps about and would be all one sees.
_FEWEST_ANSWERS = 10


def draw_reliability(title: str, panels: Mapping[str, Sequence[ReliabilityBin]]) -> str:
    """Draws how often a model is right against how sure it is, as SVG.

    A dot is a bin of answers, its area their number, its line the 95 % interval of their
    accuracy; the bars below count the answers. On the diagonal the model is as sure as it is right.

    Args:
        title: Of the model.
        panels: Heading -> bins, side by side: "as trained", "after temperature 1.62".

    Raises:
        ValueError: There is no panel.
    """
    if not panels:
        raise ValueError("Without bins there is nothing to draw.")
    panel_pt, gap_pt, left_pt, height_pt = 128, 22, 36, 214
    width_pt = left_pt + len(panels) * (panel_pt + gap_pt) - gap_pt + 10
    most = max(b.n for bins in panels.values() for b in bins)
    with use_style():
        figure = Figure(figsize=(width_pt / 72, height_pt / 72))
        for i, (heading, bins) in enumerate(panels.items()):
            x, width = (left_pt + i * (panel_pt + gap_pt)) / width_pt, panel_pt / width_pt
            axes = figure.add_axes((x, 66 / height_pt, width, panel_pt / height_pt))
            below = figure.add_axes((x, 34 / height_pt, width, 26 / height_pt), sharex=axes)
            _draw_bins(axes, below, bins, most)
            heading = shorten_text(heading, panel_pt + gap_pt - 4, 8)
            axes.annotate(
                heading,
                (0, 1),
                (0, 6),
                xycoords="axes fraction",
                textcoords="offset points",
                fontsize=8,
                color=INK,
            )
            if i == 0:
                # Where dots are rare: surer than right lies to the right and below.
                axes.text(98, 4, "too sure", ha="right", fontsize=7.5, color=FAINT)
                axes.text(2, 92, "not sure enough", fontsize=7.5, color=FAINT)
                axes.yaxis.set_major_formatter(PERCENT)
            else:
                axes.tick_params(labelleft=False)
        write_below(figure, left_pt / width_pt, _RELIABILITY_AXES)
        said = "; ".join(
            f"{heading}: {_join_bins(bins) or 'no answers'}" for heading, bins in panels.items()
        )
        return to_svg(figure, f"Reliability of {title}. {said}.")


def draw_coverage(curves: Sequence[tuple[ResultRow, CoverageCurve]], n_classes: int) -> str:
    """Draws the accuracy of models that answer only where they are sure, as SVG.

    From right to left a model answers less and less, and keeps the answers it is most sure of.
    Lines begin at 10 answers, or at 5 % if that is more. A mark at the right end is the accuracy
    on all samples. More than about six lines can't be told apart.

    Args:
        curves: A line each.
        n_classes: For chance level.

    Raises:
        ValueError: There is no curve.
    """
    if not curves:
        raise ValueError("Without a curve there is nothing to draw.")
    chance = 100 / n_classes
    ends = [100 * float(curve.accuracy[-1]) for _, curve in curves]
    labels = [
        wrap_text(f"{format_percent(end / 100)} {row.title}", 170, 8)
        for (row, _), end in zip(curves, ends, strict=True)
    ]
    label_pt = max(measure_text(line, 8) for label in labels for line in label.split("\n"))
    lines_of_label = max(label.count("\n") + 1 for label in labels)
    label_gap_pt = 10.5 * lines_of_label + 3
    plot_pt = max(150.0, label_gap_pt * (len(curves) + 0.5))
    left_pt, axes_pt, above_pt, below_pt = 36, 270, 14, 36
    width_pt, height_pt = left_pt + axes_pt + 26 + label_pt + 4, plot_pt + above_pt + below_pt
    with use_style():
        figure = Figure(figsize=(width_pt / 72, height_pt / 72))
        axes = figure.add_axes(
            (left_pt / width_pt, below_pt / height_pt, axes_pt / width_pt, plot_pt / height_pt)
        )
        seen: dict[str, int] = {}
        drawn = [chance, *ends]
        for row, curve in curves:
            answers = curve.coverage * curve.n
            kept = answers >= min(max(_FEWEST_ANSWERS, 0.05 * curve.n), curve.n)
            x, y = 100 * curve.coverage[kept], 100 * curve.accuracy[kept]
            drawn += y.tolist()
            turn = seen[row.fusion] = seen.get(row.fusion, -1) + 1
            axes.plot(
                x, y, color=FUSION_COLOURS[row.fusion], lw=1.5, ls=_DASHES[turn % len(_DASHES)]
            )
            axes.plot(
                x[-1],
                y[-1],
                FUSION_MARKERS[row.fusion],
                color=FUSION_COLOURS[row.fusion],
                ms=6.5,
                mec=PAPER,
                mew=0.8,
                clip_on=False,
                zorder=4,
            )
        low, high = max(0.0, min(drawn) - 4), min(101.0, max(drawn) + 4)
        axes.set_ylim(low, high)
        axes.set_xlim(0, 100)
        axes.axhline(chance, color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.annotate(
            "chance",
            (1, chance),
            (0, 3),
            textcoords="offset points",
            fontsize=8,
            color=FAINT,
        )
        scale = plot_pt / (high - low)
        heights = spread_out([end * scale for end in ends], label_gap_pt)
        # Labels that were pushed over an end of the axes are moved back together.
        shift = max(0.0, low * scale - min(heights)) - max(0.0, max(heights) - high * scale)
        for (row, _), end, height, label in zip(curves, ends, heights, labels, strict=True):
            axes.annotate(
                label,
                (100, end),
                (22, (height + shift) - end * scale),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=FUSION_COLOURS[row.fusion],
                arrowprops={
                    "arrowstyle": "-",
                    "color": FUSION_COLOURS[row.fusion],
                    "lw": 0.6,
                    "alpha": 0.6,
                    "shrinkA": 1,
                    "shrinkB": 5,
                    "relpos": (0, 0.5),
                },
            )
        axes.xaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        strip_axes(axes)
        write_below(figure, left_pt / width_pt, "share of faces answered, the surest first")
        said = "; ".join(
            f"{row.title} {format_percent(float(curve.accuracy[-1]))} of all, "
            f"{format_percent(accuracy_at(curve, 0.5))} of the surer half"
            for row, curve in curves
        )
        return to_svg(figure, f"Accuracy against coverage: {said}. Chance is {chance:.0f} %.")


def _draw_bins(axes: Axes, below: Axes, bins: Sequence[ReliabilityBin], most: int) -> None:
    axes.plot([0, 100], [0, 100], color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)))
    for b in bins:
        if b.interval is None:
            continue
        x = 100 * b.confidence
        ends = [100 * b.interval.low, 100 * b.interval.high]
        axes.plot([x, x], ends, color=VAL, linewidth=1.4, alpha=0.5)
        axes.scatter(
            x,
            100 * b.accuracy,
            s=10 + 50 * b.n / most,
            color=VAL,
            edgecolors=PAPER,
            linewidths=0.7,
            zorder=3,
            clip_on=False,
        )
    below.bar(
        [50 * (b.low + b.high) for b in bins],
        [b.n for b in bins],
        width=[95 * (b.high - b.low) for b in bins],
        color=VAL,
        alpha=0.45,
        linewidth=0,
    )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    below.set_ylim(0, 1.45 * most)
    for b in bins:
        # Of many narrow bins only the fullest is told.
        if b.n == most or (b.n and len(bins) <= 10 and measure_text(str(b.n), 6.5) < 12.5):
            below.annotate(
                str(b.n),
                (50 * (b.low + b.high), b.n),
                (0, 1.5),
                textcoords="offset points",
                ha="center",
                fontsize=6.5,
                color=FAINT,
            )
    axes.set_xticks([0, 50, 100])
    axes.set_yticks([0, 50, 100])
    below.set_yticks([])
    below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.grid(color=RULE, linewidth=0.6)
    strip_axes(axes)
    strip_axes(below)
    axes.tick_params(labelbottom=False)


def _join_bins(bins: Sequence[ReliabilityBin]) -> str:
    return ", ".join(
        f"{100 * b.confidence:.0f} % sure, {format_percent(b.accuracy)} of {b.n} right"
        for b in bins
        if b.n
    )
