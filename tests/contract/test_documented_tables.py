"""The scripts in docs/data that write a CSV for layouts that have no reader of their own."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.data.opening import open_dataset
from ferfusion.modality import Modality

PAGES = Path(__file__).parents[2] / "docs" / "data"
KTFE = [f"RGB/R_{e}_{i}_KTFE.jpg" for e in ("Angry", "Happy") for i in (1, 2)] + [
    f"Thermal/T_{e}_{i}_KTFE.jpg" for e in ("Angry", "Happy") for i in (1, 2)
]
IRIS = [
    f"{person}/Expression/{folder}/{camera}-{number}.bmp"
    for person in ("Ann", "Bo")
    for folder in ("ex1", "ex2")
    for number in (156, 158)
    for camera in "LV"
] + ["Ann/Illumination/Lon/L-598.bmp", "Ann/Expression/ex1/L-160.bmp"]


@pytest.mark.parametrize(
    ("page", "files", "count", "labels", "subjects"),
    [
        ("ktfe", KTFE, 4, ("angry", "happy"), ()),
        ("iris", IRIS, 8, ("happy", "surprised"), ("Ann", "Bo")),
    ],
)
def test_the_script_writes_a_table_that_is_read(
    page: str,
    files: list[str],
    count: int,
    labels: tuple[str, ...],
    subjects: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / page.upper()
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / name)
    text = (PAGES / f"{page}.md").read_text()
    (script,) = re.findall(r"```\n(import csv.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, page, "exec"), {})
    dataset = open_dataset(root / "faces.csv")
    assert dataset.labels == labels
    assert dataset.subjects == subjects
    assert len(dataset.samples) == count
    for sample in dataset.samples:
        visible, thermal = sample.images[Modality.VISIBLE], sample.images[Modality.INFRARED]
        assert visible.path.name[1:] == thermal.path.name[1:]
