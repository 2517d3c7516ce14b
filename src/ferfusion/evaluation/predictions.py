"""What a model said about each sample: the one file that every number in a page comes from."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ferfusion.atomic import write_text
from ferfusion.errors import ResultsError

_FIXED_COLUMNS = ("sample_id", "subject", "label")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of one model for some samples, with the truth beside them.

    Attributes:
        sample_ids: Unique; row `i` of everything else is about sample `i`.
        subjects: Who is shown, None where nobody said.
        classes: Class names in the order of label indices.
        labels: Index of the true class.
        probs: Rows sum to 1.

    Raises:
        ValueError: The parts don't fit together, or `probs` are not probabilities.
    """

    sample_ids: tuple[str, ...]
    subjects: tuple[str | None, ...]
    classes: tuple[str, ...]
    labels: Int[np.ndarray, " samples"]
    probs: Float[np.ndarray, "samples classes"]

    def __post_init__(self) -> None:
        n, n_classes = len(self.sample_ids), len(self.classes)
        if n_classes == 0 or len(set(self.classes)) != n_classes:
            raise ValueError("Class names must be unique, and there must be at least one.")
        if reserved := set(self.classes) & set(_FIXED_COLUMNS):
            raise ValueError(f"A class can't be called '{min(reserved)}': a column has that name.")
        if len(self.subjects) != n or self.labels.shape != (n,):
            raise ValueError(
                f"There are {n} sample ids, {len(self.subjects)} subjects and labels of shape "
                f"{self.labels.shape}; the counts must agree."
            )
        if self.probs.shape != (n, n_classes):
            raise ValueError(
                f"Probabilities have shape {self.probs.shape}; {n} samples and {n_classes} "
                "classes were announced."
            )
        if len(set(self.sample_ids)) != n:
            raise ValueError("A sample id occurs more than once.")
        if "" in self.sample_ids or "" in self.subjects:
            raise ValueError("A sample id or a subject is empty; an unknown subject is None.")
        if n == 0:
            return
        if self.labels.min() < 0 or self.labels.max() >= n_classes:
            raise ValueError(f"A label is outside 0 to {n_classes - 1}.")
        if not np.isfinite(self.probs).all() or self.probs.min() < 0:
            raise ValueError("A probability is negative, infinite or not a number.")
        if np.abs(self.probs.sum(axis=1) - 1).max() > 1e-4:
            raise ValueError("The probabilities of a sample don't sum to 1.")

    @property
    def predicted(self) -> Int[np.ndarray, " samples"]:
        """The most probable class of each sample; the first among equals."""
        return self.probs.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """Whether the most probable class is the true one, per sample."""
        return self.predicted == self.labels

    def __len__(self) -> int:
        return len(self.sample_ids)


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Writes one row per sample: sample_id, subject, label (a name), one probability per class.

    Probabilities are written in full, so that `read_predictions` gives equal arrays.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_FIXED_COLUMNS, *predictions.classes))
    for sample_id, subject, label, probs in zip(
        predictions.sample_ids,
        predictions.subjects,
        predictions.labels,
        predictions.probs,
        strict=True,
    ):
        writer.writerow(
            (
                sample_id,
                subject or "",
                predictions.classes[label],
                *(repr(float(p)) for p in probs),
            )
        )
    write_text(path, text.getvalue())


def read_predictions(path: Path) -> Predictions:
    """Reads what `write_predictions` wrote; the classes are the columns after the third.

    Raises:
        ResultsError: The file is missing or is not such a table; says which line.
    """
    if not path.is_file():
        raise ResultsError(f"There are no predictions at {path}. Run the model first.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ResultsError(_unreadable(path, f"It is not a CSV file ({error}).")) from error
    if not rows or tuple(rows[0][:3]) != _FIXED_COLUMNS:
        wanted = ", ".join(_FIXED_COLUMNS)
        raise ResultsError(_unreadable(path, f"Its first columns are not {wanted}."))
    classes = tuple(rows[0][3:])
    labels: list[int] = []
    probs: list[list[float]] = []
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise ResultsError(
                _unreadable(path, f"Line {line} has {len(row)} cells, not {len(rows[0])}.")
            )
        if row[2] not in classes:
            raise ResultsError(
                _unreadable(path, f"The label '{row[2]}' in line {line} has no column.")
            )
        try:
            probs.append([float(cell) for cell in row[3:]])
        except ValueError as error:
            raise ResultsError(
                _unreadable(path, f"Line {line} holds a probability that is not a number.")
            ) from error
        labels.append(classes.index(row[2]))
    try:
        return Predictions(
            sample_ids=tuple(row[0] for row in rows[1:]),
            subjects=tuple(row[1] or None for row in rows[1:]),
            classes=classes,
            labels=np.array(labels, dtype=np.int64),
            probs=np.array(probs, dtype=np.float64).reshape(len(labels), len(classes)),
        )
    except ValueError as error:
        raise ResultsError(_unreadable(path, str(error))) from error


def _unreadable(path: Path, why: str) -> str:
    return f"The predictions in {path} can't be used. {why} Remove the file and run again."
