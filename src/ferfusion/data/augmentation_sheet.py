"""A sheet of what augmentation makes of one sample."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from ferfusion.data import augmentation
from ferfusion.data.augmentation import Policy
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.modality import Modality

DRAWS = 8


def draw_augmentation_sheet(
    pictures: Mapping[Modality, UInt8[np.ndarray, "size size 3"]],
    sample_id: str,
    policy: Policy,
    seed: int,
    *,
    independent: bool = False,
    identical_flips: bool = False,
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Draws what one sample looks like in training: a row per modality, a column per draw.

    The paper's 26 copies stand in three such blocks, one below the other.

    Args:
        pictures: Of the sample, as a model gets them.
        sample_id: Whose they are: draws follow from it.
        policy: Of augmentation.
        seed: Of the run.
        independent: Whether each modality is drawn apart, a quirk of the paper.
        identical_flips: Whether the flips of policy `paper` are all the same, likewise.
    """
    n_copies = augmentation.count_copies(policy)
    if n_copies == 1:
        epochs = range(DRAWS)
        turns = [(epoch, 0) for epoch in epochs]
        titles = ["as it is", *(f"epoch {epoch + 1}" for epoch in epochs)]
    else:
        turns = [(0, copy) for copy in range(n_copies)]
        titles = list(augmentation.PAPER_KINDS)

    def draw_all(modality: Modality) -> list[augmentation.Draw]:
        drawn = [
            augmentation.draw(
                policy,
                seed=seed,
                epoch=epoch,
                sample_id=sample_id,
                copy=copy,
                only=modality if independent else None,
                identical_flips=identical_flips,
            )
            for epoch, copy in turns
        ]
        return [augmentation.Draw(np.eye(3)), *drawn] if n_copies == 1 else drawn

    width = DRAWS + 1
    rows: list[list[UInt8[np.ndarray, "size size 3"]]] = []
    names: list[str] = []
    for start in range(0, len(titles), width):
        block = slice(start, start + width)
        for number, (modality, picture) in enumerate(pictures.items()):
            rows.append(
                [augmentation.apply(d, picture, modality) for d in draw_all(modality)[block]]
            )
            said = ", ".join(dict.fromkeys(titles[block])) if n_copies > 1 and number == 0 else ""
            names.append(f"{modality}: {said}" if said else str(modality))
    return draw_contact_sheet(rows, names, titles if n_copies == 1 else [""] * width)
