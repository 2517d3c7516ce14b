import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ferfusion.errors import ResultsError
from ferfusion.evaluation.predictions import Predictions
from ferfusion.modality import Modality
from ferfusion.reporting.record import RunRecord, make_record, read_results, write_results

COLUMNS = (
    "variant,model,modalities,fusion,steps,method,backbone,split,seed,fold,n_test,correct,"
    "accuracy,ci_low,ci_high,macro_precision,macro_recall,macro_f1,parameters,seconds,paper_accuracy"
)


def make(correct: int = 76, n: int = 90, **changes: object) -> RunRecord:
    predicted = np.r_[np.arange(correct) % 3, (np.arange(correct, n) + 1) % 3]
    predictions = Predictions(
        sample_ids=tuple(f"s{i}" for i in range(n)),
        subjects=(None,) * n,
        classes=("angry", "happy", "sad"),
        labels=np.arange(n) % 3,
        probs=np.eye(3)[predicted],
    )
    record = make_record(
        predictions,
        model="early-3-visible-msx",
        modalities=(Modality.VISIBLE, Modality.MSX),
        fusion="early",
        steps=3,
        backbone="resnet18",
        split="paper",
        seed=7,
        parameters=22_618_250,
        seconds=81.25,
        paper_accuracy=79 / 90,
        variant="resnet18",
        fold=2,
    )
    return dataclasses.replace(record, **changes)


def test_a_record_scores_its_predictions():
    record = make()
    assert (record.correct, record.n_test, record.accuracy) == (76, 90, 76 / 90)
    assert (record.ci_low, record.ci_high) == pytest.approx((0.756, 0.905), abs=5e-4)
    assert record.macro_recall == pytest.approx(record.accuracy, abs=0.01)
    assert record.modalities == "visible+msx"
    assert (record.inputs, record.how) == ("visible + MSX", "early, 3-step")


def test_reading_gives_what_was_written(tmp_path: Path):
    single = make(
        variant="",
        model="msx",
        modalities="msx",
        fusion="single",
        steps=None,
        paper_accuracy=None,
        seed=0,
        fold=None,
    )
    records = (make(), single)
    path = tmp_path / "study" / "results.csv"
    write_results(records, path)
    assert read_results(path) == records
    assert path.read_text().splitlines()[0] == COLUMNS
    assert (
        "resnet18,early-3-visible-msx,visible+msx,early,3,network,resnet18,paper,7,2,90,76,"
        in path.read_text()
    )
    assert "\n,msx,msx,single,,network,resnet18,paper,0,,90," in path.read_text()


def test_a_model_is_named_among_tables_and_in_words():
    record = make()
    assert record.key == "resnet18/early-3-visible-msx"
    assert dataclasses.replace(record, variant="").key == "early-3-visible-msx"
    words = {
        ("network", "single", None): "single",
        ("network", "late", None): "late",
        ("attention", "early", 3): "attention, early, 3-step",
        ("alexnet-svm", "single", None): "alexnet-svm",
        ("alexnet-svm", "early", None): "alexnet-svm, early",
    }
    for (method, fusion, steps), said in words.items():
        assert make(method=method, fusion=fusion, steps=steps).how == said


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("n_test,correct", "correct,n_test", "columns of"),
        (",early,", ",middle,", "Line 2 .* 'middle'"),
        (",90,76,", ",90,many,", "Line 2 .* 'many'"),
        (",3,network,", ",3,", "Line 2"),
        (",7,2,", ",7,second,", "Line 2 .* 'second'"),
    ],
)
def test_a_bad_table_is_named_with_its_fault(tmp_path: Path, old: str, new: str, says: str):
    path = tmp_path / "results.csv"
    write_results([make()], path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ResultsError, match=says) as caught:
        read_results(path)
    assert str(path) in str(caught.value)


def test_a_missing_table(tmp_path: Path):
    with pytest.raises(ResultsError, match="ferfusion study"):
        read_results(tmp_path / "results.csv")
