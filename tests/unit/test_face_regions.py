import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferfusion.imaging.face_regions import (
    REGIONS,
    SIDE_PX,
    STATISTICS,
    describe_edges,
    measure_regions,
)


def make_faces(n: int = 3, seed: int = 0) -> np.ndarray:
    """Gives smooth random pictures, darker and brighter in large patches as faces are."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(40, 200, (n, 8, 8, 3)).astype(np.uint8)
    return np.stack(
        [cv2.resize(r, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC) for r in rough]
    )


def table_of(pictures: np.ndarray) -> np.ndarray:
    features = measure_regions(pictures)
    n_regions, n_statistics = len(REGIONS), len(STATISTICS)
    assert features.shape[1] == n_regions * n_statistics + n_regions * (n_regions - 1) // 2
    return features[:, : n_regions * n_statistics].reshape(-1, n_regions, n_statistics)


@pytest.mark.parametrize("name", REGIONS)
def test_a_warm_region_is_measured_where_it_is(name: str) -> None:
    picture = np.full((1, SIDE_PX, SIDE_PX, 3), 60, np.uint8)
    top, bottom, left, right = (round(part * SIDE_PX) for part in REGIONS[name])
    picture[:, top:bottom, left:right] = 200
    means = table_of(picture)[0, :, STATISTICS.index("mean")]
    assert list(REGIONS)[int(means.argmax())] == name


def test_statistics_are_numpys() -> None:
    pictures = make_faces()
    grey = np.stack([cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in pictures]).astype(float)
    grey = (grey - grey.mean(axis=(1, 2), keepdims=True)) / grey.std(axis=(1, 2), keepdims=True)
    top, bottom, left, right = (round(part * SIDE_PX) for part in REGIONS["mouth"])
    mouth = grey[:, top:bottom, left:right].reshape(len(grey), -1)
    expected = [f(mouth, axis=1) for f in (np.mean, np.std, np.min, np.max, np.median)]
    found = table_of(pictures)[:, list(REGIONS).index("mouth"), :5]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-4)


def test_differences_of_regions_follow_from_their_means() -> None:
    features = measure_regions(make_faces())
    means = features[:, : len(REGIONS) * len(STATISTICS) : len(STATISTICS)]
    differences = features[:, len(REGIONS) * len(STATISTICS) :]
    np.testing.assert_allclose(differences[:, 0], means[:, 0] - means[:, 1], atol=1e-5)
    np.testing.assert_allclose(differences[:, -1], means[:, -2] - means[:, -1], atol=1e-5)


@settings(max_examples=30)
@given(gain=st.floats(0.5, 0.9), offset=st.integers(5, 40))
def test_span_of_the_camera_changes_little(gain: float, offset: int) -> None:
    faces = make_faces()
    other = np.clip(faces * gain + offset, 0, 255).round().astype(np.uint8)
    assert np.abs(measure_regions(other) - measure_regions(faces)).max() < 0.25
    # A least step is one grey level, which weighs more where there are fewer of them.
    assert np.abs(table_of(other)[..., 0] - table_of(faces)[..., 0]).max() < 0.1


@pytest.mark.parametrize("side_px", [32, 128])
def test_size_of_the_picture_changes_little(side_px: int) -> None:
    faces = make_faces()
    other = np.stack(
        [cv2.resize(f, (side_px, side_px), interpolation=cv2.INTER_AREA) for f in faces]
    )
    assert measure_regions(other).shape == measure_regions(faces).shape
    assert np.abs(table_of(other)[..., 0] - table_of(faces)[..., 0]).max() < 0.1
    here, there = describe_edges(faces), describe_edges(other)
    assert (here * there).sum() / np.sqrt((here**2).sum() * (there**2).sum()) > 0.9


def blocks_of(pictures: np.ndarray) -> np.ndarray:
    return describe_edges(pictures).reshape(len(pictures), 7, 7, 4, 9)


@pytest.mark.parametrize("turned_deg", range(10, 180, 20))
def test_edges_fall_into_the_bin_of_their_direction(turned_deg: int) -> None:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    angle = np.deg2rad(turned_deg)
    ramp = 127 + 1.2 * (np.cos(angle) * (columns - 32) + np.sin(angle) * (rows - 32))
    picture = np.repeat(ramp.round().astype(np.uint8)[None, ..., None], 3, axis=-1)
    votes = blocks_of(picture).sum(axis=(0, 1, 2, 3))
    assert votes.argmax() == turned_deg // 20


def test_mirrored_face_has_mirrored_edges() -> None:
    faces = make_faces()
    here, there = blocks_of(faces), blocks_of(np.ascontiguousarray(faces[:, :, ::-1]))
    # Cells of a block are listed row by row; a mirror swaps columns and turns directions round.
    swapped = there[:, :, ::-1][..., [1, 0, 3, 2], ::-1]
    np.testing.assert_allclose(swapped, here, atol=1e-5)


def test_blocks_have_length_one_and_even_areas_none() -> None:
    lengths = np.sqrt((blocks_of(make_faces()) ** 2).sum(axis=(-1, -2)))
    assert (lengths <= 1).all()
    assert np.median(lengths) > 0.95
    even = np.full((1, 48, 48, 3), 90, np.uint8)
    assert not describe_edges(even).any()
    assert np.isfinite(measure_regions(even)).all()
