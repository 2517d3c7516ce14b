"""Pairs of pictures laid on each other: one, or all of two folders."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ferfusion.data.listing import list_pictures
from ferfusion.data.pairing import split_marker
from ferfusion.data.temperatures import find_degrees
from ferfusion.errors import DataError
from ferfusion.imaging.registration.motion import lay_on
from ferfusion.imaging.registration.refine import MotionKind
from ferfusion.imaging.registration.register import Registration
from ferfusion.modality import Modality
from ferfusion.preparation.placing import register_infrared
from ferfusion.preparation.recipe import Preparation
from ferfusion.preparation.shot import Shot, read_shot
from ferfusion.sample import ImageFile, Sample

COLUMNS = ("sample_id", "scale", "dx_px", "dy_px", "angle_deg", "quality", "passed")
AFFINE_COLUMNS = ("aspect", "skew")


@dataclass(frozen=True)
class PairOfFiles:
    """A visible and an infrared picture of one moment, and what they are called together."""

    name: str
    visible: ImageFile
    infrared: ImageFile


@dataclass(frozen=True)
class Aligned:
    """A pair after registration.

    Attributes:
        name: Of the pair.
        registration: None where a picture is unusable.
        by: `registration`, or `camera` where that wasn't sure and the camera's file is believed.
        reason: Why it is.
        visible: RGB.
        infrared: RGB, laid on the visible picture.
    """

    name: str
    registration: Registration | None
    by: str
    reason: str
    visible: UInt8[np.ndarray, "height width 3"] | None
    infrared: UInt8[np.ndarray, "_ _ 3"] | None


def pair_files(visible: Path, infrared: Path) -> tuple[list[PairOfFiles], list[str]]:
    """Gives the pairs of two files, or of two folders by name, and what is in none.

    In folders, names may differ in case, suffix, and the word for their modality
    (`001_vis.jpg`, `001_IR.png`).

    Raises:
        DataError: One is a folder and the other isn't, or no two names belong together.
    """
    for path in (visible, infrared):
        if not path.exists():
            raise DataError(
                f"There is nothing at {path.absolute()}. Check the spelling of the path."
            )
    if visible.is_dir() != infrared.is_dir():
        raise DataError(
            f"{visible} and {infrared} are a folder and a file: give two pictures or two folders."
        )
    if not visible.is_dir():
        pair = PairOfFiles(split_marker(visible.stem)[1], ImageFile(visible), ImageFile(infrared))
        return [pair], []
    sides = [_list_by_name(visible), _list_by_name(infrared, with_grids=True)]
    names = sorted(sides[0].keys() & sides[1].keys())
    if not names:
        shown = [next(iter(side), "nothing") for side in sides]
        raise DataError(
            f"No picture in {visible} has the name of one in {infrared} (such as '{shown[0]}' and "
            f"'{shown[1]}'): give the pictures of one moment the same name."
        )
    alone = [str(side[n]) for side in sides for n in sorted(side.keys() - set(names))]
    return [PairOfFiles(n, sides[0][n], sides[1][n]) for n in names], alone


def align_pairs(
    pairs: Sequence[PairOfFiles], kind: MotionKind, preparation: Preparation
) -> Iterator[Aligned]:
    """Gives each pair laid on each other, one at a time."""
    for pair in pairs:
        try:
            shot = read_pair(pair.visible, pair.infrared, preparation)
        except DataError as error:
            yield Aligned(pair.name, None, "", str(error), None, None)
            continue
        visible, infrared = shot.pictures[Modality.VISIBLE], shot.pictures[Modality.INFRARED]
        found, by = register_infrared(shot, preparation, kind)
        height, width = visible.shape[:2]
        laid = lay_on(infrared, found.motion, width, height)
        yield Aligned(pair.name, found, by, "", visible, laid)


def read_pair(visible: ImageFile, infrared: ImageFile, preparation: Preparation) -> Shot:
    """Reads two pictures of one moment; the infrared one may hold temperatures.

    Raises:
        DataError: A file is unusable.
    """
    images = {Modality.VISIBLE: visible, Modality.INFRARED: infrared}
    shot = read_shot(Sample("pair", "", None, images), preparation)
    if Modality.VISIBLE not in shot.pictures:
        raise DataError(
            f"{visible} holds temperatures and no photo, so it is no visible picture: name the "
            "picture of the visible camera first, then the infrared one."
        )
    return shot


def write_alignment(rows: Iterable[tuple[str, Registration]], kind: MotionKind) -> str:
    """Gives the text of alignment.csv: the motion that was applied to infrared."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    is_affine = kind == "affine"
    writer.writerow((*COLUMNS, *(AFFINE_COLUMNS if is_affine else ())))
    for name, found in rows:
        motion = found.motion
        row = [
            name, f"{motion.scale:.4f}", f"{motion.dx_px:.2f}", f"{motion.dy_px:.2f}",
            f"{motion.angle_deg:.2f}", f"{found.quality:.3f}", "yes" if found.passed else "no",
        ]  # fmt: skip
        if is_affine:
            row += [f"{motion.aspect:.4f}", f"{motion.skew:.4f}"]
        writer.writerow(row)
    return text.getvalue()


def _list_by_name(folder: Path, *, with_grids: bool = False) -> dict[str, ImageFile]:
    pictures, _ = list_pictures(folder, with_grids=with_grids)
    named: dict[str, ImageFile] = {}
    for picture in pictures:
        stem = split_marker(picture.inside.stem)[1].casefold()
        name = str(picture.inside.with_name(stem))
        # Degrees say more than the picture they lie beside.
        file = (find_degrees(picture.file) if with_grids else None) or picture.file
        if named.setdefault(name, file) != file:
            raise DataError(f"{file} and {named[name]} have the same name: rename one of them.")
    return named
