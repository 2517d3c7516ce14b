import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models as tv
from torch import nn

from ferfusion.data.cache import ImageStore
from ferfusion.data.splits import Split
from ferfusion.errors import ConfigError, SplitError
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models import backbones
from ferfusion.models.backbones import Backbone
from ferfusion.models.late_fusion import mix_probs
from ferfusion.training import baselines
from ferfusion.training.baselines import Baseline, compute_features, fit_baseline
from ferfusion.training.machine import start_fabric
from ferfusion.training.recipe import Hardware, Recipe
from ferfusion.training.stages import Lab
from ferfusion.training.support_vectors import Grid

V, IR, M = MODALITIES
LABELS = ("angry", "happy", "neutral")
HARDWARE = Hardware("cpu", 1, 1, "fp32")
WAYS = [("single", (V,)), ("early", (V, IR)), ("early", MODALITIES), ("late", (V, IR))]


def build_tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )


TINY = Backbone(
    "tiny", build_tiny, 8, fetch=dict, local_file=lambda: None, origin="nowhere", dropped=("fc",)
)


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(baselines, "TRUNK_GRID", Grid(cs=(1.0, 10.0)))
    monkeypatch.setattr(baselines, "REGIONS_GRID", Grid((1.0,), (None, 0.3), (20, None)))
    baselines._known_features.clear()
    yield
    baselines._known_features.clear()


@pytest.fixture
def lab(make_store: Callable[..., ImageStore], make_split: Callable[[ImageStore], Split]) -> Lab:
    # Hard enough that validation has something to choose.
    store = make_store(n=60, noise=160)
    fabric = start_fabric(HARDWARE)
    return Lab(fabric, HARDWARE, store, LABELS, make_split(store), TINY, "none", Recipe(seed=0))


@pytest.mark.parametrize(("fusion", "modalities"), WAYS)
@pytest.mark.parametrize("method", ["frozen-svm", "regions-svm"])
def test_predictions_are_about_the_parts_and_better_than_chance(
    lab: Lab, method, fusion, modalities
) -> None:
    done = fit_baseline(lab, method, fusion, modalities)
    for part, predictions in (("val", done.val), ("test", done.test)):
        assert predictions.sample_ids == lab.split.parts[part]
        assert predictions.classes == LABELS
    assert json.loads(json.dumps(done.chosen)) == done.chosen
    assert done.seconds > 0
    if method == "frozen-svm":
        # Each class has its colour, which even random kernels see.
        assert done.val.correct.mean() > 0.6
        trunk = sum(p.numel() for p in build_tiny().parameters())
        assert done.parameters > trunk
        assert done.n_features <= 8 * len(modalities)


@pytest.mark.parametrize("method", ["frozen-svm", "regions-svm"])
@pytest.mark.parametrize("fusion", ["early", "late"])
def test_test_part_decides_nothing(lab: Lab, method, fusion) -> None:
    """Wrong labels and black pictures in test leave everything else as it was."""
    plain = fit_baseline(lab, method, fusion, (V, IR))
    in_test = lab.rows("test")
    samples = list(lab.store.samples)
    for row in in_test:
        samples[row] = replace(samples[row], expression="angry")
    pictures = {m: np.array(p) for m, p in lab.store.pictures.items()}
    for array in pictures.values():
        array[in_test] = 0
    store = replace(lab.store, samples=tuple(samples), pictures=pictures, fingerprint="spoilt")
    spoilt = fit_baseline(replace(lab, store=store), method, fusion, (V, IR))
    assert spoilt.chosen == plain.chosen
    np.testing.assert_array_equal(spoilt.val.probs, plain.val.probs)
    assert not np.array_equal(spoilt.test.probs, plain.test.probs)


def test_late_fusion_mixes_the_single_machines(lab: Lab) -> None:
    mixed = fit_baseline(lab, "frozen-svm", "late", (V, IR))
    singles = {m: fit_baseline(lab, "frozen-svm", "single", (m,)) for m in (V, IR)}
    weights = {Modality(m): w for m, w in mixed.chosen["weights"].items()}
    for part in ("val", "test"):
        probs = {m: getattr(single, part).probs for m, single in singles.items()}
        np.testing.assert_allclose(getattr(mixed, part).probs, mix_probs(probs, weights))
    assert mixed.chosen["visible"] == singles[V].chosen
    assert mixed.n_features == sum(single.n_features for single in singles.values())
    best = max(int(single.val.correct.sum()) for single in singles.values())
    assert mixed.val.correct.sum() >= best


def is_same(one: Baseline, other: Baseline) -> bool:
    return one.chosen == other.chosen and np.array_equal(one.test.probs, other.test.probs)


def test_same_seed_same_numbers(lab: Lab) -> None:
    first = fit_baseline(lab, "frozen-svm", "early", (V, IR))
    baselines._known_features.clear()
    torch.manual_seed(77)
    assert is_same(first, fit_baseline(lab, "frozen-svm", "early", (V, IR)))
    other = replace(lab, recipe=replace(lab.recipe, seed=1))
    assert not is_same(first, fit_baseline(other, "frozen-svm", "early", (V, IR)))


def test_features_are_the_trunks(lab: Lab, tmp_path: Path) -> None:
    torch.manual_seed(5)
    trunk = build_tiny().eval()
    torch.save(trunk.state_dict(), tmp_path / "tiny.pth")
    found = compute_features(replace(lab, weights=str(tmp_path / "tiny.pth")), "frozen-svm", M)
    mean, std = torch.tensor(TINY.mean), torch.tensor(TINY.std)
    pictures = torch.from_numpy(np.array(lab.store.pictures[M])) / 255
    with torch.no_grad():
        expected = trunk(((pictures - mean) / std).permute(0, 3, 1, 2)).flatten(1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_folds_share_features_and_nothing_else_does(lab: Lab, monkeypatch) -> None:
    asked: list[tuple[str, Modality]] = []
    ask = baselines._ask_trunk

    def witness(lab: Lab, modality: Modality):
        asked.append((lab.store.fingerprint, modality))
        return ask(lab, modality)

    monkeypatch.setattr(baselines, "_ask_trunk", witness)
    fit_baseline(lab, "frozen-svm", "early", (V, IR))
    parts = dict(lab.split.parts)
    fold = replace(lab.split, seed=1, parts={**parts, "val": parts["test"], "test": parts["val"]})
    other_fold = fit_baseline(replace(lab, split=fold), "frozen-svm", "late", (V, IR))
    assert other_fold.test.sample_ids == parts["val"]
    assert len(asked) == 2
    fit_baseline(lab, "frozen-svm", "single", (M,))
    compute_features(replace(lab, store=replace(lab.store, fingerprint="else")), "frozen-svm", V)
    compute_features(replace(lab, recipe=replace(lab.recipe, seed=9)), "frozen-svm", V)
    bare = replace(lab, recipe=replace(lab.recipe, quirks=("no_normalisation",)))
    compute_features(bare, "frozen-svm", V)
    assert len(asked) == 6


def test_memory_for_features_is_bounded(lab: Lab) -> None:
    for turn in range(baselines._KEPT + 5):
        store = replace(lab.store, fingerprint=f"{turn}")
        compute_features(replace(lab, store=store), "frozen-svm", V)
    assert len(baselines._known_features) == baselines._KEPT


def test_each_modality_is_described_in_its_own_way(lab: Lab) -> None:
    widths = {m: compute_features(lab, "regions-svm", m).shape[1] for m in MODALITIES}
    assert widths[V] == 1764
    assert widths[IR] == 84
    assert widths[M] == widths[V] + widths[IR]


def test_training_without_a_class_is_refused(lab: Lab) -> None:
    expressions = {s.id: s.expression for s in lab.store.samples}
    train = tuple(i for i in lab.split.parts["train"] if expressions[i] != "happy")
    split = replace(lab.split, parts={**lab.split.parts, "train": train})
    with pytest.raises(SplitError, match="no sample of happy"):
        fit_baseline(replace(lab, split=split), "regions-svm", "single", (V,))


@pytest.mark.parametrize(("fusion", "modalities"), [("single", (V, IR)), ("late", (V,))])
def test_number_of_modalities_must_fit(lab: Lab, fusion, modalities) -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        fit_baseline(lab, "regions-svm", fusion, modalities)


# ---------------------------------------------------------------------------------------- AlexNet


def test_alexnet_needs_pictures_it_can_see(lab: Lab) -> None:
    with pytest.raises(ConfigError, match="at least 63 pixels"):
        fit_baseline(lab, "alexnet-svm", "single", (V,))


def test_alexnet_takes_the_weights_that_are_meant(lab: Lab) -> None:
    lab = replace(lab, store=replace(lab.store, size_px=64))
    taken = {
        (backbone, weights, given): baselines._with_alexnet(
            replace(lab, backbone=replace(TINY, name=backbone), weights=weights), given
        ).weights
        for backbone, weights, given in [
            ("tiny", "none", None),
            ("tiny", "imagenet", None),
            ("tiny", "tiny.pth", None),
            ("alexnet", "alexnet.pth", None),
            ("tiny", "none", "mine.pth"),
        ]
    }
    assert list(taken.values()) == ["none", "imagenet", "imagenet", "alexnet.pth", "mine.pth"]


def test_alexnet_svm_runs_and_its_features_are_the_layer_before_the_last(
    make_store: Callable[..., ImageStore],
    make_split: Callable[[ImageStore], Split],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 57 million random weights take seconds; they are drawn once and used as they are.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = tv.alexnet().eval()
    alexnet = replace(backbones.BACKBONES["alexnet"](), fetch=whole.state_dict)
    monkeypatch.setitem(backbones.BACKBONES, "alexnet", lambda: alexnet)
    store = make_store(n=24, size_px=64, noise=40)
    fabric = start_fabric(HARDWARE)
    lab = Lab(fabric, HARDWARE, store, LABELS, make_split(store), TINY, "none", Recipe(seed=0))
    done = fit_baseline(lab, "alexnet-svm", "single", (V,), alexnet_weights="imagenet")
    assert done.n_features <= 4096
    assert done.parameters > 57_003_840
    found = baselines._known_features.popitem()[1]
    pictures = torch.from_numpy(np.array(store.pictures[V])) / 255
    ready = (pictures - torch.tensor(alexnet.mean)) / torch.tensor(alexnet.std)
    with torch.no_grad():
        logits = whole(ready.permute(0, 3, 1, 2))
        by_features = whole.classifier[6](torch.from_numpy(found))
    torch.testing.assert_close(by_features, logits, atol=1e-4, rtol=1e-4)
