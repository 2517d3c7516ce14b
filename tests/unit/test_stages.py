from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ferfusion.data.cache import ImageStore
from ferfusion.data.loading import normalise
from ferfusion.data.splits import Split
from ferfusion.evaluation.collect import collect
from ferfusion.evaluation.predictions import Predictions
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models import backbones
from ferfusion.models.backbones import Backbone
from ferfusion.models.checkpoint import load_checkpoint, save_checkpoint
from ferfusion.models.late_fusion import mix_probs
from ferfusion.training import stages
from ferfusion.training.loop import Epoch, History
from ferfusion.training.machine import start_fabric
from ferfusion.training.recipe import Hardware, Recipe
from ferfusion.training.stages import Lab, Trained, fit_early, fit_single, mix_late

V, IR, M = MODALITIES
LABELS = ("angry", "happy", "neutral")
HARDWARE = Hardware("cpu", 1, 1, "fp32")
RECIPE = Recipe(
    epochs=2,
    batch_size=14,
    optimiser="adamw",
    learning_rate=0.01,
    backbone_learning_rate=0.002,
    weight_decay=0.0,
    schedule="constant",
    label_smoothing=0.0,
    dropout=0.0,
    augmentation="none",
    head_epochs=0,
    frozen="none",
    frozen_norms=False,
    seed=0,
)


def build_tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )


TINY = Backbone(
    "tiny", build_tiny, 8, fetch=dict, local_file=lambda: None, origin="nowhere", dropped=("fc",)
)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric(HARDWARE)


@pytest.fixture
def lab(
    fabric: Fabric,
    make_store: Callable[..., ImageStore],
    make_split: Callable[[ImageStore], Split],
    monkeypatch: pytest.MonkeyPatch,
) -> Lab:
    monkeypatch.setitem(backbones.BACKBONES, "tiny", lambda: TINY)
    store = make_store()
    return Lab(fabric, HARDWARE, store, LABELS, make_split(store), TINY, "none", RECIPE)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replaces the training by a witness of what each fit was given."""
    seen: list[dict[str, Any]] = []

    def fit(fabric, model, train, val, preprocessing, recipe, *, identity, **rest) -> History:
        state = {k: v.clone() for k, v in model.state_dict().items()}
        seen.append({"state": state, "recipe": recipe, "identity": identity, "train": train})
        return History((Epoch(1, 1.0, 1.0, 1, 1, 0.1, 0.1),), 1)

    monkeypatch.setattr(stages, "fit", fit)
    return seen


def keep(lab: Lab, trained: Trained, folder: Path) -> Path:
    recipe = asdict(lab.recipe)
    save_checkpoint(folder, trained.model, trained.blueprint, lab.preprocessing, recipe)
    return folder


def trunk_of(state: dict[str, Tensor], modality: Modality) -> dict[str, Tensor]:
    prefix = f"trunks.{modality}."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def is_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def singles(lab: Lab, tmp_path: Path) -> dict[Modality, Trained]:
    return {m: fit_single(lab, m, tmp_path / "unfinished" / m) for m in MODALITIES}


def test_three_step_starts_from_the_trained_single_models(
    lab: Lab, singles: dict[Modality, Trained], tmp_path: Path, monkeypatch, starts
) -> None:
    folders = {m: keep(lab, t, tmp_path / m) for m, t in singles.items()}
    fit_early(lab, MODALITIES, 3, tmp_path / "early", folders)
    (start,) = starts
    for modality, single in singles.items():
        trained = trunk_of(dict(single.model.state_dict()), modality)
        assert is_same(trunk_of(start["state"], modality), trained)
        assert trained["1.num_batches_tracked"] > 0, "statistics of norms come along"
    # Trained trunks move at their own, gentler rate.
    assert start["recipe"].backbone_learning_rate == 0.002


def test_one_step_does_not(
    lab: Lab, singles: dict[Modality, Trained], tmp_path: Path, starts
) -> None:
    folders = {m: keep(lab, t, tmp_path / m) for m, t in singles.items()}
    fit_early(lab, (V, IR), 1, tmp_path / "early", folders)
    (start,) = starts
    for modality in (V, IR):
        trained = trunk_of(dict(singles[modality].model.state_dict()), modality)
        assert not is_same(trunk_of(start["state"], modality), trained)
    assert start["recipe"].backbone_learning_rate == 0.01, "random trunks learn at the head's rate"


def test_given_weights_start_every_trunk(lab: Lab, tmp_path: Path, starts) -> None:
    torch.manual_seed(5)
    trunk = build_tiny()
    torch.save(trunk.state_dict() | {"fc.weight": torch.zeros(2, 2)}, tmp_path / "tiny.pth")
    lab = replace(lab, weights=str(tmp_path / "tiny.pth"))
    fit_single(lab, M, tmp_path / "a")
    fit_early(lab, (V, M), 1, tmp_path / "b", {})
    for start, modality in ((starts[0], M), (starts[1], V), (starts[1], M)):
        assert is_same(trunk_of(start["state"], modality), dict(trunk.state_dict()))
        assert start["recipe"].backbone_learning_rate == 0.002


def test_identity_follows_everything_that_decides(
    lab: Lab, tmp_path: Path, starts, make_store: Callable[..., ImageStore]
) -> None:
    def identity(of: Lab, modality: Modality = V) -> str:
        fit_single(of, modality, tmp_path)
        return starts[-1]["identity"]

    split = replace(lab.split, seed=1)
    others = [
        identity(lab),
        identity(lab, M),
        identity(replace(lab, recipe=replace(RECIPE, epochs=3))),
        identity(replace(lab, recipe=replace(RECIPE, seed=1))),
        identity(replace(lab, split=split)),
        identity(replace(lab, store=make_store(seed=1))),
        identity(replace(lab, hardware=replace(HARDWARE, precision="bf16"))),
    ]
    assert len(set(others)) == len(others)
    assert identity(lab) == others[0]
    fit_early(lab, (V, IR), 1, tmp_path, {})
    one_step = starts[-1]["identity"]
    fit_early(replace(lab, weights="none"), (V, IR), 1, tmp_path, {})
    assert one_step == starts[-1]["identity"]


def test_first_weights_follow_from_the_seed_alone(lab: Lab, tmp_path: Path, starts) -> None:
    fit_single(lab, V, tmp_path)
    torch.manual_seed(77)
    fit_single(lab, V, tmp_path)
    fit_single(replace(lab, recipe=replace(RECIPE, seed=1)), V, tmp_path)
    assert is_same(starts[0]["state"], starts[1]["state"])
    assert not is_same(starts[0]["state"], starts[2]["state"])


def test_parts_are_those_of_the_split_and_only_training_is_augmented(lab: Lab) -> None:
    lab = replace(lab, recipe=replace(RECIPE, augmentation="paper"))
    for part in ("train", "val", "test"):
        loader = lab.loader(part, (V, M))
        ids = [lab.store.samples[row].id for row in loader.rows]
        assert sorted(ids) == sorted(lab.split.parts[part])
        assert loader.policy == ("paper" if part == "train" else "none")
        assert [LABELS[i] for i in loader.labels] == [
            lab.store.samples[row].expression for row in loader.rows
        ]


def test_predictions_are_about_validation_and_test(
    lab: Lab, singles: dict[Modality, Trained]
) -> None:
    for trained in singles.values():
        assert sorted(trained.val.sample_ids) == sorted(lab.split.parts["val"])
        assert sorted(trained.test.sample_ids) == sorted(lab.split.parts["test"])
        assert trained.history is not None
        assert int(trained.val.correct.sum()) == trained.history.best.val_correct


def test_quirks_of_augmentation_reach_training_alone(lab: Lab) -> None:
    quirks = ("identical_flips", "independent_augmentation")
    for n in (0, 1, 2):
        quirky = replace(lab, recipe=replace(RECIPE, augmentation="paper", quirks=quirks[:n]))
        loader = quirky.loader("train", (V, M))
        assert (loader.identical_flips, loader.independent) == (n > 0, n > 1)
        assert quirky.loader("test", (V, M)).policy == "none"
        assert quirky.preprocessing == lab.preprocessing


def test_pictures_without_normalisation_stay_so_in_the_checkpoint(lab: Lab, tmp_path: Path) -> None:
    quirky = replace(lab, recipe=replace(RECIPE, quirks=("no_normalisation",)))
    assert set(lab.preprocessing.mean.values()) == {TINY.mean}
    trained = fit_single(quirky, V, tmp_path / "unfinished")
    kept = load_checkpoint(keep(quirky, trained, tmp_path / "kept"))
    assert set(kept.preprocessing.mean.values()) == {(0.0, 0.0, 0.0)}
    assert set(kept.preprocessing.std.values()) == {(1.0, 1.0, 1.0)}
    assert kept.recipe["quirks"] == ["no_normalisation"]
    # Training, validation and a later evaluation all look at the same numbers.
    loader = quirky.loader("test", (V,))
    device = torch.device("cpu")
    again = collect(kept.model, loader, kept.preprocessing, LABELS, device)
    np.testing.assert_array_equal(again.probs, trained.test.probs)
    assert not np.allclose(
        collect(kept.model, loader, lab.preprocessing, LABELS, device).probs, again.probs
    )


def test_late_fusion_of_doubled_softmax_mixes_plain_probabilities(lab: Lab, tmp_path: Path) -> None:
    quirky = replace(lab, recipe=replace(RECIPE, quirks=("double_softmax",)))
    trained = fit_single(quirky, V, tmp_path)
    (batch,) = quirky.loader("test", (V,)).in_order()
    pictures = normalise(batch.pictures, quirky.preprocessing, torch.device("cpu"))
    with torch.no_grad():
        wanted = trained.model.eval()(pictures).softmax(dim=1)
    np.testing.assert_allclose(trained.test.probs, wanted.numpy(), atol=1e-6)


def mix(lab: Lab, singles: dict[Modality, Trained], **replaced: dict[Modality, Predictions]):
    val = {m: t.val for m, t in singles.items()}
    test = {m: t.test for m, t in singles.items()}
    models = {m: t.model for m, t in singles.items()}
    return mix_late(lab, models, replaced.get("val", val), replaced.get("test", test))


def test_late_fusion_answers_as_the_mixture(lab: Lab, singles: dict[Modality, Trained]) -> None:
    mixed = mix(lab, singles)
    assert mixed.weights is not None
    assert mixed.history is None
    for part in ("val", "test"):
        answers: Predictions = getattr(mixed, part)
        probs = {m: getattr(t, part).probs for m, t in singles.items()}
        np.testing.assert_allclose(answers.probs, mix_probs(probs, mixed.weights.weights))
        assert answers.sample_ids == getattr(singles[V], part).sample_ids
        by_model = lab.predict(mixed.model, MODALITIES, part)
        np.testing.assert_allclose(by_model.probs, answers.probs, atol=1e-6)
    assert int(mixed.val.correct.sum()) == mixed.weights.correct
    assert mixed.blueprint.mixture == mixed.weights.weights


def test_fusion_weights_never_look_at_test(lab: Lab, singles: dict[Modality, Trained]) -> None:
    rng = np.random.default_rng(0)
    plain = mix(lab, singles).weights

    def spoil(p: Predictions) -> Predictions:
        probs = rng.dirichlet(np.ones(3), len(p))
        return replace(p, labels=rng.permutation(p.labels), probs=probs)

    assert mix(lab, singles, test={m: spoil(t.test) for m, t in singles.items()}).weights == plain
    wrong = {m: replace(t.val, labels=(t.val.labels + 1) % 3) for m, t in singles.items()}
    assert mix(lab, singles, val=wrong).weights != plain, "but they do look at validation"


def test_predictions_of_different_samples_are_not_mixed(
    lab: Lab, singles: dict[Modality, Trained]
) -> None:
    val = {m: t.val for m, t in singles.items()}
    val[IR] = replace(val[IR], sample_ids=tuple(reversed(val[IR].sample_ids)))
    with pytest.raises(ValueError, match="different samples"):
        mix(lab, singles, val=val)
