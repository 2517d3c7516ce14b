"""Which models a study makes, as data: the rows of a table, and plans of many tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ferfusion.errors import ConfigError, unknown_name
from ferfusion.modality import MODALITIES, Modality
from ferfusion.training.recipe import QUIRKS

_V, _I, _M = MODALITIES

COMBINATIONS: tuple[tuple[Modality, ...], ...] = ((_V, _I), (_V, _M), (_V, _I, _M))
"""What the paper fuses; it never fuses infrared with MSX alone."""

Method = Literal["network", "attention", "alexnet-svm", "frozen-svm", "regions-svm"]
SVMS: tuple[Method, ...] = ("alexnet-svm", "frozen-svm", "regions-svm")


@dataclass(frozen=True)
class Row:
    """One model of a comparison.

    Attributes:
        fusion: `single`, `early` (features joined) or `late` (answers mixed).
        modalities: In the fixed order.
        steps: 1 or 3 for early fusion of networks, None for the others.
        method: `network`, the paper's; `attention`, the authors' network of 2025; or a baseline:
            `alexnet-svm`, `frozen-svm` (features of the study's own backbone), `regions-svm`.
    """

    fusion: Literal["single", "early", "late"]
    modalities: tuple[Modality, ...]
    steps: Literal[1, 3] | None = None
    method: Method = "network"

    @property
    def name(self) -> str:
        """The row's name on the command line, in tables and of its folder."""
        words = [] if self.method == "network" else [self.method]
        words += [] if self.fusion == "single" else [self.fusion]
        words += [str(m) for m in self.modalities]
        return "-".join([*words, *([f"{self.steps}step"] if self.steps else [])])

    @property
    def needs(self) -> tuple["Row", ...]:
        """The single models that must be trained before this row."""
        if self.is_svm or (self.fusion != "late" and self.steps != 3):
            return ()
        return tuple(Row("single", (m,), method=self.method) for m in self.modalities)

    @property
    def is_svm(self) -> bool:
        """Whether it is a support vector machine on fixed features; nothing is saved of it."""
        return self.method in SVMS


@dataclass(frozen=True)
class Variant:
    """What the rows of one table share.

    Attributes:
        name: Of its folder; empty where a study has only one.
        backbone: Of every trunk.
        rows: In the order of the table.
        quirks: Of the paper's quirks, those that are switched on.
    """

    name: str
    backbone: str
    rows: tuple[Row, ...]
    quirks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A study of many tables.

    Attributes:
        about: What it is for, in a sentence.
        defaults: Options that differ from the usual ones; a file and the command line still win.
        backbones: What `--backbones` is by default; empty: the one of `--backbone`.
    """

    about: str
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    backbones: tuple[str, ...] = ()


FIVE_BACKBONES = ("resnet18", "vgg16", "shufflenet_v2", "mobilenet_v2", "ghostnet")

PLANS: Mapping[str, Plan] = {
    "paper": Plan(
        "the paper's whole matrix, as far as its recipe is known or can be inferred",
        {
            "split": "paper",
            "augmentation": "paper",
            "epochs": 100,
            "batch_size": 64,
            "optimiser": "adam",
            "learning_rate": 1e-3,
            "backbone_learning_rate": 1e-3,
            "weight_decay": 0.0,
            "schedule": "plateau",
            "label_smoothing": 0.0,
            "dropout": 1.0,
            "head_epochs": 0,
            "frozen_norms": False,
        },
        FIVE_BACKBONES,
    ),
    "sound": Plan(
        "every model of the paper and its baselines, in five folds with nobody in two parts",
        {"split": "subject", "folds": 5},
        FIVE_BACKBONES,
    ),
    "quirks": Plan(
        "what each of the paper's quirks costs or flatters, one at a time, in five folds",
        {"split": "subject", "folds": 5, "augmentation": "paper", "epochs": 2},
    ),
}


def list_rows(modalities: Sequence[Modality]) -> tuple[Row, ...]:
    """Lists the paper's comparison, as far as these modalities go.

    Without visible pictures the paper compares nothing; then all modalities together are fused.
    """
    singles = [Row("single", (m,)) for m in modalities]
    fused = [c for c in COMBINATIONS if set(c) <= set(modalities)]
    if not fused and len(modalities) > 1:
        fused = [tuple(modalities)]
    early = [Row("early", c, steps) for steps in (1, 3) for c in fused]
    return (*singles, *early, *(Row("late", c) for c in fused))


def list_other_rows(modalities: Sequence[Modality]) -> tuple[Row, ...]:
    """Lists what the paper compares with, and what its authors did next.

    Source:
        Siddiqui and Javaid 2020 (`alexnet-svm`); Wang et al. 2014 (`regions-svm`); Naseem et al.
        2025 (`attention`). `frozen-svm` is ours: what the same trunk gives without training.
    """
    pair = (_V, _I)
    rows = [
        *(Row("single", (m,), method="attention") for m in pair),
        Row("early", pair, 3, "attention"),
        *(Row("single", (m,), method="alexnet-svm") for m in pair),
        Row("early", pair, method="alexnet-svm"),
        *(Row("single", (m,), method="regions-svm") for m in pair),
        Row("early", pair, method="regions-svm"),
        Row("late", pair, method="regions-svm"),
        *(Row("single", (m,), method="frozen-svm") for m in MODALITIES),
        *(Row("early", c, method="frozen-svm") for c in COMBINATIONS),
    ]
    return tuple(row for row in rows if set(row.modalities) <= set(modalities))


def choose_rows(
    names: Sequence[str], modalities: Sequence[Modality], *, among: Sequence[Row] = ()
) -> tuple[Row, ...]:
    """Picks rows by name or by kind: all, single, early, 1-step, 3-step, late, attention, svm.

    Args:
        names: As on the command line.
        modalities: What the data has.
        among: What `all` means; empty: the paper's comparison.

    Raises:
        ConfigError: A name fits no row; the nearest known one is named.
    """
    rows = tuple(among) or list_rows(modalities)
    everything = (*list_rows(modalities), *list_other_rows(modalities))
    networks = [r for r in rows if r.method == "network"]
    kinds: dict[str, Sequence[Row]] = {
        "all": rows,
        "single": [r for r in networks if r.fusion == "single"],
        "early": [r for r in networks if r.fusion == "early"],
        "1-step": [r for r in networks if r.steps == 1],
        "3-step": [r for r in networks if r.steps == 3],
        "late": [r for r in networks if r.fusion == "late"],
        "attention": [r for r in (among or everything) if r.method == "attention"],
        "svm": [r for r in (among or everything) if r.is_svm],
    }
    known = {**kinds, **{row.name: [row] for row in everything}}
    chosen: set[Row] = set()
    for name in names:
        if name not in known:
            raise ConfigError(unknown_name("row", name, known))
        chosen.update(known[name])
    if among:
        return tuple(row for row in rows if row in chosen)
    if not chosen:
        raise ConfigError(
            f"--rows {','.join(names)} leaves nothing to do with {', '.join(modalities)} alone."
        )
    return tuple(row for row in everything if row in chosen)


def list_variants(
    plan: str,
    rows: Sequence[str],
    modalities: Sequence[Modality],
    backbones: Sequence[str],
    quirks: Sequence[str] = (),
) -> tuple[Variant, ...]:
    """Lists the tables of a plan.

    Args:
        plan: A name of `PLANS`, or empty for one comparison.
        rows: As on the command line: the plan's own ones are cut down to these.
        modalities: What the data has.
        backbones: The first carries the rows that don't depend on the backbone.
        quirks: Switched on in every table.

    Raises:
        ConfigError: Nothing is left to do, the name of a row is unknown, or there are too many
            backbones.
    """
    quirks = tuple(quirks)
    first, *more = dict.fromkeys(backbones)
    if not plan:
        return (Variant("", first, choose_rows(rows, modalities), quirks),)
    if plan == "quirks":
        if more:
            raise ConfigError(
                f"The plan quirks takes one backbone, not {', '.join((first, *more))}: its tables "
                "differ in the quirks alone. Make one study for each."
            )
        few = [r for r in list_rows(modalities) if r.fusion == "single" or r.steps != 1]
        few = [r for r in few if set(r.modalities) <= {_V, _I}]
        variants = [Variant("none", first, tuple(few), quirks)]
        variants += [
            Variant(quirk, first, tuple(few), tuple(sorted({*quirks, quirk}))) for quirk in QUIRKS
        ]
    else:
        variants = _list_matrix(plan, modalities, (first, *more), quirks)
    chosen = [
        Variant(v.name, v.backbone, choose_rows(rows, modalities, among=v.rows), v.quirks)
        for v in variants
    ]
    if not any(v.rows for v in chosen):
        raise ConfigError(
            f"--rows {','.join(rows)} leaves nothing of the plan '{plan}' with "
            f"{', '.join(modalities)} alone."
        )
    return tuple(v for v in chosen if v.rows)


def _list_matrix(
    plan: str, modalities: Sequence[Modality], backbones: Sequence[str], quirks: tuple[str, ...]
) -> list[Variant]:
    own, others = list_rows(modalities), list_other_rows(modalities)
    # Table 5 of the paper has visible, MSX and their early fusion; late fusion costs nothing more.
    # Without MSX, as in NVIE, infrared takes its place.
    pair = {_V, _M if _M in modalities else _I}
    table_5 = tuple(r for r in own if set(r.modalities) <= pair)
    alexnet = tuple(r for r in others if r.method == "alexnet-svm")
    variants: list[Variant] = []
    for place, backbone in enumerate(backbones):
        rows = own if place == 0 else table_5
        if place == 0:
            wanted = ("attention", "regions-svm", *(("frozen-svm",) if plan == "sound" else ()))
            rows += tuple(r for r in others if r.method in wanted)
        if backbone == "alexnet":
            rows, alexnet = rows + alexnet, ()
        variants.append(Variant(backbone, backbone, rows, quirks))
    return [*variants, Variant("alexnet", "alexnet", alexnet, quirks)] if alexnet else variants
