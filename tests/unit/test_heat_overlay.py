import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.imaging.heat_overlay import STRIP_PX, overlay_heat, write_below

ORANGE = np.full((20, 60, 3), (250, 150, 30), np.uint8)


def test_without_heat_a_picture_is_nearly_grey_and_as_bright():
    shown = overlay_heat(ORANGE, np.zeros((20, 60), np.float32))[0, 0].astype(int)
    luma = np.array([0.299, 0.587, 0.114])
    assert shown.max() - shown.min() < 40
    assert shown @ luma == pytest.approx(ORANGE[0, 0] @ luma, abs=2)


def test_little_heat_is_blue_and_much_is_red():
    heat = np.full((20, 60), 0.15, np.float32)
    heat[:, 30:] = 1
    grey = np.full((20, 60, 3), 128, np.uint8)
    shown = overlay_heat(grey, heat).astype(int)
    red, _, blue = shown[0, 0]
    assert blue > red + 20
    red, green, blue = shown[0, 59]
    assert red > max(green, blue) + 50


@given(st.floats(0, 1), st.integers(0, 255))
def test_the_picture_is_always_seen_below(heat: float, grey: int):
    darker = np.full((1, 1, 3), grey // 2, np.uint8)
    brighter = np.full((1, 1, 3), grey // 2 + 100, np.uint8)
    laid = np.full((1, 1), heat, np.float32)
    assert (overlay_heat(brighter, laid).astype(int) - overlay_heat(darker, laid) > 25).all()


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan, np.inf])
def test_heat_beyond_the_scale_is_refused(wrong: float):
    with pytest.raises(ValueError, match="between 0 and 1"):
        overlay_heat(ORANGE, np.full((20, 60), wrong, np.float32))


def test_text_stands_below_and_hides_nothing():
    plain = write_below(ORANGE, "")
    assert (plain[:20] == ORANGE).all()
    assert plain.shape == (20 + STRIP_PX, 60, 3)
    assert (plain[20:] == 255).all()
    said, warned = write_below(ORANGE, "sad 9 %"), write_below(ORANGE, "sad 9 %", is_warning=True)
    assert (said[:20] == ORANGE).all()
    assert said[20:].min() < 60
    assert said[20:, :, 2].max() > 230, "white"
    assert warned[20:, :, 0].max() > 230
    assert warned[20:, :, 2].max() < 150, "orange"
