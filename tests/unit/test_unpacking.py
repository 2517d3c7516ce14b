"""Archives that want to write elsewhere, to fill the disk, or that are simply broken."""

import io
import struct
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ferfusion.errors import ArchiveError
from ferfusion.unpacking import Limits, Unpacked, unpack_zip

JPG = frozenset({".jpg"})
FACE = bytes(range(256)) * 20


def write_zip(path: Path, *members: str | zipfile.ZipInfo, data: bytes = FACE) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, data)
    return path


def rename(path: Path, old: str, new: str) -> Path:
    """Writes names into an archive that zipfile wouldn't write; as long as the old ones."""
    assert len(old.encode()) == len(new.encode())
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    return path


def unpack(archive: Path, limits: Limits | None = None) -> Unpacked | None:
    return unpack_zip(archive, archive.parent / "out" / "faces", suffixes=JPG, limits=limits)


def fail(archive: Path, limits: Limits | None = None) -> str:
    before = archive.read_bytes()
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, limits)
    assert archive.read_bytes() == before
    assert_nothing_beside(archive)
    message = str(caught.value)
    assert message.startswith(str(archive))
    assert "\n" not in message
    return message


def assert_nothing_beside(archive: Path) -> None:
    left = sorted(p.relative_to(archive.parent) for p in archive.parent.rglob("*"))
    assert [p for p in left if p not in (Path(archive.name), Path("out"))] == []


# ------------------------------------------------------------------------------- as it should be


def test_unpacks_pictures_and_says_what_it_left(tmp_path: Path) -> None:
    archive = write_zip(
        tmp_path / "a.zip",
        *("x/1.jpg", "x/2.JPG", "./3.jpg", "x\\y\\4.jpg", "Schön.jpg", "readme.txt", "x/run.exe"),
        *("__MACOSX/._1.jpg", "x/.hidden.jpg", "x/empty/"),
    )
    assert unpack(archive) == Unpacked(5, ("readme.txt", "x/run.exe"))
    out = tmp_path / "out/faces"
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert files == ["3.jpg", "Schön.jpg", "x/1.jpg", "x/2.JPG", "x/y/4.jpg"]
    assert all((out / name).read_bytes() == FACE for name in files)
    assert list((tmp_path / "out").iterdir()) == [out]


def test_does_nothing_where_the_folder_is(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "1.jpg")
    unpack(archive)
    (tmp_path / "out/faces/1.jpg").write_bytes(b"mine")
    assert unpack(archive) is None
    assert (tmp_path / "out/faces/1.jpg").read_bytes() == b"mine"


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "1.jpg")
    part = tmp_path / "out/.faces.part"
    part.mkdir(parents=True)
    (part / "half.jpg").write_bytes(b"half")
    unpack(archive)
    assert [p.name for p in (tmp_path / "out").rglob("*")] == ["faces", "1.jpg"]


def test_something_else_in_the_way(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "1.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/faces").write_text("mine")
    with pytest.raises(ArchiveError, match="in the way"):
        unpack(archive)
    assert (tmp_path / "out/faces").read_text() == "mine"


def test_an_archive_without_pictures_makes_an_empty_folder(tmp_path: Path) -> None:
    assert unpack(write_zip(tmp_path / "a.zip")) == Unpacked(0, ())
    assert list((tmp_path / "out/faces").iterdir()) == []


def test_zip64(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("1.jpg", "w", force_zip64=True) as f:
        f.write(FACE)
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    assert unpack(tmp_path / "a.zip") == Unpacked(1, ())


# ------------------------------------------------------------------------------- leading out


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.jpg", "a/../../evil.jpg", "/evil.jpg", "//evil/x.jpg", "..", "a/.."),
        *("..\\evil.jpg", "C:\\evil.jpg", "C:evil.jpg", "\\\\host\\share\\evil.jpg", "\\evil.jpg"),
        "../evil.txt",
    ],
)
def test_paths_that_lead_out(name: str, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "good.jpg", "X" * len(name))
    assert "leads out of it" in fail(rename(archive, "X" * len(name), name))


@pytest.mark.parametrize("kind", [0o120000, 0o010000, 0o020000, 0o060000, 0o140000])
def test_links_and_devices(kind: int, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.jpg")
    info.external_attr = (kind | 0o777) << 16
    assert "a link or a device" in fail(write_zip(tmp_path / "a.zip", info, data=b"/etc"))


@pytest.mark.parametrize("name", ["a\0b.jpg", "a\nb.jpg", "a\x1b[31m.jpg", "\x7f.jpg"])
def test_invisible_signs(name: str, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "X" * len(name))
    message = fail(rename(archive, "X" * len(name), name))
    assert "invisible signs" in message
    assert message.isprintable()


@pytest.mark.parametrize("name", ["con.jpg", "a/NUL", "aux .jpg", "Com1.tar.jpg", "lpt9.jpg"])
def test_device_names(name: str, tmp_path: Path) -> None:
    assert "named as a device" in fail(write_zip(tmp_path / "a.zip", name.replace(" ", "")))


@pytest.mark.parametrize("name", ["console.jpg", "common/auxiliary.jpg", "12:30.jpg", "a b .jpg"])
def test_names_that_only_look_odd(name: str, tmp_path: Path) -> None:
    assert unpack(write_zip(tmp_path / "a.zip", name)) == Unpacked(1, ())


@pytest.mark.parametrize(
    "name", ["x" * 256 + ".jpg", "d/" * 40 + "x.jpg", "ddddddddd/" * 110 + "x"]
)
def test_long_paths(name: str, tmp_path: Path) -> None:
    assert "too long a path" in fail(write_zip(tmp_path / "a.zip", name))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [("a.jpg", "A.JPG"), ("a.jpg", "a.jpg"), ("x/a.jpg", "X/a.jpg"), ("a/x.jpg", "a /x.jpg")],
)
def test_two_for_one_place(names: tuple[str, str], tmp_path: Path) -> None:
    assert "two files for one place" in fail(write_zip(tmp_path / "a.zip", *names))


def test_a_file_that_is_a_folder_too(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "a.jpg", "A.jpg/b.jpg")
    assert "a.jpg as a file and as a folder" in fail(archive)


def test_password(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "a.jpg")
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)
    assert "password" in fail(archive)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_methods(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.jpg", FACE)
    assert "unusual way" in fail(tmp_path / "a.zip")


# ------------------------------------------------------------------------------- swelling


def test_a_bomb(tmp_path: Path) -> None:
    assert "swells to more than 100 times" in fail(
        write_zip(tmp_path / "a.zip", "a.jpg", data=bytes(5 * 2**20))
    )


def test_a_bomb_of_many_small_members(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(20)]
    message = fail(write_zip(tmp_path / "a.zip", *names, data=bytes(2**20)))
    assert "all its files together" in message


def test_a_blank_picture_is_no_bomb(tmp_path: Path) -> None:
    assert unpack(write_zip(tmp_path / "a.zip", "a.jpg", data=bytes(2**20)))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(members=2), "lists more than 2 files"),
        (Limits(member_bytes=5119), "holds 'a.jpg' of 0 MiB"),
        (Limits(total_bytes=15359), "holds 0.0 GiB"),
    ],
)
def test_limits(limits: Limits, said: str, tmp_path: Path) -> None:
    assert said in fail(write_zip(tmp_path / "a.zip", "a.jpg", "b.jpg", "c.jpg"), limits)


def test_a_long_list_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_zip(tmp_path / "a.zip", *(f"{i}.jpg" for i in range(200)), data=b"")
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("read"))
    assert "lists more than 5 files" in fail(archive, Limits(members=5))


def test_a_long_list_in_zip64_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
    archive = write_zip(tmp_path / "a.zip", *(f"{i}.jpg" for i in range(200)), data=b"")
    data = bytearray(archive.read_bytes())
    end = data.rindex(b"PK\5\6")
    data[end + 12 : end + 16] = b"\xff" * 4
    archive.write_bytes(data)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("read"))
    assert "lists more than 5 files" in fail(archive, Limits(members=5))


def overlap(path: Path, count: int) -> Path:
    """Writes an archive whose list names one packed member many times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.jpg", FACE)
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    entry = data[at:end]
    entries = b"".join(entry.replace(b"0.jpg", b"%d.jpg" % i) for i in range(count))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entries), at, 0)
    path.write_bytes(data[:at] + entries + tail)
    return path


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    assert "uses the same bytes twice" in fail(overlap(tmp_path / "a.zip", 9))


# ------------------------------------------------------------------------------- broken


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged or no zip archive"),
        (b"hello", "damaged or no zip archive"),
        (b"<html>Sign in</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"PK\5\6" + bytes(18), None),
        (b"PK\5\6" + b"\xff" * 18, "damaged or no zip archive"),
    ],
)
def test_no_archive(content: bytes, said: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    if said is None:
        assert unpack(tmp_path / "a.zip") == Unpacked(0, ())
    else:
        assert said in fail(tmp_path / "a.zip")


def test_wrong_content_leaves_nothing(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "a.jpg", "b.jpg")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 255
    archive.write_bytes(data)
    assert "damaged" in fail(archive)


def test_less_than_was_promised(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", "a.jpg")
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\1\2") + 24
    data[at : at + 4] = struct.pack("<L", len(FACE) + 5)
    archive.write_bytes(data)
    assert "'a.jpg' is cut short" in fail(archive)


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", "x/a.jpg", "x/b.jpg")
    open_path = Path.open

    def full(self: Path, mode: str = "r") -> object:
        if self.name == "b.jpg":
            raise OSError(28, "No space left on device")
        return open_path(self, mode)

    monkeypatch.setattr(Path, "open", full)
    assert "(No space left on device). Make room" in fail(archive)


def build(names: list[str], data: bytes, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in names:
            archive.writestr(name, data)
    return stream.getvalue()


NAMES = st.lists(
    st.text(st.sampled_from(list("ab./\\:0 é\x01~")), min_size=1, max_size=12),
    max_size=4,
    unique=True,
)


@pytest.mark.skipif(sys.platform == "win32", reason="paths of Linux")
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=NAMES,
    data=st.binary(max_size=64),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    cut=st.floats(0, 1),
)
@example(names=["a"], data=b"", method=0, changes=[(0.99, 255)], cut=1.0)
def test_mutated_archives_end_in_a_sentence_and_never_outside(
    names: list[str],
    data: bytes,
    method: int,
    changes: list[tuple[float, int]],
    cut: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    packed = bytearray(build(names, data, method))
    for where, value in changes:
        packed[int(where * (len(packed) - 1))] = value
    folder = tmp_path_factory.mktemp("fuzz")
    archive = folder / "in" / "a.zip"
    archive.parent.mkdir()
    archive.write_bytes(packed[: int(cut * len(packed)) if cut < 0.9 else None])
    out = folder / "in" / "deep" / "out"
    message = ""
    try:
        unpack_zip(archive, out, suffixes=frozenset({"", ".b", ".a"}))
    except ArchiveError as error:
        message = str(error)
    assert "\n" not in message
    assert out.is_dir() == (message == "")
    outside = {p for p in folder.rglob("*") if not p.is_relative_to(out)}
    assert outside == {archive.parent, archive, *({out.parent} if out.parent.exists() else ())}
    assert not any(p.is_symlink() for p in folder.rglob("*"))
