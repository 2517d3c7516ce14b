"""The layer of a trunk whose result is a map of the picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ferfusion.errors import ConfigError

LEAST_CELLS = 4
"""A layer's map with fewer cells a side says too little about where."""


@dataclass(frozen=True, eq=False)
class MapLayer:
    """A layer whose result is a map of the picture: its name in the trunk, its cells a side."""

    name: str
    module: nn.Module
    cells: int


def find_map_layer(trunk: nn.Module, picture: Float[Tensor, "1 3 size size"]) -> MapLayer:
    """Finds the last convolutional map that everything in a trunk passes through.

    The trunk is run once, and its layers are looked at in their order: its children, and theirs
    where they are a plain sequence, so that no branch is taken for the whole. Of those that hold
    a convolution and give a map of at least 4 x 4 cells (at 224 pixels 7 x 7 is usual, at 64 pixels
    2 x 2, which says nothing about where) the last is taken, with the norm and activation that
    follow.

    Args:
        trunk: In evaluation mode.
        picture: As the trunk takes it.

    Raises:
        ConfigError: There is none, as in transformers, or the picture is too small for one.
    """
    names = {module: name for name, module in trunk.named_modules()}
    seen: list[tuple[nn.Module, tuple[int, ...]]] = []

    def note(module: nn.Module, _: Any, result: Any) -> None:
        seen.append((module, tuple(result.shape) if isinstance(result, Tensor) else ()))

    hooks = [module.register_forward_hook(note) for module in _follow_chain(trunk)]
    try:
        with torch.no_grad():
            trunk(picture)
    finally:
        for hook in hooks:
            hook.remove()
    found: tuple[nn.Module, tuple[int, ...]] | None = None
    is_next = False  # whether everything since `found` has kept its shape
    for module, shape in seen:
        is_map = len(shape) == 4 and shape[2] == shape[3] >= LEAST_CELLS
        has_convolution = any(isinstance(part, nn.Conv2d) for part in module.modules())
        is_next = (is_map and has_convolution) or (
            is_next and found is not None and shape == found[1]
        )
        if is_next:
            found = (module, shape)
    if found is None:
        raise ConfigError(
            f"The trunk {type(trunk).__name__} has no convolutional map of at least "
            f"{LEAST_CELLS} x {LEAST_CELLS} cells for pictures of {picture.shape[-1]} pixels. "
            "Choose the method occlusion, which works with every model."
        )
    return MapLayer(names[found[0]], found[0], found[1][-1])


def _follow_chain(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from _follow_chain(child)
        else:
            yield child
