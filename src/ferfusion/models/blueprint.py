"""What a model is made of, as plain values; and putting one together from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from ferfusion.modality import Modality
from ferfusion.models.attention import build_gate
from ferfusion.models.backbones import NO_WEIGHTS, build_trunk, find_backbone
from ferfusion.models.early_fusion import EarlyFusionModel
from ferfusion.models.heads import (
    build_attention_head,
    build_fused_attention_head,
    build_fused_head,
    build_head,
)
from ferfusion.models.late_fusion import LateFusionModel
from ferfusion.models.single import SingleModel

Fusion = Literal["single", "early", "late"]


@dataclass(frozen=True)
class Blueprint:
    """All one needs to know to build a model.

    Attributes:
        fusion: `single`, `early` (features joined) or `late` (probabilities mixed).
        backbone: Name of the trunk, the same for every modality.
        modalities: In the fixed order.
        labels: Class names in the order of the logits.
        dropout: Factor on the paper's dropout rates.
        mixture: Late fusion's weight of each modality; None for the others.
        attention: Whether features go through channel gates, with the heads of the follow-up.
    """

    fusion: Fusion
    backbone: str
    modalities: tuple[Modality, ...]
    labels: tuple[str, ...]
    dropout: float = 1.0
    mixture: Mapping[Modality, float] | None = None
    attention: bool = False

    def to_json(self) -> dict[str, Any]:
        """Gives plain values that `from_json` reads back."""
        mixture = None if self.mixture is None else {str(m): w for m, w in self.mixture.items()}
        return {
            "fusion": self.fusion,
            "backbone": self.backbone,
            "modalities": [str(m) for m in self.modalities],
            "labels": list(self.labels),
            "dropout": self.dropout,
            "mixture": mixture,
            "attention": self.attention,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Blueprint":
        """Reads what `to_json` gave, also before there was attention.

        Raises:
            ValueError: There is no such fusion or modality; other errors if values are of no use.
        """
        mixture = values["mixture"]
        if values["fusion"] not in get_args(Fusion):
            raise ValueError(f"there is no fusion {values['fusion']!r}")
        return Blueprint(
            fusion=values["fusion"],
            backbone=str(values["backbone"]),
            modalities=tuple(Modality(m) for m in values["modalities"]),
            labels=tuple(values["labels"]),
            dropout=float(values["dropout"]),
            mixture=None if mixture is None else {Modality(m): w for m, w in mixture.items()},
            attention=bool(values.get("attention", False)),
        )


def assemble(blueprint: Blueprint, weights: str = NO_WEIGHTS) -> nn.Module:
    """Builds the model; heads and, without weights, trunks start at random.

    Args:
        blueprint: What to build.
        weights: Of the trunks: `imagenet`, `none`, or a file.

    Raises:
        WeightsError: The weights can't be had or don't fit.
        ConfigError: The backbone is unknown.
    """
    backbone = find_backbone(blueprint.backbone)
    width, n_classes = backbone.width, len(blueprint.labels)
    trunks = {m: build_trunk(backbone, weights) for m in blueprint.modalities}
    gates = {m: build_gate(m, width) for m in blueprint.modalities if blueprint.attention}
    if blueprint.fusion == "early":
        if blueprint.attention:
            head = build_fused_attention_head(len(trunks), width, n_classes, blueprint.dropout)
        else:
            head = build_fused_head(width * len(trunks), n_classes)
        return EarlyFusionModel(trunks, head, gates)
    build = build_attention_head if blueprint.attention else build_head
    singles = {
        m: SingleModel(m, trunk, build(m, width, n_classes, blueprint.dropout), gates.get(m))
        for m, trunk in trunks.items()
    }
    if blueprint.fusion == "single":
        (single,) = singles.values()
        return single
    if blueprint.mixture is None:
        raise ValueError("late fusion needs a mixture")
    return LateFusionModel(singles, blueprint.mixture)


def list_needed(blueprint: Blueprint) -> tuple[Modality, ...]:
    """Lists the modalities that the model really looks at."""
    if blueprint.mixture is None:
        return blueprint.modalities
    return tuple(m for m in blueprint.modalities if blueprint.mixture[m] > 0)


def count_parameters(model: nn.Module) -> int:
    """Counts every weight and bias, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())
