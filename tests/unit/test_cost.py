import time

import numpy as np
import pytest
import torch
from torch import nn

from ferfusion.modality import MODALITIES, Modality
from ferfusion.models import cost as costs
from ferfusion.models.blueprint import Blueprint, assemble
from ferfusion.models.borrowing import borrow
from ferfusion.models.cost import ModelCost, measure_cost
from ferfusion.models.early_fusion import EarlyFusionModel
from ferfusion.models.late_fusion import LateFusionModel
from ferfusion.models.single import SingleModel

V, IR, M = MODALITIES
CPU = torch.device("cpu")


def build_trunk() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),  # 3 * 4 * 9 = 108 weights
        nn.BatchNorm2d(4),  # 8 weights, 8 statistics of 4 bytes, a counter of 8 bytes
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4),  # 1 * 8 * 9 + 8 = 80
        nn.AdaptiveAvgPool2d(1),
    )


def build_single(modality: Modality = V) -> SingleModel:
    return SingleModel(modality, build_trunk(), nn.Linear(8, 5))  # 45 weights


# At 16 px: 16 * 16 * 108 and 8 * 8 * 72 multiply-adds of the convolutions, 40 of the last layer.
MULTIPLY_ADDS = 256 * 108 + 64 * 72
HEAD = 8 * 5


def test_a_tiny_net_costs_what_pencil_and_paper_say() -> None:
    cost = measure_cost(build_single(), (V,), 16, CPU, repeats=3)
    assert cost.parameters == 108 + 8 + 80 + 45
    assert cost.weights_mb * 1e6 == pytest.approx(4 * (241 + 8) + 8)
    assert cost.gflop * 1e9 == pytest.approx(2 * (MULTIPLY_ADDS + HEAD))
    # Most is alive when the first convolution's result stands beside the norm's; ReLU is in place.
    picture, layer = 3 * 16 * 16 * 4, 4 * 16 * 16 * 4
    assert cost.memory_mb * 1e6 == pytest.approx(4 * 249 + 8 + picture + 2 * layer, abs=64)
    assert not cost.is_memory_measured
    assert (cost.repeats, cost.device, cost.threads) == (3, "cpu", torch.get_num_threads())
    faster, slower = cost.latency_quartiles_ms
    assert 0 < faster <= cost.latency_ms <= slower


def test_views_of_weights_and_pictures_are_no_memory() -> None:
    model = SingleModel(V, nn.Flatten(), nn.Linear(3 * 8 * 8, 500))
    cost = measure_cost(model, (V,), 8, CPU, repeats=1)
    # The picture comes as channels-last, so flattening it copies it.
    wanted = 4 * (192 * 500 + 500) + 2 * 4 * 192 + 4 * 500
    assert cost.memory_mb * 1e6 == pytest.approx(wanted)


def test_fusions_cost_what_they_run() -> None:
    def measure(model: nn.Module) -> ModelCost:
        return measure_cost(model, MODALITIES, 16, CPU, repeats=1)

    singles = {m: build_single(m) for m in MODALITIES}
    one = 2 * (MULTIPLY_ADDS + HEAD)
    all_run = measure(LateFusionModel(singles, {V: 0.5, IR: 0.2, M: 0.3}))
    one_runs = measure(LateFusionModel(singles, {V: 1.0, IR: 0.0, M: 0.0}))
    early = measure(EarlyFusionModel({m: build_trunk() for m in MODALITIES}, nn.Linear(24, 5)))
    assert all_run.gflop * 1e9 == pytest.approx(3 * one)
    assert one_runs.gflop * 1e9 == pytest.approx(one)
    assert one_runs.parameters == all_run.parameters == 3 * 241
    assert early.gflop * 1e9 == pytest.approx(3 * one)
    assert early.parameters == 3 * 241 - 2 * 5


def test_resnet18_costs_what_everybody_says() -> None:
    model = assemble(Blueprint("single", "resnet18", (V,), ("a", "b", "c", "d", "e")))
    cost = measure_cost(model, (V,), 224, CPU, repeats=1)
    # torchvision says 1.814 GMAC, its last layer of 512 x 1000 included.
    trunk = 1.814073344 - 0.000512
    head = (512 * 256 + 256 * 5) / 1e9
    assert cost.gflop / 2 == pytest.approx(trunk + head, rel=1e-6)
    assert cost.parameters == 11_176_512 + 132_613
    assert cost.weights_mb == pytest.approx(4 * cost.parameters / 1e6, rel=0.002)


def test_repeats_end_when_patience_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "PATIENCE_S", 0.05)

    class Slow(nn.Module):
        def forward(self, pictures: dict[Modality, torch.Tensor]) -> torch.Tensor:
            time.sleep(0.02)
            return pictures[V].sum(dim=(2, 3))

    cost = measure_cost(Slow(), (V,), 8, CPU, repeats=1000)
    assert cost.repeats == 5
    assert cost.latency_ms >= 20
    assert cost.parameters == cost.weights_mb == cost.gflop == 0


def test_the_model_is_left_as_it_was_found() -> None:
    model = build_single().train()
    model.trunks[str(V)][1].eval()
    model.head.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    addresses = [p.data_ptr() for p in model.parameters()]
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    measure_cost(model, (V,), 16, CPU, repeats=1)
    assert torch.equal(torch.rand(3), wanted), "torch's random numbers are the caller's"
    assert torch.get_num_threads() == threads
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], t) for name, t in model.state_dict().items())
    assert [p.data_ptr() for p in model.parameters()] == addresses
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_borrowed_model_comes_back_after_a_fault_too() -> None:
    model = build_single().train()

    def fail() -> None:
        with borrow(model, CPU) as borrowed:
            assert not any(module.training for module in borrowed.modules())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert all(module.training for module in model.modules())


def test_cost_does_not_depend_on_the_mode_it_is_measured_in() -> None:
    with torch.inference_mode():
        inside = measure_cost(build_single(), (V,), 16, CPU, repeats=1)
    outside = measure_cost(build_single(), (V,), 16, CPU, repeats=1)
    assert np.isclose(inside.gflop, outside.gflop)
    assert np.isclose(inside.memory_mb, outside.memory_mb)
