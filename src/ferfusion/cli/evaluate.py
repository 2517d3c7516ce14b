"""`ferfusion evaluate`: a trained model on any data of the same classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ferfusion.cli.groups import tell_engine
from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import say
from ferfusion.cli.unseen import choose_part, decode_for_model, divide_by_use
from ferfusion.config import Settings
from ferfusion.data.cache import ImageStore
from ferfusion.data.loading import index_labels
from ferfusion.errors import ResultsError
from ferfusion.evaluation.metrics import summarise
from ferfusion.evaluation.predictions import Predictions, write_predictions
from ferfusion.inference.bundle import is_bundle
from ferfusion.inference.engines import EngineChoice
from ferfusion.inference.predictor import Predictor, load
from ferfusion.reporting.tables import format_proportion
from ferfusion.training.machine import choose_device
from ferfusion.training.stages import EVALUATION_BATCH


def run_evaluate(
    model: Path, data: Path, part: str, out: Path | None, engine: EngineChoice, settings: Settings
) -> None:
    """Tests a run or a bundle and prints its accuracy, per-class rates and confusion matrix."""
    if out is not None and out.exists():
        raise ResultsError(f"{out} is there already and is not overwritten. Give another --out.")
    device = "cpu" if is_bundle(model) else choose_device(settings.device)
    predictor = load(model, engine=engine, device=device)
    tell_engine(engine, predictor.runner.engine)
    with StudyProgress() as progress:
        store = decode_for_model(predictor.facts, data, settings, progress.decode)
    chosen = choose_part(divide_by_use(model, store), part)
    rows = [row for row, sample in enumerate(store.samples) if sample.id in chosen]
    predictions = _ask(predictor, store, rows)
    _print_scores(predictions)
    if out is not None:
        write_predictions(predictions, out)
        say(f"Predictions: {out}")


def _ask(model: Predictor, store: ImageStore, rows: Sequence[int]) -> Predictions:
    """Gives the model's answers about some rows of a store."""
    samples = [store.samples[row] for row in rows]
    parts = [
        model.runner.predict({
            m: np.asarray(store.pictures[m][rows[start : start + EVALUATION_BATCH]])
            for m in model.modalities
        })
        for start in range(0, len(rows), EVALUATION_BATCH)
    ]  # fmt: skip
    return Predictions(
        sample_ids=tuple(sample.id for sample in samples),
        subjects=tuple(sample.subject for sample in samples),
        classes=model.labels,
        labels=index_labels(model.labels, [sample.expression for sample in samples]),
        probs=np.concatenate(parts).astype(np.float64),
    )


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
