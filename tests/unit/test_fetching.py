"""Downloads from a server on this machine that does everything a server shouldn't."""

import email.utils
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferfusion import fetching
from ferfusion.errors import DownloadError
from ferfusion.fetching import Checksum, Listener, fetch

BODY = bytes(i * i % 251 for i in range(100_000))
SHA256 = hashlib.sha256(BODY).hexdigest()
RIGHT = Checksum(git_blob=hashlib.sha1(b"blob 100000\0" + BODY).hexdigest(), sha256=SHA256)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
LIMIT = 2**20


class Handler(BaseHTTPRequestHandler):
    """Leaves the answer to what the test has put on the server's list; the last one stays."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *_: object) -> None:
        pass

    def start(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    @property
    def first(self) -> int:
        """The first byte that is asked for."""
        return int(self.headers.get("Range", "bytes=0-")[6:-1])


class Server(ThreadingHTTPServer):
    daemon_threads = True
    answers: list[Callable[[Handler], None]]
    asked: list[dict[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.zip"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is none."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked = [give()], []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSES_S", (0.01, 0.01, 0.01))


def give(
    body: bytes = BODY,
    *,
    stop: int | None = None,
    length: int | None = 0,
    knows_range: bool = True,
    shift: int = 0,
    **headers: object,
) -> Callable[[Handler], None]:
    """Makes an answer.

    Args:
        body: The file.
        stop: Hang up after so many bytes of this answer.
        length: Added to the true length when it is announced; None: announce nothing.
        knows_range: Whether a range is given that is asked for.
        shift: Added to where the range that is given begins.
        headers: More of them; ETag "1" if none are given.
    """

    def answer(handler: Handler) -> None:
        said = dict(headers or {"ETag": '"1"'})
        wanted = handler.headers.get("If-Range")
        is_rest = knows_range and handler.first and wanted in said.values()
        first = handler.first + shift if is_rest else 0
        rest = body[first:]
        if is_rest:
            said["Content_Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        if length is not None:
            said["Content_Length"] = len(rest) + length
        handler.start(206 if is_rest else 200, **said)
        handler.wfile.write(rest[:stop])

    return answer


def refuse(status: int, **headers: object) -> Callable[[Handler], None]:
    return lambda handler: handler.start(status, Content_Length=0, **headers)


def redirect(to: str) -> Callable[[Handler], None]:
    return refuse(302, Location=to)


def get(server: Server, folder: Path, checksum: Checksum = RIGHT, **options: object) -> bool:
    path = folder / "file.zip"
    options = {"timeout_s": 5.0, "size_limit": LIMIT, **options}
    return fetch(server.url, path, checksum=checksum, **options)  # pyright: ignore[reportArgumentType]


def fail(server: Server, folder: Path, **options: object) -> str:
    with pytest.raises(DownloadError) as caught:
        get(server, folder, **options)  # pyright: ignore[reportArgumentType]
    assert not (folder / "file.zip").exists()
    return str(caught.value)


def assert_whole(folder: Path) -> None:
    assert (folder / "file.zip").read_bytes() == BODY
    assert {p.name for p in folder.iterdir()} == {"file.zip"}


# --------------------------------------------------------------------------------- as it should be


def test_fetches_once(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    assert get(server, tmp_path, listener=Listener(on_progress=lambda *now: told.append(now)))
    assert_whole(tmp_path)
    assert told[-1] == (len(BODY), len(BODY))
    assert told == sorted(told)
    assert not get(server, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "checksum", [RIGHT, Checksum(sha256=SHA256), Checksum(git_blob=RIGHT.git_blob)]
)
def test_git_names_a_file_as_git_does(checksum: Checksum, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(BODY)
    assert checksum.fits(tmp_path / "f")
    said = subprocess.run(
        ["git", "hash-object", "--no-filters", "f"], cwd=tmp_path, capture_output=True, check=True
    )
    assert said.stdout.decode().strip() == RIGHT.git_blob
    (tmp_path / "f").write_bytes(BODY[:-1])
    assert not checksum.fits(tmp_path / "f")
    assert not checksum.fits(tmp_path / "missing")


def test_a_checksum_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="can't be checked"):
        Checksum()


def test_other_bytes_in_its_place_are_left_unless_told(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    path.write_bytes(b"mine")
    with pytest.raises(DownloadError, match="Move it away"):
        get(server, tmp_path)
    assert path.read_bytes() == b"mine"
    assert server.asked == []
    server.answers = [give(b"wrong"), give()]
    with pytest.raises(DownloadError, match="isn't the file that was published"):
        get(server, tmp_path, overwrite=True)
    assert path.read_bytes() == b"mine"
    assert get(server, tmp_path, overwrite=True)
    assert path.read_bytes() == BODY


# -------------------------------------------------------------------------------------- broken off


@pytest.mark.parametrize(
    "headers", [{"ETag": '"1"'}, {"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}]
)
def test_goes_on_where_it_broke_off(
    headers: dict[str, str], server: Server, tmp_path: Path
) -> None:
    server.answers = [give(stop=30_000, **headers), give(stop=20_000, **headers), give(**headers)]
    assert get(server, tmp_path)
    assert_whole(tmp_path)
    assert [a.get("Range") for a in server.asked] == [None, "bytes=30000-", "bytes=50000-"]
    assert server.asked[1]["If-Range"] == next(iter(headers.values()))


def test_a_later_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    server.answers = [give(stop=30_000), refuse(503)]
    assert "What has come is kept" in fail(server, tmp_path)
    server.answers = [give()]
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.asked[-1]["Range"] == "bytes=30000-"


def test_who_gets_on_may_break_off_more_often_than_there_are_pauses(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_GETTING_ON_BYTES", 9_000)
    server.answers = [give(stop=9_500)]
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert len(server.asked) == 11


@pytest.mark.parametrize("version", [{"ETag": 'W/"1"'}, {"Server": "nobody"}])
def test_without_a_version_it_starts_anew(
    version: dict[str, str], server: Server, tmp_path: Path
) -> None:
    server.answers = [give(stop=30_000, **version), give()]
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert "Range" not in server.asked[1]


OTHER_PART = "the server sends another part of the file than it was asked for"


@pytest.mark.parametrize(
    ("second", "said"),
    [
        pytest.param(give(knows_range=False), [], id="ignores the range"),
        pytest.param(give(shift=-1), [OTHER_PART], id="an earlier range"),
        pytest.param(give(shift=7), [OTHER_PART], id="a later range"),
        pytest.param(refuse(206), [OTHER_PART], id="no range said"),
        pytest.param(refuse(206, Content_Range="bytes x-y/z"), [OTHER_PART], id="nonsense"),
        pytest.param(
            refuse(416), ["the file on the server is shorter than before"], id="range refused"
        ),
        pytest.param(
            refuse(206, Content_Range="bytes 30000-99999/100000", ETag='"2"'),
            ["the file on the server has changed"],
            id="another version",
        ),
    ],
)
def test_a_bad_rest_is_never_appended(
    second: Callable[[Handler], None], said: list[str], server: Server, tmp_path: Path
) -> None:
    told: list[str] = []
    server.answers = [give(stop=30_000), second, give()]
    get(server, tmp_path, listener=Listener(on_pause=lambda why, pause_s: told.append(why)))
    assert_whole(tmp_path)
    assert told == ["the connection broke off", *said]


def test_who_always_breaks_off_at_one_place_is_given_up(server: Server, tmp_path: Path) -> None:
    broken = give(stop=90_000, knows_range=False)
    server.answers = [*[broken] * 12, refuse(404)]
    assert "the connection broke off (tried 4 times)" in fail(server, tmp_path)


def test_a_file_that_changes_meanwhile_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    old = bytes(len(BODY))
    server.answers = [give(old, stop=30_000), give(ETag='"2"')]
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.asked[1]["If-Range"] == '"1"'


def test_a_server_that_mixes_versions_under_one_name(server: Server, tmp_path: Path) -> None:
    server.answers = [give(bytes(len(BODY)), stop=30_000), give(), give()]
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert "Range" in server.asked[1]
    assert "Range" not in server.asked[2]


@pytest.mark.parametrize(
    "note", ["", "[]", "{}", '{"url": 1}', '{"url": "U", "version": "a\\r\\nX: 1"}']
)
def test_a_spoilt_note_starts_anew(note: str, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"something")
    (tmp_path / "file.zip.part.json").write_text(note.replace("U", server.url))
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert "Range" not in server.asked[0]
    assert "X" not in server.asked[0]


def test_part_of_another_address_is_not_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"something")
    note = {"url": "https://elsewhere.example/file.zip", "version": '"1"'}
    (tmp_path / "file.zip.part.json").write_text(json.dumps(note))
    get(server, tmp_path)
    assert_whole(tmp_path)


def test_killed_before_the_rename_asks_for_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(BODY)
    assert get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.asked == []


def test_kill_9_in_the_middle(server: Server, tmp_path: Path) -> None:
    may_end = threading.Event()

    def drip(handler: Handler) -> None:
        handler.start(200, Content_Length=len(BODY), ETag='"1"')
        handler.wfile.write(BODY[:40_000])
        may_end.wait(30)

    server.answers = [drip, give()]
    code = (
        "import sys; from pathlib import Path; from ferfusion.fetching import *\n"
        "fetch(sys.argv[1], Path(sys.argv[2]), checksum=Checksum(sha256=sys.argv[3]),"
        " size_limit=10**6, listener=Listener(on_progress=lambda *now: print(*now, flush=True)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, server.url, tmp_path / "file.zip", SHA256],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    have = 0
    while have < 40_000:
        have = int(process.stdout.readline().split()[0])
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    may_end.set()
    assert not (tmp_path / "file.zip").exists()
    kept = (tmp_path / "file.zip.part").stat().st_size
    assert get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.asked[1].get("Range") == f"bytes={kept}-"
    assert 0 < kept <= 40_000


def test_two_at_once_ask_once(server: Server, tmp_path: Path) -> None:
    waited: list[bool] = []
    is_asked = threading.Event()

    def slowly(handler: Handler) -> None:
        is_asked.set()
        time.sleep(0.3)
        give()(handler)

    server.answers = [slowly]
    new: list[bool] = []
    first = threading.Thread(target=lambda: new.append(get(server, tmp_path)))
    first.start()
    assert is_asked.wait(10)
    listener = Listener(on_wait=lambda: waited.append(True))
    assert not get(server, tmp_path, listener=listener)
    first.join()
    assert new == [True]
    assert waited == [True]
    assert len(server.asked) == 1
    assert_whole(tmp_path)


# ------------------------------------------------------------------------------------ about sizes


def test_the_checksum_decides_not_the_announced_length(server: Server, tmp_path: Path) -> None:
    server.answers = [give(length=10)]
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert len(server.asked) == 1


def test_announced_too_short(server: Server, tmp_path: Path) -> None:
    server.answers = [give(length=-10)]
    assert "isn't the file that was published" in fail(server, tmp_path)
    assert (tmp_path / "file.zip.wrong").read_bytes() == BODY[:-10]
    assert len(server.asked) == 1


def test_no_length(server: Server, tmp_path: Path) -> None:
    server.answers = [give(length=None)]
    get(server, tmp_path)
    assert_whole(tmp_path)


def test_no_length_and_broken_off(server: Server, tmp_path: Path) -> None:
    server.answers = [give(length=None, stop=30_000), give(length=None)]
    get(server, tmp_path)
    assert_whole(tmp_path)


@pytest.mark.parametrize("length", [0, None])
def test_too_big(length: int | None, server: Server, tmp_path: Path) -> None:
    server.answers = [give(bytes(5 * 2**20), length=length)]
    message = fail(server, tmp_path, size_limit=2**20)
    assert "more than the 1 MiB" in message
    assert list(tmp_path.glob("file*")) == []
    assert len(server.asked) == 1


def test_chunks(server: Server, tmp_path: Path) -> None:
    def chunked(*, ends: bool) -> Callable[[Handler], None]:
        def answer(handler: Handler) -> None:
            handler.protocol_version = "HTTP/1.1"
            handler.start(200, Transfer_Encoding="chunked", Connection="close")
            for at in range(0, len(BODY) if ends else 30_000, 10_000):
                handler.wfile.write(b"2710\r\n" + BODY[at : at + 10_000] + b"\r\n")
            handler.wfile.write(b"0\r\n\r\n" if ends else b"zz\r\n")

        return answer

    server.answers = [chunked(ends=False), chunked(ends=True)]
    get(server, tmp_path)
    assert_whole(tmp_path)


# ------------------------------------------------------------------------------- something else


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BODY[:-1] + b"x", "its checksum is another"),
        (b"", "its checksum is another"),
        (b"<!DOCTYPE html><html>Sign in", "is a web page"),
        (LFS, "is a Git LFS pointer"),
    ],
)
def test_wrong_bytes_are_set_aside_at_once(
    body: bytes, said: str, server: Server, tmp_path: Path
) -> None:
    server.answers = [give(body)]
    message = fail(server, tmp_path)
    assert said in message
    assert str(tmp_path / "file.zip.wrong") in message
    assert (tmp_path / "file.zip.wrong").read_bytes() == body
    assert len(server.asked) == 1
    server.answers = [give()]
    get(server, tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_pointer_that_was_published_as_such_is_no_file(server: Server, tmp_path: Path) -> None:
    server.answers = [give(LFS)]
    message = fail(server, tmp_path, checksum=Checksum(sha256=hashlib.sha256(LFS).hexdigest()))
    assert "Git LFS pointer" in message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_refused_for_good(status: int, server: Server, tmp_path: Path) -> None:
    server.answers = [refuse(status)]
    message = fail(server, tmp_path)
    assert f"answers {status}" in message
    assert "browser" in message
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_refused_for_now(status: int, server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    listener = Listener(on_pause=lambda *why: told.append(why))
    server.answers = [refuse(status), refuse(status), give()]
    get(server, tmp_path, listener=listener)
    assert_whole(tmp_path)
    assert [str(status) in why for why, _ in told] == [True, True]


def test_refused_again_and_again(server: Server, tmp_path: Path) -> None:
    server.answers = [refuse(503)]
    message = fail(server, tmp_path)
    assert "answers 503" in message
    assert "tried 4 times" in message
    assert f"save the file as {tmp_path / 'file.zip'}." in message
    assert len(server.asked) == 4


def test_waits_as_long_as_it_is_asked_to(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    soon = email.utils.formatdate(time.time() + 20, usegmt=True)
    answers = [refuse(429, Retry_After=said) for said in ("7", soon, "soon")]
    server.answers = [*answers, give()]
    get(server, tmp_path)
    assert slept[0] == 7
    assert 15 < slept[1] <= 20
    assert slept[2] == 0.01


def test_does_not_wait_for_an_hour(server: Server, tmp_path: Path) -> None:
    server.answers = [refuse(429, Retry_After=3600)]
    assert "asks to come back in 3600 s" in fail(server, tmp_path)
    assert len(server.asked) == 1


def test_silence(server: Server, tmp_path: Path) -> None:
    may_end = threading.Event()

    def stall(handler: Handler) -> None:
        handler.start(200, Content_Length=len(BODY), ETag='"1"')
        handler.wfile.write(BODY[:1000])
        may_end.wait(30)

    server.answers = [stall, give()]
    told: list[str] = []
    listener = Listener(on_pause=lambda why, pause_s: told.append(why))
    get(server, tmp_path, timeout_s=0.2, listener=listener)
    may_end.set()
    assert_whole(tmp_path)
    assert told[0] == "the server was silent for 0.2 s"
    assert server.asked[1]["Range"] == "bytes=1000-"


def test_silence_from_the_start(server: Server, tmp_path: Path) -> None:
    may_end = threading.Event()
    server.answers = [lambda handler: may_end.wait(30) and None]
    message = fail(server, tmp_path, timeout_s=0.1)
    may_end.set()
    assert "was silent for 0.1 s" in message
    assert "Run the same line again" in message


def test_no_server(server: Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    assert "there is no connection to 127.0.0.1" in fail(server, tmp_path)


@pytest.mark.parametrize("said", [b"", b"HELLO\r\n\r\n", b"HTTP/1.1 999\r\n", b"\xff" * 100_000])
def test_no_http(said: bytes, server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: handler.wfile.write(said) and None]
    assert "can't be downloaded" in fail(server, tmp_path)


def test_packed_though_nobody_asked(server: Server, tmp_path: Path) -> None:
    server.answers = [give(Content_Encoding="gzip")]
    assert "packed in a way nobody asked for" in fail(server, tmp_path)
    assert server.asked[0]["Accept-Encoding"] == "identity"


def test_no_content(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: handler.start(204)]
    assert "answers 204" in fail(server, tmp_path)


# ---------------------------------------------------------------------------------- other places


def test_follows_to_another_place(server: Server, tmp_path: Path) -> None:
    server.answers = [give(stop=30_000), redirect("/elsewhere"), give()]
    get(server, tmp_path)
    assert_whole(tmp_path)
    assert server.asked[2]["Range"] == "bytes=30000-"


def test_round_and_round(server: Server, tmp_path: Path) -> None:
    server.answers = [redirect("/file.zip")]
    assert "from one address to the next without end" in fail(server, tmp_path)
    assert len(server.asked) < 15


@pytest.mark.parametrize(
    "to",
    [
        *("file:///etc/passwd", "ftp://127.0.0.1/x", "https://127.0.0.1:9/x"),
        *("http://example.org/x", "http://[", "data:text/plain,x"),
    ],
)
def test_never_follows_out(to: str, server: Server, tmp_path: Path) -> None:
    server.answers = [redirect(to)]
    message = fail(server, tmp_path)
    assert any(s in message for s in ("isn't followed", "to no web page", "what is no address"))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "https://", ""),
        *("https://exa mple.org/x", "https://example.org/x\r\nA: b", "https://[", "HTTP", "//a/b"),
        *("http://127.0.0.1.example.org/x", "https://example.org:x/", "https://example.org/ü"),
        *("https://" + "a" * 70 + ".org/", "http://10.0.0.1/x"),
    ],
)
def test_only_https(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="give an address with https"):
        fetch(url, tmp_path / "x", checksum=RIGHT, size_limit=LIMIT)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").mkdir()
    assert "can't be written" in fail(server, tmp_path)


# ---------------------------------------------------------------------------------- all together

MISCHIEF = st.one_of(
    st.builds(
        give,
        st.sampled_from([BODY, BODY, bytes(len(BODY)), BODY[:500]]),
        stop=st.integers(0, len(BODY)),
        length=st.sampled_from([0, 0, None, -5, 5]),
        knows_range=st.booleans(),
        shift=st.sampled_from([0, 0, -1, 100]),
        ETag=st.sampled_from(['"1"', '"2"', 'W/"3"']),
    ),
    st.sampled_from([408, 416, 429, 500, 503]).map(refuse),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(mischief=st.lists(MISCHIEF, max_size=3))
def test_whatever_happens_the_name_has_the_right_bytes_or_none(
    mischief: list[Callable[[Handler], None]],
    server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("x")
    server.answers = [*mischief, give(ETag='"9"')]
    for _ in range(8):
        try:
            get(server, folder)
        except DownloadError:
            assert not (folder / "file.zip").exists()
        else:
            break
    assert (folder / "file.zip").read_bytes() == BODY
