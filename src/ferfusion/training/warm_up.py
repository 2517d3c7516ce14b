"""The head of pretrained trunks, trained by itself before all is trained."""

from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import nn

from ferfusion.data.loading import Loader, normalise
from ferfusion.preprocessing import Preprocessing
from ferfusion.training.features import FeatureCache, FeatureLoader, OnFeatures
from ferfusion.training.loss import compute_loss
from ferfusion.training.recipe import Recipe, seed_for


def warm_up_head(
    fabric: Fabric,
    model: nn.Module,
    train: Loader,
    preprocessing: Preprocessing,
    recipe: Recipe,
    cache: FeatureCache | None = None,
) -> None:
    """Trains the head alone, on features computed once.

    Otherwise the first steps of a head that is still random would spoil the trunks' weights.

    Source:
        Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform
        out-of-distribution" (arXiv 2202.10054): linear probing, then fine-tuning.
    """
    if not recipe.head_epochs:
        return
    model.to(fabric.device).eval()
    whole = replace(train, policy="none", batch_size=64)
    with torch.no_grad(), fabric.autocast():
        if cache is None:
            parts = [
                model.features(normalise(batch.pictures, preprocessing, fabric.device))  # pyright: ignore[reportCallIssue]
                for batch in whole.in_order()
            ]
        else:
            behind = OnFeatures(model)
            parts = [
                behind.join({m: f.to(fabric.device) for m, f in batch.features.items()})
                for batch in FeatureLoader(whole, cache).in_order()
            ]
    features = torch.cat(parts).float()
    labels = torch.from_numpy(train.labels).to(fabric.device)
    head: nn.Module = model.head.train()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    torch.manual_seed(seed_for(recipe.seed, "head"))
    optimiser = torch.optim.AdamW(
        head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    for _ in range(recipe.head_epochs):
        # As even as can be, and not smaller because an epoch has 26 copies of each picture:
        # BatchNorm can't learn from one sample.
        n_batches = max(1, -(-len(labels) // train.batch_size))
        for rows in torch.randperm(len(labels)).to(fabric.device).tensor_split(n_batches):
            loss = compute_loss(head(features[rows]), labels[rows], recipe)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
