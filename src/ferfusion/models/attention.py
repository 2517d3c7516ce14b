"""Channel attention, as in the authors' follow-up of 2025: features are weighed by a gate."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ferfusion.modality import Modality


class ChannelGate(nn.Module):
    """Lets each feature pass by a share between 0 and 1 that follows from all features.

    `x * sigmoid(W x)`, or `x * sigmoid(W x^2)` with squares.

    Source:
        The code of Naseem et al. 2025, "FER using visible and IR by early fusion of deep learning
        with attention mechanism" (PeerJ CS 11:e2676): W is 512 x 512 on ResNet-18's features.

    Deviation:
        W starts at zero, so at first every feature passes by the same half. A random W would
        spoil the features of pretrained trunks, and would need a warm-up like a head's. That W has
        no bias is our reading.
    """

    def __init__(self, width: int, *, takes_squares: bool) -> None:
        super().__init__()
        self.takes_squares = takes_squares
        self.weight = nn.Parameter(torch.zeros(width, width))

    def forward(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Gives the features, each times its share."""
        looked_at = features.square() if self.takes_squares else features
        return features * nn.functional.linear(looked_at, self.weight).sigmoid()


class Interleave(nn.Module):
    """Puts joined features of equal length in turns: a1 a2 b1 b2 becomes a1 b1 a2 b2.

    A fully connected layer that follows can learn the same with either order. It is here so that
    the layers are those of the follow-up.
    """

    def __init__(self, n_parts: int) -> None:
        super().__init__()
        self.n_parts = n_parts

    def forward(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Gives the same values in another order."""
        return features.unflatten(1, (self.n_parts, -1)).transpose(1, 2).flatten(1)


def build_gate(modality: Modality, width: int) -> ChannelGate:
    """Builds the gate of a modality: infrared's looks at squares, the others' don't.

    Deviation:
        The follow-up has no MSX pictures. Their gate is the visible one, as their head is.
    """
    return ChannelGate(width, takes_squares=modality is Modality.INFRARED)
