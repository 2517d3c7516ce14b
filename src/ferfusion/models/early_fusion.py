"""Early fusion: the features of each modality joined before one classifier."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.backbones import extract_features


class EarlyFusionModel(nn.Module):
    """Recognises expressions from several modalities at once, one trunk each.

    Source:
        Naseem et al. 2024, Fig. 6: features combined, ReLU, fully connected layer. With gates,
        Naseem et al. 2025 (`attention.py`).

    Deviation:
        "Before the last FC layer" can be read two ways; as in the authors' code, whole heads are
        left out and the trunks' features are joined.
    """

    def __init__(
        self,
        trunks: Mapping[Modality, nn.Module],
        head: nn.Module,
        gates: Mapping[Modality, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.modalities = tuple(m for m in MODALITIES if m in trunks)
        self.trunks = nn.ModuleDict({str(m): trunks[m] for m in self.modalities})
        gates = gates or {m: nn.Identity() for m in self.modalities}
        self.gates = nn.ModuleDict({str(m): gates[m] for m in self.modalities})
        self.head = head

    def forward(
        self, pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]]
    ) -> Float[Tensor, "batch classes"]:
        """Gives logits."""
        return self.head(self.features(pictures))

    def features(
        self, pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]]
    ) -> Float[Tensor, "batch width"]:
        """Gives what the head looks at: the trunks' features, gated where there are gates, joined.

        Modality after modality, in the fixed order.
        """
        return torch.cat(list(self.encode(pictures).values()), dim=1)

    def encode(
        self, pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]]
    ) -> dict[Modality, Float[Tensor, "batch width"]]:
        """Gives what each modality adds to `features`, in the fixed order."""
        return {
            m: self.gates[str(m)](extract_features(self.trunks[str(m)], pictures[m]))
            for m in self.modalities
        }
