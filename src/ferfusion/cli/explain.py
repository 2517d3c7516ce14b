"""`ferfusion explain`: what a trained model looked at, and how far to believe that."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8

from ferfusion.cli.explain_files import PAGE, check_out, write_files
from ferfusion.cli.explanation import Explanation, Wishes, make_page
from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import say
from ferfusion.cli.unseen import choose_part, decode_for_model, divide_by_use
from ferfusion.config import Settings
from ferfusion.data.cache import ImageStore
from ferfusion.data.loading import Loader, index_labels
from ferfusion.errors import ConfigError, ResultsError, unknown_name
from ferfusion.evaluation.collect import collect
from ferfusion.evaluation.faithfulness import Curves, compare_orders, tell_faithfulness
from ferfusion.evaluation.heat_regions import tell_grain, total_regions
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.run_folder import RUN
from ferfusion.evaluation.shapley import average_credit, share_credit
from ferfusion.evaluation.statistics import number_subjects
from ferfusion.imaging.faces.detector import FaceDetector
from ferfusion.imaging.faces.regions import FIXED_POINTS, REGIONS, find_points, label_regions
from ferfusion.imaging.faces.weights import find_weights
from ferfusion.inference.cam import HeatMaps, explain_samples, find_method
from ferfusion.inference.cam_sheet import choose_samples, lay_maps, spread_over_classes
from ferfusion.inference.removal import trace_curves
from ferfusion.inference.subsets import check_absent, value_subsets
from ferfusion.inference.torch_engine import describe_checkpoint
from ferfusion.modality import Modality
from ferfusion.models.borrowing import borrow
from ferfusion.models.checkpoint import TENSORS, Checkpoint, load_checkpoint
from ferfusion.models.late_fusion import LateFusionModel
from ferfusion.study.plan import Row
from ferfusion.study.run import name_run, read_run
from ferfusion.training.loop import STATE
from ferfusion.training.machine import choose_device
from ferfusion.training.stages import EVALUATION_BATCH

OTHERS = 60
"""Faces that stand for a modality that isn't known, at most."""

_TOGETHER = 8  # samples whose maps are made at once, so that the bar moves


def run_explain(
    run: Path, data: Path, out: Path, wishes: Wishes, settings: Settings, *, overwrites: bool
) -> None:
    """Makes maps and numbers about a model, and writes them with a page that shows them."""
    began = time.monotonic()
    check_out(out, overwrites=overwrites)
    find_method(wishes.method)
    checkpoint = _load(run)
    labels = checkpoint.blueprint.labels
    if wishes.explained is not None and wishes.explained not in labels:
        raise ConfigError(unknown_name("class of this model", wishes.explained, labels))
    check_absent(checkpoint, wishes.absent)
    weights = find_weights() if wishes.measured else None
    device = torch.device(choose_device(settings.device))
    # All of its modalities, also one that a late fusion never asks.
    facts = replace(describe_checkpoint(checkpoint), modalities=checkpoint.blueprint.modalities)
    with StudyProgress() as progress:
        store = decode_for_model(facts, data, settings, progress.decode)
        parts = divide_by_use(run, store)
        part = "all" if wishes.sample_ids and not wishes.measured else wishes.part
        chosen = choose_part(parts, part)
        rows = np.array([r for r, s in enumerate(store.samples) if s.id in chosen], dtype=np.int64)
        predictions = _predict(checkpoint, store, rows, device)
        shown = _find_shown(wishes, store, parts, predictions)
        with progress.counting("drawing maps", 1) as advance:
            columns = lay_maps(
                _list_models(run, checkpoint), _gather(store, shown),
                [store.samples[row].expression for row in shown],
                method=wishes.method, explained=wishes.explained, device=device,
            )  # fmt: skip
            advance()
        made = Explanation(
            run=run, data=data, wishes=wishes, checkpoint=checkpoint, predictions=predictions,
            fingerprint=store.fingerprint,
            shown=tuple(store.samples[row] for row in shown), columns=tuple(columns),
        )  # fmt: skip
        if wishes.measured:
            places = spread_over_classes(predictions.labels, wishes.measured, predictions.subjects)
            others = _choose_others(parts, store, rows, labels)
            say(f"Measuring {len(places)} samples; --measure 0 leaves that out.")
            made = _measure(made, store, rows[places], places, others, weights, progress, device)
    made = replace(made, seconds=round(time.monotonic() - began, 1))
    page = make_page(made)
    write_files(made, page, out, overwrites=overwrites)
    say(f"\n{page.finding}")
    say(f"Look at {out / PAGE}: it shows maps, numbers, and your own pictures.")


def _load(run: Path) -> Checkpoint:
    if (run / STATE).exists() and not (run / TENSORS).exists():
        raise ResultsError(
            f"The training in {run} is not finished. Type the line that began it once more, and it "
            "goes on; then explain it."
        )
    return load_checkpoint(run)


def _predict(
    checkpoint: Checkpoint, store: ImageStore, rows: Int[np.ndarray, " rows"], device: torch.device
) -> Predictions:
    blueprint = checkpoint.blueprint
    expressions = [store.samples[row].expression for row in rows]
    loader = Loader(
        store=store, rows=rows, labels=index_labels(blueprint.labels, expressions),
        modalities=blueprint.modalities, batch_size=EVALUATION_BATCH,
    )  # fmt: skip
    with borrow(checkpoint.model, device) as model:
        return collect(model, loader, checkpoint.preprocessing, blueprint.labels, device)


def _find_shown(
    wishes: Wishes, store: ImageStore, parts: Mapping[str, set[str]], predictions: Predictions
) -> list[int]:
    """Gives rows of the store.

    Raises:
        ConfigError: An id is unknown.
    """
    wanted = wishes.sample_ids or choose_samples(predictions, count=wishes.count)
    row_of = {sample.id: row for row, sample in enumerate(store.samples)}
    for sample_id in wanted:
        if sample_id not in row_of:
            raise ConfigError(unknown_name("sample", sample_id, row_of))
    known = [i for i in wanted if i in parts["train"] or i in parts["val"]]
    if wishes.sample_ids and known:
        say(f"Careful: {len(known)} of the samples shown trained or chose the model.")
    return [row_of[sample_id] for sample_id in dict.fromkeys(wanted)]


def _gather(
    store: ImageStore, rows: list[int] | Int[np.ndarray, " rows"]
) -> dict[Modality, UInt8[np.ndarray, "samples size size 3"]]:
    return {m: store.gather(m, np.asarray(rows, dtype=np.int64)) for m in store.pictures}


def _list_models(run: Path, checkpoint: Checkpoint) -> dict[str, Checkpoint]:
    """Names what the sheet shows: the single models that belong to a fused one, then that."""
    blueprint = checkpoint.blueprint
    found: dict[str, Checkpoint] = {}
    if isinstance(checkpoint.model, LateFusionModel):
        for modality in blueprint.modalities:
            alone = replace(blueprint, fusion="single", modalities=(modality,), mixture=None)
            single = checkpoint.model.singles[str(modality)]
            found[f"{modality} alone"] = replace(checkpoint, model=single, blueprint=alone)
    elif blueprint.fusion == "early":
        found |= {f"{m} alone": single for m, single in _find_singles(run, checkpoint)}
    name = "model" if blueprint.fusion == "single" else f"{blueprint.fusion} fusion"
    return {**found, name: checkpoint}


def _find_singles(run: Path, checkpoint: Checkpoint) -> list[tuple[Modality, Checkpoint]]:
    """Finds finished single models of the same split: in the run's stages, or beside it."""
    if not (run / RUN).exists():
        return []
    own = read_run(run)
    method = "attention" if own.record.method == "attention" else "network"
    singles: list[tuple[Modality, Checkpoint]] = []
    for modality in checkpoint.blueprint.modalities:
        row = Row("single", (modality,), method=method)
        beside = name_run(row, own.record.seed, own.record.fold)
        for folder in (run / "stages" / row.name, run.resolve().parent / beside):
            if not ((folder / RUN).exists() and (folder / TENSORS).exists()):
                continue
            is_same = read_run(folder).facts["split_checksum"] == own.facts["split_checksum"]
            single = load_checkpoint(folder) if is_same else None
            if single is not None and single.blueprint.labels == checkpoint.blueprint.labels:
                singles.append((modality, single))
                break
    return singles


def _choose_others(
    parts: Mapping[str, set[str]],
    store: ImageStore,
    rows: Int[np.ndarray, " rows"],
    labels: tuple[str, ...],
) -> tuple[Int[np.ndarray, " others"], str]:
    """Gives rows of other faces, and where they are from: training where DATA has it."""
    trained = np.array([r for r, s in enumerate(store.samples) if s.id in parts["train"]], np.int64)
    pool, where = (trained, "training") if len(trained) else (rows, "the samples themselves")
    expressions = [store.samples[row].expression for row in pool]
    return pool[spread_over_classes(index_labels(labels, expressions), OTHERS)], where


def _measure(
    made: Explanation,
    store: ImageStore,
    rows: Int[np.ndarray, " rows"],
    places: Int[np.ndarray, " rows"],
    others: tuple[Int[np.ndarray, " others"], str],
    weights: Path | None,
    progress: StudyProgress,
    device: torch.device,
) -> Explanation:
    """Adds all that is measured over many samples."""
    checkpoint, wishes = made.checkpoint, made.wishes
    labels, n = checkpoint.blueprint.labels, len(rows)
    pictures = _gather(store, rows)
    subjects = tuple(store.samples[row].subject for row in rows)
    answers = made.predictions.predicted[places]
    wanted = wishes.explained
    explained = answers if wanted is None else np.full_like(answers, labels.index(wanted))
    heat: list[HeatMaps] = []
    found: list[Curves] = []
    with progress.counting("making maps", n) as advance:
        for start in range(0, n, _TOGETHER):
            some = slice(start, start + _TOGETHER)
            few = {m: p[some] for m, p in pictures.items()}
            heat.append(
                explain_samples(
                    checkpoint, few, classes=explained[some], method=wishes.method, device=device
                )
            )
            for _ in range(len(heat[-1].explained)):
                advance()
    with progress.counting("taking pictures apart", n) as advance:
        for number, maps in enumerate(heat):
            some = slice(number * _TOGETHER, number * _TOGETHER + _TOGETHER)
            few = {m: p[some] for m, p in pictures.items()}
            found.append(
                trace_curves(checkpoint, few, maps, device=device, seed=number, advance=advance)
            )
    curves = {
        kind: {order: np.concatenate([c[kind][order] for c in found]) for order in found[0][kind]}
        for kind in found[0]
    }
    with progress.counting("finding faces", n) as advance:
        points, about_regions = _locate(store, rows, weights, advance)
    layouts = [label_regions(own, store.size_px) for own in points]
    joined = {m: np.concatenate([h.maps[m] for h in heat]) for m in heat[0].maps}
    comparisons = compare_orders(curves, subjects)
    everybody = made.predictions.subjects
    made = replace(
        made, measured=tuple(store.samples[row] for row in rows), places=places,
        explained=explained, curves=curves, comparisons=tuple(comparisons),
        finding=tell_faithfulness(
            wishes.method, comparisons, samples=len(everybody),
            people=len(np.unique(number_subjects(everybody, len(everybody)))),
        ),
        people=comparisons[0].people,
        regions=tuple(
            total_regions(joined, np.stack(layouts), REGIONS, explained, subjects, labels)
        ),
        about_regions=f"{about_regions} {tell_grain(heat[0].grain)}".strip(),
        layers=dict(heat[0].layers),
    )  # fmt: skip
    if checkpoint.blueprint.fusion == "single":
        return made
    values = value_subsets(
        checkpoint, pictures, explained, _gather(store, others[0]), absent=wishes.absent,
        device=device,
    )  # fmt: skip
    credit = share_credit(values)
    return replace(
        made, values=values, credit=credit, others=(len(others[0]), others[1]),
        contributions=tuple(average_credit(credit, explained, subjects, labels)),
    )  # fmt: skip


def _locate(
    store: ImageStore,
    rows: Int[np.ndarray, " rows"],
    weights: Path | None,
    advance: Callable[[], None],
) -> tuple[list[np.ndarray], str]:
    """Gives five points of each face, and says how they were had."""
    fixed = np.array(FIXED_POINTS)
    if weights is None:
        return [fixed] * len(rows), (
            "The regions lie at fixed places, where `ferfusion prepare` leaves eyes, nose and "
            "mouth: this machine has no weights of the face detector (`ferfusion check` says how "
            "to get them). In pictures cut otherwise they are off."
        )
    detector = FaceDetector(weights)
    # Visible pictures are the detector's own, and MSX has their outlines.
    order = [m for m in (Modality.VISIBLE, Modality.MSX, Modality.INFRARED) if m in store.pictures]
    found: list[np.ndarray | None] = []
    for row in rows:
        found.append(find_points(detector, [np.array(store.pictures[m][row]) for m in order]))
        advance()
    known = [points for points in found if points is not None]
    missing = len(rows) - len(known)
    rest, instead = (
        (np.median(known, axis=0), "the middle of where the others have them")
        if known
        else (fixed, "fixed places, where `ferfusion prepare` leaves them")
    )
    about = (
        f"The regions follow eyes, nose and mouth as a face detector found them in {len(known)} of "
        f"{len(rows)} samples"
    )
    about += f"; in the other {missing} they lie at {instead}." if missing else "."
    return [rest if points is None else points for points in found], about
