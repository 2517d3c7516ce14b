"""What a study found, in one sentence that its tests support."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferfusion.reporting.comparisons import QUIRK, Comparison
from ferfusion.reporting.sections import Collapse, find_fused, list_fusion
from ferfusion.reporting.tables import (
    ResultRow,
    find_best_single,
    format_p,
    format_percent,
    format_points,
)


@dataclass(frozen=True)
class Headline:
    """What was found, in one plain sentence, and what it rests on."""

    finding: str
    support: str


def write_headline(rows: Sequence[ResultRow], comparisons: Sequence[Comparison]) -> Headline:
    """Says what was found, and no more than the tests support.

    The fused network that is named is the one that validation prefers, like the single one that
    it is held against.

    Args:
        rows: Of the first table, with the titles that comparisons use.
        comparisons: Of the whole study.
    """
    best, fused = find_best_single(rows), find_fused(rows)
    if fused is None or best is None:
        alone = fused or best or rows[0]
        others = "fused model" if fused is None else "single model"
        return Headline(
            f"{_describe(alone)} gets {_count(alone)}.",
            f"It did best on validation. No {others} was trained to hold it against.",
        )
    of_n = "" if sum(best.n_test) == sum(fused.n_test) else f" of {sum(best.n_test)}"
    numbers = (
        f"{_describe(fused)} gets {_count(fused)}, {best.inputs} alone "
        f"{sum(best.correct)}{of_n} ({format_percent(best.accuracy)})."
    )
    against_best = list_fusion(comparisons, best)
    own = next((c for c in against_best if c.title == fused.title), None)
    if own is None:
        return Headline(numbers, "They were not tested on the same samples: no test compares them.")
    if own.verdict == "no difference shown":
        finding = "Fusion is not shown to differ from the single model that validation prefers"
    else:
        finding = f"Fusion is {own.verdict} than the single model that validation prefers"
    support = (
        "Both models were chosen on validation. Paired test on the same faces: "
        f"{format_points(own.test.difference)} points, adjusted p {_p_equals(own)}."
    )
    if len(against_best) > 1:
        support += f" Of {len(against_best)} fused models, {_count_verdicts(against_best)}."
    return Headline(f"{finding}: {numbers}", support)


def write_quirks_headline(
    rows: Sequence[ResultRow],
    comparisons: Sequence[Comparison],
    collapsed: Mapping[str, Collapse],
) -> Headline | None:
    """Says which of the paper's quirks are shown to change anything; None where none is measured.

    Args:
        rows: Of the whole study, with the titles that comparisons use.
        comparisons: Of the whole study.
        collapsed: As `find_collapsed` gives it.
    """
    by_title = {row.title: row for row in rows}
    lines = [(by_title[c.title], c) for c in comparisons if c.question == QUIRK]
    if not lines:
        return None
    quirks = list(dict.fromkeys(row.variant for row, _ in lines))
    shown = {q: [(row, c) for row, c in lines if row.variant == q] for q in quirks}
    changing = {
        quirk: told
        for quirk, of_quirk in shown.items()
        if (told := [(row, c) for row, c in of_quirk if c.verdict != "no difference shown"])
    }
    if not changing:
        return Headline(
            f"None of the {len(quirks)} quirks is shown to change how often a model is right",
            f"{len(lines)} paired tests on the same faces, p adjusted for all {len(comparisons)} "
            "comparisons. No difference shown is not the same as none.",
        )
    said = [
        f"{quirk.replace('_', ' ')} ({_count_directions(told)} of {len(shown[quirk])} models)"
        for quirk, told in changing.items()
    ]
    row, largest = max(
        (pair for told in changing.values() for pair in told),
        key=lambda pair: abs(pair[1].test.difference),
    )
    without = by_title[largest.against]
    support = (
        f"The largest change: {_describe(row)} with {row.variant.replace('_', ' ')} "
        f"{sum(row.correct)} of {sum(row.n_test)} right, without {sum(without.correct)}. Paired "
        f"test on the same faces, adjusted p {_p_equals(largest)}, as for all {len(comparisons)} "
        "comparisons of this page."
    )
    if row.model in collapsed:
        c = collapsed[row.model]
        support += (
            f" But in {c.n_collapsed} of its {c.n_trainings} trainings it gave one answer to "
            "(nearly) every face: they collapsed, and another seed may not."
        )
    if len(changing) < len(quirks):
        support += " Of the others no change is shown, which is not the same as none."
    return Headline(
        f"Of {len(quirks)} quirks, {len(changing)} {'is' if len(changing) == 1 else 'are'} shown "
        f"to change how often a model is right: {', '.join(said)}",
        support,
    )


def _count_directions(told: Sequence[tuple[ResultRow, Comparison]]) -> str:
    higher = sum(c.verdict == "better" for _, c in told)
    parts = [(higher, "higher"), (len(told) - higher, "lower")]
    return " and ".join(f"{word} in {n}" for n, word in parts if n)


def _count_verdicts(comparisons: Sequence[Comparison]) -> str:
    """Says how many differ, and uses the words better and worse only of those."""
    told = [
        f"{n} {'is' if n == 1 else 'are'} shown to be {verdict} than that single model"
        for verdict in ("better", "worse")
        if (n := sum(c.verdict == verdict for c in comparisons))
    ]
    return " and ".join(told) or "none is shown to differ from that single model"


def _describe(row: ResultRow) -> str:
    how = row.how.removesuffix(f", {row.variant}") if row.variant else row.how
    return row.inputs if how == "single" else f"{row.inputs} ({how})"


def _count(row: ResultRow) -> str:
    correct, n = sum(row.correct), sum(row.n_test)
    # Under several seeds a face may be asked about more than once.
    asked = "test faces" if len(row.seeds) == 1 else f"answers under {len(row.seeds)} seeds"
    return f"{correct} of {n} {asked} right ({format_percent(row.accuracy)})"


def _p_equals(comparison: Comparison) -> str:
    text = format_p(comparison.adjusted_p)
    return text if text.startswith("<") else f"= {text}"
