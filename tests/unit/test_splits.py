import random
import tracemalloc
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ferfusion.data.dataset import Dataset
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import (
    PARTS,
    Split,
    check_split,
    draw_folds,
    draw_paper_split,
    draw_subject_split,
    read_split,
    shared_subjects,
    write_split,
)
from ferfusion.errors import SplitError
from ferfusion.expression import VIRI, order_labels
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile, Sample

STANDIN = Path(__file__).parents[3] / "shared/data/viri_standin"


def make_dataset(pairs: list[tuple[str | None, str]]) -> Dataset:
    """Makes a data set from (subject, expression) of each sample."""
    images = {Modality.VISIBLE: ImageFile(Path("a.jpg"))}
    samples = [Sample(f"{e}/{n:03}", e, s, images) for n, (s, e) in enumerate(pairs)]
    return Dataset(
        root=Path("faces"),
        reader="test",
        pairing="test",
        subjects_from="test",
        labels=order_labels(e for _, e in pairs),
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
    )


def sizes(split: Split, dataset: Dataset, label: str | None = None) -> list[int]:
    ids = {s.id for s in dataset.samples if label in (None, s.expression)}
    return [len(ids.intersection(split.parts[part])) for part in PARTS]


@st.composite
def faces(draw: st.DrawFn) -> list[tuple[str | None, str]]:
    """Three classes or fewer, 3 to 12 subjects of very unequal size."""
    labels = VIRI[: draw(st.integers(2, 3))]
    people = draw(st.lists(st.integers(1, 20), min_size=3, max_size=12))
    pairs: list[tuple[str | None, str]] = [
        (f"s{number}", label)
        for number, size in enumerate(people)
        for label in labels
        for _ in range(draw(st.integers(1, size)))
    ]
    # Enough for the paper's rule to leave something in every part.
    return [*pairs, *[("s0", label) for label in labels for _ in range(7)]]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("angry", [77, 16, 18]),
        ("happy", [79, 17, 18]),
        ("neutral", [79, 17, 18]),
        ("sad", [79, 17, 18]),
        ("surprised", [79, 16, 18]),
    ],
)
def test_paper_split_gives_table_1(label: str, expected: list[int]) -> None:
    counts = dict(zip(VIRI, (111, 114, 114, 114, 113), strict=True))
    dataset = make_dataset([(None, name) for name in VIRI for _ in range(counts[name])])
    split = draw_paper_split(dataset, 0)
    assert sizes(split, dataset, label) == expected
    assert sizes(split, dataset) == [393, 83, 90]


@pytest.mark.parametrize("count", range(7, 400, 13))
def test_paper_split_rounds_down_exactly(count: int) -> None:
    dataset = make_dataset([(None, label) for label in ("happy", "sad") for _ in range(count)])
    train, val = floor(Fraction(70, 100) * count), floor(Fraction(15, 100) * count)
    assert sizes(draw_paper_split(dataset, 1), dataset, "sad") == [train, val, count - train - val]


def test_paper_split_is_the_same_on_every_machine() -> None:
    dataset = make_dataset([(None, label) for label in ("happy", "sad") for _ in range(10)])
    assert draw_paper_split(dataset, 0).checksum.startswith("711e73683ea2f911")


@pytest.mark.parametrize("draw", [draw_paper_split, draw_subject_split])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pairs=faces(), seed=st.integers(0, 1000))
def test_parts_are_disjoint_exhaustive_and_independent_of_row_order(
    draw, pairs: list[tuple[str | None, str]], seed: int
) -> None:
    dataset = make_dataset(pairs)
    split = draw(dataset, seed)
    ids = [i for part in PARTS for i in split.parts[part]]
    assert sorted(ids) == [s.id for s in dataset.samples]
    assert all(split.parts[part] for part in PARTS)
    shuffled = list(dataset.samples)
    random.Random(seed).shuffle(shuffled)
    again = draw(replace(dataset, samples=tuple(shuffled)), seed)
    assert again == split
    assert again.checksum == split.checksum
    check_split(split, dataset)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pairs=faces(), seed=st.integers(0, 1000))
def test_subject_split_is_subject_pure_and_every_part_has_every_class(
    pairs: list[tuple[str | None, str]], seed: int
) -> None:
    dataset = make_dataset(pairs)
    split = draw_subject_split(dataset, seed)
    assert shared_subjects(split, dataset) == ()
    subject_of = {s.id: s.subject for s in dataset.samples}
    people = [{subject_of[i] for i in split.parts[part]} for part in PARTS]
    assert sum(map(len, people)) == len(set.union(*people))
    # Everybody shows every class, so three subjects suffice for it.
    assert all(min(sizes(split, dataset, label)) > 0 for label in dataset.labels)


def test_other_seeds_give_other_test_sets() -> None:
    rng = np.random.default_rng(0)
    dataset = make_dataset([(f"s{s}", e) for s in range(40) for e in rng.choice(VIRI, 4)])
    for draw in (draw_paper_split, draw_subject_split):
        tests = [set(draw(dataset, seed).parts["test"]) for seed in range(6)]
        shared = [len(a & b) / len(a) for a in tests for b in tests if a is not b]
        assert np.mean(shared) < 0.4


def test_the_largest_subject_is_not_always_in_train_when_others_are_as_large() -> None:
    dataset = make_dataset([(f"s{s}", e) for s in range(9) for e in VIRI[:3] for _ in range(5)])
    where = {
        part
        for seed in range(40)
        for part in PARTS
        if "angry/000" in draw_subject_split(dataset, seed).parts[part]
    }
    assert where == set(PARTS)


@pytest.mark.skipif(not STANDIN.is_dir(), reason=f"the stand-in data is not at {STANDIN}")
def test_subject_split_of_unequal_subjects_is_close_to_the_wanted_shares() -> None:
    dataset = open_dataset(STANDIN)
    for seed in range(5):
        split = draw_subject_split(dataset, seed)
        shares = np.array(sizes(split, dataset)) / len(dataset.samples)
        np.testing.assert_allclose(shares, [0.70, 0.15, 0.15], atol=0.03)
        for label in dataset.labels:
            counts = np.array(sizes(split, dataset, label))
            np.testing.assert_allclose(counts / counts.sum(), [0.70, 0.15, 0.15], atol=0.05)
        assert shared_subjects(split, dataset) == ()


def test_other_fractions() -> None:
    dataset = make_dataset([(f"s{s}", e) for s in range(50) for e in ("happy", "sad")])
    split = draw_subject_split(dataset, 0, (0.5, 0.25, 0.25))
    np.testing.assert_allclose(sizes(split, dataset), [50, 25, 25], atol=2)
    with pytest.raises(SplitError, match="add up to 1"):
        draw_subject_split(dataset, 0, (0.5, 0.5, 0.5))


def test_shared_subjects_are_named() -> None:
    dataset = make_dataset([("b", "sad"), ("a", "sad"), ("b", "sad"), ("c", "sad"), (None, "sad")])
    ids = [s.id for s in dataset.samples]
    split = Split("file", 0, {"train": tuple(ids[:2]), "val": (ids[2],), "test": tuple(ids[3:])})
    assert shared_subjects(split, dataset) == ("b",)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("a", "sad"), (None, "sad"), ("b", "happy")], "1 of 3 samples don't say"),
        ([("a", "sad"), ("b", "happy")], "at least 3 subjects, one for each part, but there are 2"),
        ([("a", "sad"), ("b", "happy"), ("c", "angry")], "is left to learn from"),
    ],
)
def test_subject_split_that_can_not_be_drawn(pairs: list, said: str) -> None:
    with pytest.raises(SplitError, match=said) as caught:
        draw_subject_split(make_dataset(pairs), 0)
    if "learn" not in said:
        for way_out in ("subjects.csv", "--subject-pattern", "--split paper"):
            assert way_out in str(caught.value)


def test_paper_split_of_too_few() -> None:
    with pytest.raises(SplitError, match="'sad' has 1 sample, too few"):
        draw_paper_split(make_dataset([("a", "sad"), *[("a", "happy")] * 9]), 0)
    with pytest.raises(SplitError, match="at least 7"):
        draw_paper_split(make_dataset([("a", "sad"), ("a", "happy")] * 6), 0)


# ------------------------------------------------------------------------------------------ folds


def check_folds(splits: tuple[Split, ...], dataset: Dataset) -> None:
    """Whatever the way of drawing: what a set of folds promises."""
    tested = Counter(i for split in splits for i in split.parts["test"])
    assert tested == Counter(s.id for s in dataset.samples)
    for split in splits:
        ids = [i for part in PARTS for i in split.parts[part]]
        assert sorted(ids) == [s.id for s in dataset.samples]
        assert all(split.parts[part] for part in PARTS)
        learned = set(split.parts["train"])
        assert {s.expression for s in dataset.samples if s.id in learned} == set(dataset.labels)
        check_split(split, dataset)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pairs=faces(), n_folds=st.integers(2, 6), seed=st.integers(0, 1000), way=st.booleans())
def test_folds_test_every_sample_once_whatever_the_order_of_the_samples(
    pairs: list[tuple[str | None, str]], n_folds: int, seed: int, way: bool
) -> None:
    dataset = make_dataset(pairs)
    n_folds = min(n_folds, len(dataset.subjects) - 2)
    assume(n_folds >= 2)
    splits = draw_folds(dataset, n_folds, seed, by_subject=way)
    assert len(splits) == n_folds
    assert {split.kind for split in splits} == {"subject" if way else "paper"}
    check_folds(splits, dataset)
    if way:
        assert not any(shared_subjects(split, dataset) for split in splits)
    shuffled = list(dataset.samples)
    random.Random(seed).shuffle(shuffled)
    again = draw_folds(replace(dataset, samples=tuple(shuffled)), n_folds, seed, by_subject=way)
    assert [split.checksum for split in again] == [split.checksum for split in splits]


@given(
    counts=st.lists(st.integers(8, 60), min_size=2, max_size=4),
    n_folds=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
def test_folds_by_image_have_their_share_of_every_class_to_the_sample(
    counts: list[int], n_folds: int, seed: int
) -> None:
    labels = VIRI[: len(counts)]
    dataset = make_dataset(
        [(None, e) for e, n in zip(labels, counts, strict=True) for _ in range(n)]
    )
    splits = draw_folds(dataset, n_folds, seed, by_subject=False)
    check_folds(splits, dataset)
    for label, count in zip(labels, counts, strict=True):
        tested = [sizes(split, dataset, label)[2] for split in splits]
        assert set(tested) <= {count // n_folds, -(-count // n_folds)}
        for split in splits:
            train, val, _ = sizes(split, dataset, label)
            # 15 % of all, a third of the rest at most, to the nearest sample.
            wanted = min((train + val) / 3, 0.15 * (train + val) * n_folds / (n_folds - 1))
            assert abs(val - wanted) <= 0.5 or val == 1


def test_folds_by_subject_are_even_where_people_are() -> None:
    dataset = make_dataset([(f"s{s:02}", e) for s in range(20) for e in VIRI])
    for split in draw_folds(dataset, 5, 0, by_subject=True):
        assert sizes(split, dataset) == [65, 15, 20]
        for label in VIRI:
            assert sizes(split, dataset, label) == [13, 3, 4]


@pytest.mark.skipif(not STANDIN.is_dir(), reason=f"the stand-in data is not at {STANDIN}")
@pytest.mark.parametrize("by_subject", [True, False])
def test_folds_of_unequal_subjects_are_close_to_the_wanted_shares(by_subject: bool) -> None:
    dataset = open_dataset(STANDIN)
    splits = draw_folds(dataset, 5, 0, by_subject=by_subject)
    check_folds(splits, dataset)
    for split in splits:
        assert not (by_subject and shared_subjects(split, dataset))
        shares = np.array(sizes(split, dataset)) / len(dataset.samples)
        np.testing.assert_allclose(shares, [0.65, 0.15, 0.20], atol=0.03)
        for label in dataset.labels:
            counts = np.array(sizes(split, dataset, label))
            # One of the people has 92 of the 566 pictures.
            np.testing.assert_allclose(counts / counts.sum(), [0.65, 0.15, 0.20], atol=0.1)


@pytest.mark.parametrize("by_subject", [True, False])
def test_other_seeds_give_other_folds(by_subject: bool) -> None:
    rng = np.random.default_rng(0)
    dataset = make_dataset([(f"s{s}", e) for s in range(40) for e in rng.choice(VIRI, 4)])
    drawn = [draw_folds(dataset, 4, seed, by_subject=by_subject) for seed in range(5)]
    tests = [frozenset(split.parts["test"]) for splits in drawn for split in splits]
    assert len(set(tests)) == len(tests)
    # Two people of one fold are not together under every seed.
    together = [len(a & b) / len(a) for a in tests[:4] for b in tests[4:]]
    assert max(together) < 0.7


def test_validation_people_differ_between_folds() -> None:
    dataset = make_dataset([(f"s{s:02}", e) for s in range(20) for e in VIRI])
    splits = draw_folds(dataset, 4, 1, by_subject=True)
    assert len({split.parts["val"] for split in splits}) == 4


def test_a_class_that_few_people_show_is_left_to_learn_from() -> None:
    # Sad is shown by three of nine: one may be tested, one validated, one must be learned from.
    pairs = [(f"s{s}", e) for s in range(9) for e in ("happy", "neutral") for _ in range(3)]
    dataset = make_dataset([*pairs, *[(f"s{s}", "sad") for s in range(3)]])
    for seed in range(20):
        check_folds(draw_folds(dataset, 3, seed, by_subject=True), dataset)


@pytest.mark.parametrize("by_subject", [True, False])
def test_folds_that_make_no_sense(by_subject: bool) -> None:
    dataset = make_dataset([(f"s{s}", e) for s in range(6) for e in VIRI[:2]])
    for n_folds in (-1, 0, 1):
        with pytest.raises(SplitError, match=f"--folds is {n_folds}, but must be at least 2"):
            draw_folds(dataset, n_folds, 0, by_subject=by_subject)
    with pytest.raises(SplitError, match="Ask for fewer --folds"):
        draw_folds(dataset, 5, 0, by_subject=by_subject)


@pytest.mark.parametrize(
    ("pairs", "by_subject", "said"),
    [
        ([("a", "sad"), (None, "sad"), ("b", "happy")], True, "1 of 3 samples don't say"),
        ([(f"s{n}", "sad") for n in range(3)], True, "2 folds by subject need at least 4 subjects"),
        ([(f"s{n}", VIRI[n % 5]) for n in range(5)], True, "is left to learn from"),
        ([("a", "sad"), *[("a", "happy")] * 9], False, "'sad' has 1 sample, too few for 2 folds"),
    ],
)
def test_folds_that_can_not_be_drawn(pairs: list, by_subject: bool, said: str) -> None:
    with pytest.raises(SplitError, match=said):
        draw_folds(make_dataset(pairs), 2, 0, by_subject=by_subject)


def test_two_folds_leave_two_people_on_either_side() -> None:
    # Dealt evenly, the one with most pictures would be alone, and there would be no validation.
    pairs = [("big", e) for e in VIRI[:2] for _ in range(50)]
    dataset = make_dataset([*pairs, *[(f"s{n}", e) for n in range(3) for e in VIRI[:2]]])
    for seed in range(20):
        check_folds(draw_folds(dataset, 2, seed, by_subject=True), dataset)


@pytest.fixture
def dataset() -> Dataset:
    return make_dataset([(f"s{s}", e) for s in range(6) for e in ("happy", "sad")])


@pytest.fixture
def split(dataset: Dataset) -> Split:
    return draw_subject_split(dataset, 3)


def test_written_split_is_read_back(split: Split, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    write_split(split, path)
    assert read_split(path) == split
    lines = path.read_text().splitlines()
    assert lines[0] == f"# kind=subject seed=3 checksum={split.checksum}"
    assert lines[1] == "sample_id,part"
    assert len(lines) == 14


def test_order_of_rows_and_a_spreadsheet_do_not_count_as_changes(
    split: Split, tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    write_split(split, path)
    first, head, *rows = path.read_text().splitlines()
    path.write_text("\ufeff" + "\r\n".join([first + ",", head, *reversed(rows), ","]), "utf-8")
    assert read_split(path) == split


def test_changed_split_is_refused_until_it_is_called_ones_own(split: Split, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    write_split(split, path)
    first, *rest = path.read_text().splitlines()
    rest[1] = rest[1].replace("train", "test")
    path.write_text("\n".join([first, *rest]))
    with pytest.raises(SplitError, match=r"was changed after it was drawn.* delete its first line"):
        read_split(path)
    path.write_text("\n".join(["# kind=paper", *rest]))
    with pytest.raises(SplitError, match="was changed"):
        read_split(path)
    path.write_text("\n".join(rest))
    own = read_split(path)
    assert own.kind == "file"
    assert len(own.parts["test"]) == len(split.parts["test"]) + 1
    write_split(own, path)
    assert read_split(path) == own


def test_ids_with_commas_and_quotes_survive(tmp_path: Path) -> None:
    split = Split("file", 0, {"train": ('a,"b"',), "val": ("# c",), "test": ("\u00e9\u2028x",)})
    write_split(split, tmp_path / "split.csv")
    assert read_split(tmp_path / "split.csv") == split


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header sample_id,part"),
        ("a,train\n", "no header sample_id,part"),
        ("sample_id,part\na,dev\n", "the row 'a,dev'"),
        ("sample_id,part\na\n", "the row 'a'"),
        ("sample_id,part\na" + "b" * 200_000 + ",train\n", "no CSV table"),
        (f"# kind=subject seed={'9' * 5000} checksum=00\nsample_id,part\n", "was changed after"),
    ],
)
def test_no_split_file(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(SplitError, match=said):
        read_split(path)
    with pytest.raises(SplitError, match="can't be read"):
        read_split(tmp_path / "none.csv")


def test_checksum_depends_on_kind_seed_and_content(split: Split) -> None:
    train, *rest = split.parts["train"]
    moved = {**split.parts, "train": tuple(rest), "test": (*split.parts["test"], train)}
    others = [replace(split, kind="paper"), replace(split, seed=4), replace(split, parts=moved)]
    assert len({split.checksum, *(other.checksum for other in others)}) == 4


def test_split_of_other_data_is_refused(split: Split, dataset: Dataset) -> None:
    ids = [s.id for s in dataset.samples]
    bad = {"train": (ids[0], ids[0], "happy/99"), "val": (), "test": tuple(ids[1:-1])}
    with pytest.raises(SplitError) as caught:
        check_split(Split("file", 0, bad), dataset)
    message = str(caught.value)
    for said in (
        "val is empty",
        f"1 sample listed twice ({ids[0]})",
        "1 sample not in the data, or without a modality in use (happy/99)",
        f"1 sample in the data but not in the split ({ids[-1]})",
    ):
        assert said in message


def test_samples_that_lack_a_modality_may_be_missing_from_a_split(dataset: Dataset) -> None:
    infrared = {Modality.INFRARED: ImageFile(Path("b.jpg"))}
    whole = tuple(
        replace(s, images={**s.images, **infrared}) if n else s
        for n, s in enumerate(dataset.samples)
    )
    mixed = replace(dataset, samples=whole)
    split = draw_subject_split(mixed.complete_in(mixed.modalities), 0)
    assert dataset.samples[0].id not in {i for part in PARTS for i in split.parts[part]}
    check_split(split, mixed)


def test_dealing_many_people_takes_little_memory():
    rng = np.random.default_rng(0)
    faces = [(f"s{n // 2}", VIRI[rng.integers(5)]) for n in range(6000)]
    dataset = make_dataset(faces)
    tracemalloc.start()
    try:
        split = draw_subject_split(dataset, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 500 deals of 3000 people, as plain numbers and several times over, were 48 MB and more.
    assert peak < 20e6
    assert sizes(split, dataset) == pytest.approx([4200, 900, 900], abs=5)
    assert shared_subjects(split, dataset) == ()
