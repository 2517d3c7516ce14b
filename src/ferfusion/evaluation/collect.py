"""From a model and pictures to predictions; the one file of this floor that knows torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from ferfusion.data.loading import Loader, normalise
from ferfusion.evaluation.predictions import Predictions
from ferfusion.preprocessing import Preprocessing


@torch.inference_mode()
def collect(
    model: nn.Module,
    loader: Loader,
    preprocessing: Preprocessing,
    classes: tuple[str, ...],
    device: torch.device,
) -> Predictions:
    """Asks a model about every sample of a loader, in order, in full precision.

    Args:
        model: Gives logits; it is put into evaluation mode and back.
        loader: Without augmentation.
        preprocessing: What the model was trained with.
        classes: In the order of the logits.
        device: Where to run; the model is moved there.
    """
    was_training = model.training
    model.to(device).eval()
    with exact_convolutions():
        probs = [
            model(normalise(batch.pictures, preprocessing, device)).double().softmax(dim=1).cpu()
            for batch in loader.in_order()
        ]
    model.train(was_training)
    samples = [loader.store.samples[row] for row in loader.rows]
    return Predictions(
        sample_ids=tuple(s.id for s in samples),
        subjects=tuple(s.subject for s in samples),
        classes=classes,
        labels=loader.labels.astype(np.int64),
        probs=torch.cat(probs).numpy(),
    )


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Keeps NVIDIA's GPUs from multiplying with 10 bits of fp32's 23, as torch lets them."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
