import cv2
import numpy as np
import pytest

from ferfusion.data.synthetic import draw_sample
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.msx import DETAIL_SHARE, blend_msx

LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    visible = rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    infrared = rng.integers(70, 186, (64, 48, 3), dtype=np.uint8)
    return visible, infrared


def test_no_gain_gives_the_infrared_picture_back(pair):
    visible, infrared = pair
    assert (blend_msx(visible, infrared, sigma_px=2.0, gain=0.0) == infrared).all()


def test_a_plain_visible_picture_adds_nothing(pair):
    _, infrared = pair
    plain = np.full_like(infrared, 200)
    assert (blend_msx(plain, infrared, sigma_px=2.0, gain=1.0) == infrared).all()


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("light", ["even", "dim", "side"])
def test_local_mean_luminance_stays(gain: float, light: str) -> None:
    face = draw_sample(
        draw_identity(3), "happy", light=light, intensity=0.8, seed=1, size_px=320, misalignment=0
    )
    blended = blend_msx(face.visible, face.infrared, gain=gain)
    change = blended @ LUMA - face.infrared @ LUMA
    assert np.abs(change).max() > 10
    local = cv2.GaussianBlur(change, (0, 0), 2 * DETAIL_SHARE * 320)
    assert np.abs(local).max() < 2.5 * max(gain, 1)
    assert np.percentile(np.abs(local), 99) < 1.2 * max(gain, 1)


def test_it_is_deterministic_and_stronger_with_gain(pair):
    visible, infrared = pair
    first, second = (blend_msx(visible, infrared, gain=0.6) for _ in range(2))
    assert (first == second).all()
    changes = [
        np.abs(blend_msx(visible, infrared, gain=g).astype(int) - infrared).mean()
        for g in (0.1, 0.3, 0.9)
    ]
    assert changes == sorted(changes)
    assert changes[0] > 0.2


@pytest.mark.parametrize("sigma_px", [0.4, 1, 3, 11, 40])
def test_detail_of_any_scale_works(pair, sigma_px: float):
    visible, infrared = pair
    blended = blend_msx(visible, infrared, sigma_px=sigma_px)
    assert blended.shape == infrared.shape
    assert (blended != infrared).any()


def test_chrominance_stays_where_nothing_is_clipped(pair):
    visible, infrared = pair
    blended = blend_msx(visible, infrared, sigma_px=1.5, gain=0.3).astype(int)
    change = blended - infrared.astype(int)
    assert blended.min() > 0
    assert blended.max() < 255
    assert np.abs(change).max() > 10
    assert np.ptp(change, axis=2).max() <= 1  # rounding


def test_an_edge_gets_brighter_on_its_bright_side():
    visible = np.zeros((32, 32, 3), np.uint8)
    visible[:, 16:] = 200
    blended = blend_msx(visible, np.full_like(visible, 120), sigma_px=2.0, gain=0.5)
    assert (blended[:, 16] > 140).all()
    assert (blended[:, 15] < 100).all()
    assert np.abs(blended[:, 2].astype(int) - 120).max() <= 1


def test_pictures_of_different_sizes_are_refused(pair):
    visible, infrared = pair
    with pytest.raises(ValueError, match="48 x 64 pixels and the infrared one 48 x 60"):
        blend_msx(visible, infrared[:60], sigma_px=2.0, gain=1.0)


def test_a_width_of_nothing_is_refused(pair):
    with pytest.raises(ValueError, match="sigma_px"):
        blend_msx(*pair, sigma_px=0.0, gain=1.0)
    with pytest.raises(ValueError, match="gain"):
        blend_msx(*pair, gain=-0.1)
