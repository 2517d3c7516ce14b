"""`ferfusion serve` as a process of its own: under load, under attack, and at its end."""

import io
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
BOUNDARY = b"part"
IMPATIENT = """
import sys
from pathlib import Path
from ferfusion import load
from ferfusion.serving.app import create_app
from ferfusion.serving.limits import Limits
from ferfusion.serving.running import listen, run_app

limits = Limits(head_s=1.0, max_mb=0.5)
with listen("127.0.0.1", 0) as listener:
    port = listener.getsockname()[1]
    app = create_app(load(sys.argv[1]), limits=limits)
    told = lambda: print(f"served at http://127.0.0.1:{port}", flush=True)
    run_app(app, listener, limits, tell_ready=told)
"""


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    process: subprocess.Popen[str]
    address: str
    said: str

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def read_memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def serve(tiny_bundle: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers; ends those that still run."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str, code: str | None = None, env: dict[str, str] | None = None) -> Served:
        command = [sys.executable, "-c", code, str(tiny_bundle)]
        if code is None:
            serve = ["serve", str(tiny_bundle), "--port", "0", *options]
            command = [sys.executable, "-m", "ferfusion", *serve]
        given = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={name: value for name, value in given.items() if value},
        )  # fmt: skip
        running.append(process)
        assert process.stdout
        said = ""
        while line := process.stdout.readline():
            said += line
            if found := re.search(r"served at (http://\S+)", line):
                return Served(process, found[1].replace("0.0.0.0", "127.0.0.1"), said)
        raise AssertionError(f"the server didn't start: {said}")

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def encode(colour: tuple[int, int, int], side_px: int = 40, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), colour).save(file, kind)
    return file.getvalue()


COLOURS = {"angry": (200, 0, 0), "happy": (0, 200, 0), "neutral": (0, 0, 200)}
NO_RATE = ("--rate", "100000")


def send(address: str, label: str = "angry", **options: Any) -> httpx2.Response:
    data = encode(COLOURS[label], options.pop("side_px", 40))
    files = {"visible": data, "infrared": data}
    return httpx2.post(f"{address}/predict", files=files, timeout=PATIENCE_S, **options)


def make_request(data: bytes) -> bytes:
    """Writes a whole request by hand."""
    parts = b"".join(
        b"--" + BOUNDARY + b'\r\ncontent-disposition: form-data; name="' + name
        + b'"; filename="a.png"\r\n\r\n' + data + b"\r\n"
        for name in (b"visible", b"infrared")
    )  # fmt: skip
    body = parts + b"--" + BOUNDARY + b"--\r\n"
    head = (
        f"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
        f"content-type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    )
    return head.encode() + body


def read_all(connection: socket.socket) -> bytes:
    said = b""
    try:
        while more := connection.recv(65536):
            said += more
    except ConnectionResetError:
        pass
    return said


def test_it_says_where_it_is_answers_and_ends(serve: Callable[..., Served]) -> None:
    server = serve()
    assert "Ctrl-C" in server.process.stdout.readline()  # pyright: ignore[reportOptionalMemberAccess]
    assert server.address.startswith("http://127.0.0.1:")
    assert httpx2.get(f"{server.address}/health").json() == {"status": "ok"}
    assert send(server.address, "happy").json()["label"] == "happy"
    page = httpx2.get(server.address)
    assert "Which expression" in page.text
    assert server.end(signal.SIGINT) == 0
    assert server.process.stdout
    rest = server.process.stdout.read()
    assert "Ended." in rest
    assert "Traceback" not in rest


def test_it_can_be_reached_from_outside_only_with_a_token(serve: Callable[..., Served]) -> None:
    server = serve("--host", "0.0.0.0")
    assert server.process.stdout
    said = "".join(server.process.stdout.readline() for _ in range(4))
    token = re.search(r"token (\S+)\n", said)
    assert token
    assert "isn't encrypted" in said
    assert send(server.address).status_code == 401
    headers = {"authorization": f"Bearer {token[1]}"}
    assert send(server.address, headers=headers).json()["label"] == "angry"
    own = "my-own-token-of-24-letters"
    server = serve(env={"FERFUSION_TOKEN": own})
    assert own not in server.said
    assert send(server.address).status_code == 401
    assert send(server.address, headers={"authorization": f"Bearer {own}"}).status_code == 200


def test_it_leaves_no_file_and_tells_nobody(serve: Callable[..., Served], tmp_path: Path) -> None:
    """ONNX Runtime by itself keeps a database of what it sends to its makers."""
    env = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    server = serve(env={**env, "ORT_DISABLE_TELEMETRY": "", "PYTHONDONTWRITEBYTECODE": "1"})
    assert send(server.address).status_code == 200
    assert server.end(signal.SIGTERM) == 0
    assert list(tmp_path.rglob("*")) == []


def test_at_the_limit_it_answers_at_once_and_loses_nothing(serve: Callable[..., Served]) -> None:
    server = serve(*NO_RATE, "--places", "4")
    for _ in range(3):
        send(server.address, side_px=700)
    labels = random.Random(0).choices(list(COLOURS), k=160)
    forms = {label: encode(colour, 700) for label, colour in COLOURS.items()}
    took_s: dict[int, list[float]] = {200: [], 503: []}
    # One for all: each would read the certificates of the system anew.
    client = httpx2.Client(timeout=PATIENCE_S, limits=httpx2.Limits(max_connections=24))

    def ask(label: str) -> tuple[int, str, str]:
        files = {"visible": forms[label], "infrared": forms[label]}
        began = time.monotonic()
        answer = client.post(f"{server.address}/predict", files=files)
        took_s[answer.status_code].append(time.monotonic() - began)
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
        return answer.status_code, label, answer.json().get("label", "")

    with client, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, labels))
    counts = Counter(status for status, _, _ in answers)
    assert set(counts) <= {200, 503}
    assert counts[200] >= 4
    assert counts[503] > 10
    assert all(label == said for status, label, said in answers if status == 200)
    told = httpx2.get(f"{server.address}/metrics").text
    accepted = re.search(r'requests_total\{path="/predict",status="200"\} (\d+)', told)
    assert accepted
    assert int(accepted[1]) == counts[200] + 3, "one was answered and didn't arrive"
    assert "ferfusion_places_taken 0.0" in told
    answered, refused = (1000 * float(np.median(took_s[status])) for status in (200, 503))
    print(f"load: {dict(counts)}; answers in {answered:.0f} ms, refusals in {refused:.0f} (median)")
    assert refused < max(1000, answered)


def test_whoever_asks_too_often_hears_it_at_once(serve: Callable[..., Served]) -> None:
    server = serve("--rate", "2")
    with httpx2.Client(base_url=server.address) as client:
        answers = [client.get("/health") for _ in range(40)]
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 429}
    assert counts[429] >= 10
    refused = [answer.elapsed.total_seconds() for answer in answers if answer.status_code == 429]
    assert np.median(refused) < 1


def test_what_is_in_flight_is_finished_after_sigterm(serve: Callable[..., Served]) -> None:
    server = serve(*NO_RATE)
    request = make_request(encode(COLOURS["happy"], 600))
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
    for connection in connections:
        connection.settimeout(PATIENCE_S)
        connection.sendall(request[:-100])
    deadline = time.monotonic() + PATIENCE_S
    while "places_taken 6.0" not in httpx2.get(f"{server.address}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port))
    for connection in connections:
        connection.sendall(request[-100:])
    for connection in connections:
        said = read_all(connection)
        connection.close()
        assert said.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(said.partition(b"\r\n\r\n")[2])["label"] == "happy"
    assert server.process.wait(PATIENCE_S) == 0


def test_slow_clients_are_sent_away(serve: Callable[..., Served]) -> None:
    server = serve(code=IMPATIENT)
    request = make_request(encode(COLOURS["angry"]))

    def connect() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.settimeout(PATIENCE_S)
        return connection

    def drip(connection: socket.socket, data: bytes) -> None:
        try:
            for place in range(len(data)):
                connection.sendall(data[place : place + 1])
                time.sleep(0.1)
        except OSError:
            pass

    with connect() as silent, connect() as dripping, connect() as idle, connect() as refused:
        began = time.monotonic()
        dripper = threading.Thread(target=drip, args=(dripping, request[:200]))
        dripper.start()
        idle.sendall(request)
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        # A body that is too long, of which more and more comes though it was refused.
        refused.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 90000000\r\n"
                        b"content-type: multipart/form-data; boundary=b\r\n\r\n")  # fmt: skip
        assert refused.recv(65536).startswith(b"HTTP/1.1 413")
        more = threading.Thread(target=drip, args=(refused, bytes(2000)))
        more.start()
        assert read_all(silent) == read_all(dripping) == b""
        read_all(idle)
        read_all(refused)
        assert time.monotonic() - began < 15
        dripper.join()
        more.join()
    assert send(server.address).status_code == 200


def make_hostile(count: int, seed: int) -> Iterator[bytes]:
    """Files cut short, changed, glued together, swollen, or not pictures at all."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    sound: list[bytes] = []
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "ICO"):
        file = io.BytesIO()
        Image.fromarray(noise).save(file, kind)
        sound.append(file.getvalue())
    texts = [b"<html><script>alert(1)</script>", b"%PDF-1.7\n", b"PK\3\4", b"\x7fELF", b"<?php 1;"]
    for _ in range(count):
        data = bytearray(rng.choice(sound))
        way = rng.randrange(5)
        if way == 0:
            data = data[: rng.randrange(len(data))]
        elif way == 1:
            for _ in range(rng.randrange(1, 30)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        elif way == 2:  # sizes and lengths stand at the beginning
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(min(64, len(data)))] = rng.choice((0, 1, 127, 128, 255))
        elif way == 3:
            data = (
                bytearray(rng.choice(texts)) + data
                if rng.random() < 0.5
                else data + rng.choice(texts)
            )
        else:
            data = bytearray(rng.randbytes(rng.randrange(2000)))
        yield bytes(data)


def attack(server: Served, count: int) -> None:
    """Sends hostile files; the server answers each with a sentence, and doesn't grow."""
    sound = encode(COLOURS["happy"])
    client = httpx2.Client(base_url=server.address, timeout=PATIENCE_S)

    def ask(data: bytes) -> int:
        pair = (data, sound) if len(data) % 2 else (sound, data)
        answer = client.post(
            "/predict", files=dict(zip(("visible", "infrared"), pair, strict=True))
        )
        if answer.status_code != 200:
            assert list(answer.json()) == ["error"], answer.text
            assert "Traceback" not in answer.text
        return answer.status_code

    with client, ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, make_hostile(100, seed=1)))  # what is loaded once is loaded now
        before = server.read_memory_mb()
        counts = Counter(pool.map(ask, make_hostile(count, seed=2)))
        grown = server.read_memory_mb() - before
    print(f"hostile: {dict(counts)}, memory {before:.0f} MB, then {grown:+.0f} MB")
    assert set(counts) <= {200, 413, 422}
    assert counts[422] > count / 4
    # What is freed is kept, and the heap grows in steps of 64 MB: see `ferfusion.memory`.
    assert grown < 100
    assert send(server.address, "neutral").json()["label"] == "neutral"


def test_hostile_files_do_no_harm(serve: Callable[..., Served]) -> None:
    attack(serve(*NO_RATE), 300)


@pytest.mark.slow
def test_ten_thousand_hostile_files_do_no_harm(serve: Callable[..., Served]) -> None:
    attack(serve(*NO_RATE), 10_000)


@pytest.mark.slow
def test_schemathesis_finds_nothing(serve: Callable[..., Served], tmp_path: Path) -> None:
    """Requests made of /openapi.json, right and wrong ones."""
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("schemathesis is not installed")
    server = serve(*NO_RATE)
    done = subprocess.run(
        [program, "run", f"{server.address}/openapi.json", "--max-examples", "40", "--no-color",
         # Files of random bytes are of the schema, and no pictures.
         "--exclude-checks", "positive_data_acceptance", "--generation-database", "none"],
        cwd=tmp_path, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert httpx2.get(f"{server.address}/health").status_code == 200


def test_mistakes_are_told_in_a_sentence(
    ferfusion: Callable[..., Any],
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = ferfusion("serve", tiny_bundle, "--port", taken.getsockname()[1])
    assert answer.code == 2
    assert "another program is using it" in answer.said
    answer = ferfusion("serve", tmp_path / "nothing", "--port", 0)
    assert answer.code == 2
    assert "There is no model" in answer.said
    answer = ferfusion("serve", tiny_bundle, "--port", 0, "--token", "short")
    assert answer.code == 2
    assert "at least 16" in answer.said
    answer = ferfusion("serve", tiny_bundle, "--port", 0, "--host", "no.such.host.invalid")
    assert answer.code == 2
    assert "Check --host" in answer.said
    for module in [name for name in sys.modules if name.startswith("ferfusion.serving.")]:
        if not module.endswith("limits"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    answer = ferfusion("serve", tiny_bundle, "--port", 0)
    assert answer.code == 2
    assert "pip install 'ferfusion[serve]'" in answer.err


def test_the_lines_of_the_page_about_serving_work(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the lines are for curl, which is not installed")
    text = (ROOT / "docs" / "serve.md").read_text()
    lines = re.findall(r"^curl .*(?:\n  .*)*$", text, re.M)
    assert len(lines) >= 5
    token = "my-own-token-of-24-letters"
    server = serve(env={"FERFUSION_TOKEN": token})
    for name, colour in (("face.jpg", "angry"), ("heat.png", "happy")):
        (tmp_path / name).write_bytes(
            encode(COLOURS[colour], kind=name[-3:].replace("jpg", "jpeg"))
        )
    for line in lines:
        command = line.replace("http://localhost:8000", server.address).replace(
            "curl ", "curl -sS ", 1
        )
        if "Bearer" not in command:
            command += f" -H 'Authorization: Bearer {token}'"
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env={**os.environ, "FERFUSION_TOKEN": token},
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert '"error":' not in done.stdout, (command, done.stdout)
        assert done.stdout or "-o " in command
    with Image.open(tmp_path / "visible.png") as example:
        assert example.size == (224, 224)
