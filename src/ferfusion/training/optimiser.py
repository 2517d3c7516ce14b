"""Optimisers: built for a recipe, taken apart for a file and put back."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from ferfusion.training.recipe import Recipe


def build_optimiser(model: nn.Module, trunks: nn.Module, recipe: Recipe) -> Optimizer:
    """Builds the optimiser: heads and trunks have their own rates; biases and norms don't decay."""
    in_trunks = {id(p) for p in trunks.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in in_trunks, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    described: list[dict[str, Any]] = []
    # Heads come first, so that group 0's rate is the head's.
    for (is_trunk, decays), parameters in sorted(groups.items(), key=lambda item: item[0]):
        rate = recipe.backbone_learning_rate if is_trunk else recipe.learning_rate
        decay = recipe.weight_decay if decays else 0.0
        described.append({"params": parameters, "lr": rate, "peak_lr": rate, "weight_decay": decay})
    # On a GPU all weights are stepped at once; elsewhere torch decides, as it always did.
    fused = True if next(model.parameters()).is_cuda else None
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(described, momentum=0.9, fused=fused)
    if recipe.optimiser == "adam":
        return torch.optim.Adam(described, fused=fused)
    return torch.optim.AdamW(described, fused=fused)


def pack_optimiser(optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Takes an optimiser's state apart into tensors and plain values."""
    state = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {"groups": state["param_groups"], "state": {}}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{index}/{name}"] = value
            else:
                scalars["state"].setdefault(str(index), {})[name] = value
    return tensors, scalars


def unpack_optimiser(
    optimiser: Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]
) -> None:
    """Puts back what `pack_optimiser` took apart; tensors of other names are passed over.

    Each tensor gets its weight's own layout in memory, which files don't keep and which the fused
    optimisers of GPUs insist on.
    """
    state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in scalars["state"].items()}
    for key, value in strip_prefix("optimiser/", tensors).items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": scalars["groups"]})
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter.detach()).copy_(value)


def strip_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gives the tensors whose names begin so, without that beginning."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
