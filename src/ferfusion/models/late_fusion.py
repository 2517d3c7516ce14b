"""Late fusion: a weighted sum of the single models' probabilities. Nothing is trained."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ferfusion.modality import MODALITIES, Modality


def mix_probs(
    probs: Mapping[Modality, Float[np.ndarray, "samples classes"]],
    weights: Mapping[Modality, float],
) -> Float[np.ndarray, "samples classes"]:
    """Mixes the probabilities of single models.

    Args:
        probs: Per modality, rows aligned by sample.
        weights: Per modality, not negative, summing to 1.

    Source:
        Naseem et al. 2024, section III-B.

    Raises:
        ValueError: The weights are not on the simplex or don't match the modalities.
    """
    if set(probs) != set(weights):
        raise ValueError(f"weights for {sorted(weights)} but probabilities of {sorted(probs)}")
    values = np.array(list(weights.values()))
    if (values < 0).any() or not np.isclose(values.sum(), 1):
        raise ValueError(f"weights must be >= 0 and sum to 1, not {dict(weights)}")
    mixed = sum(weights[modality] * probs[modality] for modality in probs)
    return np.asarray(mixed)


class LateFusionModel(nn.Module):
    """The single models and their mixture as one model.

    Its logits are the logarithms of the mixed probabilities, so that softmax gives the mixture.
    """

    def __init__(
        self, singles: Mapping[Modality, nn.Module], weights: Mapping[Modality, float]
    ) -> None:
        super().__init__()
        self.modalities = tuple(m for m in MODALITIES if m in singles)
        self.singles = nn.ModuleDict({str(m): singles[m] for m in self.modalities})
        self.weights = {m: float(weights[m]) for m in self.modalities}

    def forward(
        self, pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]]
    ) -> Float[Tensor, "batch classes"]:
        """Gives logits. Models of weight 0 are not run."""
        mixed = [
            weight * self.singles[str(m)](pictures).softmax(dim=1)
            for m, weight in self.weights.items()
            if weight > 0
        ]
        probs = torch.stack(mixed).sum(dim=0)
        return probs.clamp_min(torch.finfo(probs.dtype).tiny).log()
