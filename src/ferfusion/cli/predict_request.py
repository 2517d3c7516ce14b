"""What somebody asks of `ferfusion predict`: sources, and how they are to be looked at."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ferfusion.errors import ConfigError, DataError
from ferfusion.imaging.video import SOUND_SUFFIXES, VIDEO_SUFFIXES, check_video_out
from ferfusion.inference.answer_lines import LineFormat, choose_format
from ferfusion.modality import Modality


class Kind(Enum):
    """What lies at a path."""

    PICTURE = "a picture"
    FOLDER = "a folder"
    VIDEO = "a video"


@dataclass(frozen=True)
class Request:
    """The command line, read.

    Attributes:
        sources: Path or address of each modality.
        data: A data set or a table instead.
        out: File of the answers.
        form: Of the answers; None goes by the ending, or by who reads.
        is_table: Whether the terminal's table is wanted wherever the standard output goes.
        overwrites: Whether files that are there may be replaced.
        finds_face: None means as is usual for the kind of source.
        like: A folder that `ferfusion prepare` wrote; faces are cut as there.
        motion: See `alignment.read_motion`.
        offset_s: How much later than the visible video the others were started.
        tolerance_s: How far apart frames of one moment may be; None goes by the rates.
        smooth_s: See `Smoother`; None is the usual.
        every: Frames from one look for the face to the next; None is the usual.
        video_out: File of the annotated video.
        is_live: Whether sources are cameras.
        seconds: When to stop; None goes on.
    """

    sources: Mapping[Modality, str]
    data: Path | None = None
    out: Path | None = None
    form: LineFormat | None = None
    is_table: bool = False
    overwrites: bool = False
    finds_face: bool | None = None
    like: Path | None = None
    motion: str | None = None
    offset_s: float | None = None
    tolerance_s: float | None = None
    smooth_s: float | None = None
    every: int | None = None
    video_out: Path | None = None
    is_live: bool = False
    seconds: float | None = None

    @property
    def is_for_programs(self) -> bool:
        """Whether lines go to the standard output, as a program reads them."""
        if self.is_table or self.out is not None:
            return False
        return self.form is not None or not sys.stdout.isatty()

    def check(self) -> None:
        """Refuses what makes no sense, before a model is loaded.

        Raises:
            ConfigError: Says what to do.
        """
        if self.data is not None and self.sources:
            raise ConfigError(
                "Give either DATA or --visible and --infrared (or --msx), not both: DATA says "
                "itself which pictures are there."
            )
        if self.data is None and not self.sources:
            raise ConfigError(
                "There is nothing to look at: give --visible FILE and --infrared FILE, two folders "
                "or videos likewise, or DATA. `ferfusion predict --help` shows each."
            )
        if self.is_live and self.data is not None:
            raise ConfigError("--live takes cameras: --visible 0 --infrared 2, and no DATA.")
        if self.is_live and self.offset_s is not None:
            raise ConfigError("--offset is for videos: live frames go by when they arrive.")
        choose_format(self.out, self.form)
        if self.video_out is not None:
            check_video_out(self.video_out)
        self._check_files()

    def _check_files(self) -> None:
        read = [Path(source).resolve() for source in self.sources.values()]
        read += [] if self.data is None else [self.data.resolve()]
        for option, file in (("--out", self.out), ("--video-out", self.video_out)):
            if file is None:
                continue
            if file.resolve() in read:
                raise ConfigError(f"{option} {file} is what is read: give it another name.")
            if file.is_dir():
                raise ConfigError(f"{option} {file} is a folder: give the name of a file.")
            if file.exists() and not self.overwrites:
                raise ConfigError(
                    f"{file} is there already: give {option} another name, or --overwrite."
                )

    def refuse_for_pictures(self) -> None:
        """Refuses options that only videos and cameras have.

        Raises:
            ConfigError: Names the first one.
        """
        given = {
            "--motion": self.motion, "--offset": self.offset_s, "--tolerance": self.tolerance_s,
            "--smooth": self.smooth_s, "--detect-every": self.every, "--video-out": self.video_out,
            "--seconds": self.seconds,
        }  # fmt: skip
        for option, value in given.items():
            if value is not None:
                raise ConfigError(f"{option} is for videos and cameras: leave it out for pictures.")


def find_kind(sources: Mapping[Modality, str]) -> Kind:
    """Says what all sources are.

    Raises:
        ConfigError: They are of different kinds.
        DataError: One is missing, or sound.
    """
    kinds = {modality: tell_kind(Path(source)) for modality, source in sources.items()}
    if len(set(kinds.values())) > 1:
        shown = " and ".join(f"{sources[m]} is {kind.value}" for m, kind in kinds.items())
        raise ConfigError(f"{shown}: give pictures, folders or videos of all modalities.")
    return next(iter(kinds.values()))


def tell_kind(path: Path) -> Kind:
    """Says what lies at a path, by its name.

    Raises:
        DataError: It is missing, or sound.
    """
    if not path.exists():
        raise DataError(f"There is nothing at {path.absolute()}. Check the spelling of the path.")
    if path.is_dir():
        return Kind.FOLDER
    suffix = path.suffix.lower()
    if suffix in SOUND_SUFFIXES:
        raise DataError(f"{path} is sound without pictures: give the video.")
    return Kind.VIDEO if suffix in VIDEO_SUFFIXES else Kind.PICTURE


def choose_seen(
    given: set[Modality], wanted: tuple[Modality, ...], *, finds_face: bool
) -> tuple[tuple[Modality, ...], bool]:
    """Gives which of the sources are looked at, and whether MSX-style pictures are made.

    Args:
        given: Modalities of the sources.
        wanted: What the model looks at.
        finds_face: Whether the visible picture helps to find the face.

    Raises:
        ConfigError: One is missing, or of no use.
    """
    makes_msx = (
        Modality.MSX in wanted
        and Modality.MSX not in given
        and {Modality.VISIBLE, Modality.INFRARED} <= given
    )
    missing = [m for m in wanted if m not in given and not (makes_msx and m is Modality.MSX)]
    if missing:
        hint = (
            " An MSX-style picture is made where --visible and --infrared are given."
            if missing == [Modality.MSX]
            else ""
        )
        raise ConfigError(
            f"This model looks at {' and '.join(wanted)}, and {' and '.join(missing)} is missing: "
            f"give {' and '.join(f'--{m}' for m in missing)}.{hint}"
        )
    useful = set(wanted)
    if makes_msx:
        useful |= {Modality.VISIBLE, Modality.INFRARED}
    if finds_face:
        useful.add(Modality.VISIBLE)
    if strange := [m for m in given if m not in useful]:
        raise ConfigError(
            f"This model looks at {' and '.join(wanted)}, not at {' and '.join(strange)}: leave "
            f"{' and '.join(f'--{m}' for m in strange)} out."
        )
    return tuple(m for m in Modality if m in given), makes_msx
