from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ferfusion.evaluation.predictions import Predictions
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.inference.cam_sheet import (
    choose_samples,
    draw_activation_sheet,
    lay_maps,
    spread_over_classes,
)
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.blueprint import Blueprint, assemble
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

V, IR, M = MODALITIES
LABELS = ("angry", "happy", "neutral")
ORANGE = (255, 176, 120)


def predict(labels: list[int], probs: list[list[float]]) -> Predictions:
    ids = tuple(f"face{row}" for row in range(len(labels)))
    return Predictions(
        ids, (None,) * len(ids), LABELS, np.array(labels, dtype=np.int64), np.array(probs)
    )


def test_the_surest_right_answer_of_each_class_is_chosen_and_the_worst_error() -> None:
    predictions = predict(
        [1, 0, 0, 0, 1, 1, 2],
        [
            [0.1, 0.8, 0.1],
            [0.6, 0.2, 0.2],
            [0.9, 0.1, 0.0],
            [0.0, 0.7, 0.3],  # the wrong answer that is surest
            [0.4, 0.3, 0.3],
            [0.2, 0.8, 0.0],  # as sure as the first
            [0.5, 0.1, 0.4],  # never right, and this is the best there is
        ],
    )
    assert choose_samples(predictions) == ("face2", "face0", "face6", "face3")
    assert choose_samples(predictions, with_worst_error=False) == ("face2", "face0", "face6")


def test_a_right_answer_goes_before_a_likelier_wrong_one() -> None:
    predictions = predict([0, 0], [[0.45, 0.5, 0.05], [0.4, 0.3, 0.3]])
    assert choose_samples(predictions) == ("face1", "face0")


def test_no_sample_is_chosen_twice_and_none_of_a_class_without_any() -> None:
    assert choose_samples(predict([2], [[0.6, 0.1, 0.3]])) == ("face0",)
    assert choose_samples(predict([0, 2], [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])) == ("face0", "face1")
    nobody = Predictions((), (), LABELS, np.zeros(0, np.int64), np.zeros((0, 3)))
    assert choose_samples(nobody) == ()


def test_more_samples_are_taken_in_further_rounds() -> None:
    predictions = predict(
        [0, 0, 1, 1, 1],
        [[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.3, 0.7, 0], [0.6, 0.4, 0]],
    )
    assert choose_samples(predictions) == ("face0", "face2", "face4")
    assert choose_samples(predictions, count=2) == ("face0", "face2")
    assert choose_samples(predictions, count=4) == ("face0", "face2", "face4", "face1")
    assert choose_samples(predictions, count=99) == ("face0", "face2", "face4", "face1", "face3")


def test_a_spread_has_as_many_of_each_class_as_there_are() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 20)
    chosen = spread_over_classes(labels, 15)
    assert np.bincount(labels[chosen]).tolist() == [6, 3, 6]
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert (spread_over_classes(labels, 15) == chosen).all()
    assert (spread_over_classes(labels, 15, seed=1) != chosen).any()
    assert spread_over_classes(labels, 100).tolist() == list(range(73))


def test_a_spread_has_somebody_new_as_long_as_there_is_anybody() -> None:
    # Each of 9 people has a picture of each of 3 classes.
    labels, people = np.arange(27) % 3, [f"p{row // 3}" for row in range(27)]
    for count in (9, 12, 18):
        chosen = spread_over_classes(labels, count, people)
        assert np.bincount(labels[chosen]).tolist() == [count // 3] * 3
        times = np.bincount(chosen // 3, minlength=9)
        assert times.min() >= count // 9, "nobody is left out while another is drawn twice"
    assert len(spread_over_classes(np.zeros(0, np.int64), 5, [])) == 0


def make_checkpoint(modalities: tuple[Modality, ...], size_px: int, answer: int) -> Checkpoint:
    torch.manual_seed(0)
    fusion = "single" if len(modalities) == 1 else "early"
    blueprint = Blueprint(fusion, "shufflenet_v2", modalities, LABELS)
    model = assemble(blueprint).eval()
    last = [module for module in model.head.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.bias[answer] = 100
    preprocessing = Preprocessing(
        size_px, dict.fromkeys(modalities, IMAGENET_MEAN), dict.fromkeys(modalities, IMAGENET_STD)
    )
    return Checkpoint(model, blueprint, preprocessing, {})


def count(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((sheet == np.array(colour, np.uint8)).all(axis=2).sum())


def test_a_sheet_has_a_row_a_sample_and_a_column_a_picture_and_model() -> None:
    pytest.importorskip("captum", reason="heat maps need captum")
    rng = np.random.default_rng(0)
    # Of a size that is no model's.
    pictures = {
        m: rng.integers(low, low + 60, (2, 80, 80, 3), dtype=np.uint8)
        for m, low in ((IR, 180), (V, 20))
    }
    models = {
        "visible alone": make_checkpoint((V,), 64, answer=1),
        "infrared alone": make_checkpoint((IR,), 96, answer=2),
        "fused": make_checkpoint((V, IR), 64, answer=1),
    }
    sheet = draw_activation_sheet(models, pictures, ["happy", "happy"], cell_px=100)
    empty = [[np.zeros((9, 9, 3), np.uint8)] * 6] * 2
    titles = ["visible", "visible alone", "fused", "infrared", "infrared alone", "fused"]
    wanted = draw_contact_sheet(empty, ["happy", "happy"], titles, cell_px=100)
    assert sheet.shape == wanted.shape
    step = 108
    left = wanted.shape[1] - 16 - 6 * step + 8
    columns = [sheet[:, left + i * step : left + i * step + 100] for i in range(6)]
    assert (sheet[:38] == wanted[:38]).all(), "the titles, in this order"
    assert [count(column, ORANGE) > 0 for column in columns] == [False] * 4 + [True, False]
    for column, modality in ((0, V), (3, IR)):
        shown = columns[column][38:120, 9:91].astype(int).mean()
        assert shown == pytest.approx(pictures[modality][0].mean(), abs=1)


def test_another_class_than_the_answer_is_explained_and_marked() -> None:
    pytest.importorskip("captum", reason="heat maps need captum")
    pictures = {V: np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)}
    models = {"model": make_checkpoint((V,), 64, answer=1)}
    plain, seen = lay_maps(models, pictures, ["happy", "angry"], explained="angry", side_px=40)
    assert [cell.words for cell in plain.cells] == ["", ""]
    assert all(cell.words.startswith("angry 0 %") for cell in seen.cells)
    assert [cell.is_wrong for cell in seen.cells] == [True, False]
    assert seen.cells[0].picture.shape == (40, 40, 3)


def test_the_docs_script_draws_no_picture_from_disk() -> None:
    script = Path(__file__).parents[2] / "experiments" / "draw_doc_heat_maps.py"
    text = script.read_text()
    assert "draw_sample(" in text
    assert not any(word in text for word in ("read_image", "decode_all", "open_dataset", "shared"))
