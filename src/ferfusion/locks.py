"""One process at a time in a folder or file, also when several studies share it.

A lock on `NAME` is a hidden file beside it, `.NAME.lock`, gone when the work is over. It means
nothing by itself: the system holds the lock for as long as this process lives, so a process that is
killed frees it at once. On a network file system, that must support locks, as NFS and Lustre
usually do.

Who opened a file that is removed before it is locked would hold a lock on nothing; filelock sees
that (from 3.21.2 on) and begins again. A network file system may say late that a file is gone, and
let two in. So what is written under a lock must appear whole (`atomic.py`); the last one stays.

Who only reads a file waits for nobody, but may mark it as in use, so that nobody removes it to make
room. Where the system has no `flock` (Windows), there are no such marks, and open files can't be
removed anyway.
"""

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:
    fcntl = None


@contextmanager
def hold(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Keeps every other process that asks for `path` waiting until the block is over.

    Who had to wait should look whether the work has been done meanwhile.

    Args:
        path: A folder, or a file, that may not exist yet.
        on_wait: Called once if another process is there first.
    """
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait()
        lock.acquire(poll_interval=0.1)
    try:
        yield
    finally:
        _release(lock)


@contextmanager
def try_to_hold(path: Path) -> Iterator[bool]:
    """Does as `hold`, but waits for nobody: gives False, and holds nothing, if another is there."""
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        _release(lock)


def mark_in_use(path: Path, reader: object) -> None:
    """Marks a file as in use, for all processes, until an object of this one is gone.

    Args:
        path: A file that is there.
        reader: What holds its content, such as an array that is mapped to it.
    """
    if fcntl is None:
        return
    with suppress(OSError):
        # Of the file itself, so one that takes its name later isn't meant.
        file = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError:
            os.close(file)
            raise
        weakref.finalize(reader, os.close, file)


def is_in_use(path: Path) -> bool:
    """Says whether any process, this one included, has marked a file as in use."""
    if fcntl is None:
        return False
    try:
        # On NFS, who wants a file alone must have opened it for writing.
        file = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _lock(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def _release(lock: FileLock) -> None:
    # While it is held: afterwards it could be another's. Windows removes no open file.
    with suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
