from pathlib import Path

import pytest

from ferfusion.data.opening import open_dataset
from ferfusion.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes; names 1 and 2 occur in both, 3 only in sad."""
    for place in ("happy/S1_1", "happy/S2_2", "sad/S1_1", "sad/S2_2", "sad/S1_3"):
        for word in ("vis", "ir"):
            path = tmp_path / f"{place}_{word}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    return tmp_path


def subjects(path: Path, pattern: str | None = None) -> list[str | None]:
    return [s.subject for s in open_dataset(path, subject_pattern=pattern).samples]


def test_nobody_is_named(root: Path) -> None:
    dataset = open_dataset(root)
    assert dataset.subjects_from is None
    assert not dataset.has_subjects


@pytest.mark.parametrize(
    "pattern", [r"(S\d)_", r"/(?P<subject>\w\d)_(\d)", "sad/(S1)|(?P<subject>S.)"]
)
def test_pattern(pattern: str, root: Path) -> None:
    if pattern.startswith("sad"):
        with pytest.raises(DataError, match="finds nobody in 2 of 5"):
            subjects(root, pattern)
    else:
        assert subjects(root, pattern) == ["S1", "S2", "S1", "S1", "S2"]


def test_pattern_is_searched_in_the_path_without_suffix(root: Path) -> None:
    assert subjects(root, r"^(?:happy|sad)/(\w+)_vis$") == ["S1_1", "S2_2", "S1_1", "S1_3", "S2_2"]


def test_pattern_that_misses_samples_shows_them(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        subjects(root, r"(S1)")
    message = str(caught.value)
    assert "finds nobody in 2 of 5 samples" in message
    assert "  happy/S2_2_vis\n  sad/S2_2_vis\n" in message


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("(S", "no regular expression"), ("S.", "0 groups"), ("(S)(1)", "2 groups")],
)
def test_pattern_that_makes_no_sense(pattern: str, said: str, root: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        subjects(root, pattern)


def test_file_by_stem_and_expression(root: Path) -> None:
    (root / "subjects.csv").write_text(
        "stem,subject,expression,light\n"
        "s1_1,anna,Happy,dim\nS2_2,ben,joy,\nS1_1,anna,Sad,\nS2_2,ben,sad,\nS1_3,anna,,\n"
    )
    dataset = open_dataset(root)
    assert [s.subject for s in dataset.samples] == ["anna", "ben", "anna", "anna", "ben"]
    assert dataset.subjects_from == "subjects.csv"
    assert dataset.leftovers == ()


def test_file_by_the_name_of_any_picture(root: Path) -> None:
    """Stems with the word for a modality find their sample too."""
    (root / "subjects.csv").write_text("stem,subject\nS1_3_vis,anna\ns1_3_IR,anna\n")
    assert subjects(root) == [None, None, None, "anna", None]


def test_file_by_sample_id_that_names_some_and_strangers(root: Path) -> None:
    (root / "subjects.csv").write_text("sample_id,subject\nhappy/s1_1,anna\nsad/S1_9,ben\n")
    dataset = open_dataset(root)
    assert dataset.subjects_from == "subjects.csv, which names 1 of 5 samples"
    assert [leftover.why for leftover in dataset.leftovers] == [
        "row 3: there is no sample with the sample_id 'sad/S1_9'"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "stem,subject\nS1_1,anna\n",
            "'S1_1' may be happy/s1_1, sad/s1_1; add a column 'expression'",
        ),
        ("stem,subject\nS1_3,anna\nS1_3,ben\n", "row 3: sad/s1_3 is ben, but anna further up"),
        ("name,subject\n", "has the columns name, subject, but it needs 'stem'"),
        ("stem,subject\nface7,anna\n", "it names 'face7', the samples are called 'happy/s1_1'"),
    ],
)
def test_file_that_can_not_be_used(text: str, said: str, root: Path) -> None:
    (root / "subjects.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        open_dataset(root)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(root / "subjects.csv"))


def test_what_wins(root: Path) -> None:
    """The pattern over the table's column, the column over the file."""
    (root / "subjects.csv").write_text("sample_id,subject\na,filed\nb,filed\n")
    table = root / "faces.csv"
    rows = "a,{},happy,happy/S1_1_vis.jpg\nb,{},sad,sad/S2_2_vis.jpg\n"
    head = "sample_id,subject,expression,visible\n"
    table.write_text(head + rows.format("told", "told"))
    assert subjects(table) == ["told", "told"]
    assert subjects(table, r"(S\d)") == ["S1", "S2"]
    table.write_text(head + rows.format("", ""))
    assert subjects(table) == ["filed", "filed"]
