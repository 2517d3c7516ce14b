import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ferfusion.errors import CheckpointError
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.blueprint import Blueprint, assemble, count_parameters
from ferfusion.models.checkpoint import FACTS, TENSORS, load_checkpoint, save_checkpoint
from ferfusion.models.late_fusion import mix_probs
from ferfusion.preprocessing import Preprocessing

V, IR, M = MODALITIES
LABELS = ("happy", "sad", "neutral")
PREPROCESSING = Preprocessing(
    48, {V: (0.1, 0.2, 0.3), IR: (0.4, 0.5, 0.6)}, {V: (0.7, 0.8, 0.9), IR: (1.0, 1.1, 1.2)}
)
BLUEPRINTS = {
    "single": Blueprint("single", "shufflenet_v2", (IR,), LABELS, dropout=0.5),
    "early": Blueprint("early", "shufflenet_v2", (V, IR), LABELS),
    "late": Blueprint(
        "late", "shufflenet_v2", (V, IR, M), LABELS, mixture={V: 0.5, IR: 0.2, M: 0.3}
    ),
    "single with attention": Blueprint(
        "single", "shufflenet_v2", (IR,), LABELS, dropout=0.5, attention=True
    ),
    "early with attention": Blueprint("early", "shufflenet_v2", (V, IR), LABELS, attention=True),
}


def make_model(blueprint: Blueprint) -> nn.Module:
    """Gives a model whose norms have statistics of their own, as after a training."""
    torch.manual_seed(1)
    model = assemble(blueprint).train()
    with torch.no_grad():
        model(make_pictures())
    return model


def make_pictures() -> dict[Modality, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {m: torch.randn(4, 3, 48, 48, generator=generator) for m in MODALITIES}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    blueprint = BLUEPRINTS["single"]
    save_checkpoint(tmp_path, make_model(blueprint), blueprint, PREPROCESSING, {"epochs": 3})
    return tmp_path


@pytest.mark.parametrize("fusion", BLUEPRINTS)
def test_loaded_model_gives_the_very_same_logits(fusion: str, tmp_path: Path) -> None:
    blueprint = BLUEPRINTS[fusion]
    model = make_model(blueprint)
    recipe = {"epochs": 7, "schedule": "cosine", "learning_rate": 1e-3}
    save_checkpoint(tmp_path / "new" / "run", model, blueprint, PREPROCESSING, recipe)
    torch.manual_seed(99)
    loaded = load_checkpoint(tmp_path / "new" / "run")
    assert not loaded.model.training
    with torch.no_grad():
        assert torch.equal(loaded.model(make_pictures()), model.eval()(make_pictures()))
    assert loaded.blueprint == blueprint
    assert loaded.preprocessing == PREPROCESSING
    assert loaded.recipe == recipe
    assert count_parameters(loaded.model) == count_parameters(model)


def test_blueprint_from_before_there_was_attention(saved: Path) -> None:
    facts = json.loads((saved / FACTS).read_text())
    assert facts["blueprint"].pop("attention") is False
    change(saved / FACTS, blueprint=facts["blueprint"])
    assert load_checkpoint(saved).blueprint == BLUEPRINTS["single"]


def test_nothing_in_it_is_a_pickle(saved: Path) -> None:
    assert sorted(p.name for p in saved.iterdir()) == sorted([TENSORS, FACTS])
    content = (saved / TENSORS).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert all(set(v) == {"dtype", "shape", "data_offsets"} for v in header.values())
    assert json.loads((saved / FACTS).read_text())["blueprint"]["labels"] == list(LABELS)


def test_late_fusion_is_the_mixture_of_its_single_models(tmp_path: Path) -> None:
    blueprint = BLUEPRINTS["late"]
    model = make_model(blueprint).eval()
    with torch.no_grad():
        probs = {
            m: model.singles[str(m)](make_pictures()).softmax(dim=1).numpy() for m in MODALITIES
        }
        mixed = model(make_pictures()).softmax(dim=1).numpy()
    np.testing.assert_allclose(mixed, mix_probs(probs, blueprint.mixture or {}), atol=1e-6)


def test_weight_of_zero_spares_a_model_its_work() -> None:
    blueprint = Blueprint("late", "shufflenet_v2", (V, IR), LABELS, mixture={V: 1.0, IR: 0.0})
    model = make_model(blueprint).eval()
    with torch.no_grad():
        alone = model.singles["visible"](make_pictures()).softmax(dim=1)
        mixed = model({V: make_pictures()[V]}).softmax(dim=1)
    torch.testing.assert_close(mixed, alone)


def change(path: Path, **changes: object) -> None:
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in {**facts, **changes}.items() if v is not None}))


def change_blueprint(path: Path, **changes: object) -> None:
    change(path, blueprint={**json.loads(path.read_text())["blueprint"], **changes})


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: (run / FACTS).write_text("{"),
        lambda run: (run / FACTS).write_text("[]"),
        lambda run: (run / FACTS).write_bytes(b"\xff\xfe\x00"),
        lambda run: change(run / FACTS, blueprint=None),
        lambda run: change(run / FACTS, blueprint={"fusion": "single"}),
        lambda run: change(run / FACTS, preprocessing={"size_px": 4, "mean": [], "std": []}),
        lambda run: change(run / FACTS, recipe=None),
        lambda run: (run / FACTS).write_text("[" * 100_000),
        lambda run: change_blueprint(run / FACTS, fusion="late"),
        lambda run: change_blueprint(run / FACTS, fusion="fused"),
        lambda run: change_blueprint(run / FACTS, backbone=["resnet18"]),
        lambda run: change_blueprint(run / FACTS, labels=7),
        lambda run: change(run / FACTS, preprocessing={"size_px": 10**9, "mean": {}, "std": {}}),
    ],
)
def test_damaged_facts_are_refused(saved: Path, damage) -> None:
    damage(saved)
    with pytest.raises(CheckpointError, match=r"model\.json is damaged"):
        load_checkpoint(saved)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_tensors_are_refused(saved: Path, keep: int) -> None:
    path = saved / TENSORS
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing or damaged"):
        load_checkpoint(saved)


def test_newer_format_is_refused(saved: Path) -> None:
    change(saved / FACTS, format=2)
    with pytest.raises(CheckpointError, match=r"format 2.*Install"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", [FACTS, TENSORS])
def test_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match="holds no trained model"):
        load_checkpoint(saved)


def test_tensors_of_another_model_are_refused(saved: Path) -> None:
    facts = json.loads((saved / FACTS).read_text())
    change(saved / FACTS, blueprint={**facts["blueprint"], "labels": ["happy", "sad"]})
    with pytest.raises(CheckpointError, match="doesn't fit"):
        load_checkpoint(saved)
