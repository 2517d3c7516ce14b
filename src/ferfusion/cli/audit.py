"""Looks for leaks before a study. (Being written; the interface below is what cli/study.py uses.)"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferfusion.data.cache import ImageStore
from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import Split


@dataclass(frozen=True)
class AuditSummary:
    """What the audit found and was told to ignore, and what it looked at."""

    sentences: tuple[str, ...]
    looked_at: str


def audit_before_study(
    dataset: Dataset,
    store: ImageStore,
    splits: Sequence[Split],
    *,
    allow_leaks: bool,
    out: Path,
    advance: Callable[[int, int], None],
) -> AuditSummary:
    """Finds leaks across the parts of the splits."""
    return AuditSummary((), "")
