"""Which pictures lie in a folder or a zip archive, and which files there are not pictures."""

import os
import zipfile
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from ferfusion.data.dataset import Leftover
from ferfusion.errors import DataError
from ferfusion.imaging.camera.kinds import HEAD_BYTES
from ferfusion.imaging.camera.text_grid import holds_grid
from ferfusion.impostors import recognise_impostor
from ferfusion.sample import ImageFile
from ferfusion.unpacking import ZIP_DAMAGE

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
BESIDE_EXTRACTED = (".temperature.npy", ".temperature.tiff", ".photo.png")
"""Ends of what `ferfusion camera extract` writes beside NAME.infrared.png."""

# Notes, tables and what Windows leaves behind: expected beside pictures, not worth a word.
_QUIET_SUFFIXES = frozenset({".csv", ".db", ".htm", ".html", ".ini", ".json", ".md", ".pdf", ".txt",
                             ".xml", ".yaml", ".yml"})  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture or a grid, by its suffix, and its path inside the listed folder or archive."""

    file: ImageFile
    inside: PurePosixPath


def list_pictures(place: Path, *, with_grids: bool = False) -> tuple[list[Picture], list[Leftover]]:
    """Lists the pictures in a folder or zip archive, at any depth, sorted by path.

    Hidden files, `__MACOSX` and notes (text, tables, Thumbs.db) are passed over, and what our own
    commands write beside infrared pictures. Links to folders are followed, each folder once.

    Args:
        place: The folder or archive.
        with_grids: Whether files of numbers in a folder (NumPy, CSV) count as pictures, too.

    Returns:
        The pictures, by suffix (only text is opened, for a look at its beginning); and every other
        file as a leftover.

    Raises:
        DataError: The archive is damaged, or a folder may not be read.
    """
    members = list(_walk_folder(place) if place.is_dir() else _walk_archive(place))
    names = {str(inside) for _, inside in members}
    pictures: list[Picture] = []
    leftovers: list[Leftover] = []
    for file, inside in sorted(members, key=lambda member: str(member[1])):
        suffix = inside.suffix.lower()
        if _leads_out(inside):
            why = "has a path that leads out of its archive; pack the archive again without it"
            leftovers.append(Leftover(file, why))
            continue
        if any(part.startswith(".") or part == "__MACOSX" for part in inside.parts):
            continue
        if not _is_text(str(inside)):
            leftovers.append(Leftover(file, "has a name that is not UTF-8 text; rename it"))
        elif _is_beside(inside, names):
            continue
        elif suffix in PICTURE_SUFFIXES or (with_grids and _is_grid(file)):
            pictures.append(Picture(file, inside))
        elif suffix == ".zip":
            leftovers.append(Leftover(file, "is an archive; unpack it if its pictures belong here"))
        elif suffix not in _QUIET_SUFFIXES:
            kinds = ", ".join(sorted(s[1:] for s in PICTURE_SUFFIXES))
            leftovers.append(Leftover(file, f"is not a picture by its suffix ({kinds})"))
    return pictures, leftovers


def _is_beside(inside: PurePosixPath, names: Set[str]) -> bool:
    """Whether `prepare` or `camera extract` wrote it beside an infrared picture."""
    for ending in BESIDE_EXTRACTED:
        if (stem := inside.name.removesuffix(ending)) != inside.name:
            return str(inside.with_name(f"{stem}.infrared.png")) in names
    return inside.suffix == ".npy" and "temperature" in inside.parts


def _is_grid(file: ImageFile) -> bool:
    """Whether a file is a grid; text, which may be any table, by its beginning."""
    if not file.is_grid or file.path.suffix.lower() in (".npy", ".npz"):
        return file.is_grid
    try:
        # A pipe would be waited for.
        if not file.path.is_file():
            return False
        with file.path.open("rb") as stream:
            return holds_grid(stream.read(HEAD_BYTES))
    except OSError:
        return False


def _leads_out(inside: PurePosixPath) -> bool:
    """Whether a path is absolute, also on Windows, or goes up."""
    return bool(PureWindowsPath(inside).anchor) or ".." in inside.parts


def _is_text(name: str) -> bool:
    """Whether a name can be written into tables; Linux allows file names that can't."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk_folder(root: Path) -> Iterator[tuple[ImageFile, PurePosixPath]]:
    def refuse(error: OSError) -> None:
        raise DataError(
            f"The folder {error.filename} can't be read ({error.strerror}). Change its "
            "permissions, or move it out of the data."
        ) from error

    seen: set[Path] = set()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:
            subfolders.clear()
            continue
        seen.add(here.resolve())
        # Sorted, so that of two links to one folder always the same one is followed.
        subfolders.sort()
        for name in names:
            path = here / name
            yield ImageFile(path), PurePosixPath(path.relative_to(root).as_posix())


def find_damaged_archives(paths: Iterable[Path]) -> list[str]:
    """Tries every archive; gives a sentence for each that can't be listed."""
    sentences: list[str] = []
    for path in paths:
        try:
            list(_walk_archive(path))
        except DataError as error:
            sentences.append(str(error))
    return sentences


def _walk_archive(path: Path) -> Iterator[tuple[ImageFile, PurePosixPath]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
    except ZIP_DAMAGE as error:
        with path.open("rb") as stream:
            why = recognise_impostor(stream.read(256))
        raise DataError(
            f"{path} {why or 'is damaged or no zip archive: download or copy it again.'}"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} can't be read ({error.strerror}). Check its permissions and its disk."
        ) from error
    for member in members:
        yield ImageFile(path, member), PurePosixPath(member.replace("\\", "/"))
