import numpy as np
import pytest
import torch
from torch import nn

from ferfusion.errors import ConfigError
from ferfusion.evaluation.shapley import share_credit
from ferfusion.inference.subsets import ABSENT, value_subsets
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.blueprint import Blueprint
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.models.early_fusion import EarlyFusionModel
from ferfusion.models.late_fusion import LateFusionModel
from ferfusion.models.single import SingleModel
from ferfusion.preprocessing import Preprocessing

V, IR, M = MODALITIES
SIZE, CHANNELS, LABELS = 16, 5, ("angry", "happy", "neutral")
NOTHING = frozenset[Modality]()


def build_trunk() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, CHANNELS, 4, stride=4), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip


def make(
    fusion: str, modalities: tuple[Modality, ...], weights: tuple[float, ...] = ()
) -> Checkpoint:
    torch.manual_seed(0)
    mixture = dict(zip(modalities, weights, strict=True)) if weights else None
    if fusion == "early":
        head = nn.Sequential(nn.Linear(len(modalities) * CHANNELS, 8), nn.ReLU(), nn.Linear(8, 3))
        model: nn.Module = EarlyFusionModel({m: build_trunk() for m in modalities}, head)
    else:
        singles = {m: SingleModel(m, build_trunk(), nn.Linear(CHANNELS, 3)) for m in modalities}
        model = LateFusionModel(singles, mixture or {}) if mixture else singles[modalities[0]]
    for parameter in model.parameters():
        parameter.data *= 3  # or all answers would be nearly alike
    half = dict.fromkeys(modalities, (0.5, 0.5, 0.5))
    blueprint = Blueprint(fusion, "tiny", modalities, LABELS, mixture=mixture)  # pyright: ignore
    return Checkpoint(model.eval(), blueprint, Preprocessing(SIZE, half, half), {})


def draw(n: int, seed: int) -> dict[Modality, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {m: rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8) for m in MODALITIES}


def ask(checkpoint: Checkpoint, pictures: dict[Modality, np.ndarray]) -> np.ndarray:
    feed = {
        m: torch.from_numpy(pictures[m]).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        for m in checkpoint.blueprint.modalities
    }
    with torch.no_grad():
        return checkpoint.model(feed).double().softmax(1).numpy()


@pytest.mark.parametrize("modalities", [(V, IR), (V, IR, M)])
@pytest.mark.parametrize("fusion", ["early", "late"])
def test_a_subset_is_the_mean_answer_with_others_pictures_in_place_of_the_rest(
    fusion: str, modalities: tuple[Modality, ...]
) -> None:
    weights = (0.5, 0.3, 0.2)[: len(modalities)] if fusion == "late" else ()
    weights = (0.6, 0.4) if len(weights) == 2 else weights
    checkpoint = make(fusion, modalities, weights)
    pictures, others, classes = draw(5, 0), draw(4, 1), np.array([0, 1, 2, 0, 1])
    values = value_subsets(checkpoint, pictures, classes, others, batch_size=2)
    assert len(values) == 2 ** len(modalities)
    for subset, found in values.items():
        for row in range(5):
            mixed = {
                m: np.repeat(pictures[m][row : row + 1], 4, axis=0) if m in subset else others[m]
                for m in modalities
            }
            wanted = ask(checkpoint, mixed)[:, classes[row]].mean()
            assert found[row] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("absent", list(ABSENT))
def test_shares_sum_to_the_step_from_nothing_known_to_all(absent: str) -> None:
    checkpoint = make("late", MODALITIES, (0.5, 0.3, 0.2))
    pictures, classes = draw(6, 0), np.array([0, 1, 2, 0, 1, 2])
    values = value_subsets(checkpoint, pictures, classes, draw(3, 1), absent=absent)
    credit = share_credit(values)
    step = values[frozenset(MODALITIES)] - values[NOTHING]
    np.testing.assert_allclose(np.sum(list(credit.values()), axis=0), step, atol=1e-12)
    np.testing.assert_allclose(
        values[frozenset(MODALITIES)], ask(checkpoint, pictures)[range(6), classes], atol=1e-6
    )


def test_of_late_fusion_they_are_weighted_differences_from_the_mean_answer() -> None:
    """Probabilities are added, so the game is a sum, and its solution is known by hand."""
    checkpoint = make("late", (V, IR), (0.7, 0.3))
    pictures, others, classes = draw(5, 0), draw(7, 1), np.array([0, 1, 2, 0, 1])
    credit = share_credit(value_subsets(checkpoint, pictures, classes, others))
    for modality, weight in ((V, 0.7), (IR, 0.3)):
        single = checkpoint.model.singles[str(modality)]
        blueprint = Blueprint("single", "tiny", (modality,), LABELS)
        alone = Checkpoint(single, blueprint, checkpoint.preprocessing, {})
        own, average = ask(alone, pictures), ask(alone, others).mean(axis=0)
        wanted = weight * (own[range(5), classes] - average[classes])
        np.testing.assert_allclose(credit[modality], wanted, atol=1e-6)


def test_what_a_model_does_not_run_gives_nothing() -> None:
    checkpoint = make("late", (V, IR), (1.0, 0.0))
    checkpoint.model.singles[str(IR)] = nn.Identity()  # would fail if it were run
    for absent in ABSENT:
        credit = share_credit(
            value_subsets(checkpoint, draw(3, 0), np.zeros(3, np.int64), draw(2, 1), absent=absent)
        )
        np.testing.assert_allclose(credit[IR], 0, atol=1e-12)
        assert np.abs(credit[V]).max() > 0


def test_the_mean_picture_and_leaving_out_are_what_they_say() -> None:
    checkpoint = make("late", (V, IR), (0.7, 0.3))
    pictures, others, classes = draw(2, 0), draw(4, 1), np.array([1, 2])
    mean = {m: p.mean(axis=0, keepdims=True).round().astype(np.uint8) for m, p in others.items()}
    values = value_subsets(checkpoint, pictures, classes, others, absent="mean")
    only_visible = {V: pictures[V], IR: np.repeat(mean[IR], 2, axis=0)}
    wanted = ask(checkpoint, only_visible)[range(2), classes]
    np.testing.assert_allclose(values[frozenset({V})], wanted, atol=1e-6)
    left = value_subsets(checkpoint, pictures, classes, others, absent="left-out")
    np.testing.assert_allclose(left[NOTHING], 1 / 3)
    blueprint = Blueprint("single", "tiny", (IR,), LABELS)
    alone = Checkpoint(checkpoint.model.singles[str(IR)], blueprint, checkpoint.preprocessing, {})
    np.testing.assert_allclose(
        left[frozenset({IR})], ask(alone, pictures)[range(2), classes], atol=1e-6
    )


def test_what_makes_no_sense_is_said() -> None:
    pictures, classes = draw(2, 0), np.zeros(2, np.int64)
    early = make("early", (V, IR))
    with pytest.raises(ConfigError, match="Did you mean 'others'"):
        value_subsets(early, pictures, classes, pictures, absent="other")
    with pytest.raises(ConfigError, match="left-out is for late fusion"):
        value_subsets(early, pictures, classes, pictures, absent="left-out")
    with pytest.raises(ValueError, match="one other face"):
        value_subsets(early, pictures, classes, draw(0, 0))
    with pytest.raises(ValueError, match="no subsets"):
        value_subsets(make("single", (V,)), pictures, classes, pictures)
