import pytest

from ferfusion.errors import ConfigError
from ferfusion.expression import NVIE, VIRI
from ferfusion.modality import MODALITIES, Modality
from ferfusion.study.plan import (
    FIVE_BACKBONES,
    PLANS,
    Row,
    Variant,
    choose_rows,
    list_other_rows,
    list_rows,
    list_variants,
)
from ferfusion.study.published import PUBLISHED, TABLES
from ferfusion.training.recipe import QUIRKS

V, IR, M = MODALITIES

TWELVE = [
    "visible",
    "infrared",
    "msx",
    "early-visible-infrared-1step",
    "early-visible-msx-1step",
    "early-visible-infrared-msx-1step",
    "early-visible-infrared-3step",
    "early-visible-msx-3step",
    "early-visible-infrared-msx-3step",
    "late-visible-infrared",
    "late-visible-msx",
    "late-visible-infrared-msx",
]
TABLE_5 = [
    "visible",
    "msx",
    "early-visible-msx-1step",
    "early-visible-msx-3step",
    "late-visible-msx",
]
ATTENTION = [
    "attention-visible",
    "attention-infrared",
    "attention-early-visible-infrared-3step",
]
ALEXNET = [
    "alexnet-svm-visible",
    "alexnet-svm-infrared",
    "alexnet-svm-early-visible-infrared",
]
REGIONS = [
    "regions-svm-visible",
    "regions-svm-infrared",
    "regions-svm-early-visible-infrared",
    "regions-svm-late-visible-infrared",
]
FROZEN = [
    *(f"frozen-svm-{m}" for m in MODALITIES),
    "frozen-svm-early-visible-infrared",
    "frozen-svm-early-visible-msx",
    "frozen-svm-early-visible-infrared-msx",
]


def names(rows: tuple[Row, ...]) -> list[str]:
    return [row.name for row in rows]


def list_plan(
    plan: str,
    modalities: tuple[Modality, ...] = MODALITIES,
    rows: tuple[str, ...] = ("all",),
    backbones: tuple[str, ...] = (),
    quirks: tuple[str, ...] = (),
) -> tuple[Variant, ...]:
    backbones = backbones or (PLANS[plan].backbones if plan else ()) or ("resnet18",)
    return list_variants(plan, rows, modalities, backbones, quirks)


def test_the_papers_twelve_rows() -> None:
    assert names(list_rows(MODALITIES)) == TWELVE


def test_what_the_paper_compares_with() -> None:
    assert names(list_other_rows(MODALITIES)) == [*ATTENTION, *ALEXNET, *REGIONS, *FROZEN]
    assert names(list_other_rows((M,))) == ["frozen-svm-msx"]
    for row in list_other_rows((V, IR)):
        assert set(row.modalities) <= {V, IR}


def test_every_published_number_stands_beside_a_row_of_the_plan_paper() -> None:
    for labels, modalities in ((VIRI, MODALITIES), (NVIE, (V, IR))):
        planned = {
            ("none" if row.method == "regions-svm" else variant.backbone, row.name)
            for variant in list_plan("paper", modalities)
            for row in variant.rows
        }
        published = {
            (backbone, name) for backbone, rows in PUBLISHED[labels].items() for name in rows
        }
        assert published <= planned


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_of_the_paper_is_in_the_plan_paper(table) -> None:
    for labels, modalities in ((VIRI, MODALITIES), (NVIE, (V, IR))):
        planned = {
            ("none" if row.method == "regions-svm" else variant.backbone, row.name)
            for variant in list_plan("paper", modalities)
            for row in variant.rows
        }
        places = {(p.backbone, p.row) for p in table.places if p.labels == labels}
        assert places <= planned


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


def test_no_two_rows_share_a_name() -> None:
    rows = (*list_rows(MODALITIES), *list_other_rows(MODALITIES))
    assert len(set(names(rows))) == len(set(rows)) == len(rows)


def test_what_a_row_needs() -> None:
    singles = (Row("single", (V,)), Row("single", (M,)))
    assert Row("late", (V, M)).needs == singles
    assert Row("early", (V, M), 3).needs == singles
    assert Row("early", (V, M), 1).needs == ()
    assert singles[0].needs == ()
    # The network with attention starts from its own single networks, an SVM from nothing.
    own = tuple(Row("single", (m,), method="attention") for m in (V, IR))
    assert Row("early", (V, IR), 3, "attention").needs == own
    assert Row("early", (V, IR), method="regions-svm").needs == ()
    assert Row("late", (V, IR), method="regions-svm").needs == ()


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("all", 12),
        ("single", 3),
        ("early", 6),
        ("1-step", 3),
        ("3-step", 3),
        ("late", 3),
        ("attention", 3),
        ("svm", 13),
    ],
)
def test_kinds_of_rows(words: str, count: int) -> None:
    assert len(choose_rows([words], MODALITIES)) == count


def test_chosen_rows_keep_the_comparisons_order_and_come_once() -> None:
    chosen = choose_rows(["late-visible-msx", "single", "visible"], MODALITIES)
    assert names(chosen) == ["visible", "infrared", "msx", "late-visible-msx"]
    for name in (*TWELVE, *ATTENTION, *ALEXNET, *REGIONS, *FROZEN):
        assert names(choose_rows([name], MODALITIES)) == [name]


def test_unknown_row_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'late-visible-msx'"):
        choose_rows(["late-visibel-msx"], MODALITIES)
    with pytest.raises(ConfigError, match="no row 'msx'"):
        choose_rows(["msx"], (V, IR))


def test_kind_without_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="--rows late leaves nothing to do with visible alone"):
        choose_rows(["late"], (V,))


# ------------------------------------------------------------------------------------------ plans


def test_without_a_plan_there_is_one_table_without_a_name() -> None:
    (variant,) = list_plan("", quirks=("double_softmax",))
    assert (variant.name, variant.backbone) == ("", "resnet18")
    assert names(variant.rows) == TWELVE
    assert variant.quirks == ("double_softmax",)


@pytest.mark.parametrize(("plan", "frozen"), [("paper", []), ("sound", FROZEN)])
def test_matrix_of_the_paper(plan: str, frozen: list[str]) -> None:
    first, *others, alexnet = list_plan(plan)
    assert PLANS[plan].backbones == FIVE_BACKBONES
    assert [v.name for v in (first, *others)] == list(FIVE_BACKBONES)
    assert all(v.name == v.backbone for v in (first, *others, alexnet))
    assert names(first.rows) == [*TWELVE, *ATTENTION, *REGIONS, *frozen]
    for variant in others:
        assert names(variant.rows) == TABLE_5
    assert alexnet.name == "alexnet"
    assert names(alexnet.rows) == ALEXNET


def test_without_msx_infrared_takes_its_place_in_table_5() -> None:
    first, second, *_ = list_plan("paper", (V, IR))
    assert (
        names(first.rows)[:5]
        == names(second.rows)
        == [
            "visible",
            "infrared",
            "early-visible-infrared-1step",
            "early-visible-infrared-3step",
            "late-visible-infrared",
        ]
    )


def test_plan_of_one_modality_has_nothing_to_fuse() -> None:
    for plan in ("paper", "sound"):
        for variant in list_plan(plan, (M,)):
            assert {row.fusion for row in variant.rows} == {"single"}
    (variant,) = list_plan("paper", (M,), backbones=("vgg16",))
    assert names(variant.rows) == ["msx"]


def test_rows_cut_a_plan_down_and_drop_empty_tables() -> None:
    assert [(v.name, names(v.rows)) for v in list_plan("sound", rows=("svm",))] == [
        ("resnet18", [*REGIONS, *FROZEN]),
        ("alexnet", ALEXNET),
    ]
    singles = list_plan("paper", rows=("single",), backbones=("vgg16", "ghostnet"))
    assert [names(v.rows) for v in singles] == [TWELVE[:3], ["visible", "msx"]]
    with pytest.raises(ConfigError, match=r"frozen-svm-msx leaves nothing of the plan 'paper'"):
        list_plan("paper", rows=("frozen-svm-msx",))
    with pytest.raises(ConfigError, match="Did you mean 'visible'"):
        list_plan("sound", rows=("visibel",))


def test_plan_quirks_switches_on_one_quirk_at_a_time() -> None:
    none, *switched = list_plan("quirks")
    assert (none.name, none.quirks) == ("none", ())
    assert [(v.name, v.quirks) for v in switched] == [(quirk, (quirk,)) for quirk in QUIRKS]
    for variant in (none, *switched):
        assert variant.backbone == "resnet18"
        assert names(variant.rows) == [
            "visible",
            "infrared",
            "early-visible-infrared-3step",
            "late-visible-infrared",
        ]


def test_plan_quirks_takes_one_backbone() -> None:
    assert {v.backbone for v in list_plan("quirks", backbones=("vgg16", "vgg16"))} == {"vgg16"}
    with pytest.raises(ConfigError, match="one backbone, not vgg16, resnet18"):
        list_plan("quirks", backbones=("vgg16", "resnet18"))


def test_a_backbone_named_twice_is_one_table_and_alexnet_has_its_svms() -> None:
    variants = list_plan("paper", backbones=("vgg16", "alexnet", "vgg16"))
    assert [v.name for v in variants] == ["vgg16", "alexnet"]
    assert names(variants[1].rows) == [*TABLE_5, *ALEXNET]


def test_quirks_asked_for_are_in_every_table() -> None:
    for plan in ("paper", "sound"):
        assert {v.quirks for v in list_plan(plan, quirks=("image_split",))} == {("image_split",)}
    with_image = {v.name: v.quirks for v in list_plan("quirks", quirks=("image_split",))}
    assert with_image["none"] == with_image["image_split"] == ("image_split",)
    assert with_image["double_softmax"] == ("double_softmax", "image_split")


def test_no_plan_has_two_tables_of_one_name() -> None:
    for plan in PLANS:
        tables = [variant.name for variant in list_plan(plan)]
        assert len(set(tables)) == len(tables)
        assert all(tables)
