"""`ferfusion evaluate`: a trained model on any data of the same classes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import open_data, say
from ferfusion.config import Settings
from ferfusion.data.cache import ImageStore, decode_all
from ferfusion.data.dataset import Dataset
from ferfusion.data.loading import index_labels
from ferfusion.errors import ConfigError, DataError, ResultsError
from ferfusion.evaluation.metrics import summarise
from ferfusion.evaluation.predictions import Predictions, write_predictions
from ferfusion.evaluation.run_folder import SEEN
from ferfusion.inference.bundle import is_bundle, read_seen
from ferfusion.inference.engines import Engine
from ferfusion.inference.model_facts import ModelFacts
from ferfusion.inference.predictor import Predictor, load
from ferfusion.preprocessing import PICTURE
from ferfusion.reporting.tables import format_proportion
from ferfusion.training.machine import choose_device
from ferfusion.training.stages import EVALUATION_BATCH


def run_evaluate(
    run: Path, data: Path, part: str, out: Path | None, engine: Engine, settings: Settings
) -> None:
    """Tests a model and prints its accuracy, per-class rates and confusion matrix."""
    if out is not None and out.exists():
        raise ResultsError(f"{out} is there already and is not overwritten. Give another --out.")
    # A GPU is asked for by name or taken where there is one; a bundle runs on the processor.
    model = load(
        run, engine=engine, device="cpu" if is_bundle(run) else choose_device(settings.device)
    )
    facts = model.facts
    settings = replace(settings, infrared_as=str(facts.heat or PICTURE))
    dataset = _fit_to_model(open_data(data, settings), facts)
    with StudyProgress() as progress:
        store = decode_all(
            dataset,
            facts.modalities,
            facts.size_px,
            heat=facts.heat,
            folder=Path(settings.cache) if settings.cache else None,
            limit_gb=settings.cache_limit,
            advance=progress.decode,
        )
    for note in store.notes:
        say(note, colour="yellow")
    chosen = _choose_samples(run, store, part)
    rows = [row for row, sample in enumerate(store.samples) if sample.id in chosen]
    predictions = _ask(model, store, rows)
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


def _fit_to_model(dataset: Dataset, facts: ModelFacts) -> Dataset:
    strange = [label for label in dataset.labels if label not in facts.labels]
    if strange:
        raise DataError(
            f"{dataset.root} has classes the model never learned: {', '.join(strange)}. It knows "
            f"{', '.join(facts.labels)}. Take those samples out, or train a new model."
        )
    complete = dataset.complete_in(facts.modalities)
    if not complete.samples:
        raise DataError(
            f"No sample of {dataset.root} has all that this model needs: "
            f"{', '.join(facts.modalities)}."
        )
    left_out = len(dataset.samples) - len(complete.samples)
    if left_out:
        say(f"{left_out} samples lack a modality that this model needs and are left out.")
    return complete


def _choose_samples(run: Path, store: ImageStore, part: str) -> set[str]:
    """Picks sample ids by what the run did with these very picture files."""
    seen = _read_seen(run)
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


def _read_seen(model: Path) -> dict[str, list[str]]:
    if is_bundle(model):
        return read_seen(model)
    return json.loads((model / SEEN).read_text()) if (model / SEEN).exists() else {}


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
