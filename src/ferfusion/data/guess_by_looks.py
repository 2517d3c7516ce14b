"""Who may be the same person by looks alone: faces laid on each other, edges compared.

No network that knows people ships with this software, so little can be said. On the stand-in set
(566 real faces of 201 people) about six in ten of the pairs put together are right, and about one
in a hundred of all right pairs is found: see results/subject_guesses. That set was also
looked at while this was tuned. It is a hint where to look; who is who can't be told so.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.data.dataset import Dataset
from ferfusion.data.guess import Grouping, Guess
from ferfusion.errors import DataError
from ferfusion.imaging.face_regions import describe_edges
from ferfusion.imaging.faces.choosing import choose_face
from ferfusion.imaging.faces.crop import Crop
from ferfusion.imaging.faces.detector import Face, FaceDetector, even_out
from ferfusion.imaging.heat_input import read_picture
from ferfusion.sample import Sample

LOOKS_CONFIDENCE = 0.4
"""Of two faces put together; on the stand-in six in ten are right, on other data maybe fewer."""

_CROP_PX = 160
_EYES_APART, _EYES_DOWN = 0.36, 0.45  # in parts of the crop
_REGIONS = ((10, 120, 15, 145), (40, 110, 20, 140))
"""Top, bottom, left, right: brows to lips, and around the eyes. The mouth says what one feels."""

_LEAST_FACES, _MOST_FACES = 24, 4000
_MOST_COMPONENTS = 64
_LEAST_DEVIATIONS = 3.5


def group_by_looks(
    dataset: Dataset, weights: Path, samples: Iterable[Sample] | None = None
) -> Grouping:
    """Puts samples together whose faces look very much alike; most stay alone and get no name.

    Args:
        dataset: The first modality that a sample has is looked at.
        weights: Of the face detector.
        samples: Those of the dataset, where somebody watches them go by.
    """
    faces = cut_faces(samples if samples is not None else dataset.samples, weights)
    ids, crops = list(faces), list(faces.values())
    said = f"{len(ids)} of {len(dataset.samples)} samples show one face that can be compared"
    if not _LEAST_FACES <= len(ids) <= _MOST_FACES:
        return Grouping(
            "appearance",
            f"{said}; looks are compared among {_LEAST_FACES} to {_MOST_FACES} of them.",
        )
    expressions = {sample.id: sample.expression for sample in dataset.samples}
    group_of = group_faces(np.stack(crops), [expressions[i] for i in ids])
    members: dict[int, list[str]] = {}
    for sample_id, group in zip(ids, group_of, strict=True):
        members.setdefault(group, []).append(sample_id)
    alike = sorted((group for group in members.values() if len(group) > 1), key=lambda g: g[0])
    guesses: dict[str, Guess] = {}
    digits = len(str(len(alike)))
    for number, group in enumerate(alike, start=1):
        others = "another sample" if len(group) == 2 else f"{len(group) - 1} other samples"
        how = f"looks like {others}; no more than a hint"
        guess = Guess(f"lookalike{number:0{digits}}", LOOKS_CONFIDENCE, how)
        guesses |= dict.fromkeys(group, guess)
    return Grouping(
        "appearance",
        f"By looks: {said}; {len(guesses)} of them look much like another one ({len(alike)} "
        "groups). Expect about half of that to be wrong, and most who come twice to be missed.",
        LOOKS_CONFIDENCE if guesses else 0.0,
        guesses,
    )


def cut_faces(
    samples: Iterable[Sample], weights: Path
) -> dict[str, UInt8[np.ndarray, "height width 3"]]:
    """Cuts faces out with the eyes in the same places, by sample id, where there is just one."""
    detector = FaceDetector(weights)
    crops = ((sample.id, _cut_face(sample, detector)) for sample in samples)
    return {sample_id: crop for sample_id, crop in crops if crop is not None}


def group_faces(
    crops: UInt8[np.ndarray, "faces height width 3"], expressions: list[str]
) -> list[int]:
    """Gives the number of the group of each face.

    Args:
        crops: As `cut_faces` gave them.
        expressions: Of each; what is common to an expression is taken out.
    """
    from sklearn.cluster import AgglomerativeClustering

    evened = np.stack([even_out(crop) for crop in crops])
    n_components = min(_MOST_COMPONENTS, len(crops) // 8)
    likeness = np.mean(
        [
            _compare(np.ascontiguousarray(evened[:, a:b, c:d]), expressions, n_components)
            for a, b, c, d in _REGIONS
        ],
        axis=0,
    )
    # Cosines of faces that have nothing in common have a deviation of 1 / sqrt(components).
    farthest = 1 - min(_LEAST_DEVIATIONS / math.sqrt(n_components), 0.95)
    clustering = AgglomerativeClustering(
        n_clusters=None,  # pyright: ignore[reportArgumentType]
        metric="precomputed",
        linkage="average",
        distance_threshold=farthest,
    )
    return clustering.fit_predict(np.clip(1 - likeness, 0, 2)).tolist()


def _cut_face(sample: Sample, detector: FaceDetector) -> UInt8[np.ndarray, "_ _ 3"] | None:
    try:
        picture = read_picture(next(iter(sample.images.values())))
    except DataError:  # Whoever reads the picture says so.
        return None
    height, width = picture.shape[:2]
    face = choose_face(detector.find(picture), width, height, least_px=24).face
    return None if face is None else _lay_eyes(face).cut(picture, _CROP_PX)


def _lay_eyes(face: Face) -> Crop:
    """Gives the square in which the eyes have their place."""
    across, down = face.points[1] - face.points[0]
    side = max(float(np.hypot(across, down)), 1.0) / _EYES_APART
    # From between the eyes down along the face to the middle of the square.
    below = (0.5 - _EYES_DOWN) * side / max(float(np.hypot(across, down)), 1.0)
    x, y = (face.points[0] + face.points[1]) / 2 + below * np.array((-down, across))
    return Crop(float(x), float(y), side, face.roll_deg)


def _compare(
    pictures: UInt8[np.ndarray, "faces height width 3"],
    expressions: list[str],
    n_components: int,
) -> Float[np.ndarray, "faces faces"]:
    """Gives the cosine of every pair of faces, all directions in which faces differ counting alike.

    Without that, light and turn of the head would decide.
    """
    from sklearn.decomposition import PCA

    edges = describe_edges(pictures)
    names = np.array(expressions)
    for name in set(expressions):
        edges[names == name] -= edges[names == name].mean(axis=0)
    if not edges.any():
        return np.eye(len(edges))
    white = PCA(n_components, whiten=True, random_state=0).fit_transform(edges)
    white /= np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-9)
    return white @ white.T
