"""MSX-style pictures: how fast, how true to the mean, how near to those of the stand-in set.

    .venv/bin/python experiments/msx_style.py DATA results/msx_style
    .venv/bin/python experiments/msx_style.py --figure results/msx_style

(three minutes on one core) holds our MSX-style pictures against the MSX pictures of the stand-in
set. Those are simulated, too, by another program; no camera made them. For each of 100 samples
infrared and MSX are laid on the visible picture, then the detail that the set's picture has and
infrared hasn't (the difference of luminance, without what is coarser than a tenth of the width) is
correlated with the detail that ours has, for several scales. It also measures how fast pairs of
640 x 480 pixels are blended on one core, and how far the local mean moves. Draws a sheet of drawn
faces for people to look at. The second line draws the figure anew from the table.
"""

import csv
import io
import sys
import time
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ferfusion.atomic import write_text
from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import draw_sample
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.msx import DETAIL_SHARE, blend_msx
from ferfusion.modality import Modality
from ferfusion.preparation.recipe import Preparation
from ferfusion.preparation.sample import lay_on_visible
from ferfusion.preparation.shot import read_shot
from ferfusion.reporting.drawing import FUSION_COLOURS, PAPER, RULE, STYLE

SAMPLES = 100
SHARES = (1 / 320, 1 / 160, 1 / 80, 1 / 40, 1 / 20)
GAINS = (0.0, 0.5, 1.0, 2.0)
PAIRS = 50


def main(data: Path, out: Path) -> None:
    """Compares, measures and draws."""
    likeness = compare(data)
    milliseconds = measure_speed()
    moved = measure_means()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("detail_share", "n", "correlation_median", "correlation_10", "correlation_90"))
    rows = []
    for share, found in likeness.items():
        low, middle, high = np.percentile(found, (10, 50, 90))
        writer.writerow((f"{share:.5f}", len(found), f"{middle:.3f}", f"{low:.3f}", f"{high:.3f}"))
        usual = ", the default" if share == DETAIL_SHARE else ""
        rows.append(
            f"| 1/{1 / share:.0f} of the width{usual} | {len(found)} | {middle:.2f} "
            f"| {low:.2f} to {high:.2f} |"
        )
    write_text(out / "likeness.csv", text.getvalue())
    draw_likeness(out)
    parts = [
        "# MSX-style pictures",
        "**Stand-in, simulated infrared and MSX**: no camera made the pictures that ours are held "
        "against. Made by `experiments/msx_style.py`.",
        f"Speed: {1000 / np.median(milliseconds):.0f} pairs of 640 x 480 a second on one core "
        f"(median of {PAIRS} of {len(milliseconds)} blends; the slowest took "
        f"{max(milliseconds):.1f} ms). Local mean: in drawn faces of 640 px it moves by at most "
        f"{moved:.2f} of 255, at gain 1, under a Gaussian of twice the detail's scale.",
        "Correlation of the detail in ours with that in the set's, by the scale of ours:",
        "| detail finer than | samples | median | 10 to 90 % |\n|---|---:|---:|---:|\n"
        + "\n".join(rows),
        "![the same as a figure](likeness.png)",
    ]
    write_text(out / "README.md", "\n\n".join(parts) + "\n")
    Image.fromarray(draw_sheet()).save(out / "drawn-faces.png")


def draw_likeness(out: Path) -> None:
    """Draws likeness.csv as likeness.png."""
    with (out / "likeness.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            low, middle, high = (
                float(row[f"correlation_{name}"]) for name in ("10", "median", "90")
            )
            is_default = abs(float(row["detail_share"]) - DETAIL_SHARE) < 1e-4
            colour = FUSION_COLOURS["early" if is_default else "single"]
            axes.plot((low, high), (place, place), color=colour, linewidth=5, alpha=0.35)
            axes.plot(middle, place, "o", color=colour)
        axes.set_yticks(
            range(len(rows)), [f"1/{round(1 / float(row['detail_share']), -1):.0f}" for row in rows]
        )
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_ylabel("scale of our detail / width")
        axes.set_xlabel(
            "correlation with the detail of the stand-in set's MSX (simulated):\n"
            f"median and 10 to 90 % of {rows[0]['n']} samples; blue: the default"
        )
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(out / "likeness.png", dpi=150, facecolor=PAPER, metadata={"Software": None})


def compare(data: Path) -> dict[float, list[float]]:
    """Gives the correlations by scale."""
    samples = open_dataset(data).samples
    found: dict[float, list[float]] = {share: [] for share in SHARES}
    for sample in samples[:: len(samples) // SAMPLES][:SAMPLES]:
        laid = lay_on_visible(read_shot(sample, Preparation()), Preparation()).pictures
        visible, infrared = laid[Modality.VISIBLE], laid[Modality.INFRARED]
        theirs = read_detail(laid[Modality.MSX], infrared)
        for share in SHARES:
            ours = blend_msx(visible, infrared, sigma_px=share * visible.shape[1])
            pair = np.corrcoef(read_detail(ours, infrared).ravel(), theirs.ravel())
            found[share].append(float(pair[0, 1]))
    return found


def read_detail(msx: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """Gives what an MSX picture has and infrared hasn't, away from the border."""
    difference = luminance(msx) - luminance(infrared)
    side = difference.shape[0]
    difference -= cv2.GaussianBlur(difference, (0, 0), side / 10)
    edge = side // 8
    return difference[edge:-edge, edge:-edge]


def luminance(picture: np.ndarray) -> np.ndarray:
    """Gives one number a pixel."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)


def draw_pair(who: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws a face of 640 x 480 pixels, infrared in place."""
    face = draw_sample(
        draw_identity(who), "happy", light="even", intensity=0.8, seed=who, size_px=640,
        misalignment=0.0,
    )  # fmt: skip
    return face.visible[80:560].copy(), face.infrared[80:560].copy()


def measure_speed() -> list[float]:
    """Gives milliseconds of processor time of each blend, on one core."""
    cv2.setNumThreads(1)
    pairs = [draw_pair(who) for who in range(5)]
    times = []
    for number in range(PAIRS + 5):
        began = time.process_time()
        blend_msx(*pairs[number % 5])
        times.append(1000 * (time.process_time() - began))
    return times[5:]


def measure_means() -> float:
    """Gives the greatest change of a local mean."""
    worst = 0.0
    for who in range(8):
        visible, infrared = draw_pair(who)
        change = luminance(blend_msx(visible, infrared)) - luminance(infrared)
        local = cv2.GaussianBlur(change, (0, 0), 2 * DETAIL_SHARE * 640)
        worst = max(worst, float(np.abs(local).max()))
    return worst


def draw_sheet() -> np.ndarray:
    """Draws people by gain."""
    rows, titles = [], []
    for who in (1, 4, 9):
        visible, infrared = draw_pair(who)
        rows.append([visible, *(blend_msx(visible, infrared, gain=gain) for gain in GAINS)])
        titles.append("")
    return draw_contact_sheet(
        rows, titles, ["visible", *(f"gain {gain:g}" for gain in GAINS)], cell_px=200
    )


if __name__ == "__main__":
    if sys.argv[1] == "--figure":
        draw_likeness(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
