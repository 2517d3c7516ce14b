from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ferfusion.data.cache import ImageStore
from ferfusion.data.loading import Loader, normalise
from ferfusion.errors import ConfigError
from ferfusion.modality import Modality
from ferfusion.models.early_fusion import EarlyFusionModel
from ferfusion.preprocessing import Preprocessing
from ferfusion.training.features import VARIANTS, FeatureCache, FeatureLoader, stand_still
from ferfusion.training.loop import fit
from ferfusion.training.machine import start_fabric
from ferfusion.training.recipe import Hardware, Recipe

PAIR = (Modality.VISIBLE, Modality.INFRARED)


class CountingTrunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.seen = 0

    def forward(self, pictures: Tensor) -> Tensor:
        self.seen += len(pictures)
        return self.layers(pictures)


def build_model() -> EarlyFusionModel:
    torch.manual_seed(0)
    trunks = {m: CountingTrunk() for m in PAIR}
    for trunk in trunks.values():
        trunk.layers[1].running_mean.uniform_(-1, 1)  # pyright: ignore
    return EarlyFusionModel(trunks, nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 3)))


def count_seen(model: EarlyFusionModel) -> int:
    return sum(trunk.seen for trunk in model.trunks.values())  # pyright: ignore


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric(Hardware("cpu", 1, 1, "fp32"))


@pytest.fixture(scope="module")
def store(make_store: Callable[..., ImageStore]) -> ImageStore:
    return make_store()


def make_loader(store: ImageStore, rows: slice, **more: object) -> Loader:
    chosen = np.arange(len(store.samples))[rows]
    given: Mapping[str, object] = {"batch_size": 8, "policy": "sound", **more}
    return Loader(store, chosen, chosen % 3, PAIR, **given)  # pyright: ignore


def describe(store: ImageStore) -> Preprocessing:
    third = dict.fromkeys(PAIR, (0.5, 0.4, 0.3))
    return Preprocessing(size_px=store.size_px, mean=third, std=third)


def keep(model: EarlyFusionModel, fabric: Fabric, store: ImageStore, folder: Path) -> FeatureCache:
    trunks = {m: model.get_submodule(f"trunks.{m}") for m in PAIR}
    return FeatureCache(fabric, trunks, describe(store), folder)


@pytest.mark.parametrize("policy", VARIANTS)
def test_batches_hold_the_features_of_the_pictures_that_a_loader_gives(
    fabric: Fabric, store: ImageStore, tmp_path: Path, policy: str
) -> None:
    model = build_model().eval()
    loader = stand_still(make_loader(store, slice(1, None, 2), policy=policy, seed=4))
    kept = FeatureLoader(loader, keep(model, fabric, store, tmp_path))
    for epoch in (0, 3, VARIANTS[loader.policy] + 1):
        pairs = zip(loader.shuffled(epoch), kept.shuffled(epoch), strict=True)
        for batch, found in pairs:
            pictures = normalise(batch.pictures, describe(store), fabric.device)
            for modality in PAIR:
                trunk = model.trunks[str(modality)]
                with torch.no_grad():
                    expected = trunk(pictures[modality]).flatten(1)
                torch.testing.assert_close(found.features[modality], expected)
            assert torch.equal(found.labels, batch.labels)
            assert found.share == batch.share


def test_pictures_come_again_after_their_variants_in_another_order(store: ImageStore) -> None:
    loader = stand_still(make_loader(store, slice(None)))

    def show(epoch: int) -> dict[int, Tensor]:
        return {
            int(row): picture
            for batch in loader.shuffled(epoch)
            for row, picture in zip(batch.rows, batch.pictures[PAIR[0]], strict=True)
        }

    first, again, other = show(1), show(1 + VARIANTS["sound"]), show(2)
    assert list(first) != list(again)
    assert all(torch.equal(first[row], again[row]) for row in first)
    assert any(not torch.equal(first[row], other[row]) for row in first)


@pytest.mark.parametrize("head_epochs", [0, 3])
def test_the_model_is_that_of_a_training_without_the_cache(
    fabric: Fabric, store: ImageStore, tmp_path: Path, head_epochs: int
) -> None:
    recipe = Recipe(epochs=20, batch_size=8, frozen="backbone", head_epochs=head_epochs)

    def train(folder: Path, *, is_kept: bool) -> EarlyFusionModel:
        model = build_model()
        fit(
            fabric,
            model,
            make_loader(store, slice(None, -6)),
            make_loader(store, slice(-6, None), policy="none"),
            describe(store),
            recipe,
            state_folder=folder,
            identity="",
            features=keep(model, fabric, store, tmp_path / "cache") if is_kept else None,
        )
        return model

    plain, kept = train(tmp_path / "a", is_kept=False), train(tmp_path / "b", is_kept=True)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], tensor)
    n = len(store.samples)
    # Eight variants and the pictures as they are, of every sample, once.
    assert count_seen(kept) == len(PAIR) * n * (VARIANTS["sound"] + 1)
    assert count_seen(plain) > 2 * count_seen(kept)
    # Another model with the same trunks computes nothing at all.
    assert count_seen(train(tmp_path / "c", is_kept=True)) == 0


def test_what_changes_features_makes_them_anew(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    model = build_model()
    loader = stand_still(make_loader(store, slice(None)))
    visible = Modality.VISIBLE

    def compute(loader: Loader, variant: int = 0) -> int:
        before = count_seen(model)
        keep(model, fabric, store, tmp_path).compute(loader, visible, variant)
        return count_seen(model) - before

    n = len(store.samples)
    assert compute(loader) == n
    assert compute(replace(loader, rows=loader.rows[:3], labels=loader.labels[:3])) == 0
    assert compute(loader, 1) == n
    assert compute(replace(loader, seed=1)) == n
    assert compute(replace(loader, policy="none")) == n
    assert compute(replace(loader, policy="none", seed=1)) == 0, "nothing is drawn"
    with torch.no_grad():
        next(model.trunks[str(visible)].parameters()).add_(0.1)
    assert compute(loader) == n


def test_attention_learns_behind_the_features(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    model = build_model()
    model.gates = nn.ModuleDict({str(m): nn.Linear(8, 8) for m in PAIR})
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fit(
        fabric,
        model,
        make_loader(store, slice(None, -6)),
        make_loader(store, slice(-6, None), policy="none"),
        describe(store),
        Recipe(epochs=3, batch_size=8, frozen="backbone", head_epochs=0),
        state_folder=tmp_path,
        identity="",
        features=keep(model, fabric, store, tmp_path / "cache"),
    )
    after = model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("trunks."))
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("gates."))


@pytest.mark.parametrize("harm", ["cut", "changed", "no facts"])
def test_damaged_features_are_made_anew(
    fabric: Fabric, store: ImageStore, tmp_path: Path, harm: str
) -> None:
    model, loader = build_model(), stand_still(make_loader(store, slice(None)))
    whole = np.array(keep(model, fabric, store, tmp_path).compute(loader, PAIR[0], 0))
    (path,) = tmp_path.glob("*.npy")
    data = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(data[:-8])
    elif harm == "changed":
        data[-3] ^= 0xFF
        path.write_bytes(data)
    else:
        path.with_suffix(".json").write_text("{}")
    before = count_seen(model)
    again = keep(model, fabric, store, tmp_path).compute(loader, PAIR[0], 0)
    assert count_seen(model) - before == len(store.samples)
    np.testing.assert_array_equal(again, whole)


def test_features_never_push_out_what_is_in_use(
    fabric: Fabric, make_store: Callable[..., ImageStore], tmp_path: Path
) -> None:
    model, store = build_model(), make_store()
    loader = stand_still(make_loader(store, slice(None)))
    trunks = {m: model.get_submodule(f"trunks.{m}") for m in PAIR}
    one = keep(model, fabric, store, tmp_path)
    first = one.compute(loader, PAIR[0], 0)
    # Room for one more, not for two.
    tight = FeatureCache(fabric, trunks, describe(store), tmp_path, 2.9 * first.nbytes / 1e9)
    tight.compute(loader, PAIR[0], 1)
    with pytest.raises(ConfigError, match="--cache-limit"):
        tight.compute(loader, PAIR[0], 2)
    assert len(list(tmp_path.glob("*.npy"))) == 2
