from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from ferfusion.data.cache import ImageStore
from ferfusion.data.splits import Split
from ferfusion.errors import CheckpointError
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models import backbones
from ferfusion.models.attention import ChannelGate, Interleave, build_gate
from ferfusion.models.backbones import Backbone
from ferfusion.models.blueprint import Blueprint, assemble, count_parameters
from ferfusion.models.checkpoint import save_checkpoint
from ferfusion.models.heads import build_attention_head, build_fused_attention_head, build_head
from ferfusion.training import stages
from ferfusion.training.machine import start_fabric
from ferfusion.training.optimiser import build_optimiser
from ferfusion.training.recipe import Hardware, Recipe
from ferfusion.training.stages import Lab, Trained, fit_early, fit_single
from ferfusion.training.warm_up import warm_up_head

V, IR, M = MODALITIES
LABELS = ("angry", "happy", "neutral")
HARDWARE = Hardware("cpu", 1, 1, "fp32")
RECIPE = Recipe(
    epochs=1, batch_size=14, learning_rate=0.01, backbone_learning_rate=0.002, augmentation="none"
)


def build_tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )


TINY = Backbone(
    "tiny", build_tiny, 8, fetch=dict, local_file=lambda: None, origin="nowhere", dropped=("fc",)
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backbones.BACKBONES, "tiny", lambda: TINY)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric(HARDWARE)


@pytest.fixture
def lab(
    fabric: Fabric,
    make_store: Callable[..., ImageStore],
    make_split: Callable[[ImageStore], Split],
    tmp_path: Path,
) -> Lab:
    """Gives a lab whose trunks have weights, so that heads are warmed up."""
    torch.manual_seed(0)
    torch.save(build_tiny().state_dict(), tmp_path / "tiny.pth")
    weights = str(tmp_path / "tiny.pth")
    store = make_store()
    return Lab(fabric, HARDWARE, store, LABELS, make_split(store), TINY, weights, RECIPE)


def make_gate(modality: Modality, width: int = 6) -> ChannelGate:
    gate = build_gate(modality, width)
    with torch.no_grad():
        gate.weight.normal_(generator=torch.Generator().manual_seed(1))
    return gate


@pytest.mark.parametrize("modality", MODALITIES)
def test_gate_weighs_by_features_or_by_their_squares(modality: Modality) -> None:
    gate = make_gate(modality)
    x = torch.randn(5, 6)
    looked_at = x**2 if modality is IR else x
    expected = torch.stack(
        [
            row / (1 + torch.exp(-(gate.weight @ seen)))
            for row, seen in zip(x, looked_at, strict=True)
        ]
    )
    torch.testing.assert_close(gate(x), expected)


def test_infrared_share_knows_no_sign() -> None:
    x = torch.randn(5, 6)
    torch.testing.assert_close(make_gate(IR)(-x), -make_gate(IR)(x))
    assert not torch.allclose(make_gate(V)(-x), -make_gate(V)(x))


def test_new_gate_lets_half_of_everything_pass_and_can_learn() -> None:
    gate, x = build_gate(V, 6), torch.randn(5, 6)
    torch.testing.assert_close(gate(x), x / 2)
    gate(x).sum().backward()
    assert gate.weight.grad is not None
    assert gate.weight.grad.abs().min() > 0


def test_interleaving_takes_turns() -> None:
    features = torch.tensor([[1, 2, 3, 10, 20, 30, 100, 200, 300]]).float()
    assert Interleave(3)(features).tolist() == [[1, 10, 100, 2, 20, 200, 3, 30, 300]]


def test_parameters_of_the_follow_ups_parts() -> None:
    assert count_parameters(build_gate(V, 512)) == 512 * 512
    infrared = 512 * 256 + 256 + 2 * 256 + 256 * 5 + 5
    assert count_parameters(build_attention_head(IR, 512, 5, 1.0)) == infrared
    visible = count_parameters(build_head(V, 512, 5, 1.0))
    assert count_parameters(build_attention_head(V, 512, 5, 1.0)) == visible
    fused = 1024 * 256 + 256 + 2 * 256 + 256 * 5 + 5
    assert count_parameters(build_fused_attention_head(2, 512, 5, 1.0)) == fused


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_dropout_is_a_factor_on_the_follow_ups_rates(factor: float) -> None:
    def rates(head: nn.Module) -> list[float]:
        return [m.p for m in head.modules() if isinstance(m, nn.Dropout)]

    infrared, fused = (
        build_attention_head(IR, 8, 3, factor),
        build_fused_attention_head(2, 8, 3, factor),
    )
    assert rates(infrared) == pytest.approx([0.7 * factor, 0.8 * factor])
    assert rates(fused) == pytest.approx([0.2 * factor, 0.2 * factor])
    assert isinstance(list(fused)[-1], nn.Linear), "logits are not dropped"


def make_model(fusion, modalities: tuple[Modality, ...]) -> nn.Module:
    torch.manual_seed(3)
    model = assemble(Blueprint(fusion, "tiny", modalities, LABELS, attention=True))
    for gate in model.gates.values():
        nn.init.normal_(gate.weight)
    return model


def make_pictures(modalities: tuple[Modality, ...]) -> dict[Modality, torch.Tensor]:
    return {m: torch.randn(6, 3, 32, 32) for m in modalities}


@pytest.mark.parametrize(("fusion", "modalities"), [("single", (IR,)), ("early", MODALITIES)])
def test_gate_stands_between_trunk_and_head(fusion, modalities) -> None:
    model = make_model(fusion, modalities).eval()
    pictures = make_pictures(modalities)
    with torch.no_grad():
        features = model.features(pictures)
        for place, modality in enumerate(modalities):
            name = str(modality)
            gated = model.gates[name](model.trunks[name](pictures[modality]).flatten(1))
            assert torch.equal(features[:, 8 * place : 8 * (place + 1)], gated)
        assert torch.equal(model.head(features), model(pictures))


@pytest.mark.parametrize(("fusion", "modalities"), [("single", (IR,)), ("early", MODALITIES)])
def test_everything_learns_and_gates_at_the_heads_rate(fusion, modalities) -> None:
    model = make_model(fusion, modalities).train()
    nn.functional.cross_entropy(model(make_pictures(modalities)), torch.arange(6) % 3).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    groups = build_optimiser(model, model.trunks, RECIPE).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in model.gates.parameters()} == {RECIPE.learning_rate}
    assert {rates[id(p)] for p in model.head.parameters()} == {RECIPE.learning_rate}
    assert {rates[id(p)] for p in model.trunks.parameters()} == {RECIPE.backbone_learning_rate}


def test_without_attention_nothing_has_changed() -> None:
    """Old checkpoints hold no gates, and models without attention still read them."""
    for fusion, modalities in (("single", (V,)), ("early", (V, IR))):
        model = assemble(Blueprint(fusion, "tiny", modalities, LABELS))
        assert not [name for name in model.state_dict() if name.startswith("gates")]


def test_warm_up_trains_the_random_head_and_leaves_gates_as_they_came(lab: Lab) -> None:
    model = make_model("early", (V, IR))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    loader = lab.loader("train", (V, IR))
    warm_up_head(lab.fabric, model, loader, lab.preprocessing, replace(RECIPE, head_epochs=2))
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all(name.startswith("head.") for name in moved)
    assert "head.2.weight" in moved


# ----------------------------------------------------------------------------------------- stages


def keep(lab: Lab, trained: Trained, folder: Path) -> Path:
    save_checkpoint(folder, trained.model, trained.blueprint, lab.preprocessing, {})
    return folder


@pytest.fixture
def folders(lab: Lab, tmp_path: Path) -> dict[Modality, Path]:
    return {
        m: keep(lab, fit_single(lab, m, tmp_path / "state", attention=True), tmp_path / m)
        for m in (V, IR)
    }


def test_three_step_takes_gates_along(
    lab: Lab, folders: dict[Modality, Path], tmp_path: Path, monkeypatch
) -> None:
    starts: list[dict[str, torch.Tensor]] = []
    fit = stages.fit

    def witness(fabric, model, *rest, **named):
        starts.append({k: v.clone() for k, v in model.state_dict().items()})
        return fit(fabric, model, *rest, **named)

    monkeypatch.setattr(stages, "fit", witness)
    fused = fit_early(lab, (V, IR), 3, tmp_path / "early", folders, attention=True)
    (start,) = starts
    for modality in (V, IR):
        saved = stages.read_tensors(folders[modality] / stages.TENSORS)
        name = f"gates.{modality}.weight"
        assert saved[name].any(), "its training moved the gate"
        assert torch.equal(start[name], saved[name])
        trunk = f"trunks.{modality}.0.weight"
        assert torch.equal(start[trunk], saved[trunk])
    assert fused.blueprint.attention
    assert fused.blueprint.dropout == lab.recipe.dropout
    assert not torch.equal(fused.model.gates["visible"].weight, start["gates.visible.weight"])

    fit_early(lab, (V, IR), 1, tmp_path / "one-step", {}, attention=True)
    assert not starts[1]["gates.visible.weight"].any()


def test_three_step_refuses_singles_trained_otherwise(
    lab: Lab, folders: dict[Modality, Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="doesn't fit"):
        fit_early(lab, (V, IR), 3, tmp_path / "early", folders)
    plain = {m: keep(lab, fit_single(lab, m, tmp_path / "s"), tmp_path / f"p{m}") for m in (V, IR)}
    with pytest.raises(CheckpointError, match="doesn't fit"):
        fit_early(lab, (V, IR), 3, tmp_path / "early", plain, attention=True)
