import csv
import json
from pathlib import Path

import pytest

from ferfusion.errors import ConfigError
from ferfusion.inference.answer_lines import Columns, Line, choose_format, writing_lines
from ferfusion.inference.predictor import Prediction, Unusable

SURE = Prediction("happy", {"happy": 0.75, "sad": 0.25}, abstained=False)
UNSURE = Prediction("sad", {"happy": 0.4, "sad": 0.6}, abstained=True)
LINES = (
    Line({"sample_id": 'odd, "name"\n'}, SURE, expression="happy"),
    Line({"sample_id": "b"}, UNSURE, raw={"happy": 0.1, "sad": 0.9}, expression="happy"),
    Line({"sample_id": "c"}, Unusable("there is no infrared picture"), expression="sad"),
    Line({"sample_id": "d"}, SURE),
)
COLUMNS = Columns(("sample_id",), ("happy", "sad"), has_raw=True, has_expressions=True)


def write(path: Path, *, grows: bool = False) -> None:
    with writing_lines(path, choose_format(path, None), COLUMNS, grows=grows) as add:
        for line in LINES:
            add(line)


@pytest.mark.parametrize("grows", [False, True])
def test_a_csv_is_read_back(tmp_path: Path, grows: bool) -> None:
    write(tmp_path / "a.csv", grows=grows)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["sample_id"] for row in rows] == [line.about["sample_id"] for line in LINES]
    assert [row["right"] for row in rows] == ["yes", "no", "", ""]
    assert [row["abstained"] for row in rows] == ["no", "yes", "", "no"]
    assert (rows[1]["label"], rows[1]["confidence"], rows[1]["raw_sad"]) == ("sad", "0.6", "0.9")
    assert rows[2]["label"] == ""
    assert rows[2]["reason"] == "there is no infrared picture"


def test_json_lines_are_read_back(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    lines = [json.loads(text) for text in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines[0]["probabilities"] == {"happy": 0.75, "sad": 0.25}
    assert [line.get("right") for line in lines] == [True, False, None, None]
    assert lines[1]["raw_probabilities"] == {"happy": 0.1, "sad": 0.9}
    assert lines[2] == {
        "sample_id": "c", "expression": "sad", "right": None,
        "reason": "there is no infrared picture",
    }  # fmt: skip


def break_off(path: Path) -> None:
    with writing_lines(path, "csv", COLUMNS, grows=False) as add:
        add(LINES[0])
        raise RuntimeError


def test_a_file_appears_whole_unless_it_grows(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        break_off(tmp_path / "whole.csv")
    assert not list(tmp_path.iterdir())
    growing = tmp_path / "growing.csv"
    with writing_lines(growing, "csv", COLUMNS, grows=True) as add:
        for count, line in enumerate(LINES, start=1):
            add(line)
            with growing.open(newline="") as file:
                assert len(list(csv.reader(file))) == count + 1


def test_the_ending_says_the_format(tmp_path: Path) -> None:
    assert choose_format(Path("a.CSV"), None) == "csv"
    assert choose_format(Path("a.ndjson"), None) == "jsonl"
    assert choose_format(Path("a.csv"), "jsonl") == "jsonl"
    assert choose_format(None, None) == "jsonl"
    with pytest.raises(ConfigError, match=r"use \.csv or \.jsonl"):
        choose_format(Path("a.txt"), None)
