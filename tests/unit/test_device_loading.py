from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ferfusion.data import device_loading
from ferfusion.data.cache import ImageStore
from ferfusion.data.device_loading import DeviceLoader, ReadyBatch, bring_pictures
from ferfusion.data.loading import Loader, normalise
from ferfusion.modality import MODALITIES
from ferfusion.models.heads import build_head
from ferfusion.models.single import SingleModel
from ferfusion.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from ferfusion.training.loop import History, fit
from ferfusion.training.machine import start_fabric
from ferfusion.training.recipe import Hardware, Recipe

V, IR, M = MODALITIES
CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(
    32, dict.fromkeys(MODALITIES, IMAGENET_MEAN), dict.fromkeys(MODALITIES, IMAGENET_STD)
)


@pytest.fixture(scope="module")
def store(make_store: Callable[..., ImageStore]) -> ImageStore:
    return make_store(n=42, size_px=32)


@pytest.fixture(autouse=True)
def nothing_resident() -> Iterator[None]:
    device_loading._resident.clear()
    yield
    device_loading._resident.clear()


def make_loader(store: ImageStore, n: int = 27, **named) -> Loader:
    rows = np.random.default_rng(1).permutation(len(store.samples))[:n]
    # Labels that give their row away.
    return Loader(store, rows, rows + 100, (V, IR), batch_size=8, **named)


def make_device_loader(loader: Loader, *, resident: bool) -> DeviceLoader:
    pictures = bring_pictures(loader.store, loader.modalities, CPU) if resident else None
    return DeviceLoader(loader, PREPROCESSING, CPU, pictures)


def is_same(one: ReadyBatch, other: ReadyBatch) -> bool:
    return (
        torch.equal(one.labels, other.labels)
        and one.share == other.share
        and all(torch.equal(pictures, other.inputs[m]) for m, pictures in one.inputs.items())
    )


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize("policy", ["sound", "paper", "none"])
def test_batches_are_those_of_the_loader(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, policy, independent: bool, resident: bool
) -> None:
    monkeypatch.setattr(device_loading, "_CHUNK", 20)  # several draws an epoch
    n = 5 if policy == "paper" else 27
    loader = make_loader(store, n, policy=policy, seed=3, independent=independent, variants=2)
    ready = make_device_loader(loader, resident=resident)
    assert ready.n_batches == loader.n_batches
    for epoch, rank, world in ((0, 0, 1), (3, 1, 2)):
        found = list(ready.shuffled(epoch, rank=rank, world=world))
        wanted = list(loader.shuffled(epoch, rank=rank, world=world))
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert torch.equal(one.labels, other.labels)
            assert one.share == other.share
            pictures = normalise(other.pictures, PREPROCESSING, CPU)
            assert set(one.inputs) == {V, IR}
            for modality, inputs in one.inputs.items():
                # In grey levels; the pictures are noise, which shows every difference.
                distance = (inputs - pictures[modality]).abs() * 255 * 0.225
                assert distance.mean() < 1
                if policy == "none":
                    assert torch.equal(inputs, pictures[modality])


@pytest.mark.parametrize("resident", [True, False])
def test_in_order_nothing_is_augmented(store: ImageStore, resident: bool) -> None:
    loader = make_loader(store, policy="sound")
    ready = list(make_device_loader(loader, resident=resident).in_order())
    for one, other in zip(ready, loader.in_order(), strict=True):
        pictures = normalise(other.pictures, PREPROCESSING, CPU)
        assert torch.equal(one.labels, other.labels)
        assert all(torch.equal(one.inputs[m], pictures[m]) for m in (V, IR))
        assert one.inputs[V].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("policy", ["sound", "paper", "none"])
def test_what_is_read_batch_by_batch_equals_what_is_there(store: ImageStore, policy) -> None:
    loader = make_loader(store, 9, policy=policy)
    pairs = zip(
        make_device_loader(loader, resident=True).shuffled(5),
        make_device_loader(loader, resident=False).shuffled(5),
        strict=True,
    )
    assert all(is_same(one, other) for one, other in pairs)


def test_pictures_are_brought_once_and_those_of_other_data_leave(
    store: ImageStore, make_store: Callable[..., ImageStore]
) -> None:
    first = bring_pictures(store, (V,), CPU)
    both = bring_pictures(store, (V, IR), CPU)
    assert first is not None
    assert both is not None
    assert both[V] is first[V]
    np.testing.assert_array_equal(both[IR].numpy(), store.pictures[IR])
    other = make_store(n=12, size_px=32, seed=5)
    again = bring_pictures(other, (V,), CPU)
    assert again is not None
    np.testing.assert_array_equal(again[V].numpy(), other.pictures[V])
    assert len(device_loading._resident) == 1


def test_too_many_pictures_are_not_brought(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store.pictures[V].nbytes
    monkeypatch.setattr(device_loading, "measure_free_memory", lambda device: 2.0 * one)
    assert bring_pictures(store, (V, IR), CPU) is None
    assert bring_pictures(store, (V,), CPU) is not None
    assert bring_pictures(store, (V, IR), CPU) is not None, "only what is missing takes room"


def build_model() -> SingleModel:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    return SingleModel(V, trunk, build_head(V, 8, 3, dropout=0.5))


RECIPE = Recipe(epochs=4, batch_size=8, learning_rate=0.01, backbone_learning_rate=0.01,
                head_epochs=0, frozen_norms=False)  # fmt: skip


def train(
    store: ImageStore, folder: Path, policy: str = "sound", optimiser: str = "adamw", **named
) -> tuple[SingleModel, History]:
    rows = np.arange(len(store.samples))
    loaders = [
        Loader(store, part, part % 3, (V,), 8, policy=of_part)
        for part, of_part in ((rows[:30], policy), (rows[30:], "none"))
    ]
    model = build_model()
    history = fit(
        start_fabric(Hardware("cpu", precision="fp32")),
        model,
        *loaders,
        PREPROCESSING,
        replace(RECIPE, augmentation=policy, optimiser=optimiser),
        state_folder=folder,
        identity="",
        **named,
    )
    return model, history


@pytest.mark.parametrize("policy", ["sound", "none"])
def test_a_training_on_device_batches_ends_like_one_on_opencvs(
    store: ImageStore, tmp_path: Path, policy: str
) -> None:
    _, plain = train(store, tmp_path / "plain", policy)
    _, there = train(store, tmp_path / "there", policy, on_device=True)
    for one, other in zip(plain.epochs, there.epochs, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=0.02)
        assert other.val_loss == pytest.approx(one.val_loss, rel=0.02)
        assert abs(other.val_correct - one.val_correct) <= 1
    if policy == "none":
        assert [e.train_loss for e in plain.epochs] == [e.train_loss for e in there.epochs]
    # By default a CPU trains as it always did.
    _, default = train(store, tmp_path / "default", policy, on_device=None)
    assert [e.val_loss for e in default.epochs] == [e.val_loss for e in plain.epochs]


def test_read_batch_by_batch_a_training_ends_the_same(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = train(store, tmp_path / "one", on_device=True)
    monkeypatch.setattr(device_loading, "measure_free_memory", lambda device: 0.0)
    device_loading._resident.clear()
    other, _ = train(store, tmp_path / "other", on_device=True)
    assert not device_loading._resident
    same = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)


class CountNumbersAskedFor(TorchDispatchMode):
    """Counts how often a program asks a tensor for its number; a GPU must finish its work first."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_within_an_epoch_nothing_waits_for_the_device(store: ImageStore, tmp_path: Path) -> None:
    # Here AdamW keeps its count of steps where it isn't fused; SGD keeps none.
    with CountNumbersAskedFor() as mode:
        _, history = train(store, tmp_path, on_device=True, optimiser="sgd")
    assert mode.count == len(history.epochs), "the mean loss, once an epoch"


@pytest.mark.parametrize("policy", ["sound", "paper", "none"])
def test_all_that_a_batch_is_made_of_is_on_its_device(store: ImageStore, policy) -> None:
    # `meta` holds no numbers, but refuses to work with tensors that lie elsewhere.
    meta = torch.device("meta")
    loader = make_loader(store, policy=policy)
    for resident in (True, False):
        pictures = bring_pictures(store, (V, IR), meta) if resident else None
        ready = DeviceLoader(loader, PREPROCESSING, meta, pictures)
        for batch in (next(ready.shuffled(0)), next(ready.in_order())):
            assert {t.device for t in (*batch.inputs.values(), batch.labels)} == {meta}
            assert len(batch.labels) == len(batch.inputs[V])
