"""What a sample is: one moment of one face, and where its pictures lie. No pixels here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferfusion.modality import Modality


@dataclass(frozen=True, order=True, slots=True)
class ImageFile:
    """Where the bytes of one picture are: a file, or one member of a zip archive."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One face at one moment, seen in one or more modalities.

    Attributes:
        id: Unique in its data set.
        expression: Canonical name of the class (see `expression.py`).
        subject: Who it is, or None where nobody said.
        images: The picture of each modality that this sample has.
    """

    id: str
    expression: str
    subject: str | None
    images: Mapping[Modality, ImageFile]
