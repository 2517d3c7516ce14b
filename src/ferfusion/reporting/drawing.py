"""How every figure looks, and how it becomes SVG text or a file for a paper.

Text stays text. Colours are CSS variables with a fallback, so that a page may redefine them for
a dark screen; the fallbacks are told apart by colour-blind readers and in grey print.
"""

import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter

from ferfusion.atomic import replacing, write_text
from ferfusion.errors import ConfigError

# What matplotlib draws -> what stands in the SVG.
INK = "#23282e"
FAINT = "#6f7780"
RULE = "#d9dde1"
PAPER = "#fefefe"
FUSION_COLOURS = {"single": "#5d6670", "early": "#0b6aa8", "late": "#c2570c"}
TRAIN, VAL = "#8d959e", "#0b6aa9"
# A share of a whole: this colour, the more opaque the greater the share. It darkens a light page
# and lightens a dark one.
HEAT = "#08548e"
ON_HEAT = "#fffffe"
# From this opacity on, white is easier to read on it than ink.
HOT = 0.66
FUSION_MARKERS = {"single": "o", "early": "s", "late": "^"}
PERCENT = FuncFormatter(lambda value, _: f"{value:.0f} %")
_CSS = {
    INK: f"var(--ink, {INK})",
    FAINT: f"var(--faint, {FAINT})",
    RULE: f"var(--rule, {RULE})",
    PAPER: f"var(--paper, {PAPER})",
    FUSION_COLOURS["single"]: f"var(--single, {FUSION_COLOURS['single']})",
    FUSION_COLOURS["early"]: f"var(--early, {FUSION_COLOURS['early']})",
    FUSION_COLOURS["late"]: f"var(--late, {FUSION_COLOURS['late']})",
    TRAIN: f"var(--train, {TRAIN})",
    VAL: f"var(--val, {VAL})",
    HEAT: "rgb(var(--heat, 8 84 142))",
    ON_HEAT: f"var(--on-heat, {ON_HEAT})",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ferfusion",
    # Journals refuse the bitmap-like Type 3 fonts that are matplotlib's default.
    "pdf.fonttype": 42,
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.linewidth": 0.8,
    "lines.solid_capstyle": "round",
}


def to_svg(figure: Figure, said: str) -> str:
    """Gives the figure as SVG text that may stand inside a page.

    Args:
        figure: Drawn under `STYLE`.
        said: What it shows, in a sentence with the numbers, for people who can't see it.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(
        buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Ids that nothing refers to would occur again in the next figure of the page.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    for colour, css in _CSS.items():
        svg = svg.replace(colour, css)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(said)}" ', 1)


def save_figure(figure: Figure, said: str, path: Path) -> None:
    """Writes the figure to a file of its own: .svg, .pdf or .png (300 dots an inch).

    The same figure gives the same bytes.

    Args:
        figure: Drawn under `STYLE`, which must still hold.
        said: As for `to_svg`.
        path: Its ending says which kind.

    Raises:
        ConfigError: Another ending.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind == "svg":
        write_text(path, to_svg(figure, said))
        return
    if kind not in ("pdf", "png"):
        raise ConfigError(
            f"A figure can't be written as {path.name}. Give it a name that ends in .svg, .pdf or "
            ".png."
        )
    metadata = {"CreationDate": None, "Title": said} if kind == "pdf" else {"Description": said}
    with replacing(path) as part:
        figure.savefig(part, format=kind, dpi=300, facecolor="white", metadata=metadata)


def use_style() -> Any:
    """Gives a context in which figures are drawn and written."""
    return mpl.rc_context(STYLE)


def strip_axes(axes: Axes) -> None:
    """Takes away spines and tick marks, so that data alone is drawn."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_axisbelow(True)


def write_above(axes: Axes, x: float, text: str, *, align: str = "center") -> None:
    """Writes a faint word over the axes at a place of the x-axis."""
    axes.annotate(
        text,
        (x, 1),
        # Two words at one place must not touch.
        ({"left": 3, "right": -3}.get(align, 0), 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha=align,
        fontsize=8,
        color=FAINT,
    )


def write_below(figure: Figure, x: float, text: str) -> None:
    """Writes a faint line at the bottom of the figure, from this share of its width."""
    figure.text(x, 5 / 72 / figure.get_figheight(), text, fontsize=8, color=FAINT)


def measure_text(text: str, size_pt: float) -> float:
    """Gives how wide a line of text is, in points; browsers' fonts are mostly narrower."""
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size_pt), ismath=False
    )
    return float(width)


def wrap_text(text: str, width_pt: float, size_pt: float) -> str:
    """Breaks a text at spaces into lines no wider than this; a longer word stands alone.

    >>> wrap_text("visible + MSX, early", 60, 9).splitlines()
    ['visible +', 'MSX, early']
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure_text(longer, size_pt) <= width_pt:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def shorten_text(text: str, width_pt: float, size_pt: float) -> str:
    """Cuts a text that is wider than this, and says so by three dots.

    >>> shorten_text("surprised", 60, 8), shorten_text("disappointed", 40, 8)
    ('surprised', 'disappo…')
    """
    if measure_text(text, size_pt) <= width_pt:
        return text
    while text and measure_text(f"{text}…", size_pt) > width_pt:
        text = text[:-1]
    return f"{text.rstrip()}…"


def spread_out(places: Sequence[float], gap: float) -> list[float]:
    """Moves places as little as needed for labels there not to overlap; order and mean are kept.

    >>> spread_out([1.0, 5.0, 1.0], 2.0)
    [0.0, 5.0, 2.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    # Neighbours that are too near become one block, whose middle stays where its mean was.
    blocks: list[list[int]] = []
    middles: list[float] = []
    for i in order:
        blocks.append([i])
        middles.append(places[i])
        while len(blocks) > 1 and (
            middles[-1] - middles[-2] < gap * (len(blocks[-1]) + len(blocks[-2])) / 2
        ):
            last, middle = blocks.pop(), middles.pop()
            n_before = len(blocks[-1])
            middles[-1] = (middles[-1] * n_before + middle * len(last)) / (n_before + len(last))
            blocks[-1] += last
    moved = list(places)
    for block, middle in zip(blocks, middles, strict=True):
        for rank, i in enumerate(block):
            moved[i] = middle + gap * (rank - (len(block) - 1) / 2)
    return moved


def stack_dots(places: Sequence[float], width: float) -> list[int]:
    """Gives each dot the lowest level on which no earlier dot overlaps it.

    >>> stack_dots([1.0, 1.2, 5.0, 1.1], 1.0)
    [0, 1, 0, 2]
    """
    levels: list[list[float]] = []
    chosen: list[int] = []
    for place in places:
        level = 0
        while level < len(levels) and any(abs(place - p) < width for p in levels[level]):
            level += 1
        if level == len(levels):
            levels.append([])
        levels[level].append(place)
        chosen.append(level)
    return chosen


def capitalise(text: str) -> str:
    """Gives the text with a capital first letter and leaves the rest as it is."""
    return text[:1].upper() + text[1:]
