"""Draws the pictures of docs/explain.md: regions on drawn faces, and figures of the demo's models.

Faces are drawn here and the numbers are of drawn faces, so no real face is shown. Command (minutes,
after `ferfusion demo --out DIR`, with the weights of the face detector at hand):

    .venv/bin/ferfusion explain DIR/study/runs/early-visible-infrared-3step DIR/faces \
        --out EXPLAINED
    .venv/bin/python experiments/draw_doc_explanations.py EXPLAINED
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

from ferfusion.data.synthetic import draw_sample
from ferfusion.evaluation.faithfulness import KINDS, ORDERS
from ferfusion.evaluation.shapley import Contribution
from ferfusion.evaluation.statistics import Interval
from ferfusion.expression import VIRI
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.detector import FaceDetector
from ferfusion.imaging.faces.regions import REGIONS, find_points, label_regions
from ferfusion.imaging.faces.weights import fetch_weights
from ferfusion.modality import Modality
from ferfusion.reporting.explanation_figures import draw_contributions, draw_curves

OUT = Path("docs/pictures")
PERSON, SIZE_PX, STRENGTH = 4, 288, 0.45
COLOURS = {
    "forehead": (240, 190, 30), "eyes": (40, 140, 230), "nose": (30, 170, 90),
    "cheeks": (235, 110, 160), "mouth": (215, 40, 40), "rest of face": (165, 165, 165),
}  # fmt: skip


def draw_regions() -> np.ndarray:
    """Draws a person's five expressions, with and without the regions."""
    detector, rows = FaceDetector(fetch_weights()), ([], [])
    colours = np.array([COLOURS.get(name, (0, 0, 0)) for name in REGIONS], np.float32)
    for label in VIRI:
        picture = draw_sample(
            draw_identity(PERSON), label, light="even", intensity=1.0, seed=PERSON, size_px=SIZE_PX
        ).visible
        points = find_points(detector, [picture])
        if points is None:
            raise SystemExit(f"No face was found in the drawn picture of {label}.")
        labels = label_regions(points, SIZE_PX)
        alpha = np.where(labels == REGIONS.index("outside"), 0.0, STRENGTH)[..., None]
        rows[0].append(picture)
        rows[1].append(((1 - alpha) * picture + alpha * colours[labels]).astype(np.uint8))
    return draw_contact_sheet(rows, ("visible", "regions"), VIRI, cell_px=150)


def main() -> None:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("explained", type=Path, help="the --out of `ferfusion explain`")
    args = parser.parse_args()
    Image.fromarray(draw_regions()).save(OUT / "face-regions.png", optimize=True)
    with (args.explained / "curves.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    curves = {
        kind: {
            order: np.array(
                [[float(p["prob"]) for p in points if (p["game"], p["order"]) == (kind, order)]]
            )
            for order in ORDERS
        }
        for kind in KINDS
    }
    (OUT / "faithfulness.svg").write_text(_stand_alone(draw_curves(curves)))
    with (args.explained / "contributions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    contributions = [
        Contribution(
            None if row["class"] == "all" else row["class"], Modality(row["modality"]),
            int(row["n"]), float(row["mean"]), Interval(float(row["low"]), float(row["high"])),
        )
        for row in rows
    ]  # fmt: skip
    (OUT / "contributions.svg").write_text(_stand_alone(draw_contributions(contributions)))


def _stand_alone(svg: str) -> str:
    """Gives it a namespace and white paper, for a page of any colour."""
    head, rest = svg.split(">", 1)
    if "xmlns=" not in head:
        head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f'{head}>\n<rect width="100%" height="100%" fill="#ffffff"/>{rest}'


if __name__ == "__main__":
    main()
