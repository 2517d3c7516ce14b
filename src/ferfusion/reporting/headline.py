"""What a study found, in one sentence that its tests support."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferfusion.reporting.comparisons import Comparison
from ferfusion.reporting.sections import find_fused, list_fusion
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


def _count_verdicts(comparisons: Sequence[Comparison]) -> str:
    """Says how many differ, and uses the words better and worse only of those."""
    told = [
        f"{n} {'is' if n == 1 else 'are'} shown to be {verdict} than that single model"
        for verdict in ("better", "worse")
        if (n := sum(c.verdict == verdict for c in comparisons))
    ]
    return " and ".join(told) or "none is shown to differ from that single model"


def _describe(row: ResultRow) -> str:
    how = row.how.removesuffix(f", {row.variant}")
    return row.inputs if how == "single" else f"{row.inputs} ({how})"


def _count(row: ResultRow) -> str:
    correct, n = sum(row.correct), sum(row.n_test)
    return f"{correct} of {n} test faces right ({format_percent(row.accuracy)})"


def _p_equals(comparison: Comparison) -> str:
    text = format_p(comparison.adjusted_p)
    return text if text.startswith("<") else f"= {text}"
