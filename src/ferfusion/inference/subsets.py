"""What a fused model says when only some of its modalities are known, for every subset of them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ferfusion.data.loading import normalise
from ferfusion.errors import ConfigError, unknown_name
from ferfusion.evaluation.shapley import Subset, list_subsets
from ferfusion.modality import Modality
from ferfusion.models.borrowing import borrow
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.models.early_fusion import EarlyFusionModel
from ferfusion.models.late_fusion import LateFusionModel

ABSENT = {
    "others": "pictures of other faces take its place, one after the other, and answers are "
    "averaged",
    "mean": "the mean picture of other faces takes its place",
    "left-out": "its model is left out, and the weights of the others are raised to sum to 1",
}
"""What stands for a modality that isn't known."""

Pictures = Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]]
Fused = EarlyFusionModel | LateFusionModel
Parts = Mapping[Modality, Tensor]


def value_subsets(
    checkpoint: Checkpoint,
    pictures: Pictures,
    classes: Int[np.ndarray, " samples"],
    others: Mapping[Modality, UInt8[np.ndarray, "others size size 3"]],
    *,
    absent: str = "others",
    device: torch.device | None = None,
    batch_size: int = 32,
) -> dict[Subset, Float[np.ndarray, " samples"]]:
    """Gives the probability of a class for every subset of the modalities that a sample shows.

    Every trunk runs once a picture; only what joins the modalities runs for each subset, so that
    many other faces cost little. Where several modalities are unknown, they come from the same
    other face.

    Args:
        checkpoint: Early or late fusion; it is left as it was found.
        pictures: At the size of the checkpoint's preprocessing.
        classes: Which class, per sample.
        others: Faces that stand for the unknown, at least one.
        absent: One of `ABSENT`; `left-out` for late fusion only.
        device: Where to run; None is the CPU.
        batch_size: Samples at once.

    Raises:
        ConfigError: The way is unknown or doesn't fit the model.
        ValueError: The model has one modality, or there is no other face.
    """
    check_absent(checkpoint, absent)
    fused = checkpoint.model
    if not isinstance(fused, EarlyFusionModel | LateFusionModel):
        raise ValueError("A single model has no subsets of modalities.")
    modalities = checkpoint.blueprint.modalities
    if not len(others[modalities[0]]):
        raise ValueError("At least one other face is needed.")
    device = device or torch.device("cpu")
    subsets = list_subsets(modalities)
    values: dict[Subset, np.ndarray] = {subset: np.zeros(len(classes)) for subset in subsets}
    with borrow(fused, device), torch.inference_mode():
        background = _encode_background(checkpoint, fused, others, absent, device, batch_size)
        for rows, batch in _batches(pictures, modalities, batch_size):
            known = _encode(fused, normalise(batch, checkpoint.preprocessing, device))
            for place, row in enumerate(range(rows.start, rows.stop)):
                own = {m: part[place : place + 1] for m, part in known.items()}
                for subset in subsets:
                    if absent == "left-out" and isinstance(fused, LateFusionModel):
                        probs = _mix_known(fused, own, subset)
                    else:
                        n = len(background[modalities[0]])
                        probs = _answer(
                            fused,
                            {
                                m: own[m].expand(n, -1) if m in subset else background[m]
                                for m in modalities
                            },
                        )
                    values[subset][row] = float(probs[:, int(classes[row])].mean())
    return values


def check_absent(checkpoint: Checkpoint, absent: str) -> None:
    """Refuses a way to take a modality as unknown that there isn't, or not for this model.

    Raises:
        ConfigError: So it is.
    """
    if absent not in ABSENT:
        raise ConfigError(unknown_name("way to leave a modality out", absent, ABSENT))
    if absent == "left-out" and checkpoint.blueprint.fusion == "single":
        raise ConfigError(
            "--absent left-out is for late fusion. This model has one modality, so none can be "
            "taken as unknown: leave --absent out."
        )
    if absent == "left-out" and checkpoint.blueprint.fusion == "early":
        raise ConfigError(
            "--absent left-out is for late fusion, where a model can be left out. Early fusion "
            "needs every modality: take others or mean."
        )


def _encode_background(
    checkpoint: Checkpoint,
    fused: Fused,
    others: Pictures,
    absent: str,
    device: torch.device,
    batch_size: int,
) -> Parts:
    modalities, preprocessing = checkpoint.blueprint.modalities, checkpoint.preprocessing
    if absent == "mean":
        # The mean of bytes, rounded: a picture like any other.
        others = {
            m: others[m].mean(axis=0, keepdims=True).round().astype(np.uint8) for m in modalities
        }
    parts = [
        _encode(fused, normalise(batch, preprocessing, device))
        for _, batch in _batches(others, modalities, batch_size)
    ]
    return {m: torch.cat([part[m] for part in parts]) for m in modalities}


def _encode(fused: Fused, pictures: Mapping[Modality, Tensor]) -> Parts:
    """Runs what each modality has for itself: trunks, or whole single models."""
    if isinstance(fused, EarlyFusionModel):
        return fused.encode(pictures)
    parts: dict[Modality, Tensor] = {}
    for modality, weight in fused.weights.items():
        if weight > 0:
            parts[modality] = fused.singles[str(modality)](pictures).double().softmax(dim=1)
    zeros = torch.zeros_like(next(iter(parts.values())))
    return {m: parts.get(m, zeros) for m in fused.modalities}


def _answer(fused: Fused, parts: Parts) -> Float[Tensor, "batch classes"]:
    if isinstance(fused, EarlyFusionModel):
        joined = torch.cat([parts[m] for m in fused.modalities], dim=1)
        return fused.head(joined).double().softmax(dim=1)
    return torch.stack([weight * parts[m] for m, weight in fused.weights.items()]).sum(dim=0)


def _mix_known(
    fused: LateFusionModel, parts: Parts, subset: Subset
) -> Float[Tensor, "batch classes"]:
    """Mixes the models that are left; without any, every class is equally likely."""
    left = {m: weight for m, weight in fused.weights.items() if m in subset}
    total = sum(left.values())
    one = next(iter(parts.values()))
    if total == 0:
        return torch.full_like(one, 1 / one.shape[1])
    return torch.stack([weight / total * parts[m] for m, weight in left.items()]).sum(dim=0)


def _batches(
    pictures: Pictures, modalities: Sequence[Modality], batch_size: int
) -> Iterator[tuple[slice, dict[Modality, Tensor]]]:
    n = len(pictures[modalities[0]])
    for start, stop in pairwise((*range(0, n, batch_size), n)):
        rows = slice(start, stop)
        yield rows, {m: torch.from_numpy(np.array(pictures[m][rows])) for m in modalities}
