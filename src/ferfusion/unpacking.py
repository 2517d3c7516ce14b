"""Zip archives of strangers: nothing leads out of the folder, nothing swells, whole or not at all.

The archive's whole list of members is checked before the first byte is written.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from ferfusion.atomic import making_folder
from ferfusion.errors import ArchiveError
from ferfusion.impostors import recognise_impostor
from ferfusion.locks import hold

_CHUNK_BYTES = 2**18
_SMALL_BYTES = 2**20
"""What grows no further than this isn't worth a refusal."""
_LIST_BYTES_PER_MEMBER = 1024
_MAX_NAME_BYTES, _MAX_PATH_BYTES, _MAX_DEPTH = 255, 1024, 32
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?", re.IGNORECASE)
ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError),
    *(IndexError, KeyError, OverflowError),
)
"""What zipfile raises on damaged archives, found by changing bytes in them; and OSError."""


@dataclass(frozen=True)
class Limits:
    """What an archive of pictures stays far below.

    Attributes:
        members: In its list.
        member_bytes: Of one member, unpacked.
        total_bytes: Of all members, unpacked.
        ratio: Unpacked to packed size, of one member and of all. Pictures hardly shrink.
    """

    members: int = 20_000
    member_bytes: int = 64 * 2**20
    total_bytes: int = 4 * 2**30
    ratio: int = 100


@dataclass(frozen=True)
class Unpacked:
    """How many files were written, and which were left in the archive, being of another kind.

    Hidden files and `__MACOSX` are left without a word.
    """

    files: int
    left: tuple[str, ...]


_Members = Sequence[tuple[zipfile.ZipInfo, PurePosixPath]]


def unpack_zip(
    archive: Path, folder: Path, *, suffixes: frozenset[str], limits: Limits | None = None
) -> Unpacked | None:
    """Unpacks an archive into a new folder.

    Args:
        archive: A zip file. Backslashes in its paths count as slashes.
        folder: Appears whole, or not at all. If it is there already, nothing is done.
        suffixes: Of the files to unpack: lower case, with the dot.
        limits: What it may hold at most.

    Returns:
        What was done; None if the folder was there.

    Raises:
        ArchiveError: It is damaged, locked with a password, or not safe to unpack.
    """
    limits = limits or Limits()
    with hold(folder), archive.open("rb") as stream:
        if folder.is_dir():
            return None
        if folder.exists():
            raise ArchiveError(
                f"{archive} can't be unpacked: {folder} is in the way. Move it away."
            )
        with _explaining_damage(archive):
            _check_list_size(archive, stream, limits)
            unpacker = zipfile.ZipFile(stream)
        with unpacker:
            shown = [
                (info, path)
                for info, path in _check_members(archive, unpacker, limits)
                if not any(name.startswith(".") or name == "__MACOSX" for name in path.parts)
            ]
            wanted = [(info, path) for info, path in shown if path.suffix.lower() in suffixes]
            with making_folder(folder) as part:
                for info, path in wanted:
                    _write(archive, unpacker, info, part / path)
        left = tuple(str(path) for _, path in shown if path.suffix.lower() not in suffixes)
        return Unpacked(len(wanted), left)


def _check_list_size(archive: Path, stream: IO[bytes], limits: Limits) -> None:
    """Looks at the archive's end, before zipfile reads its list of members into memory."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - 2**16 - 22))
    tail = stream.read()
    end = tail.rfind(b"PK\5\6")
    if end >= 0 and len(tail) >= end + 22:
        (list_bytes,) = struct.unpack_from("<L", tail, end + 12)
        if list_bytes == 0xFFFFFFFF:  # zip64: the true number stands further up
            (at,) = struct.unpack_from("<Q", tail, end - 20 + 8)
            stream.seek(at + 40)
            (list_bytes,) = struct.unpack("<Q", stream.read(8))
        if list_bytes > limits.members * _LIST_BYTES_PER_MEMBER:
            raise _too_much(archive, f"lists more than {limits.members:,} files")
    stream.seek(0)


def _check_members(archive: Path, unpacker: zipfile.ZipFile, limits: Limits) -> _Members:
    infos = unpacker.infolist()
    if len(infos) > limits.members:
        raise _too_much(archive, f"lists more than {limits.members:,} files")
    members: list[tuple[zipfile.ZipInfo, PurePosixPath]] = []
    taken: dict[str, str] = {}
    for info in infos:
        path = _check_path(archive, info)
        _check_kind(archive, info, limits)
        if info.is_dir() or not path.parts:
            continue
        # Some file systems take a name in other letters, or with a dot or blank behind it, for
        # the same.
        key = "/".join(part.rstrip(" .") for part in path.parts).casefold()
        if key in taken:
            raise _unsafe(archive, f"holds two files for one place, {taken[key]} and {path}")
        taken[key] = str(path)
        members.append((info, path))
    for key in taken:
        above = (str(parent) for parent in PurePosixPath(key).parents)
        if clash := next((parent for parent in above if parent in taken), None):
            raise _unsafe(archive, f"holds {taken[clash]} as a file and as a folder")
    _check_sizes(archive, [info for info, _ in members], unpacker.start_dir, limits)
    return members


def _check_path(archive: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    # zipfile cuts a name at a zero byte; orig_filename keeps it.
    name = info.orig_filename.replace("\\", "/")
    path = PurePosixPath(name)
    if PureWindowsPath(name).anchor or ".." in path.parts or path.is_absolute():
        raise _unsafe(archive, f"holds a file whose path leads out of it, {name!r}")
    if not name.isprintable():
        raise _unsafe(archive, f"holds a file with invisible signs in its name, {name[:80]!r}")
    if (
        len(path.parts) > _MAX_DEPTH
        or len(name.encode()) > _MAX_PATH_BYTES
        or any(len(part.encode()) > _MAX_NAME_BYTES for part in path.parts)
    ):
        raise _unsafe(archive, f"holds a file with too long a path, {name[:80]!r}...")
    if any(_DEVICES.fullmatch(part.rstrip(" .")) for part in path.parts):
        raise _unsafe(archive, f"holds a file named as a device, {name!r}")
    return path


def _check_kind(archive: Path, info: zipfile.ZipInfo, limits: Limits) -> None:
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _unsafe(archive, f"holds {info.filename!r}, which is a link or a device, not a file")
    if info.flag_bits & 0x41:
        raise ArchiveError(
            f"{archive} is locked with a password: unpack it yourself, and give the folder."
        )
    # Others may ask for gigabytes of memory.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(
            f"{archive} is packed in an unusual way (method {info.compress_type}): unpack it "
            "yourself, and give the folder."
        )
    if info.file_size > limits.member_bytes:
        raise _too_much(archive, f"holds {info.filename!r} of {info.file_size / 2**20:,.0f} MiB")


def _check_sizes(
    archive: Path, infos: Sequence[zipfile.ZipInfo], list_at: int, limits: Limits
) -> None:
    """Refuses bombs: members that swell, and members that share their packed bytes."""
    swelling = [(i.filename, i.file_size, i.compress_size) for i in infos]
    total = sum(i.file_size for i in infos)
    swelling.append(("all its files together", total, sum(i.compress_size for i in infos)))
    for what, unpacked, packed in swelling:
        if unpacked > max(_SMALL_BYTES, limits.ratio * packed):
            raise _too_much(archive, f"swells to more than {limits.ratio} times its size ({what})")
    if total > limits.total_bytes:
        raise _too_much(archive, f"holds {total / 2**30:,.1f} GiB")
    in_order = sorted(infos, key=lambda info: info.header_offset)
    starts = [*(info.header_offset for info in in_order[1:]), list_at]
    for info, next_start in zip(in_order, starts, strict=False):
        if info.header_offset + 30 + info.compress_size > next_start:
            raise _unsafe(archive, f"uses the same bytes twice (from {info.filename!r} on)")


def _write(archive: Path, unpacker: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _explaining_damage(archive):
            source = unpacker.open(info)
        written = 0
        with source, path.open("xb") as target:
            while True:
                with _explaining_damage(archive):
                    data = source.read(_CHUNK_BYTES)
                if not data:
                    break
                written += target.write(data)
    except OSError as error:
        raise ArchiveError(
            f"{archive} can't be unpacked to {path.parent} ({error.strerror or error}). Make room, "
            "or choose another place."
        ) from error
    if written != info.file_size:
        raise _damaged(archive, f"{info.filename!r} is cut short")


@contextmanager
def _explaining_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except (*ZIP_DAMAGE, OSError) as error:
        with archive.open("rb") as stream:
            impostor = recognise_impostor(stream.read(256))
        if impostor is not None:
            raise ArchiveError(f"{archive} {impostor}") from error
        raise _damaged(archive, str(error) or type(error).__name__) from error


def _damaged(archive: Path, why: str) -> ArchiveError:
    return ArchiveError(
        f"{archive} is damaged or no zip archive ({why}): download or copy it again."
    )


def _unsafe(archive: Path, why: str) -> ArchiveError:
    return ArchiveError(f"{archive} {why}, so nothing of it is unpacked: ask where it comes from.")


def _too_much(archive: Path, why: str) -> ArchiveError:
    return ArchiveError(
        f"{archive} {why}, more than any archive of pictures should, so nothing of it is unpacked. "
        "If you trust it, unpack it yourself and give the folder."
    )
