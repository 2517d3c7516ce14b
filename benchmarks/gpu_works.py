"""What `benchmarks/gpu` measures: ferfusion's own training loop on noise of VIRI's size."""

import contextlib
import gc
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from ferfusion.data import augmentation, device_loading
from ferfusion.data.batch_draws import draw_many, hash_ids
from ferfusion.data.cache import ImageStore
from ferfusion.data.device_loading import DeviceLoader, bring_pictures
from ferfusion.data.loading import Loader
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.backbones import find_backbone
from ferfusion.models.blueprint import Blueprint, assemble
from ferfusion.preprocessing import Preprocessing
from ferfusion.sample import Sample
from ferfusion.training.loop import Epoch, fit
from ferfusion.training.recipe import Recipe

LABELS = ("angry", "happy", "neutral", "sad", "surprised")
PATH_SAMPLES = 64  # whose augmentation is compared with OpenCV's
Facts = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Attributes:
        samples: In the store; VIRI has 566.
        train: Of them, in training; the paper's split has 393.
        val: Of them, in validation; the paper's split has 83.
        size_px: Side of the pictures.
        epochs: Of each training that is timed; the first warms up.
        copies: `paper` shows each picture 26 times an epoch, `sound` once.
        matrix: Side of the matrices whose product shows the machine's peak.
    """

    samples: int = 566
    train: int = 393
    val: int = 83
    size_px: int = 224
    epochs: int = 4
    copies: augmentation.Policy = "paper"
    matrix: int = 8192


@dataclass(frozen=True)
class Way:
    """How a model is trained.

    Attributes:
        backbone: Of every trunk.
        modalities: One trains a single model, more train early fusion in 1 step.
        batch: Samples a step.
        compiled: Whether torch compiles model and augmentation.
        resident: Whether all pictures lie on the device; else each batch is streamed.
    """

    backbone: str = "resnet18"
    modalities: tuple[Modality, ...] = (Modality.VISIBLE,)
    batch: int = 32
    compiled: bool = False
    resident: bool = True

    @property
    def name(self) -> str:
        """Gives the name of its line."""
        kind = "single" if len(self.modalities) == 1 else f"early{len(self.modalities)}"
        parts = [self.backbone, kind, f"batch{self.batch}"]
        parts.append("compiled" if self.compiled else "eager")
        return "_".join(parts if self.resident else [*parts, "streamed"])


def make_store(size: Size) -> ImageStore:
    """Makes a store of noise; what a picture shows doesn't change what it costs."""
    rng = np.random.default_rng(0)
    shape = (size.samples, size.size_px, size.size_px, 3)
    samples = tuple(
        Sample(id=f"{LABELS[row % 5]}/{row}", expression=LABELS[row % 5], subject=None, images={})
        for row in range(size.samples)
    )
    pictures = {m: rng.integers(0, 256, shape, dtype=np.uint8) for m in MODALITIES}
    return ImageStore(size.size_px, samples, pictures, {}, f"noise {size}")


def measure_peak(device: torch.device, side: int, repeats: int = 10) -> float:
    """Gives the TFLOP/s of a large product in bf16: the best this machine's torch can do."""
    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    times = []
    for _ in range(repeats):
        with _timing(device) as took:
            left @ right
        times.append(took[0])
    return 2 * side**3 / min(times) / 1e12


def measure_draws(size: Size) -> Facts:
    """Gives microseconds of processor time a picture: drawn together, and one by one."""
    ids = tuple(f"face{number}" for number in range(1024))
    hashes, copies = hash_ids(ids), np.arange(1024) % augmentation.count_copies(size.copies)
    together = []
    for epoch in range(7):
        start = time.perf_counter()
        draw_many(size.copies, seed=0, epoch=epoch, hashes=hashes, copies=copies)
        together.append(time.perf_counter() - start)
    start = time.perf_counter()
    for sample_id, copy in zip(ids, copies, strict=True):
        augmentation.draw(size.copies, seed=0, epoch=0, sample_id=sample_id, copy=int(copy))
    alone = time.perf_counter() - start
    return {
        "together_us": round(statistics.median(together) / 1024 * 1e6, 3),
        "one_by_one_us": round(alone / 1024 * 1e6, 3),
    }


def compare_with_opencv(store: ImageStore, fabric: Fabric, size: Size, compiled: bool) -> Facts:
    """Gives the grey levels between what the device makes of pictures and what OpenCV does."""
    count = min(PATH_SAMPLES, size.samples)
    plain = Preprocessing(
        size.size_px,
        dict.fromkeys(MODALITIES, (0.0, 0.0, 0.0)),
        dict.fromkeys(MODALITIES, (1 / 255, 1 / 255, 1 / 255)),
    )
    found: Facts = {}
    for policy in ("sound", "paper"):
        rows = np.arange(count)
        loader = Loader(store, rows, rows, MODALITIES, 32, policy=policy)
        pictures = bring_pictures(store, MODALITIES, fabric.device)
        ready = DeviceLoader(loader, plain, fabric.device, pictures, compiled=compiled)
        means, worst = [], 0.0
        for one, other in zip(ready.shuffled(0), loader.shuffled(0), strict=True):
            for modality, inputs in one.inputs.items():
                wanted = other.pictures[modality].to(fabric.device).permute(0, 3, 1, 2)
                distance = (inputs - wanted).abs()
                means.append(float(distance.mean()))
                worst = max(worst, float(distance.max()))
        found[policy] = {"mean": round(statistics.mean(means), 5), "greatest": worst}
    return found


def measure_training(store: ImageStore, fabric: Fabric, size: Size, way: Way) -> Facts:
    """Trains for some epochs; gives pictures a second from the second epoch on, and what it took.

    Validation counts, saving doesn't. A sample of early fusion counts as often as it has pictures.
    """
    device = fabric.device
    if device.type == "cuda":
        # What the way before has left, in cycles and in recorded steps, would count for this one.
        gc.collect()
        torch.compiler.reset()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    epochs: list[Epoch] = []
    with _residence(way.resident):
        _fit(store, fabric, size, way, epochs.append)
        # Before what follows takes memory of its own.
        peak_mb = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else 0.0
        data_s = _time_data(store, fabric, size, way)
    seconds = statistics.median(epoch.seconds for epoch in epochs[1:])
    pictures = _make_loaders(store, size, way)[0].n_items * len(way.modalities)
    gflop = count_gflop(size, way)
    return {
        "images_per_s": round(pictures / seconds, 1),
        "epoch_s": [round(epoch.seconds, 4) for epoch in epochs],
        "data_share": round(data_s / seconds, 4),
        "gflop_per_picture": round(gflop, 3),
        "tflop_per_s": round(gflop * pictures / seconds / 1e3, 2),
        "peak_mb": round(peak_mb, 1),
    }


def count_syncs(store: ImageStore, fabric: Fabric, size: Size, way: Way) -> Facts:
    """Counts how often the program waits for the GPU in an epoch of training and validation."""
    seen: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def on_epoch(epoch: Epoch) -> None:
            if epoch.epoch == 1:
                caught.clear()
                torch.cuda.set_sync_debug_mode("warn")
            else:
                torch.cuda.set_sync_debug_mode("default")
                seen.extend(f"{Path(w.filename).name}:{w.lineno} {w.message}" for w in caught)

        _fit(store, fabric, replace(size, epochs=2), way, on_epoch)
    # Not the notice, given once, that the mode is a prototype.
    waits = [text for text in seen if "called a synchronizing" in text]
    return {
        "waits_per_epoch": len(waits),
        "steps_per_epoch": _make_loaders(store, size, way)[0].n_batches,
        "where": sorted(set(waits))[:20],
    }


def profile_training(store: ImageStore, fabric: Fabric, size: Size, way: Way) -> str:
    """Gives the operations of some twenty warm steps that take most of the time, as a table."""
    activities = [ProfilerActivity.CPU]
    if fabric.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    copies = augmentation.count_copies(size.copies)
    train = min(size.train, max(way.batch * 20 // copies, 4))
    profiler = profile(activities=activities)

    def on_epoch(epoch: Epoch) -> None:
        # Compiled steps are recorded in the second epoch.
        if epoch.epoch == 2:
            profiler.start()
        elif epoch.epoch == 3:
            profiler.stop()

    _fit(store, fabric, replace(size, train=train, epochs=3), way, on_epoch)
    order = "self_cuda_time_total" if len(activities) > 1 else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=30, max_name_column_width=70)
    return f"{way.name}: one epoch of {train * copies} samples, validation included\n\n{table}\n"


def count_gflop(size: Size, way: Way) -> float:
    """Counts the arithmetic of one picture, forward and backward, without doing it."""
    model = _build(way).to("meta")
    pictures = {
        m: torch.zeros(2, 3, size.size_px, size.size_px, device="meta") for m in way.modalities
    }
    with FlopCounterMode(display=False) as counter:
        model(pictures).sum().backward()
    return counter.get_total_flops() / 2e9 / len(way.modalities)


def _fit(
    store: ImageStore, fabric: Fabric, size: Size, way: Way, on_epoch: Callable[[Epoch], None]
) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            fabric,
            _build(way),
            *_make_loaders(store, size, way),
            _make_preprocessing(size, way),
            Recipe(
                epochs=size.epochs,
                batch_size=way.batch,
                augmentation=size.copies,
                head_epochs=0,
                frozen_norms=False,
            ),
            state_folder=Path(folder),
            identity="",
            on_epoch=on_epoch,
            save_every_s=float("inf"),
            on_device=True,
            compiled=way.compiled,
        )


def _build(way: Way) -> nn.Module:
    kind = "single" if len(way.modalities) == 1 else "early"
    return assemble(Blueprint(kind, way.backbone, way.modalities, LABELS))


def _make_loaders(store: ImageStore, size: Size, way: Way) -> tuple[Loader, Loader]:
    rows = np.arange(size.train + size.val)
    train, val = rows[: size.train], rows[size.train :]
    return (
        Loader(store, train, train % 5, way.modalities, way.batch, policy=size.copies),
        Loader(store, val, val % 5, way.modalities, 64),
    )


def _make_preprocessing(size: Size, way: Way) -> Preprocessing:
    backbone = find_backbone(way.backbone)
    return Preprocessing(
        size.size_px,
        dict.fromkeys(way.modalities, backbone.mean),
        dict.fromkeys(way.modalities, backbone.std),
    )


def _time_data(store: ImageStore, fabric: Fabric, size: Size, way: Way) -> float:
    """Times an epoch's batches without a model."""
    train, _ = _make_loaders(store, size, way)
    pictures = bring_pictures(store, way.modalities, fabric.device)
    preprocessing = _make_preprocessing(size, way)
    ready = DeviceLoader(train, preprocessing, fabric.device, pictures, compiled=way.compiled)
    for _ in ready.shuffled(0):
        pass
    with _timing(fabric.device) as took:
        for _ in ready.shuffled(1):
            pass
    return took[0]


@contextlib.contextmanager
def _timing(device: torch.device) -> Iterator[list[float]]:
    took: list[float] = []
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    yield took
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    took.append(time.perf_counter() - start)


@contextlib.contextmanager
def _residence(resident: bool) -> Iterator[None]:
    """Makes the device look full, where pictures are to be streamed."""
    measure = device_loading.measure_free_memory
    try:
        if not resident:
            device_loading._resident.clear()
            device_loading.measure_free_memory = lambda _: 0.0
        yield
    finally:
        device_loading.measure_free_memory = measure
