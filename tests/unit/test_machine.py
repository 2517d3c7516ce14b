import re

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from ferfusion.errors import ConfigError
from ferfusion.models.backbones import find_backbone
from ferfusion.training import machine
from ferfusion.training.machine import choose_device, explain_precision, renew_loss_scale
from ferfusion.training.recipe import Hardware


@pytest.mark.parametrize(
    ("cuda", "mps", "found"), [(True, False, "cuda"), (True, True, "cuda"), (False, True, "mps")]
)
def test_gpu_means_the_one_that_is_there(
    cuda: bool, mps: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("gpu") == choose_device("auto") == found


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="There is no cuda device here"):
        choose_device("gpu")
    with pytest.raises(ConfigError, match="cudo"):
        choose_device("cudo")


def test_the_scale_of_fp16_starts_anew() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    precision = MixedPrecision("16-mixed", "cuda", scaler)
    fabric = Fabric(accelerator="cpu")
    fabric._precision = precision
    renew_loss_scale(fabric)
    assert precision.scaler is not None
    assert precision.scaler.get_scale() == torch.amp.GradScaler("cpu").get_scale() != 4
    fabric = Fabric(accelerator="cpu", precision="bf16-mixed")
    renew_loss_scale(fabric)
    assert fabric._precision.state_dict() == {}


@pytest.mark.parametrize(
    ("device", "has_bf16", "names", "said"),
    [
        ("cpu", True, ("resnet18",), r"^Computing in bf16 \(this CPU and resnet18 gain by it; --"),
        ("cpu", True, ("ghostnet", "vgg16", "resnet18"), "this CPU and vgg16 and resnet18 gain"),
        ("cpu", True, ("shufflenet_v2",), None),
        ("cpu", False, ("resnet18",), None),
        ("cuda", True, ("shufflenet_v2",), r"bf16 \(this GPU gains by it; --precision fp32 for"),
        ("cuda", False, ("resnet18",), "fp16"),
    ],
)
def test_what_auto_chose_is_said_where_it_is_not_fp32(
    device: str,
    has_bf16: bool,
    names: tuple[str, ...],
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: has_bf16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    backbones = [find_backbone(name) for name in names]
    told = explain_precision(Hardware(), backbones)
    assert (told is None) == (said is None)
    assert told is None or re.search(str(said), told)
    for asked in ("fp32", "bf16"):
        assert explain_precision(Hardware(precision=asked), backbones) is None
