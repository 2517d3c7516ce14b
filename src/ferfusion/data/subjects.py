"""Who is in the picture: from a table, from subjects.csv, or from a pattern in the paths."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ferfusion.data.dataset import Dataset, Leftover
from ferfusion.data.table import list_problems, read_rows
from ferfusion.errors import ConfigError, DataError
from ferfusion.expression import canonical_expression
from ferfusion.sample import ImageFile, Sample


def name_subjects(dataset: Dataset, pattern: str | None = None) -> Dataset:
    """Fills in the subjects from the first of these that there is.

    1. The pattern, if one is given: it is asked for explicitly, so it wins.
    2. The subject column of the table the data was read from.
    3. `subjects.csv` beside the data.

    Args:
        dataset: As a reader made it.
        pattern: Regular expression with one group, or one named `subject`, searched in each
            sample's path relative to the data, without suffix (`S01/happy/visible/001`). The path
            is that of the first modality it has.

    Raises:
        ConfigError: The pattern is no regular expression with such a group.
        DataError: The pattern misses samples, or subjects.csv contradicts itself.
    """
    if pattern is not None:
        return _match_pattern(dataset, pattern)
    if dataset.subjects_from is not None:
        return dataset
    folder = dataset.root if dataset.root.is_dir() else dataset.root.parent
    path = folder / "subjects.csv"
    return _read_subjects(dataset, path) if path.is_file() else dataset


def _match_pattern(dataset: Dataset, pattern: str) -> Dataset:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"The subject pattern '{pattern}' is no regular expression ({error}). "
            r"An example that finds S01 in happy/S01_003: '(S\d+)_'."
        ) from error
    if "subject" not in compiled.groupindex and compiled.groups != 1:
        raise ConfigError(
            f"The subject pattern '{pattern}' has {compiled.groups} groups. Put round brackets "
            r"around the part that is the subject, and only there, as in '(S\d+)_'; or name that "
            r"group, as in '(?P<subject>S\d+)_'."
        )
    group = "subject" if "subject" in compiled.groupindex else 1
    samples: list[Sample] = []
    missed: list[str] = []
    for sample in dataset.samples:
        where = tell_place(dataset, sample)
        match = compiled.search(where)
        if match is None or not match[group]:
            missed.append(where)
        else:
            samples.append(replace(sample, subject=match[group]))
    if missed:
        raise DataError(
            f"The subject pattern '{pattern}' finds nobody in {len(missed)} of "
            f"{len(dataset.samples)} samples, such as\n"
            + "\n".join(f"  {where}" for where in missed[:5])
            + "\nIt must match in every one of these paths. Change it, or write subjects.csv."
        )
    return replace(
        dataset, samples=tuple(samples), subjects_from=f"the pattern '{pattern}' in the paths"
    )


def _read_subjects(dataset: Dataset, path: Path) -> Dataset:
    columns, rows = read_rows(path)
    column = next((name for name in ("sample_id", "stem") if name in columns), None)
    if column is None or "subject" not in columns:
        raise DataError(
            f"{path} has the columns {', '.join(columns)}, but it needs 'stem' (the file name "
            "without suffix) or 'sample_id', and 'subject'. Rename them, or move the file away."
        )
    by_name = index_by_name(dataset.samples, column)
    subject_of: dict[str, str] = {}
    problems: list[str] = []
    leftovers: list[Leftover] = []
    for number, row in rows:
        name, subject = row[column], row["subject"]
        found = by_name.get(name.casefold(), ())
        if row.get("expression"):
            expression = canonical_expression(row["expression"])
            found = [sample for sample in found if sample.expression == expression]
        if not found:
            why = f"row {number}: there is no sample with the {column} '{name}'"
            leftovers.append(Leftover(ImageFile(path), why))
        elif len(found) > 1:
            ids = ", ".join(sample.id for sample in found)
            problems.append(
                f"row {number}: '{name}' may be {ids}; add a column 'expression', or use sample_id"
            )
        elif subject and subject_of.setdefault(found[0].id, subject) != subject:
            known = subject_of[found[0].id]
            problems.append(f"row {number}: {found[0].id} is {subject}, but {known} further up")
    if rows and len(leftovers) == len(rows):
        problems.append(
            f"no row names a sample; it names '{rows[0][1][column]}', the samples are called "
            f"'{dataset.samples[0].id}' and so on"
        )
    if problems:
        raise DataError("\n".join((f"{path} can't be used:", *list_problems(problems))))
    samples = tuple(
        replace(sample, subject=subject_of.get(sample.id)) for sample in dataset.samples
    )
    count = sum(sample.subject is not None for sample in samples)
    names = "" if count == len(samples) else f", which names {count} of {len(samples)} samples"
    return replace(
        dataset,
        samples=samples,
        subjects_from=path.name + names,
        leftovers=(*dataset.leftovers, *leftovers),
    )


def index_by_name(samples: Sequence[Sample], column: str) -> dict[str, list[Sample]]:
    """Finds samples by id; or by key (the id after its expression) and by any file's stem."""
    index: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        names = {sample.id.casefold()}
        if column == "stem":
            files = sample.images.values()
            names = {
                (file.member or file.path.name).rpartition("/")[2].rpartition(".")[0].casefold()
                for file in files
            }
            names.add(sample.id.partition("/")[2].casefold())
        for name in names:
            index[name].append(sample)
    return index


def tell_place(dataset: Dataset, sample: Sample) -> str:
    """Gives where the first picture of a sample lies in the data, without suffix."""
    file = next(iter(sample.images.values()))
    folder = dataset.root if dataset.root.is_dir() else dataset.root.parent
    path = file.path.relative_to(folder) if file.path.is_relative_to(folder) else file.path
    whole = path if file.member is None else path / file.member
    return whole.with_suffix("").as_posix()
