from collections.abc import Callable

import cv2
import numpy as np
import pytest

from ferfusion.data.synthetic import draw_sample
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.in_place import compare_in_place
from ferfusion.imaging.similarity import describe


def draw(moment: int, light: str = "dim") -> np.ndarray:
    identity = draw_identity(5)
    return draw_sample(identity, "sad", light=light, intensity=0.9, seed=moment).visible


def blur(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), 2.0)


def halve(picture: np.ndarray) -> np.ndarray:
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, picture.shape[:2], interpolation=cv2.INTER_CUBIC)


def encode(picture: np.ndarray) -> np.ndarray:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("change", [blur, halve, encode], ids=lambda f: f.__name__)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_dim_copy_without_fine_structures_lies_in_place(
    change: Callable[[np.ndarray], np.ndarray], mirrored: bool
) -> None:
    picture = draw(1)
    changed = change(picture)
    if mirrored:
        changed = np.ascontiguousarray(changed[:, ::-1])
    found = compare_in_place(describe(picture), describe(changed), mirrored=mirrored)
    assert found is not None
    assert found.coarse > 0.84
    assert found.worst_tenth > 0.6
    assert found.bent < 0.004
    assert found.shifted < 0.003
    assert found.mirrored is mirrored


def test_a_shift_is_measured_and_bends_nothing() -> None:
    picture = draw(1)
    matrix = np.array([[1, 0, 8], [0, 1, -4]], dtype=float)
    moved = cv2.warpAffine(blur(picture), matrix, (128, 128), borderMode=cv2.BORDER_REFLECT_101)
    found = compare_in_place(describe(picture), describe(moved))
    assert found is not None
    assert found.shifted == pytest.approx(np.hypot(8, 4) / 128, abs=0.003)
    assert found.bent < 0.004


def test_other_moments_of_one_person_do_not_lie_in_place() -> None:
    for light in ("dim", "even"):
        looks = [describe(draw(moment, light)) for moment in range(6)]
        for a in range(6):
            for b in range(a):
                found = compare_in_place(looks[a], looks[b])
                assert found is None or found.bent > 0.004 or found.coarse < 0.84


def test_a_picture_that_shows_nothing_agrees_with_none() -> None:
    black = describe(np.zeros((128, 128, 3), np.uint8))
    assert compare_in_place(black, black) is None
