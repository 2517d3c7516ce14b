"""The page of one model's explanations: maps beside pictures, and how far to believe them.

It shows the user's own pictures, so it stays beside them; reports and results never do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ferfusion.atomic import write_text
from ferfusion.evaluation.faithfulness import FEWEST, WORTH, Comparison, Curves
from ferfusion.evaluation.heat_regions import RegionTotal
from ferfusion.evaluation.shapley import Contribution
from ferfusion.evaluation.statistics import Interval
from ferfusion.reporting.embedding import Picture, open_templates
from ferfusion.reporting.explanation_figures import (
    ORDER_WORDS,
    draw_contributions,
    draw_curves,
    draw_densities,
)
from ferfusion.reporting.tables import format_p
from ferfusion.responsible_use import RESPONSIBLE_USE


@dataclass(frozen=True, eq=False)
class ExplainedPicture:
    """A picture, or a map over it, and what is said below; wrong answers are marked."""

    title: str
    picture: Picture
    words: str
    is_wrong: bool


@dataclass(frozen=True)
class ExplainedSample:
    """A row of the sheet: one sample and what models saw in it."""

    name: str
    words: str
    pictures: tuple[ExplainedPicture, ...]

    @property
    def groups(self) -> tuple[tuple[ExplainedPicture, ...], ...]:
        """A modality's picture and its maps, which stay together; pictures have no words."""
        starts = [place for place, one in enumerate(self.pictures) if not one.words or not place]
        ends = [*starts[1:], len(self.pictures)]
        return tuple(self.pictures[a:b] for a, b in zip(starts, ends, strict=True))


@dataclass(frozen=True, eq=False)
class ExplanationPage:
    """All that the page shows.

    Attributes:
        title: Which model.
        finding: Whether its maps are to be believed, in a sentence.
        facts: Further sentences.
        samples: The sheet.
        chosen: How they were chosen.
        about_method: What the maps show.
        curves: Of deletion and insertion; None where they were not measured.
        comparisons: Their tests.
        regions: Heat in each region of the face.
        about_regions: How they were found.
        contributions: What each modality added; none for a single model.
        about_contributions: Sentences on how that was worked out.
        settings: What was asked for, in words.
    """

    title: str
    finding: str
    facts: tuple[str, ...]
    samples: tuple[ExplainedSample, ...]
    chosen: str
    about_method: str
    curves: Curves | None
    comparisons: tuple[Comparison, ...]
    regions: tuple[RegionTotal, ...]
    about_regions: str
    contributions: tuple[Contribution, ...]
    about_contributions: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RegionTable:
    """Densities of one modality: rows are explained classes, `all` first; columns regions."""

    modality: str
    regions: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[RegionTotal | None, ...]], ...]


def write_explanation_page(page: ExplanationPage, path: Path) -> None:
    """Writes the page: no script, nothing fetched, every picture small and inside."""
    environment = open_templates()
    environment.filters.update(p_value=format_p, range=_format_range)
    html = environment.get_template("explanation.html.j2").render(
        page=page,
        curves=None if page.curves is None else draw_curves(page.curves),
        densities=draw_densities(page.regions) if page.regions else None,
        tables=make_region_tables(page.regions),
        densest=max((t.density for t in page.regions), default=1.0),
        credits=draw_contributions(page.contributions) if page.contributions else None,
        orders=ORDER_WORDS,
        fewest=FEWEST,
        worth=WORTH,
        responsible_use=[sentence.replace("**", "") for sentence in RESPONSIBLE_USE],
    )
    write_text(path, html)


def make_region_tables(totals: Sequence[RegionTotal]) -> tuple[RegionTable, ...]:
    """Lays densities out as one table a modality."""
    tables: list[RegionTable] = []
    for modality in dict.fromkeys(total.modality for total in totals):
        own = [total for total in totals if total.modality == modality]
        regions = tuple(dict.fromkeys(total.region for total in own))
        rows: list[tuple[str, int, tuple[RegionTotal | None, ...]]] = []
        for name in dict.fromkeys(total.explained for total in own):
            found = {total.region: total for total in own if total.explained == name}
            n = max(total.n for total in found.values())
            rows.append((name or "all", n, tuple(found.get(region) for region in regions)))
        tables.append(RegionTable(str(modality), regions, tuple(rows)))
    return tuple(tables)


def _format_range(interval: Interval) -> str:
    if interval.low == interval.high:
        return "[can't tell]"  # everybody is alike, so drawing people anew shows nothing
    return f"[{interval.low:.2f}, {interval.high:.2f}]"
