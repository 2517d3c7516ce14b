"""One process at a time in a folder, also when several studies share it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def hold(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Keeps every other process that asks for `path` waiting until the block is over.

    The lock is a hidden file beside `path`, `.NAME.lock`. It stays there and means nothing by
    itself: the system holds the lock for as long as this process lives, so a process that is
    killed frees it at once. Who had to wait should look whether the work has been done meanwhile.

    On a network file system it must support locks, as NFS and Lustre usually do.

    Args:
        path: A folder, or a file, that may not exist yet.
        on_wait: Called once if another process is there first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait()
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()
