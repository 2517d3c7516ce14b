"""What a sample is: one moment of one face, and where its pictures lie. No pixels here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferfusion.modality import Modality

GRID_SUFFIXES = frozenset({".npy", ".npz", ".csv", ".tsv"})
"""Of files that hold a number for every pixel, mostly degrees, instead of a picture."""


@dataclass(frozen=True, order=True, slots=True)
class ImageFile:
    """Where the bytes of one picture are: a file, or one member of a zip archive."""

    path: Path
    member: str | None = None

    @property
    def is_grid(self) -> bool:
        """Whether it is a grid of numbers, by its name."""
        return self.member is None and self.path.suffix.lower() in GRID_SUFFIXES

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
