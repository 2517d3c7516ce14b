"""The Tufts Face Database's layout, as fakes, read by the real reader."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.data.opening import open_dataset
from ferfusion.errors import DataError
from ferfusion.imaging.files import read_image
from ferfusion.modality import Modality

TONES = {"RGB": 60, "IR": 180}
SETS = {"Set1": ("1", "2"), "Set4": ("76", "113")}


def write_sets(root: Path) -> Path:
    for camera, tone in TONES.items():
        for name, people in SETS.items():
            for person in people:
                folder = root / f"TD_{camera}_E_{name}" / person
                folder.mkdir(parents=True)
                for number in range(1, 6):
                    picture = np.full((8, 8, 3), tone + number, np.uint8)
                    Image.fromarray(picture).save(folder / f"TD_{camera}_E_{number}.jpg")
    return root


def pack(folder: Path) -> Path:
    archive = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.jpg")):
            file.write(path, path.relative_to(folder))
    return archive


@pytest.mark.parametrize("packed", ["nothing", "all", "thermal"])
def test_the_published_layout(packed: str, tmp_path: Path) -> None:
    root = write_sets(tmp_path / "tufts")
    for folder in sorted(root.iterdir()):
        if packed == "all" or (packed == "thermal" and "IR" in folder.name):
            pack(folder)
            shutil.rmtree(folder)
    dataset = open_dataset(root)
    assert dataset.reader == "Tufts Face Database, posed expressions (4 sets)"
    assert dataset.labels == ("happy", "neutral", "surprised")
    assert dataset.class_counts == {"happy": 4, "neutral": 4, "surprised": 4}
    assert dataset.modalities == (Modality.VISIBLE, Modality.INFRARED)
    assert dataset.subjects == ("1", "113", "2", "76")
    assert dataset.has_subjects
    numbers = {"neutral": 1, "happy": 2, "surprised": 4}
    for sample in dataset.samples:
        assert len(sample.images) == 2
        number = numbers[sample.expression]
        for modality, camera in ((Modality.VISIBLE, "RGB"), (Modality.INFRARED, "IR")):
            assert f"{sample.subject}/TD_{camera}_E_{number}.jpg" in str(
                sample.images[modality]
            ).replace("!", "/")
            mean = read_image(sample.images[modality]).mean()
            assert abs(mean - TONES[camera] - number) < 3
    whys = [leftover.why for leftover in dataset.leftovers]
    assert len(whys) == 16
    assert sum("closed eyes" in why for why in whys) == 8
    assert sum("sunglasses" in why for why in whys) == 8


def test_an_archive_beside_its_folder_is_left_over(tmp_path: Path) -> None:
    root = write_sets(tmp_path / "tufts")
    archive = pack(root / "TD_IR_E_Set1")
    (root / "TD_IR_E_Set1.txt").write_text("notes")
    dataset = open_dataset(root)
    assert len(dataset.samples) == 12
    assert [x.why for x in dataset.leftovers if x.file.path == archive] == [
        "is there unpacked, too, which is read"
    ]


def test_missing_and_strange_pictures(tmp_path: Path) -> None:
    root = write_sets(tmp_path / "tufts")
    person = root / "TD_IR_E_Set1" / "1"
    (person / "TD_IR_E_1.jpg").unlink()
    shutil.copy(person / "TD_IR_E_2.jpg", person / "TD_IR_E_9.jpg")
    shutil.copy(person / "TD_IR_E_2.jpg", person / "holiday.jpg")
    dataset = open_dataset(root)
    lacking = [s for s in dataset.samples if len(s.images) == 1]
    assert [(s.subject, s.expression, tuple(s.images)) for s in lacking] == [
        ("1", "neutral", (Modality.VISIBLE,))
    ]
    whys = {x.file.path.name: x.why for x in dataset.leftovers}
    assert "unknown number" in whys["TD_IR_E_9.jpg"]
    assert "is not named as" in whys["holiday.jpg"]


def test_sets_without_such_pictures(tmp_path: Path) -> None:
    (tmp_path / "TD_RGB_E_Set1").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "TD_RGB_E_Set1" / "a.jpg")
    with pytest.raises(DataError, match="no picture in them has a name like TD_RGB_E_Set1"):
        open_dataset(tmp_path)


def test_a_damaged_archive(tmp_path: Path) -> None:
    root = write_sets(tmp_path / "tufts")
    (root / "TD_IR_E_Set2.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="download or copy it again"):
        open_dataset(root)
