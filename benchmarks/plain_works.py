"""The plain side of every work: parts of `plain_script.py`, timed.

Each function does one round in a process of its own. It gives `value`, in the unit of the work,
and whatever else is worth keeping.
"""

import time
from collections.abc import Callable
from typing import Any

import plain_script as plain
import torch
from measuring import time_once, time_warm
from setting import Setting

Measured = dict[str, Any]
ALL = plain.MODALITIES
BACKBONES = ("resnet18", "shufflenet_v2", "mobilenet_v2")
"""Those that the plain script builds as we do."""


def choose_workers(setting: Setting) -> Measured:
    """Finds the best number of worker processes, once for all works."""
    return {"value": _study(setting, 1, workers=None).workers}


def epoch_single(setting: Setting) -> Measured:
    """The second epoch of the visible model."""
    return {"value": _study(setting, 2).train(("visible",))[1][1]}


def epoch_early3(setting: Setting) -> Measured:
    """The second epoch of 1-step early fusion of three modalities."""
    return {"value": _study(setting, 2).train(ALL)[1][1]}


def first_epoch(setting: Setting) -> Measured:
    """The first epoch of the visible model; it decodes like every other."""
    return {"value": _study(setting, 1).train(("visible",))[1][0]}


def comparison(setting: Setting) -> Measured:
    """All 12 models, from the files to the right answers."""
    start = time.perf_counter()
    study = _study(setting, setting.comparison_epochs, is_small=True)
    correct, grid_s = plain.run_study(study, tell=lambda _: None)
    seconds = time.perf_counter() - start
    return {"value": seconds, "grid_s": grid_s, "correct": correct}


def epoch_frozen(setting: Setting) -> Measured:
    """The second epoch of the visible model with a frozen trunk."""
    return {"value": _study(setting, 2).train(("visible",), freeze=True)[1][1]}


def late_grid(setting: Setting) -> Measured:
    """All mixtures, by running the three models again for each of them.

    Hours for 10,000 samples, so some pictures are timed through one mixture and the time is scaled
    up. Decoding is not counted.
    """
    singles = {m: plain.Model(setting.backbone, None, (m,), 5).eval() for m in ALL}
    size, n = setting.size_px, setting.forward_samples
    batches = [
        ({m: torch.randn(len(rows), 3, size, size) for m in ALL}, torch.zeros(len(rows)).long())
        for rows in torch.arange(n).split(setting.batch)
    ]
    mixtures = plain.list_mixtures(ALL)
    plain.count_mixture(singles, mixtures[0], batches[:1])
    seconds = time_once(lambda: plain.count_mixture(singles, mixtures[0], batches))
    per_sample_ms = seconds / n * 1000
    scaled = per_sample_ms * setting.grid_samples * len(mixtures)
    return {"value": scaled, "one_sample_one_mixture_ms": per_sample_ms}


def infer_triple(setting: Setting) -> Measured:
    """Three files to probabilities by early fusion, one triple at a time."""
    study = _study(setting, 1)
    model = study.build(ALL).eval()
    samples = (study.parts["test"] * setting.repeats)[: setting.repeats]
    seconds = time_warm(
        lambda turn: plain.classify(model, samples[turn], setting.size_px),
        setting.repeats,
        setting.warm_up_s,
    )
    return {"value": seconds * 1000}


def infer_folder(setting: Setting) -> Measured:
    """A folder of triples to a CSV by early fusion."""
    study = _study(setting, 1)
    model = study.build(ALL).eval()
    samples = [s for part in study.parts.values() for s in part][: setting.folder_samples]
    loader = plain.make_loader(
        samples, study.labels, ALL, setting.size_px, setting.batch, setting.workers, train=False
    )
    plain.classify(model, samples[0], setting.size_px)
    path = setting.scratch / "plain-answers.csv"
    return {"value": time_once(lambda: plain.classify_folder(model, loader, path))}


WORKS: dict[str, Callable[[Setting], Measured]] = {
    "epoch_single": epoch_single,
    "epoch_early3": epoch_early3,
    "first_epoch": first_epoch,
    "comparison": comparison,
    "epoch_frozen": epoch_frozen,
    "late_grid": late_grid,
    "infer_triple_fp32": infer_triple,
    "infer_triple_int8": infer_triple,
    "infer_folder_fp32": infer_folder,
    "infer_folder_int8": infer_folder,
}


def _study(
    setting: Setting, epochs: int, *, is_small: bool = False, workers: int | None = -1
) -> plain.Study:
    return plain.Study(
        setting.small_data if is_small else setting.data,
        setting.small_split if is_small else setting.split,
        epochs=epochs,
        size=setting.size_px,
        backbone=setting.backbone,
        weights=setting.weights,
        batch=setting.batch,
        workers=setting.workers if workers == -1 else workers,
    )
