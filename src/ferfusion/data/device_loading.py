"""Batches made where the model is: pictures lie on the device, and are augmented there.

A GPU learns from a picture faster than a processor can turn it. So the decoded pictures are brought
to the device once, as bytes, and what a processor does for each batch is next to nothing. Where
they don't fit, each batch's bytes are read by a thread while the device works on the batch before.
Order, labels and draws are those of `Loader`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import repeat
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8, UInt32
from torch import Tensor

from ferfusion.data.batch_draws import draw_many, hash_ids
from ferfusion.data.cache import ImageStore
from ferfusion.data.device_augmentation import Scale, augment, keep, pack
from ferfusion.data.loading import Loader
from ferfusion.modality import Modality
from ferfusion.preprocessing import Preprocessing

SHARE = 0.5
"""Of a device's free memory, at most so much is filled with pictures; models need the rest."""

_CHUNK = 1024  # pictures drawn at once: 1 ms; fewer cost more each, more keep an epoch waiting
_ROWS_AT_ONCE = 256  # brought to the device in one copy

Plan = list[tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], float]]
"""What each batch holds, as `Loader.order` gives it."""
Drawn = Mapping[Modality, Float[Tensor, "_ 16"]]
Made = TypeVar("Made")

_resident: dict[tuple[str, int, torch.device, Modality], Tensor] = {}
"""Pictures on a device. All runs of a study share them; those of another study take their place."""


@dataclass(frozen=True)
class ReadyBatch:
    """Some samples as the model takes them, on its device.

    Attributes:
        inputs: Per modality, normalised, channels-last in memory.
        labels: Index of the true class.
        share: As of `Movable`.
    """

    inputs: Mapping[Modality, Float[Tensor, "batch 3 size size"]]
    labels: Int[Tensor, " batch"]
    share: float = 1.0

    def move(
        self,
        device: torch.device,  # noqa: ARG002  (it is there already)
        preprocessing: Preprocessing,  # noqa: ARG002
    ) -> tuple[Mapping[Modality, Tensor], Int[Tensor, " batch"]]:
        """Gives itself: everything is done."""
        return self.inputs, self.labels


def bring_pictures(
    store: ImageStore, modalities: tuple[Modality, ...], device: torch.device
) -> dict[Modality, UInt8[Tensor, "samples size size 3"]] | None:
    """Gives all pictures of a store on a device, brought there once a process; None if too many."""
    keys = {m: (store.fingerprint, store.size_px, device, m) for m in modalities}
    for key in [key for key in _resident if key[:3] != (store.fingerprint, store.size_px, device)]:
        del _resident[key]
    missing = [m for m in modalities if keys[m] not in _resident]
    if sum(store.pictures[m].nbytes for m in missing) > SHARE * measure_free_memory(device):
        return None
    for modality in missing:
        array = store.pictures[modality]
        there = torch.empty(array.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(array), _ROWS_AT_ONCE):
            rows = array[start : start + _ROWS_AT_ONCE].copy()  # mapped ones can't be written to
            there[start : start + len(rows)] = torch.from_numpy(rows).to(device)
        _resident[keys[modality]] = there
    return {m: _resident[key] for m, key in keys.items()}


def measure_free_memory(device: torch.device) -> float:
    """Gives the bytes that are free on a GPU; of other devices it knows none that is full."""
    if device.type != "cuda":
        return float("inf")
    free, _ = torch.cuda.mem_get_info(device)
    # What torch has taken and doesn't use is free for us, too.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


class DeviceLoader:
    """Gives the batches that a `Loader` gives, ready for the model."""

    def __init__(
        self,
        loader: Loader,
        preprocessing: Preprocessing,
        device: torch.device,
        pictures: Mapping[Modality, UInt8[Tensor, "samples size size 3"]] | None,
        *,
        compiled: bool = False,
    ) -> None:
        """Prepares; nothing is read.

        Args:
            loader: Whose order, labels and draws.
            preprocessing: Between bytes and model.
            device: Where batches are made.
            pictures: Of all samples of the store, on the device; None reads them batch by batch.
            compiled: Whether torch compiles the augmentation.
        """
        self.loader = loader
        self.device = device
        self.pictures = pictures
        self._augment = _compile_augment() if compiled else augment
        self._scales = {m: _find_scale(preprocessing, m, device) for m in loader.modalities}
        self._hashes: UInt32[np.ndarray, " samples"] = hash_ids(
            tuple(sample.id for sample in loader.store.samples)
        )

    @property
    def n_batches(self) -> int:
        """Batches an epoch."""
        return self.loader.n_batches

    def shuffled(self, epoch: int, *, rank: int = 0, world: int = 1) -> Iterator[ReadyBatch]:
        """Gives one epoch of training batches, as `Loader.shuffled`."""
        variant = epoch % self.loader.variants if self.loader.variants else epoch
        return self._give(list(self.loader.order(epoch, rank=rank, world=world)), variant)

    def in_order(self) -> Iterator[ReadyBatch]:
        """Gives every sample once, as it is, as `Loader.in_order`."""
        parts = np.array_split(np.arange(len(self.loader.rows)), self.n_batches)
        return self._give([(items, items, 1.0) for items in parts], None)

    def _give(self, plan: Plan, variant: int | None) -> Iterator[ReadyBatch]:
        """Gives the batches of a plan; without a variant, pictures stay as they are."""
        if self.loader.policy == "none":
            variant = None
        read: Iterable[Mapping[Modality, Tensor] | None] = repeat(None)
        if self.pictures is None:
            read = _make_ahead([partial(self._read, items) for items, _, _ in plan])
        numbers = self._bring_numbers(plan, variant)
        # `numbers` ends first, so that nothing is read in vain.
        for (rows, labels, drawn, share), bytes_ in zip(numbers, read, strict=False):
            inputs = {}
            for modality in self.loader.modalities:
                pictures = self._find(modality, rows, bytes_)
                scale = self._scales[modality]
                if drawn is None:
                    inputs[modality] = keep(pictures, scale)
                else:
                    lit = modality is not Modality.INFRARED
                    inputs[modality] = self._augment(
                        pictures, drawn[modality], scale, changes_light=lit
                    )
            yield ReadyBatch(inputs, labels, share)

    def _find(
        self,
        modality: Modality,
        rows: Int[Tensor, " batch"],
        read: Mapping[Modality, Tensor] | None,
    ) -> UInt8[Tensor, "batch size size 3"]:
        if self.pictures is not None:
            return self.pictures[modality].index_select(0, rows)
        return read[modality].to(self.device, non_blocking=True)  # pyright: ignore[reportOptionalSubscript]

    def _bring_numbers(
        self, plan: Plan, variant: int | None
    ) -> Iterator[tuple[Tensor, Tensor, Drawn | None, float]]:
        """Gives rows, labels, draws and share of each batch; a thread draws for many at once."""
        per_chunk = max(1, _CHUNK // max(1, len(plan[0][0])))
        chunks = [plan[start : start + per_chunk] for start in range(0, len(plan), per_chunk)]
        jobs = [partial(self._draw, chunk, variant) for chunk in chunks]
        for chunk, (rows_labels, drawn) in zip(chunks, _make_ahead(jobs), strict=True):
            sizes = [len(items) for items, _, _ in chunk]
            there = rows_labels.to(self.device, non_blocking=True).split(sizes, dim=1)
            split = {
                m: packed.to(self.device, non_blocking=True).split(sizes)
                for m, packed in drawn.items()
            }
            for place, (_, _, share) in enumerate(chunk):
                rows, labels = there[place]
                of_batch = {m: parts[place] for m, parts in split.items()}
                yield rows, labels, of_batch or None, share

    def _draw(self, chunk: Plan, variant: int | None) -> tuple[Int[Tensor, "2 pictures"], Drawn]:
        loader = self.loader
        items, copies = (np.concatenate([part[i] for part in chunk]) for i in (0, 1))
        rows = loader.rows[items]
        rows_labels = self._pin(torch.from_numpy(np.stack([rows, loader.labels[items]])))
        if variant is None:
            return rows_labels, {}

        def draw(only: Modality | None) -> Float[Tensor, "pictures 16"]:
            draws = draw_many(
                loader.policy,
                seed=loader.seed,
                epoch=variant,
                hashes=self._hashes[rows],
                copies=copies,
                only=only,
                identical_flips=loader.identical_flips,
            )
            return self._pin(torch.from_numpy(pack(draws, loader.store.size_px)))

        if loader.independent:
            return rows_labels, {m: draw(m) for m in loader.modalities}
        return rows_labels, dict.fromkeys(loader.modalities, draw(None))

    def _read(
        self, items: Int[np.ndarray, " batch"]
    ) -> dict[Modality, UInt8[Tensor, "batch size size 3"]]:
        rows = self.loader.rows[items]
        gathered = {m: self.loader.store.gather(m, rows) for m in self.loader.modalities}
        return {
            m: self._pin(torch.from_numpy(np.ascontiguousarray(a))) for m, a in gathered.items()
        }

    def _pin(self, tensor: Tensor) -> Tensor:
        # Only from pinned memory does a copy go on while the program does.
        return tensor.pin_memory() if self.device.type == "cuda" else tensor


def _find_scale(preprocessing: Preprocessing, modality: Modality, device: torch.device) -> Scale:
    mean, std = (
        torch.tensor(numbers[modality], device=device).mul(255).view(1, 3, 1, 1)
        for numbers in (preprocessing.mean, preprocessing.std)
    )
    return Scale(mean, std)


@cache
def _compile_augment() -> Callable[..., Tensor]:
    return torch.compile(augment, dynamic=False)


def _make_ahead(jobs: Iterable[Callable[[], Made]]) -> Iterator[Made]:
    """Gives what jobs make, in order; a thread does the next one meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        before = None
        for job in jobs:
            coming = pool.submit(job)
            if before is not None:
                yield before.result()
            before = coming
        if before is not None:
            yield before.result()
