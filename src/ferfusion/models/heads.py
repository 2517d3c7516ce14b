"""The classifiers that sit on a trunk's features. All give logits; softmax is not their business.

Source:
    Naseem et al. 2024, Figs 3 to 6. The heads that follow a gate: the code of Naseem et al. 2025.

Deviation:
    The paper's networks end in a softmax layer and are trained with cross-entropy, which applies
    a second one; the loss then can't fall below 0.905 for five classes. Here logits come out.
"""

from torch import nn

from ferfusion.modality import Modality
from ferfusion.models.attention import Interleave

HIDDEN = 256


def build_head(modality: Modality, width: int, n_classes: int, dropout: float) -> nn.Module:
    """Builds the head of a single model.

    Args:
        modality: Infrared has a deeper head than visible and MSX.
        width: Length of the feature vector that comes in.
        n_classes: Number of logits that go out.
        dropout: Factor on the paper's dropout rates: 1 keeps them, 0 turns dropout off.

    Source:
        Figs 3 (visible), 4 (infrared) and 5 (MSX) name the layers. Widths and the visible rates
        are those of the authors' later code; the infrared head's 128 and its third rate are our
        guess, since no source gives them.
    """
    if modality is Modality.INFRARED:
        return nn.Sequential(
            nn.Dropout(0.7 * dropout),
            nn.Linear(width, HIDDEN),
            nn.ReLU(),
            nn.BatchNorm1d(HIDDEN),
            nn.Dropout(0.8 * dropout),
            nn.Linear(HIDDEN, HIDDEN // 2),
            nn.ReLU(),
            nn.Dropout(0.5 * dropout),
            nn.Linear(HIDDEN // 2, n_classes),
        )
    return nn.Sequential(
        nn.Dropout(0.4 * dropout),
        nn.Linear(width, HIDDEN),
        nn.Dropout(0.4 * dropout),
        nn.Linear(HIDDEN, n_classes),
    )


def build_fused_head(width: int, n_classes: int) -> nn.Module:
    """Builds the head of early fusion: ReLU, then one fully connected layer.

    Args:
        width: Length of the joined feature vector.
        n_classes: Number of logits that go out.

    Source:
        Fig. 6 and section III-A; the class the authors' code keeps as a comment.
    """
    return nn.Sequential(nn.ReLU(), nn.Linear(width, n_classes))


def build_attention_head(
    modality: Modality, width: int, n_classes: int, dropout: float
) -> nn.Module:
    """Builds the head of a single model with a gate.

    Args:
        modality: Infrared's head is shorter than without a gate; the others' are the same.
        width: Length of the gated feature vector that comes in.
        n_classes: Number of logits that go out.
        dropout: Factor on the follow-up's dropout rates: 1 keeps them, 0 turns dropout off.

    Source:
        The code of Naseem et al. 2025.
    """
    if modality is not Modality.INFRARED:
        return build_head(modality, width, n_classes, dropout)
    return nn.Sequential(
        nn.Dropout(0.7 * dropout),
        nn.Linear(width, HIDDEN),
        nn.ReLU(),
        nn.BatchNorm1d(HIDDEN),
        nn.Dropout(0.8 * dropout),
        nn.Linear(HIDDEN, n_classes),
    )


def build_fused_attention_head(
    n_modalities: int, width: int, n_classes: int, dropout: float
) -> nn.Module:
    """Builds the head of early fusion with gates.

    Args:
        n_modalities: How many feature vectors are joined.
        width: Length of each of them.
        n_classes: Number of logits that go out.
        dropout: Factor on the follow-up's dropout rates.

    Source:
        The code of Naseem et al. 2025, which fuses visible and infrared.

    Deviation:
        The follow-up drops logits at random, too, before its softmax. That takes a class out of
        the question at random, so it is left out. A third modality is joined like the second.
    """
    return nn.Sequential(
        Interleave(n_modalities),
        nn.Dropout(0.2 * dropout),
        nn.Linear(n_modalities * width, HIDDEN),
        nn.ReLU(),
        nn.BatchNorm1d(HIDDEN),
        nn.Dropout(0.2 * dropout),
        nn.Linear(HIDDEN, n_classes),
    )
