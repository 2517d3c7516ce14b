"""`ferfusion download`, from a server on this machine that has drawn archives in VIRI's layout."""

import hashlib
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ferfusion import fetching
from ferfusion.data.published_archives import HELD, PUBLISHED, VIRI

REPOSITORY = Path(__file__).parents[2]
Ferfusion = Callable[..., Any]


def write_archive(path: Path, tone: int) -> None:
    rng = np.random.default_rng(tone)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            picture = Image.fromarray(rng.integers(tone, tone + 40, (16, 16, 3)).astype(np.uint8))
            with archive.open(f"any folder/IMG_{number:03}.JPG", "w") as stream:
                picture.save(stream, "JPEG")
        archive.writestr("any folder/Thumbs.db", b"x")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    for tone, archive in enumerate(VIRI.archives):
        write_archive(folder / archive.name, 20 * tone)
    return folder


class Shelf(ThreadingHTTPServer):
    daemon_threads = True
    asked: list[str]


class Handler(SimpleHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        assert isinstance(self.server, Shelf)
        self.server.asked.append(Path(self.path).name)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """Serves a copy of the archives from its folder, and makes ferfusion believe in them."""
    folder = shutil.copytree(published, tmp_path / "shelf")
    archives = []
    for archive in VIRI.archives:
        data = (published / archive.name).read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        archives.append(replace(archive, git_blob=blob))
    with Shelf(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        monkeypatch.setitem(
            PUBLISHED, "viri", replace(VIRI, archives=tuple(archives), base_url=url)
        )
        monkeypatch.setattr(fetching, "PAUSES_S", (0.01,))
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        yield server
        server.shutdown()
        thread.join()


def test_downloads_unpacks_and_says_what_is_in_it(ferfusion: Ferfusion, shelf: Shelf) -> None:
    answer = ferfusion("download", "viri")
    assert answer.code == 0, answer.said
    # The source stands first, before anything of it is fetched.
    assert answer.out.index("VIRI-raw-data") < answer.out.index("VIRI-Angry-Ir.zip")
    assert "Multimodal Technologies and Interaction" in answer.said
    assert "none are stated there" in answer.said
    assert "MSX pictures are not published" in answer.said
    assert "10/10 VIRI-Surprise-Vis.zip" in answer.said
    assert "left in the archive, being no pictures: 1 (any folder/Thumbs.db)" in answer.said
    assert "15 of 15 samples have visible, infrared" in answer.said
    assert "Nothing is left over" in answer.said
    assert "No sample says whom it shows" in answer.said
    assert answer.out.rstrip().endswith("Next: ferfusion inspect viri/pictures")
    assert len(list(Path("viri/pictures").rglob("*.JPG"))) == 30
    assert "PeerJ" in Path("viri/SOURCE.txt").read_text()
    assert {p.name for p in Path("viri").iterdir()} == {"archives", "pictures", "SOURCE.txt"}
    assert ferfusion("inspect", "viri/pictures", "--size", 32, "--out", "sheets").code == 0


def test_again_does_only_what_is_missing(ferfusion: Ferfusion, shelf: Shelf) -> None:
    assert ferfusion("download", "viri", "--only", "happy").code == 0
    assert shelf.asked == ["VIRI-Happy-Ir.zip", "VIRI-Happy-Vis.zip"]
    shutil.rmtree("viri/pictures/VIRI-Happy-Ir")
    answer = ferfusion("download", "VIRI", "--only", "happy", "--only", "sad-ir", "--out", "viri")
    assert answer.code == 0, answer.said
    assert shelf.asked[2:] == ["VIRI-Sad-Ir.zip"]
    assert "was there, as published" in answer.said
    assert "viri/pictures/VIRI-Happy-Vis was there" in answer.said
    assert len(list(Path("viri/pictures").rglob("*.JPG"))) == 9


def test_one_class_is_downloaded_though_it_makes_no_data_set(
    ferfusion: Ferfusion, shelf: Shelf
) -> None:
    answer = ferfusion("download", "viri", "--only", "happy")
    assert answer.code == 0
    assert "can't be read as a data set yet" in answer.said
    assert "only one (happy)" in answer.said


def test_packed(ferfusion: Ferfusion, shelf: Shelf) -> None:
    answer = ferfusion("download", "viri", "--packed", "--out", "data")
    assert answer.code == 0, answer.said
    assert "VIRI as published (10 archives, 0 folders)" in answer.said
    assert "Next: ferfusion inspect data/archives" in answer.said
    assert not Path("data/pictures").exists()
    # The same archives serve when they are wanted unpacked later.
    assert ferfusion("download", "viri", "--out", "data").code == 0
    assert len(shelf.asked) == 10


def test_files_of_ones_own_are_named_and_left(ferfusion: Ferfusion, shelf: Shelf) -> None:
    mine = [Path("viri/archives/VIRI-Sad-Ir.zip"), Path("viri/archives/VIRI-Angry-Vis.zip")]
    mine[0].parent.mkdir(parents=True)
    for path in mine:
        path.write_bytes(b"mine")
    answer = ferfusion("download", "viri")
    assert answer.code == 2
    assert all(str(path) in answer.err for path in mine)
    assert "--overwrite" in answer.err
    assert shelf.asked == []
    assert mine[0].read_bytes() == b"mine"
    assert ferfusion("download", "viri", "--overwrite").code == 0
    assert zipfile.is_zipfile(mine[0])


def test_downloaded_by_hand(ferfusion: Ferfusion, shelf: Shelf, published: Path) -> None:
    shutil.copytree(published, "viri/archives")
    answer = ferfusion("download", "viri")
    assert answer.code == 0, answer.said
    assert shelf.asked == []
    assert "15 of 15 samples" in answer.said


def test_wrong_bytes_and_then_the_right_ones(
    ferfusion: Ferfusion, shelf: Shelf, published: Path, tmp_path: Path
) -> None:
    name = "VIRI-Happy-Ir.zip"
    (tmp_path / "shelf" / name).write_bytes(b"<!doctype html><p>Too many visitors")
    answer = ferfusion("download", "viri")
    assert answer.code == 2
    assert "is a web page" in answer.err
    assert f"viri/archives/{name}.wrong" in answer.err
    assert not Path("viri/pictures").exists()
    shutil.copy(published / name, tmp_path / "shelf" / name)
    answer = ferfusion("download", "viri")
    assert answer.code == 0, answer.said
    assert "15 of 15 samples" in answer.said
    assert shelf.asked.count("VIRI-Angry-Ir.zip") == 1


def test_a_missing_file_and_no_server(ferfusion: Ferfusion, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "shelf" / "VIRI-Angry-Ir.zip").unlink()
    answer = ferfusion("download", "viri")
    assert answer.code == 2
    assert "answers 404" in answer.err
    shelf.shutdown()
    shelf.server_close()
    answer = ferfusion("download", "viri")
    assert answer.code == 2
    assert "there is no connection to 127.0.0.1" in answer.err
    assert "save the file as viri/archives/VIRI-Angry-Ir.zip" in answer.err
    assert "trying again" in answer.out
    assert "Traceback" not in answer.said


def test_a_hostile_archive_that_was_published(
    ferfusion: Ferfusion, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shelf" / "VIRI-Angry-Ir.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../../evil.jpg", b"x")
    data = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    viri = PUBLISHED["viri"]
    first = replace(viri.archives[0], git_blob=blob)
    monkeypatch.setitem(PUBLISHED, "viri", replace(viri, archives=(first, *viri.archives[1:])))
    answer = ferfusion("download", "viri")
    assert answer.code == 2
    assert "leads out of it" in answer.err
    assert list(tmp_path.rglob("evil*")) == []


def test_a_mirror(ferfusion: Ferfusion, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    url = PUBLISHED["viri"].base_url
    elsewhere = replace(PUBLISHED["viri"], base_url="https://127.0.0.1:9/")
    monkeypatch.setitem(PUBLISHED, "viri", elsewhere)
    answer = ferfusion("download", "viri", "--only", "sad", "--base-url", url.rstrip("/"))
    assert answer.code == 0, answer.said
    assert "mirror" in answer.said
    assert ferfusion("download", "viri", "--base-url", "http://example.org").code == 2


# ------------------------------------------------------------------------- without any server


def test_what_there_is(ferfusion: Ferfusion) -> None:
    answer = ferfusion("download")
    assert answer.code == 0
    assert "ferfusion download viri" in answer.said
    for key, held in HELD.items():
        assert key in answer.said
        assert held.page in answer.said


@pytest.mark.parametrize("key", HELD)
def test_nothing_is_downloaded_that_its_owners_give_out(
    key: str, ferfusion: Ferfusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = ferfusion("download", key.upper())
    assert answer.code == 2
    assert "isn't downloaded by ferfusion" in answer.err
    assert HELD[key].page in answer.err
    assert list(tmp_path.iterdir()) == []


def test_every_page_that_is_named_is_there() -> None:
    pages = [data.page for data in (*PUBLISHED.values(), *HELD.values())]
    assert [page for page in pages if not (REPOSITORY / page).is_file()] == []
    index = (REPOSITORY / "docs/data.md").read_text()
    assert [page for page in pages if page.removeprefix("docs/") not in index] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("virri",), "Did you mean 'viri'?"),
        (("viri", "--only", "hapy"), "Did you mean 'happy'?"),
        (("viri", "--only", "happy-msx"), "There is no archive 'happy-msx'"),
    ],
)
def test_misspelt(words: tuple[str, ...], said: str, ferfusion: Ferfusion) -> None:
    answer = ferfusion("download", *words)
    assert answer.code == 2
    assert said in answer.err


def test_the_documented_checksums_are_those_that_are_checked() -> None:
    page = (REPOSITORY / "docs/data/viri.md").read_text()
    for archive in VIRI.archives:
        assert f"{archive.git_blob} {archive.name}" in page
