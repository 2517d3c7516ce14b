"""A trained model in its own PyTorch, asked as a graph is asked."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ferfusion.data.cache import resize
from ferfusion.data.loading import normalise
from ferfusion.evaluation.collect import exact_convolutions
from ferfusion.inference.model_facts import ModelFacts, name_picture
from ferfusion.inference.runner import Runner
from ferfusion.models.blueprint import list_needed
from ferfusion.models.checkpoint import Checkpoint, load_checkpoint


def open_checkpoint(
    source: Path | Checkpoint, *, temperature: float = 1.0, device: str = "cpu"
) -> Runner:
    """Makes a trained model ready to be asked, in fp32.

    Args:
        source: The folder of a run, or the model itself, which is put into evaluation mode.
        temperature: What logits are divided by; see `fit_temperature`.
        device: Where to run, as torch names it.

    Raises:
        CheckpointError: The folder holds no model, or a damaged one.
    """
    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    preprocessing = checkpoint.preprocessing
    facts = describe_checkpoint(checkpoint, temperature)
    place = torch.device(device)
    model = checkpoint.model.eval().to(place)

    @torch.inference_mode()
    def ask(
        pictures: Mapping[str, UInt8[np.ndarray, "batch _ _ 3"]],
    ) -> Float[np.ndarray, "batch classes"]:
        squares = {
            m: torch.from_numpy(
                np.stack([resize(p, facts.size_px) for p in pictures[name_picture(m)]])
            )
            for m in facts.modalities
        }
        with exact_convolutions():
            logits = model(normalise(squares, preprocessing, place)).double()
        return (logits / temperature).softmax(dim=1).cpu().numpy()

    return Runner(facts, ask, "pytorch")


def describe_checkpoint(checkpoint: Checkpoint, temperature: float = 1.0) -> ModelFacts:
    """Gives what a trained model takes and gives, without modalities that it never looks at."""
    blueprint, preprocessing = checkpoint.blueprint, checkpoint.preprocessing
    modalities = list_needed(blueprint)
    return ModelFacts(
        labels=blueprint.labels,
        modalities=modalities,
        size_px=preprocessing.size_px,
        precision="fp32",
        temperature=temperature,
        fusion=blueprint.fusion,
        backbone=blueprint.backbone,
        versions={package: version(package) for package in ("ferfusion", "torch")},
        heat=preprocessing.heat,
        mean={m: preprocessing.mean[m] for m in modalities},
    )
