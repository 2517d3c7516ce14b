"""One sample prepared: read, laid on each other, cut to the face, completed."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from ferfusion.imaging.faces.choosing import Choice, choose_face
from ferfusion.imaging.faces.crop import Crop, frame_face
from ferfusion.imaging.faces.detector import Face, FaceDetector
from ferfusion.imaging.faces.warm_faces import find_warm_face
from ferfusion.imaging.msx import blend_msx
from ferfusion.imaging.palette import show_heat
from ferfusion.imaging.registration.motion import Motion, lay_on
from ferfusion.imaging.registration.register import Registration, register
from ferfusion.imaging.registration.search import Reach
from ferfusion.modality import MODALITIES, Modality, find_ground
from ferfusion.preparation.placing import CAMERA, REGISTRATION, register_infrared, start_of
from ferfusion.preparation.recipe import Preparation, Record
from ferfusion.preparation.shot import Pictures, Shot, read_shot
from ferfusion.sample import Sample

_SKIN_C = (25.0, 42.0)
"""Of a face, in the cold or with fever, and a camera that is off by some degrees."""

_NEAR = Reach(shift=0.03, angle_deg=2.0, scale=0.03)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What became of a sample.

    Attributes:
        record: In words and numbers.
        pictures: Cut out, if it is kept.
        temperature_c: Of infrared, cut alike; None where there are only colours.
    """

    record: Record
    pictures: Pictures
    temperature_c: Float[np.ndarray, "height width"] | None = None


def prepare_sample(
    sample: Sample, preparation: Preparation, detector: FaceDetector | None
) -> Prepared:
    """Prepares one sample; whatever keeps it out is a reason in its record.

    Args:
        sample: As a reader gave it.
        preparation: What is to be done.
        detector: Needed where faces are to be found.

    Raises:
        DataError: A file of it is unusable.
    """
    shot = read_shot(sample, preparation)
    record = Record(
        sample_id=sample.id,
        expression=sample.expression,
        subject=sample.subject or "",
        kept=False,
        source=shot.source,
    )
    laid = lay_on_visible(shot, preparation)
    if laid.found:
        motion = next(iter(laid.found.values())).motion
        quality = min(registration.quality for registration in laid.found.values())
        record = replace(
            record, scale=motion.scale, dx_px=motion.dx_px, dy_px=motion.dy_px,
            angle_deg=motion.angle_deg, quality=quality, laid_by=laid.by,
        )  # fmt: skip
        if quality < preparation.least_quality and laid.by != CAMERA:
            unsure = min(laid.found, key=lambda modality: laid.found[modality].quality)
            ground = next(iter(laid.pictures))
            reason = f"{unsure} can't be laid on the {ground} picture with certainty"
            return Prepared(replace(record, reason=reason), {})
    height, width = next(iter(laid.pictures.values())).shape[:2]
    crop = _frame_covered(laid.covered)
    if preparation.finds_faces and detector is not None:
        choice, where = find_face(laid, detector, preparation.least_face_px)
        if choice.face is None:
            return Prepared(replace(record, reason=choice.reason or ""), {})
        face = choice.face
        crop = frame_face(
            face, width, height,
            margin=preparation.margin, straightens=preparation.straightens,
        )  # fmt: skip
        record = replace(
            record, face_in=where, face_score=face.score, face_px=face.width,
            roll_deg=face.roll_deg,
        )  # fmt: skip
    return _cut(record, laid, crop, preparation)


def _frame_covered(covered: Bool[np.ndarray, "height width"]) -> Crop:
    """Gives the square around the part that every modality shows; all of it if there is none."""
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    if not len(rows):
        rows, columns = np.arange(covered.shape[0]), np.arange(covered.shape[1])
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    side = max(bottom - top, right - left) + 1
    return Crop((left + right) / 2, (top + bottom) / 2, float(side), 0.0)


def _cut(record: Record, laid: "Laid", crop: Crop, preparation: Preparation) -> Prepared:
    cut = cut_alike(laid, crop, preparation)
    reached = crop.cut(laid.covered.astype(np.float32), preparation.size_px, outside=0)
    there = " ".join(str(m) for m in MODALITIES if m in cut.pictures)
    record = replace(
        record, kept=True, modalities=there, made_msx=cut.made_msx,
        has_temperatures=cut.temperature_c is not None, beyond_edge=1 - float(reached.mean()),
    )  # fmt: skip
    return Prepared(record, cut.pictures, cut.temperature_c)


@dataclass(frozen=True, eq=False)
class Cut:
    """What was cut out of the pictures of one moment.

    Attributes:
        pictures: Of one size.
        temperature_c: Of infrared; None where there are only colours.
        made_msx: Whether the MSX picture was made here.
    """

    pictures: Pictures
    temperature_c: Float[np.ndarray, "height width"] | None
    made_msx: bool


def cut_alike(laid: "Laid", crop: Crop, preparation: Preparation) -> Cut:
    """Cuts all alike and makes what is missing."""
    size = preparation.size_px
    cut = {m: crop.cut(picture, size) for m, picture in laid.pictures.items()}
    temperature_c = None
    if laid.temperature_c is not None:
        temperature_c = crop.cut(laid.temperature_c, size, outside=float("nan"))
        if np.isfinite(temperature_c).any():
            cut[Modality.INFRARED] = show_heat(temperature_c, preparation.span_c)
    made = preparation.makes_msx and cut.keys() == {Modality.VISIBLE, Modality.INFRARED}
    if made:
        cut[Modality.MSX] = blend_msx(cut[Modality.VISIBLE], cut[Modality.INFRARED])
    return Cut(cut, temperature_c, made)


def find_face(laid: "Laid", detector: FaceDetector, least_px: float) -> tuple[Choice, str]:
    """Gives the face of a sample, and where it was found.

    Visible comes first. Where it shows no face at all, as in the dark, the others help: they lie on
    the visible picture, so a face found there is where it would be. The last resort is what is warm
    and has the shape of a head, and where degrees are known, the warmth of one.
    """
    height, width = next(iter(laid.pictures.values())).shape[:2]
    for modality, picture in laid.pictures.items():
        if faces := detector.find(picture):
            return choose_face(faces, width, height, least_px=least_px), str(modality)
    infrared = laid.pictures.get(Modality.INFRARED)
    face = None if infrared is None else find_warm_face(infrared)
    if face is not None and _is_as_warm_as_skin(face, laid.temperature_c):
        return choose_face([face], width, height, least_px=least_px), "warmth"
    return choose_face([], width, height), ""


def _is_as_warm_as_skin(
    face: Face, temperature_c: Float[np.ndarray, "height width"] | None
) -> bool:
    """Whether the middle of a face has the temperature of skin, or nobody knows."""
    if temperature_c is None:
        return True
    top, left = max(0, int(face.top + face.height / 4)), max(0, int(face.left + face.width / 4))
    middle = temperature_c[
        top : int(face.top + face.height * 3 / 4), left : int(face.left + face.width * 3 / 4)
    ]
    known = middle[np.isfinite(middle)]
    return bool(known.size) and _SKIN_C[0] <= float(np.median(known)) <= _SKIN_C[1]


@dataclass(frozen=True, eq=False)
class Laid:
    """The pictures of a sample in one frame.

    Attributes:
        pictures: By modality, all of one size; the first is the ground of the others.
        temperature_c: Of infrared, NaN where it doesn't reach; None where there are only colours.
        found: The registration of each that was moved.
        by: `registration`, or `camera`.
        covered: Where all pictures reach.
    """

    pictures: Pictures
    temperature_c: Float[np.ndarray, "height width"] | None
    found: dict[Modality, Registration]
    by: str
    covered: Bool[np.ndarray, "height width"]


def lay_on_visible(shot: Shot, preparation: Preparation) -> Laid:
    """Lays infrared and MSX on the visible picture, each by its own registration.

    Where the camera's file says how infrared lies, it is looked for nearby, and if that is not
    sure, the file is believed. MSX is made of both, so it is looked for where infrared lies first.
    Without a visible picture MSX takes its place; a picture alone stays as it is.

    Args:
        shot: As it was read.
        preparation: Whether to look at all; else all pictures are believed to lie where the
            camera's file says, or to show the same frame.
    """
    seen = shot.pictures
    ground = find_ground(seen)
    height, width = seen[ground].shape[:2]
    laid, motions, by = {ground: seen[ground]}, dict[Modality, Motion](), REGISTRATION
    found: dict[Modality, Registration] = {}
    covered = np.ones((height, width), bool)
    for modality in (m for m in MODALITIES if m in seen and m is not ground):
        placement = shot.placement if modality is Modality.INFRARED else None
        motion = placement or Motion()
        if preparation.aligns and (ground, modality) == (Modality.VISIBLE, Modality.INFRARED):
            found[modality], by = register_infrared(shot, preparation)
        elif preparation.aligns:
            near = motions.get(Modality.INFRARED)
            found[modality] = _lay_by_msx(shot, ground, modality, near, preparation)
        if modality in found:
            motion = found[modality].motion
        motions[modality] = motion
        laid[modality] = lay_on(seen[modality], motion, width, height, outside=None)
        filled = np.ones(seen[modality].shape[:2], np.uint8)
        covered &= lay_on(filled, motion, width, height) > 0
    temperature_c = shot.temperature_c
    if temperature_c is not None and ground is not Modality.INFRARED:
        temperature_c = lay_on(
            temperature_c, motions[Modality.INFRARED], width, height, outside=float("nan")
        )
    return Laid({m: laid[m] for m in MODALITIES if m in laid}, temperature_c, found, by, covered)


def _lay_by_msx(
    shot: Shot,
    ground: Modality,
    modality: Modality,
    infrared: Motion | None,
    preparation: Preparation,
) -> Registration:
    """Lays MSX on visible, first where infrared lies; or infrared on MSX."""
    below, picture = shot.pictures[ground], shot.pictures[modality]
    if modality is Modality.INFRARED:
        return register(below, picture if shot.temperature_c is None else shot.temperature_c)
    if infrared is not None:
        near = register(below, picture, start=infrared, reach=_NEAR)
        if near.passed:
            return near
    return register(below, picture, start=start_of(preparation))
