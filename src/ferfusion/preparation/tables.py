"""Names and tables in a prepared folder: where files lie, who is who, what to fill in."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ferfusion.errors import ResultsError
from ferfusion.modality import MODALITIES, Modality
from ferfusion.preparation.reading import UNLABELLED
from ferfusion.preparation.recipe import Record


def picture_path(record: Record, modality: Modality) -> Path:
    """Gives where a picture lies inside the folder: `visible/happy/001.png`."""
    return Path(str(modality), f"{name_files(record)}.png")


def temperature_path(record: Record) -> Path:
    """Gives where its temperatures lie, float32 in degrees Celsius: `temperature/happy/001.npy`."""
    return Path("temperature", f"{name_files(record)}.npy")


def list_files(record: Record) -> list[Path]:
    """Gives all that is written of a sample, inside the folder."""
    files = [picture_path(record, Modality(name)) for name in record.modalities.split()]
    return [*files, temperature_path(record)] if record.has_temperatures else files


def name_files(record: Record) -> str:
    """Gives what the paths of a sample's files have in common: `happy/001`."""
    key = record.sample_id.removeprefix(f"{record.expression}/")
    return f"{record.expression}/{key}"


def read_filled(path: Path) -> dict[str, dict[str, str]]:
    """Reads what somebody filled in by hand, by sample; nothing that can't be read is lost twice.

    Raises:
        ResultsError: The file is there, but is no such table any more.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return {row["sample_id"]: row for row in csv.DictReader(stream)}
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(
            f"{path} can't be read as the table it was ({error!r}), and what you wrote there would "
            "be lost: mend it, or move it away."
        ) from error


def _choose_subject(record: Record, filled: dict[str, str], before: dict[str, Record]) -> str:
    """Gives who it is: what somebody wrote by hand into our table, else what the data says."""
    written, old = filled.get("subject") or "", before.get(name_files(record))
    is_by_hand = written and (old is None or written != old.subject)
    return written if is_by_hand else record.subject or written


def list_subjects(
    records: Sequence[Record], filled: dict[str, dict[str, str]], before: dict[str, Record]
) -> str:
    """Gives the table that says who is who.

    Args:
        records: Of all samples.
        filled: What lies there now, by sample.
        before: What an earlier run knew, by `name_files`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("sample_id", "subject"))
    for record in (r for r in records if r.kept):
        subject = _choose_subject(record, filled.get(record.sample_id, {}), before)
        if subject:
            writer.writerow((record.sample_id, subject))
    return text.getvalue()


def list_samples(
    records: Sequence[Record], filled: dict[str, dict[str, str]], before: dict[str, Record]
) -> str:
    """Gives a table that `study` takes once its column of expressions is filled in.

    What was filled in before stays.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("sample_id", "subject", "expression", *(str(m) for m in MODALITIES)))
    for record in (r for r in records if r.kept):
        there = record.modalities.split()
        paths = [picture_path(record, m) if str(m) in there else "" for m in MODALITIES]
        name = record.sample_id.removeprefix(f"{record.expression}/")
        row = filled.get(name, {})
        said = "" if record.expression == UNLABELLED else record.expression
        subject = _choose_subject(record, row, before)
        writer.writerow((name, subject, row.get("expression") or said, *paths))
    return text.getvalue()
