"""Using a model for a moment and giving it back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def borrow(model: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Gives the model in evaluation mode on a device; afterwards it is as it was found.

    Each part goes back to its own mode: a model in training may have norms that are not.
    """
    modes = [(module, module.training) for module in model.modules()]
    home = next((tensor.device for tensor in model.state_dict().values()), device)
    try:
        yield model.eval().to(device)
    finally:
        for module, was_training in modes:
            module.training = was_training
        model.to(home)
