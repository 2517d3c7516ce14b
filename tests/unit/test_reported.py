import pytest
from tests.unit.test_sections import study

from ferfusion.reporting.reported import gather_recipes, tell_reported
from ferfusion.reporting.sections import make_tables
from ferfusion.reporting.summary import Reported, VariantFacts
from ferfusion.reporting.tables import make_rows

SUM = ("optimiser", "Adam", "follow-up")
SPLIT = ("split", "by image", "paper")


def reported(percent: float | None, correct: int | None, mark: str, *facts: tuple[str, str, str]):
    n = None if correct is None else 90
    return Reported(percent, correct, n, "Somebody 2020", mark, "Other data", facts)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (reported(87.78, 79, "paper"), "79/90 = 87.8 %"),
        (reported(71.19, None, "inferred"), "71.2 % [inferred]"),
        (reported(82.22, 74, "follow-up"), "74/90 = 82.2 % [follow-up]"),
        (reported(None, None, "paper"), ""),
    ],
)
def test_a_reported_number_is_a_count_where_it_is_one(found: Reported, said: str):
    assert tell_reported(found) == said


def test_facts_of_all_published_models_are_said_once():
    runs = study()
    tables = make_tables(make_rows(runs), runs, [VariantFacts(name, {}) for name in "ab"])
    first, second = tables[0].rows[:2]
    known = gather_recipes(
        tables,
        {
            first.model: reported(80.0, 72, "paper", SUM, SPLIT),
            second.model: reported(70.0, 63, "paper", SPLIT),
            tables[1].rows[0].model: reported(60.0, 54, "paper", SPLIT, SUM),
        },
    )
    one, two = known["a"], known["b"]
    assert one is not None
    assert one.common == (SPLIT,)
    assert one.own == {first.title: (SUM,), second.title: ()}
    assert one.remarks[first.title] == "Somebody 2020. Other data."
    assert two is not None
    assert two.common == (SUM,), "what the first table said isn't said again"
    assert gather_recipes(tables, {}) == {"a": None, "b": None}
