import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from ferfusion.errors import ConfigError
from ferfusion.training.machine import choose_device, renew_loss_scale


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
