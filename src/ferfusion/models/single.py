"""One backbone and one head on one modality."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from ferfusion.modality import Modality
from ferfusion.models.backbones import extract_features


class SingleModel(nn.Module):
    """Recognises expressions from one modality.

    Source:
        Naseem et al. 2024, Figs 3, 4 and 5; with a gate, Naseem et al. 2025 (`attention.py`).
    """

    def __init__(
        self,
        modality: Modality,
        trunk: nn.Module,
        head: nn.Module,
        gate: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.modalities = (modality,)
        self.trunks = nn.ModuleDict({str(modality): trunk})
        # No trunk's and no head's: a gate learns at the head's rate, and warm-up leaves it alone.
        self.gates = nn.ModuleDict({str(modality): nn.Identity() if gate is None else gate})
        self.head = head

    def forward(
        self, pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]]
    ) -> Float[Tensor, "batch classes"]:
        """Gives logits."""
        return self.head(self.features(pictures))

    def features(
        self, pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]]
    ) -> Float[Tensor, "batch width"]:
        """Gives what the head looks at: the trunk's features, gated where there is a gate."""
        (modality,) = self.modalities
        features = extract_features(self.trunks[str(modality)], pictures[modality])
        return self.gates[str(modality)](features)
