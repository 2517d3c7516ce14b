import os
import zipfile
from pathlib import Path

import pytest

from ferfusion.data.listing import list_pictures
from ferfusion.data.opening import open_dataset
from ferfusion.errors import DataError
from ferfusion.imaging.file_bytes import read_bytes
from ferfusion.sample import ImageFile


@pytest.mark.parametrize(
    "odd", ["/etc/a.jpg", "../a.jpg", "in/../../a.jpg", "C:/a.jpg", "..\\a.jpg", "//host/x/a.jpg"]
)
def test_members_that_lead_out_of_an_archive_are_left_over(tmp_path: Path, odd: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("in/good.jpg", odd, "in/.hidden/b.jpg", "__MACOSX/c.jpg"):
            archive.writestr(name, b"")
    pictures, leftovers = list_pictures(tmp_path / "a.zip")
    assert [picture.file.member for picture in pictures] == ["in/good.jpg"]
    (leftover,) = leftovers
    assert leftover.file.member == odd
    assert "leads out of its archive" in leftover.why


def test_an_archive_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"x" * 20)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 6 : at + 8] = b"\xff\xff"
    path.write_bytes(data)
    with pytest.raises(DataError, match="is damaged or no zip archive"):
        list_pictures(path)
    with pytest.raises(DataError, match="can't be unpacked"):
        read_bytes(ImageFile(path, "a.png"))


def test_dots_in_names_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "C..").mkdir()
    (tmp_path / "C.." / "a..b.jpg").touch()
    pictures, leftovers = list_pictures(tmp_path)
    assert [str(picture.inside) for picture in pictures] == ["C../a..b.jpg"]
    assert leftovers == []


def test_what_extract_writes_beside_infrared_is_passed_over(tmp_path: Path) -> None:
    endings = (".temperature.npy", ".temperature.tiff", ".photo.png", ".visible.png")
    for name in (*(f"a{ending}" for ending in endings), "a.infrared.png", "b.photo.png"):
        (tmp_path / name).touch()
    pictures, leftovers = list_pictures(tmp_path, with_grids=True)
    # The photo of something else is a picture like any other.
    assert [p.file.path.name for p in pictures] == [
        "a.infrared.png",
        "a.visible.png",
        "b.photo.png",
    ]
    assert leftovers == []


def test_of_text_only_grids_are_pictures(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text("30.5,31\n32,33\n")
    (tmp_path / "table.csv").write_text("stem,subject\nx,y\n")
    (tmp_path / "a.npy").touch()
    pictures, leftovers = list_pictures(tmp_path, with_grids=True)
    assert [p.file.path.name for p in pictures] == ["a.npy", "grid.csv"]
    assert leftovers == []
    pictures, leftovers = list_pictures(tmp_path)
    assert pictures == []
    assert [left.file.path.name for left in leftovers] == ["a.npy"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.npy", "x.png"])
def test_a_pipe_among_pictures_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    list_pictures(tmp_path, with_grids=True)


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "table.csv")
    with pytest.raises(DataError, match="a device or a pipe"):
        open_dataset(tmp_path / "table.csv")
