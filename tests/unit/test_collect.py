import pytest
import torch

from ferfusion.evaluation.collect import exact_convolutions


@pytest.mark.parametrize("allowed", [True, False])
def test_gpus_multiply_exactly_only_while_asked(
    allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    with exact_convolutions():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == allowed
