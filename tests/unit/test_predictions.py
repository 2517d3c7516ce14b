import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ferfusion.atomic import write_text
from ferfusion.errors import ResultsError
from ferfusion.evaluation.predictions import (
    Predictions,
    read_predictions,
    write_predictions,
)


def make_predictions(n: int = 7, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    return Predictions(
        sample_ids=tuple(f"face {i}, left" for i in range(n)),
        subjects=tuple(None if i % 3 == 0 else f"person {i % 2}" for i in range(n)),
        classes=("angry", "happy", "sad"),
        labels=rng.integers(0, 3, n),
        probs=rng.dirichlet(np.ones(3), n),
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_reading_gives_what_was_written(tmp_path: Path, dtype: type):
    written = make_predictions()
    written = dataclasses.replace(written, probs=written.probs.astype(dtype))
    path = tmp_path / "new folder" / "visible.csv"
    write_predictions(written, path)
    read = read_predictions(path)
    assert read.sample_ids == written.sample_ids
    assert read.subjects == written.subjects
    assert read.classes == written.classes
    np.testing.assert_array_equal(read.labels, written.labels)
    np.testing.assert_array_equal(read.probs, written.probs)
    assert path.read_text().splitlines()[0] == "sample_id,subject,label,angry,happy,sad"
    assert [p.name for p in path.parent.iterdir()] == ["visible.csv"]


def test_an_empty_table_is_read_back(tmp_path: Path):
    path = tmp_path / "none.csv"
    write_predictions(make_predictions(0), path)
    assert len(read_predictions(path)) == 0


def test_predicted_is_the_most_probable_and_the_first_among_equals():
    predictions = dataclasses.replace(
        make_predictions(2),
        labels=np.array([0, 2]),
        probs=np.array([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]]),
    )
    np.testing.assert_array_equal(predictions.predicted, [0, 2])
    np.testing.assert_array_equal(predictions.correct, [True, True])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sample_ids": ("a",) * 7}, "more than once"),
        ({"sample_ids": ("", *"bcdefg")}, "empty"),
        ({"subjects": (None,) * 6}, "counts must agree"),
        ({"labels": np.full(7, 3)}, "outside 0 to 2"),
        ({"probs": np.full((7, 3), 0.3)}, "don't sum to 1"),
        ({"probs": np.full((7, 3), np.nan)}, "not a number"),
        ({"probs": np.tile([1.5, -0.5, 0.0], (7, 1))}, "negative"),
        ({"probs": np.full((7, 2), 0.5)}, "announced"),
        ({"classes": ("angry", "happy", "happy")}, "unique"),
        ({"classes": ("angry", "happy", "label")}, "'label'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict, says: str):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(make_predictions(), **change)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "first columns"),
        ("id,subject,label,a\n", "first columns"),
        ("sample_id,subject,label,a,b\nx,,a,0.5\n", "Line 2 has 4 cells, not 5"),
        ("sample_id,subject,label,a,b\nx,,c,0.5,0.5\n", "label 'c' in line 2"),
        ("sample_id,subject,label,a,b\nx,,a,0.5,half\n", "Line 2 holds"),
        ("sample_id,subject,label,a,b\nx,,a,0.5,0.9\n", "don't sum to 1"),
        ("sample_id,subject,label,a,b\nx,,a,1,0\nx,,a,1,0\n", "more than once"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, text: str, says: str):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ResultsError, match=says) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_and_a_missing_file(tmp_path: Path):
    path = tmp_path / "bad.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ResultsError, match="not a CSV file"):
        read_predictions(path)
    with pytest.raises(ResultsError, match="Run the model first"):
        read_predictions(tmp_path / "missing.csv")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path):
    path = tmp_path / "results.csv"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half of it \udc80")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]
