"""NVIE's rules: which samples raters' intensities let in, and why the others stay out."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ferfusion.data.dataset import Leftover
from ferfusion.errors import DataError
from ferfusion.expression import NVIE, NVIE_RATED, canonical_expression
from ferfusion.modality import Modality
from ferfusion.sample import Sample

MAX_INTENSITY = 2.0
"""A rater gives each expression 0, 1 or 2. [inferred] Recalled of Wang et al. 2010; only its
abstract was at hand."""

MIN_INTENSITY = 1.0
"""Rule 3: the mean over raters must lie above this. [inferred] No source at hand gives the number;
this is the middle of the raters' scale."""

NEEDED = (Modality.VISIBLE, Modality.INFRARED)
"""Rule 1."""

_RULES = {
    1: "visible and infrared both there",
    2: f"one expression stronger than all others, and it is {', '.join(NVIE[:-1])} or {NVIE[-1]}",
    3: f"its mean intensity above {MIN_INTENSITY:g}",
}
_COLUMN = re.compile(r"(?P<expression>[a-z]+)([-_ ]?(r|rater)?[-_ ]?\d+)?")

Means = Mapping[str, float]
"""Mean intensity over raters of each expression that was rated."""


@dataclass(frozen=True)
class Ratings:
    """What a table says of each sample id.

    Attributes:
        table: Where it was read.
        rated: The expressions it has columns of.
        means: Mean intensities of each sample; empty where nobody rated it.
        subjects: Who it is, where the table says so.
        clips: Which clip it is a frame of, where the table says so.
    """

    table: Path
    rated: tuple[str, ...]
    means: Mapping[str, Means]
    subjects: Mapping[str, str]
    clips: Mapping[str, str]


def find_rated(column: str) -> str | None:
    """Recognises a column of intensities, of one rater or of all, or returns None.

    >>> [find_rated(name) for name in ("Happiness", "fear_2", "disgust rater3", "valence")]
    ['happy', 'fear', 'disgust', None]
    """
    match = _COLUMN.fullmatch(column.lower())
    name = canonical_expression(match["expression"]) if match else ""
    return name if name in NVIE_RATED else None


def check_columns(path: Path, columns: Sequence[str], known: set[str]) -> None:
    """Refuses a table with columns that say nothing we know, or without a class's intensities.

    Raises:
        DataError: As said.
    """
    rated = {name: find_rated(name) for name in columns}
    # NVIE's raters also judged these two, which no rule asks for.
    known = {*known, "subject", "clip", "valence", "arousal"}
    problems = [f"an unknown column '{n}'" for n in columns if not rated[n] and n not in known]
    problems += [f"no intensities of '{name}'" for name in NVIE if name not in rated.values()]
    if problems:
        raise DataError(
            f"{path} has {'; '.join(problems)}. Columns of intensities are named as the expression "
            f"({', '.join(NVIE_RATED)}), with a number behind it for each rater: happy_1, happy_2."
        )


def rate(
    path: Path, columns: Sequence[str], rows: Sequence[tuple[int, dict[str, str]]]
) -> tuple[Ratings, list[str]]:
    """Takes the mean over raters of every row, and says what is wrong with them.

    Args:
        path: The table.
        columns: Its columns, checked.
        rows: Numbered, each with its `sample_id`.
    """
    rated = {expression for name in columns if (expression := find_rated(name))}
    problems: list[str] = []
    means: dict[str, Means] = {}
    people_in: dict[str, set[str]] = defaultdict(set)
    for number, row in rows:
        values: dict[str, list[float]] = defaultdict(list)
        for name, cell in row.items():
            expression = find_rated(name)
            if expression is None or not cell:
                continue
            value = _read_intensity(cell)
            if value is None:
                problems.append(
                    f"row {number}: {name} is '{cell}', not a number from 0 to {MAX_INTENSITY:g}"
                )
            else:
                values[expression].append(value)
        means[row["sample_id"]] = {name: fmean(v) for name, v in sorted(values.items())}
        if row.get("clip") and row.get("subject"):
            people_in[row["clip"]].add(row["subject"])
    problems += [
        f"the clip '{clip}' shows {' and '.join(sorted(people))}, but a clip shows one person"
        for clip, people in people_in.items()
        if len(people) > 1
    ]
    subjects = {row["sample_id"]: row["subject"] for _, row in rows if row.get("subject")}
    clips = {row["sample_id"]: row["clip"] for _, row in rows if row.get("clip")}
    ordered = tuple(name for name in NVIE_RATED if name in rated)
    return Ratings(path, ordered, means, subjects, clips), problems


def _read_intensity(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if 0 <= value <= MAX_INTENSITY else None


def select(
    samples: Sequence[Sample], ratings: Ratings | None
) -> tuple[list[Sample], list[Leftover], str]:
    """Applies the three rules; gives what stays, what goes and a sentence that counts both."""
    kept: list[Sample] = []
    removed: list[Leftover] = []
    by_rule: Counter[int] = Counter()
    for sample in samples:
        means = None if ratings is None else ratings.means.get(sample.id, {})
        rule, why = _judge(sample, means)
        if rule:
            by_rule[rule] += 1
            removed.append(leave(sample, f"rule {rule} of NVIE's selection: {why}"))
        else:
            kept.append(sample)
    counts = ", ".join(f"rule {n} ({text}) removed {by_rule[n]}" for n, text in _RULES.items())
    how = f"By NVIE's selection {len(kept)} of {len(samples)} samples stay: {counts}."
    if ratings is None:
        how += (
            " There are no intensities, so rule 3 asked nothing and rule 2 "
            "trusted the names of the folders."
        )
    elif unrated := [name for name in NVIE_RATED if name not in ratings.rated]:
        how += f" There are no intensities of {', '.join(unrated)}, so rule 2 could not see them."
    return kept, removed, how


def _judge(sample: Sample, means: Means | None) -> tuple[int, str]:
    """Gives the number of the first rule that a sample fails, and why; 0 where it fails none."""
    missing = [str(m) for m in NEEDED if m not in sample.images]
    if missing:
        return 1, f"has no {' and no '.join(missing)} picture"
    if means is None:
        if sample.expression in NVIE:
            return 0, ""
        return 2, f"its folder says {sample.expression}, which is none of {', '.join(NVIE)}"
    if not means:
        return 2, "nobody rated it"
    strongest = find_strongest(means)
    said = f"{' and '.join(strongest)} at {means[strongest[0]]:.2f}"
    if len(strongest) > 1:
        return 2, f"no expression is the strongest ({said})"
    if strongest[0] not in NVIE:
        return 2, f"its strongest expression is {said}, which is none of {', '.join(NVIE)}"
    if strongest[0] != sample.expression:
        return 2, f"it is named {sample.expression}, but its strongest expression is {said}"
    if means[strongest[0]] <= MIN_INTENSITY:
        return 3, f"{said} does not lie above {MIN_INTENSITY:g}"
    return 0, ""


def find_strongest(means: Means) -> list[str]:
    """Names the expressions with the highest mean: one, several that tie, or none at all."""
    return [name for name, mean in means.items() if mean == max(means.values())]


def leave(sample: Sample, why: str) -> Leftover:
    """Makes a leftover of a sample: its first picture stands for all."""
    return Leftover(next(iter(sample.images.values())), why)
