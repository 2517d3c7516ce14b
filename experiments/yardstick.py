"""Whether the plain script of the benchmarks trains models as good as ours, on the same splits.

    OMP_NUM_THREADS=1 .venv/bin/python experiments/yardstick.py DATA WEIGHTS results/yardstick

(about half an hour on a quiet machine) trains the visible and the infrared model with
MobileNetV2 from WEIGHTS, 96 px, 6 epochs, with `benchmarks/plain_script.py` and with ferfusion, on
five splits by subject, and writes the right answers of both and a paired test. What is done already
is read back.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ferfusion.atomic import write_text
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import Split, draw_subject_split, write_split
from ferfusion.evaluation.statistics import permute_by_subject
from ferfusion.modality import Modality
from ferfusion.reporting.tables import format_points
from ferfusion.study.manifest import find_commit
from ferfusion.study.plan import Row
from ferfusion.study.workbench import Setup, Workbench
from ferfusion.training.recipe import Hardware, Recipe
from ferfusion.training.stages import fit_single

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import plain_script

SEEDS, SIZE, EPOCHS, BATCH = range(5), 96, 6, 32
MODALITIES = (Modality.VISIBLE, Modality.INFRARED)
Right = dict[str, bool]
"""Sample id -> whether the answer is right."""


def main(data: Path, weights: Path, out: Path) -> None:
    """Trains what is missing, and writes the comparison."""
    dataset = open_dataset(data)
    subject_of = {sample.id: sample.subject for sample in dataset.samples}
    lines = [
        "model,seed,plain_correct,ours_correct,n",
    ]
    told: list[str] = []
    for modality in MODALITIES:
        plain_right: list[bool] = []
        ours_right: list[bool] = []
        groups: list[tuple[str, str]] = []
        for seed in SEEDS:
            split = draw_subject_split(dataset, seed)
            plain = _keep(
                out, f"plain-{modality}-{seed}", train_plain, data, weights, modality, split
            )
            ours = _keep(out, f"ours-{modality}-{seed}", train_ours, data, weights, modality, split)
            assert plain.keys() == ours.keys()
            lines.append(
                f"{modality},{seed},{sum(plain.values())},{sum(ours.values())},{len(ours)}"
            )
            print(lines[-1], flush=True)
            for i in ours:
                plain_right.append(plain[i])
                ours_right.append(ours[i])
                groups.append(("subject", str(subject_of[i])))
        test = permute_by_subject(np.array(ours_right), np.array(plain_right), groups, 0)
        told.append(
            f"| {modality} | {sum(plain_right)} | {sum(ours_right)} | {len(groups)} | "
            f"{format_points(test.difference)} | {test.p_value:.3f} |"
        )
    write_text(out / "counts.csv", "\n".join(lines) + "\n")
    heading = [
        "# The plain script against ours: the same answers?",
        "Stand-in (infrared simulated), MobileNetV2 from ImageNet, 96 px, 6 epochs, five splits by "
        f"subject, one seed each. Commit {find_commit()}. Made by `experiments/yardstick.py`; "
        "p by permuting whole people over all splits at once.",
        "| model | plain right | ours right | answers | ours minus plain, points | p |\n"
        "|---|---:|---:|---:|---:|---:|\n" + "\n".join(told),
    ]
    write_text(out / "README.md", "\n\n".join(heading) + "\n")


def _keep(out: Path, name: str, train: object, *given: object) -> Right:
    path = out / "answers" / f"{name}.json"
    if not path.exists():
        found = train(*given)  # pyright: ignore
        write_text(path, json.dumps(found) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


def train_plain(data: Path, weights: Path, modality: Modality, split: Split) -> Right:
    """Trains with the plain script; one thread for data, as it found best."""
    with tempfile.TemporaryDirectory() as folder:
        table = _write_table(data, Path(folder))
        path = Path(folder) / "split.csv"
        write_split(split, path)
        study = plain_script.Study(
            table, path, epochs=EPOCHS, size=SIZE, backbone="mobilenet_v2", weights=weights,
            batch=BATCH, workers=0, seed=split.seed,
        )  # fmt: skip
        model, _ = study.train((str(modality),))
        model.eval()
        right: Right = {}
        for sample in study.parts["test"]:
            probs = plain_script.classify(model, sample, SIZE)
            right[sample["id"]] = study.labels[int(np.argmax(probs))] == sample["expression"]
        return right


def _write_table(data: Path, folder: Path) -> Path:
    rows = ["sample_id,expression,visible,infrared,msx"]
    for sample in open_dataset(data).samples:
        names: Sequence[str] = [str(sample.images[m].path.resolve()) for m in Modality]
        rows.append(",".join((sample.id, sample.expression, *names)))
    path = folder / "table.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def train_ours(data: Path, weights: Path, modality: Modality, split: Split) -> Right:
    """Trains with ferfusion, in fp32 as the plain script."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.csv"
        write_split(split, path)
        setup = Setup(
            modalities=(modality,),
            backbone="mobilenet_v2",
            weights=str(weights),
            size_px=SIZE,
            split_kind="subject",
            split_file=path,
            recipe=Recipe(epochs=EPOCHS, batch_size=BATCH),
            hardware=Hardware("cpu", precision="fp32"),
        )
        bench = Workbench(open_dataset(data), setup, Path(folder) / "study", None)
        lab = bench.lab(Row("single", (modality,)), split.seed)
        made = fit_single(lab, modality, Path(folder) / "run")
        return {
            i: bool(right) for i, right in zip(made.test.sample_ids, made.test.correct, strict=True)
        }


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(Path, sys.argv[1:4]))
