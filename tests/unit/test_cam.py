import sys
from collections.abc import Mapping

import numpy as np
import pytest
import timm.layers
import torch
from torch import nn

from ferfusion.errors import ConfigError
from ferfusion.inference.cam import METHODS, HeatMaps, explain_samples
from ferfusion.inference.map_layer import find_map_layer
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.blueprint import Blueprint, Fusion
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.models.early_fusion import EarlyFusionModel
from ferfusion.models.late_fusion import LateFusionModel
from ferfusion.models.single import SingleModel
from ferfusion.preprocessing import Preprocessing

pytest.importorskip("captum", reason="heat maps need captum")

V, IR, M = MODALITIES
SIZE, CELLS = 32, 8
LABELS = ("angry", "happy", "neutral")
CHANNELS = 6


def build_trunk() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, CHANNELS, 4, stride=4),
        nn.BatchNorm2d(CHANNELS),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
    )


def wrap(model: nn.Module, fusion: Fusion, modalities: tuple[Modality, ...]) -> Checkpoint:
    mixture = model.weights if isinstance(model, LateFusionModel) else None
    preprocessing = Preprocessing(
        SIZE, dict.fromkeys(modalities, (0.5, 0.5, 0.5)), dict.fromkeys(modalities, (0.5, 0.5, 0.5))
    )
    blueprint = Blueprint(fusion, "tiny", modalities, LABELS, mixture=mixture)
    return Checkpoint(model.eval(), blueprint, preprocessing, {})


def make_single(modality: Modality = V, seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    model = SingleModel(modality, build_trunk(), nn.Linear(CHANNELS, len(LABELS)))
    return wrap(model, "single", (modality,))


def make_early(head: nn.Module | None = None) -> Checkpoint:
    torch.manual_seed(1)
    head = head or nn.Linear(2 * CHANNELS, len(LABELS))
    return wrap(EarlyFusionModel({m: build_trunk() for m in (V, IR)}, head), "early", (V, IR))


def make_late(weights: Mapping[Modality, float]) -> Checkpoint:
    singles = {m: make_single(m, seed).model for seed, m in enumerate(weights)}
    return wrap(LateFusionModel(singles, weights), "late", tuple(weights))


ALL = {
    "single": lambda: make_single(),
    "early": lambda: make_early(),
    "late": lambda: make_late({V: 0.6, IR: 0.4}),
}


def draw(n: int = 5, seed: int = 0) -> dict[Modality, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {m: rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8) for m in MODALITIES}


def feed(pictures: Mapping[Modality, np.ndarray]) -> dict[Modality, torch.Tensor]:
    return {
        m: torch.from_numpy(p).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        for m, p in pictures.items()
    }


def weigh_by_hand(trunk: nn.Module, weights: torch.Tensor, pictures: torch.Tensor) -> np.ndarray:
    """The first CAM (Zhou et al. 2016): the last layer's weights on the last map."""
    with torch.no_grad():
        cells = (trunk[:-1](pictures) * weights[:, :, None, None]).sum(1, keepdim=True).relu()
        return nn.functional.interpolate(cells, (SIZE, SIZE), mode="bilinear")[:, 0].numpy()


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_with_one_layer_after_pooling_it_is_the_first_cam(method: str) -> None:
    checkpoint, pictures = make_single(), draw()
    found = explain_samples(checkpoint, pictures, method=method)
    model = checkpoint.model
    weights = model.head.weight.detach()[torch.from_numpy(found.explained)]
    wanted = weigh_by_hand(model.trunks[str(V)], weights, feed(pictures)[V])
    wanted /= wanted.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.maps[V], wanted, atol=1e-5)
    assert found.layers == {V: f"2 ({CELLS} x {CELLS})"}
    assert list(found.maps) == [V], "what the model doesn't take is not explained"


def test_in_early_fusion_the_modalities_share_one_scale() -> None:
    checkpoint, pictures = make_early(), draw()
    found = explain_samples(checkpoint, pictures)
    model = checkpoint.model
    weights = model.head.weight.detach()[torch.from_numpy(found.explained)]
    wanted = {
        m: weigh_by_hand(model.trunks[str(m)], weights[:, part], feed(pictures)[m])
        for m, part in ((V, slice(0, CHANNELS)), (IR, slice(CHANNELS, None)))
    }
    highest = np.maximum(wanted[V].max(axis=(1, 2)), wanted[IR].max(axis=(1, 2)))
    for modality in (V, IR):
        scaled = wanted[modality] / highest[:, None, None]
        np.testing.assert_allclose(found.maps[modality], scaled, atol=1e-5)


def test_late_fusion_shows_its_models_maps_as_strong_as_their_shares() -> None:
    weights = {V: 0.5, IR: 0.3, M: 0.2}
    checkpoint, pictures = make_late(weights), draw()
    found = explain_samples(checkpoint, pictures)
    shares = {}
    for seed, modality in enumerate(weights):
        single = make_single(modality, seed)
        alone = explain_samples(single, pictures, classes=found.explained)
        heat, own = found.maps[modality], alone.maps[modality]
        shares[modality] = weights[modality] * alone.probs[range(5), found.explained]
        np.testing.assert_allclose(heat, own * heat.max(axis=(1, 2))[:, None, None], atol=1e-5)
    mixed = np.sum(list(shares.values()), axis=0)
    np.testing.assert_allclose(mixed, found.probs[range(5), found.explained], atol=1e-6)
    highest = np.max(list(shares.values()), axis=0)
    for modality, share in shares.items():
        strength = found.maps[modality].max(axis=(1, 2))
        np.testing.assert_allclose(strength, share / highest, atol=1e-5)


def test_a_model_of_weight_0_is_not_run_and_its_map_is_zero() -> None:
    class Untouchable(nn.Module):
        def forward(self, pictures: object) -> torch.Tensor:
            raise AssertionError("was run")

    checkpoint = make_late({V: 1.0, IR: 0.0})
    checkpoint.model.singles[str(IR)] = Untouchable()
    for method in ("gradcam", "occlusion"):
        found = explain_samples(checkpoint, draw(2), method=method)
        assert not found.maps[IR].any()
        np.testing.assert_allclose(found.maps[V].max(axis=(1, 2)), 1)
        assert IR not in found.layers


def make_lamp_finder() -> Checkpoint:
    """Its second class is brightness, summed over the picture; it has nothing else to go by."""
    checkpoint = make_early()
    for module in checkpoint.model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / 48)
            nn.init.constant_(module.bias, 0)
    head = checkpoint.model.head
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.weight[1] = 1
        head.bias.copy_(torch.tensor([-5.0, 0.0, -5.0]))
    return checkpoint


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "occlusion", "integrated-gradients"])
def test_heat_is_where_the_evidence_is(method: str) -> None:
    pictures = {m: np.zeros((1, SIZE, SIZE, 3), np.uint8) for m in (V, IR)}
    pictures[IR][0, 4:12, 20:28] = 255
    found = explain_samples(make_lamp_finder(), pictures, method=method)
    assert found.explained.tolist() == [1]
    rows, columns = np.nonzero(found.maps[IR][0] > 0.9)
    assert 4 <= rows.min() < rows.max() < 12
    assert 20 <= columns.min() < columns.max() < 28
    assert found.maps[IR][0, 16:].max() < 0.1
    if method != "occlusion":  # which makes black pictures brighter
        assert not found.maps[V].any(), "nothing is seen in a dark picture"


def test_cells_lie_where_they_look_also_behind_padding() -> None:
    """Padding moves what a cell looks at by up to half a cell; heat must not be moved with it."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Conv2d(3, 3, 3, stride=2, padding=1, groups=3, bias=False), nn.ReLU()]
        nn.init.constant_(layers[-2].weight, 1 / 9)
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
    layer = find_map_layer(trunk.eval(), torch.zeros(1, 3, SIZE, SIZE))
    assert (layer.cells, layer.first_px, layer.step_px) == (4, 0.0, 8.0)
    head = nn.Linear(3, len(LABELS))
    nn.init.constant_(head.weight, 1)
    pictures = {V: np.full((1, SIZE, SIZE, 3), 127, np.uint8)}
    pictures[V][0, 14:19, 6:11] = 255  # about (16, 8), where a cell looks
    heat = explain_samples(wrap(SingleModel(V, trunk, head), "single", (V,)), pictures).maps[V][0]
    assert np.unravel_index(heat.argmax(), heat.shape) == (16, 8)
    np.testing.assert_allclose(heat[16, 1:8], heat[16, 15:8:-1], atol=1e-5)


def test_cells_behind_uneven_padding_are_followed() -> None:
    trunk = nn.Sequential(
        timm.layers.Conv2dSame(3, 4, 3, stride=2), nn.ReLU(), timm.layers.Conv2dSame(4, 4, 5, 2)
    )
    layer = find_map_layer(trunk.eval(), torch.zeros(1, 3, SIZE, SIZE))
    # All that is needed for even sizes stands at the end, but for one pixel of the larger window.
    assert (layer.cells, layer.first_px, layer.step_px) == (8, 1.0 + 2 * 1.0, 4.0)


def test_hirescam_and_gradcam_part_where_places_have_weights_of_their_own() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU())
    head = nn.Linear(4 * CELLS * CELLS, len(LABELS))
    checkpoint, pictures = wrap(SingleModel(V, trunk, head), "single", (V,)), draw()
    found = explain_samples(checkpoint, pictures, method="hirescam")
    with torch.no_grad():
        cells = trunk(feed(pictures)[V])
        weights = head.weight[torch.from_numpy(found.explained)].unflatten(1, cells.shape[1:])
        seen = (cells * weights).sum(1, keepdim=True).relu()
        wanted = nn.functional.interpolate(seen, (SIZE, SIZE), mode="bilinear")[:, 0].numpy()
    wanted /= wanted.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.maps[V], wanted, atol=1e-5)
    assert np.abs(explain_samples(checkpoint, pictures).maps[V] - wanted).max() > 0.2


def test_maps_of_pixels_are_the_gradients_of_a_linear_model() -> None:
    trunk = nn.Sequential(nn.Flatten(), nn.Identity())
    head = nn.Linear(3 * SIZE * SIZE, len(LABELS))
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.weight[1].view(3, SIZE, SIZE)[:, 8:12, 20:24] = 1.0
        head.weight[1].view(3, SIZE, SIZE)[:, 24:28, 4:8] = -2.0
        head.bias[1] = 50
    checkpoint = wrap(SingleModel(V, trunk, head), "single", (V,))
    pictures = {V: np.full((1, SIZE, SIZE, 3), 255, np.uint8)}
    seen = {m: explain_samples(checkpoint, pictures, method=m).maps[V][0] for m in METHODS
            if m in ("saliency", "integrated-gradients")}  # fmt: skip
    # What speaks for the class and what speaks against it, the latter twice as strongly.
    assert seen["integrated-gradients"][8:12, 20:24].min() > 0.4
    assert seen["integrated-gradients"][20:].max() < 1e-6
    assert seen["saliency"][25:27, 5:7].min() > 0.9
    assert 0.4 < seen["saliency"][9:11, 21:23].mean() < 0.6
    assert seen["saliency"][:4, :4].max() < 1e-6


def test_nothing_that_speaks_for_a_class_is_a_map_of_zeros() -> None:
    checkpoint = make_single()
    nn.init.constant_(checkpoint.model.head.weight, -1)
    found = explain_samples(checkpoint, draw(2))
    assert not found.maps[V].any()


@pytest.mark.parametrize("kind", list(ALL))
@pytest.mark.parametrize("method", list(METHODS))
def test_the_model_is_left_as_it_was_found(kind: str, method: str) -> None:
    checkpoint = ALL[kind]()
    model = checkpoint.model.train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    norms[0].eval()
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.full_like(parameters[1], 3)
    modes = [module.training for module in model.modules()]
    wanted = [p.requires_grad for p in parameters]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    after = torch.rand(2)
    torch.manual_seed(5)
    explain_samples(checkpoint, draw(3), method=method)
    assert torch.equal(torch.rand(2), after)
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert all(torch.equal(state[name], t) for name, t in model.state_dict().items())
    assert torch.equal(parameters[1].grad, torch.full_like(parameters[1], 3))
    assert sum(p.grad is not None for p in parameters) == 1
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks


def test_a_fault_leaves_no_hooks_and_the_mode() -> None:
    checkpoint = make_single()
    checkpoint.model.train()

    def fail(*_: object) -> None:
        raise RuntimeError("broken head")

    broken = checkpoint.model.trunks[str(V)][-1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="broken head"):
        explain_samples(checkpoint, draw(1))
    broken.remove()
    assert checkpoint.model.training
    assert not any(m._forward_hooks for m in checkpoint.model.modules())


def assert_same(a: HeatMaps, b: HeatMaps) -> None:
    for modality, heat in a.maps.items():
        np.testing.assert_allclose(heat, b.maps[modality], atol=1e-5)
    np.testing.assert_allclose(a.probs, b.probs, atol=1e-6)
    assert a.explained.tolist() == b.explained.tolist()


@pytest.mark.parametrize("kind", list(ALL))
def test_neither_batches_nor_frozen_weights_nor_the_mode_matter(kind: str) -> None:
    checkpoint, pictures = ALL[kind](), draw()
    wanted = explain_samples(checkpoint, pictures)
    assert_same(explain_samples(checkpoint, pictures, batch_size=2), wanted)
    checkpoint.model.requires_grad_(False).train()
    with torch.no_grad():
        assert_same(explain_samples(checkpoint, pictures), wanted)
    with torch.inference_mode():
        assert_same(explain_samples(checkpoint, pictures), wanted)


@pytest.mark.parametrize("kind", list(ALL))
def test_the_models_answer_is_explained_unless_another_class_is_named(kind: str) -> None:
    checkpoint, pictures = ALL[kind](), draw()
    found = explain_samples(checkpoint, pictures)
    with torch.no_grad():
        probs = checkpoint.model(feed(pictures)).softmax(1).numpy()
    np.testing.assert_allclose(found.probs, probs, atol=1e-5)
    assert found.explained.tolist() == probs.argmax(1).tolist()
    other = (found.explained + 1) % len(LABELS)
    elsewhere = explain_samples(checkpoint, pictures, classes=other)
    assert elsewhere.explained.tolist() == other.tolist()
    assert np.abs(elsewhere.maps[V] - found.maps[V]).max() > 0.05


def test_no_samples_give_no_maps() -> None:
    found = explain_samples(make_early(), draw(0))
    assert found.maps[IR].shape == (0, SIZE, SIZE)
    assert found.probs.shape == (0, len(LABELS))


def test_what_can_not_be_explained_is_said() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'gradcam'"):
        explain_samples(make_single(), draw(1), method="grad-cam")
    with pytest.raises(ValueError, match="missing: infrared"):
        explain_samples(make_early(), {V: draw(1)[V]})
    with pytest.raises(ValueError, match="32 pixels"):
        explain_samples(make_single(), {V: np.zeros((1, 16, 16, 3), np.uint8)})


def test_without_captum_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigError, match=r'pip install "ferfusion\[explain\]"'):
        explain_samples(make_single(), draw(1))


def test_a_trunk_without_a_map_can_only_be_occluded() -> None:
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, CHANNELS))
    checkpoint = wrap(SingleModel(V, trunk, nn.Linear(CHANNELS, len(LABELS))), "single", (V,))
    with pytest.raises(ConfigError, match=r"no convolutional map.*method occlusion"):
        explain_samples(checkpoint, draw(1))
    assert explain_samples(checkpoint, draw(1), method="occlusion").maps[V].max() == 1


def test_a_branch_is_not_taken_for_the_whole_and_pooling_not_for_a_layer() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.branch(x)

    trunk = nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4), Block(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, stride=2)
    )
    found = find_map_layer(trunk.eval(), torch.zeros(1, 3, SIZE, SIZE))
    assert (found.name, found.cells) == ("1", CELLS)
