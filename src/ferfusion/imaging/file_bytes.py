"""The bytes of a file, or of one member of a zip archive, never more than a limit."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from ferfusion.errors import ImageError
from ferfusion.sample import ImageFile
from ferfusion.unpacking import ZIP_DAMAGE

MAX_MEBIBYTES = 64

_MAX_BYTES = MAX_MEBIBYTES * 2**20


def fingerprint_bytes(data: bytes) -> str:
    """Gives a hash of a picture's bytes as they are on disk: 32 hex digits, equal for copies."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_bytes(file: ImageFile) -> bytes:
    """Reads at most `MAX_MEBIBYTES`, never more than that into memory.

    Raises:
        ImageError: The file is missing, empty, too big, or can't be read.
    """
    with opening(file) as stream:
        data = stream.read(_MAX_BYTES + 1)
    check_bytes(file, len(data))
    if not data:
        raise empty_file(file)
    return data


@contextmanager
def opening(file: ImageFile) -> Iterator[io.BytesIO | io.BufferedReader]:
    """Opens a file that isn't too large; of a member of an archive, all is unpacked."""
    try:
        if file.path.is_dir():
            raise ImageError(f"{file} is a folder, not a picture: name a picture in it.")
        if file.path.exists() and not file.path.is_file():
            raise ImageError(f"{file} is a device or a pipe, not a picture: remove it.")
        if file.member is not None:
            yield io.BytesIO(_read_member(file, file.member))
            return
        check_bytes(file, file.path.stat().st_size)
        with file.path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        raise ImageError(f"{file} does not exist: put it back, or leave it out.") from error
    except PermissionError as error:
        raise ImageError(
            f"{file} may not be read by you: change its permissions (chmod u+r), or ask its owner."
        ) from error
    except OSError as error:
        raise ImageError(
            f"{file} can't be read ({error.strerror or error}): check the disk or the network "
            "drive it is on."
        ) from error


def _read_member(file: ImageFile, member: str) -> bytes:
    try:
        state = file.path.stat()
        archive = _open_archive(file.path, state.st_size, state.st_mtime_ns, os.getpid())
        info = archive.getinfo(member)
        if info.flag_bits & 1:
            raise ImageError(
                f"{file} is locked with a password: unpack the archive into a folder first."
            )
        check_bytes(file, info.file_size)
        with archive.open(info) as stream:
            data = stream.read(_MAX_BYTES + 1)
    except KeyError as error:
        raise ImageError(
            f"{file} does not exist: the archive has changed since it was listed, so run again."
        ) from error
    except ZIP_DAMAGE as error:
        raise ImageError(
            f"{file} can't be unpacked ({error}): download or copy the archive again."
        ) from error
    check_bytes(file, len(data))
    return data


@lru_cache(maxsize=4)
def _open_archive(
    path: Path,
    size: int,  # noqa: ARG001  (a changed archive is opened anew)
    changed_at: int,  # noqa: ARG001
    process: int,  # noqa: ARG001  (forked processes would share a place in the file)
) -> zipfile.ZipFile:
    """Opens an archive and keeps it open: its list of members is read once, not for each member.

    With 20,000 members, opening takes 0.17 s. Threads may read from one archive at once.
    """
    return zipfile.ZipFile(path)


def check_bytes(file: ImageFile | str, count: int) -> None:
    """Refuses a file of more bytes than the limit.

    Raises:
        ImageError: It has more.
    """
    if count > _MAX_BYTES:
        raise ImageError(
            f"{file} is larger than {MAX_MEBIBYTES} MiB ({count / 2**20:.0f} MiB): save it "
            "smaller, or remove it."
        )


def empty_file(file: ImageFile | str) -> ImageError:
    """Gives the sentence for a file without a byte."""
    return ImageError(f"{file} is empty (0 bytes): copy it again from where it came, or remove it.")
