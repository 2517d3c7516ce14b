from pathlib import Path

import pytest
import torch
from torch import nn

from ferfusion.models.checkpoint import read_tensors, write_tensors
from ferfusion.training.optimiser import build_optimiser, pack_optimiser, unpack_optimiser
from ferfusion.training.recipe import Recipe


def make_stepped(recipe: Recipe) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A convolution and a layer, after two steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(6, 2))
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = build_optimiser(model, model[0], recipe)
    for _ in range(2):
        optimiser.zero_grad()
        model(torch.randn(3, 4, 3, 3)).square().sum().backward()
        optimiser.step()
    return model, optimiser


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_state_comes_back_from_a_file_in_the_layout_of_its_weights(
    name: str, tmp_path: Path
) -> None:
    recipe = Recipe(optimiser=name)  # pyright: ignore[reportArgumentType]
    _, before = make_stepped(recipe)
    tensors, scalars = pack_optimiser(before)
    write_tensors(tmp_path / "state.safetensors", tensors)
    model, after = make_stepped(recipe)
    for values in after.state.values():
        values.clear()
    unpack_optimiser(after, read_tensors(tmp_path / "state.safetensors"), scalars)
    conv = model[0].weight
    assert conv.stride() != conv.contiguous().stride(), "nothing to get wrong"
    compared = 0
    for old, new in zip(before.state.values(), after.state.values(), strict=True):
        assert old.keys() == new.keys()
        for key, value in old.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(new[key]))
    for parameter, values in after.state.items():
        for value in values.values():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                assert value.stride() == parameter.stride()
                compared += 1
    assert compared == 4 * (1 if name == "sgd" else 2)
