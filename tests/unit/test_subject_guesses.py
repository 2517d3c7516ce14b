import io
import itertools
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from ferfusion.data.dataset import Dataset
from ferfusion.data.guess import Grouping, Guess
from ferfusion.data.guess_by_looks import group_by_looks, group_faces
from ferfusion.data.guess_by_names import group_by_names
from ferfusion.data.guess_by_times import group_by_times, group_moments
from ferfusion.data.splits import Split
from ferfusion.data.subject_guesses import complete_guesses, find_exposure, guess_cheaply
from ferfusion.errors import ImageError
from ferfusion.imaging.file_bytes import read_bytes
from ferfusion.imaging.files import read_taken_at
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile, Sample

FEELINGS = ("angry", "happy", "sad")
NAMES = ("anna", "bo", "cleo", "dan", "eva", "finn", "gül")
PEOPLE, SHOTS = range(1, 8), range(1, 4)


def make_dataset(paths: Mapping[str, str], root: Path = Path("/data")) -> Dataset:
    """A data set of pictures at these paths; each stands for its expression."""
    samples = tuple(
        Sample(path, feeling, None, {Modality.VISIBLE: ImageFile(root / f"{path}.jpg")})
        for path, feeling in sorted(paths.items())
    )
    return Dataset(root, "test", "test", None, FEELINGS, samples)


def lay_out(pattern: str) -> dict[str, str]:
    """Paths of all people, expressions and shots."""
    return {
        pattern.format(n=n, N=n.title(), p=p, e=e, E=e.title(), k=k, sex="MF"[p % 2]): e
        for (p, n), e, k in itertools.product(zip(PEOPLE, NAMES, strict=True), FEELINGS, SHOTS)
    }


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("{e}/S{p:02}_{k:03}", "S01"),
        ("S{p:02}/{e}/vis/{k:03}", "S01"),
        ("subject_{p}/{e}/{k:03}", "subject_1"),
        ("{n}-{e}-{k}", "anna"),
        ("{e}/{k}.{n}", "anna"),
        ("{N}{E}{k}", "Anna"),
        ("{e}/{n}", "anna"),
        ("{n} x{n}/{e}/{k}", "anna xanna"),
        ("{sex}{p:02}{e}{k}", "F01"),
        ("{e}/{p:02}_{k:02}", "01"),
        ("Rafd090_{p:02}_{e}_{k}", "01"),
        ("{e}/S{p:03}", "S001"),
    ],
)
def test_a_piece_of_the_name_that_can_be_a_person(pattern: str, first: str) -> None:
    paths = lay_out(pattern)
    grouping = group_by_names(make_dataset(paths))
    whose = {f"{i}": guess.subject for i, guess in grouping.guesses.items()}
    assert set(whose) == set(paths)
    assert first in whose.values()
    assert len(set(whose.values())) == len(PEOPLE)
    assert all(who in path for path, who in whose.items())
    assert 0.4 < grouping.confidence <= 1


@pytest.mark.parametrize(
    "paths",
    [
        {f"{e}/{e}_{i:03}": e for e in FEELINGS for i in range(1, 20 + len(e))},
        {f"{e}/IMG_{i:04}": e for e in FEELINGS for i in range(30)},
        {f"{e}/FLIR{1000 * j + i}": e for j, e in enumerate(FEELINGS) for i in range(30)},
        {f"{e}/{hash((i, j)) % 10**9:09x}": e for j, e in enumerate(FEELINGS) for i in range(30)},
        {f"{e}/2024030{1 + i % 4}_{i}{j}": e for j, e in enumerate(FEELINGS) for i in range(30)},
        {f"{e}/{e} {i}": e for e in FEELINGS for i in range(2)},
        {},
    ],
    ids=["counted", "camera", "on", "random", "dates", "few", "none"],
)
def test_names_that_tell_nobody(paths: dict[str, str]) -> None:
    grouping = group_by_names(make_dataset(paths))
    assert (grouping.guesses, grouping.confidence) == ({}, 0.0)
    assert grouping.sentence.startswith("No piece")


def test_a_word_that_says_person_makes_it_surer() -> None:
    said = group_by_names(make_dataset(lay_out("{e}/S{p:02}_{k:03}")))
    number = group_by_names(make_dataset(lay_out("{e}/{p:02}_{k:03}")))
    assert said.confidence > number.confidence
    assert "a word says" in said.sentence


@settings(max_examples=60)
@given(st.dictionaries(st.text(min_size=1), st.sampled_from(FEELINGS), max_size=30))
def test_any_names_are_survived(paths: dict[str, str]) -> None:
    grouping = group_by_names(make_dataset({p.replace("\0", ""): e for p, e in paths.items()}))
    assert all(0 < guess.confidence <= 1 for guess in grouping.guesses.values())


def shoot(people: int = 8, pause_s: float = 300) -> tuple[dict[str, datetime], dict[str, str]]:
    """Times of people who come one after another and show each expression every ten seconds."""
    start, times, feelings = datetime(2024, 5, 1, 9), {}, {}
    for person, (number, feeling) in itertools.product(range(people), enumerate(FEELINGS * 2)):
        sample_id = f"{person}-{number}"
        times[sample_id] = start + timedelta(seconds=person * pause_s + number * 10)
        feelings[sample_id] = feeling
    return times, feelings


def test_pauses_part_people() -> None:
    times, feelings = shoot()
    grouping = group_moments(times, feelings)
    assert len({guess.subject for guess in grouping.guesses.values()}) == 8
    for sample_id, guess in grouping.guesses.items():
        assert guess.subject == f"session{int(sample_id[0]) + 1}"
    assert 0.4 < grouping.confidence <= 0.7
    assert "8 sessions" in grouping.sentence


def test_a_night_between_does_not_hide_the_people() -> None:
    times, feelings = shoot()
    later = {i: t + timedelta(hours=14 if i >= "4" else 0) for i, t in times.items()}
    grouping = group_moments(later, feelings)
    assert len({guess.subject for guess in grouping.guesses.values()}) == 8


def test_clearer_pauses_are_surer() -> None:
    near, far = (group_moments(*shoot(pause_s=p)) for p in (120, 400))
    assert 0 < near.confidence < far.confidence


def test_times_without_pauses_or_by_class_tell_nobody() -> None:
    times, feelings = shoot(pause_s=60)
    assert not group_moments(times, feelings).guesses
    times, _ = shoot()
    assert not group_moments(times, {i: FEELINGS[int(i[0]) % 3] for i in times}).guesses
    assert not group_moments({}, feelings).guesses
    assert not group_moments(dict.fromkeys(feelings, datetime(2024, 1, 1)), feelings).guesses


def write_picture(path: Path, taken_at: datetime | None = None) -> Path:
    exif = Image.Exif()
    if taken_at is not None:
        details = exif.get_ifd(ExifTags.IFD.Exif)
        details[ExifTags.Base.DateTimeOriginal] = f"{taken_at:%Y:%m:%d %H:%M:%S}"
        details[ExifTags.Base.SubsecTimeOriginal] = "25"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(path, exif=exif)
    return path


def test_times_come_from_the_exif_and_never_from_the_disk(tmp_path: Path) -> None:
    times, feelings = shoot()
    for sample_id, time in times.items():
        write_picture(tmp_path / f"{sample_id}.jpg", time)
    dataset = make_dataset(feelings, tmp_path)
    assert len({g.subject for g in group_by_times(dataset).guesses.values()}) == 8
    for sample_id in times:
        write_picture(tmp_path / f"{sample_id}.jpg")
    grouping = group_by_times(dataset)
    assert not grouping.guesses
    assert "copying changes that" in grouping.sentence


def test_the_time_is_read_with_its_fraction(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.jpg", datetime(2024, 5, 1, 9, 8, 7))
    assert read_taken_at(ImageFile(path)) == datetime(2024, 5, 1, 9, 8, 7, 250_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "in/a.jpg")
    packed = ImageFile(tmp_path / "a.zip", "in/a.jpg")
    assert read_taken_at(packed) == datetime(2024, 5, 1, 9, 8, 7, 250_000)


def test_only_the_head_of_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_picture(tmp_path / "a.jpg", datetime(2024, 5, 1))
    with path.open("ab") as file:
        file.write(bytes(8 * 2**20))
    taken: list[int] = []

    class Counted(io.FileIO):
        def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
            taken.append(super().readinto(buffer))
            return taken[-1]

    monkeypatch.setattr(Path, "open", lambda path, _: io.BufferedReader(Counted(path)))
    assert read_taken_at(ImageFile(path)) == datetime(2024, 5, 1, microsecond=250_000)
    assert 0 < sum(taken) < 2**18


@pytest.mark.parametrize("said", ["0000:00:00 00:00:00", "", "yesterday", "    :  :     :  :  "])
def test_a_time_that_is_none(said: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = said
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg", exif=exif)
    assert read_taken_at(ImageFile(tmp_path / "a.jpg")) is None


@pytest.fixture(scope="module")
def timed_bytes(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ...]:
    folder, time = tmp_path_factory.mktemp("timed"), datetime(2024, 5, 1)
    suffixes = ("jpg", "png", "tiff", "webp")
    return tuple(read_bytes(ImageFile(write_picture(folder / f"a.{s}", time))) for s in suffixes)


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_exif_is_no_time(
    data: st.DataObject, timed_bytes: tuple[bytes, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = bytearray(data.draw(st.sampled_from(timed_bytes)))
    for _ in range(data.draw(st.integers(1, 4))):
        # Behind the signature: what is no picture at all is another test's.
        whole[data.draw(st.integers(12, min(len(whole) - 1, 300)))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    path.write_bytes(whole)
    try:
        found = read_taken_at(ImageFile(path))
    except ImageError:
        return
    assert found is None or isinstance(found, datetime)


def test_the_surest_way_comes_first() -> None:
    first, second = guess_cheaply(make_dataset(lay_out("{e}/S{p:02}_{k:03}")))
    assert (first.way, second.way) == ("names", "times")
    assert second.guesses == {}


def test_who_is_named_stays_named_and_names_the_others() -> None:
    dataset = make_dataset(dict.fromkeys("abcdef", "happy"))
    named = {"a": "Ann", "c": "Cy", "d": "Di", "f": "x4"}
    samples = tuple(replace(s, subject=named.get(s.id)) for s in dataset.samples)
    dataset = replace(dataset, samples=samples, subjects_from="subjects.csv")
    groups = {"a": "x1", "b": "x1", "c": "x2", "d": "x2", "e": "x4"}
    guessed = {i: Guess(who, 0.5, "made up") for i, who in groups.items()}
    found = complete_guesses(dataset, Grouping("names", "made up", 0.5, guessed))
    subjects = {i: (guess.subject, guess.confidence) for i, guess in found.items()}
    assert subjects == {
        "a": ("Ann", 1.0),
        "b": ("Ann", 0.5),  # with Ann
        "c": ("Cy", 1.0),
        "d": ("Di", 1.0),  # the guess put two people together; they know better
        "e": ("x4 (guessed)", 0.5),  # somebody else is called x4
        "f": ("x4", 1.0),
    }


def test_who_is_in_two_parts_of_a_split() -> None:
    dataset = make_dataset(lay_out("{e}/S{p:02}_{k:03}"))
    ids = [sample.id for sample in dataset.samples]

    def split(test: list[str]) -> Split:
        rest = [i for i in ids if i not in test]
        return Split("paper", 0, {"train": tuple(rest), "val": (), "test": tuple(test)})

    clean, leaky = split([i for i in ids if "S01" in i]), split([i for i in ids if "_001" in i])
    assert find_exposure(dataset, [clean]) is None
    exposure = find_exposure(dataset, [clean, leaky])
    assert exposure is not None
    assert (len(exposure.people), exposure.n_test) == (7, 21)
    everybody = tuple(replace(s, subject=s.id) for s in dataset.samples)
    assert find_exposure(replace(dataset, samples=everybody), [leaky]) is None
    assert find_exposure(make_dataset({f"{e}/{i}": e for e in FEELINGS for i in "123"}), []) is None


def test_faces_that_are_alike_are_put_together() -> None:
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 255, (40, 20, 20, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    noisy = faces[:8].astype(int) + rng.integers(-9, 9, faces[:8].shape)
    crops = np.concatenate((faces, np.clip(noisy, 0, 255).astype(np.uint8)))
    groups = group_faces(crops, ["happy", "sad"] * 24)
    assert groups[:8] == groups[40:]
    assert len(set(groups)) == 40
    assert len(set(group_faces(np.zeros_like(crops), ["sad"] * 48))) == 48


def test_too_few_faces_are_said(tmp_path: Path, detector_weights: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").touch()
    dataset = make_dataset({"a": "sad", "b": "sad"}, tmp_path)
    grouping = group_by_looks(dataset, detector_weights)
    assert not grouping.guesses
    assert grouping.sentence.startswith("0 of 2 samples show one face")
