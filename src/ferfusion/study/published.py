"""What the paper and the works it compares with report, as data: numbers, tables and recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ferfusion.expression import NVIE, VIRI

Mark = Literal["paper", "inferred", "follow-up", "abstract"]
"""Where a statement stands: in the text of Naseem et al. 2024; nowhere, but it follows from what
is known; in the paper or code of Naseem et al. 2025; in the abstract of a work they compare with,
whose text we haven't."""

PAPER = "Naseem et al. 2024, section IV"
FOLLOW_UP = "Naseem et al. 2025, PeerJ Computer Science 11:e2676"
FOLLOW_UP_CODE = "code of Naseem et al. 2025"
SIDDIQUI = "Siddiqui and Javaid 2020, MTI 4(3):46, as quoted by Naseem et al. 2024"
WANG = "Wang et al. 2014, Front. Comput. Sci. 8(2):232-242, as quoted by Naseem et al. 2024"
N_VIRI = 90
"""Test images of VIRI: 18 of each class."""


@dataclass(frozen=True)
class Published:
    """One accuracy that somebody reports.

    Attributes:
        percent: As printed.
        correct: Right test images, where the number is a count of a known test set.
        n: That test set's size.
        source: Who reports it.
        mark: Whether the number of this row stands there or was worked out.
        remark: What a reader must know before comparing with it.
    """

    percent: float
    correct: int | None
    n: int | None
    source: str
    mark: Mark
    remark: str = ""


def _viri(percent: float, correct: int, mark: Mark = "paper", remark: str = "") -> Published:
    return Published(percent, correct, N_VIRI, PAPER, mark, remark)


def _of_table_5(
    visible: tuple[float, int],
    msx: tuple[float, int],
    one_step: tuple[float, int],
    three_step: tuple[float, int],
    one_step_remark: str = "",
) -> dict[str, Published]:
    taken = (
        "Which modalities are fused is inferred: visible and MSX are the two whose single models "
        "stand beside it."
    )
    first = f"{taken} {one_step_remark}".strip()
    return {
        "visible": _viri(*visible),
        "msx": _viri(*msx),
        "early-visible-msx-1step": _viri(*one_step, mark="inferred", remark=first),
        "early-visible-msx-3step": _viri(*three_step, mark="inferred", remark=taken),
    }


_OTHER_TEST_SET = (
    "No count of 90, nor do 71.19, 77.34 and 82.26 fit one test set of up to 1200: measured on "
    "other images, so not comparable."
)
_COPY_ERROR = (
    "The paper gives 76.82 for visible alone and for the fusion; one of the two is probably a "
    "copying error."
)
_WHICH_FUSION = "Whether features or decisions were joined is not said, so it stands beside both. "
_NO_COUNT = (
    "How many images were tested is not said; 15 % of 518 samples are 77 to 79, and no count of "
    "those gives this number."
)

_VIRI: Mapping[str, Mapping[str, Published]] = {
    "resnet18": {
        "visible": _viri(81.11, 73),
        "infrared": _viri(50.00, 45, remark="The text says NVIE here, and means VIRI."),
        "msx": _viri(74.44, 67),
        "early-visible-infrared-1step": _viri(83.33, 75),
        "early-visible-infrared-3step": _viri(84.44, 76),
        "early-visible-msx-1step": _viri(85.56, 77),
        "early-visible-msx-3step": _viri(87.78, 79, remark="The best of about 28 models."),
        "early-visible-infrared-msx-1step": _viri(86.67, 78),
        "early-visible-infrared-msx-3step": _viri(86.67, 78),
        "late-visible-infrared": _viri(82.22, 74, remark="Weights .7 and .3."),
        "late-visible-msx": _viri(83.33, 75, remark="Weights .5 and .5."),
        "late-visible-infrared-msx": _viri(84.44, 76, remark="Weights .5, .2 and .3."),
        "attention-visible": Published(82.22, 74, N_VIRI, FOLLOW_UP_CODE, "follow-up"),
        "attention-infrared": Published(
            41.11,
            37,
            N_VIRI,
            FOLLOW_UP_CODE,
            "follow-up",
            "The stored run. A folder's name says 51.1 (46 of 90) for the checkpoint one epoch on.",
        ),
        "attention-early-visible-infrared-3step": Published(
            84.44, 76, N_VIRI, FOLLOW_UP, "follow-up"
        ),
    },
    "vgg16": _of_table_5((76.67, 69), (60.00, 54), (77.78, 70), (78.89, 71)),
    "shufflenet_v2": _of_table_5((77.78, 70), (61.11, 55), (81.11, 73), (82.22, 74)),
    "mobilenet_v2": _of_table_5((80.00, 72), (58.89, 53), (80.00, 72), (83.33, 75)),
    "ghostnet": _of_table_5(
        (74.44, 67), (62.22, 56), (75.55, 68), (77.78, 70), "Printed cut off, not rounded."
    ),
    "alexnet": {
        "alexnet-svm-visible": Published(
            71.19, None, None, SIDDIQUI, "paper", f"{_OTHER_TEST_SET} R .71, P .78, F1 .75."
        ),
        "alexnet-svm-infrared": Published(
            77.34, None, None, SIDDIQUI, "paper", f"{_OTHER_TEST_SET} R .77, P .78, F1 .78."
        ),
        "alexnet-svm-early-visible-infrared": Published(
            82.26, None, None, SIDDIQUI, "paper", f"{_OTHER_TEST_SET} R .82, P .85, F1 .83."
        ),
    },
}

_NVIE: Mapping[str, Mapping[str, Published]] = {
    "resnet18": {
        "visible": Published(82.71, None, None, PAPER, "paper", _NO_COUNT),
        "attention-early-visible-infrared-3step": Published(
            85.20, None, None, FOLLOW_UP, "follow-up", _NO_COUNT
        ),
    },
    "none": {
        "regions-svm-visible": Published(76.82, None, None, WANG, "paper", _COPY_ERROR),
        "regions-svm-infrared": Published(52.90, None, None, WANG, "paper"),
        "regions-svm-early-visible-infrared": Published(
            76.82, None, None, WANG, "inferred", _WHICH_FUSION + _COPY_ERROR
        ),
        "regions-svm-late-visible-infrared": Published(
            76.82, None, None, WANG, "inferred", _WHICH_FUSION + _COPY_ERROR
        ),
    },
}

PUBLISHED: Mapping[tuple[str, ...], Mapping[str, Mapping[str, Published]]] = MappingProxyType(
    {VIRI: _VIRI, NVIE: _NVIE}
)
"""Per class names (VIRI's or NVIE's), backbone and row. The baselines' backbone is `alexnet`, or
`none` where no network takes part. What the paper prints in pictures that are lost to us is
missing: NVIE's infrared and fused models, and precision, recall and F1 of all models."""

ELSEWHERE: Mapping[str, Published] = MappingProxyType(
    {
        "VIRI, visible, infrared and speech": Published(
            86.36,
            None,
            None,
            "Siddiqui and Javaid 2020, MTI 4(3):46",
            "abstract",
            "The speech is RAVDESS's, so other people speak than are seen: no paired samples.",
        ),
        "RWTH Aachen thermal faces, 8 classes": Published(
            88.43,
            None,
            None,
            "Bhattacharyya et al. 2021, Scientific Reports",
            "abstract",
            "Thermal alone, in another set.",
        ),
        "FER2013, visible": Published(
            69.3, None, None, "Zou et al. 2021, Journal on Artificial Intelligence", "abstract"
        ),
        "CK+, visible": Published(
            94.6, None, None, "Zou et al. 2021, Journal on Artificial Intelligence", "abstract"
        ),
    }
)
"""Numbers that no row of ours can stand beside."""

VISIBLE_CORRECT: Mapping[str, int] = MappingProxyType(
    {"angry": 13, "happy": 17, "neutral": 15, "sad": 13, "surprised": 15}
)
"""[paper] Right ones among each class's 18 test images of VIRI, visible ResNet-18. Of the wrong
angry ones 2 were called neutral, 1 sad, 2 surprised."""

ATTENTION_VISIBLE_CONFUSION: tuple[tuple[int, ...], ...] = (
    (16, 0, 0, 0, 2),
    (0, 18, 0, 0, 0),
    (1, 0, 16, 1, 0),
    (3, 0, 5, 10, 0),
    (2, 0, 2, 0, 14),
)
"""[follow-up] Visible with attention on VIRI: rows are true classes, in VIRI's order."""


def find_published(row_name: str, backbone: str, labels: Sequence[str]) -> Published | None:
    """Finds what is reported for a row and backbone on the data set with these classes.

    >>> found = find_published("visible", "resnet18", VIRI)
    >>> (found.correct, found.n) if found else None
    (73, 90)

    Returns:
        None where nothing is reported, or where it is lost to us.
    """
    return PUBLISHED.get(tuple(labels), {}).get(backbone, {}).get(row_name)


@dataclass(frozen=True)
class Place:
    """A row of the comparison in a table or figure of the paper."""

    row: str
    backbone: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table or figure of the paper.

    Attributes:
        name: As the paper numbers it.
        shows: What it shows, and what of that is lost.
        mark: Whether the text says which rows stand there, or we infer it.
        places: The rows.
    """

    name: str
    shows: str
    mark: Mark
    places: tuple[Place, ...]


def _place(labels: tuple[str, ...], backbone: str, names: Sequence[str]) -> tuple[Place, ...]:
    return tuple(Place(name, backbone, labels) for name in names)


_SINGLE = ("visible", "infrared", "msx")
_EARLY = tuple(
    f"early-{fused}-{steps}step"
    for steps in (1, 3)
    for fused in ("visible-infrared", "visible-msx", "visible-infrared-msx")
)
_LATE = ("late-visible-infrared", "late-visible-msx", "late-visible-infrared-msx")
_ALEXNET = tuple(_VIRI["alexnet"])
_REGIONS = tuple(_NVIE["none"])
_NVIE_ROWS = (
    "visible",
    "infrared",
    "early-visible-infrared-1step",
    "early-visible-infrared-3step",
)
_VIRI_ROWS = (*_SINGLE, *_EARLY, *_LATE)
_ALL_PLACES = (*_place(VIRI, "resnet18", _VIRI_ROWS), *_place(NVIE, "resnet18", _NVIE_ROWS))

TABLES: tuple[Table, ...] = (
    Table(
        "Table 3",
        "Accuracy, precision, recall and F1 of the single and early models beside the earlier "
        "works, on both sets. A picture: only the accuracies that the text repeats are known.",
        "inferred",
        (
            *_place(VIRI, "alexnet", _ALEXNET),
            *_place(VIRI, "resnet18", (*_SINGLE, *_EARLY)),
            *_place(NVIE, "none", _REGIONS),
            *_place(NVIE, "resnet18", _NVIE_ROWS),
        ),
    ),
    Table(
        "Table 4",
        "The same of late fusion. A picture; that it is late fusion follows from the order of the "
        "text.",
        "inferred",
        _place(VIRI, "resnet18", _LATE),
    ),
    Table(
        "Table 5",
        "Accuracy of four other backbones on VIRI: visible, MSX, 1-step and 3-step.",
        "paper",
        tuple(
            place
            for backbone in ("vgg16", "shufflenet_v2", "mobilenet_v2", "ghostnet")
            for place in _place(VIRI, backbone, tuple(_VIRI[backbone]))
        ),
    ),
    Table(
        "Figs 8 to 12",
        "Pictures. What each shows is not known to us: the text speaks of confusions between "
        "classes, so confusion matrices are among them. Any ResNet-18 model may stand there.",
        "inferred",
        _ALL_PLACES,
    ),
    Table(
        "Fig. 13",
        "Class activation maps, on NVIE only. Of which models is not known to us.",
        "inferred",
        _place(NVIE, "resnet18", _NVIE_ROWS),
    ),
)
