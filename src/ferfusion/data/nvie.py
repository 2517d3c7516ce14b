"""NVIE, the spontaneous part: visible and infrared pictures of three induced expressions."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ferfusion.data.dataset import Dataset, Leftover
from ferfusion.data.folder import read_folder
from ferfusion.data.listing import PICTURE_SUFFIXES, find_damaged_archives, list_pictures
from ferfusion.data.nvie_rules import (
    NEEDED,
    Ratings,
    check_columns,
    find_rated,
    find_strongest,
    leave,
    rate,
    select,
)
from ferfusion.data.pairing import Candidate, Pairing, pair
from ferfusion.data.subjects import index_by_name
from ferfusion.data.table import collect_samples, read_rows, tell_problems
from ferfusion.data.viri import name_candidates
from ferfusion.errors import DataError
from ferfusion.expression import canonical_expression, order_labels
from ferfusion.modality import Modality, find_modality
from ferfusion.sample import ImageFile, Sample

INTENSITIES = "intensities.csv"
"""Name of the table of intensities beside a folder of pictures; ours, not NVIE's."""

_NAME = re.compile(
    r"(USTC[-_ ])?NVIE[-_ ](?P<expression>[a-z]+)[-_ ]?(?P<part>\d*)"
    r"[-_ ](?P<modality>[a-z]+)[-_ ]?(?P<late_part>\d*)(\.zip)?",
    re.IGNORECASE,
)
# Words that say that the number behind them is a person. A bare number may as well be a frame.
_SUBJECT = re.compile(
    r"(?<![a-z0-9])(?P<subject>s\d{1,4}|(sub|subj|subject|person)[-_ ]?\d{1,4})(?![a-z0-9])"
)
_POSED = re.compile(r"(?<![a-z])posed", re.IGNORECASE)
_UNRATED = "unrated"


def is_nvie(path: Path) -> bool:
    """Whether a folder holds archives named as NVIE's or intensities, or a CSV holds intensities.

    Raises:
        DataError: The path is a file that is no proper CSV.
    """
    if path.is_dir():
        return (path / INTENSITIES).is_file() or any(_parse_name(p) for p in path.glob("*"))
    return any(find_rated(name) for name in read_rows(path)[0])


def read_nvie(path: Path) -> Dataset:
    """Reads NVIE: visible and thermal infrared pictures of happiness, fear and disgust.

    USTC-NVIE was recorded by a visible and a thermal camera at once, in light from three
    directions. More than 100 people watched videos (the spontaneous part, read here) or posed (left
    over where a folder's name says posed). Raters judged the pictures at the apex. Cite Wang et
    al., IEEE Trans. Multimedia 12(7):682-691, 2010.

    A folder holds archives or folders named `NVIE-<class>-<Vis|Ir>`, a part number allowed
    (`NVIE-happy1-Vis.zip`), and perhaps `intensities.csv`; or it is any tree that `read_folder`
    understands, with `intensities.csv`. A CSV holds sample_id, columns of pictures and of
    intensities (`happy`, or for each rater `happy_1`, `happy_2`), and perhaps subject, clip and
    expression. Nothing is ever downloaded.

    Rules that each sample must pass, in this order: 1. it has a visible and an infrared picture;
    2. one expression's mean intensity is higher than all others', and it is one of the three
    classes; 3. that mean lies above MIN_INTENSITY. What fails is a leftover with its reason.
    Without intensities rule 3 can't be asked, and the folders' names are trusted in rule 2.

    Subjects come from a column, or from file names if every one says them in words (`s012`).

    Raises:
        DataError: An archive is damaged, a table has mistakes, or no sample passes the rules.

    Source:
        [paper] Naseem et al. 2024: three classes, 518 samples of 123 subjects, chosen by three
        rules after Wang et al., Frontiers of Computer Science 8(2):232-242, 2014. [source] Card:
        nvie.ustc.edu.cn and the abstract of Wang et al. 2010; names such as NVIE-disgust-Ir.zip:
        github.com/naseemmuhammadtahir.

    Deviation:
        [inferred] The wording and order of the rules, and the threshold: neither paper was at hand
        when this was written. What the files inside archives are called is not known either.
    """
    dataset, ratings = _read_folder(path) if path.is_dir() else _read_table(path)
    spontaneous = [s for s in dataset.samples if not _is_posed(s, dataset.root)]
    posed = [
        leave(s, "is of NVIE's posed part, as its folder says; the spontaneous part is read")
        for s in dataset.samples
        if _is_posed(s, dataset.root)
    ]
    kept, removed, how = select(spontaneous, ratings)
    if not kept:
        raise DataError(
            f"Nothing of {path} is left to learn from. {how} Look at the intensities, and at "
            "whether visible and infrared pictures have the same names."
        )
    samples, subjects_from = _name_subjects(dataset, kept, ratings)
    sentences = [
        dataset.pairing,
        f"{len(posed)} posed samples are left over." if posed else "",
        how,
    ]
    return replace(
        dataset,
        pairing=" ".join(s for s in (*sentences, _tell_clips(samples, ratings)) if s),
        subjects_from=subjects_from,
        labels=order_labels(sample.expression for sample in samples),
        samples=samples,
        leftovers=(*dataset.leftovers, *posed, *removed),
    )


def _read_folder(root: Path) -> tuple[Dataset, Ratings | None]:
    has_archives = any(_parse_name(child) for child in root.glob("*"))
    dataset = _read_archives(root) if has_archives else read_folder(root)
    table = root / INTENSITIES
    if not table.is_file():
        return dataset, None
    columns, rows = read_rows(table)
    column = next((name for name in ("sample_id", "stem") if name in columns), None)
    check_columns(table, columns, {"sample_id", "stem"})
    if column is None:
        raise DataError(
            f"{table} has neither a column 'sample_id' nor 'stem' (the file name without suffix). "
            "Add one, so that its rows can be told to belong to the pictures."
        )
    found = index_by_name(dataset.samples, column)
    problems: list[str] = []
    numbered: dict[str, tuple[int, dict[str, str]]] = {}
    leftovers = list(dataset.leftovers)
    for number, row in rows:
        samples = found.get(row[column].casefold(), ())
        if len(samples) == 1 and (before := numbered.get(samples[0].id)):
            problems.append(f"row {number}: '{row[column]}' is already in row {before[0]}")
        elif len(samples) == 1:
            numbered[samples[0].id] = number, {**row, "sample_id": samples[0].id}
        elif samples:
            ids = ", ".join(sample.id for sample in samples)
            problems.append(f"row {number}: '{row[column]}' may be {ids}; use sample_id")
        else:
            why = f"row {number}: there is no sample with the {column} '{row[column]}'"
            leftovers.append(Leftover(ImageFile(table), why))
    ratings, mistakes = rate(table, columns, list(numbered.values()))
    if problems or mistakes:
        raise DataError(f"{table} has {tell_problems([*problems, *mistakes])}")
    return replace(dataset, leftovers=tuple(leftovers)), ratings


def _read_archives(root: Path) -> Dataset:
    """Reads `NVIE-<class><part>-<modality>`; parts are one class, and keep apart what must be."""
    places: dict[tuple[str, Modality, str], Path] = {}
    leftovers: list[Leftover] = []
    # Folders first, so that an archive beside its unpacked folder is the one left over.
    for child in sorted(root.iterdir(), key=lambda path: (path.is_file(), path.name)):
        meaning = _parse_name(child)
        if meaning is None:
            if child.is_dir() or child.suffix.lower() in {".zip", *PICTURE_SUFFIXES}:
                why = "is not named as NVIE's archives and folders are (NVIE-<class>-<Vis|Ir>)"
                leftovers.append(Leftover(ImageFile(child), why))
        elif meaning in places:
            why = f"holds the same class and modality as {places[meaning].name}, which is read"
            leftovers.append(Leftover(ImageFile(child), why))
        else:
            places[meaning] = child
    damaged = find_damaged_archives(place for place in places.values() if place.is_file())
    if damaged:
        raise DataError("\n".join(damaged))
    whole: list[Candidate] = []
    in_parts: list[Candidate] = []
    for (expression, modality, part), place in places.items():
        pictures, others = list_pictures(place)
        leftovers += others
        named = name_candidates(pictures, expression, modality)
        whole += named
        in_parts += [replace(c, folders=(*filter(None, [part]), *c.folders)) for c in named]
    # Parts may hold different pictures, or pictures of the same names: what finds more partners.
    pairing = max((pair(whole), pair(in_parts)), key=_count_pairs)
    archives = sum(place.is_file() for place in places.values())
    return Dataset(
        root=root,
        reader=f"NVIE in archives ({archives}) and folders ({len(places) - archives})",
        pairing=pairing.sentence,
        subjects_from=None,
        labels=(),
        samples=pairing.samples,
        leftovers=(*pairing.leftovers, *leftovers),
    )


def _read_table(path: Path) -> tuple[Dataset, Ratings]:
    columns, rows = read_rows(path)
    modality_of = {name: m for name in columns if (m := find_modality(name)) is not None}
    check_columns(path, columns, {"sample_id", "expression", *modality_of})
    missing = [m for m in NEEDED if m not in modality_of.values()]
    if "sample_id" not in columns or missing or len(set(modality_of.values())) < len(modality_of):
        raise DataError(
            f"{path} needs the column sample_id and one column each of visible and infrared "
            f"pictures; it has {', '.join(columns)}."
        )
    ratings, problems = rate(path, columns, rows)
    filled: list[tuple[int, dict[str, str]]] = []
    for number, row in rows:
        strongest = find_strongest(ratings.means.get(row["sample_id"], {}))
        expression = row.get("expression") or (strongest[0] if strongest else _UNRATED)
        filled.append((number, {**row, "expression": expression}))
    samples, mistakes = collect_samples(path, filled, modality_of)
    if problems or mistakes:
        raise DataError(f"{path} has {tell_problems([*problems, *mistakes])}")
    dataset = Dataset(
        root=path,
        reader="NVIE in a CSV table",
        pairing="By the rows of the table.",
        subjects_from=None,
        labels=(),
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
    )
    return dataset, ratings


def _name_subjects(
    dataset: Dataset, samples: Sequence[Sample], ratings: Ratings | None
) -> tuple[tuple[Sample, ...], str | None]:
    """Fills in subjects from a column, or else from names, unless a subjects.csv says them."""
    if ratings is not None and ratings.subjects:
        named = (replace(s, subject=ratings.subjects.get(s.id)) for s in samples)
        return tuple(named), f"the subject column of {ratings.table.name}"
    folder = dataset.root if dataset.root.is_dir() else dataset.root.parent
    matches = [_SUBJECT.search(_key(sample)) for sample in samples]
    if (folder / "subjects.csv").is_file() or not all(matches):
        return tuple(samples), None
    found = [re.sub(r"[-_ ]", "", match["subject"]) for match in matches if match]
    # Where everybody comes once, these are more likely numbers of samples than people.
    if len(set(found)) == len(found):
        return tuple(samples), None
    named = (replace(s, subject=who) for s, who in zip(samples, found, strict=True))
    return tuple(named), f"the names of the samples, such as {found[0]}"


def _tell_clips(samples: Sequence[Sample], ratings: Ratings | None) -> str:
    """Warns where several samples are frames of one clip, as a column or their names say."""
    clips: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        # A name that still has a number when its last one is gone: s012_happy_03, not IMG_03.
        key = re.sub(r"[-_ /]*\d+$", "", _key(sample))
        by_name = f"{sample.expression}/{key}" if re.search(r"\d", key) else None
        clip = (ratings and ratings.clips.get(sample.id)) or by_name
        if clip:
            clips[clip].append(sample)
    frames = {clip: found for clip, found in clips.items() if len(found) > 1}
    if not frames:
        return ""
    count = sum(map(len, frames.values()))
    risk = "a split by subject keeps them together."
    if any(sample.subject is None for found in frames.values() for sample in found):
        risk = "name the subjects and split by subject, or they lie in training and in test."
    clips_in_words = "1 clip" if len(frames) == 1 else f"{len(frames)} clips"
    return (
        f"{count} samples seem to be frames of {clips_in_words}, such as {next(iter(frames))}; "
        f"frames of a clip are nearly one picture: {risk}"
    )


def _parse_name(path: Path) -> tuple[str, Modality, str] | None:
    match = _NAME.fullmatch(path.name)
    modality = find_modality(match["modality"]) if match else None
    if match is None or modality is None:
        return None
    part = match["part"] or match["late_part"]
    return canonical_expression(match["expression"]), modality, part


def _count_pairs(pairing: Pairing) -> int:
    return sum(all(m in sample.images for m in NEEDED) for sample in pairing.samples)


def _key(sample: Sample) -> str:
    """Everything in an id but the expression before the stroke."""
    return sample.id.partition("/")[2].lower() or sample.id.lower()


def _is_posed(sample: Sample, root: Path) -> bool:
    """Whether a folder or archive that a picture lies in, inside the data, says posed."""
    folder = root if root.is_dir() else root.parent
    for file in sample.images.values():
        path = file.path.relative_to(folder) if file.path.is_relative_to(folder) else file.path
        names = (*path.parts, *PurePosixPath(file.member or "").parts)
        if any(_POSED.search(name) for name in names[:-1]):
            return True
    return False
