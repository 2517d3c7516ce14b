"""A face followed over frames, and frames prepared as pictures are."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ferfusion.data.synthetic import draw_sample
from ferfusion.errors import DataError
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.choosing import Choice
from ferfusion.imaging.faces.detector import Face, FaceDetector
from ferfusion.imaging.faces.following import FaceFollower
from ferfusion.imaging.registration.motion import Motion
from ferfusion.imaging.registration.register import Registration
from ferfusion.modality import Modality
from ferfusion.preparation.alignment import read_motion, write_alignment
from ferfusion.preparation.frames import FrameCutter, find_motions
from ferfusion.preparation.recipe import Preparation
from ferfusion.preparation.sample import prepare_sample
from ferfusion.sample import ImageFile, Sample

V, IR, MSX = Modality.VISIBLE, Modality.INFRARED, Modality.MSX


def face_at(left: float) -> Face:
    points = np.array([(20, 30), (60, 30), (40, 50), (25, 70), (55, 70)], float)
    points[:, 0] += left
    return Face(left, 0.0, 80.0, 90.0, points, 0.9)


class Looks:
    """Gives one choice after the other, and counts."""

    def __init__(self, *found: float | None) -> None:
        self._found = list(found)
        self.n = 0

    def __call__(self) -> Choice:
        self.n += 1
        left = self._found.pop(0)
        return Choice(None, "no face was found") if left is None else Choice(face_at(left), None)


def follow(follower: FaceFollower, looks: Looks, count: int) -> list[float | None]:
    found = [follower.follow(looks).face for _ in range(count)]
    return [None if face is None else face.left for face in found]


def test_it_looks_now_and_then_and_glides_in_between() -> None:
    looks = Looks(0.0, 16.0, 16.0)
    lefts = follow(FaceFollower(every=4), looks, 12)
    assert looks.n == 3
    assert lefts[:4] == [0.0] * 4
    assert lefts[4:8] == [8.0, 12.0, 14.0, 15.0]
    assert lefts[-1] == pytest.approx(16, abs=0.1)


def test_a_jump_is_followed_at_once() -> None:
    assert follow(FaceFollower(every=2), Looks(0.0, 300.0), 4) == [0.0, 0.0, 300.0, 300.0]


def test_one_miss_is_bridged_and_two_are_not() -> None:
    lefts = follow(FaceFollower(every=2), Looks(None, 5.0, None, 5.0, None, None, 7.0), 14)
    assert lefts == [None] * 2 + [5.0] * 8 + [None] * 2 + [7.0] * 2
    follower = FaceFollower(every=1)
    assert follower.follow(Looks(None)).reason == "no face was found"


@pytest.fixture(scope="module")
def pair() -> dict[Modality, np.ndarray]:
    drawn = draw_sample(
        draw_identity(4), "happy", light="even", intensity=0.8, seed=4, size_px=240,
        misalignment=0.0,
    )  # fmt: skip
    return {V: drawn.visible, IR: drawn.infrared}


def test_a_frame_is_cut_as_prepare_cuts_a_picture(
    detector: FaceDetector, pair: dict[Modality, np.ndarray], tmp_path: Path
) -> None:
    for modality, picture in pair.items():
        cv2.imwrite(str(tmp_path / f"{modality}.png"), picture[..., ::-1])
    files = {m: ImageFile(tmp_path / f"{m}.png") for m in pair}
    preparation = Preparation(aligns=False, least_face_px=32)
    wanted = prepare_sample(Sample("a", "happy", None, files), preparation, detector)
    assert wanted.record.kept
    cut = FrameCutter(preparation, detector, {IR: Motion()}).cut(pair)
    assert cut.face is not None
    assert set(cut.pictures) == {V, IR, MSX}
    for modality, picture in cut.pictures.items():
        assert np.array_equal(picture, wanted.pictures[modality]), modality


def test_infrared_alone_is_cut_by_its_own_means(
    detector: FaceDetector, pair: dict[Modality, np.ndarray]
) -> None:
    cut = FrameCutter(Preparation(least_face_px=32), detector, {}).cut({IR: pair[IR]})
    assert cut.face is not None
    assert set(cut.pictures) == {IR}


def test_where_nobody_is_nothing_is_cut(detector: FaceDetector) -> None:
    cut = FrameCutter(Preparation(), detector, {}).cut({V: np.full((120, 160, 3), 90, np.uint8)})
    assert cut.face is None
    assert not cut.pictures
    assert cut.reason == "no face was found"


def test_the_surest_of_several_moments_says_how_two_cameras_lie(
    pair: dict[Modality, np.ndarray],
) -> None:
    wanted = Motion(scale=1.05, dx_px=6, dy_px=-4)
    moved = cv2.warpAffine(
        pair[IR], wanted.matrix(240, 240), (240, 240), borderMode=cv2.BORDER_REPLICATE
    )
    dark = np.zeros_like(moved)
    # Drawn faces have fewer edges than real ones.
    preparation = Preparation(least_quality=0.4)
    found = find_motions([{V: pair[V], IR: dark}, {V: pair[V], IR: moved}], preparation)
    assert found[IR].motion.distance_px(wanted, 240, 240) < 3
    with pytest.raises(DataError, match=r"can't be laid .* with certainty"):
        find_motions([{V: pair[V], IR: dark}], preparation)


# --- a motion from a file


def found(quality: float, motion: Motion) -> Registration:
    return Registration(motion, 0.5, 0.5, 1.0, quality)


@pytest.mark.parametrize("kind", ["similarity", "affine"])
def test_a_motion_is_read_from_what_align_wrote(tmp_path: Path, kind: str) -> None:
    best = Motion(1.1, 3.5, -2.25, 0.5)
    if kind == "affine":
        best = replace(best, aspect=1.02, skew=0.01)
    rows = [("a", found(0.4, Motion())), ("b", found(0.9, best)), ("c", found(0.8, Motion()))]
    text = write_alignment(rows, kind)
    (tmp_path / "alignment.csv").write_text(text)
    assert read_motion(str(tmp_path / "alignment.csv")) == best
    assert read_motion(text.splitlines()[2]) == best


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("1,2,3", "neither a file nor a line"),
        ("a,1,2,3,nonsense,0.9,yes", "holds no motion"),
        ("a,0,2,3,1,0.9,yes", "makes no sense"),
        ("a,inf,2,3,1,0.9,yes", "makes no sense"),
        ("gone.csv", "can't be read"),
    ],
)
def test_what_is_no_motion_is_named(given: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_motion(given)


def test_a_preparation_is_read_back() -> None:
    made = Preparation(margin=0.4, span_c=(20.0, 38.0), straightens=False)
    assert Preparation.from_json({"data": "/somewhere", **made.to_json()}) == made
    for strange in ({"margin": "wide"}, {"size_px": None}, {"span_c": "ab"}):
        with pytest.raises(DataError, match="can't be read"):
            Preparation.from_json(strange)
