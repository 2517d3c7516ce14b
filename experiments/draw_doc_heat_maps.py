"""Draws the documents' picture of heat maps: what trained models saw in drawn faces.

The faces are drawn here, of people no model has seen, so no real face is shown whatever the models
were trained on. Nothing is trained. Command (seconds, after `ferfusion demo --out DIR`):

    .venv/bin/python experiments/draw_doc_heat_maps.py DIR/study/runs
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from ferfusion.data.synthetic import draw_sample
from ferfusion.expression import VIRI
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.inference.cam_sheet import draw_activation_sheet
from ferfusion.modality import Modality
from ferfusion.models.checkpoint import load_checkpoint

MODELS = {
    "visible alone": "visible",
    "infrared alone": "infrared",
    "early fusion": "early-visible-infrared-3step",
    "late fusion": "late-visible-infrared",
}
"""Titles and the folders of the runs, as in Fig. 13 and with late fusion."""
OUT = Path("docs/pictures/activation-maps.png")
PERSON, LIGHT, SIZE_PX = 4, "even", 288


def main() -> None:
    """Draws the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="the folder that holds the folders of runs")
    parser.add_argument("--out", type=Path, default=OUT, help="the PNG to write")
    parser.add_argument("--method", default="gradcam", help="gradcam, hirescam or occlusion")
    args = parser.parse_args()
    models = {title: load_checkpoint(args.runs / folder) for title, folder in MODELS.items()}
    identity = draw_identity(PERSON)
    samples = [
        draw_sample(identity, label, light=LIGHT, intensity=1.0, seed=PERSON, size_px=SIZE_PX)
        for label in VIRI
    ]
    pictures = {
        m: np.stack([getattr(sample, m) for sample in samples])
        for m in (Modality.VISIBLE, Modality.INFRARED)
    }
    sheet = draw_activation_sheet(models, pictures, VIRI, method=args.method)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
