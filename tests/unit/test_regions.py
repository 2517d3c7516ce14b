"""Regions of the face, held against drawn faces, whose geometry is known exactly."""

import numpy as np
import pytest

from ferfusion.data.synthetic import draw_sample, lay_out_face
from ferfusion.evaluation.heat_regions import measure_shares
from ferfusion.expression import VIRI
from ferfusion.imaging.drawn.canvas import Canvas, Outline, Pose
from ferfusion.imaging.drawn.geometry import Face
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.detector import FaceDetector
from ferfusion.imaging.faces.regions import FIXED_POINTS, REGIONS, find_points, label_regions

SIDE = 128


def lay_out(who: int) -> tuple[Face, Pose]:
    rng = np.random.default_rng(who)
    return lay_out_face(draw_identity(who), VIRI[who % 5], 0.9, rng)


def know_points(face: Face, pose: Pose) -> np.ndarray:
    mouth = face.mouth
    units = [face.eyes[0].centre, face.eyes[1].centre, face.nose_tip, mouth.top[0], mouth.top[-1]]
    canvas = Canvas.blank(SIDE, pose, 0, dtype=np.float32)
    return (canvas.to_pixels(np.array(units, np.float64)) + 0.5) / SIDE


def heat_up(pose: Pose, *outlines: Outline) -> np.ndarray:
    canvas = Canvas.blank(SIDE, pose, 0, dtype=np.uint8)
    for outline in outlines:
        canvas.fill(outline, 1)
    return canvas.pixels[None].astype(np.float64)


def say_shares(heat: np.ndarray, points: np.ndarray) -> dict[str, float]:
    shares, _ = measure_shares(heat, label_regions(points, SIDE)[None], len(REGIONS))
    return dict(zip(REGIONS, shares[0], strict=True))


def check_places(face: Face, pose: Pose, points: np.ndarray) -> None:
    """Heat that lies in a part of the drawn face must be counted there."""
    eyes = heat_up(pose, *(eye.opening for eye in face.eyes))
    assert say_shares(eyes, points)["eyes"] > 0.9
    brows = heat_up(pose, *(np.concatenate([b, b[::-1] + np.array((0, 0.05))]) for b in face.brows))
    shares = say_shares(brows, points)
    assert shares["eyes"] + shares["forehead"] > 0.85
    assert say_shares(heat_up(pose, face.mouth.outline), points)["mouth"] > 0.85
    x, y = face.nose_tip
    tip = [(x - 0.08, y - 0.1), (x + 0.08, y - 0.1), (x + 0.08, y), (x - 0.08, y)]
    assert say_shares(heat_up(pose, tip), points)["nose"] > 0.9
    for side in (-1, 1):
        at, below = side * 0.62, 0.36
        cheek = [(at - 0.1, below - 0.08), (at + 0.1, below - 0.08), (at + 0.1, below + 0.08),
                 (at - 0.1, below + 0.08)]  # fmt: skip
        assert say_shares(heat_up(pose, face.front(cheek)), points)["cheeks"] > 0.85
    forehead = [(-0.3, -0.72), (0.3, -0.72), (0.3, -0.58), (-0.3, -0.58)]
    assert say_shares(heat_up(pose, face.front(forehead)), points)["forehead"] > 0.9
    everywhere = np.ones((1, SIDE, SIDE))
    far = everywhere - np.minimum(1, heat_up(pose, face.head, *face.ears))
    assert say_shares(far, points)["outside"] > 0.9


@pytest.mark.parametrize("who", range(10))
def test_heat_in_a_part_of_a_drawn_face_is_counted_there(who: int) -> None:
    face, pose = lay_out(who)
    check_places(face, pose, know_points(face, pose))


@pytest.mark.parametrize("who", [1, 4, 7])
def test_the_detectors_points_do_as_well(detector: FaceDetector, who: int) -> None:
    face, pose = lay_out(who)
    sample = draw_sample(
        draw_identity(who), VIRI[who % 5], light="even", intensity=0.9, seed=who, size_px=SIDE,
        misalignment=0.0,
    )  # fmt: skip
    points = find_points(detector, [sample.visible])
    assert points is not None
    assert np.abs(points - know_points(face, pose)).max() < 0.06
    check_places(face, pose, points)


def test_the_first_picture_with_a_face_decides(detector: FaceDetector) -> None:
    nobody = np.full((SIDE, SIDE, 3), 90, np.uint8)
    sample = draw_sample(
        draw_identity(2), "neutral", light="even", intensity=0.9, seed=2, size_px=SIDE
    )
    assert find_points(detector, [nobody]) is None
    one = find_points(detector, [nobody, sample.visible])
    other = find_points(detector, [sample.visible, nobody])
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one, other)


def test_regions_move_turn_and_grow_with_the_face() -> None:
    points = np.array(FIXED_POINTS)
    upright = label_regions(points, SIDE)
    assert set(np.unique(upright)) == set(range(len(REGIONS)))
    turned = np.stack([1 - points[:, 1], points[:, 0]], axis=1)  # a quarter clockwise
    np.testing.assert_array_equal(label_regions(turned, SIDE), np.rot90(upright, -1))
    small = label_regions(points / 2, SIDE)
    assert (small[:64, :64] == upright[1::2, 1::2]).mean() > 0.97
    mirrored = (points * (-1, 1) + (1, 0))[[1, 0, 2, 4, 3]]
    np.testing.assert_array_equal(label_regions(mirrored, SIDE), upright[:, ::-1])


def test_points_on_a_line_are_no_face() -> None:
    with pytest.raises(ValueError, match="line"):
        label_regions(np.full((5, 2), 0.5), SIDE)
