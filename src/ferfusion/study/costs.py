"""What an answer of each model costs, measured when nothing else runs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from ferfusion.atomic import write_text
from ferfusion.models.checkpoint import TENSORS, load_checkpoint
from ferfusion.models.cost import measure_cost
from ferfusion.models.late_fusion import LateFusionModel
from ferfusion.reporting.summary import Cost
from ferfusion.study.run import Finished
from ferfusion.study.summary import COST


def measure_costs(
    finished: Sequence[Finished], device: str, advance: Callable[[int, int], None]
) -> None:
    """Writes cost.json beside the first run of each model that lacks one.

    Its seeds and folds cost the same: late fusion is measured with all its models running, also
    those to which a seed or fold gave no weight. Baselines that keep no model have no cost.

    Args:
        finished: All runs of a study.
        device: Where to measure, as `cpu` or `cuda`.
        advance: Told of progress.
    """
    first: dict[str, Path] = {}
    for run in finished:
        if (run.folder / TENSORS).exists():
            first.setdefault(run.record.key, run.folder)
    missing = [folder for folder in first.values() if not (folder / COST).exists()]
    for place, folder in enumerate(missing, start=1):
        checkpoint = load_checkpoint(folder)
        model = checkpoint.model
        if isinstance(model, LateFusionModel):
            share = 1 / len(model.modalities)
            model = LateFusionModel(
                {m: model.singles[str(m)] for m in model.modalities},
                dict.fromkeys(model.modalities, share),
            )
        measured = measure_cost(
            model,
            checkpoint.blueprint.modalities,
            checkpoint.preprocessing.size_px,
            torch.device(device),
        )
        threads = f", {measured.threads} threads" if measured.device == "cpu" else ""
        cost = Cost(
            megabytes=measured.weights_mb,
            gflop=measured.gflop,
            latency_ms=measured.latency_ms,
            memory_mb=measured.memory_mb,
            device=measured.device + threads,
        )
        write_text(folder / COST, json.dumps(asdict(cost), indent=2) + "\n")
        advance(place, len(missing))
