"""Our side of every work, through ferfusion's own modules, at its fastest setting.

Each function does one round in a process of its own. It gives `value`, in the unit of the work,
and whatever else is worth keeping.
"""

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import find_peak_mb, time_once, time_warm
from setting import Setting
from torch.utils.flop_counter import FlopCounterMode

from ferfusion.data.loading import normalise
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import PARTS, Part
from ferfusion.inference.graph import export_graph
from ferfusion.inference.parity import measure_parity
from ferfusion.inference.prediction import (
    predict_one,
    predict_stream,
    read_square,
    write_answers,
)
from ferfusion.inference.runner import Runner, open_graph
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.blueprint import Blueprint, assemble
from ferfusion.models.checkpoint import TENSORS, Checkpoint, load_checkpoint, save_checkpoint
from ferfusion.sample import Sample
from ferfusion.study.executors import Failure
from ferfusion.study.plan import Row, list_rows
from ferfusion.study.schedule import Table, list_jobs, read_finished, run_jobs
from ferfusion.study.workbench import Setup, Workbench
from ferfusion.training.features import VARIANTS
from ferfusion.training.loop import Epoch
from ferfusion.training.recipe import Frozen, Hardware, Recipe
from ferfusion.training.stages import Lab, fit_early, fit_single
from ferfusion.training.weight_search import list_weights, search_weights

Measured = dict[str, Any]
V = Modality.VISIBLE


def epoch_single(setting: Setting) -> Measured:
    """The second epoch of the visible model, with the time of its data path and its arithmetic."""
    with tempfile.TemporaryDirectory(dir=setting.scratch) as folder:
        lab = _open_bench(setting, Path(folder), (V,), epochs=2).lab(Row("single", (V,)), 0)
        epochs: list[Epoch] = []
        fit_single(lab, V, Path(folder) / "run", epochs.append)
        seconds = epochs[1].seconds
        return {
            "value": seconds,
            "precision": lab.hardware.precision,
            "share_of_data_path": _time_data_path(lab) / seconds,
            "gflop_per_s": _count_gflop(lab) / seconds,
        }


def epoch_early3(setting: Setting) -> Measured:
    """The second epoch of 1-step early fusion of three modalities."""
    with tempfile.TemporaryDirectory(dir=setting.scratch) as folder:
        bench = _open_bench(setting, Path(folder), MODALITIES, epochs=2)
        epochs: list[Epoch] = []
        lab = bench.lab(Row("early", MODALITIES, 1), 0)
        fit_early(lab, MODALITIES, 1, Path(folder) / "run", {}, epochs.append)
        return {"value": epochs[1].seconds}


def first_epoch(setting: Setting) -> Measured:
    """Decoding into an empty cache, and the first epoch of the visible model."""
    with tempfile.TemporaryDirectory(dir=setting.scratch) as folder:
        cache = Path(folder) / "cache"
        start = time.perf_counter()
        bench = _open_bench(setting, Path(folder), (V,), epochs=1, cache=cache)
        opening_s = time.perf_counter() - start
        epochs: list[Epoch] = []
        fit_single(bench.lab(Row("single", (V,)), 0), V, Path(folder) / "run", epochs.append)
        return {"value": opening_s + epochs[0].seconds, "decoding_s": opening_s}


def comparison(setting: Setting) -> Measured:
    """All 12 models, from the files and an empty cache to the right answers."""
    with tempfile.TemporaryDirectory(dir=setting.scratch) as name:
        folder = Path(name)
        start = time.perf_counter()
        setup = _make_setup(
            setting,
            MODALITIES,
            Recipe(epochs=setting.comparison_epochs, batch_size=setting.batch),
            split=setting.small_split,
            cache=folder / "cache",
        )
        dataset = open_dataset(setting.small_data)
        table = Table("", dataset, setup, list_rows(MODALITIES), folder / "study")
        failures = run_jobs(list_jobs([table], [0]), _raise_failure)
        seconds = time.perf_counter() - start
        if failures:
            raise RuntimeError(f"{len(failures)} models failed")
        correct = {
            run.record.model: int(run.predictions.correct.sum())
            for run in read_finished([table.folder])
        }
        return {"value": seconds, "correct": correct}


def epoch_frozen(setting: Setting) -> Measured:
    """An epoch of the visible model with a frozen trunk, once all features are there.

    The epochs that compute them are told beside it.
    """
    first = VARIANTS["sound"]
    with tempfile.TemporaryDirectory(dir=setting.scratch) as name:
        folder = Path(name)
        bench = _open_bench(setting, folder, (V,), epochs=first, frozen="backbone")
        # Features of its own, in an empty folder.
        lab = replace(bench.lab(Row("single", (V,)), 0), cache=folder / "features")
        computing: list[Epoch] = []
        fit_single(lab, V, folder / "first", computing.append)
        lab = replace(lab, recipe=replace(lab.recipe, epochs=2 * first))
        epochs: list[Epoch] = []
        fit_single(lab, V, folder / "again", epochs.append)
        return {
            "value": statistics.median(epoch.seconds for epoch in epochs[1:]),
            "epochs_that_compute": first,
            "seconds_of_such_an_epoch": statistics.median(epoch.seconds for epoch in computing),
        }


def late_grid(setting: Setting) -> Measured:
    """All mixtures of cached probabilities; beside it, the same by a loop in plain numpy."""
    rng = np.random.default_rng(0)
    probs = {m: rng.dirichlet(np.ones(5), size=setting.grid_samples) for m in MODALITIES}
    labels = rng.integers(0, 5, size=setting.grid_samples)

    def loop() -> int:
        counts = []
        for weights in list_weights(len(MODALITIES), 10) / 10:
            mixed = sum(w * p for w, p in zip(weights, probs.values(), strict=True))
            counts.append(int((np.asarray(mixed).argmax(axis=1) == labels).sum()))
        return max(counts)

    found = search_weights(probs, labels)
    if found.correct != loop():
        raise RuntimeError("the grid and the loop find another winner")
    return {
        "value": _time_median(lambda: search_weights(probs, labels), setting.repeats) * 1000,
        "numpy_loop_ms": _time_median(loop, setting.repeats) * 1000,
    }


def _infer_triple(setting: Setting, precision: str) -> Measured:
    """Three files to probabilities by early fusion as one graph, one triple at a time."""
    made = _export(setting, precision)
    reduced = precision == "int8"
    threads = torch.get_num_threads()
    samples = (list(made.samples["test"]) * setting.repeats)[: setting.repeats]
    runner = open_graph(made.path, engine="openvino", threads=threads)
    other = open_graph(made.path, engine="onnxruntime", threads=threads)
    needed, size = runner.facts.modalities, runner.facts.size_px
    with ThreadPoolExecutor(threads) as pool:

        def read(turn: int) -> None:
            images = samples[turn].images
            list(pool.map(lambda m: read_square(images[m], size, reduced=reduced), needed))

        def ask(turn: int, runner: Runner = runner) -> None:
            predict_one(runner, samples[turn].images, pool=pool, reduced=reduced)

        whole_s, reading_s, other_s = (
            time_warm(do, setting.repeats, setting.warm_up_s)
            for do in (ask, read, lambda turn: ask(turn, other))
        )
    return {
        "value": whole_s * 1000,
        "reading_ms": reading_s * 1000,
        "with_onnxruntime_ms": other_s * 1000,
        "gflop_per_s": _count_forward_gflop(made.checkpoint) / whole_s,
        "network_by_kind_of_layer": _profile(made.path, size, setting.repeats),
        **_compare(runner, made, reduced=reduced),
    }


def _profile(path: Path, size: int, repeats: int) -> str:
    """Says which kinds of layers a graph's time goes into, by OpenVINO's own profile."""
    import openvino

    core = openvino.Core()
    graph = core.read_model(path)
    names = [each.get_any_name() for each in graph.inputs]
    graph.reshape({name: [1, size, size, 3] for name in names})
    options = {"PERF_COUNT": True, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = core.compile_model(
        graph, "CPU", {**options, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    ).create_infer_request()
    spent: Counter[str] = Counter()
    for _ in range(repeats):
        request.infer({name: np.zeros((1, size, size, 3), np.uint8) for name in names})
        for layer in request.profiling_info:
            spent[layer.node_type] += layer.real_time.total_seconds()
    whole = spent.total()
    return ", ".join(f"{kind} {seconds / whole:.0%}" for kind, seconds in spent.most_common(4))


def _count_forward_gflop(checkpoint: Checkpoint) -> float:
    """Counts the arithmetic of one answer."""
    size = checkpoint.preprocessing.size_px
    pictures = {m: torch.zeros(1, 3, size, size) for m in checkpoint.blueprint.modalities}
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        checkpoint.model(pictures)
    return counter.get_total_flops() / 1e9


def _infer_folder(setting: Setting, precision: str) -> Measured:
    """A folder of triples to a CSV by early fusion as one graph."""
    made = _export(setting, precision)
    every = [sample for part in made.samples.values() for sample in part]
    samples = every[: setting.folder_samples]
    # OpenVINO's own threads would stand in the way of those that read.
    runner = open_graph(made.path, engine="onnxruntime", threads=1)
    predict_one(runner, samples[0].images)

    def work(some: Sequence[Sample]) -> int:
        answers = predict_stream(
            runner, some, workers=torch.get_num_threads(), reduced=precision == "int8"
        )
        return write_answers(answers, made.checkpoint.blueprint.labels, setting.scratch / "our.csv")

    seconds = time_once(lambda: work(samples))
    before = find_peak_mb()
    work(list(samples) * 3)
    return {
        "value": seconds,
        "gflop_per_s": _count_forward_gflop(made.checkpoint) * len(samples) / seconds,
        "peak_mb_more_with_three_times_as_many": find_peak_mb() - before,
        **_compare(runner, made, reduced=precision == "int8"),
    }


@dataclass(frozen=True)
class _Exported:
    path: Path
    checkpoint: Checkpoint
    samples: Mapping[Part, Sequence[Sample]]


def export_graphs(setting: Setting) -> Measured:
    """Makes what inference is measured with, in a process of its own, so that its memory is too."""
    for precision in ("fp32", "int8"):
        _export(setting, precision)
    return {"value": 0.0}


def _export(setting: Setting, precision: str) -> _Exported:
    """Gives the graph of a model whose head was trained for a moment; made once and kept."""
    bench = _open_bench(setting, setting.scratch / "infer", MODALITIES, epochs=1, frozen="backbone")
    lab = bench.lab(Row("early", MODALITIES, 1), 0)
    folder = setting.scratch / f"infer-{setting.backbone}-{setting.size_px}"
    if not (folder / TENSORS).exists():
        made = fit_early(lab, MODALITIES, 1, folder / "state", {})
        save_checkpoint(folder, made.model, made.blueprint, lab.preprocessing, {})
    checkpoint = load_checkpoint(folder)
    path = folder / f"{precision}.onnx"
    if not path.exists():
        rows = lab.rows("train")[:100]
        seen = {m: lab.store.gather(m, rows) for m in MODALITIES}
        export_graph(checkpoint, path, calibration=seen if precision == "int8" else None)
    known = {sample.id: sample for sample in bench.dataset.samples}
    samples: dict[Part, Sequence[Sample]] = {
        part: [known[i] for i in lab.split.parts[part]] for part in PARTS
    }
    return _Exported(path, checkpoint, samples)


def _compare(runner: Runner, made: _Exported, *, reduced: bool) -> Measured:
    """Says how far the graph is from the trained model, in fp32, on test samples."""
    parity = measure_parity(runner, made.checkpoint, made.samples["test"][:60], reduced=reduced)
    return {
        "compared_samples": parity.samples,
        "label_agreement": parity.label_agreement,
        "max_probability_difference": parity.max_probability_difference,
    }


def infer_triple_fp32(setting: Setting) -> Measured:
    """One triple, in fp32."""
    return _infer_triple(setting, "fp32")


def infer_triple_int8(setting: Setting) -> Measured:
    """One triple, in int8."""
    return _infer_triple(setting, "int8")


def infer_folder_fp32(setting: Setting) -> Measured:
    """A folder, in fp32."""
    return _infer_folder(setting, "fp32")


def infer_folder_int8(setting: Setting) -> Measured:
    """A folder, in int8."""
    return _infer_folder(setting, "int8")


WORKS: dict[str, Callable[[Setting], Measured]] = {
    "epoch_single": epoch_single,
    "epoch_early3": epoch_early3,
    "first_epoch": first_epoch,
    "comparison": comparison,
    "epoch_frozen": epoch_frozen,
    "late_grid": late_grid,
    "infer_triple_fp32": infer_triple_fp32,
    "infer_triple_int8": infer_triple_int8,
    "infer_folder_fp32": infer_folder_fp32,
    "infer_folder_int8": infer_folder_int8,
}


def _make_setup(
    setting: Setting,
    modalities: tuple[Modality, ...],
    recipe: Recipe,
    *,
    split: Path,
    cache: Path,
) -> Setup:
    return Setup(
        modalities=modalities,
        backbone=setting.backbone,
        weights=str(setting.weights),
        size_px=setting.size_px,
        split_kind="subject",
        split_file=split,
        recipe=recipe,
        # The plain script knows no other device; precision is what we choose for this machine.
        hardware=Hardware("cpu"),
        cache=cache,
    )


def _open_bench(
    setting: Setting,
    folder: Path,
    modalities: tuple[Modality, ...],
    *,
    epochs: int,
    frozen: Frozen = "none",
    cache: Path | None = None,
) -> Workbench:
    setup = _make_setup(
        setting,
        modalities,
        Recipe(epochs=epochs, batch_size=setting.batch, frozen=frozen),
        split=setting.split,
        cache=cache or setting.scratch / "cache",
    )
    return Workbench(open_dataset(setting.data), setup, folder / "study", None)


def _raise_failure(name: str, event: object) -> None:
    if isinstance(event, Failure):
        raise RuntimeError(f"{name} failed: {event}")


def _time_data_path(lab: Lab) -> float:
    """Times an epoch's data without a model: reading, augmenting, normalising."""
    train, val = lab.loader("train", (V,)), lab.loader("val", (V,))
    start = time.perf_counter()
    for batches in (train.shuffled(1), val.in_order()):
        for batch in batches:
            normalise(batch.pictures, lab.preprocessing, lab.fabric.device)
    return time.perf_counter() - start


def _count_gflop(lab: Lab) -> float:
    """Counts an epoch's arithmetic: convolutions and products, forward and backward."""
    blueprint = Blueprint("single", lab.backbone.name, (V,), lab.labels)
    model = assemble(blueprint)
    pictures = {V: torch.zeros(2, 3, lab.store.size_px, lab.store.size_px)}
    with FlopCounterMode(display=False) as forward:
        out = model(pictures)
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    one_forward, one_backward = (c.get_total_flops() / 2e9 for c in (forward, backward))
    n_train, n_val = len(lab.rows("train")), len(lab.rows("val"))
    return n_train * (one_forward + one_backward) + n_val * one_forward


def _time_median(do: Callable[[], object], repeats: int) -> float:
    return statistics.median(time_once(do) for _ in range(repeats))
