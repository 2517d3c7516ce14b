from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from ferfusion.errors import ConfigError
from ferfusion.expression import VIRI
from ferfusion.imaging.drawn.canvas import Canvas, Pose, ellipse, ribbon, smooth
from ferfusion.imaging.drawn.drawing import paint_face
from ferfusion.imaging.drawn.geometry import shape_face
from ferfusion.imaging.drawn.hair import shape_hair
from ferfusion.imaging.drawn.identity import CLOTHES, HAIR_STYLES, draw_identity
from ferfusion.imaging.drawn.light import light_picture
from ferfusion.imaging.drawn.muscles import Muscles, draw_muscles
from ferfusion.imaging.drawn.temperature import paint_temperature

UPRIGHT = Pose(scale=0.26, tilt_deg=0.0, x=0.5, y=0.5)
PLAIN = replace(
    draw_identity(0), hair_style="short", glasses=None, beard=0.0, moustache=0.0,
    resting_corners=0.0, resting_brows=0.0,
)  # fmt: skip


def face_of(expression, person=PLAIN, seed=1, yaw=0.0):
    muscles = draw_muscles(expression, 1.0, np.random.default_rng(seed))
    return shape_face(person, muscles, yaw)


def painted(face, size_px=96, seed=0):
    hair = shape_hair(face.person, face.chin_y)
    return paint_face(face, hair, UPRIGHT, size_px, np.random.default_rng(seed))


def warmth(face, size_px=96, seed=0):
    hair = shape_hair(face.person, face.chin_y)
    return paint_temperature(face, hair, UPRIGHT, size_px, np.random.default_rng(seed))


def at(image, x, y, reach=1):
    """The mean of a few pixels around a point in face units."""
    side = image.shape[0]
    column, row = (int((0.5 + 0.26 * v) * side) for v in (x, y))
    return image[row - reach : row + reach + 1, column - reach : column + reach + 1].mean()


def test_a_canvas_puts_face_units_where_the_pose_says():
    pose = Pose(scale=0.25, tilt_deg=90.0, x=0.5, y=0.5)
    canvas = Canvas.blank(100, pose, 0.0, dtype=np.float32)
    assert np.allclose(canvas.to_pixels([(0.0, 0.0)]), 49.5)
    # A quarter turn clockwise: what was on the right is now below.
    assert np.allclose(canvas.to_pixels([(1.0, 0.0)]), [(49.5, 74.5)])
    x, y = canvas.to_units()
    column, row = np.round(canvas.to_pixels([(0.4, -0.3)]))[0].astype(int)
    assert x[row, column] == pytest.approx(0.4, abs=0.03)
    assert y[row, column] == pytest.approx(-0.3, abs=0.03)


def test_a_layer_lies_exactly_under_its_canvas():
    canvas = Canvas.blank(40, UPRIGHT, (0, 0, 0), fine=4)
    layer = canvas.layer((0.0, 0.0, 0.0))
    layer.fill(ellipse(0.3, -0.2, 0.8), (255, 255, 255))
    canvas.fill(ellipse(0.3, -0.2, 0.8), (255, 255, 255))
    small, large = layer.pixels[..., 0], canvas.finished()[..., 0].astype(np.float32)
    for axis in (0, 1):
        profile = [p.sum(axis=axis) for p in (small, large)]
        centres = [np.average(np.arange(40), weights=p) for p in profile]
        assert centres[0] == pytest.approx(centres[1], abs=0.15)


def test_paint_stays_inside():
    canvas = Canvas.blank(64, UPRIGHT, (0, 0, 0))
    with canvas.inside(ellipse(0.0, 0.0, 0.5)) as part:
        part.fill(ellipse(0.0, 0.0, 5.0), (255, 0, 0))
    radius_px = 0.5 * 0.26 * 64
    assert canvas.pixels[..., 0].sum() / 255 == pytest.approx(np.pi * radius_px**2, rel=0.15)


def test_what_lies_off_the_canvas_is_no_trouble():
    canvas = Canvas.blank(32, UPRIGHT, (9.0, 9.0, 9.0), dtype=np.float32)
    canvas.soft(ellipse(40.0, 40.0, 1.0), (255.0, 0.0, 0.0), 1.0, 0.1)
    canvas.wash(ellipse(-40.0, 3.0, 1.0), (255.0, 0.0, 0.0), 1.0)
    with canvas.inside(ellipse(40.0, 40.0, 1.0)) as part:
        part.fill(ellipse(0.0, 0.0, 9.0), (255.0, 0.0, 0.0))
    assert (canvas.pixels == 9.0).all()


def test_a_smooth_curve_meets_its_points():
    knots = np.array([(0.0, 0.0), (1.0, 0.5), (2.0, -0.3), (3.0, 0.0)])
    for curve in (smooth(knots), smooth(knots, closed=True)):
        gaps = np.linalg.norm(curve[:, np.newaxis] - knots, axis=2).min(axis=0)
        assert gaps.max() < 1e-9


def test_a_ribbon_is_as_wide_as_it_says():
    outline = ribbon(np.stack([np.linspace(0, 1, 20), np.zeros(20)], axis=1), (0.2,))
    assert np.ptp(outline[:, 1]) == pytest.approx(0.2)
    assert cv2.contourArea(outline.astype(np.float32)) == pytest.approx(0.2, rel=1e-3)


def test_a_smile_lifts_the_corners_and_sadness_lowers_them():
    def corners(expression):
        mouth = face_of(expression).mouth
        return (mouth.upper[0, 1] + mouth.upper[-1, 1]) / 2 - mouth.upper[16, 1]

    assert corners("happy") < corners("neutral") - 0.05
    assert corners("sad") > corners("neutral") + 0.05


def test_surprise_opens_eyes_and_mouth_and_lifts_the_brows():
    rest, surprised = face_of("neutral"), face_of("surprised")
    assert surprised.mouth.openness > 0.2 > 0.02 > rest.mouth.openness
    assert np.ptp(surprised.eyes[0].opening[:, 1]) > 1.2 * np.ptp(rest.eyes[0].opening[:, 1])
    assert surprised.brows[1].mean(axis=0)[1] < rest.brows[1].mean(axis=0)[1] - 0.08
    assert surprised.chin_y > rest.chin_y + 0.08


def test_anger_presses_the_inner_brows_down_and_sadness_lifts_them():
    inner = {e: face_of(e).brows[1][0, 1] for e in VIRI}
    assert inner["angry"] > inner["neutral"] + 0.1
    assert inner["sad"] < inner["neutral"] - 0.05


def test_no_intensity_is_no_expression():
    muscles = draw_muscles("angry", 0.0, np.random.default_rng(0))
    assert max(getattr(muscles, f.name) for f in fields(Muscles)) < 0.25


def test_an_unknown_expression_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'happy'"):
        draw_muscles("hapy", 1.0, np.random.default_rng(0))


@pytest.mark.parametrize("muscle", [f.name for f in fields(Muscles)])
def test_every_muscle_moves_something(muscle):
    still, moved = (painted(shape_face(PLAIN, m, 0.0))
                    for m in (Muscles(), Muscles(**{muscle: 1.0})))  # fmt: skip
    assert np.abs(still.astype(int) - moved.astype(int)).max() > 20


@pytest.mark.parametrize("style", HAIR_STYLES)
@pytest.mark.parametrize("expression", ["neutral", "surprised"])
def test_every_hair_style_leaves_the_face_free(style, expression):
    person = replace(PLAIN, hair_style=style)
    face = face_of(expression, person)
    bald = painted(face_of(expression, replace(PLAIN, hair_style="bald")))
    drawn = painted(face)
    side = len(drawn)
    top, bottom, left, right = (
        int((0.5 + 0.26 * v) * side) for v in (-0.15, face.chin_y - 0.15, -0.35, 0.35)
    )
    middle = (slice(top, bottom), slice(left, right))
    difference = np.abs(drawn[middle].astype(int) - bald[middle].astype(int))
    assert difference.mean() < 3.0


def test_all_clothes_differ():
    drawn = {painted(face_of("neutral", replace(PLAIN, clothes=c))).tobytes() for c in CLOTHES}
    assert len(drawn) == len(CLOTHES)


def test_the_picture_is_the_same_at_every_size():
    small, large = painted(face_of("happy"), 96), painted(face_of("happy"), 288)
    shrunk = cv2.resize(large, (96, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small.astype(int)).mean() < 4.0


def test_people_differ_and_stay_themselves():
    assert draw_identity(3) == draw_identity(3)
    people = [draw_identity(seed) for seed in range(60)]
    assert len({p.skin for p in people}) == 60
    assert len({p.hair_style for p in people}) >= 9
    brightness = [sum(p.skin) / 3 for p in people]
    assert min(brightness) < 90
    assert max(brightness) > 195


def test_dim_light_hides_much_but_is_not_black():
    picture = painted(face_of("neutral"), 128)
    means, noise = [], []
    for seed in range(8):
        dim = light_picture(picture, "dim", UPRIGHT, np.random.default_rng(seed))
        even = light_picture(picture, "even", UPRIGHT, np.random.default_rng(seed))
        means.append((dim.mean(), even.mean()))
        noise.append(dim[60:68, 60:68].std() / dim.mean())
    dim_means, even_means = np.array(means).T
    assert (dim_means > 8).all()
    assert (dim_means < 0.3 * even_means).all()
    assert np.mean(noise) > 0.15


def test_light_from_the_side_leaves_half_a_face_dark():
    picture = painted(face_of("neutral"), 128)
    for seed in range(6):
        lit = light_picture(picture, "side", UPRIGHT, np.random.default_rng(seed)).mean(axis=2)
        cheeks = sorted((at(lit, -0.65, 0.3, 3), at(lit, 0.65, 0.3, 3)))
        assert cheeks[0] < 0.5 * cheeks[1]


def test_temperatures_are_those_of_a_face_in_a_room():
    person = replace(PLAIN, warmth_c=0.0, cool_nose_c=2.0, cool_ears_c=2.0, clothes="crew")
    celsius = warmth(face_of("neutral", person), 128)
    assert celsius.dtype == np.float32
    room, hair, forehead = at(celsius, -1.8, -1.7), at(celsius, 0.0, -1.2), at(celsius, 0.0, -0.6)
    nose, cheek = at(celsius, 0.0, 0.36), at(celsius, 0.55, 0.4)
    cloth, neck = at(celsius, 1.3, 1.85), at(celsius, 0.0, 1.4)
    assert 20.0 < room < 25.5
    assert room < cloth < hair + 5 < forehead
    assert 25.0 < cloth < 30.5
    assert nose < cheek < forehead
    assert 33.5 < forehead < 36.0
    assert 33.5 < neck < 36.0
    assert celsius.max() < 38.0


def test_glass_is_cold_and_breath_is_warm():
    person = replace(PLAIN, glasses="square")
    bare, glazed = warmth(face_of("neutral")), warmth(face_of("neutral", person))
    assert at(glazed, person.eye_spacing, 0.0) < at(bare, person.eye_spacing, 0.0) - 4.0
    muscles = Muscles(jaw_drop=1.0)
    open_face = shape_face(PLAIN, muscles, 0.0)
    x, y = open_face.mouth.cavity.mean(axis=0)
    assert at(warmth(open_face), x, y) > at(warmth(open_face), 0.55, 0.4) + 1.0


@pytest.mark.parametrize("expression", ["angry", "surprised"])
def test_excitement_cools_the_nose(expression):
    calm, excited = warmth(face_of("neutral")), warmth(face_of(expression))
    assert at(excited, 0.0, 0.33) < at(calm, 0.0, 0.33) - 0.2
