"""Frames of a video prepared as pictures are: laid on each other, cut to the face alike."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ferfusion.errors import DataError
from ferfusion.imaging.faces.choosing import Choice
from ferfusion.imaging.faces.crop import frame_face
from ferfusion.imaging.faces.detector import Face, FaceDetector
from ferfusion.imaging.faces.following import EVERY, FaceFollower
from ferfusion.imaging.registration.motion import Motion, lay_on
from ferfusion.imaging.registration.register import Registration
from ferfusion.modality import MODALITIES, Modality, find_ground
from ferfusion.preparation.placing import REGISTRATION
from ferfusion.preparation.recipe import Preparation
from ferfusion.preparation.sample import Laid, cut_alike, find_face, lay_on_visible
from ferfusion.preparation.shot import Pictures, Shot

Motions = Mapping[Modality, Motion]
"""How each picture but the ground, which is the visible one if there is any, lies on it."""


@dataclass(frozen=True, eq=False)
class CutFrame:
    """What became of the pictures of one moment.

    Attributes:
        pictures: Cut out; none where no face can be used.
        reason: Why it can't; or empty.
        face: In pixels of the ground.
        laid: The whole pictures as they lie on the ground.
    """

    pictures: Pictures
    reason: str
    face: Face | None
    laid: Pictures


class FrameCutter:
    """Cuts the face out of one moment after the other, of one video or of several."""

    def __init__(
        self,
        preparation: Preparation,
        detector: FaceDetector,
        motions: Motions,
        *,
        every: int = EVERY,
    ) -> None:
        """Begins without a face.

        Args:
            preparation: As the model's training pictures were prepared.
            detector: Finds faces.
            motions: Cameras stand still against each other, so they hold for all frames.
            every: From one look for the face to the next, in frames.
        """
        self._preparation, self._detector, self._motions = preparation, detector, motions
        self._follower = FaceFollower(every)

    def cut(self, seen: Pictures) -> CutFrame:
        """Cuts the face out of all pictures of the next moment.

        Args:
            seen: Frames as they come, the same modalities each time.
        """
        laid = _lay(seen, self._motions)
        choice = self._follower.follow(lambda: self._look(laid))
        return _cut_face(laid, choice, self._preparation)

    def _look(self, laid: Laid) -> Choice:
        return find_face(laid, self._detector, self._preparation.least_face_px)[0]


def cut_moment(seen: Pictures, preparation: Preparation, detector: FaceDetector) -> CutFrame:
    """Cuts the face out of the pictures of one moment, of which nothing was known before.

    Args:
        seen: As the cameras gave them.
        preparation: As the model's training pictures were prepared.
        detector: Finds faces.
    """
    laid = lay_on_visible(_as_shot(seen), preparation)
    unsure = [m for m, found in laid.found.items() if found.quality < preparation.least_quality]
    if unsure:
        ground = find_ground(seen)
        reason = f"{unsure[0]} can't be laid on the {ground} picture with certainty"
        return CutFrame({}, reason, None, laid.pictures)
    choice, _ = find_face(laid, detector, preparation.least_face_px)
    return _cut_face(laid, choice, preparation)


def find_motions(
    moments: Iterable[Pictures], preparation: Preparation
) -> dict[Modality, Registration]:
    """Gives how the pictures of two cameras lie on each other, the most certain of several tries.

    Args:
        moments: Frames of both, a few moments.
        preparation: Below which quality nothing is certain.

    Raises:
        DataError: None of them is certain.
    """
    best: dict[Modality, Registration] = {}
    for seen in moments:
        for modality, found in lay_on_visible(_as_shot(seen), preparation).found.items():
            if modality not in best or found.quality > best[modality].quality:
                best[modality] = found
    for modality, found in best.items():
        if found.quality < preparation.least_quality:
            raise DataError(
                f"The {modality} frames can't be laid on the visible ones with certainty (the best "
                f"of several has quality {found.quality:.2f}, {preparation.least_quality:g} is "
                "needed). Align one pair of pictures with `ferfusion align` and give its motion "
                "with --motion, or say --as-is if both videos show just the face, cut alike."
            )
    return best


def _cut_face(laid: Laid, choice: Choice, preparation: Preparation) -> CutFrame:
    if choice.face is None:
        return CutFrame({}, choice.reason or "", None, laid.pictures)
    height, width = next(iter(laid.pictures.values())).shape[:2]
    crop = frame_face(
        choice.face, width, height,
        margin=preparation.margin, straightens=preparation.straightens,
    )  # fmt: skip
    return CutFrame(cut_alike(laid, crop, preparation).pictures, "", choice.face, laid.pictures)


def _as_shot(seen: Pictures) -> Shot:
    return Shot({m: seen[m] for m in MODALITIES if m in seen}, None, None, "")


def _lay(seen: Pictures, motions: Motions) -> Laid:
    """Lays all pictures on the first one by motions that are known."""
    ground = find_ground(seen)
    height, width = seen[ground].shape[:2]
    laid = {
        m: seen[m] if m is ground else lay_on(seen[m], motions.get(m, Motion()), width, height)
        for m in MODALITIES
        if m in seen
    }
    return Laid(laid, None, {}, REGISTRATION, np.ones((height, width), bool))
