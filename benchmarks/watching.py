"""Time and memory of a part of a process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Measured = dict[str, Any]

_WATCHER = """
import select, sys
path, most = f"/proc/{sys.argv[1]}/status", 0
print("ready", flush=True)
over = False
while not over:
    over = bool(select.select([sys.stdin], [], [], 0.003)[0])
    most = max(most, int(open(path).read().split("RssAnon:")[1].split()[0]))
print(most)
"""


@contextmanager
def watching() -> Iterator[Measured]:
    """Takes the time of what is done within, and how much anonymous memory it adds at most.

    Anonymous memory is what belongs to no file: mapped pictures, which the system drops when it
    needs their place, don't count. Another process looks at it every few milliseconds, because a
    long call may keep the interpreter to itself. The peak that the system keeps of this process
    starts anew. Where there is no /proc, only the time is taken.
    """
    told: Measured = {}
    before = read_anonymous_mb()
    if before is None:
        start = time.perf_counter()
        yield told
        told.setdefault("seconds", time.perf_counter() - start)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCHER, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watcher.stdout is not None
        watcher.stdout.readline()
        start = time.perf_counter()
        yield told
        # What is done within may take a time of its own, such as a median.
        told.setdefault("seconds", time.perf_counter() - start)
    finally:
        said, _ = watcher.communicate("\n")
    told["anon_mb"] = max(0.0, int(said) * 1024 / 1e6 - before)


def read_anonymous_mb() -> float | None:
    """Gives this process's memory that belongs to no file, in millions of bytes; None: no /proc."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6
