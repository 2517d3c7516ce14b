"""A CSV table that lists every sample and its pictures."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ferfusion.data.dataset import UNLABELLED, Dataset
from ferfusion.errors import DataError
from ferfusion.expression import canonical_expression, order_labels
from ferfusion.modality import MODALITIES, Modality, find_modality
from ferfusion.sample import ImageFile, Sample

_MOST_COLUMNS = 1000
_MOST_MEBIBYTES = 256
_COLUMNS = "sample_id, subject, expression, visible, infrared, msx"


def read_table(path: Path) -> Dataset:
    """Reads samples from a CSV with the columns sample_id, subject, expression and modalities.

    Of the modality columns visible, infrared and msx at least one is needed; the subject column
    may be missing. Paths are relative to the table. An empty cell means that the sample lacks
    that modality, or that nobody said who it is.

    Raises:
        DataError: Columns are missing or unknown, ids repeat, or files are missing. All problems
            are in one message, with row numbers as a spreadsheet shows them.
    """
    columns, rows = read_rows(path)
    modality_of = {name: m for name in columns if (m := find_modality(name)) is not None}
    _check_columns(path, columns, modality_of)
    samples, problems = collect_samples(path, rows, modality_of)
    if problems:
        raise DataError(f"{path} has {tell_problems(problems)}")
    has_subjects = any(sample.subject is not None for sample in samples)
    return Dataset(
        root=path,
        reader="CSV table",
        pairing="By the rows of the table.",
        subjects_from=f"the subject column of {path.name}" if has_subjects else None,
        labels=order_labels(sample.expression for sample in samples),
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
    )


def read_unlabelled_table(path: Path) -> list[Sample]:
    """Reads samples from a CSV in which nobody need have said what they show.

    As `read_table`, but without a sample_id samples are called by their rows, and without an
    expression they are `UNLABELLED`. A picture may be missing: whoever reads it says so.

    Raises:
        DataError: Columns are missing or unknown, or ids repeat.
    """
    columns, rows = read_rows(path)
    modality_of = {name: m for name in columns if (m := find_modality(name)) is not None}
    _check_columns(path, columns, modality_of, needed=())
    filled = [
        (
            number,
            {
                **row,
                "sample_id": row.get("sample_id") or f"row {number}",
                "expression": row.get("expression") or UNLABELLED,
            },
        )
        for number, row in rows
    ]
    samples, problems = collect_samples(path, filled, modality_of, may_lack=True)
    if problems:
        raise DataError(f"{path} has {tell_problems(problems)}")
    if not samples:
        raise DataError(f"{path} names its columns and has no row below them. Add samples.")
    return samples


def collect_samples(
    path: Path,
    rows: Sequence[tuple[int, dict[str, str]]],
    modality_of: Mapping[str, Modality],
    *,
    may_lack: bool = False,
) -> tuple[list[Sample], list[str]]:
    """Makes a sample of every row, and a sentence of everything that is wrong with them.

    Args:
        path: The table; pictures are looked for beside it.
        rows: From `read_rows`.
        modality_of: The modality of each column of pictures.
        may_lack: Whether a row may name no picture, or one that isn't there.
    """
    problems: list[str] = []
    first_row_of: dict[str, int] = {}
    samples: list[Sample] = []
    for number, row in rows:
        sample_id, expression = row["sample_id"], row["expression"]
        images: dict[Modality, ImageFile] = {}
        for name, modality in modality_of.items():
            if not row[name]:
                continue
            file = path.parent / row[name]
            images[modality] = ImageFile(file)
            if not may_lack and not _is_reachable(file):
                problems.append(f"row {number}: the {name} picture {file} does not exist")
        if not sample_id:
            problems.append(f"row {number}: sample_id is empty")
        elif sample_id in first_row_of:
            problems.append(
                f"row {number}: sample_id '{sample_id}' is already in row {first_row_of[sample_id]}"
            )
        if not expression:
            problems.append(f"row {number}: expression is empty")
        if not may_lack and not images:
            problems.append(f"row {number}: no picture is named")
        first_row_of.setdefault(sample_id, number)
        ordered = {m: images[m] for m in MODALITIES if m in images}
        subject = row.get("subject") or None
        samples.append(Sample(sample_id, canonical_expression(expression), subject, ordered))
    return samples, problems


def read_rows(path: Path) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """Reads a CSV whose first row names the columns.

    Returns:
        The column names in lower case; and for each row that isn't blank its number, as a
        spreadsheet shows it, and its cells without surrounding blanks.

    Raises:
        DataError: It isn't comma-separated UTF-8 text, a row is longer than the header, or it is
            larger than any table of samples.
    """
    try:
        if path.stat().st_size > _MOST_MEBIBYTES * 2**20:
            raise DataError(
                f"{path} is larger than {_MOST_MEBIBYTES} MiB, as no table of samples is: leave "
                "out what isn't needed."
            )
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = [[cell.strip() for cell in line] for line in csv.reader(stream, strict=True)]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text. Save it as 'CSV UTF-8'.") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a proper CSV table ({error}). Save it anew.") from error
    except OSError as error:
        raise DataError(
            f"{path} can't be read ({error.strerror}). Check its permissions."
        ) from error
    if not lines or not any(lines[0]):
        raise DataError(f"{path} is empty. Its first row must name the columns: {_COLUMNS}.")
    columns = tuple(name.lower() for name in lines[0])
    if len(columns) == 1 and any(separator in columns[0] for separator in ";\t"):
        raise DataError(f"{path} separates its cells with ; or tabs. Save it with commas.")
    if len(columns) > _MOST_COLUMNS:
        raise DataError(
            f"{path} has {len(columns)} columns, as no table of samples has. Its columns may be: "
            f"{_COLUMNS}."
        )
    if len(set(columns)) < len(columns):
        raise DataError(f"{path} names a column twice: {', '.join(columns)}. Rename one.")
    too_long = [str(n) for n, line in enumerate(lines, start=1) if len(line) > len(columns)]
    if too_long:
        raise DataError(
            f"{path} has more cells than columns in row {', '.join(too_long[:5])}. Put a cell that "
            "holds a comma between double quotes."
        )
    rows = [
        (number, dict(zip(columns, line + [""] * len(columns), strict=False)))
        for number, line in enumerate(lines[1:], start=2)
        if any(line)
    ]
    return columns, rows


def list_problems(problems: Sequence[str]) -> list[str]:
    """Indents problems for a message, a line each, and cuts a list no one would read to the end."""
    more = [f"  and {len(problems) - 20} more"] if len(problems) > 20 else []
    return [f"  {problem}" for problem in problems[:20]] + more


def _is_reachable(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # No right to look into its folder, or a text too long to be a name.
        return False


def _check_columns(
    path: Path,
    columns: tuple[str, ...],
    modality_of: dict[str, Modality],
    needed: tuple[str, ...] = ("sample_id", "expression"),
) -> None:
    problems = [f"no column '{name}'" for name in needed if name not in columns]
    expected = {"sample_id", "subject", "expression", *modality_of}
    problems += [f"an unknown column '{name}'" for name in columns if name not in expected]
    if not modality_of:
        problems.append("no column of pictures (visible, infrared or msx)")
    if len(set(modality_of.values())) < len(modality_of):
        problems.append(f"two columns for one modality ({', '.join(modality_of)})")
    if problems:
        raise DataError(f"{path} has {'; '.join(problems)}. Its columns may be: {_COLUMNS}.")


def tell_problems(problems: Sequence[str]) -> str:
    """Counts and lists problems of a table, and says what to do."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    shown = "\n".join(list_problems(problems))
    return f"{count}:\n{shown}\nMend the table, then run again."
