import numpy as np
import pytest

from ferfusion.data.augmentation import PAPER_KINDS, Draw, apply, draw
from ferfusion.data.augmentation_sheet import DRAWS, draw_augmentation_sheet
from ferfusion.modality import Modality

PICTURES = {
    m: np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for i, m in enumerate((Modality.VISIBLE, Modality.INFRARED))
}


def holds(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Whether a cell of the sheet is this picture, which it shows enlarged."""
    import cv2

    rows, columns = sheet.shape[:2]
    best = 0.0
    for side in range(100, 200):
        cell = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        if side <= rows and side <= columns:
            best = max(best, float(cv2.matchTemplate(sheet, cell, cv2.TM_CCOEFF_NORMED).max()))
    return best > 0.9


@pytest.mark.parametrize("policy", ["sound", "paper"])
def test_the_sheet_has_a_row_for_each_modality_in_each_block(policy: str) -> None:
    sheet = draw_augmentation_sheet(PICTURES, "s1", policy, 3)  # pyright: ignore[reportArgumentType]
    n = DRAWS + 1 if policy == "sound" else len(PAPER_KINDS)
    blocks = -(-n // (DRAWS + 1))
    one = draw_augmentation_sheet(
        {Modality.VISIBLE: PICTURES[Modality.VISIBLE]},
        "s1",
        policy,  # pyright: ignore[reportArgumentType]
        3,
    )
    assert sheet.shape[0] > 1.7 * one.shape[0]
    assert blocks == (1 if policy == "sound" else 3)


def test_the_sheet_shows_what_training_sees() -> None:
    smooth = np.kron(PICTURES[Modality.VISIBLE][:5, :5], np.ones((8, 8, 1), dtype=np.uint8))
    sheet = draw_augmentation_sheet({Modality.VISIBLE: smooth}, "s1", "sound", 3)
    seen = apply(draw("sound", seed=3, epoch=2, sample_id="s1"), smooth, Modality.VISIBLE)
    assert holds(sheet, seen)
    assert holds(sheet, apply(Draw(np.eye(3)), smooth, Modality.VISIBLE))
    other = apply(draw("sound", seed=99, epoch=2, sample_id="s9"), smooth, Modality.VISIBLE)
    assert not holds(sheet, np.ascontiguousarray(255 - other[:, ::-1]))


def test_quirks_change_what_is_drawn() -> None:
    plain = draw_augmentation_sheet(PICTURES, "s1", "paper", 3)
    apart = draw_augmentation_sheet(PICTURES, "s1", "paper", 3, independent=True)
    flips = draw_augmentation_sheet(PICTURES, "s1", "paper", 3, identical_flips=True)
    assert not np.array_equal(plain, apart)
    assert not np.array_equal(plain, flips)
