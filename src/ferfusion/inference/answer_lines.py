"""Answers as lines: CSV or JSON, in a file that appears whole, or growing line by line."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ferfusion.atomic import replacing
from ferfusion.errors import ConfigError
from ferfusion.inference.predictor import Prediction, Unusable

LineFormat = Literal["csv", "jsonl"]
_ENDINGS: Mapping[str, LineFormat] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True)
class Line:
    """What was asked about, and what the model said.

    Attributes:
        about: Which sample or frame: `{"sample_id": ...}` or `{"frame": ..., "time_s": ...}`.
        answer: Or why there is none.
        raw: Of a video: the frame's own probabilities, before they were smoothed.
        expression: What a person said it shows; None where nobody did.
    """

    about: Mapping[str, str | int | float]
    answer: Prediction | Unusable
    raw: Mapping[str, float] | None = None
    expression: str | None = None

    @property
    def is_right(self) -> bool | None:
        """Whether label and expression are the same; None where one isn't known."""
        if self.expression is None or isinstance(self.answer, Unusable):
            return None
        return self.answer.label == self.expression


@dataclass(frozen=True)
class Columns:
    """What the lines of one table hold besides label, confidence and abstained.

    Attributes:
        about: Names of what tells lines apart.
        labels: Of the model, in its order.
        has_raw: Whether there are unsmoothed probabilities.
        has_expressions: Whether a person said what some samples show.
    """

    about: tuple[str, ...]
    labels: tuple[str, ...]
    has_raw: bool = False
    has_expressions: bool = False

    @property
    def names(self) -> list[str]:
        """All columns of a CSV."""
        return [
            *self.about,
            *(("expression", "right") if self.has_expressions else ()),
            *("label", "confidence", "abstained"),
            *self.labels,
            *([f"raw_{label}" for label in self.labels] if self.has_raw else []),
            "reason",
        ]


def choose_format(out: Path | None, asked: LineFormat | None) -> LineFormat:
    """Gives the format asked for, or the one that a file's ending stands for.

    Raises:
        ConfigError: The ending stands for none.
    """
    if asked is not None or out is None:
        return asked or "jsonl"
    if out.suffix.lower() not in _ENDINGS:
        raise ConfigError(
            f"{out} doesn't say by its ending what to write: use .csv or .jsonl, or --format."
        )
    return _ENDINGS[out.suffix.lower()]


@contextmanager
def writing_lines(
    out: Path | None, kind: LineFormat, columns: Columns, *, grows: bool
) -> Iterator[Callable[[Line], None]]:
    """Gives a function that writes a line.

    Args:
        out: A file; None is the standard output, which grows.
        kind: CSV, or a JSON object a line.
        columns: Of the CSV.
        grows: Whether the file is there from the beginning, and each line at once; else it appears
            whole when the block ends well.
    """
    if out is None:
        yield _write_to(lambda text: print(text, end="", flush=True), kind, columns)
        return
    if grows:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Each line is there as soon as it is written.
        with out.open("w", newline="", encoding="utf-8", buffering=1) as stream:
            yield _write_to(stream.write, kind, columns)
        return
    with replacing(out) as part, part.open("w", newline="", encoding="utf-8") as stream:
        yield _write_to(stream.write, kind, columns)


def _write_to(
    say: Callable[[str], object], kind: LineFormat, columns: Columns
) -> Callable[[Line], None]:
    def write(line: Line) -> None:
        say(_to_csv(_list_cells(line, columns)) if kind == "csv" else _to_json(line))

    if kind == "csv":
        say(_to_csv(columns.names))
    return write


def _list_cells(line: Line, columns: Columns) -> list[str | int | float]:
    cells: dict[str, str | int | float] = dict(line.about)
    cells["expression"] = line.expression or ""
    cells["right"] = {None: "", True: "yes", False: "no"}[line.is_right]
    answer = line.answer
    if isinstance(answer, Unusable):
        cells["reason"] = answer.reason
    else:
        cells |= {"label": answer.label, "confidence": round(answer.confidence, 6)}
        cells["abstained"] = "yes" if answer.abstained else "no"
        cells |= {label: round(p, 6) for label, p in answer.probabilities.items()}
        cells |= {f"raw_{label}": round(p, 6) for label, p in (line.raw or {}).items()}
    return [cells.get(name, "") for name in columns.names]


def _to_csv(cells: list[str] | list[str | int | float]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _to_json(line: Line) -> str:
    values: dict[str, object] = dict(line.about)
    if line.expression is not None:
        values |= {"expression": line.expression, "right": line.is_right}
    answer = line.answer
    if isinstance(answer, Unusable):
        values["reason"] = answer.reason
    else:
        values |= {
            "label": answer.label,
            "confidence": round(answer.confidence, 6),
            "abstained": answer.abstained,
            "probabilities": {label: round(p, 6) for label, p in answer.probabilities.items()},
        }
        if line.raw is not None:
            values["raw_probabilities"] = {label: round(p, 6) for label, p in line.raw.items()}
    return json.dumps(values, ensure_ascii=False) + "\n"
