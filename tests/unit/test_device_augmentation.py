import cv2
import numpy as np
import pytest
import torch

from ferfusion.data.augmentation import PAPER_KINDS, Draw, Policy, apply, draw
from ferfusion.data.batch_draws import NO_FILL, Draws, draw_many, hash_ids
from ferfusion.data.device_augmentation import Scale, augment, keep, pack
from ferfusion.modality import MODALITIES, Modality

V, IR, M = MODALITIES
SIZE = 48
N = 2 * len(PAPER_KINDS)
PLAIN = Scale(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Clouds that use all grey levels, bright and dark at the edges."""
    noise = np.random.default_rng(0).random((N, SIZE, SIZE, 3))
    smooth = [cv2.GaussianBlur(picture, (0, 0), 2) for picture in noise]
    stretched = [cv2.normalize(p, np.empty(0), 0, 255, cv2.NORM_MINMAX) for p in smooth]
    return np.stack(stretched).round().astype(np.uint8)


def augment_here(pictures: np.ndarray, draws: Draws, modality: Modality) -> np.ndarray:
    packed = torch.from_numpy(pack(draws, pictures.shape[1]))
    bytes_ = torch.from_numpy(pictures.copy())
    found = augment(bytes_, packed, PLAIN, changes_light=modality is not IR)
    assert found.is_contiguous(memory_format=torch.channels_last)
    return found.permute(0, 2, 3, 1).numpy()


def stack(drawn: list[Draw]) -> Draws:
    return Draws(
        np.stack([d.matrix for d in drawn]),
        np.array([NO_FILL if d.fill is None else d.fill for d in drawn]),
        np.array([d.gain for d in drawn]),
        np.array([d.gamma for d in drawn]),
        np.array([d.erased or (0.0,) * 4 for d in drawn]),
    )


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("identical_flips", [False, True])
@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize("policy", ["sound", "paper"])
def test_it_is_what_opencv_makes_of_the_same_draws(
    pictures: np.ndarray, policy: Policy, only: bool, identical_flips: bool, modality: Modality
) -> None:
    ids = tuple(f"face{row}" for row in range(N))
    copies = np.arange(N) % (len(PAPER_KINDS) if policy == "paper" else 1)
    of_all = {
        "seed": 1,
        "epoch": 2,
        "only": modality if only else None,
        "identical_flips": identical_flips,
    }
    draws = draw_many(policy, hashes=hash_ids(ids), copies=copies, **of_all)
    found = augment_here(pictures, draws, modality)
    wanted = np.stack(
        [
            apply(draw(policy, sample_id=i, copy=int(c), **of_all), picture, modality)
            for i, c, picture in zip(ids, copies, pictures, strict=True)
        ]
    ).astype(float)
    differences = np.abs(found - wanted)
    # OpenCV 4 has fractions of 1/32 of a pixel; with OpenCV 5 nearly all differences are 0.
    assert differences.mean(axis=(1, 2, 3)).max() < 0.5
    assert np.quantile(differences, 0.99) <= 2
    assert abs((found - wanted).mean()) < 0.1


def test_mirrors_and_what_stays_are_exact(pictures: np.ndarray) -> None:
    mirror = draw("paper", seed=0, epoch=0, sample_id="", copy=PAPER_KINDS.index("flip"))
    found = augment_here(pictures[:2], stack([Draw(np.eye(3)), mirror]), V)
    np.testing.assert_array_equal(found[0], pictures[0])
    np.testing.assert_array_equal(found[1], pictures[1][:, ::-1])


@pytest.mark.parametrize("fill", [None, 0, 123])
def test_what_comes_from_beyond_the_edge(pictures: np.ndarray, fill: int | None) -> None:
    # A third of a pixel and seven whole ones to the right.
    moved = np.eye(3)
    moved[0, 2] = (7 + 1 / 3) / SIZE
    (found,) = augment_here(pictures[:1], stack([Draw(moved, fill=fill)]), V)
    edge = pictures[0, :, 0].astype(float)
    beyond = edge if fill is None else np.full_like(edge, fill)
    np.testing.assert_array_equal(found[:, 0], beyond)
    assert np.abs(found[:, 7] - (2 * edge + beyond) / 3).max() <= 0.5 + 1e-3


def test_light_and_the_box_are_those_of_each_picture(pictures: np.ndarray) -> None:
    drawn = [
        Draw(np.eye(3), gain=1.2, gamma=0.8),
        Draw(np.eye(3), gain=0.8, gamma=1.3, erased=(0.25, 0.5, 0.5, 0.75)),
        Draw(np.eye(3)),
    ]
    for modality in MODALITIES:
        found = augment_here(pictures[:3], stack(drawn), modality)
        for row, one in enumerate(drawn):
            wanted = apply(one, pictures[row], modality).astype(float)
            assert np.abs(found[row] - wanted).max() <= 1
            assert (found[row] == wanted).mean() > 0.99


def test_what_comes_out_is_normalised_and_of_the_type_asked_for(pictures: np.ndarray) -> None:
    scale = Scale(
        torch.tensor([10.0, 20, 30]).view(1, 3, 1, 1), torch.tensor([2.0, 4, 5]).view(1, 3, 1, 1)
    )
    bytes_ = torch.from_numpy(pictures[:3].copy())
    packed = torch.from_numpy(pack(stack([Draw(np.eye(3))] * 3), SIZE))
    wanted = (pictures[:3] - np.array([10, 20, 30.0])) / np.array([2, 4, 5.0])
    for dtype, close in ((torch.float32, 1e-5), (torch.bfloat16, 0.6)):
        for found in (
            keep(bytes_, scale, dtype),
            augment(bytes_, packed, scale, dtype, changes_light=True),
        ):
            assert found.dtype == dtype
            assert found.is_contiguous(memory_format=torch.channels_last)
            np.testing.assert_allclose(
                found.float().permute(0, 2, 3, 1).numpy(), wanted, atol=close
            )
