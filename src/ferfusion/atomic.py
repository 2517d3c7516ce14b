"""Files and folders that appear whole or not at all: written elsewhere, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which takes its name when the block ends well.

    Makes the folder if it is missing. When the block fails, `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside `path`, which takes its name when the block ends well.

    What a killed process left there is cleared away first, so do this under a lock (`locks.py`).
    When the block fails, nothing is left. There must be nothing at `path` yet.
    """
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file so that a reader, or a kill, never meets half of it."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
