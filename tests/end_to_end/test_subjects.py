"""`ferfusion subjects`, as people type it: guess, correct, use; and the warning that names it."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.cli.audit import audit_before_study
from ferfusion.data.cache import ImageStore
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import draw_paper_split
from ferfusion.modality import Modality


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Seven people, two expressions, three shots each; the people are in the names only."""
    rng = np.random.default_rng(0)
    for feeling in ("happy", "sad"):
        for shot in range(21):
            path = tmp_path / "faces" / feeling / f"S{shot % 7 + 1:02}_{shot // 7}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
            Image.fromarray(noise).save(path)
    return tmp_path / "faces"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_guess_correct_and_use(ferfusion: Callable, faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "guess.csv"
    answer = ferfusion("subjects", faces, "--out", out)
    assert answer.code == 0
    assert "42 of 42 samples get one of 7 subjects (S01, S02" in answer.out
    assert f"save it as {faces / 'subjects.csv'}" in answer.out
    assert "Until then no study uses it" in answer.out
    assert open_dataset(faces).subjects == ()
    rows = read(out)
    assert list(rows[0]) == ["sample_id", "subject", "confidence", "how"]
    (faces / "subjects.csv").write_bytes(out.read_bytes())
    dataset = open_dataset(faces)
    assert dataset.has_subjects
    assert not dataset.leftovers
    assert {s.id: s.subject for s in dataset.samples} == {
        r["sample_id"]: r["subject"] for r in rows
    }
    assert all((s.subject or "").lower() in s.id.lower() for s in dataset.samples)
    answer = ferfusion("subjects", faces, "--out", tmp_path / "again.csv")
    assert "nothing to guess" in answer.out
    assert not (tmp_path / "again.csv").exists()


def test_half_of_it_is_known(ferfusion: Callable, faces: Path, tmp_path: Path) -> None:
    (faces / "subjects.csv").write_text("stem,subject,expression\nS01_0,Ann,happy\n,,\n")
    out = tmp_path / "guess.csv"
    answer = ferfusion("subjects", faces, "--out", out)
    assert "1 of 42 samples were named already" in answer.out
    rows = read(out)
    assert sum(row["subject"] == "Ann" for row in rows) == 6
    assert [row["confidence"] for row in rows] == sorted(row["confidence"] for row in rows)
    assert rows[-1]["confidence"] == "1.00"


def test_a_corrected_file_is_not_written_over(ferfusion: Callable, faces: Path) -> None:
    path = faces / "subjects.csv"
    path.write_text("sample_id,subject\nhappy/s01_0,Ann\n")
    before = path.read_text()
    answer = ferfusion("subjects", faces, "--out", path)
    assert (answer.code, path.read_text()) == (2, before)
    assert "maybe corrected by hand" in answer.err
    answer = ferfusion("subjects", faces, "--out", path, "--overwrite")
    assert answer.code == 0
    assert "is what studies read: correct it" in answer.out
    assert len(read(path)) == 42


def test_nothing_can_be_guessed(ferfusion: Callable, faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "guess.csv"
    answer = ferfusion("subjects", faces, "--by", "times", "--out", out)
    assert answer.code == 0
    assert "a form to fill in" in answer.out
    assert {row["subject"] for row in read(out)} == {""}
    assert ferfusion("subjects", faces, "--out", tmp_path).code == 2
    assert ferfusion("subjects", tmp_path / "nowhere").code == 2
    assert ferfusion("subjects", faces, "--by", "smell").code == 2


def test_a_table_with_some_subjects(ferfusion: Callable, faces: Path, tmp_path: Path) -> None:
    rows = [
        f"{path.parent.name}-{path.stem},{'Ann' if 'S01_0' in path.stem else ''},"
        f"{path.parent.name},faces/{path.parent.name}/{path.name}"
        for path in sorted(faces.rglob("*.png"))
    ]
    table = tmp_path / "table.csv"
    table.write_text("sample_id,subject,expression,visible\n" + "\n".join(rows))
    answer = ferfusion("subjects", table, "--out", tmp_path / "guess.csv")
    assert f"copy the subjects into the subject column of {table}" in answer.out
    assert sum(row["subject"] == "Ann" for row in read(tmp_path / "guess.csv")) == 6


def test_inspect_warns_that_people_are_in_two_parts(
    ferfusion: Callable, faces: Path, tmp_path: Path
) -> None:
    line = ("inspect", faces, "--size", 32, "--out", tmp_path / "sheets")
    answer = ferfusion(*line)
    assert answer.code == 0
    assert "Likely the same person is in test and outside it: 8 of 8 test samples" in answer.out
    assert f"ferfusion subjects {faces} --out subjects-guess.csv" in answer.out
    ferfusion("subjects", faces, "--out", faces / "subjects.csv")
    assert "Likely the same person" not in ferfusion(*line).out


def test_so_does_the_audit_before_a_study(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = open_dataset(faces)
    pictures = {Modality.VISIBLE: np.zeros((42, 32, 32, 3), np.uint8)}
    store = ImageStore(32, dataset.samples, pictures, {}, "made up")
    audit = audit_before_study(
        dataset,
        store,
        [draw_paper_split(dataset, seed) for seed in (0, 1)],
        allow_leaks=False,
        out=tmp_path,
        advance=lambda done, of: None,
        cache=tmp_path / "cache",
    )
    assert not audit.sentences  # a guess stops nothing
    assert audit.likely_shared is not None
    assert audit.likely_shared.startswith("Likely the same person is in test and outside it")
    assert audit.likely_shared in capsys.readouterr().out
