"""A grid of numbers as text: CSV, TSV, or with blanks, as programs of thermal cameras export it."""

import io
import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from ferfusion.errors import ThermogramError

_DELIMITERS = ("\t", ";", ",", None)  # None: any run of blanks
_NO_VALUE = ("", "nan", "-", "--")
_MAX_LINE = 1_000_000
_MAX_LINES = 20_000
_HEAD = 65_536


def holds_grid(head: bytes) -> bool:
    """Says whether a file begins with a grid of numbers, perhaps below other lines.

    Args:
        head: The beginning of the file, which may end within a line.
    """
    if b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return False
    lines = _decode(head).splitlines()
    delimiter = _find_delimiter(lines)
    widths = [_count(line, delimiter) for line in lines]
    return any(a == b > 0 for a, b in itertools.pairwise(widths))


def read_text_grid(
    name: str, data: bytes, max_values: int
) -> tuple[Float[np.ndarray, "rows columns"], tuple[str, ...]]:
    """Reads the grid of a text file.

    Columns may stand between commas, semicolons, tabs or blanks; where it isn't commas, numbers may
    have a decimal comma. Lines before the grid are passed over. Empty cells become NaN.

    Args:
        name: What messages call the file.
        data: All of it.
        max_values: A larger grid is refused before all of it is parsed.

    Returns:
        The numbers, and what was left out of the grid, as sentences.

    Raises:
        ThermogramError: There is no grid, its rows differ in length, or it is too large.
    """
    with io.TextIOWrapper(io.BytesIO(data), _find_encoding(data), errors="replace") as stream:
        return _parse(name, stream, _find_delimiter(_decode(data[:_HEAD]).splitlines()), max_values)


def _parse(
    name: str, lines: Iterable[str], delimiter: str | None, max_values: int
) -> tuple[Float[np.ndarray, "rows columns"], tuple[str, ...]]:
    rows: list[Float[np.ndarray, " columns"]] = []
    is_over = False
    for number, line in enumerate(lines, start=1):
        if number > _MAX_LINES:
            raise ThermogramError(
                f"{name} has more than {_MAX_LINES} lines, as no picture has: save one frame alone."
            )
        if not line.strip():
            continue
        row = _read_row(line.rstrip("\r\n"), delimiter)
        if row is None and len(rows) < 2:
            rows = []  # a header, and what came before it
        elif row is None:
            is_over = True  # what follows the grid, unless more numbers do
        elif rows and (is_over or len(row) != len(rows[0])):
            if len(rows) > 1:
                raise ThermogramError(
                    f"{name}, line {number}: {len(row)} numbers, but the grid above has "
                    f"{len(rows[0])} in a row, so it is cut short or holds two grids. Save one "
                    "frame alone."
                )
            rows = [row]
        else:
            rows.append(row)
            if len(rows) * len(row) > max_values:
                raise ThermogramError(
                    f"{name} holds more than {max_values / 1e6:g} million numbers: save one frame "
                    "alone."
                )
    if len(rows) < 2:
        raise ThermogramError(
            f"{name} holds no grid of numbers: export one row of the picture a line, with commas, "
            "semicolons, tabs or blanks between them."
        )
    return _drop_numbering(np.stack(rows))


def _decode(data: bytes) -> str:
    return data.decode(_find_encoding(data), errors="replace")


def _find_encoding(data: bytes) -> str:
    return "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _find_delimiter(lines: list[str]) -> str | None:
    """Finds what most lines of numbers have between them."""
    return max(_DELIMITERS, key=lambda delimiter: sum(_count(line, delimiter) for line in lines))


def _count(line: str, delimiter: str | None) -> int:
    row = _read_row(line, delimiter)
    return 0 if row is None else len(row)


def _read_row(line: str, delimiter: str | None) -> Float[np.ndarray, " columns"] | None:
    """Reads at least two numbers, or gives None."""
    if len(line) > _MAX_LINE:
        return None
    cells = [cell.strip(" \"'") for cell in line.split(delimiter)]
    for end in (0, -1):
        if cells and not cells[end]:
            del cells[end]  # a name's place, or a delimiter at the end
    if len(cells) < 2:
        return None
    try:
        with np.errstate(over="ignore"):
            return np.array(list(_read_cells(cells, delimiter)), np.float32)
    except ValueError:
        return None


def _read_cells(cells: list[str], delimiter: str | None) -> Iterator[float]:
    for cell in cells:
        if cell.lower() in _NO_VALUE:
            yield math.nan
        elif "_" in cell:
            raise ValueError("Python would take 1_0 as a number.")
        else:
            yield float(cell if delimiter == "," else cell.replace(",", "."))


def _drop_numbering(
    grid: Float[np.ndarray, "rows columns"],
) -> tuple[Float[np.ndarray, "_ _"], tuple[str, ...]]:
    """Leaves out a first row or column that only counts the others."""
    left_out = []
    for axis, what in ((0, "row"), (1, "column")):
        first = np.take(grid, 0, axis)
        start = int(np.nan_to_num(first[-1])) - len(first) + 1
        counts = np.arange(start, start + len(first))
        # The corner belongs to both, and may be anything.
        if len(first) >= 8 and start in (-1, 0, 1) and (first[1:] == counts[1:]).all():
            grid = np.delete(grid, 0, axis)
            left_out.append(f"The first {what} only counts the others and was left out.")
    return grid, tuple(left_out)
