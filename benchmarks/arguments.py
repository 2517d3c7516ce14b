"""What the command lines of the benchmarks share: checks of values, and one line for mistakes."""

import argparse
import math
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

from ferfusion.errors import find_remedy


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong; exit code 2."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help lists all options)\n")


def call(main: Callable[[], None]) -> None:
    """Runs a script. What the user can mend ends it with one line and exit code 2."""
    try:
        main()
    except Exception as error:
        remedy = find_remedy(error)
        if remedy is None:
            raise
        print(f"{Path(sys.argv[0]).name}: {remedy}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nStopped. What was written stays.", file=sys.stderr)
        sys.exit(130)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Gives a check for whole numbers.

    >>> whole(1)("3")
    3
    >>> whole(1)("0")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: is 0, but must be a whole number, at least 1
    """

    def check(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?\d{1,18}", text.strip()) else None
        if value is None or value < least or (most is not None and value > most):
            upto = "" if most is None else f" and at most {most}"
            raise argparse.ArgumentTypeError(
                f"is {text or 'empty'}, but must be a whole number, at least {least}{upto}"
            )
        return value

    return check


def whole_numbers(least: int) -> Callable[[str], list[int]]:
    """Gives a check for whole numbers, joined by commas."""
    check = whole(least)
    return lambda text: [check(word) for word in text.split(",")]


def seconds(text: str) -> float:
    """Checks a length of time; it may be nothing or without end."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"is {text or 'empty'}, but must be seconds, at least 0")
    return value


def names(kind: str, known: Collection[str]) -> Callable[[str], list[str]]:
    """Gives a check for known names, joined by commas, of which there must be one at least."""

    def check(text: str) -> list[str]:
        given = [word.strip() for word in text.split(",") if word.strip()]
        if not given:
            raise argparse.ArgumentTypeError(f"names no {kind}; there are {', '.join(known)}")
        if unknown := [word for word in given if word not in known]:
            raise argparse.ArgumentTypeError(
                f"there is no {kind} {', '.join(unknown)}; there are {', '.join(known)}"
            )
        return list(dict.fromkeys(given))

    return check


def machine(text: str) -> str:
    """Checks a name that becomes part of the names of files."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise argparse.ArgumentTypeError(
            f"is {text or 'empty'}, but it names files: give letters, digits, dots, - and _"
        )
    return text


def file(text: str) -> Path:
    """Checks that there is such a file."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text or '(empty)'}")
    return path


def folder(text: str) -> Path:
    """Checks that there is such a folder."""
    path = Path(text)
    if not text or not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text or '(empty)'}")
    return path


def new_folder(text: str) -> Path:
    """Checks that a folder may be made there, or is there already."""
    path = Path(text)
    taken = next((p for p in (path, *path.parents) if p.exists()), path)
    if not text or (taken.exists() and not taken.is_dir()):
        raise argparse.ArgumentTypeError(f"must be a folder, and {taken} is a file")
    return path
