"""Deletion and insertion on models whose evidence is known."""

import numpy as np
import pytest
import torch
from torch import nn

from ferfusion.inference.cam import HeatMaps
from ferfusion.inference.removal import STEPS, trace_curves
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.blueprint import Blueprint
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.models.early_fusion import EarlyFusionModel
from ferfusion.preprocessing import Preprocessing

V, IR, M = MODALITIES
SIZE = 32
WHITE = slice(8, 16)


def make_lamp_finder() -> Checkpoint:
    """Its second class is what is white at one place of the infrared picture."""
    head = nn.Linear(2 * 3 * SIZE * SIZE, 3)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    with torch.no_grad():
        head.weight[1].view(2, 3, SIZE, SIZE)[1, :, WHITE, WHITE] = 6 / (3 * 64)
    model = EarlyFusionModel({m: nn.Flatten() for m in (V, IR)}, head)
    half = dict.fromkeys((V, IR), (0.5, 0.5, 0.5))
    blueprint = Blueprint("early", "tiny", (V, IR), ("a", "b", "c"))
    return Checkpoint(model.eval(), blueprint, Preprocessing(SIZE, half, half), {})


def draw(n: int = 3) -> dict[Modality, np.ndarray]:
    pictures = {m: np.full((n, SIZE, SIZE, 3), 127, np.uint8) for m in (V, IR)}
    pictures[IR][:, WHITE, WHITE] = 255
    return pictures


def make_maps(n: int, *, in_infrared: float, in_visible: float) -> HeatMaps:
    maps = {m: np.zeros((n, SIZE, SIZE), np.float32) for m in (V, IR)}
    maps[IR][:, WHITE, WHITE] = in_infrared
    maps[V][:, WHITE, WHITE] = in_visible
    return HeatMaps("gradcam", maps, {}, np.ones(n, np.int64), np.full((n, 3), 1 / 3))


def test_what_the_model_goes_by_falls_first_and_rises_first() -> None:
    curves = trace_curves(make_lamp_finder(), draw(), make_maps(3, in_infrared=1, in_visible=0))
    deletion, insertion = curves["deletion"], curves["insertion"]
    assert deletion["map"].shape == (3, STEPS + 1)
    full = np.exp(6) / (np.exp(6) + 2)
    for order in ("map", "random", "centre"):
        np.testing.assert_allclose(deletion[order][:, 0], full, rtol=1e-3)
        np.testing.assert_allclose(deletion[order][:, -1], 1 / 3, rtol=1e-3)
        np.testing.assert_allclose(insertion[order][:, -1], full, rtol=1e-3)
    # Of 2 x 64 blocks four are the lamp; a twelfth is ten.
    np.testing.assert_allclose(deletion["map"][:, 1], 1 / 3, atol=0.01)
    np.testing.assert_allclose(insertion["map"][:, 1], full, rtol=1e-3)
    assert deletion["random"][:, 1].min() > 0.9
    assert (np.diff(deletion["map"], axis=1) < 1e-6).all()


def test_a_map_of_the_wrong_modality_is_worse_than_random() -> None:
    checkpoint, pictures = make_lamp_finder(), draw()
    maps = make_maps(3, in_infrared=0.1, in_visible=0.0)
    maps.maps[IR][:] = 1 - maps.maps[IR]
    maps.maps[V][:] = 1
    curves = trace_curves(checkpoint, pictures, maps)
    assert (curves["deletion"]["map"].mean(1) > curves["deletion"]["random"].mean(1)).all()


def test_blocks_of_all_modalities_stand_in_one_order() -> None:
    lesser = make_maps(2, in_infrared=0.5, in_visible=1)
    curves = trace_curves(make_lamp_finder(), draw(2), lesser)
    # Four hot blocks of visible go first, the lamp's four after them: still in the first twelfth.
    np.testing.assert_allclose(curves["deletion"]["map"][:, 1], 1 / 3, atol=0.01)


def test_an_empty_map_is_a_random_order_and_seeds_repeat() -> None:
    checkpoint, pictures = make_lamp_finder(), draw(12)
    nothing = make_maps(12, in_infrared=0, in_visible=0)
    one, same, other = (
        trace_curves(checkpoint, pictures, nothing, seed=seed)["deletion"]["map"]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01
    assert one[:, 1].mean() > 0.9, "ties are not broken by place"


def test_progress_counts_samples() -> None:
    told: list[int] = []
    maps = make_maps(3, in_infrared=1, in_visible=0)
    trace_curves(make_lamp_finder(), draw(), maps, advance=lambda: told.append(1))
    assert len(told) == 3


def test_a_model_of_weight_0_has_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = make_lamp_finder()
    blueprint = Blueprint("late", "tiny", (V, IR), ("a", "b", "c"), mixture={V: 0.0, IR: 1.0})
    late = Checkpoint(checkpoint.model, blueprint, checkpoint.preprocessing, {})
    maps = make_maps(2, in_infrared=1, in_visible=0)
    seen: list[float] = []
    plain = checkpoint.model.forward

    def watch(pictures: dict[Modality, torch.Tensor]) -> torch.Tensor:
        seen.append(float(pictures[V].std(dim=0).max()))
        return plain(pictures)

    monkeypatch.setattr(checkpoint.model, "forward", watch)
    trace_curves(late, draw(2), maps)
    # Only its two ends differ, which are the picture and the goal.
    assert max(seen) < 0.02
