"""Guesses at who is who, where nobody wrote it down: made, written as a CSV, held against a split.

They are for a person to correct. No study takes them for subjects by itself.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ferfusion.atomic import write_text
from ferfusion.data.dataset import Dataset
from ferfusion.data.guess import Grouping, Guess
from ferfusion.data.guess_by_names import group_by_names
from ferfusion.data.guess_by_times import group_by_times
from ferfusion.data.splits import PARTS, Part, Split

COLUMNS = ("sample_id", "subject", "confidence", "how")


@dataclass(frozen=True)
class Exposure:
    """What guesses mean for a split: the same person in two parts, most likely.

    Attributes:
        people: Guessed subjects who are in test and in another part.
        n_test: Test samples of theirs.
        grouping: What that goes by.
    """

    people: tuple[str, ...]
    n_test: int
    grouping: Grouping


def guess_cheaply(dataset: Dataset) -> tuple[Grouping, ...]:
    """Guesses from names and times, the surest first; appearance must be asked for."""
    found = (group_by_names(dataset), group_by_times(dataset))
    return tuple(sorted(found, key=lambda grouping: -grouping.confidence))


def complete_guesses(dataset: Dataset, grouping: Grouping) -> dict[str, Guess]:
    """Gives a guess for every sample: those who are named keep their names, with confidence 1.

    A group in which one person is named and nobody else is taken for that person. A sample of
    which nothing can be said has an empty subject and confidence 0.
    """
    named = {s.id: s.subject for s in dataset.samples if s.subject is not None}
    taken = frozenset(named.values())
    known: dict[str, set[str]] = defaultdict(set)
    for sample_id, guess in grouping.guesses.items():
        if sample_id in named:
            known[guess.subject].add(named[sample_id])
    guesses: dict[str, Guess] = {}
    for sample in dataset.samples:
        guess = grouping.guesses.get(sample.id)
        if sample.subject is not None:
            guesses[sample.id] = Guess(sample.subject, 1.0, f"from {dataset.subjects_from}")
        elif guess is None:
            guesses[sample.id] = Guess("", 0.0, "nothing tells who it is")
        else:
            guesses[sample.id] = _name_after_known(guess, known[guess.subject], taken)
    return guesses


def write_guesses(guesses: Mapping[str, Guess], path: Path) -> None:
    """Writes a CSV that `name_subjects` reads as subjects.csv; the doubtful come first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sample_id, guess in sorted(
        guesses.items(), key=lambda item: (item[1].confidence, item[1].subject, item[0])
    ):
        writer.writerow((sample_id, guess.subject, f"{guess.confidence:.2f}", guess.how))
    write_text(path, text.getvalue())


def find_exposure(dataset: Dataset, splits: Sequence[Split]) -> Exposure | None:
    """Finds who is, by the surest cheap guess, in test and in another part: of the worst split.

    Returns:
        None where everybody is named, where nothing can be guessed, or where nobody is in both.
    """
    if dataset.has_subjects:
        return None
    grouping = guess_cheaply(dataset)[0]
    if not grouping.guesses:
        return None
    guesses = complete_guesses(dataset, grouping)
    exposures = [_expose(guesses, split, grouping) for split in splits]
    worst = max(exposures, key=lambda exposure: exposure.n_test, default=None)
    return worst if worst and worst.people else None


def _expose(guesses: Mapping[str, Guess], split: Split, grouping: Grouping) -> Exposure:
    part_of: dict[str, Part] = {i: part for part in PARTS for i in split.parts[part]}
    parts: dict[str, Counter[Part]] = defaultdict(Counter)
    for sample_id, guess in guesses.items():
        if guess.subject and sample_id in part_of:
            parts[guess.subject][part_of[sample_id]] += 1
    shared = {who: held for who, held in parts.items() if held["test"] and len(held) > 1}
    n_test = sum(held["test"] for held in shared.values())
    return Exposure(tuple(sorted(shared)), n_test, grouping)


def _name_after_known(guess: Guess, known: Collection[str], taken: Collection[str]) -> Guess:
    if len(known) == 1:
        (name,) = known
        return replace(guess, subject=name, how=f"{guess.how}; {name} is named among them")
    if guess.subject in taken:
        # Nobody said that these are that person.
        return replace(guess, subject=f"{guess.subject} (guessed)")
    return guess
