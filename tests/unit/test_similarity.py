from collections.abc import Callable

import cv2
import numpy as np
import pytest

from ferfusion.data import augmentation
from ferfusion.data.synthetic import draw_sample
from ferfusion.imaging.candidates import HASH_NEAR, find_candidates, hash_picture
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.shared_edges import find_partners
from ferfusion.imaging.similarity import compare, describe, match, mirror
from ferfusion.modality import Modality

EXPRESSIONS = ("angry", "happy", "neutral", "sad", "surprised")
Pictures = list[np.ndarray]


def draw(person: int, moment: int) -> dict[Modality, np.ndarray]:
    expression = EXPRESSIONS[moment % len(EXPRESSIONS)]
    drawn = draw_sample(
        draw_identity(person), expression, light="even", intensity=0.9, seed=100 * person + moment
    )
    return {
        Modality.VISIBLE: drawn.visible,
        Modality.INFRARED: drawn.infrared,
        Modality.MSX: drawn.msx,
    }


@pytest.fixture(scope="module")
def faces() -> list[dict[Modality, np.ndarray]]:
    """Two moments of each of six people."""
    return [draw(person, moment) for person in range(6) for moment in (1, 2)]


@pytest.fixture(scope="module")
def visible(faces: list[dict[Modality, np.ndarray]]) -> Pictures:
    return [face[Modality.VISIBLE] for face in faces]


def encode(picture: np.ndarray, quality: int = 90) -> np.ndarray:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def crop(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture[6:-12, 14:-4], picture.shape[:2], interpolation=cv2.INTER_LINEAR)


def lighten(picture: np.ndarray) -> np.ndarray:
    return cv2.LUT(picture, (255 * np.linspace(0, 1, 256) ** 0.6).astype(np.uint8))


def paper_copy(kind: str, modality: Modality) -> Callable[[np.ndarray], np.ndarray]:
    copy = augmentation.PAPER_KINDS.index(kind)

    def change(picture: np.ndarray) -> np.ndarray:
        drawn = augmentation.draw("paper", seed=1, epoch=0, sample_id="x", copy=copy)
        return encode(augmentation.apply(drawn, picture, modality))

    return change


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("kind", ["rotation", "zoom", "distortion", "shear", "flip"])
def test_the_papers_copies_agree_with_their_original(
    faces: list[dict[Modality, np.ndarray]], kind: str, modality: Modality
) -> None:
    picture = faces[0][modality]
    changed = paper_copy(kind, modality)(picture)
    agreement = compare(describe(picture), describe(changed), mirrored=kind == "flip")
    assert agreement is not None
    assert agreement.fine > 0.9
    assert agreement.moved > 0.02 or kind == "flip"


@pytest.mark.parametrize("change", [encode, crop, lighten], ids=lambda f: f.__name__)
def test_other_copies_agree(visible: Pictures, change: Callable[..., np.ndarray]) -> None:
    agreement = compare(describe(visible[2]), describe(change(visible[2])))
    assert agreement is not None
    assert agreement.fine > 0.9


@pytest.mark.parametrize("modality", list(Modality))
def test_other_moments_and_other_people_agree_less(
    faces: list[dict[Modality, np.ndarray]], modality: Modality
) -> None:
    looks = [describe(face[modality]) for face in faces]
    pairs = [(a, b) for a in range(len(looks)) for b in range(a + 1, len(looks))]
    agreed = [compare(looks[a], looks[b]) for a, b in pairs]
    assert max(agreement.fine for agreement in agreed if agreement is not None) < 0.85


def test_turn_and_zoom_are_measured(visible: Pictures) -> None:
    size = visible[0].shape[0]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), 12, 0.8)
    turned = cv2.warpAffine(visible[0], matrix, (size, size))
    for first, second, zoom in ((visible[0], turned, 0.8), (turned, visible[0], 1 / 0.8)):
        agreement = compare(describe(first), describe(second))
        assert agreement is not None
        assert abs(agreement.turned_deg) == pytest.approx(12, abs=1)
        assert agreement.zoom == pytest.approx(zoom, abs=0.02)


def test_a_mirrored_look_is_the_look_of_the_mirrored_picture(visible: Pictures) -> None:
    mirrored = mirror(describe(visible[0]))
    sought = describe(np.ascontiguousarray(visible[0][:, ::-1]))
    np.testing.assert_array_equal(mirrored.grey, sought.grey)
    pairs = match(mirrored, sought)
    assert len(pairs) > 0.6 * len(sought.points)
    apart = np.linalg.norm(mirrored.points[pairs[:, 0]] - sought.points[pairs[:, 1]], axis=1)
    assert np.median(apart) < 1


def test_hash_survives_light_and_encoding_but_not_another_face(visible: Pictures) -> None:
    def hash_of(picture: np.ndarray) -> np.ndarray:
        return hash_picture(describe(picture).grey)

    for change in (encode, lighten):
        assert (hash_of(visible[0]) != hash_of(change(visible[0]))).sum() <= HASH_NEAR
    apart = [(hash_of(visible[0]) != hash_of(other)).sum() for other in visible[2:]]
    assert np.median(apart) > HASH_NEAR


def test_candidates_name_every_copy_once_and_grow_with_the_pictures(visible: Pictures) -> None:
    flip = paper_copy("flip", Modality.VISIBLE)
    looks = [describe(p) for p in (*visible, *(encode(p) for p in visible), flip(visible[3]))]
    found = find_candidates(looks)
    keys = [(c.first, c.second, c.mirrored) for c in found]
    assert len(keys) == len(set(keys)) <= 12 * len(looks)
    n = len(visible)
    for row in range(n):
        assert (row, row + n, False) in keys
    assert (3, 2 * n, True) in keys


def test_pictures_that_show_nothing_are_no_candidates_and_do_not_fail() -> None:
    black = describe(np.zeros((64, 64, 3), np.uint8))
    assert len(black.points) == 0
    assert compare(black, black) is None
    for candidate in find_candidates([black, black, black]):
        assert compare(black, black, mirrored=candidate.mirrored) is None
    assert find_candidates([black]) == []


def test_partners_are_found_across_modalities(faces: list[dict[Modality, np.ndarray]]) -> None:
    msx = np.stack([face[Modality.MSX] for face in faces])
    for modality, least in ((Modality.VISIBLE, 0.4), (Modality.INFRARED, 0.65)):
        ours = np.stack([face[modality] for face in faces[::-1]])
        found = find_partners(ours, msx, least)
        assert len(found) >= len(faces) // 3
        assert all(row + other == len(faces) - 1 for row, other, _ in found)
    assert find_partners(msx[:0], msx, 0.4) == []
