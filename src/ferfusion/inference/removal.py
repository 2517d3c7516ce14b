"""What a model says while its pictures vanish, or appear, block by block.

Source:
    Petsiuk, Das and Saenko 2018, RISE: deletion to a plain colour, insertion into a blurred
    picture.
"""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from ferfusion.data.loading import normalise
from ferfusion.evaluation.faithfulness import KINDS, ORDERS, Curves
from ferfusion.inference.cam import HeatMaps
from ferfusion.modality import Modality
from ferfusion.models.borrowing import borrow
from ferfusion.models.checkpoint import Checkpoint

STEPS = 12
"""Places of a curve, without the first."""
BLOCKS = 14
"""A side, where the picture has the pixels for it: 7 x 7 cells of a map are 2 x 2 blocks each."""
RANDOM_ORDERS = 3
"""Of each sample; their curves are averaged."""
BLUR = 0.1
"""Of the picture that insertion starts from, in parts of the side: no expression is left in it."""

_LEAST_BLOCK_PX = 4


def trace_curves(
    checkpoint: Checkpoint,
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]],
    found: HeatMaps,
    *,
    device: torch.device | None = None,
    seed: int = 0,
    advance: Callable[[], None] | None = None,
) -> Curves:
    """Follows the probability of the explained class while blocks are removed, or inserted.

    Blocks of all modalities stand in one order, the hottest first, and share one budget, because
    the maps of a sample share one scale. Removed blocks get the mean colour, which is 0 once
    normalised; blocks are inserted into the blurred picture. Orders to compare with: at random
    (the mean of `RANDOM_ORDERS`), and from the middle of the picture outwards, where faces are.
    Blocks of equal rank come at random.

    Args:
        checkpoint: As for the maps; it is left as it was found.
        pictures: Those of the maps.
        found: Maps, and the classes they explain.
        device: Where to run; None is the CPU.
        seed: Of the random orders.
        advance: Called after each sample.
    """
    blueprint, size_px = checkpoint.blueprint, checkpoint.preprocessing.size_px
    mixture = blueprint.mixture or {}
    run = tuple(m for m in blueprint.modalities if mixture.get(m, 1) > 0)
    n = len(found.explained)
    device = device or torch.device("cpu")
    curves = {kind: {order: np.zeros((n, STEPS + 1)) for order in ORDERS} for kind in KINDS}
    side = max(1, min(BLOCKS, size_px // _LEAST_BLOCK_PX))
    blocks = _number_blocks(side, size_px)
    # A modality that isn't run has no part in the orders, and is never changed.
    with borrow(checkpoint.model, device) as model, torch.inference_mode():
        for row in range(n):
            orders = _list_orders(found, run, row, side, blocks, np.random.default_rng([seed, row]))
            arrays = {m: pictures[m][row] for m in blueprint.modalities}
            blurred = {m: _blur(array) for m, array in arrays.items()}
            ready = _prepare(arrays, checkpoint, device)
            start: dict[str, dict[Modality, Tensor]] = {
                "deletion": ready,
                "insertion": _prepare(blurred, checkpoint, device),
            }
            goal: dict[str, dict[Modality, Tensor]] = {
                "deletion": {m: torch.zeros_like(t) for m, t in ready.items()},
                "insertion": ready,
            }
            names, ranks = zip(*orders, strict=True)
            for kind in KINDS:
                traced = _trace(model, start[kind], goal[kind], ranks, int(found.explained[row]))
                for order in ORDERS:
                    own = [name == order for name in names]
                    curves[kind][order][row] = traced[own].mean(axis=0)
            if advance is not None:
                advance()
    return curves


def _trace(
    model: nn.Module,
    start: Mapping[Modality, Float[Tensor, "1 3 size size"]],
    goal: Mapping[Modality, Float[Tensor, "1 3 size size"]],
    orders: Sequence[Mapping[Modality, Float[np.ndarray, "size size"]]],
    explained: int,
) -> Float[np.ndarray, "orders places"]:
    """Gives the curves of several orders, which share both ends.

    Ranks are in parts of all blocks, from 0 for the first.
    """
    shares = torch.arange(1, STEPS)[:, None, None, None] / STEPS
    mixed: dict[Modality, Tensor] = {}
    for modality, first in start.items():
        last, between = goal[modality], [first]
        for ranks in orders:
            if modality in ranks:
                changes = torch.from_numpy(ranks[modality]) < shares
                between.append(torch.where(changes.to(first.device), last, first))
            else:
                between.append(first.expand(len(shares), -1, -1, -1))
        mixed[modality] = torch.cat([*between, last])
    said = model(mixed).double().softmax(dim=1)[:, explained].cpu().numpy()
    traced = np.empty((len(orders), STEPS + 1))
    traced[:, 0], traced[:, -1] = said[0], said[-1]
    traced[:, 1:-1] = said[1:-1].reshape(len(orders), STEPS - 1)
    return traced


def _list_orders(
    found: HeatMaps,
    run: tuple[Modality, ...],
    row: int,
    side: int,
    blocks: Int[np.ndarray, "size size"],
    rng: np.random.Generator,
) -> list[tuple[str, dict[Modality, np.ndarray]]]:
    sizes = np.bincount(blocks.ravel())
    heat = np.concatenate(
        [np.bincount(blocks.ravel(), found.maps[m][row].ravel()) / sizes for m in run]
    )
    middle = (np.arange(side) + 0.5) / side - 0.5
    away = np.tile(np.hypot(*np.meshgrid(middle, middle)).ravel(), len(run))
    keys: list[tuple[str, np.ndarray]] = [("map", -heat), ("centre", away)]
    keys += [("random", np.zeros_like(heat)) for _ in range(RANDOM_ORDERS)]
    return [(order, _rank(key, run, blocks, rng)) for order, key in keys]


def _rank(
    key: Float[np.ndarray, " blocks"],
    run: tuple[Modality, ...],
    blocks: Int[np.ndarray, "size size"],
    rng: np.random.Generator,
) -> dict[Modality, np.ndarray]:
    """Gives each pixel its block's place in the order; what is equal comes at random."""
    order = np.lexsort((rng.random(len(key)), key))
    ranks = np.empty(len(key), np.float32)
    ranks[order] = np.arange(len(key)) / len(key)
    parts = np.split(ranks, len(run))
    return {m: part[blocks] for m, part in zip(run, parts, strict=True)}


def _number_blocks(side: int, size_px: int) -> Int[np.ndarray, "size size"]:
    places = np.arange(size_px) * side // size_px
    return places[:, None] * side + places


def _blur(picture: UInt8[np.ndarray, "size size 3"]) -> UInt8[np.ndarray, "size size 3"]:
    return cv2.GaussianBlur(picture, (0, 0), BLUR * picture.shape[0])


def _prepare(
    arrays: Mapping[Modality, UInt8[np.ndarray, "size size 3"]],
    checkpoint: Checkpoint,
    device: torch.device,
) -> dict[Modality, Tensor]:
    one = {m: torch.from_numpy(np.array(array)[None]) for m, array in arrays.items()}
    return normalise(one, checkpoint.preprocessing, device)
