"""What bf16 in training and int8 in use change: the same models, the same faces, paired tests.

    .venv/bin/python experiments/precision.py FOLDER results/precision

(about three quarters of an hour on two quiet cores) draws faces, trains a first trunk on other
drawn people as the demo does, and then, on many splits by subject (SEEDS), a visible model and
early fusion of visible and infrared with ResNet-18 at 64 px, each in fp32 and in bf16. Each
model trained in fp32 also becomes an int8 graph. Trained models stay in FOLDER, and a second call
goes on from there.
"""

import csv
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferfusion.atomic import write_text
from ferfusion.cli.demo import OTHER_SUBJECTS, SIZE_PX, SUBJECTS, pretrain
from ferfusion.cli.progress import StudyProgress
from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import bootstrap_by_subject
from ferfusion.inference.graph import export_graph
from ferfusion.inference.runner import open_graph
from ferfusion.modality import Modality
from ferfusion.models.checkpoint import load_checkpoint
from ferfusion.reporting.comparisons import compare_pair
from ferfusion.reporting.tables import RESAMPLING_SEED, format_p, format_points
from ferfusion.study.manifest import find_commit
from ferfusion.study.plan import Row
from ferfusion.study.run import run_row
from ferfusion.study.workbench import Setup, Workbench
from ferfusion.training.recipe import Hardware, Precision, Recipe

SEEDS = range(15)
V, IR = Modality.VISIBLE, Modality.INFRARED
ROWS = (Row("single", (V,)), Row("early", (V, IR), 1))


@dataclass(frozen=True)
class Effect:
    """One way to compute held against fp32, over all seeds."""

    model: str
    what: str
    n: int
    fp32_correct: int
    other_correct: int
    same_label: int
    points: float
    low: float
    high: float
    p: float
    largest_difference: float


def main(folder: Path, out: Path) -> None:
    """Trains what is missing and writes the comparison."""
    faces = write_synthetic_dataset(folder / "faces", subjects=SUBJECTS)
    trunk = folder / "trunk.safetensors"
    if not trunk.exists():
        others = write_synthetic_dataset(folder / "others", subjects=OTHER_SUBJECTS, seed=1)
        with StudyProgress() as progress:
            pretrain(others, trunk, progress)
    effects: list[Effect] = []
    for row in ROWS:
        trained = {p: train(faces, trunk, folder / p, row, p) for p in ("fp32", "bf16")}
        effects.append(compare(row.name, "bf16 in training", trained["fp32"], trained["bf16"]))
        graphs = {s: ask_graph(faces, trunk, folder / "fp32", row, s) for s in SEEDS}
        effects.append(compare(row.name, "int8 in use", trained["fp32"], graphs))
    write_effects(effects, out)


def train(
    faces: Path, trunk: Path, folder: Path, row: Row, precision: Precision
) -> dict[int, Predictions]:
    """Gives the test predictions of a model under every seed."""
    bench = open_bench(faces, trunk, folder, row, precision)
    return {
        seed: run_row(bench, row, seed, folder / f"{row.name}-{seed}", {}, lambda _: None)
        .predictions
        for seed in SEEDS
    }  # fmt: skip


def open_bench(faces: Path, trunk: Path, folder: Path, row: Row, precision: Precision) -> Workbench:
    """Opens the data as one row needs it."""
    setup = Setup(
        modalities=row.modalities,
        backbone="resnet18",
        weights=str(trunk),
        size_px=SIZE_PX,
        split_kind="subject",
        split_file=None,
        recipe=Recipe(epochs=6, backbone_learning_rate=3e-4),
        hardware=Hardware("cpu", precision=precision),
    )
    return Workbench(open_dataset(faces), setup, folder / f"table-{row.name}", None)


def ask_graph(faces: Path, trunk: Path, folder: Path, row: Row, seed: int) -> Predictions:
    """Gives what the int8 graph of a trained model says of its test samples."""
    bench = open_bench(faces, trunk, folder, row, "fp32")
    lab, kept = bench.lab(row, seed), folder / f"{row.name}-{seed}"
    path = kept / "int8.onnx"
    if not path.exists():
        train_rows = lab.rows("train")[:100]
        seen = {m: lab.store.gather(m, train_rows) for m in row.modalities}
        export_graph(load_checkpoint(kept), path, calibration=seen)
    rows = lab.rows("test")
    runner = open_graph(path)
    probs = runner.predict({m: lab.store.gather(m, rows) for m in row.modalities})
    samples = [lab.store.samples[r] for r in rows]
    return Predictions(
        sample_ids=tuple(s.id for s in samples),
        subjects=tuple(s.subject for s in samples),
        classes=lab.labels,
        labels=lab.loader("test", row.modalities).labels,
        probs=probs.astype(np.float64),
    )


def compare(
    model: str, what: str, fp32: Mapping[int, Predictions], other: Mapping[int, Predictions]
) -> Effect:
    """Holds the answers of all seeds against those of fp32."""
    paired = compare_pair(other, fp32)
    if paired is None:
        raise RuntimeError("nothing to compare")
    same = sum(int((other[s].predicted == fp32[s].predicted).sum()) for s in fp32)
    far = max(float(np.abs(other[s].probs - fp32[s].probs).max()) for s in fp32)
    gained = paired.first.astype(float) - paired.second
    span = bootstrap_by_subject(gained, paired.groups, RESAMPLING_SEED)
    return Effect(
        model, what, len(paired.first), int(paired.second.sum()), int(paired.first.sum()), same,
        100 * paired.test.difference, 100 * span.low, 100 * span.high, paired.test.p_value, far,
    )  # fmt: skip


def write_effects(effects: list[Effect], out: Path) -> None:
    """Writes the table for people and for programs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("model", "what", "n", "fp32_correct", "other_correct", "same_label", "points", "low",
         "high", "p", "largest_difference")
    )  # fmt: skip
    lines = []
    for e in effects:
        writer.writerow(
            (e.model, e.what, e.n, e.fp32_correct, e.other_correct, e.same_label,
             f"{e.points:.2f}", f"{e.low:.2f}", f"{e.high:.2f}", f"{e.p:.4f}",
             f"{e.largest_difference:.4f}")
        )  # fmt: skip
        lines.append(
            f"| {e.model} | {e.what} | {e.fp32_correct} | {e.other_correct} | {e.n} | "
            f"{e.same_label} | {format_points(e.points / 100)} | {e.low:+.1f} to {e.high:+.1f} | "
            f"{format_p(e.p)} | "
            f"{e.largest_difference:.3f} |"
        )
    write_text(out / "effects.csv", text.getvalue())
    parts = [
        "# What bf16 and int8 change",
        f"Drawn faces, ResNet-18, 64 px, 6 epochs, {len(SEEDS)} splits by subject, a seed each; "
        f"right answers on test over all splits. Commit {find_commit()}. Made by "
        "`experiments/precision.py`. 95 %: whole people drawn anew. p: whole people permuted, not "
        "adjusted. Training in bf16 gives another model, as another seed would; int8 is the same "
        "model, computed otherwise.",
        "| model | what | fp32 right | with it | answers | same label | points | 95 % | p | "
        "largest difference of a probability |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        + "\n".join(lines),
    ]
    write_text(out / "README.md", "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
