"""Heat maps of every backbone, alone and fused."""

import numpy as np
import pytest
import torch

from ferfusion.inference.cam import explain_samples
from ferfusion.inference.map_layer import find_map_layer
from ferfusion.modality import MODALITIES
from ferfusion.models.backbones import BACKBONES, find_backbone
from ferfusion.models.blueprint import Blueprint, Fusion, assemble
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.preprocessing import Preprocessing

V, IR, M = MODALITIES
LITE = "tf_efficientnet_lite0"
SIZE = 64
NAMES = [*BACKBONES, LITE]
# 138 million weights: seconds to draw.
SLOWLY = [pytest.param(n, marks=pytest.mark.slow) if n == "vgg16" else n for n in NAMES]


@pytest.mark.parametrize(
    ("name", "at_64", "at_224"),
    [
        ("resnet18", ("layer3.1", 4), ("layer4.1", 7)),
        ("vgg16", ("features.29", 4), ("features.29", 14)),
        ("shufflenet_v2", ("stage3.7", 4), ("conv5.2", 7)),
        ("mobilenet_v2", ("features.13", 4), ("features.18.2", 7)),
        ("alexnet", ("features.4", 7), ("features.11", 13)),
        ("ghostnet", ("blocks.6.4", 4), ("blocks.9.0", 7)),
        (LITE, ("blocks.4.2", 4), ("bn2", 7)),
    ],
)
def test_the_layer_looked_at(name: str, at_64: tuple[str, int], at_224: tuple[str, int]) -> None:
    with torch.device("meta"):
        trunk = find_backbone(name).build().eval()
        for size_px, wanted in ((64, at_64), (224, at_224)):
            found = find_map_layer(trunk, torch.empty(1, 3, size_px, size_px))
            assert (found.name, found.cells) == wanted
            assert trunk.get_submodule(found.name) is found.module


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2", "alexnet"])
def test_cells_lie_where_gradients_say_they_look(name: str) -> None:
    """Followed from settings of layers; here held against what the pixels really do."""
    torch.manual_seed(0)
    trunk = find_backbone(name).build().eval()
    layer = find_map_layer(trunk, torch.zeros(1, 3, SIZE, SIZE))
    seen: list[torch.Tensor] = []
    hook = layer.module.register_forward_hook(lambda *given: seen.append(given[2]))
    places: list[float] = []
    middle = layer.cells // 2
    for _ in range(6):
        pictures = torch.randn(1, 3, SIZE, SIZE, requires_grad=True)
        trunk(pictures)
        cell = seen.pop()[0, :, middle, middle]
        (gradient,) = torch.autograd.grad((cell * torch.randn_like(cell)).sum(), pictures)
        weights = gradient.abs().sum(dim=(0, 1, 2))
        places.append(float((weights * torch.arange(SIZE)).sum() / weights.sum()))
    hook.remove()
    wanted = layer.first_px + middle * layer.step_px
    assert np.mean(places) == pytest.approx(wanted, abs=2.5)


def explain(name: str, fusion: Fusion) -> None:
    torch.manual_seed(0)
    modalities = (V,) if fusion == "single" else (V, IR)
    mixture = {V: 0.6, IR: 0.4} if fusion == "late" else None
    backbone = find_backbone(name)
    blueprint = Blueprint(fusion, name, modalities, ("angry", "happy", "sad"), mixture=mixture)
    preprocessing = Preprocessing(
        SIZE, dict.fromkeys(modalities, backbone.mean), dict.fromkeys(modalities, backbone.std)
    )
    checkpoint = Checkpoint(assemble(blueprint).eval(), blueprint, preprocessing, {})
    rng = np.random.default_rng(0)
    one = {m: rng.integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8) for m in modalities}
    pictures = {m: np.repeat(picture, 3, axis=0) for m, picture in one.items()}
    found = explain_samples(checkpoint, pictures, classes=np.arange(3))
    heat = np.stack([found.maps[m] for m in modalities])
    assert heat.shape == (len(modalities), 3, SIZE, SIZE)
    assert heat.min() >= 0
    highest = heat.max(axis=(0, 2, 3))
    assert np.isin(highest, (0, 1)).all()
    assert highest.any(), "for some class a random model sees something"
    assert set(found.layers) == set(modalities)


@pytest.mark.parametrize("name", SLOWLY)
def test_every_backbone_has_heat_maps(name: str) -> None:
    pytest.importorskip("captum", reason="heat maps need captum")
    explain(name, "early")


@pytest.mark.parametrize("fusion", ["single", "late"])
def test_every_way_of_fusing_has_heat_maps(fusion: Fusion) -> None:
    pytest.importorskip("captum", reason="heat maps need captum")
    explain("mobilenet_v2", fusion)
