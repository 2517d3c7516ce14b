"""Every layout a user may hold, written as small fake data and read by the real readers."""

import csv
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.data.dataset import Dataset
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import draw_subject_split
from ferfusion.errors import DataError
from ferfusion.imaging.files import read_image
from ferfusion.modality import MODALITIES, Modality

STANDIN = Path(__file__).parents[3] / "shared/data/viri_standin"
CLASSES = ("Angry", "Happy", "Surprise")
NUMBERS = ("001", "002", "003", "004")
WORDS = {Modality.VISIBLE: "Vis", Modality.INFRARED: "Ir", Modality.MSX: "MSX"}
TONES = {Modality.VISIBLE: 60, Modality.INFRARED: 130, Modality.MSX: 200}
MISSING = ("Happy", "003", Modality.MSX)
"""The one picture that no layout holds."""


def write_picture(path: Path, tone: int = 100) -> Path:
    """Writes noise around a tone, so that a test can tell modalities apart after reading."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(-20, 21, (16, 16, 3))
    Image.fromarray((tone + noise).astype(np.uint8)).save(path, "PNG")
    return path


def pictures(
    modalities: Iterable[Modality] = MODALITIES,
) -> Iterable[tuple[str, str, Modality, int]]:
    for label in CLASSES:
        for number in NUMBERS:
            for modality in modalities:
                if (label, number, modality) != MISSING:
                    yield label, number, modality, TONES[modality]


def write_tree(template: str) -> Callable[[Path], Path]:
    """Makes a writer from a path with the fields label, number, word (of the modality)."""

    def write(root: Path) -> Path:
        for label, number, modality, tone in pictures():
            write_picture(root / template.format(label=label, number=number, word=WORDS[modality]),
                          tone)  # fmt: skip
        return root

    return write


def write_archives(top_folder: str = "", *, folders_for: str = "") -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        write_tree("VIRI-{label}-{word}/" + top_folder + "IMG_{number}.JPG")(root)
        for folder in sorted(root.iterdir()):
            if folder.name.endswith(folders_for or "nothing"):
                continue
            with zipfile.ZipFile(folder.with_name(folder.name + ".zip"), "w") as archive:
                for path in sorted(folder.rglob("*.JPG")):
                    archive.write(path, path.relative_to(folder))
                archive.writestr("__MACOSX/._IMG_001.JPG", b"resource fork")
                archive.writestr("readme.txt", b"hello")
            shutil.rmtree(folder)
        return root

    return write


def write_table(root: Path) -> Path:
    write_tree("img/{word}{label}{number}.png")(root)
    with (root / "faces.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("sample_id", "subject", "expression", "visible", "infrared", "msx"))
        for label in CLASSES:
            for number in NUMBERS:
                cells = [
                    "" if (label, number, m) == MISSING else f"img/{WORDS[m]}{label}{number}.png"
                    for m in MODALITIES
                ]
                writer.writerow((f"{label}-{number}", f"s{number}", label.upper(), *cells))
    return root / "faces.csv"


LAYOUTS = {
    "viri folders": write_tree("VIRI-{label}-{word}/IMG_{number}.JPG"),
    "viri archives": write_archives(),
    "viri archives with a folder inside": write_archives("any folder/deeper/"),
    "viri archives and folders": write_archives(folders_for="Vis"),
    "viri with the modality in the names": write_tree("VIRI-{label}-{word}/{word}-{number}.JPG"),
    "viri lower case": write_tree("viri-{label}-{word}/{label}_{number}_{word}.jpg"),
    "class, modality": write_tree("{label}/{word}/{number}.png"),
    "modality, class": write_tree("{word}/{label}/{number}.png"),
    "folders in front": write_tree("study/data/{word}/{label}/{number}.png"),
    "subject in front": write_tree("S{number}/{label}/{word}/a.tiff"),
    "subject in between": write_tree("{word}/S{number}/{label}/a.webp"),
    "subject behind": write_tree("{label}/{word}/S{number}/a.bmp"),
    "modality in file names": write_tree("{label}/{number}_{word}.jpeg"),
    "file named as modality": write_tree("{label}/{number}/{word}.png"),
    "class and modality in one folder": write_tree("{label}_{word}/{number}.png"),
    "modality folder of two words": write_tree("{word} pictures/{label}/{number}.png"),
    "numbered classes": write_tree("{word}/1. {label}/{number}.png"),
    "viri folders one level down": write_tree("VIRI-raw/VIRI-{label}-{word}/IMG_{number}.JPG"),
    "table": write_table,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_samples(layout: str, tmp_path: Path) -> None:
    dataset = open_dataset(LAYOUTS[layout](tmp_path / "data"))

    assert dataset.labels == ("angry", "happy", "surprised")
    assert dataset.class_counts == {"angry": 4, "happy": 4, "surprised": 4}
    assert dataset.modalities == MODALITIES
    assert dataset.leftovers == ()
    assert len({sample.id for sample in dataset.samples}) == 12
    assert [s.id for s in dataset.samples] == sorted(s.id for s in dataset.samples)
    lacking = [s for s in dataset.samples if len(s.images) < 3]
    assert [(s.expression, tuple(s.images)) for s in lacking] == [
        ("happy", (Modality.VISIBLE, Modality.INFRARED))
    ]
    assert "003" in lacking[0].id
    for sample in dataset.samples:
        assert list(sample.images) == [m for m in MODALITIES if m in sample.images]
        for modality, file in sample.images.items():
            assert abs(float(read_image(file).mean()) - TONES[modality]) < 10
            assert any(number in str(file) and number in sample.id for number in NUMBERS)
    if layout != "table":
        assert "11 of 12 samples have visible, infrared, msx" in dataset.pairing
        assert all(s.id.startswith(f"{s.expression}/") for s in dataset.samples)


def test_says_when_the_word_for_the_modality_was_left_out(tmp_path: Path) -> None:
    dataset = open_dataset(LAYOUTS["viri lower case"](tmp_path))
    assert dataset.samples[0].id == "angry/angry_001"
    assert "without the word for the modality" in dataset.pairing
    assert "'Angry_001_Vis' and 'Angry_001_Ir' and 'Angry_001_MSX' belong" in dataset.pairing


def test_is_independent_of_listing_order_and_case(tmp_path: Path) -> None:
    """Files sort differently per modality; pairs still are those of the same name."""
    for name in ("b", "A", "c"):
        write_picture(tmp_path / "happy/vis" / f"{name}.png")
        write_picture(tmp_path / "happy/ir" / f"{name.swapcase()}.JPG")
        write_picture(tmp_path / "sad/vis" / f"{name}.png")
    dataset = open_dataset(tmp_path)
    happy = [s for s in dataset.samples if s.expression == "happy"]
    assert [s.id for s in happy] == ["happy/a", "happy/b", "happy/c"]
    for sample in happy:
        stems = {file.path.stem.lower() for file in sample.images.values()}
        assert stems == {sample.id[-1]}


def test_rivals_for_one_place_are_both_left_over(tmp_path: Path) -> None:
    for place in ("happy/vis/1.jpg", "happy/vis/1.png", "happy/ir/1.jpg", "sad/vis/2.jpg"):
        write_picture(tmp_path / place)
    dataset = open_dataset(tmp_path)
    assert [(s.id, list(s.images)) for s in dataset.samples] == [
        ("happy/1", [Modality.INFRARED]),
        ("sad/2", [Modality.VISIBLE]),
    ]
    assert [leftover.file.path.name for leftover in dataset.leftovers] == ["1.jpg", "1.png"]
    assert str(tmp_path / "happy/vis/1.png") in dataset.leftovers[0].why


def test_one_file_of_degrees_gives_way_to_its_picture_but_two_are_rivals(tmp_path: Path) -> None:
    for label in CLASSES:
        write_picture(tmp_path / label / "infrared" / "1.png")
        np.save(tmp_path / label / "infrared" / "1.npy", np.full((16, 16), 30.5))
    dataset = open_dataset(tmp_path)
    assert {s.images[Modality.INFRARED].path.suffix for s in dataset.samples} == {".png"}
    assert "3 infrared pictures have degrees beside them" in dataset.pairing
    assert not dataset.leftovers
    (tmp_path / "Happy/infrared/1.csv").write_text("30.5,31\n32,33\n")
    dataset = open_dataset(tmp_path)
    names = {leftover.file.path.name for leftover in dataset.leftovers}
    assert names == {"1.png", "1.npy", "1.csv"}


def test_names_without_common_ground_are_not_paired(tmp_path: Path) -> None:
    for label in ("Happy", "Sad"):
        for number in (2, 4, 6):
            write_picture(tmp_path / f"VIRI-{label}-Vis/FLIR{number:04}.jpg")
            write_picture(tmp_path / f"VIRI-{label}-Ir/FLIR{number + 1:04}.jpg")
    dataset = open_dataset(tmp_path)
    assert all(len(sample.images) == 1 for sample in dataset.samples)
    assert len(dataset.samples) == 12
    assert "Nothing could be paired" in dataset.pairing
    assert "'flir0002' (visible) and 'flir0003' (infrared)" in dataset.pairing


def test_pictures_without_any_modality_are_visible_and_it_says_so(tmp_path: Path) -> None:
    for place in ("joy/1.jpg", "joy/2.jpg", "sadness/1.jpg"):
        write_picture(tmp_path / place)
    dataset = open_dataset(tmp_path)
    assert dataset.modalities == (Modality.VISIBLE,)
    assert dataset.labels == ("happy", "sad")
    assert "taken as visible" in dataset.pairing


def test_a_picture_that_says_no_modality_beside_others_is_left_over(tmp_path: Path) -> None:
    for place in ("happy/1_vis.jpg", "happy/1_ir.jpg", "happy/2.jpg", "sad/3_vis.jpg", "x_ir.jpg"):
        write_picture(tmp_path / place)
    dataset = open_dataset(tmp_path)
    reasons = {leftover.file.path.name: leftover.why for leftover in dataset.leftovers}
    assert set(reasons) == {"2.jpg", "x_ir.jpg"}
    assert "modality" in reasons["2.jpg"]
    assert "no folder that names an expression" in reasons["x_ir.jpg"]


def test_unknown_expressions_are_the_level_with_the_fewest_names(tmp_path: Path) -> None:
    for person in ("p1", "p2", "p3"):
        for label in ("boredom", "Focus"):
            write_picture(tmp_path / person / label / "rgb/1.png")
            write_picture(tmp_path / person / label / "thermal/1.png")
    dataset = open_dataset(tmp_path, subject_pattern="^(p.)/")
    assert dataset.labels == ("boredom", "focus")
    assert dataset.subjects == ("p1", "p2", "p3")
    assert [s.id for s in dataset.samples][:2] == ["boredom/p1/1", "boredom/p2/1"]


def test_beside_known_expressions_unknown_ones_are_classes_too(tmp_path: Path) -> None:
    for person in ("p1", "p2"):
        for label in ("happy", "boredom", "sad"):
            write_picture(tmp_path / person / label / "1.png")
    assert open_dataset(tmp_path).labels == ("boredom", "happy", "sad")


def test_hidden_files_and_notes_are_passed_over_and_others_listed(tmp_path: Path) -> None:
    root = LAYOUTS["class, modality"](tmp_path)
    for name in ("Angry/.hidden.jpg", ".git/a.jpg", "Angry/Thumbs.db", "notes.txt", "licence.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "Angry/Vis/001.seq").write_bytes(b"x")
    (root / "more.zip").write_bytes(b"x")
    dataset = open_dataset(root)
    reasons = {leftover.file.path.name: leftover.why for leftover in dataset.leftovers}
    assert set(reasons) == {"001.seq", "more.zip"}
    assert "unpack" in reasons["more.zip"]
    assert len(dataset.samples) == 12


def test_a_broken_picture_stays_in_the_data_set(tmp_path: Path) -> None:
    root = LAYOUTS["viri folders"](tmp_path)
    (root / "VIRI-Angry-Vis/IMG_001.JPG").write_bytes(b"")
    assert len(open_dataset(root).samples) == 12


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    root = LAYOUTS["class, modality"](tmp_path / "real")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "data").symlink_to(root, target_is_directory=True)
    (root / "Angry/Vis/loop").symlink_to(root, target_is_directory=True)
    assert len(open_dataset(linked).samples) == 12


def test_viri_takes_the_folder_beside_its_archive_and_lists_strangers(tmp_path: Path) -> None:
    root = write_archives(folders_for="Vis")(tmp_path)
    with zipfile.ZipFile(root / "VIRI-Angry-Vis.zip", "w") as archive:
        archive.writestr("IMG_001.JPG", b"old")
    write_picture(root / "NVIE-disgust-Ir/1.jpg")
    (root / "scripts").mkdir()
    dataset = open_dataset(root)
    assert len(dataset.samples) == 12
    assert {leftover.file.path.name for leftover in dataset.leftovers} == {
        "VIRI-Angry-Vis.zip",
        "NVIE-disgust-Ir",
    }


def test_viri_keeps_folders_that_tell_pictures_apart(tmp_path: Path) -> None:
    for label in ("Happy", "Sad"):
        for word in ("Vis", "Ir"):
            for person in ("S1", "S2"):
                write_picture(tmp_path / f"VIRI-{label}-{word}/all {word}/{person}/1.jpg")
    dataset = open_dataset(tmp_path, subject_pattern=r"(S\d)")
    assert [s.id for s in dataset.samples] == ["happy/s1/1", "happy/s2/1", "sad/s1/1", "sad/s2/1"]
    assert all(len(s.images) == 2 for s in dataset.samples)
    assert dataset.subjects == ("S1", "S2")


def fail(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_dataset(path)
    return str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    assert f"nothing at {tmp_path / 'no'}" in fail(tmp_path / "no")


def test_empty_folder(tmp_path: Path) -> None:
    message = fail(tmp_path)
    assert "no pictures" in message
    assert "DATA/happy/visible/001.jpg" in message


def test_only_foreign_archives(tmp_path: Path) -> None:
    (tmp_path / "faces.zip").write_bytes(b"x")
    assert "archives (faces.zip). Unpack them" in fail(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    write_picture(tmp_path / "vis/happy/1.png")
    assert "only one (happy)" in fail(tmp_path)


def test_one_archive_or_picture_instead_of_a_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("happy/1.png", b"x")
    assert "Unpack it" in fail(tmp_path / "all.zip")
    assert "neither a folder nor a CSV" in fail(write_picture(tmp_path / "1.png"))


def test_flat_folder_and_undecidable_levels_list_what_was_found(tmp_path: Path) -> None:
    write_picture(tmp_path / "flat/1.png")
    assert "  1.png" in fail(tmp_path / "flat")
    for place in ("a/x/1.png", "a/y/1.png", "b/x/1.png", "b/y/1.png"):
        write_picture(tmp_path / "tie" / place)
    message = fail(tmp_path / "tie")
    assert "two levels have equally many names" in message
    assert "  a/x/1.png" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"PK\x03\x04 cut short", "download or copy it again"),
        (b"", "download or copy it again"),
    ],
)
def test_damaged_archive(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "VIRI-Happy-Vis.zip"
    path.write_bytes(content)
    message = fail(tmp_path)
    assert message.startswith(str(path))
    assert said in message


def test_table_tells_all_problems_at_once(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    path = tmp_path / "faces.csv"
    path.write_text(
        "sample_id,expression,rgb\n1,happy,a.png\n\n1,sad,a.png\n2,,a.png\n3,sad,b.png\n4,sad,\n"
    )
    message = fail(path)
    assert "5 problems" not in message
    assert "4 problems" in message
    for said in (
        "row 4: sample_id '1' is already in row 2",
        "row 5: expression is empty",
        f"row 6: the rgb picture {tmp_path / 'b.png'} does not exist",
        "row 7: no picture is named",
    ):
        assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("sample_id;expression;visible\n", "Save it with commas"),
        ("id,expression,visible\n", "no column 'sample_id'; an unknown column 'id'"),
        ("sample_id,expression\n", "no column of pictures"),
        ("sample_id,expression,rgb,vis\n", "two columns for one modality (rgb, vis)"),
        ("sample_id,expression,visible\n1,happy,a,b.png\n", "row 2"),
        ("sample_id,expression,visible\n", "has none"),
    ],
)
def test_table_that_is_none(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text(text)
    assert said in fail(path)


def test_a_table_of_wrong_paths_is_not_listed_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    rows = "".join(f"{n},sad,{n}.png\n" for n in range(100))
    path.write_text("sample_id,expression,visible\n" + rows)
    message = fail(path)
    assert "100 problems" in message
    assert "and 80 more" in message
    assert len(message.splitlines()) == 23


def test_table_may_name_pictures_elsewhere_and_lack_subjects(tmp_path: Path) -> None:
    outside = write_picture(tmp_path / "a.png")
    table = tmp_path / "tables/faces.csv"
    table.parent.mkdir()
    table.write_text(
        "\ufeffSample_ID,Expression,thermal\r\n" + f"x,Anger,{outside}\r\ny,sad,../a.png\r\n",
        encoding="utf-8",
    )
    dataset = open_dataset(table)
    assert dataset.modalities == (Modality.INFRARED,)
    assert dataset.labels == ("angry", "sad")
    assert dataset.subjects_from is None
    assert not dataset.has_subjects


@pytest.mark.skipif(not STANDIN.is_dir(), reason=f"the stand-in data is not at {STANDIN}")
def test_the_stand_in_is_read_whole() -> None:
    dataset: Dataset = open_dataset(STANDIN)
    assert len(dataset.samples) == 566
    assert dataset.class_counts == {
        "angry": 111,
        "happy": 114,
        "neutral": 114,
        "sad": 114,
        "surprised": 113,
    }
    assert len(dataset.subjects) == 201
    assert dataset.has_subjects
    assert dataset.complete_in(MODALITIES).samples == dataset.samples
    assert dataset.leftovers == ()
    file = dataset.samples[0].images[Modality.INFRARED]
    assert read_image(file).shape == (500, 500, 3)


NVIE_CLASSES = ("happy", "fear", "disgust")


def write_nvie(root: Path, template: str = "NVIE-{label}-{word}/s{who:03}_{label}_{frame:02}.jpg",
               zipped: bool = False) -> Path:  # fmt: skip
    """Writes two frames of each class of six people, visible and infrared, in a layout."""
    for label in NVIE_CLASSES:
        for who in range(1, 7):
            for frame in (1, 2):
                for word in ("Vis", "Ir"):
                    write_picture(root / template.format(
                        label=label, who=who, frame=frame, word=word, part=1 + (who > 3)
                    ))  # fmt: skip
    for folder in sorted(root.iterdir()) if zipped else ():
        with zipfile.ZipFile(folder.with_name(folder.name + ".zip"), "w") as archive:
            for path in sorted(folder.rglob("*.jpg")):
                archive.write(path, path.relative_to(folder))
        shutil.rmtree(folder)
    return root


def write_intensities(path: Path, rows: Iterable[str], columns: str = "") -> Path:
    raters = ",".join(f"{name}_{n}" for name in ("happiness", "fear", "disgust") for n in (1, 2))
    header = columns or f"stem,{raters},sadness,surprise_1,anger"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


NVIE_LAYOUTS = {
    "folders": {},
    "archives": {"zipped": True},
    "visible in two parts": {"template": "NVIE-{label}{part}-{word}/s{who:03}_{frame}.jpg"},
    "part behind": {"template": "nvie-{label}-{word}-{part}/s{who:03}_{frame}_{word}.jpg"},
    "folders for people": {"template": "NVIE-{label}-{word}/s{who:03}/{frame}.jpg"},
    "parts with the same names": {
        "template": "NVIE-{label}{part}-{word}/subject {who}/part of {part}/{frame}.jpg",
        "zipped": True,
    },
}


@pytest.mark.parametrize("layout", NVIE_LAYOUTS)
def test_every_nvie_layout_gives_the_same_samples(layout: str, tmp_path: Path) -> None:
    dataset = open_dataset(write_nvie(tmp_path / "data", **NVIE_LAYOUTS[layout]))
    assert dataset.reader.startswith("NVIE in archives")
    assert dataset.labels == NVIE_CLASSES
    assert dataset.class_counts == {"happy": 12, "fear": 12, "disgust": 12}
    assert dataset.leftovers == ()
    assert len(dataset.subjects) == 6
    assert dataset.has_subjects
    for sample in dataset.samples:
        assert list(sample.images) == [Modality.VISIBLE, Modality.INFRARED]
        assert all(read_image(file).shape == (16, 16, 3) for file in sample.images.values())
    assert "36 of 36 samples stay" in dataset.pairing
    assert "rule 3 asked nothing" in dataset.pairing
    assert "36 samples seem to be frames of 18 clips" in dataset.pairing
    assert "a split by subject keeps them together" in dataset.pairing


def test_frames_of_a_clip_never_straddle_a_split_by_subject(tmp_path: Path) -> None:
    dataset = open_dataset(write_nvie(tmp_path))
    for seed in range(5):
        parts = draw_subject_split(dataset, seed).parts
        part_of = {sample_id: part for part, ids in parts.items() for sample_id in ids}
        for sample in dataset.samples:
            assert part_of[sample.id] == part_of[f"{sample.id[:-2]}01"]


def test_nvie_parts_with_the_same_names_are_kept_apart(tmp_path: Path) -> None:
    for label in ("happy", "fear"):
        for part in (1, 2):
            for word in ("Vis", "Ir"):
                write_picture(tmp_path / f"NVIE-{label}{part}-{word}/0001.jpg")
    dataset = open_dataset(tmp_path)
    assert [s.id for s in dataset.samples] == [
        "fear/1/0001", "fear/2/0001", "happy/1/0001", "happy/2/0001",
    ]  # fmt: skip
    assert dataset.leftovers == ()


def test_nvie_rules_say_what_each_removed(tmp_path: Path) -> None:
    root = write_nvie(tmp_path)
    (root / "NVIE-happy-Ir/s001_happy_01.jpg").unlink()
    write_picture(root / "NVIE-sad-Vis/s001_sad_01.jpg")
    write_picture(root / "NVIE-sad-Ir/s001_sad_01.jpg")
    strong = {"happy": "2,1,0,0,0,1,0,0,0", "fear": "0,0,1,2,1,1,0,0,0",
              "disgust": "0,0,0,0,2,2,,0,1"}  # fmt: skip
    cells = {
        f"s{who:03}_{label}_{frame:02}": strong[label]
        for label in NVIE_CLASSES for who in range(1, 7) for frame in (1, 2)
    }  # fmt: skip
    cells["s002_happy_01"] = "1,1,0,0,0,0,0,0,0"  # Rule 3: a mean of 1 does not lie above 1.
    cells["s002_happy_02"] = "2,2,2,2,0,0,0,0,0"  # Rule 2: two tie.
    cells["s003_happy_01"] = "2,1,0,0,0,0,2,0,0"  # Rule 2: sad is stronger.
    cells["s003_happy_02"] = "1,1,2,2,0,0,0,0,0"  # Rule 2: fear in the folder of happy.
    cells["s004_happy_01"] = ",,,,,,,,"  # Rule 2: nobody rated it.
    del cells["s004_happy_02"]  # Likewise.
    cells["s001_sad_01"] = "0,0,0,0,0,0,2,0,0"
    cells["nobody"] = "2,2,0,0,0,0,0,0,0"
    write_intensities(root / "intensities.csv", (f"{k},{v}" for k, v in cells.items()))

    dataset = open_dataset(root)

    assert dataset.class_counts == {"happy": 5, "fear": 12, "disgust": 12}
    reasons = {leftover.file.path.stem: leftover.why for leftover in dataset.leftovers}
    for stem, said in {
        "s001_happy_01": "rule 1 of NVIE's selection: has no infrared picture",
        "s002_happy_01": "rule 3 of NVIE's selection: happy at 1.00 does not lie above 1",
        "s002_happy_02": "no expression is the strongest (fear and happy at 2.00)",
        "s003_happy_01": "its strongest expression is sad at 2.00",
        "s003_happy_02": "named happy, but its strongest expression is fear at 2.00",
        "s004_happy_01": "nobody rated it",
        "s004_happy_02": "nobody rated it",
        "s001_sad_01": "its strongest expression is sad at 2.00, which is none of happy, fear",
        "intensities": "there is no sample with the stem 'nobody'",
    }.items():
        assert said in reasons.pop(stem)
    assert not reasons
    assert "29 of 37 samples stay" in dataset.pairing
    for said in ("there) removed 1", "disgust) removed 6", "above 1) removed 1"):
        assert said in dataset.pairing


def test_nvie_intensities_beside_any_tree_and_subjects_from_their_column(tmp_path: Path) -> None:
    rows = []
    for label in ("happy", "fear"):
        for n in (1, 2, 3):
            for word in ("visible", "thermal"):
                write_picture(tmp_path / label / word / f"{n}.png")
                write_picture(tmp_path / "0-PosedExpression" / label / word / f"{n}.png")
            rows.append(f"{label}/{n},P{n},{2 * (label == 'happy')},{1.5 * (label == 'fear')},0")
    write_intensities(tmp_path / "intensities.csv", rows, "sample_id,subject,happy,fear,disgust")
    dataset = open_dataset(tmp_path)
    assert dataset.reader == "folder tree"
    assert [s.id for s in dataset.samples] == [f"{c}/{n}" for c in ("fear", "happy") for n in "123"]
    assert dataset.subjects == ("P1", "P2", "P3")
    assert dataset.subjects_from == "the subject column of intensities.csv"
    assert "6 posed samples are left over" in dataset.pairing
    assert "no intensities of sad, surprised, angry" in dataset.pairing
    assert len(dataset.leftovers) == 6
    assert all("posed" in leftover.why for leftover in dataset.leftovers)


def write_nvie_table(root: Path, *rows: str, columns: str = "") -> Path:
    for name in ("v", "i"):
        write_picture(root / f"{name}.png")
    known = "sample_id,subject,clip,visible,infrared,happy_r1,happy_r2,fear,disgust"
    return write_intensities(root / "nvie.csv", rows, columns or known)


def test_nvie_table_takes_the_class_from_the_raters(tmp_path: Path) -> None:
    path = write_nvie_table(
        tmp_path,
        "a,S1,c1,v.png,i.png,2,1,0,0",
        "b,S1,c1,v.png,i.png,1,2,1,0",
        "c,S2,c2,v.png,i.png,0,0,1.8,0",
        "d,S2,c3,v.png,i.png,0,0,0,1.2",
        "e,S3,c4,v.png,,0,0,0,2",
        "f,S3,c5,v.png,i.png,,,,",
    )
    dataset = open_dataset(path)
    assert dataset.reader == "NVIE in a CSV table"
    assert [(s.id, s.expression, s.subject) for s in dataset.samples] == [
        ("a", "happy", "S1"),
        ("b", "happy", "S1"),
        ("c", "fear", "S2"),
        ("d", "disgust", "S2"),
    ]
    assert dataset.labels == NVIE_CLASSES
    assert [leftover.why[:6] for leftover in dataset.leftovers] == ["rule 1", "rule 2"]
    assert "2 samples seem to be frames of 1 clip, such as c1" in dataset.pairing


def test_nvie_table_tells_all_problems_at_once(tmp_path: Path) -> None:
    message = fail(
        write_nvie_table(
            tmp_path,
            "a,S1,c1,v.png,i.png,3,1,0,0",
            "b,S2,c1,v.png,no.png,2,x,0,0",
            "b,S2,c2,v.png,i.png,nan,2,0,0",
        )
    )
    for said in (
        "row 2: happy_r1 is '3', not a number from 0 to 2",
        "row 3: happy_r2 is 'x'",
        "row 4: happy_r1 is 'nan'",
        "the clip 'c1' shows S1 and S2, but a clip shows one person",
        "row 3: the infrared picture",
        "row 4: sample_id 'b' is already in row 3",
        "6 problems",
    ):
        assert said in message


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("sample_id,visible,infrared,happy,fear", "no intensities of 'disgust'"),
        ("sample_id,visible,infrared,happy,fear,disgust,mood", "an unknown column 'mood'"),
        ("sample_id,visible,happy,fear,disgust", "one column each of visible and infrared"),
        ("subject,visible,infrared,happy,fear,disgust", "needs the column sample_id"),
    ],
)
def test_nvie_table_that_is_none(columns: str, said: str, tmp_path: Path) -> None:
    assert said in fail(write_nvie_table(tmp_path, columns=columns))


def test_nvie_of_which_nothing_stays_says_which_rule_it_was(tmp_path: Path) -> None:
    message = fail(write_nvie_table(tmp_path, "a,S1,,v.png,i.png,1,0,0,0"))
    assert "Nothing of" in message
    assert "its mean intensity above 1) removed 1" in message


def test_nvie_intensities_that_fit_no_single_sample(tmp_path: Path) -> None:
    root = write_nvie(tmp_path, template="NVIE-{label}-{word}/{who}_{frame}.jpg")
    write_intensities(
        root / "intensities.csv",
        ("1_1,2,0,0", "happy/1_1,2,0,0"),
        "stem,happy,fear,disgust",
    )
    message = fail(root)
    assert "row 2: '1_1' may be disgust/1_1, fear/1_1, happy/1_1; use sample_id" in message
    write_intensities(
        root / "intensities.csv",
        ("happy/1_1,2,0,0", "HAPPY/1_1,2,0,0"),
        "sample_id,happy,fear,disgust",
    )
    assert "row 3: 'HAPPY/1_1' is already in row 2" in fail(root)
    write_intensities(root / "intensities.csv", (), "name,happy,fear,disgust")
    assert "unknown column 'name'" in fail(root)


def test_nvie_names_people_only_where_names_do(tmp_path: Path) -> None:
    bare = open_dataset(write_nvie(tmp_path / "a", "NVIE-{label}-{word}/{who:03}_{frame}.jpg"))
    assert bare.subjects_from is None
    assert "name the subjects and split by subject" in bare.pairing
    once = open_dataset(write_nvie(tmp_path / "b", "NVIE-{label}-{word}/s{label}{who}{frame}.jpg"))
    assert once.subjects_from is None
    numbers = "NVIE-{label}-{word}/{label} person {who}{frame}.jpg"
    everybody_twice = open_dataset(write_nvie(tmp_path / "c", numbers))
    assert len(everybody_twice.subjects) == 12
    (tmp_path / "c/subjects.csv").write_text("sample_id,subject\nhappy/happy person 11,A\n")
    assert open_dataset(tmp_path / "c").subjects == ("A",)
    by_pattern = open_dataset(tmp_path / "a", subject_pattern=r"/(\d+)_")
    assert len(by_pattern.subjects) == 6


def test_nvie_lists_strangers_and_an_archive_beside_its_folder(tmp_path: Path) -> None:
    root = write_nvie(tmp_path)
    with zipfile.ZipFile(root / "NVIE-fear-Ir.zip", "w") as archive:
        archive.writestr("1.jpg", b"old")
    (root / "Fear-Ir.zip").write_bytes(b"x")
    (root / "notes.txt").write_bytes(b"x")
    reasons = {leftover.file.path.name: leftover.why for leftover in open_dataset(root).leftovers}
    assert set(reasons) == {"NVIE-fear-Ir.zip", "Fear-Ir.zip"}
    assert "NVIE-<class>-<Vis|Ir>" in reasons["Fear-Ir.zip"]
    (root / "NVIE-happy2-Ir.zip").write_bytes(b"PK\x03\x04 cut short")
    assert "download or copy it again" in fail(root)


def test_a_table_of_a_stranger_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(",".join(f"c{n}" for n in range(20_000)) + "\n" + "x\n" * 20_000)
    with pytest.raises(DataError, match="has 20000 columns"):
        open_dataset(path)
    with path.open("wb") as stream:
        stream.truncate(2**28 + 1)
    with pytest.raises(DataError, match="larger than 256 MiB"):
        open_dataset(path)
