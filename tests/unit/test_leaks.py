from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferfusion.data.dataset import Dataset
from ferfusion.data.leaks import find_leaks, find_two_names, group_links, repair_split
from ferfusion.data.links import Evidence, Kind, Link, LinkCollector, read_links, write_links
from ferfusion.data.splits import PARTS, Split, check_split, read_split, write_split
from ferfusion.errors import SplitError
from ferfusion.expression import order_labels
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile, Sample

SEEN = Evidence(Modality.VISIBLE, Modality.VISIBLE, "seen", 0.97, 40, 3)


def make_dataset(people: list[tuple[str | None, str]]) -> Dataset:
    images = {Modality.VISIBLE: ImageFile(Path("a.jpg"))}
    samples = tuple(Sample(f"{e}/{n:03}", e, s, images) for n, (s, e) in enumerate(people))
    samples = tuple(sorted(samples, key=lambda sample: sample.id))
    labels = order_labels(e for _, e in people)
    return Dataset(Path("faces"), "test", "test", "test", labels, samples)


def link(first: str, second: str, kind: Kind = "near-duplicate") -> Link:
    return Link(min(first, second), max(first, second), kind, (SEEN,))


def test_leaks_are_what_crosses_the_worst_first() -> None:
    dataset = make_dataset([(f"s{n}", "happy") for n in range(8)])
    ids = [sample.id for sample in dataset.samples]
    parts = {"train": tuple(ids[:4]), "val": tuple(ids[4:6]), "test": tuple(ids[6:])}
    split = Split("file", 0, parts)
    links = [
        link(ids[0], ids[1]),  # both in train
        link(ids[4], ids[6]),  # val and test
        link(ids[1], ids[7], "changed copy"),  # train and test
        link(ids[2], ids[7], "same file"),
        link(ids[0], "happy/unknown"),
    ]
    report = find_leaks(links, split, dataset)
    assert [leak.link for leak in report.leaks] == [links[3], links[2], links[1]]
    assert report.counts == {
        ("same file", "train", "test"): 1,
        ("near-duplicate", "val", "test"): 1,
        ("changed copy", "train", "test"): 1,
    }
    # Sample 0 is joined to test over sample 1, although no link of its own crosses.
    assert report.exposed == {"train": 3, "val": 1, "test": 2}
    assert report.subjects == ()
    assert not report.is_clean
    assert report.sentences()[0] == (
        "2 of 2 test samples are taken for twins of samples outside test."
    )
    assert report.touches_test()


def test_a_leak_between_train_and_val_leaves_test_alone_and_is_said_so() -> None:
    people = ["anna", "ben", "carl", "anna", "dora", "eve"]
    dataset = make_dataset([(person, "happy") for person in people])
    ids = [sample.id for sample in dataset.samples]
    split = Split(
        "file", 0, {"train": tuple(ids[:3]), "val": tuple(ids[3:5]), "test": tuple(ids[5:])}
    )
    report = find_leaks([link(ids[0], ids[3])], split, dataset)
    first, *_, last = report.sentences()
    assert first.startswith("No test sample is taken for a twin")
    assert "(1 of 2 val samples): choices made on validation are too sure." in first
    assert last == "Subjects in more than one part: 1 (anna). None of them is in test."
    assert not report.touches_test()
    # A person who is in test as well touches it, but not where people are shared by design.
    shared = Split("file", 0, {"train": (ids[0],), "val": (ids[4],), "test": (ids[3],)})
    people_only = find_leaks([], shared, dataset)
    assert people_only.touches_test()
    assert not people_only.touches_test(with_subjects=False)


def test_subjects_count_as_leaks_too() -> None:
    dataset = make_dataset([("anna", "happy"), ("anna", "sad"), ("ben", "sad")])
    ids = {part: (sample.id,) for part, sample in zip(PARTS, dataset.samples, strict=True)}
    report = find_leaks([], Split("file", 0, ids), dataset)
    assert report.subjects == ("anna",)
    assert report.sentences() == (
        "Subjects in more than one part: 1 (anna). None of them is in test.",
    )
    assert report.sentences(with_subjects=False) == ()


def test_groups_join_over_links_and_subjects() -> None:
    dataset = make_dataset([("a", "sad"), ("b", "sad"), ("b", "sad"), (None, "sad"), ("c", "sad")])
    ids = [sample.id for sample in dataset.samples]
    links = [link(ids[0], ids[1]), link(ids[3], ids[2])]
    assert group_links(links) == ((ids[0], ids[1]), (ids[2], ids[3]))
    assert group_links(links, dataset) == (tuple(ids[:4]),)
    assert find_two_names(links, dataset) == (("a", "b"),)


PEOPLE = st.lists(
    st.tuples(st.sampled_from([None, *"abcdefghij"]), st.sampled_from(["happy", "sad", "angry"])),
    min_size=12,
    max_size=40,
)
PAIRS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8)


@settings(max_examples=40)
@given(PEOPLE, PAIRS, st.integers(0, 5))
def test_a_repaired_split_is_clean_and_whole_or_refused(
    people: list[tuple[str | None, str]], pairs: list[tuple[int, int]], seed: int
) -> None:
    dataset = make_dataset(people)
    ids = [sample.id for sample in dataset.samples]
    links = [link(ids[a], ids[b]) for a, b in pairs if a != b]
    try:
        split = repair_split(dataset, links, seed)
    except SplitError:
        # Only where all that hangs together is too few, or one group holds a whole class.
        groups = group_links(links, dataset)
        n_groups = len(ids) - sum(len(group) - 1 for group in groups)
        labels = {i.partition("/")[0] for i in ids}
        sole = [len({i.partition("/")[0] for i in group}) == len(labels) for group in groups]
        assert n_groups < 3 or any(sole) or n_groups < 3 * len(labels)
        return
    assert find_leaks(links, split, dataset).is_clean
    check_split(split, dataset)
    listed = Counter(i for part in PARTS for i in split.parts[part])
    assert listed == Counter(ids)


def test_a_repaired_split_is_kept_in_a_file(tmp_path: Path) -> None:
    dataset = make_dataset([(f"s{n}", "happy" if n % 2 else "sad") for n in range(20)])
    split = repair_split(dataset, [link("sad/000", "happy/001")], 4)
    write_split(split, tmp_path / "clean.csv")
    assert read_split(tmp_path / "clean.csv") == split
    assert (split.kind, split.seed) == ("repaired", 4)


def test_one_group_of_all_can_not_be_split() -> None:
    dataset = make_dataset([("a", "happy"), ("a", "sad"), ("a", "sad"), ("a", "happy")])
    with pytest.raises(SplitError, match="leaves 1 groups, the largest of 4 of 4 samples"):
        repair_split(dataset, [], 0)


def test_links_survive_their_file(tmp_path: Path) -> None:
    found = LinkCollector()
    crossed = Evidence(Modality.VISIBLE, Modality.MSX, "outlines", 0.5)
    found.add("b", "a", "across modalities", crossed)
    found.add("a", "b", "changed copy", SEEN)
    (links,) = [found.links()]
    assert [(one.first, one.second, one.kind) for one in links] == [("a", "b", "changed copy")]
    assert (links[0].evidence[0].first, links[0].evidence[0].second) == (
        Modality.MSX,
        Modality.VISIBLE,
    )
    write_links(links, tmp_path / "links.json")
    assert read_links(tmp_path / "links.json") == links


def test_more_links_of_a_well_joined_group_teach_nothing() -> None:
    found = LinkCollector()
    for a in range(8):
        for b in range(a):
            found.add(f"{a}", f"{b}", "near-duplicate", SEEN)
    assert not found.teaches("0", "7", Modality.VISIBLE)
    assert found.teaches("0", "7", Modality.MSX)
    assert found.teaches("0", "new", Modality.VISIBLE)
