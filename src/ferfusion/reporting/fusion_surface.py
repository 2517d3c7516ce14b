"""How well each mixture of late fusion does on validation: how sharp or flat the choice was."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import RegularPolygon
from matplotlib.ticker import MaxNLocator

from ferfusion.reporting.drawing import (
    FAINT,
    FUSION_COLOURS,
    HEAT,
    HOT,
    INK,
    ON_HEAT,
    PAPER,
    PERCENT,
    RULE,
    measure_text,
    strip_axes,
    to_svg,
    use_style,
)
from ferfusion.reporting.summary import LateChoice

_LATE = FUSION_COLOURS["late"]
_WIDTH_PT = 318


def draw_fusion_surface(choices: Sequence[LateChoice], *, unit: str = "fold") -> str:
    """Draws how many validation samples each mixture gets right, as SVG.

    Two modalities give a line over the weight, three a triangle of mixtures. Right answers of
    several seeds or folds are added up, and dots show what each of them chose; for one, the choice
    is marked, and the mixtures that are as good.

    Args:
        choices: One for each seed or fold, all among the same mixtures.
        unit: What each choice belongs to, in words: "fold", "seed".

    Raises:
        ValueError: There is no choice, they are not among the same mixtures, or they mix neither
            two nor three modalities.
    """
    if not choices:
        raise ValueError("Without a choice there is nothing to draw.")
    first = choices[0]
    for other in choices[1:]:
        if other.modalities != first.modalities or not np.array_equal(other.weights, first.weights):
            raise ValueError("Choices in one figure must be among the same mixtures.")
    if len(first.modalities) not in (2, 3):
        raise ValueError(f"{len(first.modalities)} modalities can't be drawn, only two or three.")
    with use_style():
        draw = _draw_line if len(first.modalities) == 2 else _draw_triangle
        return to_svg(draw(choices, unit), _describe(choices, unit))


def _draw_line(choices: Sequence[LateChoice], unit: str) -> Figure:
    first = choices[0]
    names = _names(first)
    order = np.argsort(first.weights[:, 0], kind="stable")
    x = first.weights[order, 0].tolist()
    total, n = _add_up(choices)
    rates = 100 * total / n
    times = Counter(choice.chosen for choice in choices)
    several = len(choices) > 1
    strip_pt = 5.5 * max(times.values()) + 4 if several else 0.0
    below_pt, plot_pt, above_pt = 34 + strip_pt, 104.0, 52.0
    height_pt = below_pt + plot_pt + above_pt
    figure = Figure(figsize=(_WIDTH_PT / 72, height_pt / 72))
    axes = figure.add_axes((0.13, below_pt / height_pt, 0.86, plot_pt / height_pt))
    if several:
        for choice in choices:
            axes.plot(x, 100 * choice.correct[order] / choice.n, color=_LATE, lw=0.8, alpha=0.4)
    axes.plot(x, rates[order], color=_LATE, lw=1.8, marker="o", ms=4.5, mec=PAPER, mew=0.7)
    if not several:
        tied = np.flatnonzero(total == total[first.chosen])
        for rows, colour, size in ((tied, FAINT, 8), (np.array([first.chosen]), INK, 9)):
            axes.plot(
                first.weights[rows, 0],
                rates[rows],
                ls="none",
                marker="o",
                ms=size,
                mfc="none",
                mec=colour,
                mew=1.2,
            )
    each = np.concatenate([100 * choice.correct / choice.n for choice in choices])
    low, high = float(each.min()), float(each.max())
    # One sample more or less must not look like a cliff.
    pad = max(0.1 * (high - low), 5 - (high - low) / 2)
    axes.set_ylim(low - pad, high + pad)
    axes.set_xlim(-0.05, 1.05)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(PERCENT)
    strip_axes(axes)
    axes.tick_params(axis="x", pad=3)
    # A finer grid than the paper's has room for every other number only.
    stride = -(-len(x) // 11)
    axes.set_xticks(x[::stride], [f"{weight:.1f}" for weight in x[::stride]])
    for row in order[::stride].tolist():
        axes.annotate(
            str(total[row]),
            (first.weights[row, 0], 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=INK if row in times else FAINT,
            weight="bold" if row in times else "normal",
        )
    for row, n_chose in times.items() if several else ():
        axes.plot(
            np.full(n_chose, first.weights[row, 0]),
            -(20 + 5.5 * np.arange(n_chose)) / plot_pt,
            ls="none",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            marker="o",
            ms=4.5,
            color=INK,
        )
    _write(axes, 1, 34, _heading(choices, unit), INK)
    _write(axes, 1, 16, f"right of {n}")
    dots = f"; a dot for each {unit}'s choice" if several else ""
    _write(axes, 0, -29 - strip_pt, f"weight of {names[0]}, {names[1]} the rest{dots}")
    return figure


def _draw_triangle(choices: Sequence[LateChoice], unit: str) -> Figure:
    first = choices[0]
    total, n = _add_up(choices)
    times = Counter(choice.chosen for choice in choices)
    steps = round(1 / float(first.weights[first.weights > 0].min()))
    # The first modality is above, the second on the left, the third on the right.
    x = steps * (first.weights[:, 2] - first.weights[:, 1]) / 2
    y = steps * first.weights[:, 0] * np.sqrt(3) / 2
    half, height = steps / 2, steps * np.sqrt(3) / 2
    unit_pt = 252 / steps
    sides_pt, below_pt, above_pt = (_WIDTH_PT - 252) / 2, 34.0, 64.0
    height_pt = below_pt + height * unit_pt + above_pt
    figure = Figure(figsize=(_WIDTH_PT / 72, height_pt / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-half - sides_pt / unit_pt, half + sides_pt / unit_pt)
    axes.set_ylim(-below_pt / unit_pt, height + above_pt / unit_pt)
    low, high = int(total.min()), int(total.max())
    # A finer grid than the paper's has no room for numbers.
    shows_counts = measure_text(str(high), 7.5) < unit_pt - 3
    for row in range(len(total)):
        # Squared, because the best mixtures differ little and are what one looks for.
        heat = 0.04 + 0.86 * ((total[row] - low) / max(1, high - low)) ** 2
        axes.add_patch(
            RegularPolygon((x[row], y[row]), 6, radius=0.565, fc=HEAT, ec="none", alpha=heat)
        )
        _label_cell(
            axes,
            (float(x[row]), float(y[row])),
            str(total[row]) if shows_counts else "",
            times[row],
            shows_dots=len(choices) > 1,
            colour=ON_HEAT if heat > HOT else INK,
        )
    tied = np.flatnonzero(total == total[first.chosen]).tolist() if len(choices) == 1 else []
    for row in sorted({*tied, *times}):
        axes.add_patch(
            RegularPolygon(
                (x[row], y[row]),
                6,
                radius=0.53,
                fc="none",
                ec=INK,
                lw=2.2 if row in times else 0.7,
                zorder=3,
            )
        )
    for name, place, across, up_pt in zip(
        _names(first),
        ((0, height), (-half, 0), (half, 0)),
        ("center", "left", "right"),
        (19, -25, -25),
        strict=True,
    ):
        axes.annotate(
            f"{name} alone",
            (place[0] + {"left": -0.6, "center": 0, "right": 0.6}[across], place[1]),
            (0, up_pt),
            textcoords="offset points",
            ha=across,
            fontsize=8,
            color=FAINT,
        )
    _write(axes, 1, -14, _heading(choices, unit), INK)
    dots = f"; a dot for each {unit}'s choice" if len(choices) > 1 else ""
    _write(axes, 1, -28, f"right of {n}{dots}")
    return figure


def _label_cell(
    axes: Axes,
    place: tuple[float, float],
    count: str,
    n_chose: int,
    *,
    shows_dots: bool,
    colour: str,
) -> None:
    """Writes how many are right, and below it a dot for everyone who chose this mixture."""
    x, y = place
    has_dots = shows_dots and n_chose > 0
    axes.text(
        x,
        y + (0.12 if has_dots else -0.02),
        count,
        ha="center",
        va="center_baseline",
        fontsize=7.5,
        color=colour,
        weight="bold" if n_chose else "normal",
    )
    # More dots than fit side by side are written as a number.
    n_dots = n_chose if n_chose <= 3 else 1
    if has_dots:
        places = x + 0.2 * (np.arange(n_dots) - (n_dots - 1) / 2) - (0.19 if n_chose > 3 else 0)
        axes.plot(places, np.full(n_dots, y - 0.27), "o", ms=4.2, color=colour, mew=0)
    if has_dots and n_chose > 3:
        # The multiplication sign.
        text = f"\u00d7{n_chose}"
        axes.text(x - 0.05, y - 0.29, text, va="center", fontsize=6.5, color=colour)


def _heading(choices: Sequence[LateChoice], unit: str) -> str:
    first = choices[0]
    if len(choices) > 1:
        n_chosen = len({choice.chosen for choice in choices})
        return f"{len(choices)} {unit}s added up; they chose {n_chosen} " + (
            "mixtures" if n_chosen > 1 else "mixture"
        )
    ties = f" ({first.n_tied - 1} as good)" if first.n_tied > 1 else ""
    heading = f"Chosen: {_mixture(first, first.chosen)}{ties}"
    # The ring in the figure says which it is.
    fits = measure_text(heading, 8) < _WIDTH_PT - 40
    return heading if fits else f"Chosen: {first.correct[first.chosen]} right{ties}"


def _describe(choices: Sequence[LateChoice], unit: str) -> str:
    first = choices[0]
    names = _names(first)
    total, n = _add_up(choices)
    title = f"Late fusion of {', '.join(names[:-1])} and {names[-1]} on validation"
    corners = first.weights.argmax(axis=0)
    alone = ", ".join(f"{name} alone {total[i]}" for name, i in zip(names, corners, strict=True))
    spread = f"all {len(total)} mixtures have {total.min()} to {total.max()} of {n} right; {alone}"
    if len(choices) > 1:
        times = Counter(choice.chosen for choice in choices)
        chosen = "; ".join(f"{_mixture(first, i)} by {k}" for i, k in times.most_common())
        return f"{title}, {len(choices)} {unit}s added up: {spread}. Chosen: {chosen}."
    others = f"{first.n_tied - 1} other {'mixtures are' if first.n_tied > 2 else 'mixture is'}"
    return (
        f"{title}: chosen is {_mixture(first, first.chosen)} with {total[first.chosen]} of {n} "
        f"right; {others if first.n_tied > 1 else 'no other mixture is'} as good; {spread}."
    )


def _add_up(choices: Sequence[LateChoice]) -> tuple[Int[np.ndarray, " mixtures"], int]:
    return np.sum([choice.correct for choice in choices], axis=0), sum(c.n for c in choices)


def _mixture(choice: LateChoice, row: int) -> str:
    """Says a mixture: "0.5 visible + 0.2 infrared + 0.3 MSX"."""
    parts = zip(choice.weights[row].tolist(), _names(choice), strict=True)
    return " + ".join(f"{weight:.1f} {name}" for weight, name in parts)


def _names(choice: LateChoice) -> list[str]:
    return ["MSX" if name == "msx" else name for name in choice.modalities]


def _write(axes: Axes, height: float, up_pt: float, text: str, colour: str = FAINT) -> None:
    axes.annotate(
        text,
        (0, height),
        (2, up_pt),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8,
        color=colour,
    )
