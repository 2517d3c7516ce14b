"""What a model costs: parameters, arithmetic, time and memory of one sample."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ferfusion.modality import Modality
from ferfusion.models.blueprint import count_parameters
from ferfusion.models.borrowing import borrow

WARM_UPS, LEAST_REPEATS, PATIENCE_S = 2, 5, 1.0


@dataclass(frozen=True)
class ModelCost:
    """What a model costs; MB are millions of bytes.

    Attributes:
        parameters: Every weight and bias; late fusion's models of weight 0 too, though they
            aren't run.
        weights_mb: Parameters and running statistics as they lie in memory.
        gflop: Billions of operations for one sample in every modality. A multiply-add is two, so
            half of this is what others give as GMAC. Counted are convolutions and matrix products;
            norms, activations and pooling are not, and are a few per cent.
        latency_ms: Median time of one sample, from pictures on the device to logits.
        latency_quartiles_ms: A quarter of the repeats was faster, a quarter slower.
        repeats: How often that was timed.
        memory_mb: Weights, pictures and the results of layers at the moment when they are most.
        is_memory_measured: On a CUDA GPU `memory_mb` is what the allocator gave out, scratch
            space of the kernels included. Elsewhere it is counted from the sizes of the tensors
            that are alive at once, without scratch space.
        device: Kind of device: `cpu`, `cuda` and so on.
        threads: Threads that one operation may use on the CPU.
    """

    parameters: int
    weights_mb: float
    gflop: float
    latency_ms: float
    latency_quartiles_ms: tuple[float, float]
    repeats: int
    memory_mb: float
    is_memory_measured: bool
    device: str
    threads: int


@torch.no_grad()
def measure_cost(
    model: nn.Module,
    modalities: Sequence[Modality],
    size_px: int,
    device: torch.device,
    *,
    repeats: int = 20,
) -> ModelCost:
    """Measures one sample's way through a model, which is left as it was found.

    Late fusion runs its models of weight above 0, as it always does. Precision and number of
    threads are those it finds.

    Args:
        model: Takes a picture of each modality.
        modalities: Those it takes.
        size_px: Side of the pictures.
        device: Where to run.
        repeats: Timed runs at most. After five it stops when a second is over.
    """
    with borrow(model, device):
        tensors = list(model.state_dict().values())
        weights = sum(tensor.nbytes for tensor in tensors)
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        pictures = {m: _draw_noise(size_px, device) for m in modalities}
        with FlopCounterMode(display=False) as flops, _LiveBytes(tensors) as counted:
            model(pictures)
        times_ms = _time(model, pictures, device, repeats)
        peak = counted.peak + sum(picture.nbytes for picture in pictures.values())
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            model(pictures)
            peak = torch.cuda.max_memory_allocated(device) - before
        faster, median, slower = np.quantile(times_ms, (0.25, 0.5, 0.75))
        return ModelCost(
            parameters=count_parameters(model),
            weights_mb=weights / 1e6,
            gflop=flops.get_total_flops() / 1e9,
            latency_ms=float(median),
            latency_quartiles_ms=(float(faster), float(slower)),
            repeats=len(times_ms),
            memory_mb=(weights + peak) / 1e6,
            is_memory_measured=device.type == "cuda",
            device=device.type,
            threads=torch.get_num_threads(),
        )


def _draw_noise(size_px: int, device: torch.device) -> Float[Tensor, "1 3 size size"]:
    # Not from torch's own generator, whose state belongs to the caller; in the memory layout that
    # the loader gives.
    noise = np.random.default_rng(0).standard_normal((1, size_px, size_px, 3), np.float32)
    return torch.from_numpy(noise).to(device).permute(0, 3, 1, 2)


def _time(
    model: nn.Module, pictures: Mapping[Modality, Tensor], device: torch.device, repeats: int
) -> list[float]:
    times_ms: list[float] = []
    began = time.perf_counter()
    for turn in range(-WARM_UPS, repeats):
        if turn >= LEAST_REPEATS and time.perf_counter() - began > PATIENCE_S:
            break
        start = time.perf_counter()
        model(pictures)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        if turn >= 0:
            times_ms.append(1e3 * (time.perf_counter() - start))
    return times_ms


class _LiveBytes(TorchDispatchMode):
    """Watches every operation for the most bytes that its results ever hold at once."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.peak = 0
        # Views of weights and pictures are no new memory.
        self._known = {StorageWeakRef(tensor.untyped_storage()) for tensor in known}
        self._alive: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                storage = StorageWeakRef(result.untyped_storage())
                if storage not in self._known:
                    self._alive[storage] = result.untyped_storage().nbytes()
        self._alive = {s: n for s, n in self._alive.items() if not s.expired()}
        self.peak = max(self.peak, sum(self._alive.values()))
        return results
