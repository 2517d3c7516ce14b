"""`ferfusion evaluate`: a trained model on any data of the same classes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import open_data, say
from ferfusion.config import Settings
from ferfusion.data.cache import ImageStore, decode_all
from ferfusion.data.dataset import Dataset
from ferfusion.data.loading import Loader, index_labels
from ferfusion.errors import ConfigError, DataError, ResultsError
from ferfusion.evaluation.collect import collect
from ferfusion.evaluation.metrics import summarise
from ferfusion.evaluation.predictions import Predictions, write_predictions
from ferfusion.evaluation.run_folder import SEEN
from ferfusion.models.blueprint import Blueprint
from ferfusion.models.checkpoint import load_checkpoint
from ferfusion.preprocessing import PICTURE
from ferfusion.reporting.tables import format_proportion
from ferfusion.training.machine import choose_device
from ferfusion.training.stages import EVALUATION_BATCH


def run_evaluate(run: Path, data: Path, part: str, out: Path | None, settings: Settings) -> None:
    """Tests a model and prints its accuracy, per-class rates and confusion matrix."""
    if out is not None and out.exists():
        raise ResultsError(f"{out} is there already and is not overwritten. Give another --out.")
    checkpoint = load_checkpoint(run)
    blueprint = checkpoint.blueprint
    heat = checkpoint.preprocessing.heat
    settings = replace(settings, infrared_as=str(heat or PICTURE))
    dataset = _fit_to_model(open_data(data, settings), blueprint)
    with StudyProgress() as progress:
        store = decode_all(
            dataset,
            blueprint.modalities,
            checkpoint.preprocessing.size_px,
            heat=heat,
            folder=Path(settings.cache) if settings.cache else None,
            limit_gb=settings.cache_limit,
            advance=progress.decode,
        )
    for note in store.notes:
        say(note, colour="yellow")
    chosen = _choose_samples(run, store, part)
    rows = np.array([r for r, s in enumerate(store.samples) if s.id in chosen], dtype=np.int64)
    expressions = [store.samples[row].expression for row in rows]
    loader = Loader(
        store=store,
        rows=rows,
        labels=index_labels(blueprint.labels, expressions),
        modalities=blueprint.modalities,
        batch_size=EVALUATION_BATCH,
    )
    device = torch.device(choose_device(settings.device))
    predictions = collect(
        checkpoint.model, loader, checkpoint.preprocessing, blueprint.labels, device
    )
    _print_scores(predictions)
    if out is not None:
        write_predictions(predictions, out)
        say(f"Predictions: {out}")


def _fit_to_model(dataset: Dataset, blueprint: Blueprint) -> Dataset:
    strange = [label for label in dataset.labels if label not in blueprint.labels]
    if strange:
        raise DataError(
            f"{dataset.root} has classes the model never learned: {', '.join(strange)}. It knows "
            f"{', '.join(blueprint.labels)}. Take those samples out, or train a new model."
        )
    complete = dataset.complete_in(blueprint.modalities)
    if not complete.samples:
        raise DataError(
            f"No sample of {dataset.root} has all that this model needs: "
            f"{', '.join(blueprint.modalities)}."
        )
    left_out = len(dataset.samples) - len(complete.samples)
    if left_out:
        say(f"{left_out} samples lack a modality that this model needs and are left out.")
    return complete


def _choose_samples(run: Path, store: ImageStore, part: str) -> set[str]:
    """Picks sample ids by what the run did with these very picture files."""
    seen = json.loads((run / SEEN).read_text()) if (run / SEEN).exists() else {}
    if not seen:
        say(
            f"{run} has no {SEEN}, so nobody can tell whether these samples trained the model.",
            colour="yellow",
        )
    people = set(seen.pop("subjects", ()))
    part_of = {digest: name for name, digests in seen.items() for digest in digests}
    parts: dict[str, set[str]] = {"train": set(), "val": set(), "test": set(), "new": set()}
    for row, sample in enumerate(store.samples):
        met = {part_of[rows[row]] for rows in store.digests.values() if rows[row] in part_of}
        # Copies of one file may lie in two parts; having been trained on weighs most.
        parts[next((p for p in ("train", "val", "test") if p in met), "new")].add(sample.id)
    everything = set().union(*parts.values())
    known_people = {s.subject for s in store.samples if s.id in parts["new"]} & people
    if known_people:
        say(
            f"Careful: {len(known_people)} subjects of pictures new to the model have names that "
            "it was trained on. If they are the same people, they flatter it.",
            colour="yellow",
        )
    known = len(parts["train"]) + len(parts["val"])
    if part == "auto" and known:
        say(
            f"{known} of these {len(everything)} samples trained or chose this model and are left "
            "out (--part all takes them in)."
        )
        part = "unseen"
    elif part in ("auto", "all"):
        if known:
            say(f"Careful: {known} of these samples trained or chose the model; they flatter it.")
        return everything
    chosen = parts["test"] | parts["new"] if part == "unseen" else parts[part]
    if not chosen:
        raise ConfigError(
            f"No sample is left: of {len(everything)}, {len(parts['train'])} trained the model, "
            f"{len(parts['val'])} chose it, {len(parts['test'])} tested it and "
            f"{len(parts['new'])} are new to it. --part all takes every one."
        )
    return chosen


def _print_scores(predictions: Predictions) -> None:
    classes = predictions.classes
    scores = summarise(predictions.labels, predictions.predicted, len(classes))
    console = Console(highlight=False)
    console.print(
        f"\n[bold]{format_proportion(scores.correct, scores.n)}[/bold] (95 % Wilson interval)"
    )
    console.print(
        f"macro precision {scores.macro_precision:.3f}, recall {scores.macro_recall:.3f}, "
        f"F1 {scores.macro_f1:.3f}\n"
    )
    table = Table(title="true class (rows) and answer (columns)")
    table.add_column("")
    for name in classes:
        table.add_column(name, justify="right")
    for row, name in enumerate(classes):
        counts = [
            int(((predictions.labels == row) & (predictions.predicted == column)).sum())
            for column in range(len(classes))
        ]
        table.add_row(
            name, *(f"[bold]{n}[/bold]" if c == row else str(n) for c, n in enumerate(counts))
        )
    console.print(table)
