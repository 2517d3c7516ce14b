"""Who is who by the piece of each path that varies and repeats as a person would.

Every piece that stands at a fixed place of the paths is tried: folders, words and numbers of a
name, letters with the number that follows them (S01). A piece can be a person if its values
repeat, each of them in several classes, and about equally often. A number that merely counts the
pictures of whatever stands left of it is none.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ferfusion.data.dataset import Dataset
from ferfusion.data.guess import Grouping, Guess
from ferfusion.data.subjects import tell_place
from ferfusion.expression import canonical_expression
from ferfusion.modality import find_modality

_RUNS = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+|[\W_]+")
_NUMBERED = re.compile(r"\D*\d+")
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")
_PERSON = re.compile(
    r"s|p|id|sub(j(ect)?)?|suj(et)?|pers(on)?|people|part(icipant)?|patient|proband|vp|user|actor|"
    r"model|volunteer|identity|name"
)
"""Words before a number that say that it is a person."""

_LEAST_CONFIDENCE = 0.45
_SOME_PEOPLE = 3  # with so many values the doubt whether they are people is halved
_LEAST_SPREAD = 0.5
_MOST_DEPTH = 8  # of pieces from either end; longer names are sentences
_MOST_VALUES = 2000


@dataclass(frozen=True)
class _Piece:
    """A value at one place of one path.

    Attributes:
        value: As it is written.
        before: All of the path that stands left of it.
        hint: The word before it, in lower case, if nothing but separators is between.
    """

    value: str
    before: str
    hint: str = ""


@dataclass(frozen=True)
class _Candidate:
    """A place in the paths, and how well it would explain who is who."""

    pieces: Mapping[str, _Piece]
    confidence: float
    is_hinted: bool


def group_by_names(dataset: Dataset) -> Grouping:
    """Groups samples by the piece of their paths that can best be a person.

    Its confidence is a product: the share of samples that have the piece, how many of them stand
    in groups with several classes, how even the groups are, how many there are, and whether a
    word says that it is a person (S01) or it is a mere number.
    """
    expression_of = {sample.id: sample.expression for sample in dataset.samples}
    places: dict[tuple[str | int, ...], dict[str, _Piece]] = defaultdict(dict)
    for sample in dataset.samples:
        path = unicodedata.normalize("NFC", tell_place(dataset, sample))
        for place, piece in _list_pieces(path).items():
            places[place][sample.id] = piece
    candidates = [_judge(pieces, expression_of) for pieces in places.values()]
    best = max(
        (candidate for candidate in candidates if candidate is not None),
        # Where two are as good, the one further left, with the longer values.
        key=lambda c: (round(c.confidence, 6), *_prefer(c.pieces)),
        default=None,
    )
    if best is None or best.confidence < _LEAST_CONFIDENCE:
        return Grouping("names", "No piece of the file names varies and repeats as a person would.")
    return _tell(best, expression_of)


def _prefer(pieces: Mapping[str, _Piece]) -> tuple[float, float]:
    befores = [len(piece.before) for piece in pieces.values()]
    return -float(np.mean(befores)), float(np.mean([len(p.value) for p in pieces.values()]))


def _list_pieces(path: str) -> dict[tuple[str | int, ...], _Piece]:
    """Lists the pieces of a path by their places, counted from the left and from the right."""
    found: dict[tuple[str | int, ...], _Piece] = {}
    parts = path.split("/")
    for level, part in enumerate(parts):
        above = "".join(f"{folder}/" for folder in parts[:level])
        is_name = level == len(parts) - 1
        where = (("name",),) if is_name else (("folder", level), ("folder", level - len(parts)))
        pieces = _split(part, above)
        if not is_name:
            pieces["whole", 0] = _Piece(part.strip(), above)
        for place in where:
            found |= {(*place, *inner): piece for inner, piece in pieces.items()}
    return {place: piece for place, piece in found.items() if piece.value}


def _split(part: str, above: str) -> dict[tuple[str, int], _Piece]:
    """Splits a name into runs of letters or digits, and letters with the digits that follow."""
    runs = [(m[0], m.start()) for m in _RUNS.finditer(part) if m[0][0].isalnum()]
    pieces: dict[tuple[str, int], _Piece] = {}
    for index, (run, start) in enumerate(runs):
        back = index - len(runs)
        if min(index, -back) >= _MOST_DEPTH:
            continue
        left = runs[index - 1][0] if index else ""
        hint = left or above.rstrip("/").rpartition("/")[2]
        piece = _Piece(run, above + part[:start], hint.casefold())
        joined = None
        if run.isdigit() and index:
            word, word_start = runs[index - 1]
            if word_start + len(word) == start and not word.isdigit():
                before = runs[index - 2][0].casefold() if index > 1 else ""
                joined = _Piece(word + run, above + part[:word_start], before)
        kind = "number" if run.isdigit() else "word"
        if kind == "word" and start and part[start - 1].isdigit():
            continue  # b of 10b8: more likely a code than a name
        for name, place in ((kind, index), (f"{kind} back", back)):
            pieces[name, place] = piece
            if joined is not None:
                pieces[f"joined {name}", place] = joined
    return pieces


def _judge(pieces: Mapping[str, _Piece], expression_of: Mapping[str, str]) -> _Candidate | None:
    """Says how well a place would explain who is who; None where it can't be a person."""
    sizes = Counter(piece.value.casefold() for piece in pieces.values())
    if not 2 <= len(sizes) <= min(len(pieces) / 2, _MOST_VALUES):
        return None
    values, labels = list(pieces.values()), frozenset(expression_of.values())
    if _are_vocabulary(sizes, labels) or all(_DATE.fullmatch(value) for value in sizes):
        return None
    is_number = all(_NUMBERED.fullmatch(value) for value in sizes)
    words = {value.rstrip("0123456789").rstrip(" _-.") for value in sizes}
    before = {piece.hint for piece in values} if words == {""} else words
    is_hinted = is_number and all(_PERSON.fullmatch(word) for word in before)
    counts = is_number and _counts(values)
    if not is_hinted and (counts or (words == {""} and _is_half(values, labels))):
        return None
    classes: dict[str, set[str]] = defaultdict(set)
    for sample_id, piece in pieces.items():
        classes[piece.value.casefold()].add(expression_of[sample_id])
    spread = sum(n for value, n in sizes.items() if len(classes[value]) > 1) / len(pieces)
    if spread < _LEAST_SPREAD:
        return None
    shares = np.array(list(sizes.values())) / len(pieces)
    evenness = float(-(shares * np.log(shares)).sum() / np.log(len(shares)))
    confidence = len(pieces) / len(expression_of) * spread * evenness
    confidence *= len(sizes) / (len(sizes) + _SOME_PEOPLE)
    if is_hinted:
        confidence = 1 - 0.4 * (1 - confidence)
    # A mere number may be anything, and p001 in every class may be a picture as well as a person.
    confidence *= 0.6 if counts else 1.0 if is_hinted else 0.7 if is_number else 0.9
    return _Candidate(pieces, confidence, is_hinted)


def _are_vocabulary(values: Collection[str], labels: Collection[str]) -> bool:
    """Whether most of these are words for expressions or modalities."""
    known = sum(
        canonical_expression(value) in labels or find_modality(value) is not None
        for value in values
    )
    return known > len(values) / 2


def _counts(pieces: Sequence[_Piece]) -> bool:
    """Whether a number goes 1, 2, 3 ... within most of what stands left of it."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for piece in pieces:
        digits = re.search(r"\d+$", piece.value)
        if digits is not None:
            numbers[piece.before].append(int(digits[0][-18:]))
    runs = [found for found in numbers.values() if len(found) > 1]
    n_counting = sum(
        len(found)
        for found in runs
        if len(set(found)) == len(found) and max(found) - min(found) < 2 * len(found)
    )
    return not runs or n_counting > len(pieces) / 2


def _is_half(pieces: Sequence[_Piece], labels: Collection[str]) -> bool:
    """Whether numbers are only half of their names, as 01 is of M01 and F01."""
    attached = [match[0] for p in pieces if (match := re.search(r"[^\W\d_]+$", p.before))]
    words = {word.casefold() for word in attached}
    return len(words) > 1 and not _are_vocabulary(words, labels)


def _tell(best: _Candidate, expression_of: Mapping[str, str]) -> Grouping:
    groups: dict[str, list[str]] = defaultdict(list)
    for sample_id, piece in best.pieces.items():
        groups[piece.value.casefold()].append(sample_id)
    guesses: dict[str, Guess] = {}
    for members in groups.values():
        subject = best.pieces[members[0]].value
        n_classes = len({expression_of[i] for i in members})
        # A name in one class only may be a word about the class.
        confidence = best.confidence * (1.0 if n_classes > 1 else 0.5)
        classes = "1 class" if n_classes == 1 else f"{n_classes} classes"
        samples = "1 sample" if len(members) == 1 else f"{len(members)} samples"
        how = f"'{subject}' in the name, as in {samples} of {classes}"
        guesses |= dict.fromkeys(members, Guess(subject, confidence, how))
    first = min(best.pieces)
    value = best.pieces[first].value
    word = "; a word says that it is a person" if best.is_hinted else ""
    return Grouping(
        "names",
        f"By names: '{value}' in {first}, and what stands there in the others "
        f"({len(groups)} values{word}).",
        best.confidence,
        guesses,
    )
