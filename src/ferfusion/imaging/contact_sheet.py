"""Many small pictures on one sheet, for a person to look over."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps

_CELL_PX = 144
_GAP_PX = 8
_MARGIN_PX = 16
_FONT_PX = 14
_PAPER = (255, 255, 255)
_INK = (35, 40, 46)
_FAINT = (111, 119, 128)
_EMPTY = (238, 240, 242)


def draw_contact_sheet(
    rows: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"] | None]],
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    *,
    cell_px: int = _CELL_PX,
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Lays RGB pictures out as a table with a title on each row and column.

    Every picture keeps its shape and fills a square cell as far as it can. None is drawn as an
    empty cell that says "none", so that a missing modality is seen and not guessed.

    Args:
        rows: Pictures from top to bottom and left to right; rows may be of different lengths.
        row_titles: One per row; long ones are shortened.
        column_titles: One per column of the longest row; "" for none.
        cell_px: Side of a cell.

    Raises:
        ValueError: There is no picture, or not one title per row and column.
    """
    n_columns = max((len(row) for row in rows), default=0)
    if n_columns == 0:
        raise ValueError("There is no picture to lay out.")
    if len(row_titles) != len(rows) or len(column_titles) != n_columns:
        raise ValueError(
            f"{len(rows)} rows and {n_columns} columns have {len(row_titles)} and "
            f"{len(column_titles)} titles."
        )
    font = ImageFont.load_default(_FONT_PX)
    title_width = min(
        max((round(font.getlength(title)) for title in row_titles), default=0), 2 * _CELL_PX
    )
    left = _MARGIN_PX + (title_width + 2 * _GAP_PX if title_width else 0)
    top = _MARGIN_PX + (_FONT_PX + _GAP_PX if any(column_titles) else 0)
    step = cell_px + _GAP_PX
    sheet = Image.new(
        "RGB",
        (left + n_columns * step - _GAP_PX + _MARGIN_PX, top + len(rows) * step + _GAP_PX),
        _PAPER,
    )
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(column_titles):
        x = left + column * step + cell_px // 2
        pen.text((x, top - _GAP_PX), _shorten(title, cell_px, font), _INK, font, anchor="ms")
    for i, (row, title) in enumerate(zip(rows, row_titles, strict=True)):
        y = top + i * step
        shortened = _shorten(title, title_width, font)
        pen.text((_MARGIN_PX, y + cell_px // 2), shortened, _INK, font, anchor="lm")
        for column, picture in enumerate(row):
            x = left + column * step
            if picture is None:
                pen.rectangle((x, y, x + cell_px - 1, y + cell_px - 1), _EMPTY)
                middle = (x + cell_px // 2, y + cell_px // 2)
                pen.text(middle, "none", _FAINT, font, anchor="mm")
            else:
                fitted = ImageOps.pad(Image.fromarray(picture), (cell_px, cell_px), color=_PAPER)
                sheet.paste(fitted, (x, y))
    return np.asarray(sheet)


def _shorten(text: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "...") > width_px:
        text = text[:-1]
    return text + "..."
