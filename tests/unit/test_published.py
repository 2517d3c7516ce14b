import math
import re
from collections.abc import Iterator

import pytest

from ferfusion.expression import NVIE, VIRI
from ferfusion.modality import MODALITIES
from ferfusion.study.plan import list_other_rows, list_rows
from ferfusion.study.published import (
    ATTENTION_VISIBLE_CONFUSION,
    ELSEWHERE,
    N_VIRI,
    PUBLISHED,
    TABLES,
    VISIBLE_CORRECT,
    Published,
    find_published,
)

ROWS = {row.name for row in (*list_rows(MODALITIES), *list_other_rows(MODALITIES))}
BACKBONES = {"resnet18", "vgg16", "shufflenet_v2", "mobilenet_v2", "ghostnet", "alexnet", "none"}

# Percent as the paper's text prints them for ResNet-18 on VIRI (section IV).
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


def everything() -> Iterator[tuple[tuple[str, ...], str, str, Published]]:
    for labels, backbones in PUBLISHED.items():
        for backbone, rows in backbones.items():
            for name, published in rows.items():
                yield labels, backbone, name, published


@pytest.mark.parametrize("name", PRINTED)
def test_the_papers_twelve_rows(name: str) -> None:
    found = find_published(name, "resnet18", VIRI)
    assert found is not None
    assert (found.percent, found.n, found.mark) == (PRINTED[name], 90, "paper")


def test_counts_give_the_printed_digits() -> None:
    counted = 0
    for _, _, name, published in everything():
        if published.correct is None:
            assert published.n is None, name
            continue
        assert published.n is not None
        exact = 100 * published.correct / published.n
        if "cut off" in published.remark:
            assert published.percent == math.floor(100 * exact) / 100
        else:
            assert published.percent == round(exact, 2)
        counted += 1
    assert counted == 12 + 3 + 4 * 4


def test_what_is_no_count_says_so() -> None:
    """No k of 90 (VIRI), and no k of 77 to 79 (15 % of NVIE's 518), gives these percentages."""
    for labels, _, name, published in everything():
        if published.correct is None:
            sizes = [N_VIRI] if labels == VIRI else [77, 78, 79]
            fits = {round(100 * k / n, 2) for n in sizes for k in range(n + 1)}
            assert published.percent not in fits, name
            assert published.remark or published.percent == 52.90, name


def test_the_baselines_share_no_test_set() -> None:
    """What the remark says: up to 1200 images none is right for all three."""
    wanted = [
        row.percent for row in PUBLISHED[VIRI]["alexnet"].values() if "not comparable" in row.remark
    ]
    assert sorted(wanted) == [71.19, 77.34, 82.26]

    def fits(percent: float, n: int) -> bool:
        return any(
            round(100 * k / n, 2) == percent
            for k in {int(percent * n / 100), int(percent * n / 100) + 1}
        )

    assert not [n for n in range(1, 1201) if all(fits(percent, n) for percent in wanted)]
    assert fits(71.19, 59)


def test_every_number_belongs_to_a_row_and_has_a_source() -> None:
    for labels, backbone, name, published in everything():
        assert labels in (VIRI, NVIE)
        assert backbone in BACKBONES
        assert name in ROWS
        assert published.mark in ("paper", "inferred", "follow-up")
        assert re.search(r"\w+ et al\. 20\d\d|Javaid 2020", published.source)
        assert 0 < published.percent < 100
    assert {p.mark for p in ELSEWHERE.values()} == {"abstract"}


def test_nothing_is_found_for_other_data_backbones_and_rows() -> None:
    assert find_published("visible", "resnet18", VIRI[:4]) is None
    assert find_published("visible", "resnet18", tuple(reversed(VIRI))) is None
    assert find_published("visible", "resnet50", VIRI) is None
    assert find_published("infrared", "vgg16", VIRI) is None
    assert find_published("late-infrared-msx", "resnet18", VIRI) is None
    assert find_published("infrared", "resnet18", NVIE) is None
    assert find_published("alexnet-svm-visible", "alexnet", NVIE) is None


def test_the_two_sets_are_not_mixed_up() -> None:
    viri = find_published("visible", "resnet18", list(VIRI))
    nvie = find_published("visible", "resnet18", list(NVIE))
    assert viri is not None
    assert nvie is not None
    assert (viri.percent, nvie.percent) == (81.11, 82.71)


def test_details_add_up_to_the_accuracies() -> None:
    visible = find_published("visible", "resnet18", VIRI)
    attention = find_published("attention-visible", "resnet18", VIRI)
    assert visible is not None
    assert attention is not None
    assert tuple(VISIBLE_CORRECT) == VIRI
    assert sum(VISIBLE_CORRECT.values()) == visible.correct
    assert all(sum(row) == 18 for row in ATTENTION_VISIBLE_CONFUSION)
    assert sum(row[i] for i, row in enumerate(ATTENTION_VISIBLE_CONFUSION)) == attention.correct


def test_tables_hold_every_number_but_the_follow_ups() -> None:
    placed = {(p.labels, p.backbone, p.row) for table in TABLES for p in table.places}
    for labels, backbone, name, published in everything():
        is_in = (labels, backbone, name) in placed
        assert is_in == (published.mark != "follow-up"), name
    assert {row for _, _, row in placed} <= ROWS
    assert not [row for labels, _, row in placed if labels == NVIE and "msx" in row]


def test_table_5_has_four_columns_of_four_backbones() -> None:
    (table,) = [table for table in TABLES if table.name == "Table 5"]
    assert len(table.places) == len(set(table.places)) == 16
    assert all(find_published(p.row, p.backbone, p.labels) for p in table.places)
    assert table.mark == "paper"
