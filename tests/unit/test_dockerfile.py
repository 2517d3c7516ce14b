"""No engine is at hand to build the image, so a linter reads how it is made."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
LINES = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.M)).splitlines()


def find(word: str) -> list[str]:
    return [line.removeprefix(word).strip() for line in LINES if line.startswith(word + " ")]


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists() and shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed")
    program = linter if linter.exists() else "hadolint"
    done = subprocess.run([program, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_server_has_no_rights_and_says_how_it_is() -> None:
    assert find("USER") == ["10001"]
    assert LINES.index("USER 10001") > max(
        place for place, line in enumerate(LINES) if line.startswith(("RUN", "COPY"))
    )
    assert "/health" in find("HEALTHCHECK")[0]
    start = json.loads(find("ENTRYPOINT")[0]) + json.loads(find("CMD")[0])
    assert start[:2] == ["ferfusion", "serve"], "not through a shell, which would keep SIGTERM"


def test_only_what_serving_needs_goes_in() -> None:
    (install,) = [line for line in find("RUN") if "pip install" in line]
    assert "'.[runtime,serve]'" in install
    assert "--no-cache-dir" in install
    assert "--constraint" in install
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    for name in re.findall(r"[\w.]+", find("COPY")[0].removesuffix("./")):
        assert f"!{name}" in ignored
        assert (ROOT / name).exists()
