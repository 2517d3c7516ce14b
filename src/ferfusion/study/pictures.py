"""What the models of a study saw, on one sheet. It shows faces, so it stays out of the page."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from ferfusion.atomic import replacing
from ferfusion.data.cache import ImageStore
from ferfusion.inference.cam_sheet import choose_samples, draw_activation_sheet
from ferfusion.models.checkpoint import TENSORS, load_checkpoint
from ferfusion.study.run import Finished

MOST_MODELS = 5


def can_explain() -> bool:
    """Whether captum, which makes the maps, is installed."""
    return importlib.util.find_spec("captum") is not None


def choose_models(finished: Sequence[Finished]) -> list[Finished]:
    """Chooses what Fig. 13 shows: the single networks, early and late fusion of most modalities.

    All are of the first table, its first seed and its first fold. Of early fusion 3-step is taken
    where there is one.
    """
    first = finished[0].record
    own = [
        run
        for run in finished
        if (run.record.variant, run.record.seed, run.record.fold)
        == (first.variant, first.seed, first.fold)
        and run.record.method == "network"
        and (run.folder / TENSORS).exists()
    ]
    chosen = [run for run in own if run.record.fusion == "single"]
    for fusion in ("early", "late"):
        fused = [run for run in own if run.record.fusion == fusion]
        chosen += sorted(
            fused,
            key=lambda run: (run.record.modalities.count("+"), run.record.steps or 0),
        )[-1:]
    return chosen[:MOST_MODELS]


def draw_activation_maps(
    finished: Sequence[Finished], store: ImageStore, path: Path, device: str
) -> bool:
    """Draws where several models found their answers, in pictures of the test part.

    The samples are chosen by the last of the models: of each class the one it is most sure of and
    right about, and its surest error.

    Args:
        finished: All runs of a study.
        store: Its pictures.
        path: Of the PNG; one that is there is left alone.
        device: Where to run.

    Returns:
        Whether there is a sheet now.

    Source:
        Naseem et al. 2024, Fig. 13.
    """
    models = choose_models(finished)
    if path.exists() or not models:
        return path.exists()
    wanted = choose_samples(models[-1].predictions)
    rows = [[sample.id for sample in store.samples].index(i) for i in wanted]
    titles = {_name(run): run for run in models}
    sheet = draw_activation_sheet(
        {title: load_checkpoint(run.folder) for title, run in titles.items()},
        {m: pictures[rows] for m, pictures in store.pictures.items()},
        [store.samples[row].expression for row in rows],
        device=torch.device(device),
    )
    with replacing(path) as part:
        Image.fromarray(sheet).save(part, format="PNG")
    return True


def _name(run: Finished) -> str:
    """Short, because it stands above a column; only one fused model of each kind is shown."""
    record = run.record
    return f"{record.inputs} alone" if record.fusion == "single" else record.how
