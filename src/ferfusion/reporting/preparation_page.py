"""The page of a prepared data set: what is in it, what was kept out, and why.

It shows the user's own pictures, so it stays beside them; results and documents never do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferfusion.atomic import write_text
from ferfusion.reporting.embedding import Picture, open_templates


@dataclass(frozen=True)
class Shown:
    """A sample on the page.

    Attributes:
        name: Its id.
        words: What is to be said of it.
        pictures: By modality in words.
    """

    name: str
    words: str
    pictures: Mapping[str, Picture]


@dataclass(frozen=True)
class PreparationPage:
    """All that the page shows.

    Attributes:
        title: What was prepared.
        finding: The one sentence that matters.
        facts: Further sentences.
        counts: Of what is in the data set: class, then how many in each modality, and people.
        columns: Titles of `counts`.
        reasons: Why samples were kept out, and how many.
        settings: What was asked for, in words.
        kept: Some samples of the data set.
        left_out: Some that were kept out, the doubtful first.
        ways_on: What to type next, and what it does.
    """

    title: str
    finding: str
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[str, ...], ...]
    reasons: tuple[tuple[str, int], ...]
    settings: tuple[tuple[str, str], ...]
    kept: tuple[Shown, ...]
    left_out: tuple[Shown, ...]
    ways_on: tuple[tuple[str, str], ...]


def write_preparation_page(page: PreparationPage, path: Path) -> None:
    """Writes the page: no script, nothing fetched, every picture small and inside."""
    write_text(path, open_templates().get_template("preparation.html.j2").render(page=page))
