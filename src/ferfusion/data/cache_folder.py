"""The folder of decoded pictures: where it is, what it holds, and how room is made for more.

An entry is `KEY.npy`, the pictures, and `KEY.json`, what is known of them; it is there when both
are. Every entry has a lock, held while it is written or removed. Readers need none; they mark what
they have mapped as in use, so that no process makes room by removing it.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferfusion.errors import ConfigError
from ferfusion.locks import hold, is_in_use, mark_in_use, try_to_hold

LIMIT_GB = 20.0
"""How large the folder may grow unless told otherwise, in thousand million bytes."""

_OURS = re.compile(r"\.?([0-9a-f]{32})(\.npy|\.json|-audit\.json)(\.\d+\.part)?")


@dataclass(frozen=True)
class Entry:
    """The decoded pictures of one modality of some samples, whole or not.

    Attributes:
        path: Of the pictures.
        nbytes: What its files take, those that are being written included.
        used_at: When it was opened last, in nanoseconds since 1970.
        is_whole: Whether both files are there and nothing else; else it is being written, or was.
    """

    path: Path
    nbytes: int
    used_at: int
    is_whole: bool


@dataclass(frozen=True)
class Holding:
    """What a cache folder holds.

    Attributes:
        entries: Those used longest ago first.
        other_nbytes: What earlier audits take; they are small and stay.
    """

    entries: tuple[Entry, ...]
    other_nbytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of everything of ours in the folder."""
        return self.other_nbytes + sum(entry.nbytes for entry in self.entries)


def default_cache_folder() -> Path:
    """Where decoded pictures are kept unless an option says otherwise.

    That is `$FERFUSION_CACHE`, else `$XDG_CACHE_HOME/ferfusion`, else `~/.cache/ferfusion`.
    """
    chosen = os.environ.get("FERFUSION_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferfusion"


def find_cache_folder(chosen: Path | None) -> Path:
    """Gives the folder that was chosen, or else the usual one, as a whole path.

    Raises:
        ConfigError: It is a file.
    """
    folder = (chosen or default_cache_folder()).resolve()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"The cache must be a folder, and {folder} is a file. Name a folder with --cache or "
            "FERFUSION_CACHE."
        )
    return folder


def measure_folder(folder: Path) -> int:
    """Adds up the bytes of all files in a folder and the folders below it, whoever made them."""
    nbytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                nbytes += (Path(root) / name).lstat().st_size
    return nbytes


def look_into(folder: Path) -> Holding:
    """Counts what a cache folder holds. Files that aren't ours are neither counted nor touched."""
    found: dict[str, list[tuple[str, os.stat_result]]] = {}
    other_nbytes = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        name = _OURS.fullmatch(path.name)
        if name is None:
            continue
        try:
            state = path.stat()
        except FileNotFoundError:  # removed by another process meanwhile
            continue
        if name[2] == "-audit.json":
            other_nbytes += state.st_size
        else:
            found.setdefault(name[1], []).append((path.name, state))
    entries = [
        Entry(
            folder / f"{key}.npy",
            sum(state.st_size for _, state in files),
            max(state.st_mtime_ns for _, state in files),
            {name for name, _ in files} == {f"{key}.npy", f"{key}.json"},
        )
        for key, files in found.items()
    ]
    return Holding(tuple(sorted(entries, key=lambda e: (e.used_at, e.path))), other_nbytes)


@contextmanager
def hold_entry(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Keeps every other process away from writing or removing an entry until the block is over.

    Who had to wait should look whether the entry is there now.

    Args:
        path: Of the entry's pictures.
        on_wait: Called once if another process is there first.
    """
    with hold(path.with_suffix(""), on_wait):
        _remove_parts(path)  # only who holds the lock writes any, so these are of a killed process
        yield


def touch_entry(path: Path) -> None:
    """Notes that an entry is used now."""
    now = time.time_ns()  # finer than what the system would write, which moves in steps of 4 ms
    with suppress(OSError):  # a cache that may only be read needs no notes
        os.utime(path, ns=(now, now))


def note_mapped(path: Path, array: Any) -> None:
    """Notes that an entry is used, now and for as long as anything of the array lives.

    Until then no process makes room by removing it: an audit must not push out the pictures of the
    study it is part of, nor features the pictures they are computed of, nor one study another's.
    """
    touch_entry(path)
    mark_in_use(path, array)


def make_room(folder: Path, wanted: Mapping[Path, int], limit_gb: float, what: str) -> str:
    """Removes what killed processes left, and the entries used longest ago until all the rest fits.

    Those that a process has mapped, or writes just now, stay.

    Args:
        folder: Of the cache.
        wanted: The entries that shall be there, and how many bytes each takes.
        limit_gb: How large the folder may be then; 0 is without limit. A full disk counts too.
        what: The wanted entries in words, for an error.

    Returns:
        A sentence on the entries that were removed; empty if there are none.

    Raises:
        ConfigError: It doesn't fit, even with everything removed that may be. No entry is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    limit = round(limit_gb * 1e9) or None
    holding = look_into(folder)
    there = {entry.path: entry.nbytes for entry in holding.entries}
    others = [entry for entry in holding.entries if entry.path not in wanted]
    removable = [entry for entry in others if not is_in_use(entry.path)]
    needed = sum(wanted.values())
    removable_nbytes = sum(entry.nbytes for entry in removable)
    stays = holding.other_nbytes + sum(entry.nbytes for entry in others) - removable_nbytes
    if limit is not None and stays + needed > limit:
        beside = f" beside the {say_size(stays)} in use" if stays else ""
        raise ConfigError(
            f"{what} take {say_size(needed)}{beside}, and the cache in {folder} may hold "
            f"{say_size(limit)}. Give --cache-limit {-(-(stays + needed) // 10**9)} (in GB; 0: no "
            "limit), or a smaller --size."
        )
    missing = sum(max(0, nbytes - there.get(path, 0)) for path, nbytes in wanted.items())
    free = shutil.disk_usage(folder).free
    if free + removable_nbytes < missing:
        raise ConfigError(
            f"{what} take {say_size(needed)}, and the disk of {folder} has {say_size(free)} free. "
            "Name a folder on a larger disk with --cache, or give a smaller --size."
        )
    used = stays + removable_nbytes + needed
    if limit is not None and used <= limit:
        limit = None  # only a full disk is a reason then
    removed: list[int] = []
    for entry in removable:
        has_room = (limit is None or used <= limit) and free >= missing
        if has_room and entry.is_whole:
            continue
        if remove_entry(entry.path, only_leftovers=has_room):
            used -= entry.nbytes
            free = shutil.disk_usage(folder).free
            removed += [entry.nbytes] * entry.is_whole
    if not removed:
        return ""
    entries = "1 entry" if len(removed) == 1 else f"{len(removed)} entries"
    why = f"it may hold {say_size(limit)} (--cache-limit)" if limit else "its disk was full"
    return (
        f"Removed from the cache in {folder}, because {why}: the {entries} used longest ago, "
        f"{say_size(sum(removed))}."
    )


def remove_entry(path: Path, *, only_leftovers: bool = False) -> bool:
    """Removes an entry and what killed processes left of it; says whether it was removed.

    One that another process writes stays. So does one that may not be removed: of a folder that can
    only be read, or open in another process on Windows.

    Args:
        path: Of its pictures.
        only_leftovers: Keep it if it is there after all.
    """
    try:
        with try_to_hold(path.with_suffix("")) as is_held:
            if not is_held:
                return False
            _remove_parts(path)
            if only_leftovers and is_there(path):
                return False
            # The pictures first: without them, the rest is no entry.
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
    except OSError:
        return False
    return True


def is_there(path: Path) -> bool:
    """Whether both files of an entry are there."""
    return path.exists() and path.with_suffix(".json").exists()


def say_size(nbytes: int) -> str:
    """Says a number of bytes for people.

    >>> say_size(20_500_000_000), say_size(1_500_000)
    ('20.5 GB', '1.5 MB')
    """
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"


def _remove_parts(path: Path) -> None:
    for part in path.parent.glob(f".{path.stem}.*.part"):
        part.unlink(missing_ok=True)
