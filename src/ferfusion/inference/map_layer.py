"""The layer of a trunk whose result is a map of the picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ferfusion.errors import ConfigError

LEAST_CELLS = 4
"""A layer's map with fewer cells a side says too little about where."""

_SLIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_SETTINGS = ("kernel_size", "stride", "padding")


@dataclass(frozen=True, eq=False)
class MapLayer:
    """A layer whose result is a map of the picture.

    Attributes:
        name: In the trunk.
        module: The layer.
        cells: A side.
        first_px: Pixel that the middle of the first cell looks at. Padding moves it: after five
            halvings by padded convolutions it is 0, and not the 15.5 of a cell of 32 pixels.
        step_px: Pixels from cell to cell.
    """

    name: str
    module: nn.Module
    cells: int
    first_px: float
    step_px: float

    def spread(
        self, cells: Float[Tensor, "batch 1 cells cells"], size_px: int
    ) -> Float[Tensor, "batch size size"]:
        """Gives the cells as a map of the picture, each where it looks, smooth between them."""
        places = (torch.arange(size_px, device=cells.device) - self.first_px) / self.step_px
        along = 2 * places / max(1, self.cells - 1) - 1
        y, x = torch.meshgrid(along, along, indexing="ij")
        grid = torch.stack((x, y), dim=-1).to(cells.dtype).expand(len(cells), -1, -1, -1)
        spread = nn.functional.grid_sample(
            cells, grid, mode="bilinear", padding_mode="border", align_corners=True
        )
        return spread[:, 0]


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

    shrinking: list[tuple[nn.Module, int, int]] = []

    def measure(module: nn.Module, given: Any, result: Any) -> None:
        shrinking.append((module, given[0].shape[-1], result.shape[-1]))

    hooks = [module.register_forward_hook(note) for module in _follow_chain(trunk)]
    hooks += [m.register_forward_hook(measure) for m in trunk.modules() if isinstance(m, _SLIDING)]
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
    size_px, cells = picture.shape[-1], found[1][-1]
    first_px, step_px = _find_places(shrinking, size_px, cells)
    return MapLayer(names[found[0]], found[0], cells, first_px, step_px)


def _find_places(
    shrinking: Sequence[tuple[nn.Module, int, int]], size_px: int, cells: int
) -> tuple[float, float]:
    """Follows where cells look, from the picture on, through all that makes the map smaller.

    Branches beside each other shrink the same map; the first one counts. Where the way can't be
    followed, cells are taken to share the picture evenly.
    """
    first, step, size = 0.0, 1.0, size_px
    for module, before, after in shrinking:
        if before != size or after == before or size == cells:
            continue
        window, stride, padding = (_first(getattr(module, n)) for n in _SETTINGS)
        if isinstance(module, nn.Conv2d):
            window = module.dilation[0] * (window - 1) + 1
            needed = max(0, (after - 1) * stride + window - before)
            # Some convolutions pad by themselves what is needed, the odd pixel at the end.
            if padding == "same" or (before + 2 * padding - window) // stride + 1 != after:
                padding = needed // 2
        first, step, size = first + ((window - 1) / 2 - padding) * step, step * stride, after
    if size != cells:
        step = size_px / cells
        return (step - 1) / 2, step
    return first, step


def _first(setting: Any) -> Any:
    return setting[0] if isinstance(setting, tuple) else setting


def _follow_chain(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from _follow_chain(child)
        else:
            yield child
