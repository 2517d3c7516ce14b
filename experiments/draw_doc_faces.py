"""Draws the picture of the README: five expressions, three modalities, two kinds of light.

The only faces our documents show are drawn ones. Command (seconds):

    .venv/bin/python experiments/draw_doc_faces.py docs/pictures/demo-faces.png
"""

import sys
from pathlib import Path

from PIL import Image

from ferfusion.data.synthetic import draw_sample
from ferfusion.expression import VIRI
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.drawn.identity import draw_identity

PEOPLE = ((4, "even"), (11, "dim"))
"""Seeds of the people shown, and the light that falls on them."""


def main(path: Path) -> None:
    """Draws the sheet."""
    rows, titles = [], []
    for seed, light in PEOPLE:
        identity = draw_identity(seed)
        samples = [
            draw_sample(identity, label, light=light, intensity=1.0, seed=seed, size_px=144)
            for label in VIRI
        ]
        for modality in ("visible", "infrared", "msx"):
            rows.append([getattr(sample, modality) for sample in samples])
            titles.append(f"{modality}, {light} light" if modality == "visible" else modality)
    Image.fromarray(draw_contact_sheet(rows, titles, list(VIRI), cell_px=144)).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
