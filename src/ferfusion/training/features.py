"""Features of trunks that stand still, computed once: then only the head is left to train.

With `--freeze-backbone` a picture always gives the same features. They are computed when an epoch
first needs them, kept beside the decoded pictures, and shared by every model, fold and later study
that looks at the same pictures through the same trunk.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn

from ferfusion.atomic import replacing, write_text
from ferfusion.data.augmentation import Policy
from ferfusion.data.cache import find_damaged_row
from ferfusion.data.cache_folder import (
    LIMIT_GB,
    find_cache_folder,
    hold_entry,
    is_there,
    make_room,
    note_mapped,
)
from ferfusion.data.loading import Loader, normalise
from ferfusion.modality import Modality
from ferfusion.models.backbones import extract_features
from ferfusion.preprocessing import Preprocessing

FORMAT = "2"  # part of every key: raise it when what is computed changes

VARIANTS: Mapping[Policy, int] = {"sound": 8, "paper": 1, "none": 1}
"""How many epochs of augmented pictures there are where trunks stand still.

Later epochs see the same ones again, in another order. One epoch of `paper` holds 26 copies.
"""

_BATCH = 64


@dataclass(frozen=True)
class FeatureBatch:
    """Some samples on their way into a head.

    Attributes:
        features: Per modality, as the trunks give them.
        labels: Index of the true class.
        share: As of `Movable`.
    """

    features: Mapping[Modality, Float[Tensor, "batch _"]]
    labels: Int[Tensor, " batch"]
    share: float = 1.0

    def move(
        self,
        device: torch.device,
        preprocessing: Preprocessing,  # noqa: ARG002  (trunks have looked already)
    ) -> tuple[dict[Modality, Tensor], Int[Tensor, " batch"]]:
        """Gives features and labels on the device."""
        return {m: f.to(device) for m, f in self.features.items()}, self.labels.to(device)


class OnFeatures(nn.Module):
    """What is left of a model behind its trunks. Its weights have the model's own names."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.gates, self.head = model.gates, model.head
        self.modalities: tuple[Modality, ...] = model.modalities  # pyright: ignore[reportAttributeAccessIssue]

    def forward(
        self, features: Mapping[Modality, Float[Tensor, "batch _"]]
    ) -> Float[Tensor, "batch classes"]:
        """Gives logits."""
        head: nn.Module = self.head  # pyright: ignore[reportAssignmentType]
        return head(self.join(features))

    def join(
        self, features: Mapping[Modality, Float[Tensor, "batch _"]]
    ) -> Float[Tensor, "batch width"]:
        """Gives what the head looks at, as the model's own `features` does."""
        gates: nn.ModuleDict = self.gates  # pyright: ignore[reportAssignmentType]
        return torch.cat([gates[str(m)](features[m]) for m in self.modalities], dim=1)


class FeatureCache:
    """Features of some trunks, computed when they are first asked for."""

    def __init__(
        self,
        fabric: Fabric,
        trunks: Mapping[Modality, nn.Module],
        preprocessing: Preprocessing,
        folder: Path | None = None,
        limit_gb: float = LIMIT_GB,
    ) -> None:
        """Prepares; nothing is computed.

        Args:
            fabric: Launched.
            trunks: One for each modality. From now on they must stand still.
            preprocessing: Between bytes and trunk.
            folder: Where features are kept; None is `default_cache_folder()`.
            limit_gb: How large it may grow.
        """
        self.fabric = fabric
        self.trunks = trunks
        self.preprocessing = preprocessing
        self.folder = find_cache_folder(folder)
        self.limit_gb = limit_gb
        self._digests = {modality: _digest(trunk) for modality, trunk in trunks.items()}
        self._opened: dict[Path, Float[np.ndarray, "a b"]] = {}

    def compute(self, loader: Loader, modality: Modality, variant: int) -> Float[np.ndarray, "a b"]:
        """Gives the features of all samples of a store, copies of a sample apart.

        Args:
            loader: How pictures are augmented; all samples of its store count, not only its rows.
            modality: Through whose trunk.
            variant: Which epoch of augmentation.

        Returns:
            A row for each copy of each sample: all first copies, then all second ones. Mapped from
            the cache; read-only.
        """
        n = len(loader.store.samples)
        everything = replace(
            loader,
            rows=np.arange(n),
            labels=np.zeros(n, dtype=np.int64),
            modalities=(modality,),
            batch_size=_BATCH,
        )
        path = self.folder / f"{self._name(everything, modality, variant)}.npy"
        if path not in self._opened:
            found = _open(path)
            if found is None:
                with hold_entry(path):
                    # Another process may have made it meanwhile.
                    found = _open(path)
                    if found is None:
                        self._write(everything, modality, variant, path)
            self._opened[path] = np.load(path, mmap_mode="r") if found is None else found
            note_mapped(path, self._opened[path])
        return self._opened[path]

    def _write(self, loader: Loader, modality: Modality, variant: int, path: Path) -> None:
        trunk = self.trunks[modality].to(self.fabric.device).eval()
        parts: list[Float[np.ndarray, "batch width"]] = []
        with torch.inference_mode(), self.fabric.autocast():
            for batch in loader.every_copy(variant):
                pictures = normalise(batch.pictures, self.preprocessing, self.fabric.device)
                parts.append(extract_features(trunk, pictures[modality]).float().cpu().numpy())
        features = np.concatenate(parts)
        make_room(path.parent, {path: features.nbytes}, self.limit_gb, "The features")
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, features, allow_pickle=False)
        checksums = [zlib.crc32(row.tobytes()) for row in features]
        write_text(path.with_suffix(".json"), json.dumps({"checksums": checksums}) + "\n")

    def _name(self, loader: Loader, modality: Modality, variant: int) -> str:
        """Names the features by all that decides them."""
        is_drawn = loader.policy != "none"
        facts = (
            f"features {FORMAT}",
            torch.__version__,
            self.fabric.device.type,
            str(self.fabric._precision.precision),
            self._digests[modality],
            loader.store.fingerprint,
            str(loader.store.size_px),
            str(self.preprocessing.mean[modality]),
            str(self.preprocessing.std[modality]),
            modality,
            loader.policy,
            str((loader.seed, variant, loader.independent, loader.identical_flips) * is_drawn),
        )
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


def _open(path: Path) -> Float[np.ndarray, "a b"] | None:
    """Maps an entry; None if it isn't there, or is damaged and must be made anew."""
    if not is_there(path):
        return None
    try:
        checksums = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["checksums"]
        features = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError, KeyError):
        return None
    if len(checksums) != len(features) or find_damaged_row(features, checksums) is not None:
        return None
    return features


def _digest(trunk: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in trunk.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class FeatureLoader:
    """Gives the batches that a `Loader` gives, as features instead of pictures.

    Attributes:
        loader: Whose order and labels.
        cache: Where the features come from.
    """

    loader: Loader
    cache: FeatureCache

    @property
    def n_batches(self) -> int:
        """Batches an epoch."""
        return self.loader.n_batches

    def shuffled(self, epoch: int, *, rank: int = 0, world: int = 1) -> Iterator[FeatureBatch]:
        """Gives one epoch of training batches, as `Loader.shuffled`."""
        features = self._all(epoch % max(1, self.loader.variants))
        n = len(self.loader.store.samples)
        for items, copies, share in self.loader.order(epoch, rank=rank, world=world):
            yield self._gather(features, items, copies * n, share)

    def in_order(self) -> Iterator[FeatureBatch]:
        """Gives every sample once, as `Loader.in_order`."""
        features = self._all(0)
        for items in np.array_split(np.arange(len(self.loader.rows)), self.n_batches):
            yield self._gather(features, items, np.zeros(len(items), dtype=np.int64), 1.0)

    def _all(self, variant: int) -> dict[Modality, Float[np.ndarray, "a b"]]:
        return {m: self.cache.compute(self.loader, m, variant) for m in self.loader.modalities}

    def _gather(
        self,
        features: Mapping[Modality, Float[np.ndarray, "a b"]],
        items: Int[np.ndarray, " batch"],
        starts: Int[np.ndarray, " batch"],
        share: float,
    ) -> FeatureBatch:
        rows = self.loader.rows[items] + starts
        return FeatureBatch(
            {m: torch.from_numpy(all_of_it[rows]) for m, all_of_it in features.items()},
            torch.from_numpy(self.loader.labels[items]),
            share,
        )


def stand_still(loader: Loader) -> Loader:
    """Gives a loader whose augmented pictures come again after some epochs."""
    return replace(loader, variants=VARIANTS[loader.policy])
