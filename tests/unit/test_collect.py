import pytest
import torch

from ferfusion.evaluation.collect import _exact_convolutions


@pytest.mark.parametrize("allowed", [True, False])
def test_gpus_multiply_exactly_only_while_asked(
    allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    with pytest.raises(KeyError), _exact_convolutions():
        assert not torch.backends.cudnn.allow_tf32
        raise KeyError
    assert torch.backends.cudnn.allow_tf32 == allowed
