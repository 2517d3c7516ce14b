"""What an answer of each model costs, measured when nothing else runs."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

from ferfusion.atomic import write_text
from ferfusion.imaging.face_regions import describe_edges, measure_regions
from ferfusion.modality import Modality
from ferfusion.models.backbones import NO_WEIGHTS, build_trunk, find_backbone
from ferfusion.models.checkpoint import TENSORS, load_checkpoint
from ferfusion.models.cost import LEAST_REPEATS, measure_cost
from ferfusion.models.late_fusion import LateFusionModel
from ferfusion.reporting.summary import Cost
from ferfusion.study.run import Finished
from ferfusion.study.summary import COST


def measure_costs(
    finished: Sequence[Finished], device: str, advance: Callable[[int, int], None]
) -> None:
    """Writes cost.json beside the first run of each model that lacks one.

    Its seeds and folds cost the same: late fusion is measured with all its models running, also
    those to which a seed or fold gave no weight. Of baselines their features are measured, without
    the SVM, of which nothing is kept.

    Args:
        finished: All runs of a study.
        device: Where to measure, as `cpu` or `cuda`.
        advance: Told of progress.
    """
    first: dict[str, Finished] = {}
    for run in finished:
        if "svm" in run.record.method or (run.folder / TENSORS).exists():
            first.setdefault(run.record.key, run)
    missing = [run for run in first.values() if not (run.folder / COST).exists()]
    for place, run in enumerate(missing, start=1):
        cost = (
            _measure_regions(run)
            if run.record.method == "regions-svm"
            else _measure_network(run, torch.device(device))
        )
        write_text(run.folder / COST, json.dumps(asdict(cost), indent=2) + "\n")
        advance(place, len(missing))


def _measure_network(run: Finished, device: torch.device) -> Cost:
    modalities = tuple(Modality(name) for name in run.record.modalities.split("+"))
    model = _load_model(run.folder) if (run.folder / TENSORS).exists() else _build_trunk(run)
    measured = measure_cost(model, modalities, run.facts["size_px"], device)
    threads = f", {measured.threads} threads" if measured.device == "cpu" else ""
    return Cost(
        megabytes=measured.weights_mb,
        gflop=measured.gflop,
        latency_ms=measured.latency_ms,
        memory_mb=measured.memory_mb,
        device=measured.device + threads,
    )


def _load_model(folder: Path) -> nn.Module:
    model = load_checkpoint(folder).model
    if not isinstance(model, LateFusionModel):
        return model
    return LateFusionModel(
        {m: model.singles[str(m)] for m in model.modalities},
        dict.fromkeys(model.modalities, 1 / len(model.modalities)),
    )


def _build_trunk(run: Finished) -> nn.Module:
    """Gives what an SVM's features come from: one trunk that looks at each modality."""
    trunk = build_trunk(find_backbone(run.record.backbone), NO_WEIGHTS)
    return _OneTrunk(trunk, tuple(Modality(name) for name in run.record.modalities.split("+")))


class _OneTrunk(nn.Module):
    def __init__(self, trunk: nn.Module, modalities: tuple[Modality, ...]) -> None:
        super().__init__()
        self.trunk, self.modalities = trunk, modalities

    def forward(self, pictures: dict[Modality, torch.Tensor]) -> torch.Tensor:
        return torch.cat([self.trunk(pictures[m]).flatten(1) for m in self.modalities], dim=1)


def _measure_regions(run: Finished) -> Cost:
    size = run.facts["size_px"]
    picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    describing = [
        measure_regions if name == Modality.INFRARED else describe_edges
        for name in run.record.modalities.split("+")
    ]
    times_ms: list[float] = []
    for _ in range(LEAST_REPEATS + 1):
        start = time.perf_counter()
        for describe in describing:
            describe(picture)
        times_ms.append(1e3 * (time.perf_counter() - start))
    # The first one pays for what is made once.
    return Cost(0.0, None, median(times_ms[1:]), None, "cpu")
