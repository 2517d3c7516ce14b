from typing import get_args

import pytest

from ferfusion.data.augmentation import count_copies
from ferfusion.expression import NVIE, VIRI
from ferfusion.study.known_recipe import describe_known_recipe
from ferfusion.study.published import PUBLISHED, TABLES, Mark

NUMBERS = [
    (row, backbone, labels)
    for labels, backbones in PUBLISHED.items()
    for backbone, rows in backbones.items()
    for row in rows
]


def facts(row: str, backbone: str = "resnet18", labels: tuple[str, ...] = VIRI) -> dict[str, tuple]:
    return {
        what: (value, mark) for what, value, mark in describe_known_recipe(row, backbone, labels)
    }


@pytest.mark.parametrize(("row", "backbone", "labels"), NUMBERS)
def test_every_fact_has_a_mark_and_comes_once(
    row: str, backbone: str, labels: tuple[str, ...]
) -> None:
    told = describe_known_recipe(row, backbone, labels)
    assert told
    assert all(what and value and mark in get_args(Mark) for what, value, mark in told)
    assert len({what for what, _, _ in told}) == len(told)
    assert any(what == "split" for what, _, _ in told)


def test_places_in_tables_have_a_recipe() -> None:
    for table in TABLES:
        for place in table.places:
            assert describe_known_recipe(place.row, place.backbone, place.labels), place


def test_nothing_is_said_of_what_nobody_trained() -> None:
    for row, backbone, labels in (
        ("visible", "resnet18", VIRI[:4]),
        ("visible", "resnet50", VIRI),
        ("msx", "resnet18", NVIE),
        ("alexnet-svm-visible", "alexnet", NVIE),
        ("alexnet-svm-visible", "resnet18", VIRI),
        ("regions-svm-visible", "none", VIRI),
        ("frozen-svm-visible", "resnet18", VIRI),
        ("attention-visible", "vgg16", VIRI),
        ("attention-msx", "resnet18", VIRI),
    ):
        assert describe_known_recipe(row, backbone, labels) == ()


def test_what_the_paper_says_of_training() -> None:
    for row in ("visible", "infrared", "early-visible-msx-1step"):
        known = facts(row)
        assert known["epochs"] == ("100", "paper")
        assert known["schedule"] == ("ReduceLROnPlateau", "paper")
        assert known["loss"] == ("cross-entropy", "paper")
        assert known["optimiser"][1] == known["batch"][1] == "follow-up"
        assert known["normalisation"][1] == "follow-up"
    assert facts("early-visible-infrared-3step", labels=NVIE)["schedule"][0] == "CosineAnnealingLR"
    assert facts("visible", labels=NVIE)["schedule"][0] == "ReduceLROnPlateau"


def test_copies_are_those_of_our_policy() -> None:
    assert facts("visible")["augmentation"][0].startswith(f"{count_copies('paper')} of each")


def test_late_fusion_trains_nothing_and_names_its_weights() -> None:
    known = facts("late-visible-infrared-msx")
    assert known["weights"] == (".5 visible, .2 infrared, .3 MSX", "paper")
    assert "epochs" not in known
    for row in ("late-visible-infrared", "late-visible-msx", "late-visible-infrared-msx"):
        shares = [float(part.split()[0]) for part in facts(row)["weights"][0].split(", ")]
        assert sum(shares) == pytest.approx(1)


def test_first_weights_tell_1_step_from_3_step() -> None:
    one, three = facts("early-visible-msx-1step"), facts("early-visible-msx-3step")
    assert one["first weights"] == ("ImageNet", "paper")
    assert three["first weights"] == ("the trained single models", "paper")
    assert one["joined features"][0].startswith("2 times 512")
    known = facts("early-visible-infrared-msx-3step")
    assert known["joined features"][0].startswith("3 times 512")
    assert facts("early-visible-msx-1step", "mobilenet_v2")["joined features"][0].startswith(
        "2 times 1280"
    )


def test_heads_differ_by_modality() -> None:
    assert facts("infrared")["dropout"] == (
        ".7 and .8; the layers are 512, 256, classes",
        "follow-up",
    )
    assert facts("visible")["dropout"][1] == "follow-up"
    assert facts("msx")["dropout"][1] == "inferred"
    assert facts("msx", "ghostnet")["heads"][1] == "paper"


def test_attention_is_the_follow_ups() -> None:
    assert "W x^2" in facts("attention-infrared")["attention"][0]
    assert facts("attention-visible")["epochs"] == ("50", "follow-up")
    assert facts("attention-early-visible-infrared-3step")["epochs"] == ("150", "follow-up")
