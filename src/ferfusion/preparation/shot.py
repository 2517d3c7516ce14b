"""What the files of one sample show: pictures, and temperatures where a camera file holds them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import DataError
from ferfusion.imaging.camera.grids import parse_scale
from ferfusion.imaging.camera.kinds import LEVELS, recognise
from ferfusion.imaging.camera.opening import open_thermogram
from ferfusion.imaging.camera.thermogram import CameraSettings, Thermogram
from ferfusion.imaging.camera.triple import fill_frame, find_lit
from ferfusion.imaging.file_bytes import read_bytes
from ferfusion.imaging.files import decode_image
from ferfusion.imaging.palette import show_heat
from ferfusion.imaging.registration.motion import Motion
from ferfusion.modality import MODALITIES, Modality
from ferfusion.preparation.recipe import Preparation
from ferfusion.sample import ImageFile, Sample

Pictures = Mapping[Modality, UInt8[np.ndarray, "_ _ 3"]]


@dataclass(frozen=True, eq=False)
class Shot:
    """One moment as its files show it, each picture in its own frame.

    Attributes:
        pictures: By modality; infrared in false colours.
        temperature_c: Of infrared, in the same frame; None where its file holds colours only.
        placement: How infrared lies on visible, by what the camera wrote; None where it didn't.
        source: A hash of the files, by which a later run knows them again.
    """

    pictures: Pictures
    temperature_c: Float[np.ndarray, "rows columns"] | None
    placement: Motion | None
    source: str
    lit: tuple[slice, slice] | None = None


def read_shot(sample: Sample, preparation: Preparation) -> Shot:
    """Reads the files of a sample.

    A radiometric camera file gives temperatures, whatever modality its name says; the photo in it
    is the visible picture of a sample that has no other. The camera's word on how infrared lies
    counts where the visible picture is that photo, from within the file or saved beside it.

    Raises:
        DataError: A file is unusable, or holds counts that nobody gave a scale for.
    """
    files = {m: read_bytes(sample.images[m]) for m in MODALITIES if m in sample.images}
    radiometric = [m for m in files if _holds_temperatures(sample.images[m], files[m], preparation)]
    source = max(radiometric, key=lambda m: m is Modality.INFRARED, default=None)
    thermogram = None if source is None else _open(sample.images[source], preparation)
    pictures: dict[Modality, UInt8[np.ndarray, "_ _ 3"]] = {}
    for modality, data in files.items():
        file = sample.images[modality]
        if modality is source or (thermogram and modality is Modality.INFRARED):
            continue
        if modality is Modality.VISIBLE and modality in radiometric:
            # A second camera file stands for the photo in it.
            photo = _open(file, preparation).photo
            pictures |= {} if photo is None else {modality: photo}
            continue
        _refuse_counts(modality, file, data)
        pictures[modality] = decode_image(file, data)
    if thermogram is None:
        return Shot(pictures, None, None, hash_files(files))
    pictures[Modality.INFRARED] = show_heat(thermogram.temperature_c, preparation.span_c)
    placement = None
    if thermogram.photo is not None:
        visible = pictures.setdefault(Modality.VISIBLE, thermogram.photo)
        if _show_the_same(visible, thermogram.photo):
            placement = thermogram.placement
    ordered = {m: pictures[m] for m in MODALITIES if m in pictures}
    lit = None
    if Modality.VISIBLE in ordered:
        photo = ordered[Modality.VISIBLE]
        ordered[Modality.VISIBLE], lit = fill_frame(photo), find_lit(photo)
    return Shot(ordered, thermogram.temperature_c, placement, hash_files(files), lit)


def hash_files(files: Mapping[Modality, bytes]) -> str:
    """Gives a hash of a sample's files."""
    whole = hashlib.blake2b(digest_size=16)
    for modality, data in files.items():
        whole.update(f"{modality} {len(data)} ".encode())
        whole.update(data)
    return whole.hexdigest()


def _holds_temperatures(file: ImageFile, data: bytes, preparation: Preparation) -> bool:
    if file.member is not None:
        return False
    kind = recognise(file.path.name, data)
    # Without a scale, 16-bit pictures are pictures, as they are for `study`.
    wanted = ("temperatures",) if preparation.scale is None else ("temperatures", "counts")
    return kind.is_read and kind.holds in wanted


def _refuse_counts(modality: Modality, file: ImageFile, data: bytes) -> None:
    """Refuses a sensor's counts as a visible picture; as infrared they are at least a pattern."""
    if modality is Modality.VISIBLE and recognise(file.path.name, data) == LEVELS:
        raise DataError(
            f"{file} holds 16-bit counts of a sensor, so it is no photograph: give --scale if it "
            "is infrared, or put it into a folder called infrared to use its mere pattern."
        )


def _show_the_same(first: UInt8[np.ndarray, "_ _ 3"], second: UInt8[np.ndarray, "_ _ 3"]) -> bool:
    """Whether two pictures are one, apart from how they were saved."""
    return first.shape == second.shape and cv2.norm(first, second, cv2.NORM_L1) < 5 * first.size


def _open(file: ImageFile, preparation: Preparation) -> Thermogram:
    scale = None if preparation.scale is None else parse_scale(preparation.scale)
    overrides = CameraSettings(emissivity=preparation.emissivity)
    return open_thermogram(file.path, scale=scale, overrides=overrides)
