"""The page of an audit: the pairs that were found, side by side, in one HTML file.

It shows the user's own pictures, so it stays on the user's machine; reports and results never do.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import jinja2
import numpy as np
from jaxtyping import UInt8

from ferfusion.atomic import write_text

Picture = UInt8[np.ndarray, "_ _ 3"]  # of any size: pictures of a pair need not be alike in it

_SIDE_PX = 128
_QUALITY = 80


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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ferfusion", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(embed=_embed)
    write_text(path, environment.get_template("audit.html.j2").render(page=page))


def _embed(picture: Picture) -> str:
    """Gives a small JPEG as a data address."""
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
