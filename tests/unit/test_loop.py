import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ferfusion.data import loading
from ferfusion.data.cache import ImageStore
from ferfusion.data.loading import Loader
from ferfusion.modality import Modality
from ferfusion.models.heads import build_head
from ferfusion.models.single import SingleModel
from ferfusion.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from ferfusion.training import loop
from ferfusion.training.loop import STATE, Epoch, History, choose_epoch, fit
from ferfusion.training.loss import as_loss_takes
from ferfusion.training.machine import start_fabric
from ferfusion.training.optimiser import build_optimiser
from ferfusion.training.recipe import Hardware, Recipe, seed_for
from ferfusion.training.stopwatch import PHASES
from ferfusion.training.warm_up import warm_up_head

V = Modality.VISIBLE
PREPROCESSING = Preprocessing(32, {V: IMAGENET_MEAN}, {V: IMAGENET_STD})
BASIC = Recipe(
    epochs=4,
    batch_size=8,
    optimiser="adamw",
    learning_rate=0.01,
    backbone_learning_rate=0.01,
    weight_decay=0.01,
    schedule="cosine",
    label_smoothing=0.1,
    dropout=0.5,
    augmentation="sound",
    head_epochs=0,
    frozen="none",
    frozen_norms=False,
    seed=0,
)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric(Hardware("cpu", 1, 1, "fp32"))


@pytest.fixture(scope="module")
def store(make_store: Callable[..., ImageStore]) -> ImageStore:
    return make_store()


def build_model(seed: int = 0) -> SingleModel:
    torch.manual_seed(seed)
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return SingleModel(V, trunk, build_head(V, 16, 3, dropout=0.5))


def make_loaders(store: ImageStore, recipe: Recipe) -> tuple[Loader, Loader]:
    rows = np.arange(len(store.samples))
    labels = rows % 3
    train = Loader(
        store,
        rows[:30],
        labels[:30],
        (V,),
        recipe.batch_size,
        policy=recipe.augmentation,
        seed=recipe.seed,
    )
    return train, Loader(store, rows[30:], labels[30:], (V,), 64)


def train(
    fabric: Fabric,
    store: ImageStore,
    folder: Path,
    recipe: Recipe = BASIC,
    *,
    model_seed: int = 0,
    identity: str = "this one",
    on_epoch: Callable[[Epoch], None] | None = None,
    save_every_s: float = 0,
) -> tuple[SingleModel, History]:
    model = build_model(model_seed)
    history = fit(
        fabric,
        model,
        *make_loaders(store, recipe),
        PREPROCESSING,
        recipe,
        state_folder=folder,
        identity=identity,
        on_epoch=on_epoch,
        save_every_s=save_every_s,
    )
    return model, history


class Kill(Exception):  # noqa: N818
    """Stands for a kill."""


def stop_after(epoch: int) -> Callable[[Epoch], None]:
    def on_epoch(done: Epoch) -> None:
        if done.epoch == epoch:
            raise Kill

    return on_epoch


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def is_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def without_seconds(history: History) -> list[dict[str, float]]:
    return [{k: v for k, v in asdict(e).items() if k != "seconds"} for e in history.epochs]


@pytest.fixture
def count_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gives a list that grows by the number of each epoch that is really trained."""
    trained: list[int] = []
    plain = Loader.shuffled

    def shuffled(self: Loader, epoch: int, *, rank: int = 0, world: int = 1):
        trained.append(epoch)
        return plain(self, epoch, rank=rank, world=world)

    monkeypatch.setattr(Loader, "shuffled", shuffled)
    return trained


RECIPES = {
    "adamw-cosine": BASIC,
    "adam-constant": replace(BASIC, optimiser="adam", schedule="constant"),
    "sgd-plateau": replace(BASIC, optimiser="sgd", schedule="plateau", epochs=9),
    "head-first": replace(BASIC, head_epochs=3, frozen_norms=True),
    "frozen": replace(BASIC, head_epochs=1, frozen="backbone"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_stopped_training_goes_on_to_the_very_same_weights(
    fabric: Fabric, store: ImageStore, tmp_path: Path, count_epochs: list[int], name: str
) -> None:
    recipe = RECIPES[name]
    whole, whole_history = train(fabric, store, tmp_path / "whole", recipe)
    if recipe.schedule == "plateau":
        rates = [e.learning_rate for e in whole_history.epochs]
        assert rates[-1] < rates[2], "the plateau must react after the stop, or this shows nothing"

    count_epochs.clear()
    with pytest.raises(Kill):
        train(fabric, store, tmp_path / "cut", recipe, on_epoch=stop_after(3))
    # Another random start: everything that matters must come from the saved state.
    seen: list[Epoch] = []
    cut, cut_history = train(
        fabric, store, tmp_path / "cut", recipe, model_seed=99, on_epoch=seen.append
    )

    assert count_epochs == list(range(recipe.epochs)), "each epoch is trained once, none again"
    assert is_same(whole.state_dict(), cut.state_dict())
    assert without_seconds(whole_history) == without_seconds(cut_history)
    assert whole_history.best_epoch == cut_history.best_epoch
    assert [e.epoch for e in seen] == list(range(1, recipe.epochs + 1)), "old epochs are told too"


def test_training_killed_within_an_epoch_and_twice_ends_the_same(
    fabric: Fabric, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, history = train(fabric, store, tmp_path / "whole")
    plain, calls = loading.normalise, 0

    def normalise_or_die(*arguments):
        nonlocal calls
        calls += 1
        if calls in (8, 19):  # an epoch is 4 batches of training and 1 of validation
            raise Kill
        return plain(*arguments)

    monkeypatch.setattr(loading, "normalise", normalise_or_die)
    for _ in range(2):
        with pytest.raises(Kill):
            train(fabric, store, tmp_path / "cut")
    cut, cut_history = train(fabric, store, tmp_path / "cut")
    assert is_same(whole.state_dict(), cut.state_dict())
    assert without_seconds(history) == without_seconds(cut_history)


def test_state_is_saved_only_as_often_as_asked(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    with pytest.raises(Kill):
        train(fabric, store, tmp_path, on_epoch=stop_after(3), save_every_s=3600)
    assert not (tmp_path / STATE).exists()


def test_state_of_another_identity_is_not_used(
    fabric: Fabric, store: ImageStore, tmp_path: Path, count_epochs: list[int]
) -> None:
    fresh, _ = train(fabric, store, tmp_path / "fresh")
    with pytest.raises(Kill):
        train(fabric, store, tmp_path / "cut", model_seed=5, identity="b", on_epoch=stop_after(2))
    count_epochs.clear()
    again, _ = train(fabric, store, tmp_path / "cut")
    assert count_epochs == [0, 1, 2, 3]
    assert is_same(fresh.state_dict(), again.state_dict())


@pytest.mark.parametrize("damage", ["truncated", "empty", "other file", "facts cut"])
def test_damaged_state_means_training_from_the_start(
    fabric: Fabric, store: ImageStore, tmp_path: Path, count_epochs: list[int], damage: str
) -> None:
    fresh, _ = train(fabric, store, tmp_path / "fresh")
    with pytest.raises(Kill):
        train(fabric, store, tmp_path / "cut", model_seed=5, on_epoch=stop_after(2))
    path = tmp_path / "cut" / STATE
    whole = path.read_bytes()
    if damage == "facts cut":
        tensors = loop.read_tensors(path)
        tensors["facts"] = tensors["facts"][:-20].clone()
        loop.write_tensors(path, tensors)
    else:
        damaged = {"truncated": whole[: len(whole) // 2], "empty": b"", "other file": b"PK\3\4" * 9}
        path.write_bytes(damaged[damage])
    count_epochs.clear()
    again, _ = train(fabric, store, tmp_path / "cut")
    assert count_epochs == [0, 1, 2, 3]
    assert is_same(fresh.state_dict(), again.state_dict())


def test_learns_easy_faces(fabric: Fabric, store: ImageStore, tmp_path: Path) -> None:
    model, history = train(fabric, store, tmp_path, replace(BASIC, epochs=8))
    losses = [e.train_loss for e in history.epochs]
    assert losses[-1] < 0.7 * losses[0]
    assert losses[0] < 2 * math.log(3), "a mean over pictures, not a sum"
    assert history.best.val_n == 12
    assert history.best.val_correct >= 10, "chance is 4 of 12"
    assert not model.training


def test_keeps_the_weights_of_the_best_epoch(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    # A rate that ruins the model as it goes on.
    recipe = replace(BASIC, epochs=5, optimiser="sgd", schedule="constant", learning_rate=0.5)
    states: list[dict[str, Tensor]] = []
    model = build_model()
    history = fit(
        fabric,
        model,
        *make_loaders(store, recipe),
        PREPROCESSING,
        recipe,
        state_folder=tmp_path,
        identity="",
        on_epoch=lambda _: states.append(copy_state(model)),
    )
    assert not is_same(states[-1], states[history.best_epoch - 1]) or history.best_epoch == 5
    assert is_same(model.state_dict(), states[history.best_epoch - 1])
    assert history.best_epoch == choose_epoch(history.epochs)


@pytest.mark.parametrize("head_epochs", [0, 2])
def test_frozen_backbone_stands_perfectly_still(
    fabric: Fabric, store: ImageStore, tmp_path: Path, head_epochs: int
) -> None:
    before = copy_state(build_model())
    recipe = replace(BASIC, frozen="backbone", head_epochs=head_epochs)
    after = train(fabric, store, tmp_path, recipe)[0].state_dict()
    trunk = [k for k in before if k.startswith("trunks.")]
    assert any(k.endswith("running_mean") for k in trunk)
    assert all(torch.equal(before[k], after[k]) for k in trunk)
    head = [k for k in before if k.startswith("head.")]
    assert all(not torch.equal(before[k], after[k]) for k in head)


def test_frozen_norms_keep_their_statistics_while_kernels_learn(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    before = copy_state(build_model())
    kept = train(fabric, store, tmp_path / "a", replace(BASIC, frozen_norms=True))[0].state_dict()
    moved = train(fabric, store, tmp_path / "b", BASIC)[0].state_dict()
    statistics = [k for k in before if "running_" in k or "num_batches" in k]
    assert statistics
    assert all(torch.equal(before[k], kept[k]) for k in statistics)
    assert all(not torch.equal(before[k], moved[k]) for k in statistics)
    assert not torch.equal(before["trunks.visible.0.weight"], kept["trunks.visible.0.weight"])


def test_head_alone_moves_while_it_warms_up(fabric: Fabric, store: ImageStore) -> None:
    recipe = replace(BASIC, head_epochs=3)
    model = build_model()
    before = copy_state(model)
    warm_up_head(fabric, model, make_loaders(store, recipe)[0], PREPROCESSING, recipe)
    after = model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("trunks."))
    assert all(not torch.equal(before[k], after[k]) for k in before if k.startswith("head."))


def test_warmed_up_head_knows_more(fabric: Fabric, store: ImageStore) -> None:
    def loss_after(head_epochs: int) -> float:
        recipe = replace(BASIC, head_epochs=head_epochs, augmentation="none")
        model = build_model()
        loader = make_loaders(store, recipe)[0]
        warm_up_head(fabric, model, loader, PREPROCESSING, recipe)
        model.eval()
        (batch,) = replace(loader, batch_size=64).in_order()
        pictures = loading.normalise(batch.pictures, PREPROCESSING, torch.device("cpu"))
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(pictures), batch.labels))

    assert loss_after(20) < 0.8 * loss_after(0)


@pytest.mark.parametrize("augmentation", ["sound", "paper"])
def test_head_warms_up_in_batches_of_the_recipe_whatever_the_copies(
    fabric: Fabric, store: ImageStore, augmentation: Literal["sound", "paper"]
) -> None:
    # 26 copies of each picture once meant batches of one, which BatchNorm refuses.
    recipe = replace(BASIC, augmentation=augmentation, batch_size=4, head_epochs=2)
    model, loader = build_model(), make_loaders(store, recipe)[0]
    sizes: list[int] = []
    model.head.register_forward_hook(lambda _module, _inputs, out: sizes.append(len(out)))
    warm_up_head(fabric, model, loader, PREPROCESSING, recipe)
    n = len(loader.rows)
    assert sum(sizes) == 2 * n
    assert len(sizes) == 2 * math.ceil(n / 4)
    assert max(sizes) - min(sizes) <= 1


def test_doubled_softmax_can_not_bring_the_loss_below_its_floor(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    """With n classes it stays above ln(e + n - 1) - 1; what else is trained is the same."""
    recipe = replace(BASIC, epochs=12, label_smoothing=0.0, dropout=0.0, augmentation="none")
    quirky = replace(recipe, quirks=("double_softmax",))
    plain = train(fabric, store, tmp_path / "a", recipe)[1]
    model, doubled = train(fabric, store, tmp_path / "b", quirky)
    floor = math.log(math.e + 2) - 1
    losses = [loss for e in doubled.epochs for loss in (e.train_loss, e.val_loss)]
    assert min(losses) >= floor - 1e-6
    assert min(e.val_loss for e in plain.epochs) < floor
    assert doubled.best.val_loss < math.log(3), "it learns all the same"
    # The loss that is reported is that of the softmax of the model's logits.
    (batch,) = make_loaders(store, quirky)[1].in_order()
    pictures = loading.normalise(batch.pictures, PREPROCESSING, torch.device("cpu"))
    with torch.no_grad():
        probs = model(pictures).softmax(dim=1)
    wanted = nn.functional.cross_entropy(probs, batch.labels)
    assert doubled.best.val_loss == pytest.approx(float(wanted), abs=1e-6)


@pytest.mark.parametrize(("n_classes", "floor"), [(3, 0.5514), (5, 0.9048)])
def test_floor_of_doubled_softmax_is_the_papers(n_classes: int, floor: float) -> None:
    sure = torch.zeros(1, n_classes)
    sure[0, 1] = 100
    label = torch.tensor([1])
    taken = as_loss_takes(sure, replace(BASIC, quirks=("double_softmax",)))
    assert float(nn.functional.cross_entropy(taken, label)) == pytest.approx(floor, abs=1e-4)
    assert torch.equal(as_loss_takes(sure, BASIC), sure)


def test_doubled_softmax_also_warms_up_the_head(fabric: Fabric, store: ImageStore) -> None:
    def warm_up(quirks: tuple[str, ...]) -> dict[str, Tensor]:
        recipe = replace(BASIC, head_epochs=2, quirks=quirks)
        model = build_model()
        warm_up_head(fabric, model, make_loaders(store, recipe)[0], PREPROCESSING, recipe)
        return copy_state(model)

    plain = warm_up(())
    assert is_same(plain, warm_up(("no_normalisation", "image_split")))
    assert not is_same(plain, warm_up(("double_softmax",)))


def test_same_seed_same_weights_other_seed_others(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    one, _ = train(fabric, store, tmp_path / "1")
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002 - nothing may depend on it
    two, _ = train(fabric, store, tmp_path / "2")
    other, _ = train(fabric, store, tmp_path / "3", replace(BASIC, seed=1))
    assert is_same(one.state_dict(), two.state_dict())
    assert not is_same(one.state_dict(), other.state_dict())


def make_epoch(number: int, right: int, loss: float) -> Epoch:
    return Epoch(number, 1.0, loss, right, 10, 0.1, 1.0)


@pytest.mark.parametrize(
    ("rights", "losses", "best"),
    [
        ([3, 5, 4], [1.0, 2.0, 0.5], 2),  # right ones count before loss
        ([5, 5, 5], [1.0, 0.8, 0.9], 2),  # then the loss
        ([5, 5, 4], [0.8, 0.8, 0.1], 1),  # then the earlier one
    ],
)
def test_best_epoch(rights: list[int], losses: list[float], best: int) -> None:
    epochs = [
        make_epoch(n, right, loss)
        for n, (right, loss) in enumerate(zip(rights, losses, strict=True), start=1)
    ]
    assert choose_epoch(epochs) == best
    assert choose_epoch(reversed(epochs)) == best


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_only_kernels_and_matrices_decay(optimiser: str) -> None:
    recipe = replace(
        BASIC,
        optimiser=optimiser,
        weight_decay=0.3,
        learning_rate=0.02,
        backbone_learning_rate=0.001,
    )
    model = build_model()
    built = build_optimiser(model, model.trunks, recipe)
    found = {id(p): group for group in built.param_groups for p in group["params"]}
    assert len(found) == sum(len(g["params"]) for g in built.param_groups)
    for name, parameter in model.named_parameters():
        group = found[id(parameter)]
        is_kernel = name.endswith("weight") and parameter.ndim > 1
        assert group["weight_decay"] == (0.3 if is_kernel else 0), name
        assert group["lr"] == (0.001 if name.startswith("trunks.") else 0.02), name
    assert built.param_groups[0]["lr"] == 0.02, "the rate that epochs report is the head's"


def test_frozen_parameters_are_no_business_of_the_optimiser() -> None:
    model = build_model()
    model.trunks.requires_grad_(False)
    built = build_optimiser(model, model.trunks, BASIC)
    found = {id(p) for group in built.param_groups for p in group["params"]}
    assert found == {id(p) for p in model.head.parameters()}


def test_cosine_rises_then_falls_to_nearly_nothing(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    _, history = train(fabric, store, tmp_path, replace(BASIC, epochs=6, learning_rate=0.01))
    rates = [e.learning_rate for e in history.epochs]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.008
    assert rates[-1] < 0.001


def test_seed_for_tells_purposes_apart() -> None:
    seeds = {seed_for(s, *w) for s in (0, 1, 10) for w in (("a",), ("a", "b"), ("0", "a"))}
    assert len(seeds) == 9
    assert seed_for(0, "dropout", "3") == seed_for(0, "dropout", "3")


def test_a_profile_adds_up_to_the_time_of_the_epochs(
    fabric: Fabric, store: ImageStore, tmp_path: Path
) -> None:
    def profile(folder: str, *, is_profiled: bool) -> History:
        return fit(
            fabric,
            build_model(),
            *make_loaders(store, BASIC),
            PREPROCESSING,
            BASIC,
            state_folder=tmp_path / folder,
            identity="",
            is_profiled=is_profiled,
        )

    history = profile("a", is_profiled=True)
    assert tuple(history.seconds) == PHASES
    assert all(seconds > 0 for seconds in history.seconds.values())
    whole = sum(epoch.seconds for epoch in history.epochs)
    assert 0.5 * whole < sum(history.seconds.values()) <= whole
    plain = profile("b", is_profiled=False)
    assert plain.seconds == {}
    assert without_seconds(plain) == without_seconds(history), "measuring changes nothing"
