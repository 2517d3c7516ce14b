"""What a training makes small."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ferfusion.training.recipe import Recipe


def compute_loss(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], recipe: Recipe
) -> Float[Tensor, ""]:
    """Gives the mean cross-entropy of a batch, smoothed as the recipe says."""
    taken = as_loss_takes(logits, recipe)
    return functional.cross_entropy(taken, labels, label_smoothing=recipe.label_smoothing)


def as_loss_takes(
    logits: Float[Tensor, "batch classes"], recipe: Recipe
) -> Float[Tensor, "batch classes"]:
    """Gives what cross-entropy is computed of: logits, or their softmax as in the authors' code.

    >>> import torch
    >>> logits = torch.tensor([[0.0, 0.0]])
    >>> as_loss_takes(logits, Recipe(quirks=("double_softmax",))).tolist()
    [[0.5, 0.5]]

    Source:
        The authors' later code ends its model with softmax and applies PyTorch's cross-entropy,
        which applies log-softmax itself. That Naseem et al. 2024 did the same is inferred.
    """
    return logits.softmax(dim=1) if "double_softmax" in recipe.quirks else logits
