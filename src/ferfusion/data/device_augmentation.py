"""What `augmentation.apply` does, for a whole batch at once and on any device, in torch.

One call resamples every picture of a batch once. Grey values are rounded where cv2 rounds them, so
a training sees the same pictures on a GPU as on a CPU. The odd pixel is one or two grey levels off,
because sums are rounded otherwise (OpenCV 5; OpenCV 4 has coarser fractions of a pixel).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from ferfusion.data.batch_draws import NO_FILL, Draws

N_NUMBERS = 16
"""Of a packed draw: nine of the matrix, one of the fill, two of light, four of the box."""


def pack(draws: Draws, size_px: int) -> Float[np.ndarray, "pictures 16"]:
    """Puts draws into one array, so that one copy brings them to a device.

    The matrices are turned round: from where a pixel lies to where its colour comes from.
    """
    packed = np.empty((len(draws.fill), N_NUMBERS), np.float32)
    packed[:, :9] = np.linalg.inv(draws.matrix).reshape(-1, 9)
    packed[:, 9] = draws.fill
    packed[:, 10], packed[:, 11] = draws.gain, draws.gamma
    packed[:, 12:] = np.rint(draws.erased * size_px)
    return packed


@dataclass(frozen=True)
class Scale:
    """What is subtracted from grey values of a modality, and what they are then divided by.

    Attributes:
        mean: Per channel, on the device, shaped to fit a batch.
        std: Likewise.
    """

    mean: Float[Tensor, "1 3 1 1"]
    std: Float[Tensor, "1 3 1 1"]


def augment(
    pictures: UInt8[Tensor, "batch size size 3"],
    packed: Float[Tensor, "batch 16"],
    scale: Scale,
    dtype: torch.dtype = torch.float32,
    *,
    changes_light: bool,
) -> Float[Tensor, "batch 3 size size"]:
    """Does to each picture what was drawn for it, and normalises it.

    Args:
        pictures: As they lie in the store.
        packed: By `pack`, on the same device.
        scale: Of their modality.
        dtype: Of what comes out. Everything before is computed in fp32: bf16 can't tell the
            places of neighbouring pixels apart.
        changes_light: Whether gain and gamma count; they don't for infrared.

    Returns:
        Channels-last in memory, which convolutions like best.
    """
    size = pictures.shape[1]
    floats = pictures.permute(0, 3, 1, 2).float()
    grid = _find_sources(packed[:, :9].view(-1, 3, 3), size)
    floats = functional.grid_sample(floats, grid, padding_mode="border", align_corners=False)
    fill = packed[:, 9].view(-1, 1, 1, 1)
    # A pixel that comes from beyond the edge fades into the fill over the width of one pixel.
    kept = _find_cover(grid, size).masked_fill(fill == NO_FILL, 1)
    floats = (floats * kept + fill * (1 - kept)).round()
    if changes_light:
        gain, gamma = (packed[:, column].view(-1, 1, 1, 1) for column in (10, 11))
        lit = ((floats / 255).pow(gamma) * gain * 255).clamp(0, 255).floor()
        floats = torch.where((gain == 1) & (gamma == 1), floats, lit)
    # Not torch.where: it would copy the number to the device, and wait for that.
    floats = floats.masked_fill(_find_box(packed[:, 12:], size), 123)
    return _scale(floats, scale, dtype)


def keep(
    pictures: UInt8[Tensor, "batch size size 3"], scale: Scale, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "batch 3 size size"]:
    """Normalises pictures as they are."""
    return _scale(pictures.permute(0, 3, 1, 2).float(), scale, dtype)


def _scale(
    floats: Float[Tensor, "batch 3 size size"], scale: Scale, dtype: torch.dtype
) -> Float[Tensor, "batch 3 size size"]:
    ready = (floats - scale.mean) / scale.std
    return ready.to(dtype, memory_format=torch.channels_last)


def _find_sources(
    matrices: Float[Tensor, "batch 3 3"], size: int
) -> Float[Tensor, "batch size size 2"]:
    """Gives where each pixel comes from; -1 and 1 are the edges of the picture, as torch has it."""
    centres = (torch.arange(size, device=matrices.device) + 0.5) / size
    x, y = centres.view(1, 1, size), centres.view(1, size, 1)
    u, v, w = (
        row[:, 0].view(-1, 1, 1) * x + row[:, 1].view(-1, 1, 1) * y + row[:, 2].view(-1, 1, 1)
        for row in matrices.unbind(dim=1)
    )
    return torch.stack([u / w, v / w], dim=3) * 2 - 1


def _find_cover(
    grid: Float[Tensor, "batch size size 2"], size: int
) -> Float[Tensor, "batch 1 size size"]:
    """Says how much of each pixel comes from within the picture: 1 inside, 0 beyond its edge."""
    # From the middle of the picture to the middle of the outermost pixel, and one pixel more.
    inside = ((size + 1 - grid.abs() * size) / 2).clamp(0, 1)
    return (inside[..., 0] * inside[..., 1]).unsqueeze(1)


def _find_box(edges: Float[Tensor, "batch 4"], size: int) -> Bool[Tensor, "batch 1 size size"]:
    places = torch.arange(size, device=edges.device)
    left, top, right, bottom = (edge.view(-1, 1, 1, 1) for edge in edges.unbind(dim=1))
    x, y = places.view(1, 1, 1, size), places.view(1, 1, size, 1)
    return (x >= left) & (x < right) & (y >= top) & (y < bottom)
