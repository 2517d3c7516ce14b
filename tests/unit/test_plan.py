import pytest

from ferfusion.errors import ConfigError
from ferfusion.expression import NVIE, VIRI
from ferfusion.modality import MODALITIES
from ferfusion.study.plan import PAPER_CORRECT, Row, choose_rows, list_rows

V, IR, M = MODALITIES

# Percent of 90 test images, as printed (Naseem et al. 2024, section IV).
PRINTED = {
    "visible": 81.11,
    "infrared": 50.00,
    "msx": 74.44,
    "early-visible-infrared-1step": 83.33,
    "early-visible-infrared-3step": 84.44,
    "early-visible-msx-1step": 85.56,
    "early-visible-msx-3step": 87.78,
    "early-visible-infrared-msx-1step": 86.67,
    "early-visible-infrared-msx-3step": 86.67,
    "late-visible-infrared": 82.22,
    "late-visible-msx": 83.33,
    "late-visible-infrared-msx": 84.44,
}


def names(rows: tuple[Row, ...]) -> list[str]:
    return [row.name for row in rows]


def test_the_papers_twelve_rows_and_their_numbers() -> None:
    rows = list_rows(MODALITIES)
    assert names(rows) == [
        *list(PRINTED)[:3],
        *[n for n in PRINTED if n.endswith("1step")],
        *[n for n in PRINTED if n.endswith("3step")],
        *[n for n in PRINTED if n.startswith("late")],
    ]
    for row in rows:
        accuracy = row.paper_accuracy("resnet18", VIRI)
        assert accuracy is not None
        assert round(100 * accuracy, 2) == PRINTED[row.name]
        assert accuracy * 90 == pytest.approx(round(accuracy * 90))


def test_every_number_of_the_paper_belongs_to_a_row() -> None:
    known = names(list_rows(MODALITIES))
    assert PAPER_CORRECT["resnet18"].keys() == set(known)
    for backbone, numbers in PAPER_CORRECT.items():
        assert numbers.keys() <= set(known), backbone
        assert all(0 < correct < 90 for correct in numbers.values())


def test_paper_says_nothing_of_other_data_or_backbones() -> None:
    row = Row("single", (V,))
    assert row.paper_accuracy("resnet18", NVIE) is None
    assert row.paper_accuracy("resnet18", VIRI[:4]) is None
    assert row.paper_accuracy("resnet50", VIRI) is None
    assert Row("late", (IR, M)).paper_accuracy("resnet18", VIRI) is None
    assert Row("single", (IR,)).paper_accuracy("vgg16", VIRI) is None


def test_rows_go_as_far_as_the_modalities() -> None:
    assert names(list_rows((V,))) == ["visible"]
    assert len(list_rows((V, IR))) == 2 + 2 + 1
    assert names(list_rows((IR, M))) == [
        "infrared",
        "msx",
        "early-infrared-msx-1step",
        "early-infrared-msx-3step",
        "late-infrared-msx",
    ]


def test_what_a_row_needs() -> None:
    singles = (Row("single", (V,)), Row("single", (M,)))
    assert Row("late", (V, M)).needs == singles
    assert Row("early", (V, M), 3).needs == singles
    assert Row("early", (V, M), 1).needs == ()
    assert singles[0].needs == ()


@pytest.mark.parametrize(
    ("words", "count"),
    [("all", 12), ("single", 3), ("early", 6), ("1-step", 3), ("3-step", 3), ("late", 3)],
)
def test_kinds_of_rows(words: str, count: int) -> None:
    assert len(choose_rows([words], MODALITIES)) == count


def test_chosen_rows_keep_the_comparisons_order_and_come_once() -> None:
    chosen = choose_rows(["late-visible-msx", "single", "visible"], MODALITIES)
    assert names(chosen) == ["visible", "infrared", "msx", "late-visible-msx"]
    for name in PRINTED:
        assert names(choose_rows([name], MODALITIES)) == [name]


def test_unknown_row_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'late-visible-msx'"):
        choose_rows(["late-visibel-msx"], MODALITIES)
    with pytest.raises(ConfigError, match="no row 'msx'"):
        choose_rows(["msx"], (V, IR))


def test_kind_without_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="--rows late leaves nothing to do with visible alone"):
        choose_rows(["late"], (V,))
