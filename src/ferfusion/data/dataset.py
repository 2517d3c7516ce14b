"""A data set as it was understood: samples, classes, and what was left over."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ferfusion.modality import MODALITIES, Modality
from ferfusion.sample import ImageFile, Sample

UNLABELLED = "unlabelled"
"""In the place of an expression that nobody said."""


@dataclass(frozen=True)
class Leftover:
    """An image or table row that is in no sample, and why."""

    file: ImageFile
    why: str


@dataclass(frozen=True)
class Dataset:
    """What a reader made of a folder, an archive or a table.

    Attributes:
        root: Where it was read from.
        reader: Which reader, in words for people.
        pairing: One sentence: how the pictures of a sample were found to belong together.
        subjects_from: Where subjects come from, in words; None where nobody is named.
        labels: Class names in the order of label indices.
        samples: Sorted by id. A sample may lack a modality.
        leftovers: Everything found that is in no sample; listed, never guessed.
    """

    root: Path
    reader: str
    pairing: str
    subjects_from: str | None
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    leftovers: tuple[Leftover, ...] = ()

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that at least one sample has, in the fixed order."""
        return tuple(m for m in MODALITIES if any(m in s.images for s in self.samples))

    @property
    def class_counts(self) -> dict[str, int]:
        """Samples per class, in label order."""
        counts = Counter(s.expression for s in self.samples)
        return {label: counts[label] for label in self.labels}

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody who is named, sorted."""
        return tuple(sorted({s.subject for s in self.samples if s.subject is not None}))

    @property
    def has_subjects(self) -> bool:
        """Whether every sample says whom it shows."""
        return bool(self.samples) and all(s.subject is not None for s in self.samples)

    def complete_in(self, modalities: Iterable[Modality]) -> "Dataset":
        """Keeps the samples that have a picture in every one of these modalities."""
        wanted = tuple(modalities)
        return replace(
            self, samples=tuple(s for s in self.samples if all(m in s.images for m in wanted))
        )
