"""The page of an audit: the pairs that were found, side by side, in one HTML file.

It shows the user's own pictures, so it stays on the user's machine; reports and results never do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferfusion.atomic import write_text
from ferfusion.reporting.embedding import Picture, open_templates


@dataclass(frozen=True)
class Pair:
    """Two samples side by side.

    Attributes:
        kind: What they are to each other, in words.
        names: Id of each, with its part where there is a split.
        why: The evidence, one sentence a modality.
        pictures: Per modality in words (`infrared, visible` where two are held against each
            other), the picture of the first and of the second; None where a sample has none.
    """

    kind: str
    names: tuple[str, str]
    why: tuple[str, ...]
    pictures: Mapping[str, tuple[Picture | None, Picture | None]]


@dataclass(frozen=True)
class AuditPage:
    """All that the page shows.

    Attributes:
        title: What was audited.
        finding: The one sentence that matters.
        support: What was looked at, and how.
        facts: Further sentences.
        pairs: To be shown.
        n_pairs: How many there are in all.
        ways_out: What to type, and what it does.
    """

    title: str
    finding: str
    support: str
    facts: tuple[str, ...]
    pairs: tuple[Pair, ...]
    n_pairs: int
    ways_out: tuple[tuple[str, str], ...]


def write_audit_page(page: AuditPage, path: Path) -> None:
    """Writes the page: no script, nothing fetched, every picture small and inside."""
    write_text(path, open_templates().get_template("audit.html.j2").render(page=page))
