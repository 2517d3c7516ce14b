import numpy as np
import pytest

from ferfusion.errors import ConfigError
from ferfusion.imaging.palette import PALETTES, colourise, find_palette

LUMA = np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("palette", ["iron", "white-hot", "grey"])
def test_warmer_is_always_brighter(palette):
    ramp = np.linspace(20.0, 38.0, 256, dtype=np.float32)[np.newaxis]
    luminance = colourise(ramp, 20.0, 38.0, palette)[0] @ LUMA
    assert (np.diff(luminance) > 0).all()
    assert luminance[0] < 10
    assert luminance[-1] > 245


def test_the_iron_palette_gives_every_step_its_own_colour():
    ramp = np.linspace(20.0, 38.0, 256, dtype=np.float32)[np.newaxis]
    assert len(np.unique(colourise(ramp, 20.0, 38.0)[0], axis=0)) == 256


def test_grey_is_a_linear_scale():
    levels = np.arange(256, dtype=np.float32)[np.newaxis]
    coloured = colourise(levels, 0.0, 255.0, "grey")
    assert (coloured == np.arange(256)[np.newaxis, :, np.newaxis]).all()


def test_beyond_the_span_the_ends_are_held():
    values = np.array([[-40.0, 20.0, 38.0, 300.0, np.inf]], dtype=np.float32)
    coloured = colourise(values, 20.0, 38.0)[0]
    assert (coloured[0] == coloured[1]).all()
    assert (coloured[2] == coloured[3]).all()
    assert (coloured[2] == coloured[4]).all()


def test_an_unknown_palette_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'iron'"):
        colourise(np.zeros((2, 2), np.float32), 0.0, 1.0, "irn")


@pytest.mark.parametrize(("low", "high"), [(30.0, 30.0), (31.0, 30.0), (float("nan"), 30.0)])
def test_an_empty_span_is_refused(low, high):
    with pytest.raises(ValueError, match="must rise"):
        colourise(np.zeros((2, 2), np.float32), low, high)


def test_a_hole_in_the_map_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        colourise(np.full((2, 2), np.nan, np.float32), 0.0, 1.0)


def test_black_hot_is_white_hot_upside_down():
    ramp = np.linspace(0.0, 1.0, 256, dtype=np.float32)[np.newaxis]
    white, black = (colourise(ramp, 0.0, 1.0, name) for name in ("white-hot", "black-hot"))
    assert (black == 255 - white).all()
    assert (white == colourise(ramp, 0.0, 1.0, "grey")).all()


@pytest.mark.parametrize("name", PALETTES)
def test_every_palette_gives_neighbours_like_colours_and_all_others_different_ones(name):
    table = find_palette(name).astype(int)
    steps = np.abs(np.diff(table, axis=0)).max(axis=1)
    assert steps.min() > 0
    assert steps.max() <= 10
    assert len(np.unique(table, axis=0)) == 256
