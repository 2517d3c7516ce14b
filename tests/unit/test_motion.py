import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.imaging.registration.motion import Motion, lay_on

MOTIONS = st.builds(
    Motion,
    scale=st.floats(0.7, 1.4),
    dx_px=st.floats(-80, 80),
    dy_px=st.floats(-80, 80),
    angle_deg=st.floats(-30, 30),
    aspect=st.floats(0.8, 1.25),
    skew=st.floats(-0.2, 0.2),
)


@given(MOTIONS)
def test_a_motion_comes_back_from_its_matrix(motion: Motion) -> None:
    back = Motion.from_matrix(motion.matrix(500, 400), 500, 400)
    for name in ("scale", "dx_px", "dy_px", "angle_deg", "aspect", "skew"):
        assert getattr(back, name) == pytest.approx(getattr(motion, name), abs=1e-6)


def test_the_words_mean_what_they_say() -> None:
    point = np.array([300.0, 200.0, 1.0])  # 50 right of the centre of 501 x 401
    assert Motion(dx_px=7, dy_px=-3).matrix(501, 401) @ point == pytest.approx([307, 197])
    assert Motion(scale=2).matrix(501, 401) @ point == pytest.approx([350, 200])
    assert Motion(angle_deg=90).matrix(501, 401) @ point == pytest.approx([250, 250])


def test_distance_is_that_of_points() -> None:
    assert Motion().distance_px(Motion(dx_px=3, dy_px=4), 500, 500) == pytest.approx(5)
    assert Motion().distance_px(Motion(), 500, 500) == 0


def test_laying_on_undoes_the_motion() -> None:
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:120, :160]
    # Small waves of many directions: every error of half a pixel shows.
    waves = [(rng.uniform(-0.2, 0.2, 2), rng.uniform(0, 6)) for _ in range(12)]

    def scene(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return sum(np.sin(w[0] * x + w[1] * y + p) for w, p in waves).astype(np.float32)

    motion = Motion(scale=1.08, dx_px=6.3, dy_px=-4.2, angle_deg=5)
    back = np.linalg.inv(np.vstack((motion.matrix(160, 120), (0, 0, 1))))
    seen = np.stack((xx, yy, np.ones_like(xx)), -1) @ back.T
    infrared = scene(seen[..., 0], seen[..., 1])
    laid = lay_on(infrared, motion, 160, 120, outside=np.nan)
    inner = (slice(20, 100), slice(20, 140))
    assert np.abs(laid[inner] - scene(xx, yy)[inner]).max() < 0.05


@pytest.mark.parametrize("factor", [0.25, 0.5, 2, 3])
def test_a_picture_of_another_size_lies_in_place(factor: float) -> None:
    height, width = round(120 * factor), round(160 * factor)
    # The ramp says where each point is, in pixels of the visible picture.
    x = (np.arange(width) + 0.5) / factor - 0.5
    ramp = np.repeat(x[np.newaxis], height, axis=0).astype(np.float32)
    laid = lay_on(ramp, Motion(), 160, 120)
    assert laid[60, 20:140] == pytest.approx(np.arange(20, 140), abs=0.01)


def test_another_shape_lies_centre_on_centre() -> None:
    laid = lay_on(np.ones((60, 100), np.float32), Motion(), 100, 100, outside=np.nan)
    assert np.isnan(laid[:19]).all()
    assert (laid[21:79] == 1).all()
    assert np.isnan(laid[81:]).all()
