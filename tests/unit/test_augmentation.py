import math
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.data import augmentation
from ferfusion.data.augmentation import PAPER_KINDS, Draw, Policy, apply, count_copies, draw
from ferfusion.modality import MODALITIES, Modality

V, IR, M = MODALITIES
SIZE = 48
policies = st.sampled_from(["sound", "paper"])
seeds = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """A smooth, bright picture without symmetry."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    layers = [90 + 90 * x, 100 + 60 * y, 120 + 50 * np.sin(7 * x + 3 * y)]
    return np.stack(layers, axis=2).astype(np.uint8)


def draw_any(policy: Policy, seed: int, epoch: int = 0, sample_id: str = "face", copy: int = 0):
    return draw(policy, seed=seed, epoch=epoch, sample_id=sample_id, copy=copy)


def paper_draw(kind: str, nth: int = 0, seed: int = 0) -> Draw:
    copies = [copy for copy, name in enumerate(PAPER_KINDS) if name == kind]
    return draw_any("paper", seed, copy=copies[nth])


def is_same(one: Draw, other: Draw) -> bool:
    rest = [(d.fill, d.gain, d.gamma, d.erased) for d in (one, other)]
    return np.array_equal(one.matrix, other.matrix) and rest[0] == rest[1]


def test_the_papers_26_copies() -> None:
    counts = {kind: PAPER_KINDS.count(kind) for kind in PAPER_KINDS}
    assert counts == {
        "original": 1,
        "rotation": 5,
        "zoom": 5,
        "distortion": 5,
        "shear": 5,
        "flip": 5,
    }
    assert count_copies("paper") == 26
    assert 393 * count_copies("paper") == 10218
    assert 77 * count_copies("paper") == 2002
    assert count_copies("sound") == count_copies("none") == 1


@given(policies, seeds, st.integers(0, 25))
def test_one_draw_moves_all_modalities_alike(policy: Policy, seed: int, copy: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    drawn = draw_any(policy, seed, copy=copy if policy == "paper" else 0)
    unlit = replace(drawn, gain=1.0, gamma=1.0)
    moved = [apply(unlit, picture, modality) for modality in MODALITIES]
    np.testing.assert_array_equal(moved[0], moved[1])
    np.testing.assert_array_equal(moved[0], moved[2])


@given(policies, seeds, st.integers(0, 25))
def test_no_picture_turns_black_or_empty(policy: Policy, seed: int, copy: int) -> None:
    picture = np.full((SIZE, SIZE, 3), 128, np.uint8)
    picture[::2, ::2] = 160
    drawn = draw_any(policy, seed, copy=copy if policy == "paper" else 0)
    for modality in MODALITIES:
        moved = apply(drawn, picture, modality)
        assert moved.shape == picture.shape
        assert moved.dtype == np.uint8
        assert moved.std() > 1
        assert moved.mean() > 25
        # The paper's distortion leaves a quarter of the picture at the very least.
        assert (moved > 20).mean() > 0.2


@given(seeds)
def test_sound_draws_keep_the_middle_of_the_face(seed: int) -> None:
    moved = draw_any("sound", seed).matrix @ [0.5, 0.5, 1]
    assert np.abs(moved[:2] / moved[2] - 0.5).max() < 0.15
    shrinks = abs(np.linalg.det(draw_any("sound", seed).matrix[:2, :2]))
    assert 0.5 < shrinks < 2


@pytest.mark.parametrize("policy", ["sound", "paper"])
def test_draws_follow_from_seed_epoch_sample_and_copy(policy: Policy) -> None:
    known = {"seed": 3, "epoch": 2, "sample_id": "angry/1", "copy": 7}
    first = draw(policy, **known)
    assert is_same(first, draw(policy, **known))
    for change in ({"seed": 4}, {"epoch": 3}, {"sample_id": "angry/2"}, {"copy": 8}):
        assert not is_same(first, draw(policy, **{**known, **change})), change


def test_a_draw_for_all_modalities_is_keyed_by_seed_epoch_sample_and_copy_alone() -> None:
    rng = np.random.default_rng([3, 2, zlib.crc32(b"angry/1"), 0])
    drawn = draw_any("sound", 3, epoch=2, sample_id="angry/1")
    assert is_same(drawn, augmentation._draw_sound(rng))


@given(policies, seeds, st.integers(1, 20))
def test_drawn_apart_each_modality_has_its_own_draw(policy: Policy, seed: int, copy: int) -> None:
    known = {"seed": seed, "epoch": 1, "sample_id": "angry/1", "copy": copy}
    together = draw(policy, **known)
    apart = {m: draw(policy, **known, only=m) for m in MODALITIES}
    matrices = [d.matrix.tobytes() for d in (together, *apart.values())]
    assert len(set(matrices)) == 4
    for modality, drawn in apart.items():
        assert is_same(drawn, draw(policy, **known, only=modality))
    assert is_same(together, draw(policy, **known, only=None))


@pytest.mark.parametrize("only", [None, IR])
def test_identical_flips_are_mirrors_and_nothing_else_changes(only: Modality | None) -> None:
    for copy, kind in enumerate(PAPER_KINDS):
        known = {"seed": 3, "epoch": 2, "sample_id": "angry/1", "copy": copy, "only": only}
        plain, quirky = draw("paper", **known), draw("paper", **known, identical_flips=True)
        if kind == "flip":
            assert is_same(quirky, paper_draw("flip"))
        else:
            assert is_same(quirky, plain)


def test_draws_of_a_sample_do_not_repeat_over_epochs() -> None:
    matrices = {draw_any("sound", 0, epoch=e).matrix.tobytes() for e in range(200)}
    assert len(matrices) == 200


def test_none_and_original_change_nothing(face: np.ndarray) -> None:
    for drawn in (draw_any("none", 5), paper_draw("original", seed=5)):
        for modality in MODALITIES:
            np.testing.assert_array_equal(apply(drawn, face, modality), face)


@pytest.mark.parametrize("size", [32, 33, 48])
def test_flip_is_an_exact_mirror(size: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(apply(paper_draw("flip"), picture, IR), picture[:, ::-1])


def test_flips_after_the_first_also_move(face: np.ndarray) -> None:
    flips = [apply(paper_draw("flip", nth), face, V) for nth in range(5)]
    for one in range(5):
        for other in range(one):
            assert not np.array_equal(flips[one], flips[other])


@pytest.mark.parametrize("seed", range(6))
def test_rotation_is_opencvs_about_the_middle(face: np.ndarray, seed: int) -> None:
    drawn = paper_draw("rotation", seed=seed)
    # y points down in both, so the angle that cv2 calls positive is negative here.
    angle_deg = -math.degrees(math.atan2(drawn.matrix[1, 0], drawn.matrix[0, 0]))
    assert abs(angle_deg) <= 20
    middle = ((SIZE - 1) / 2, (SIZE - 1) / 2)
    wanted = cv2.warpAffine(face, cv2.getRotationMatrix2D(middle, angle_deg, 1), (SIZE, SIZE))
    moved = apply(drawn, face, V)
    difference = np.abs(moved.astype(int) - wanted)
    assert np.median(difference) == 0
    assert (difference > 2).mean() < 0.01
    assert (moved == 0).all(axis=2).any() == (wanted == 0).all(axis=2).any()


@pytest.mark.parametrize("nth", range(5))
def test_zoom_lays_the_picture_on_grey_123(nth: int) -> None:
    picture = np.full((SIZE, SIZE, 3), 250, np.uint8)
    drawn = paper_draw("zoom", nth)
    moved = apply(drawn, picture, M)
    share = drawn.matrix[0, 0] ** 2
    assert 1 / 1.5**2 <= share <= 1
    assert (moved == 250).mean() == pytest.approx(share, abs=0.06)
    assert (moved == 123).mean() == pytest.approx(1 - share, abs=0.06)
    assert moved.min() >= 123


@given(seeds, st.integers(0, 4))
def test_the_papers_zoom_keeps_the_whole_picture(seed: int, nth: int) -> None:
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
    moved = corners @ paper_draw("zoom", nth, seed).matrix.T
    assert (moved[:, :2] >= -1e-9).all()
    assert (moved[:, :2] <= 1 + 1e-9).all()


@given(seeds, st.integers(0, 4))
def test_the_papers_distortion_moves_corners_inward(seed: int, nth: int) -> None:
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
    moved = corners @ paper_draw("distortion", nth, seed).matrix.T
    inward = np.abs(moved[:, :2] / moved[:, 2:] - corners[:, :2])
    assert inward.max() <= 0.25 + 1e-6
    assert inward.max() > 0


def test_shear_can_be_seen() -> None:
    sheared = [paper_draw("shear", nth, seed).matrix for nth in range(5) for seed in range(5)]
    # A rotation keeps right angles; a shear doesn't.
    angles = [abs(m[:2, 0] @ m[:2, 1]) for m in sheared]
    assert max(angles) > 0.1
    assert max(angles) <= 0.2 + 1e-9


def test_light_spares_infrared(face: np.ndarray) -> None:
    brighter = Draw(np.eye(3), gain=1.2, gamma=0.8)
    np.testing.assert_array_equal(apply(brighter, face, IR), face)
    for modality in (V, M):
        lit = apply(brighter, face, modality)
        wanted = np.clip((face / 255) ** 0.8 * 1.2 * 255, 0, 255)
        assert np.abs(lit - wanted).max() <= 1
    assert apply(Draw(np.eye(3), gain=1.0, gamma=1.5), face, V).mean() < face.mean()


def test_erased_box_is_grey_and_the_same_everywhere(face: np.ndarray) -> None:
    drawn = Draw(np.eye(3), gain=1.3, erased=(0.25, 0.5, 0.5, 0.75))
    before = face.copy()
    for modality in MODALITIES:
        box = apply(drawn, face, modality)[24:36, 12:24]
        assert (box == 123).all()
        assert apply(drawn, face, modality)[23, 11].tolist() != [123, 123, 123]
    np.testing.assert_array_equal(face, before)


def test_apply_leaves_its_input_alone(face: np.ndarray) -> None:
    before = face.copy()
    for seed in range(20):
        for modality in Modality:
            apply(draw_any("sound", seed), face, modality)
    np.testing.assert_array_equal(face, before)
