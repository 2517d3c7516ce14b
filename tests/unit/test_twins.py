import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ferfusion.cli.audit import audit_before_study
from ferfusion.cli.inspect import run_inspect
from ferfusion.config import Settings
from ferfusion.data import augmentation
from ferfusion.data.cache import decode_all
from ferfusion.data.dataset import Dataset
from ferfusion.data.leaks import find_leaks, find_two_names, group_links, repair_split
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import Split, draw_folds, draw_subject_split
from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.data.twins import PictureAudit, audit_pictures
from ferfusion.errors import ConfigError, DataError, SplitError
from ferfusion.expression import VIRI
from ferfusion.modality import MODALITIES, Modality

STANDIN = Path(__file__).parents[3] / "shared/data/viri_standin"
SUFFIXES = {"Vis": Modality.VISIBLE, "Ir": Modality.INFRARED, "MSX": Modality.MSX}


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_dataset(tmp_path_factory.mktemp("twins") / "faces", subjects=3)


@pytest.fixture(scope="module")
def clean(drawn: Path) -> PictureAudit:
    return audit_pictures(open_dataset(drawn), advance=quiet)


@pytest.fixture(scope="module")
def copied(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Most pictures have a twin: changed in the paper's ways, under another name and subject."""
    folder = tmp_path_factory.mktemp("copied") / "faces"
    shutil.copytree(drawn, folder)
    with (drawn / "subjects.csv").open() as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(tuple(rows)):
        stem = f"new_{number:03}"
        moved = augmentation.draw(
            "paper", seed=2, epoch=0, sample_id=stem, copy=1 + number * 5 % 24
        )
        for suffix, modality in SUFFIXES.items():
            (old,) = drawn.glob(f"VIRI-*-{suffix}/{row['stem']}.png")
            picture = cv2.imread(str(old))
            changed = augmentation.apply(moved, picture, modality)
            quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
            new = folder / old.parent.name / f"{stem}.jpg"
            cv2.imwrite(str(new), changed, quality)
        rows.append({**row, "stem": stem, "subject": f"other{number:03}"})
    with (folder / "subjects.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return open_dataset(folder)


@pytest.fixture(scope="module")
def found(copied: Dataset) -> PictureAudit:
    return audit_pictures(copied, advance=quiet)


def number_of(sample_id: str) -> int:
    """Names the moment of a copy and of its original alike."""
    label, _, stem = sample_id.partition("/")
    if stem.startswith("new_"):
        return int(stem[4:])
    return VIRI.index(label) + len(VIRI) * (int(stem.rpartition("_")[2]) - 1)


def test_drawn_people_are_not_taken_for_each_other(clean: PictureAudit) -> None:
    assert clean.links == ()
    assert clean.size_px == 128
    assert "15 visible, 15 infrared, 15 msx pictures" in clean.looked_at


def test_drawn_people_as_small_as_in_quick_trials_are_not_either(tmp_path: Path) -> None:
    small = write_synthetic_dataset(tmp_path / "faces", subjects=3, size_px=48)
    audit = audit_pictures(open_dataset(small))
    assert (audit.size_px, audit.links) == (48, ())


def test_every_twin_is_found_and_nothing_else(found: PictureAudit) -> None:
    pairs = {frozenset((link.first, link.second)) for link in found.links}
    assert len(pairs) == 15
    assert all(len({number_of(i) for i in pair}) == 1 for pair in pairs)
    assert {link.kind for link in found.links} <= {"near-duplicate", "changed copy"}
    modalities = {e.first for link in found.links for e in link.evidence}
    assert modalities == set(MODALITIES)


def test_repair_gives_a_split_that_audits_clean(copied: Dataset, found: PictureAudit) -> None:
    leaking = find_leaks(found.links, draw_subject_split(copied, 0), copied)
    assert leaking.leaks
    assert leaking.subjects == ()
    repaired = repair_split(copied, found.links, 0)
    assert find_leaks(found.links, repaired, copied).is_clean
    assert len(find_two_names(found.links, copied)) == 15
    assert max(map(len, group_links(found.links, copied))) == 10


def test_a_second_audit_looks_nothing_up(
    copied: Dataset, found: PictureAudit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferfusion.data.copies.describe", lambda picture: pytest.fail("looked"))
    assert audit_pictures(copied) == found


def test_a_study_on_a_leaking_split_is_refused_unless_told(
    copied: Dataset, found: PictureAudit, tmp_path: Path
) -> None:
    store = decode_all(copied, copied.modalities, 32)
    subject = draw_subject_split(copied, 0)
    paper = replace(subject, kind="paper")
    for splits in ([subject], [paper]):
        with pytest.raises(
            SplitError, match=r"(?s)--repair.*--split-file clean-split.csv.*--allow-leaks"
        ) as refused:
            audit_before_study(
                copied, store, splits, allow_leaks=False, out=tmp_path, advance=quiet
            )
        assert "leaks.html" in str(refused.value)
        assert "A pair that is shown may be none" in str(refused.value)
    html = (tmp_path / "leaks.html").read_text()
    assert html.count("data:image/jpeg") > 6
    told = audit_before_study(
        copied, store, [subject, paper], allow_leaks=True, out=tmp_path, advance=quiet
    )
    assert "test samples are taken for twins of samples outside test" in told.sentences[0]
    assert any("2 of 2 splits leak" in s for s in told.sentences)
    repaired = repair_split(copied, found.links, 0)
    summary = audit_before_study(
        copied, store, [repaired], allow_leaks=False, out=tmp_path, advance=quiet
    )
    assert summary.sentences == ()
    assert "perceptual hash" in summary.looked_at


def test_advice_for_folds_can_be_followed(
    copied: Dataset, found: PictureAudit, tmp_path: Path
) -> None:
    assert found.links
    store = decode_all(copied, copied.modalities, 32)
    folds = draw_folds(copied, 3, 0, by_subject=True)
    with pytest.raises(SplitError) as refused:
        audit_before_study(copied, store, folds, allow_leaks=False, out=tmp_path, advance=quiet)
    said = str(refused.value)
    assert "remove the copy" in said
    assert "instead of folds, in which no leak is found: ferfusion inspect" in said
    # The same split for several seeds is one split, and can be repaired.
    with pytest.raises(SplitError) as refused:
        audit_before_study(
            copied, store, [folds[0]] * 2, allow_leaks=False, out=tmp_path, advance=quiet
        )
    assert "instead of folds" not in str(refused.value)


def test_a_split_that_leaves_test_alone_is_refused_in_other_words(
    copied: Dataset, found: PictureAudit, tmp_path: Path
) -> None:
    store = decode_all(copied, copied.modalities, 32)
    groups = group_links(found.links, copied)
    crossing = found.links[0]
    (apart,) = (group for group in groups if crossing.first in group)
    test = [i for group in groups if group != apart for i in group]
    train = [i for i in apart if i != crossing.second]
    split = Split(
        "paper", 0, {"train": tuple(train), "val": (crossing.second,), "test": tuple(test)}
    )
    with pytest.raises(SplitError, match="choices made on validation are too sure") as refused:
        audit_before_study(copied, store, [split], allow_leaks=False, out=tmp_path, advance=quiet)
    assert "flatter every model" not in str(refused.value)
    assert "though not into its test" in str(refused.value)


def test_inspect_tells_of_twins_and_repairs(
    copied: Dataset, found: PictureAudit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_inspect(copied.root, tmp_path, Settings(size=32))
    said = capsys.readouterr().out
    assert "30 of 30 samples are taken for twins. They make 15 groups" in said
    assert "A pair that is shown may be none" in said
    assert "Are they one person?" in said
    assert "The split by subject, seed 0 leaks:" in said
    assert said.rstrip().endswith("--repair clean-split.csv")
    html = (tmp_path / "twins.html").read_text()
    assert html.count("<figure>") == 15
    assert "The split by subject, seed 0 leaks." in html
    assert "--repair FILE" in html

    clean = tmp_path / "clean.csv"
    run_inspect(copied.root, tmp_path, Settings(size=32), clean)
    said = capsys.readouterr().out
    assert "The split by subject, seed 0 leaks:" in said
    assert "A split in which no leak is found is in" in said
    assert "Not found are copies changed beyond knowing" in said
    assert said.rstrip().endswith(f"--split-file {clean} --out DIR")
    run_inspect(copied.root, tmp_path, Settings(size=32, split_file=str(clean)))
    assert "The split in the file: no leak is found." in capsys.readouterr().out
    html = (tmp_path / "twins.html").read_text()
    assert "The split in the file: no leak is found." in html
    assert "--repair" not in html

    kept = clean.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        run_inspect(copied.root, tmp_path, Settings(size=32), clean)
    assert clean.read_bytes() == kept


def test_the_papers_split_shares_subjects_by_design_and_others_may_not(
    drawn: Path, clean: PictureAudit, tmp_path: Path
) -> None:
    dataset = open_dataset(drawn)
    store = decode_all(dataset, dataset.modalities, 32)
    ids = [sample.id for sample in dataset.samples]
    paper = Split("paper", 0, {"train": (*ids[:9],), "val": (*ids[9:12],), "test": (*ids[12:],)})
    assert find_leaks(clean.links, paper, dataset).subjects

    def audit(kind: str) -> tuple[str, ...]:
        split = replace(paper, kind=kind)
        return audit_before_study(
            dataset, store, [split], allow_leaks=False, out=tmp_path, advance=quiet
        ).sentences

    assert audit("paper") == ()
    with pytest.raises(SplitError, match="Subjects in more than one part: "):
        audit("file")


def write_table(folder: Path, rows: list[dict[str, str]]) -> Dataset:
    Image.fromarray(np.eye(64, dtype=np.uint8) * 200).save(folder / "stripe.png")
    rows = [*rows, {"sample_id": "other-class", "expression": "angry", "visible": "stripe.png"}]
    with (folder / "faces.csv").open("w", newline="") as file:
        names = ["sample_id", "expression", "subject", *MODALITIES]
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return open_dataset(folder / "faces.csv")


def copy_pictures(
    drawn: Path, folder: Path, name: Callable[[str, int], str], stems: int = 12
) -> dict[Modality, list[str]]:
    named: dict[Modality, list[str]] = {}
    for suffix, modality in SUFFIXES.items():
        for number, old in enumerate(sorted(drawn.glob(f"VIRI-*-{suffix}/*.png"))[:stems]):
            new = name(suffix, number)
            shutil.copy(old, folder / new)
            named.setdefault(modality, []).append(new)
    return named


def test_one_moment_torn_apart_is_found_by_name(drawn: Path, tmp_path: Path) -> None:
    files = copy_pictures(drawn, tmp_path, lambda suffix, n: f"face{n:02}_{suffix}.png")
    rows = [
        {"sample_id": f"{m}-{n}", "expression": "happy", "subject": f"s{n}", m: file}
        for m in (Modality.VISIBLE, Modality.INFRARED)
        for n, file in enumerate(files[m])
    ]
    audit = audit_pictures(write_table(tmp_path, rows))
    pairs = {(link.first, link.second) for link in audit.links}
    assert pairs == {(f"infrared-{n}", f"visible-{n}") for n in range(12)}
    assert {link.kind for link in audit.links} == {"across modalities"}


def test_an_msx_picture_is_found_by_what_it_shows(drawn: Path, tmp_path: Path) -> None:
    # Names say nothing: each modality counts another way.
    files = copy_pictures(drawn, tmp_path, lambda suffix, n: f"{suffix.lower()}x{n * 7 + 3}.png")
    for number, name in enumerate(files[Modality.MSX]):
        (tmp_path / name).rename(tmp_path / f"q{900 - number}.png")
    files[Modality.MSX] = [f"q{900 - number}.png" for number in range(12)]
    rows = [
        {"sample_id": f"{m}-{n:02}", "expression": "happy", m: file}
        for m in (Modality.INFRARED, Modality.MSX)
        for n, file in enumerate(files[m])
    ]
    links = audit_pictures(write_table(tmp_path, rows)).links
    assert len(links) >= 4
    assert all(link.first[-2:] == link.second[-2:] for link in links)


def test_the_same_file_is_found_however_small_and_a_blank_one_says_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for n in range(6):
        picture = rng.integers(0, 255, (20, 20, 3)).astype(np.uint8)
        if n == 3:
            picture = cv2.imread(str(tmp_path / "1.png"))
        if n >= 4:
            picture[:] = 0
        cv2.imwrite(str(tmp_path / f"{n}.png"), picture)
        rows.append({"sample_id": f"{n}", "expression": "sad", "visible": f"{n}.png"})
    audit = audit_pictures(write_table(tmp_path, rows))
    assert [(link.first, link.second, link.kind) for link in audit.links] == [
        ("1", "3", "same file")
    ]
    assert "as files only" in audit.looked_at


def test_inspect_looks_at_the_chosen_modalities_only(
    drawn: Path, clean: PictureAudit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clean.links == ()
    run_inspect(drawn, tmp_path, Settings(size=32, modalities=("infrared",)))
    said = capsys.readouterr().out
    assert "Looked for twins: 15 infrared pictures" in said
    assert said.rstrip().endswith("--modalities infrared --out DIR")


def test_inspect_says_what_is_missing_where_nothing_is_complete(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = copy_pictures(drawn, tmp_path, lambda suffix, n: f"walk{n:02}_{suffix}.png", 2)
    rows = [
        {"sample_id": f"{m}-{n}", "expression": e, "subject": f"{m}{n}", m: file}
        for m, e in ((Modality.INFRARED, "happy"), (Modality.MSX, "sad"))
        for n, file in enumerate(files[m])
    ]
    root = write_table(tmp_path, rows).root
    run_inspect(root, tmp_path / "out", Settings(size=32))
    said = capsys.readouterr().out
    assert "Next: ferfusion study" not in said
    assert "no sample has all of visible, infrared, msx" in said
    assert "2 have a infrared picture" not in said
    html = (tmp_path / "out" / "twins.html").read_text()
    assert '<th scope="row">infrared, msx</th>' in html
    assert "no infrared picture" not in html
    with pytest.raises(DataError, match="No split can be written"):
        run_inspect(root, tmp_path / "out", Settings(size=32), tmp_path / "clean.csv")
    assert not (tmp_path / "clean.csv").exists()


def test_whole_samples_that_exchanged_pictures_are_found(drawn: Path, tmp_path: Path) -> None:
    files = copy_pictures(drawn, tmp_path, lambda suffix, n: f"{suffix.lower()}{n * 7 + 3}.png")
    # Neighbours exchange visible pictures, the next ones infrared; the last four stay as they are.
    rows = [
        {
            "sample_id": f"s{n:02}",
            "expression": "happy",
            "visible": files[Modality.VISIBLE][n ^ 1 if n < 4 else n],
            "infrared": files[Modality.INFRARED][n ^ 1 if 4 <= n < 8 else n],
            "msx": files[Modality.MSX][n],
        }
        for n in range(12)
    ]
    links = audit_pictures(write_table(tmp_path, rows)).links
    pairs = {(int(link.first[1:]), int(link.second[1:])) for link in links}
    # Of infrared pictures not all stand out; nothing is said of the others.
    assert {(0, 1), (2, 3)} < pairs <= {(n, n + 1) for n in range(0, 8, 2)}
    assert {link.kind for link in links} == {"across modalities"}


def test_one_drawn_person_four_times_in_one_expression_is_no_copy(tmp_path: Path) -> None:
    faces = write_synthetic_dataset(tmp_path / "faces", subjects=1, per_expression=4, seed=5)
    assert audit_pictures(open_dataset(faces)).links == ()


@pytest.mark.slow
@pytest.mark.skipif(not STANDIN.is_dir(), reason="needs the private stand-in set")
def test_no_two_faces_of_the_stand_in_set_are_taken_for_one() -> None:
    assert audit_pictures(open_dataset(STANDIN)).links == ()
