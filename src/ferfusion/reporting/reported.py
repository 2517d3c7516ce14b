"""What others report for the models of a page, and what is known of how they made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ferfusion.reporting.sections import Table
from ferfusion.reporting.summary import Reported


def tell_reported(found: Reported) -> str:
    """Writes what others report: a count where it is one, and the mark unless the paper prints it.

    >>> tell_reported(Reported(81.11, 73, 90, "Naseem et al. 2024", "paper", ""))
    '73/90 = 81.1 %'
    >>> tell_reported(Reported(71.19, None, None, "Siddiqui and Javaid 2020", "inferred", ""))
    '71.2 % [inferred]'
    """
    if found.percent is None:
        return ""
    count = "" if found.correct is None else f"{found.correct}/{found.n} = "
    return f"{count}{found.percent:.1f} %" + ("" if found.mark == "paper" else f" [{found.mark}]")


@dataclass(frozen=True)
class KnownRecipes:
    """What is known of how the published numbers of a table were made.

    Attributes:
        common: Facts that hold for every published model of the table and weren't said of an
            earlier one: what, value, mark.
        own: For each model the facts of its own.
        remarks: For each model what a reader must know of its number, and who reports it.
    """

    common: tuple[tuple[str, str, str], ...]
    own: Mapping[str, tuple[tuple[str, str, str], ...]]
    remarks: Mapping[str, str]


def gather_recipes(
    tables: Sequence[Table], reported: Mapping[str, Reported]
) -> dict[str, KnownRecipes | None]:
    """Gathers for each table what is known of its published models; None where nothing is.

    What holds for all published models of an earlier table is not said again.
    """
    told: set[tuple[str, str, str]] = set()
    found: dict[str, KnownRecipes | None] = {}
    for table in tables:
        known = _gather_recipes(table, reported)
        if known is not None:
            news = tuple(fact for fact in known.common if fact not in told)
            told.update(known.common)
            known = replace(known, common=news)
        found[table.name] = known
    return found


def _gather_recipes(table: Table, reported: Mapping[str, Reported]) -> KnownRecipes | None:
    found = {row.title: reported[row.model] for row in table.rows if row.model in reported}
    recipes = [one.recipe for one in found.values() if one.recipe]
    if not found:
        return None
    common = tuple(f for f in recipes[0] if all(f in r for r in recipes)) if recipes else ()
    return KnownRecipes(
        common,
        {title: tuple(f for f in one.recipe if f not in common) for title, one in found.items()},
        {
            title: ". ".join(text.rstrip(".") for text in (one.source, one.remark) if text) + "."
            for title, one in found.items()
        },
    )
