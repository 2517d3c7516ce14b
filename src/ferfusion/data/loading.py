"""Batches: decoded rows, augmented, in an order that follows from the seed alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ferfusion.data import augmentation
from ferfusion.data.cache import ImageStore
from ferfusion.modality import Modality
from ferfusion.preprocessing import Preprocessing


@runtime_checkable
class Movable(Protocol):
    """Some samples on their way into a model, in whatever shape."""

    @property
    def labels(self) -> Int[Tensor, " batch"]:
        """Index of the true class of each."""
        ...

    @property
    def share(self) -> float:
        """Which part of the whole batch this process holds, times the number of processes.

        The factor on its mean loss that makes averaged gradients those of the whole batch.
        """
        ...

    def move(
        self, device: torch.device, preprocessing: Preprocessing
    ) -> tuple[Mapping[Modality, Tensor], Int[Tensor, " batch"]]:
        """Gives what the model takes and the labels, both on the device."""
        ...


@runtime_checkable
class Feed(Protocol):
    """What a training is fed with: pictures, pictures made on the device, or features."""

    @property
    def n_batches(self) -> int:
        """Batches an epoch."""
        ...

    def shuffled(self, epoch: int, *, rank: int = 0, world: int = 1) -> Iterator[Movable]:
        """Gives one epoch of training batches."""
        ...

    def in_order(self) -> Iterator[Movable]:
        """Gives every sample once, as it is."""
        ...


@dataclass(frozen=True)
class Batch:
    """Some samples on their way into a model.

    Attributes:
        pictures: Per modality, bytes; rows are aligned between modalities.
        labels: Index of the true class.
        rows: Where each sample lies in the store.
        share: As of `Movable`.
    """

    pictures: Mapping[Modality, UInt8[Tensor, "batch size size 3"]]
    labels: Int[Tensor, " batch"]
    rows: Int[np.ndarray, " batch"]
    share: float = 1.0

    def __post_init__(self) -> None:
        lengths = {len(p) for p in self.pictures.values()} | {len(self.labels), len(self.rows)}
        if len(lengths) != 1:
            raise ValueError(f"pictures, labels and rows are not aligned: lengths {lengths}")

    def move(
        self, device: torch.device, preprocessing: Preprocessing
    ) -> tuple[dict[Modality, Tensor], Int[Tensor, " batch"]]:
        """Gives the pictures as the model was promised them, and the labels, on the device."""
        return normalise(self.pictures, preprocessing, device), self.labels.to(device)


@dataclass(frozen=True)
class Loader:
    """Gives the batches of some samples of a store.

    Attributes:
        store: Decoded pictures.
        rows: Which samples.
        labels: Their class indices, aligned with `rows`.
        modalities: Which pictures of each.
        batch_size: At most so many samples a batch, over all processes. Batches are as even as can
            be, because BatchNorm can't learn from a last batch of one.
        policy: Augmentation; `none` for validation and test.
        seed: Of order and augmentation.
        independent: Whether each modality of a sample is drawn apart (a quirk of the paper).
        identical_flips: Whether the flips of policy `paper` are all the same (likewise).
        variants: After so many epochs the same augmented pictures come again, in another order; 0:
            never.
    """

    store: ImageStore
    rows: Int[np.ndarray, " rows"]
    labels: Int[np.ndarray, " rows"]
    modalities: tuple[Modality, ...]
    batch_size: int
    policy: augmentation.Policy = "none"
    seed: int = 0
    independent: bool = False
    identical_flips: bool = False
    variants: int = 0

    @property
    def n_items(self) -> int:
        """Pictures an epoch, copies included."""
        return len(self.rows) * augmentation.count_copies(self.policy)

    @property
    def n_batches(self) -> int:
        """Batches an epoch."""
        return max(1, -(-self.n_items // self.batch_size))

    def shuffled(self, epoch: int, *, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Gives one epoch of training batches.

        Args:
            epoch: From 0; each has its own order and its own draws.
            rank: Of this process.
            world: How many processes share each batch.
        """
        variant = epoch % self.variants if self.variants else epoch
        for items, copies, share in self.order(epoch, rank=rank, world=world):
            yield self._gather(items, copies, variant, share)

    def order(
        self, epoch: int, *, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"], float]]:
        """Gives what each batch of `shuffled` holds: places in `rows`, copies, and its share."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n_items)
        for whole in np.array_split(order, self.n_batches):
            mine = np.array_split(whole, world)[rank] if len(whole) >= world else whole
            share = len(mine) * world / len(whole) if len(whole) >= world else 1.0
            yield mine % len(self.rows), mine // len(self.rows), share

    def every_copy(self, variant: int) -> Iterator[Batch]:
        """Gives all that one epoch of training shows, copy after copy, in the order of `rows`."""
        for some in np.array_split(np.arange(self.n_items), self.n_batches):
            yield self._gather(some % len(self.rows), some // len(self.rows), variant, 1.0)

    def in_order(self) -> Iterator[Batch]:
        """Gives every sample once, as it is, in the order of `rows`."""
        for items in np.array_split(np.arange(len(self.rows)), self.n_batches):
            yield self._gather(items, None, 0, 1.0)

    def _gather(
        self,
        items: Int[np.ndarray, " batch"],
        copies: Int[np.ndarray, " batch"] | None,
        epoch: int,
        share: float,
    ) -> Batch:
        rows = self.rows[items]
        pictures = {m: self.store.gather(m, rows) for m in self.modalities}
        if copies is not None and self.policy != "none":
            for place, (row, copy) in enumerate(zip(rows, copies, strict=True)):
                shared = None if self.independent else self._draw(row, copy, epoch)
                for modality, array in pictures.items():
                    drawn = shared or self._draw(row, copy, epoch, modality)
                    array[place] = augmentation.apply(drawn, array[place], modality)
        return Batch(
            {m: torch.from_numpy(np.ascontiguousarray(a)) for m, a in pictures.items()},
            torch.from_numpy(self.labels[items]),
            rows,
            share,
        )

    def _draw(
        self, row: np.integer, copy: np.integer, epoch: int, only: Modality | None = None
    ) -> augmentation.Draw:
        return augmentation.draw(
            self.policy,
            seed=self.seed,
            epoch=epoch,
            sample_id=self.store.samples[row].id,
            copy=int(copy),
            only=only,
            identical_flips=self.identical_flips,
        )


def normalise(
    pictures: Mapping[Modality, UInt8[Tensor, "batch size size 3"]],
    preprocessing: Preprocessing,
    device: torch.device,
) -> dict[Modality, Float[Tensor, "batch 3 size size"]]:
    """Moves bytes to the device and makes of them what the model was promised.

    The result is channels-last in memory, which convolutions like best.
    """
    ready: dict[Modality, Tensor] = {}
    for modality, array in pictures.items():
        mean = torch.tensor(preprocessing.mean[modality], device=device).mul(255)
        std = torch.tensor(preprocessing.std[modality], device=device).mul(255)
        floats = array.to(device, non_blocking=True).float()
        ready[modality] = floats.sub_(mean).div_(std).permute(0, 3, 1, 2)
    return ready


def index_labels(labels: Sequence[str], expressions: Sequence[str]) -> Int[np.ndarray, " samples"]:
    """Turns class names into indices of `labels`."""
    place = {label: index for index, label in enumerate(labels)}
    return np.array([place[expression] for expression in expressions], dtype=np.int64)
