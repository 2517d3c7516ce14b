"""Draws the picture of docs/cameras.md: one moment of a drawn face, by each palette.

Command (a second):

    .venv/bin/python experiments/draw_palettes.py docs/pictures/palettes.png
"""

import sys
from pathlib import Path

from PIL import Image

from ferfusion.data.synthetic import draw_sample
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.msx import blend_msx
from ferfusion.imaging.palette import PALETTES, colourise

SPANS_C = ((20.0, 37.0), (28.0, 37.0))


def main(path: Path) -> None:
    """Draws the sheet."""
    sample = draw_sample(
        draw_identity(4), "happy", light="even", intensity=1.0, seed=4, size_px=144
    )
    rows, titles = [], []
    for low, high in SPANS_C:
        coloured = [colourise(sample.temperature_c, low, high, name) for name in PALETTES]
        msx = blend_msx(sample.visible, coloured[0], sigma_px=1.44, gain=0.8)
        rows.append([sample.visible, *coloured, msx])
        titles.append(f"{low:.0f} to {high:.0f} °C")
    columns = ["visible", *PALETTES, "MSX-style"]
    Image.fromarray(draw_contact_sheet(rows, titles, columns, cell_px=144)).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
