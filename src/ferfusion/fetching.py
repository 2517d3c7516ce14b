"""Files from the web: gone on with after a break, checked, and whole or not there at all.

While a file comes, its bytes lie in `NAME.part`, and `NAME.part.json` says which version of it the
server was giving. A killed download goes on from there. Bytes that aren't those that were
published never get the file's name: they are set aside as `NAME.wrong`, for a person to look at.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ferfusion.atomic import write_text
from ferfusion.errors import DownloadError
from ferfusion.impostors import recognise_impostor
from ferfusion.locks import hold
from ferfusion.web import BrokenOffError, ask, check_address

PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"""Before each further try. Whoever gets on a good deal starts again with the first."""
LONGEST_PAUSE_S = 60.0
"""If a server asks for a longer one, the person is told instead."""
_GETTING_ON_BYTES = 2**16
_CHUNK_BYTES = 2**18


@dataclass(frozen=True)
class Checksum:
    """What the right bytes hash to: git's name for them, SHA-256, or both.

    Git names a file by the SHA-1 of "blob ", its size, a zero byte and its content.
    """

    git_blob: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.git_blob is None and self.sha256 is None:
            raise ValueError("what nothing is known of can't be checked")

    def fits(self, path: Path) -> bool:
        """Whether there is a file with these bytes."""
        if not path.is_file():
            return False
        blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        sha256 = hashlib.sha256()
        with path.open("rb") as stream:
            while data := stream.read(_CHUNK_BYTES):
                blob.update(data)
                sha256.update(data)
        found = (blob.hexdigest(), sha256.hexdigest())
        return self.git_blob in (None, found[0]) and self.sha256 in (None, found[1])


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Listener:
    """Who wants to know how a download goes on.

    Attributes:
        on_progress: Called with the bytes that are here, and with all that there will be, if the
            server says so.
        on_pause: Called with a reason and seconds before every further try.
        on_wait: Called if another process is downloading this file.
    """

    on_progress: Callable[[int, int | None], None] = _ignore
    on_pause: Callable[[str, float], None] = _ignore
    on_wait: Callable[[], None] = _ignore


def fetch(
    url: str,
    path: Path,
    *,
    checksum: Checksum,
    size_limit: int,
    overwrite: bool = False,
    timeout_s: float = 30.0,
    listener: Listener | None = None,
) -> bool:
    """Puts a published file at `path`, unless it is there already.

    Args:
        url: https; http only for addresses of this machine.
        path: The file's place. Its folder is made.
        checksum: What the file was when it was published.
        size_limit: In bytes; nobody's disk is filled with something else.
        overwrite: Whether a file at `path` with other bytes is replaced.
        timeout_s: How long a server may be silent.
        listener: Who is told how it goes on.

    Returns:
        Whether it was downloaded now.

    Raises:
        DownloadError: It can't be had, or other bytes come, or other bytes are at `path`.
    """
    check_address(url)
    listener = listener or Listener()
    with hold(path, listener.on_wait):
        if checksum.fits(path):
            return False
        if path.exists() and not (overwrite and path.is_file()):
            raise DownloadError(
                f"{path} is there already, and it isn't the file that was published. Move it away, "
                "and run the same line again."
            )
        part = path.with_name(path.name + ".part")
        try:
            _fill(url, part, checksum, size_limit, timeout_s, listener)
            # Also if the checksum fits: then it was published like that.
            if (impostor := _look_at(part)) is not None:
                raise _set_aside(url, part, impostor)
            part.replace(path)
            _note_of(part).unlink(missing_ok=True)
        except OSError as error:
            raise DownloadError(
                f"{part} can't be written ({error.strerror or error}). Make room, or choose "
                "another place; the same line goes on where this one stopped."
            ) from error
        return True


def _fill(
    url: str, part: Path, checksum: Checksum, size_limit: int, timeout_s: float, listener: Listener
) -> None:
    """Receives until the checksum fits: it decides, not what a server says of sizes."""
    tries, furthest = 0, _size_of(part)
    while not checksum.fits(part):
        try:
            is_sure = _receive(url, part, size_limit, timeout_s, listener)
            if checksum.fits(part):
                return
            if is_sure:
                raise _set_aside(url, part, _look_at(part))
            raise BrokenOffError("what came doesn't fit together", is_stale=True)
        except BrokenOffError as broken:
            if checksum.fits(part):
                return
            if broken.is_stale:
                _discard(part)
            size = _size_of(part)
            if size >= furthest + _GETTING_ON_BYTES:
                tries, furthest = 0, size
            if tries == len(PAUSES_S) or broken.pause_s > LONGEST_PAUSE_S:
                raise _give_up(url, part, broken, tries + 1) from broken
            pause_s = max(PAUSES_S[tries], broken.pause_s)
            tries += 1
            listener.on_pause(str(broken), pause_s)
            time.sleep(pause_s)


def _receive(url: str, part: Path, size_limit: int, timeout_s: float, listener: Listener) -> bool:
    """Asks for what is missing and appends it.

    Returns:
        Whether all bytes are of one answer that ended where the server said it would.
    """
    have, version = _read_note(part, url)
    with ask(url, have=have, version=version, timeout_s=timeout_s) as answer:
        if not answer.is_rest:
            have = 0
            _start_anew(part, url, answer.version)
        total = None if answer.length is None else have + answer.length
        _check_size(url, part, total or 0, size_limit)
        with part.open("ab") as stream:
            while total is None or have < total:
                missing = _CHUNK_BYTES if total is None else total - have
                data = answer.read(min(_CHUNK_BYTES, missing))
                if not data:
                    break
                have += len(data)
                _check_size(url, part, have, size_limit)
                stream.write(data)
                listener.on_progress(have, total)
    if total is not None and have < total:
        raise BrokenOffError("the connection broke off")
    return not answer.is_rest and total is not None


def _start_anew(part: Path, url: str, version: str | None) -> None:
    """Empties the file first, so that old bytes never stand beside a new version's note."""
    part.write_bytes(b"")
    if version is None:
        _note_of(part).unlink(missing_ok=True)
    else:
        write_text(_note_of(part), json.dumps({"url": url, "version": version}))


def _read_note(part: Path, url: str) -> tuple[int, str | None]:
    """Says how much is here and of which version; nothing, if that isn't known of this address."""
    try:
        note = json.loads(_note_of(part).read_text("utf-8"))
        version = note["version"] if note["url"] == url else None
    except (OSError, ValueError, TypeError, KeyError):
        return 0, None
    # Sent as a header, which mustn't be able to start another one.
    if not isinstance(version, str) or not re.fullmatch(r"[\x20-\x7e]{1,300}", version):
        return 0, None
    return _size_of(part), version


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size_of(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _check_size(url: str, part: Path, size: int, size_limit: int) -> None:
    if size > size_limit:
        _discard(part)
        raise DownloadError(
            f"{url} sends more than the {size_limit / 2**20:g} MiB that this file can have at "
            "most, so it isn't what was published, and it isn't downloaded."
        )


def _look_at(part: Path) -> str | None:
    with part.open("rb") as stream:
        return recognise_impostor(stream.read(256))


def _set_aside(url: str, part: Path, impostor: str | None) -> DownloadError:
    wrong = part.with_suffix(".wrong")
    size = _size_of(part)
    part.replace(wrong)
    _note_of(part).unlink(missing_ok=True)
    what = impostor or (
        "isn't the file that was published: its checksum is another. Perhaps there is a new "
        "version: ask its owners."
    )
    return DownloadError(
        f"What comes from {url} ({size:,} bytes) {what} It is kept as {wrong}, for you to look at, "
        "and not used."
    )


def _give_up(url: str, part: Path, broken: BrokenOffError, tries: int) -> DownloadError:
    path = part.with_suffix("")
    if broken.pause_s > LONGEST_PAUSE_S:
        why = f"{broken}, and asks to come back in {broken.pause_s:.0f} s"
    else:
        why = f"{broken} (tried {tries} times)"
    go_on = (
        "What has come is kept: run the same line again to go on from there"
        if _size_of(part)
        else "Run the same line again when that is mended"
    )
    return DownloadError(
        f"{path.name} can't be downloaded: {why}. {go_on}. Or open {url} in a browser and save "
        f"the file as {path}."
    )
