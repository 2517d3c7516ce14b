"""The rows of the paper's comparison, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ferfusion.errors import ConfigError, unknown_name
from ferfusion.expression import VIRI
from ferfusion.modality import MODALITIES, Modality

_V, _I, _M = MODALITIES


def _of_table_5(visible: int, msx: int, one_step: int, three_step: int) -> dict[str, int]:
    return {
        "visible": visible,
        "msx": msx,
        "early-visible-msx-1step": one_step,
        "early-visible-msx-3step": three_step,
    }


PAPER_CORRECT: Mapping[str, Mapping[str, int]] = {
    "resnet18": {
        "visible": 73,
        "infrared": 45,
        "msx": 67,
        "early-visible-infrared-1step": 75,
        "early-visible-infrared-3step": 76,
        "early-visible-msx-1step": 77,
        "early-visible-msx-3step": 79,
        "early-visible-infrared-msx-1step": 78,
        "early-visible-infrared-msx-3step": 78,
        "late-visible-infrared": 74,
        "late-visible-msx": 75,
        "late-visible-infrared-msx": 76,
    },
    "vgg16": _of_table_5(69, 54, 70, 71),
    "shufflenet_v2": _of_table_5(70, 55, 73, 74),
    "mobilenet_v2": _of_table_5(72, 53, 72, 75),
    "ghostnet": _of_table_5(67, 56, 68, 70),
}
"""Right ones among the paper's 90 VIRI test images (Naseem et al. 2024, section IV).

The fused rows of the other backbones (Table 5) are taken to be visible + MSX, the only fusion whose
single models the table has.
"""
PAPER_N_TEST = 90

COMBINATIONS: tuple[tuple[Modality, ...], ...] = ((_V, _I), (_V, _M), (_V, _I, _M))
"""What the paper fuses; it never fuses infrared with MSX alone."""


@dataclass(frozen=True)
class Row:
    """One model of a comparison.

    Attributes:
        fusion: `single`, `early` or `late`.
        modalities: In the fixed order.
        steps: 1 or 3 for early fusion, None for the others.
    """

    fusion: Literal["single", "early", "late"]
    modalities: tuple[Modality, ...]
    steps: Literal[1, 3] | None = None

    @property
    def name(self) -> str:
        """The row's name on the command line, in tables and of its folder."""
        words = [] if self.fusion == "single" else [self.fusion]
        words += [str(m) for m in self.modalities]
        return "-".join([*words, *([f"{self.steps}step"] if self.steps else [])])

    @property
    def needs(self) -> tuple["Row", ...]:
        """The single models that must be trained before this row."""
        if self.fusion == "late" or self.steps == 3:
            return tuple(Row("single", (m,)) for m in self.modalities)
        return ()

    def paper_accuracy(self, backbone: str, labels: Sequence[str]) -> float | None:
        """What the paper reports for this row and backbone on VIRI, if the classes are VIRI's."""
        correct = PAPER_CORRECT.get(backbone, {}).get(self.name)
        return None if correct is None or tuple(labels) != VIRI else correct / PAPER_N_TEST


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


def choose_rows(names: Sequence[str], modalities: Sequence[Modality]) -> tuple[Row, ...]:
    """Picks rows by name or by kind: all, single, early, 1-step, 3-step, late.

    Raises:
        ConfigError: A name fits no row; the nearest known one is named.
    """
    rows = list_rows(modalities)
    kinds = {
        "all": rows,
        "single": [r for r in rows if r.fusion == "single"],
        "early": [r for r in rows if r.fusion == "early"],
        "1-step": [r for r in rows if r.steps == 1],
        "3-step": [r for r in rows if r.steps == 3],
        "late": [r for r in rows if r.fusion == "late"],
    }
    known = {**kinds, **{row.name: [row] for row in rows}}
    chosen: set[Row] = set()
    for name in names:
        if name not in known:
            raise ConfigError(unknown_name("row", name, known))
        chosen.update(known[name])
    if not chosen:
        raise ConfigError(
            f"--rows {','.join(names)} leaves nothing to do with {', '.join(modalities)} alone."
        )
    return tuple(row for row in rows if row in chosen)
