"""One sample prepared: read, laid on each other, cut to the face, completed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from ferfusion.imaging.faces.choosing import Choice, choose_face
from ferfusion.imaging.faces.crop import Crop, frame_face
from ferfusion.imaging.faces.detector import FaceDetector
from ferfusion.imaging.faces.warm_faces import find_warm_face
from ferfusion.imaging.files import decode_image, read_bytes
from ferfusion.imaging.msx import blend_msx
from ferfusion.imaging.registration.motion import Motion, lay_on
from ferfusion.imaging.registration.register import Registration, register
from ferfusion.imaging.registration.search import Reach
from ferfusion.modality import MODALITIES, Modality
from ferfusion.preparation.recipe import Preparation, Record
from ferfusion.sample import Sample

_NEAR = Reach(shift=0.03, angle_deg=2.0, scale=0.03)

Pictures = Mapping[Modality, UInt8[np.ndarray, "_ _ 3"]]


@dataclass(frozen=True)
class Prepared:
    """What became of a sample, and its pictures if it is kept; a sheet's worth if it isn't."""

    record: Record
    pictures: Pictures


def prepare_sample(
    sample: Sample, preparation: Preparation, detector: FaceDetector | None
) -> Prepared:
    """Prepares one sample; whatever keeps it out is a reason in its record.

    Args:
        sample: As a reader gave it.
        preparation: What is to be done.
        detector: Needed where faces are to be found.

    Raises:
        ImageError: A file of it is unusable.
    """
    files = {m: read_bytes(sample.images[m]) for m in MODALITIES if m in sample.images}
    record = Record(
        sample_id=sample.id,
        expression=sample.expression,
        subject=sample.subject or "",
        kept=False,
        source=hash_files(files),
    )
    seen = {m: decode_image(sample.images[m], data) for m, data in files.items()}
    laid, found = lay_on_visible(seen) if preparation.aligns else (_resize_alike(seen), {})
    if found:
        motion = next(iter(found.values())).motion
        quality = min(registration.quality for registration in found.values())
        record = replace(
            record, scale=motion.scale, dx_px=motion.dx_px, dy_px=motion.dy_px,
            angle_deg=motion.angle_deg, quality=quality,
        )  # fmt: skip
        if quality < preparation.least_quality:
            unsure = min(found, key=lambda modality: found[modality].quality)
            reason = f"{unsure} can't be laid on the {next(iter(laid))} picture with certainty"
            return Prepared(replace(record, reason=reason), laid)
    height, width = next(iter(laid.values())).shape[:2]
    crop = Crop((width - 1) / 2, (height - 1) / 2, max(height, width), 0.0)
    if preparation.finds_faces and detector is not None:
        choice, where = find_face(laid, detector, preparation.least_face_px)
        if choice.face is None:
            return Prepared(replace(record, reason=choice.reason or ""), laid)
        face = choice.face
        crop = frame_face(
            face, width, height,
            margin=preparation.margin, straightens=preparation.straightens,
        )  # fmt: skip
        record = replace(
            record, face_in=where, face_score=face.score, face_px=face.width,
            roll_deg=face.roll_deg,
        )  # fmt: skip
    cut = {m: crop.cut(picture, preparation.size_px) for m, picture in laid.items()}
    made = preparation.makes_msx and Modality.MSX not in cut and len(cut) == 2
    if made:
        cut[Modality.MSX] = blend_msx(cut[Modality.VISIBLE], cut[Modality.INFRARED])
    there = " ".join(str(m) for m in MODALITIES if m in cut)
    return Prepared(replace(record, kept=True, modalities=there, made_msx=made), cut)


def hash_files(files: Mapping[Modality, bytes]) -> str:
    """Gives a hash of a sample's files, by which a later run knows it again."""
    whole = hashlib.blake2b(digest_size=16)
    for modality, data in files.items():
        whole.update(f"{modality} {len(data)} ".encode())
        whole.update(data)
    return whole.hexdigest()


def find_face(laid: Pictures, detector: FaceDetector, least_px: float) -> tuple[Choice, str]:
    """Gives the face of a sample, and where it was found.

    Visible comes first. In the dark the others help: they lie on the visible picture, so a face
    found there is where it would be. The last resort is what is warm and has the shape of a head.
    """
    height, width = next(iter(laid.values())).shape[:2]
    first: Choice | None = None
    for modality in (m for m in MODALITIES if m in laid):
        choice = choose_face(detector.find(laid[modality]), width, height, least_px=least_px)
        if choice.face is not None:
            return choice, str(modality)
        first = first or choice
    if Modality.INFRARED in laid and (face := find_warm_face(laid[Modality.INFRARED])):
        choice = choose_face([face], width, height, least_px=least_px)
        if choice.face is not None:
            return choice, "warmth"
    return first or Choice(None, "no face was found"), ""


def lay_on_visible(seen: Pictures) -> tuple[Pictures, dict[Modality, Registration]]:
    """Lays infrared and MSX on the visible picture, each by its own registration.

    MSX is made of both, so it is looked for where infrared lies first. Without a visible picture
    MSX takes its place; a picture alone stays as it is.

    Returns:
        The pictures in the frame of the first, and the registration of each that was moved.
    """
    ground = next(m for m in (Modality.VISIBLE, Modality.MSX, Modality.INFRARED) if m in seen)
    height, width = seen[ground].shape[:2]
    laid, found = {ground: seen[ground]}, dict[Modality, Registration]()
    for modality in (m for m in MODALITIES if m in seen and m is not ground):
        near = found.get(Modality.INFRARED)
        registration = (
            register(seen[ground], seen[modality], start=near.motion, reach=_NEAR) if near else None
        )
        if registration is None or not registration.passed:
            registration = register(seen[ground], seen[modality])
        found[modality] = registration
        laid[modality] = lay_on(seen[modality], registration.motion, width, height)
    return laid, found


def _resize_alike(seen: Pictures) -> Pictures:
    """Brings all pictures to the size of the first, believed to show the same frame."""
    height, width = next(iter(seen.values())).shape[:2]
    return {m: lay_on(picture, Motion(), width, height) for m, picture in seen.items()}
