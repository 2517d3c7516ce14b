"""How a data set is prepared, and what became of each sample, as plain values."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ferfusion.errors import ConfigError, DataError
from ferfusion.imaging.camera.grids import parse_scale
from ferfusion.imaging.camera.thermogram import CameraSettings
from ferfusion.imaging.faces.choosing import LEAST_PX
from ferfusion.imaging.faces.crop import MARGIN
from ferfusion.imaging.registration.quality import PASSING_QUALITY


@dataclass(frozen=True)
class Preparation:
    """What is done to each sample.

    Attributes:
        size_px: Side of the pictures that come out.
        finds_faces: Whether pictures are cut to the face, or to a square around what all show.
        margin: Around the face's box, in parts of its longer side.
        straightens: Whether the eyes become level.
        least_face_px: Narrower faces are kept out.
        aligns: Whether infrared and MSX are laid on the visible picture, or believed to lie there.
        least_quality: Of a registration, below which a sample is kept out.
        infrared_covers: About how much of the visible picture's width infrared shows, where the
            camera's file doesn't say it; None for all of it.
        makes_msx: Whether a missing MSX picture is made from the other two.
        span_c: Temperatures of the first and the last colour of infrared pictures made of
            temperatures; None spreads the colours over each picture.
        emissivity: To calculate FLIR's temperatures with; None for what the camera was told.
        scale: Of 16-bit files: a name, or GAIN,OFFSET; None takes them as mere pictures.
    """

    size_px: int = 224
    finds_faces: bool = True
    margin: float = MARGIN
    straightens: bool = True
    least_face_px: int = LEAST_PX
    aligns: bool = True
    least_quality: float = PASSING_QUALITY
    infrared_covers: float | None = None
    makes_msx: bool = True
    span_c: tuple[float, float] | None = None
    emissivity: float | None = None
    scale: str | None = None

    def check(self) -> None:
        """Refuses what makes no sense, before anything is read.

        Raises:
            ConfigError: A value makes no sense.
        """
        for name in ("margin", "least_quality"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"--{name.replace('_', '-')} must be a number.")
        if self.infrared_covers is not None and not 0.2 <= self.infrared_covers <= 5:
            raise ConfigError(
                f"--infrared-covers is {self.infrared_covers:g}, but must be from 0.2 to 5: 0.7 if "
                "infrared shows 70 % of the visible picture's width."
            )
        if self.scale is not None:
            parse_scale(self.scale)
        CameraSettings(emissivity=self.emissivity).check()
        if self.span_c is not None and not self.span_c[0] < self.span_c[1]:
            raise ConfigError(
                f"The span must rise, but it goes from {self.span_c[0]:g} to {self.span_c[1]:g} °C."
            )

    def to_json(self) -> dict[str, Any]:
        """Gives plain values for a file of settings."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Preparation":
        """Reads what `to_json` gave; what else is there, and what isn't, doesn't matter.

        Raises:
            DataError: A value makes no sense.
        """
        known = {f.name: values[f.name] for f in fields(Preparation) if f.name in values}
        try:
            if known.get("span_c") is not None:
                known["span_c"] = tuple(float(end) for end in known["span_c"])
            for name in {"size_px", "least_face_px"} & known.keys():
                known[name] = int(known[name])
            made = Preparation(**known)
            made.check()
        except (TypeError, ValueError) as error:
            raise DataError(f"settings of a preparation can't be read ({error})") from error
        return made


@dataclass(frozen=True)
class Record:
    """What became of one sample; a line of prepared.csv.

    Attributes:
        sample_id: As the reader named it.
        expression: Its class; empty where nobody said.
        subject: Who it is; empty where nobody said.
        kept: Whether it is in the data set.
        reason: Why not; or empty.
        modalities: What there is of it, made ones included, joined by spaces.
        made_msx: Whether the MSX picture was made here.
        has_temperatures: Whether there are degrees of it, too.
        face_in: Where the face was found: a modality, `warmth`, or empty.
        face_score: How sure, 0 to 1.
        face_px: How wide the face is, in pixels of the picture it was found in.
        roll_deg: How far it was turned clockwise before.
        beyond_edge: How much of the square, 0 to 1, lies beyond the edge of some modality's
            picture. There the edge is repeated, and there are no degrees.
        scale: Of the motion of infrared against visible; empty where nothing was registered.
        dx_px: Likewise, in pixels of the visible picture.
        dy_px: Likewise.
        angle_deg: Likewise.
        quality: Of the registration, 0 to 1.
        laid_by: How it was found where infrared lies: `registration`, `camera` (what its file says,
            where the registration wasn't sure), or empty.
        source: Of what files it was made: a hash of their bytes.
    """

    sample_id: str
    expression: str
    subject: str
    kept: bool
    reason: str = ""
    modalities: str = ""
    made_msx: bool = False
    has_temperatures: bool = False
    face_in: str = ""
    face_score: float | None = None
    face_px: float | None = None
    roll_deg: float | None = None
    beyond_edge: float | None = None
    scale: float | None = None
    dx_px: float | None = None
    dy_px: float | None = None
    angle_deg: float | None = None
    quality: float | None = None
    laid_by: str = ""
    source: str = ""

    def to_row(self) -> dict[str, str]:
        """Gives the words of a CSV line."""
        return {f.name: _write(getattr(self, f.name)) for f in fields(self)}

    @staticmethod
    def from_row(row: dict[str, str]) -> "Record":
        """Reads what `to_row` gave.

        Raises:
            DataError: A column is missing or holds something else.
        """
        try:
            return Record(**{f.name: _read(row[f.name], str(f.type)) for f in fields(Record)})
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"a line of prepared.csv can't be read ({error})") from error


def write_records(records: Iterable[Record]) -> str:
    """Gives the text of prepared.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Record)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(record.to_row() for record in records)
    return text.getvalue()


def read_records(path: Path) -> list[Record]:
    """Reads prepared.csv, or what there is of one that was being written.

    Raises:
        DataError: A line is none of ours.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        lines: Sequence[dict[str, str]] = list(csv.DictReader(stream))
    try:
        return [Record.from_row(line) for line in lines]
    except DataError as error:
        raise DataError(f"{path}: {error}; remove the folder and prepare again.") from error


def _write(value: str | bool | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _read(text: str, kind: str) -> Any:
    if "bool" in kind:
        if text not in ("yes", "no"):
            raise ValueError(f"'{text}' is neither yes nor no")
        return text == "yes"
    if "float" in kind:
        return float(text) if text else None
    return text
