"""Every exception a caller may want to catch.

    FerfusionError               something the user can mend; the CLI prints it and exits with 2
    ├── ConfigError              an option, a name or a config file that makes no sense
    ├── DataError                a folder, table or archive that can't be understood
    │   ├── ImageError           one file that is not a usable image
    │   │   └── TooManyPixelsError   one that would take too much memory
    │   ├── ArchiveError         a zip archive that is damaged, or that it isn't safe to unpack
    │   ├── VideoError           a video or a live camera that gives no frames
    │   ├── ThermogramError      one camera file from which no temperatures can be had
    │   │   └── NoScaleError     its numbers are counts, and nobody said what a count is
    │   └── BrokenFilesError     all the unusable image files of a data set, at once
    ├── DownloadError            a file that can't be had, or isn't what was published
    ├── SplitError               a split that can't be drawn, read or used
    ├── CheckpointError          a checkpoint that is damaged, missing or doesn't fit
    ├── ParityError              an exported model that isn't the trained one
    ├── WeightsError             pretrained weights that can't be had or don't fit
    ├── ResultsError             results that stand in the way, or are missing
    └── StudyError               runs of a study that failed; everything else is kept

Messages are whole sentences: what happened, where, and what to do next. Anything else that
escapes is a bug of ours.
"""

import difflib
import errno
from collections.abc import Iterable, Sequence

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_EXTRAS = {
    **dict.fromkeys(
        (
            *("torch", "torchvision", "timm", "lightning_fabric", "safetensors"),
            *("sklearn", "scipy", "matplotlib"),
        ),
        "train",
    ),
    "onnxruntime": "runtime",
    "captum": "explain",
}
"""Which extra brings a package (pyproject.toml)."""


class FerfusionError(Exception):
    """Something the user can mend; the message says how."""


class ConfigError(FerfusionError):
    """An option, a name or a config file makes no sense."""


class DataError(FerfusionError):
    """A folder, table or archive can't be understood as a data set."""


class ImageError(DataError):
    """One file is not a usable image. The message names the file and what to do."""


class TooManyPixelsError(ImageError):
    """A picture that was not decoded, since it would take too much memory."""


class ArchiveError(DataError):
    """A zip archive is damaged, or it isn't safe to unpack it."""


class VideoError(DataError):
    """A video or a live camera gives no frames. The message says which and what to do."""


class ThermogramError(DataError):
    """No temperatures can be had from one camera file. The message says why and what to do."""


class NoScaleError(ThermogramError):
    """A file holds counts of a sensor, and nobody said what a count is."""


class BrokenFilesError(DataError):
    """Some image files of a data set can't be used; all of them are listed at once."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        count = len(self.sentences)
        opening = (
            "1 image file can't be used. Mend or remove it, then run again:"
            if count == 1
            else f"{count} image files can't be used. Mend or remove them, then run again:"
        )
        super().__init__("\n  ".join((opening, *self.sentences)))


class DownloadError(FerfusionError):
    """A file can't be downloaded, or what comes isn't what was published."""


class SplitError(FerfusionError):
    """A split can't be drawn, read or used with this data."""


class CheckpointError(FerfusionError):
    """A checkpoint is damaged, missing or doesn't fit what is asked of it."""


class ParityError(FerfusionError):
    """An exported model doesn't say what the trained one says."""


class WeightsError(FerfusionError):
    """Pretrained weights can't be had, or don't fit the backbone."""


class ResultsError(FerfusionError):
    """Results stand in the way of new ones, or are missing."""


class StudyError(FerfusionError):
    """Some runs of a study failed; the rest is kept."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        shown = "\n".join(f"  {sentence}" for sentence in self.sentences[:20])
        more = f"\n  and {len(self.sentences) - 20} more" if len(self.sentences) > 20 else ""
        runs = "1 run" if len(self.sentences) == 1 else f"{len(self.sentences)} runs"
        super().__init__(
            f"{runs} failed. Everything else is kept; mend what is named here, "
            f"and the same line does what is missing:\n{shown}{more}"
        )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Says that a name is unknown and which known one is nearest.

    >>> unknown_name("backbone", "resnet-18", ["resnet18", "vgg16"])
    "There is no backbone 'resnet-18'. Did you mean 'resnet18'? Known: resnet18, vgg16."
    """
    names = list(known)
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"There is no {kind} '{name}'.{hint} Known: {shown}."


def is_disk_full(error: BaseException) -> bool:
    """Says whether the system refused to write because no room is left, or none for this user."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL


def find_remedy(error: BaseException, extra: str | None = None) -> str | None:
    """Gives the sentence for what the user can mend; None for a fault of ours.

    Args:
        error: What was raised.
        extra: What brings all that the command needs; None names what brings the one package.

    >>> find_remedy(PermissionError(13, "Permission denied", "notes.csv"))
    "notes.csv can't be read or written: Permission denied. Choose another place, or change its \
permissions."
    >>> find_remedy(OSError(5, "Input/output error")) is None
    True
    """
    if isinstance(error, FerfusionError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (brings := _EXTRAS.get(error.name or "")):
        return (
            f"This needs {error.name}, which is not installed: pip install "
            f"'ferfusion[{extra or brings}]'."
        )
    if is_disk_full(error):
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return (
            f"The disk is full, or your share of it{where}. Make room, or put --out and --cache on "
            "another disk; what was finished is kept, and the same line goes on."
        )
    # Of a file the user named; anything else that the system refuses is a bug of ours.
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"{error.filename} can't be read or written: {error.strerror}. Choose another place, "
            "or change its permissions."
        )
    return None
