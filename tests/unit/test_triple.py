import numpy as np
import pytest

from ferfusion.imaging.camera import kinds
from ferfusion.imaging.camera.thermogram import Thermogram
from ferfusion.imaging.camera.triple import make_triple
from ferfusion.imaging.registration.motion import Motion


def draw_pair(
    ratio: float, right_px: int, down_px: int, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """A warm disc and a bright one of the same thing, seen through two lenses.

    The infrared lens sees a part of the photo that is 1/ratio as wide, whose middle is moved.
    """
    photo = np.full((300, 400, 3), 60, np.uint8)
    y, x = np.mgrid[:300, :400]
    photo[np.hypot(x - 230, y - 140) < 40] = 220
    field = 400 / ratio
    rows, columns = np.mgrid[:height, :width]
    scale = field / width
    seen_x = 199.5 + right_px + (columns - (width - 1) / 2) * scale
    seen_y = 149.5 + down_px + (rows - (height - 1) / 2) * scale
    warm = np.where(np.hypot(seen_x - 230, seen_y - 140) < 40, 36.0, 22.0)
    return photo, warm.astype(np.float32)


@pytest.mark.parametrize(
    ("ratio", "right_px", "down_px"), [(1.25, 0, 0), (1.6, 25, -14), (1.4, -20, 10), (0.9, 8, 3)]
)
def test_by_the_cameras_placement_things_lie_on_each_other(
    ratio: float, right_px: int, down_px: int
) -> None:
    photo, warm = draw_pair(ratio, right_px, down_px, 160, 120)
    placement = Motion(scale=ratio, dx_px=-ratio * right_px, dy_px=-ratio * down_px)
    triple = make_triple(
        Thermogram(kinds.FLIR_JPEG, warm, photo=photo, placement=placement), palette="white-hot"
    )
    assert triple.visible is not None
    assert triple.msx is not None
    assert triple.crop_px is not None
    left, top, width, height = triple.crop_px
    assert triple.visible.shape == triple.infrared.shape == triple.msx.shape == (height, width, 3)
    assert (triple.visible == photo[top : top + height, left : left + width]).all()
    if ratio > 1:
        assert width == pytest.approx(400 / ratio, abs=2)
        assert left == pytest.approx(200 + right_px - 200 / ratio, abs=2)
    is_bright = triple.visible[..., 0] > 140
    is_warm = triple.infrared[..., 0] > 127
    for axis in (0, 1):
        middles = [np.flatnonzero(mask.any(axis=axis)).mean() for mask in (is_bright, is_warm)]
        assert middles[0] == pytest.approx(middles[1], abs=1.5)
    assert (is_bright != is_warm).mean() < 0.02


def test_without_a_photo_or_a_placement_infrared_stays_alone() -> None:
    photo, warm = draw_pair(1.2, 0, 0, 40, 30)
    for read in (
        Thermogram(kinds.NUMPY, warm),
        Thermogram(kinds.SEEK_HIR, warm, photo=photo),
        Thermogram(kinds.FLIR_JPEG, warm, photo=photo, placement=Motion(dx_px=399.0)),
    ):
        triple = make_triple(read)
        assert triple.visible is None
        assert triple.msx is None
        assert triple.infrared.shape == (30, 40, 3)


def test_the_same_span_gives_the_same_colours() -> None:
    colder = np.linspace(20, 30, 64).reshape(8, 8).astype(np.float32)
    triples = [
        make_triple(Thermogram(kinds.NUMPY, t), span_c=(15.0, 40.0)) for t in (colder, colder + 3)
    ]
    first, second = (triple.infrared for triple in triples)
    assert (first != second).any()
    assert triples[0].span_c == (15.0, 40.0)
    at_26 = [np.abs(t - 26).argmin() for t in (colder, colder + 3)]
    near = [p.reshape(-1, 3)[i].astype(int) for p, i in zip((first, second), at_26, strict=True)]
    assert np.abs(near[0] - near[1]).max() < 12


def test_holes_and_flat_pictures_can_be_shown() -> None:
    holed = np.full((8, 8), 30, np.float32)
    holed[0, 0] = np.nan
    assert make_triple(Thermogram(kinds.NUMPY, holed)).infrared.shape == (8, 8, 3)


def test_a_black_frame_around_the_photo_is_cut_off() -> None:
    photo, warm = draw_pair(0.9, 0, 0, 160, 120)
    rng = np.random.default_rng(0)
    noisy = np.clip(photo + rng.integers(-20, 20, photo.shape), 30, 255).astype(np.uint8)
    framed = np.zeros_like(noisy)
    framed[40:260, 60:350] = noisy[40:260, 60:350]
    framed[38:40, 60:350] = 11  # JPEG's rounding
    read = Thermogram(kinds.FLIR_JPEG, warm, photo=framed, placement=Motion(scale=0.9))
    triple = make_triple(read)
    assert triple.crop_px == (60, 40, 290, 220)
    assert triple.visible is not None
    assert triple.visible.min() >= 30
    dark = np.maximum(framed, 1)  # dark, and no frame
    whole = make_triple(Thermogram(kinds.FLIR_JPEG, warm, photo=dark, placement=Motion(scale=0.9)))
    assert whole.crop_px == (0, 0, 400, 300)
