"""Degrees as input: the ways to show them to a model, tried against each other on drawn faces.

    .venv/bin/python experiments/heat_input.py FOLDER results/heat_input

(about an hour on two quiet cores) draws faces with their temperatures, trains a first
trunk on other drawn people as the demo does, and then an infrared model on splits by subject
(SEEDS), ResNet-18 at 64 px, once for each way: colours over each picture's own range, as cameras
show them, and `--infrared-as` window, standardised and palette. Trained models stay in FOLDER, and
a second call goes on from there. The drawn temperatures are a toy: people differ by about half a
degree, and anger and surprise cool the nose.
"""

import csv
import io
import sys
from pathlib import Path

import cv2
import numpy as np

from ferfusion.atomic import write_text
from ferfusion.cli.demo import OTHER_SUBJECTS, SIZE_PX, SUBJECTS, pretrain
from ferfusion.cli.progress import StudyProgress
from ferfusion.data.dataset import Dataset
from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import draw_sample, write_synthetic_dataset
from ferfusion.data.temperatures import use_temperatures
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import bootstrap_by_subject, holm, wilson
from ferfusion.expression import VIRI
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.modality import Modality
from ferfusion.preprocessing import PICTURE, parse_heat
from ferfusion.reporting.comparisons import compare_pair
from ferfusion.reporting.tables import RESAMPLING_SEED, format_p, format_points
from ferfusion.study.manifest import find_commit
from ferfusion.study.plan import Row
from ferfusion.study.run import run_row
from ferfusion.study.workbench import Setup, Workbench
from ferfusion.training.recipe import Hardware, Recipe

SEEDS = range(8)
EPOCHS = 20
"""Six were too few for pictures of low contrast (results/LOG.md)."""
WAYS = (PICTURE, "window:28,38", "standardised", "palette:28,38")
ROW = Row("single", (Modality.INFRARED,))


def main(folder: Path, out: Path) -> None:
    """Trains what is missing and writes the comparison."""
    data = folder / "faces"
    if not data.exists():
        draw_faces(data)
    trunk = folder / "trunk.safetensors"
    if not trunk.exists():
        others = write_synthetic_dataset(folder / "others", subjects=OTHER_SUBJECTS, seed=1)
        with StudyProgress() as progress:
            pretrain(others, trunk, progress)
    dataset = open_dataset(data)
    answers = {way: train(dataset, way, trunk, folder) for way in WAYS}
    write_comparison(answers, out)


def draw_faces(folder: Path) -> None:
    """Draws a data set as `ferfusion prepare` writes one, with temperatures."""
    lines = ["sample_id,subject"]
    for who in range(SUBJECTS):
        for number, label in enumerate(VIRI):
            seed = 100 * who + number
            drawn = draw_sample(
                draw_identity(5000 + who), label, light="even",
                intensity=float(np.random.default_rng(seed).uniform(0.6, 1.1)), seed=seed,
            )  # fmt: skip
            for kind in ("infrared", "temperature"):
                (folder / kind / label).mkdir(parents=True, exist_ok=True)
            name = f"{who:03}"
            colours = cv2.cvtColor(drawn.infrared, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / "infrared" / label / f"{name}.png"), colours)
            np.save(folder / "temperature" / label / f"{name}.npy", drawn.temperature_c)
            lines.append(f"{label}/{name},S{name}")
    write_text(folder / "subjects.csv", "\n".join(lines) + "\n")


def train(dataset: Dataset, way: str, trunk: Path, folder: Path) -> dict[int, Predictions]:
    """Gives the test predictions of one way under every seed."""
    heat = parse_heat(way)
    setup = Setup(
        modalities=ROW.modalities,
        backbone="resnet18",
        weights=str(trunk),
        size_px=SIZE_PX,
        split_kind="subject",
        split_file=None,
        recipe=Recipe(epochs=EPOCHS, backbone_learning_rate=3e-4),
        hardware=Hardware("cpu", precision="fp32"),
        heat=heat,
    )
    place = folder / way.replace(":", "-")
    seen = dataset if heat is None else use_temperatures(dataset)
    bench = Workbench(seen, setup, place / "table", None)
    return {
        seed: run_row(bench, ROW, seed, place / f"seed-{seed}", {}, lambda _: None).predictions
        for seed in SEEDS
    }


def write_comparison(answers: dict[str, dict[int, Predictions]], out: Path) -> None:
    """Writes the table for people and for programs."""
    pairs = {way: compare_pair(answers[way], answers[PICTURE]) for way in WAYS[1:]}
    found = {way: pair for way, pair in pairs.items() if pair is not None}
    adjusted = dict(zip(found, holm([p.test.p_value for p in found.values()]), strict=True))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("infrared_as", "n", "correct", "points", "low", "high", "p", "p_holm"))
    lines = []
    for way in WAYS:
        correct = sum(int(p.correct.sum()) for p in answers[way].values())
        n = sum(len(p.correct) for p in answers[way].values())
        span = wilson(correct, n)
        share = f"{correct}/{n} = {100 * correct / n:.1f} %"
        share += f" [{100 * span.low:.1f}, {100 * span.high:.1f}]"
        if way not in found:
            writer.writerow((way, n, correct, "", "", "", "", ""))
            lines.append(f"| {way}, each picture's own range | {share} | | | |")
            continue
        pair = found[way]
        gained = pair.first.astype(float) - pair.second
        around = bootstrap_by_subject(gained, pair.groups, RESAMPLING_SEED)
        low, high = 100 * around.low, 100 * around.high
        points, p = 100 * pair.test.difference, pair.test.p_value
        writer.writerow(
            (way, n, correct, f"{points:.2f}", f"{low:.2f}", f"{high:.2f}", f"{p:.4f}",
             f"{adjusted[way]:.4f}")
        )  # fmt: skip
        lines.append(
            f"| {way} | {share} | {format_points(points / 100)} | {low:+.1f} to {high:+.1f} | "
            f"{format_p(p)}, {format_p(adjusted[way])} |"
        )
    write_text(out / "ways.csv", text.getvalue())
    parts = [
        "# Degrees as input",
        f"Drawn faces with drawn temperatures, infrared alone, ResNet-18, 64 px, {EPOCHS} epochs, "
        f"{len(SEEDS)} splits by subject, a seed each. A toy of heat: it shows that the ways work, "
        f"not which is best on real faces. Commit {find_commit()}. Made by "
        "`experiments/heat_input.py`. Difference to the first line; 95 %: whole people drawn anew; "
        "p: whole people permuted, then Holm's adjustment over the three.",
        "| `--infrared-as` | right on test [Wilson] | points | 95 % | p, adjusted |\n"
        "|---|---:|---:|---:|---:|\n" + "\n".join(lines),
    ]
    write_text(out / "README.md", "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
