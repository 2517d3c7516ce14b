"""Which samples a model learns from (train), is chosen by (val) and is judged by (test)."""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from ferfusion.atomic import write_text
from ferfusion.data.dataset import Dataset
from ferfusion.errors import SplitError

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

_DRAWS = 500
_COMMENT = re.compile(
    r"# kind=(?P<kind>\w+) seed=(?P<seed>-?\d{1,18}) checksum=(?P<checksum>[0-9a-f]+)"
)


@dataclass(frozen=True)
class Split:
    """Sample ids per part.

    Attributes:
        kind: How it was drawn: `paper`, `subject`, or `file` if a person made it.
        seed: What it was drawn from; 0 for `file`.
        parts: Sorted sample ids of train, val and test.
    """

    kind: str
    seed: int
    parts: Mapping[Part, tuple[str, ...]]

    @property
    def checksum(self) -> str:
        """SHA-256 of kind, seed and ids per part, as 64 hex digits."""
        content = [self.kind, self.seed, [sorted(self.parts[part]) for part in PARTS]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def shared_subjects(split: Split, dataset: Dataset) -> tuple[str, ...]:
    """Names everybody who is in more than one part, sorted; a sound split has nobody."""
    subject_of = {sample.id: sample.subject for sample in dataset.samples}
    people = [{subject_of.get(i) for i in split.parts[part]} - {None} for part in PARTS]
    counts = Counter(person for part in people for person in part if person is not None)
    return tuple(sorted(person for person, count in counts.items() if count > 1))


def draw_paper_split(dataset: Dataset, seed: int) -> Split:
    """Splits every class by image: 70 % train, 15 % val, both rounded down, the rest test.

    Subjects are not looked at: the same face may be in train and in test, which flatters every
    number. Use it to compare with the paper, not to learn how well a model does on new people.

    Which sample goes where depends on the seed and its id alone, so neither the order of the
    samples nor the version of any library matters.

    Raises:
        SplitError: There are too few samples for each part, or for a class in train.

    Source:
        Naseem et al. 2024, Table 1: 77/16/18 of 111, 79/17/18 of 114, 79/16/18 of 113.

    Deviation:
        The paper doesn't say which image is in which part; only the counts are the same.
    """
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    for label in dataset.labels:
        ids = _shuffle_by_hash(dataset, label, seed)
        # Whole numbers, because 0.15 * 100 and the like may come out just below.
        first, second = len(ids) * 70 // 100, len(ids) * 70 // 100 + len(ids) * 15 // 100
        if not first:
            raise SplitError(
                f"The class '{label}' has {_count_samples(len(ids))}, too few to learn from and "
                "to test on. Add some, or leave the class out."
            )
        parts["train"] += ids[:first]
        parts["val"] += ids[first:second]
        parts["test"] += ids[second:]
    if not parts["val"]:
        raise SplitError(
            "15 % of every class is less than one sample, so nothing is left to choose a model by. "
            "Classes need at least 7 samples."
        )
    return _make_split("paper", seed, parts)


def draw_subject_split(
    dataset: Dataset, seed: int, fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)
) -> Split:
    """Splits by subject: nobody is in two parts, and every part has its share of every class.

    Subjects are dealt out from the largest to the smallest, each to a random part, the likelier
    the more room that part has left in the subject's classes. Of 500 such deals the best is kept:
    no part empty, then the fewest classes missing from train, then from any part, then the
    smallest sum of (count - wanted)^2 / wanted over parts and classes.

    The result depends on the set of samples and the seed, not on the order of the samples.

    Args:
        dataset: Every sample must name its subject.
        seed: Another seed gives another deal.
        fractions: Share of train, val and test; they add up to 1.

    Raises:
        SplitError: A subject is unknown, there are fewer than three, or a class can't be in train
            because too few subjects show it.

    Deviation:
        The paper splits by image (`draw_paper_split`).
    """
    _check_subjects(dataset)
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise SplitError(f"The shares of a split must be above 0 and add up to 1, not {fractions}.")
    counts, people = _count_classes(dataset)
    part_of = _deal(counts, np.array(fractions), np.random.default_rng(seed))
    return _split_people(dataset, "subject", seed, people, part_of)


VAL_SHARE = 0.15
"""Of all samples; what a fold keeps apart to choose epochs, weights and temperatures by."""


def draw_folds(dataset: Dataset, n_folds: int, seed: int, *, by_subject: bool) -> tuple[Split, ...]:
    """Draws K splits that test every sample exactly once.

    Every fold has its share of every class. With `by_subject` nobody is in two parts of a split;
    otherwise every image counts on its own, as in the paper. What is not tested in a fold is
    divided into train and val, val being 15 % of all samples (a third of the rest at most).

    Args:
        dataset: Every sample must name its subject if `by_subject`.
        n_folds: At least 2.
        seed: Another seed gives other folds: repeat with several to see what the draw does.
        by_subject: Whether to keep people together.

    Returns:
        Splits of kind `subject` or `paper`, one per fold.

    Raises:
        SplitError: There are too few subjects, or too few samples of a class.

    Source:
        Kohavi 1995, stratified cross-validation; grouped, because samples of one person resemble
        each other.
    """
    if n_folds < 2:
        raise SplitError(f"--folds is {n_folds}, but must be at least 2.")
    rest_val = min(1 / 3, VAL_SHARE * n_folds / (n_folds - 1))
    if by_subject:
        return _draw_subject_folds(dataset, n_folds, seed, rest_val)
    kept: list[dict[Part, list[str]]] = [{part: [] for part in PARTS} for _ in range(n_folds)]
    for label in dataset.labels:
        ids = _shuffle_by_hash(dataset, label, seed)
        if len(ids) < n_folds + 2:
            raise SplitError(
                f"The class '{label}' has {_count_samples(len(ids))}, too few for {n_folds} folds. "
                "Ask for fewer --folds, or leave the class out."
            )
        for fold, parts in enumerate(kept):
            rest = [sample_id for place, sample_id in enumerate(ids) if place % n_folds != fold]
            n_val = max(1, round(rest_val * len(rest)))
            parts["test"] += ids[fold::n_folds]
            parts["val"] += rest[:n_val]
            parts["train"] += rest[n_val:]
    return tuple(_make_split("paper", seed, parts) for parts in kept)


def _draw_subject_folds(
    dataset: Dataset, n_folds: int, seed: int, rest_val: float
) -> tuple[Split, ...]:
    _check_subjects(dataset)
    if len(dataset.subjects) < n_folds + 2:
        raise SplitError(
            f"{n_folds} folds by subject need at least {n_folds + 2} subjects, but there are "
            f"{len(dataset.subjects)}. Ask for fewer --folds."
        )
    counts, people = _count_classes(dataset)
    shares = np.full(n_folds, 1 / n_folds)
    fold_of = _deal(counts, shares, np.random.default_rng([seed, n_folds]))
    # Of two folds, what one doesn't test must do for train and for val: two people at least.
    for fold in np.flatnonzero(np.bincount(fold_of, minlength=2) < 2) if n_folds == 2 else ():
        others = np.flatnonzero(fold_of != fold)
        fold_of[others[counts[others].sum(axis=1).argmin()]] = fold
    folds: list[Split] = []
    for fold in range(n_folds):
        others = np.flatnonzero(fold_of != fold)
        dealt = _deal(
            counts[others],
            np.array([1 - rest_val, rest_val]),
            np.random.default_rng([seed, n_folds, fold]),
        )
        part_of = np.full(len(people), PARTS.index("test"))
        part_of[others] = dealt
        folds.append(_split_people(dataset, "subject", seed, people, part_of))
    return tuple(folds)


def write_split(split: Split, path: Path) -> None:
    """Writes a split as a CSV of sample_id and part, with its checksum in a first comment line."""
    text = io.StringIO()
    text.write(f"# kind={split.kind} seed={split.seed} checksum={split.checksum}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("sample_id", "part"))
    writer.writerows((i, part) for part in PARTS for i in split.parts[part])
    write_text(path, text.getvalue())


def read_split(path: Path) -> Split:
    """Reads what `write_split` wrote, or a table of one's own without the comment line.

    Raises:
        SplitError: It isn't such a table, or it was changed since it was drawn.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(stream)
        has_comment = bool(lines) and lines[0].lstrip('"').startswith("#")
        table = csv.reader(lines[has_comment:])
        rows = [[cell.strip() for cell in row] for row in table if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no CSV table in UTF-8"
        raise SplitError(f"The split file {path} can't be read ({why}). Check the path.") from error
    if not rows or [cell.lower() for cell in rows[0]] != ["sample_id", "part"]:
        raise SplitError(
            f"The split file {path} has no header sample_id,part. Put one above the rows, or let a "
            "split be drawn."
        )
    if strays := [row for row in rows[1:] if len(row) != 2 or row[1] not in PARTS]:
        raise SplitError(
            f"The split file {path} has the row '{','.join(strays[0])}'. A row is a sample id and "
            "one of train, val and test."
        )
    parts: dict[Part, list[str]] = {
        part: [row[0] for row in rows[1:] if row[1] == part] for part in PARTS
    }
    if not has_comment:
        return _make_split("file", 0, parts)
    comment = _COMMENT.search(lines[0])
    split = _make_split(comment["kind"], int(comment["seed"]), parts) if comment else None
    if split is None or comment is None or split.checksum != comment["checksum"]:
        raise SplitError(
            f"The split file {path} was changed after it was drawn. Use the original, or delete "
            "its first line (# kind=...) to have it taken as a split of your own."
        )
    return split


def check_split(split: Split, dataset: Dataset) -> None:
    """Makes sure that a split belongs to this data.

    Samples that lack a modality may be missing from the split; all others must be in it.

    Raises:
        SplitError: A part is empty, an id is unknown or in it twice, or a sample is missing.
    """
    listed = Counter(sample_id for part in PARTS for sample_id in split.parts[part])
    known = {sample.id for sample in dataset.samples}
    whole = {sample.id for sample in dataset.complete_in(dataset.modalities).samples}
    problems = [f"{part} is empty" for part in PARTS if not split.parts[part]]
    misfits: tuple[tuple[str, set[str]], ...] = (
        ("listed twice", {i for i, count in listed.items() if count > 1}),
        ("not in the data, or without a modality in use", listed.keys() - known),
        ("in the data but not in the split", whole - listed.keys()),
    )
    for what, ids in misfits:
        if ids:
            shown = ", ".join(sorted(ids)[:5]) + (", ..." if len(ids) > 5 else "")
            problems.append(f"{_count_samples(len(ids))} {what} ({shown})")
    if problems:
        raise SplitError(
            f"The split does not fit the data in {dataset.root}: {'; '.join(problems)}. Use the "
            "split file that was written for this data, or draw a new one."
        )


def _shuffle_by_hash(dataset: Dataset, label: str, seed: int) -> list[str]:
    """Orders a class's samples by seed and id alone, so that no library's version matters."""
    ids = [sample.id for sample in dataset.samples if sample.expression == label]
    return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())


def _count_classes(
    dataset: Dataset,
) -> tuple[Int[np.ndarray, "subjects classes"], dict[str, int]]:
    """Counts each subject's samples per class; also gives the row of each subject."""
    people = {subject: row for row, subject in enumerate(dataset.subjects)}
    classes = {label: column for column, label in enumerate(dataset.labels)}
    counts = np.zeros((len(people), len(classes)), dtype=int)
    for sample in dataset.samples:
        counts[people[sample.subject or ""], classes[sample.expression]] += 1
    return counts, people


def _split_people(
    dataset: Dataset,
    kind: str,
    seed: int,
    people: Mapping[str, int],
    part_of: Int[np.ndarray, " subjects"],
) -> Split:
    """Makes the split in which each subject is in the part given for its row."""
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    for sample in dataset.samples:
        parts[PARTS[part_of[people[sample.subject or ""]]]].append(sample.id)
    learned = set(parts["train"])
    in_train = {sample.expression for sample in dataset.samples if sample.id in learned}
    if missing := [label for label in dataset.labels if label not in in_train]:
        raise SplitError(
            f"With nobody in two parts, no sample of {', '.join(missing)} is left to learn from: "
            f"too few of the {len(people)} subjects show it. Add subjects, or leave the class out."
        )
    if empty := [part for part in PARTS if not parts[part]]:
        raise SplitError(
            f"With nobody in two parts, {' and '.join(empty)} would be empty: there are only "
            f"{len(people)} subjects. Add subjects, or ask for fewer --folds."
        )
    return _make_split(kind, seed, parts)


def _make_split(kind: str, seed: int, parts: Mapping[Part, list[str]]) -> Split:
    return Split(kind, seed, {part: tuple(sorted(parts[part])) for part in PARTS})


def _count_samples(count: int) -> str:
    return "1 sample" if count == 1 else f"{count} samples"


def _check_subjects(dataset: Dataset) -> None:
    unknown = sum(sample.subject is None for sample in dataset.samples)
    ways_out = (
        "Name the subjects in a file subjects.csv beside the data (columns sample_id,subject), or "
        "give --subject-pattern; --split paper does without them, but then the same face may be in "
        "train and test, which flatters every number."
    )
    if unknown:
        raise SplitError(
            f"A split by subject needs to know who is in each picture, but {unknown} of "
            f"{len(dataset.samples)} samples don't say. {ways_out}"
        )
    if len(dataset.subjects) < len(PARTS):
        raise SplitError(
            f"A split by subject needs at least 3 subjects, one for each part, but there are "
            f"{len(dataset.subjects)}. {ways_out}"
        )


def _deal(
    counts: Int[np.ndarray, "subjects classes"],
    fractions: Float[np.ndarray, " parts"],
    rng: np.random.Generator,
) -> Int[np.ndarray, " subjects"]:
    """Deals subjects out to parts many times over, all deals at once, and keeps the best."""
    draws = np.arange(_DRAWS)
    wanted = fractions[:, None] * counts.sum(axis=0)
    held = np.zeros((_DRAWS, *wanted.shape))
    part_of = np.zeros((_DRAWS, len(counts)), dtype=np.int16)
    # From no subject forced into a part too small for it to all chances alike: with few subjects
    # only bold deals reach every part.
    boldness = np.linspace(0, 1, _DRAWS)[:, None]
    # As small as they can be, and drawn row by row: with 100,000 people it is 0.3 GB, not 1.6.
    order = np.empty((len(counts), _DRAWS), dtype=np.int32)
    for draw in draws:
        order[:, draw] = np.lexsort((rng.random(len(counts)), -counts.sum(axis=1)))
    for subject in order:
        chance = rng.random(_DRAWS)
        brought = counts[subject][:, None, :]
        room = wanted - held
        fits = brought.sum(axis=2) <= room.sum(axis=2)
        share = (np.maximum(room, 0) * brought).sum(axis=2) * np.where(fits, 1, boldness)
        share += 1e-9 * fractions
        upper = share.cumsum(axis=1) / share.sum(axis=1, keepdims=True)
        part = (chance[:, None] > upper[:, :-1]).sum(axis=1)
        part_of[draws, subject] = part
        held[draws, part] += counts[subject]
    empty = (held.sum(axis=2) == 0).sum(axis=1)
    missing = (held == 0).sum(axis=2)
    unevenness = ((held - wanted) ** 2 / np.maximum(wanted, 1e-9)).sum(axis=(1, 2))
    best = np.lexsort((unevenness, missing.sum(axis=1), missing[:, 0], empty))[0]
    return part_of[best].astype(int)
