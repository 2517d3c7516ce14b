"""Pairs of pictures laid on each other: one, or all of two folders."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ferfusion.data.pairing import split_marker
from ferfusion.data.side_by_side import pair_folders
from ferfusion.data.table import read_rows
from ferfusion.errors import DataError
from ferfusion.imaging.registration.motion import Motion, lay_on
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
    folders = {Modality.VISIBLE: visible, Modality.INFRARED: infrared}
    samples, alone = pair_folders(folders, prefers_degrees=True)
    pairs = [
        PairOfFiles(s.id, s.images[Modality.VISIBLE], s.images[Modality.INFRARED]) for s in samples
    ]
    return pairs, [str(file) for file in alone]


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


def read_motion(given: str) -> Motion:
    """Gives a motion from what `write_alignment` wrote: the path of the file, or a line of it.

    Of a file it is the motion of the pair with the best quality.

    Raises:
        DataError: It is neither.
    """
    path = Path(given)
    columns: Sequence[str] = (*COLUMNS, *AFFINE_COLUMNS)
    if path.suffix.lower() == ".csv" or path.is_file():
        named, rows = read_rows(path)
        lines = [row for _, row in rows]
        if missing := [name for name in COLUMNS if name not in named]:
            raise DataError(
                f"{path} has no column {', '.join(missing)}: give the alignment.csv that "
                "`ferfusion align` wrote."
            )
    else:
        cells = [cell.strip() for cell in given.split(",")]
        if len(cells) not in (len(COLUMNS), len(columns)):
            raise DataError(
                f"'{given}' is neither a file nor a line of the alignment.csv that `ferfusion "
                f"align` writes ({','.join(COLUMNS)})."
            )
        lines = [dict(zip(columns, cells, strict=False))]
    try:
        best = max(lines, key=lambda line: float(line["quality"]))
        numbers = {name: float(best[name]) for name in columns[1:5]}
        numbers |= {name: float(best[name]) for name in AFFINE_COLUMNS if best.get(name)}
    except ValueError as error:
        raise DataError(f"{given} holds no motion that can be read ({error}).") from error
    motion = Motion(**numbers)
    if not (all(math.isfinite(number) for number in numbers.values()) and motion.scale > 0):
        raise DataError(f"{given} holds a motion that makes no sense: {motion}.")
    return motion
