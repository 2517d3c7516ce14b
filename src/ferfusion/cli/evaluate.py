"""`ferfusion evaluate`: a trained model on any data of the same classes."""

from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import say
from ferfusion.cli.unseen import choose_part, decode_for_model, divide_by_use
from ferfusion.config import Settings
from ferfusion.data.loading import Loader, index_labels
from ferfusion.errors import ResultsError
from ferfusion.evaluation.collect import collect
from ferfusion.evaluation.metrics import summarise
from ferfusion.evaluation.predictions import Predictions, write_predictions
from ferfusion.models.checkpoint import load_checkpoint
from ferfusion.reporting.tables import format_proportion
from ferfusion.training.machine import choose_device
from ferfusion.training.stages import EVALUATION_BATCH


def run_evaluate(run: Path, data: Path, part: str, out: Path | None, settings: Settings) -> None:
    """Tests a model and prints its accuracy, per-class rates and confusion matrix."""
    if out is not None and out.exists():
        raise ResultsError(f"{out} is there already and is not overwritten. Give another --out.")
    checkpoint = load_checkpoint(run)
    blueprint = checkpoint.blueprint
    with StudyProgress() as progress:
        store = decode_for_model(checkpoint, data, settings, progress.decode)
    chosen = choose_part(divide_by_use(run, store), part)
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
