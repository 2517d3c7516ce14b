"""Bundles to and from a hub: a stand-in on this machine that speaks as the real one does."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ferfusion.evaluation.coverage import AnswerRule
from ferfusion.inference import bundle

pytest.importorskip("huggingface_hub")
TOKEN = "hf_of_the_stand_in"


class Hub(ThreadingHTTPServer):
    """Keeps models in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.models: dict[str, dict[str, bytes]] = {}
        self.is_private: dict[str, bool] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    """The few requests that uploading and downloading a model need."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, code: int, body: Any = b"", **headers: str) -> None:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers["Content_Type"] = "application/json"
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.server.models:
                self.answer(409, {"error": "You already created this model repo"})
                return
            self.server.models[name] = {}
            self.server.is_private[name] = asked["visibility"] == "private"
            self.answer(200, {"url": f"{self.server.address}/{name}"})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in body.splitlines():
                asked = json.loads(line)
                if asked["key"] == "file":
                    content = base64.b64decode(asked["value"]["content"])
                    self.server.models[match[1]][asked["value"]["path"]] = content
            address = f"{self.server.address}/{match[1]}/commit/{'a' * 40}"
            self.answer(200, {"success": True, "commitOid": "a" * 40, "commitUrl": address})
        else:
            self.answer(404, {"error": "unknown"})

    def do_GET(self) -> None:
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/\w+)?(\?.*)?", self.path):
            files = self.server.models.get(match[1])
            if files is None:
                self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
                return
            siblings = [{"rfilename": name} for name in files]
            self.answer(200, {"id": match[1], "sha": "a" * 40, "siblings": siblings})
        elif match := re.match(r"/api/models/([^/]+/[^/]+)/tree/", self.path):
            files = self.server.models[match[1]]
            self.answer(
                200,
                [
                    {"type": "file", "path": name, "size": len(data), "oid": "b" * 40}
                    for name, data in files.items()
                ],
            )
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", self.path):
            data = self.server.models[match[1]][match[2]]
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            self.answer(200, data, ETag=etag, X_Repo_Commit="a" * 40)
        else:
            self.answer(404, {"error": "unknown"})

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def run(folder: Path, address: str, *words: str, token: str = TOKEN) -> tuple[int, str]:
    own = {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "ferfusion", "hub", *words],
        cwd=folder,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def write_bundle(out: Path) -> None:
    graph = out.with_name("graph")
    graph.write_bytes(bytes(range(256)) * 400)
    texts = {bundle.CARD: "# A card", bundle.PARITY: "{}", bundle.SEEN: "{}"}
    rule = AnswerRule(0.5, 0.9, 10)
    bundle.write_bundle(out, graph, rule=rule, facts={"ferfusion": "0"}, texts=texts)


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_up_and_down_again(tmp_path: Path, hub: Hub, name: str) -> None:
    write_bundle(tmp_path / name)
    code, said = run(tmp_path, hub.address, "push", name, "me/faces")
    assert code == 0, said
    assert said.endswith(f"Uploaded: {hub.address}/me/faces")
    assert hub.is_private["me/faces"]
    assert hub.models["me/faces"]["README.md"] == b"# A card"
    code, said = run(tmp_path, hub.address, "pull", "me/faces", "--out", "back")
    assert code == 0, said
    opened = bundle.open_bundle(tmp_path / "back")
    assert isinstance(opened.graph, Path)
    assert opened.graph.read_bytes() == (tmp_path / "graph").read_bytes()
    code, said = run(tmp_path, hub.address, "pull", "me/faces", "--out", "back")
    assert code == 2
    assert "back is there already" in said


def test_what_the_hub_refuses_is_a_sentence(tmp_path: Path, hub: Hub) -> None:
    write_bundle(tmp_path / "model")
    code, said = run(tmp_path, hub.address, "push", "model", "me/faces", token="hf_wrong")
    assert code == 2
    assert "The hub refused me/faces" in said
    code, said = run(tmp_path, hub.address, "pull", "me/nothing", "--out", "back")
    assert code == 2
    assert "has no model me/nothing" in said
    code, said = run(tmp_path, hub.address, "push", "model", "no name at all!")
    assert code == 2
    assert "write USER/MODEL" in said
    hub.models["me/other"] = {"README.md": b"no bundle"}
    code, said = run(tmp_path, hub.address, "pull", "me/other", "--out", "back")
    assert code == 2
    assert "is no bundle of ferfusion" in said
    assert not (tmp_path / "back").exists()


def test_a_graph_changed_on_the_hub_is_not_taken(tmp_path: Path, hub: Hub) -> None:
    write_bundle(tmp_path / "model")
    assert run(tmp_path, hub.address, "push", "model", "me/faces")[0] == 0
    hub.models["me/faces"]["model.onnx"] = b"another"
    code, said = run(tmp_path, hub.address, "pull", "me/faces", "--out", "back")
    assert code == 2
    assert "not the file that was certified" in said
    assert not (tmp_path / "back").exists()
