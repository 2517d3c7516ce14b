"""A sheet of heat maps: some samples, and what several models saw in their pictures.

Source:
    Naseem et al. 2024, Fig. 13: the visible model, the infrared model and the fused one.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from ferfusion.data.cache import resize
from ferfusion.evaluation.predictions import Predictions
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.heat_overlay import STRIP_PX, overlay_heat, write_below
from ferfusion.inference.cam import explain_samples
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.checkpoint import Checkpoint

CELL_PX = 162


def choose_samples(predictions: Predictions, *, with_worst_error: bool = True) -> tuple[str, ...]:
    """Chooses samples to show: of each class the one that was recognised most surely.

    Nothing is drawn at random: the same predictions give the same samples.

    Args:
        predictions: Of test samples, by the model that the sheet is about.
        with_worst_error: Adds the wrong answer that was given most surely, if there is one.

    Returns:
        Ids, classes in order. Of a class that was never recognised, the sample whose true class got
        the highest probability; classes without samples are left out. Among equals the first.
    """
    rows = np.arange(len(predictions))
    of_truth = predictions.probs[rows, predictions.labels]
    surest: list[int] = []
    for label in range(len(predictions.classes)):
        of_class = rows[predictions.labels == label]
        if len(of_class):
            rank = of_truth[of_class] + predictions.correct[of_class]
            surest.append(int(of_class[rank.argmax()]))
    wrong = rows[~predictions.correct]
    if with_worst_error and len(wrong):
        worst = int(wrong[predictions.probs[wrong].max(axis=1).argmax()])
        surest += [worst] if worst not in surest else []
    return tuple(predictions.sample_ids[row] for row in surest)


def draw_activation_sheet(
    models: Mapping[str, Checkpoint],
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]],
    labels: Sequence[str],
    *,
    method: str = "gradcam",
    device: torch.device | None = None,
    cell_px: int = CELL_PX,
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Draws samples as rows, and for each modality its picture and what each model saw in it.

    Each model's own answer is explained and written below with its probability, in orange where it
    is wrong. The maps of one model and sample share one scale, so a modality that added little
    to the answer stays pale; where nothing spoke for the answer, it says "no heat".

    Args:
        models: Short names for titles, and models that take some of the modalities.
        pictures: Of any size; each model gets them at its own.
        labels: The true class of each sample.
        method: See `explain_samples`.
        device: Where to run; None is the CPU.
        cell_px: Side of a cell.

    Raises:
        ConfigError: As `explain_samples`.
    """
    inner_px = cell_px - STRIP_PX
    shown = {m: [resize(p, inner_px) for p in pictures[m]] for m in MODALITIES if m in pictures}
    columns = {m: [(str(m), [write_below(p, "") for p in shown[m]])] for m in shown}
    for name, checkpoint in models.items():
        modalities, size_px = checkpoint.blueprint.modalities, checkpoint.preprocessing.size_px
        sized = {m: np.stack([resize(p, size_px) for p in pictures[m]]) for m in modalities}
        found = explain_samples(checkpoint, sized, method=method, device=device)
        answers = [checkpoint.blueprint.labels[place] for place in found.explained]
        said = [
            f"{answer} {100 * prob:.0f} %"
            for answer, prob in zip(answers, found.probs.max(axis=1), strict=True)
        ]
        for modality in modalities:
            laid = [
                overlay_heat(picture, _enlarge(heat, inner_px))
                for picture, heat in zip(shown[modality], found.maps[modality], strict=True)
            ]
            # A map may be empty: nothing in this picture spoke for the answer.
            lines = [
                line if heat.any() else f"{line}, no heat"
                for line, heat in zip(said, found.maps[modality], strict=True)
            ]
            cells = [
                write_below(overlay, line, is_warning=answer != label)
                for overlay, line, answer, label in zip(laid, lines, answers, labels, strict=True)
            ]
            columns[modality].append((name, cells))
    flat = [column for of_modality in columns.values() for column in of_modality]
    return draw_contact_sheet(
        [[cells[row] for _, cells in flat] for row in range(len(labels))],
        list(labels),
        [title for title, _ in flat],
        cell_px=cell_px,
    )


def _enlarge(heat: Float[np.ndarray, "size size"], cell_px: int) -> Float[np.ndarray, "cell cell"]:
    return cv2.resize(heat, (cell_px, cell_px), interpolation=cv2.INTER_LINEAR).clip(0, 1)
