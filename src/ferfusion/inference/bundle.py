"""A model in one folder or one file, to be carried where no PyTorch is: how it lies there.

    model.onnx    the graph, from bytes of pictures to calibrated probabilities
    bundle.json   labels, modalities, when it would rather not answer, how it was trained and tested
    parity.json   the certificate: how far the graph is from the trained model
    seen.json     hashes of the picture files that trained, chose and tested it; no names
    README.md     the model card
    LICENCES.md   of the weights and the data behind them

The one file is a zip archive of the same, not compressed.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ferfusion.atomic import making_folder, replacing
from ferfusion.errors import CheckpointError
from ferfusion.evaluation.coverage import AnswerRule

FORMAT = 1
GRAPH, FACTS, PARITY, SEEN = "model.onnx", "bundle.json", "parity.json", "seen.json"
CARD, LICENCES = "README.md", "LICENCES.md"
ARCHIVE_ENDING = ".zip"

_MAX_BYTES = 2**31
_MAX_TEXT_BYTES = 2**27


@dataclass(frozen=True)
class Bundle:
    """A bundle that was opened.

    Attributes:
        path: The folder or file.
        graph: A path or the bytes, as `open_graph` takes them.
        rule: When it would rather not answer; None if it always answers.
        facts: All of its bundle.json.
    """

    path: Path
    graph: Path | bytes
    rule: AnswerRule | None
    facts: Mapping[str, Any]


def is_bundle(path: Path) -> bool:
    """Says whether this looks like a bundle, by a look at its names."""
    if path.is_dir():
        return (path / FACTS).is_file()
    return path.is_file() and path.suffix.lower() == ARCHIVE_ENDING


def open_bundle(path: Path) -> Bundle:
    """Opens a bundle and checks that the graph is the one that was certified.

    Raises:
        CheckpointError: It is missing, damaged, or from another ferfusion.
    """
    try:
        facts = json.loads(_read_text(path, FACTS))
        if facts["format"] != FORMAT:
            raise CheckpointError(
                f"{path} was written in format {facts['format']}, and this ferfusion reads format "
                f"{FORMAT}. Install the ferfusion that wrote it ({facts.get('ferfusion', '?')})."
            )
        rule = facts["answer_rule"]
        rule = (
            None
            if rule is None
            else AnswerRule(
                float(rule["least_confidence"]), float(rule["coverage"]), int(rule["n"])
            )
        )
        wanted = facts["graph_sha256"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{FACTS} in {path} is damaged ({error!r}). Export the model again."
        ) from error
    graph = path / GRAPH if path.is_dir() else _read_member(path, GRAPH, _MAX_BYTES)
    if _hash(graph, path) != wanted:
        raise CheckpointError(
            f"{GRAPH} in {path} is not the file that was certified: it was changed or cut short. "
            "Copy the bundle again, or export the model again."
        )
    return Bundle(path, graph, rule, facts)


def read_seen(path: Path) -> dict[str, list[str]]:
    """Reads which picture files trained, chose and tested the model, by their hashes.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        seen = json.loads(_read_text(path, SEEN))
        return {str(part): [str(digest) for digest in digests] for part, digests in seen.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{SEEN} in {path} is damaged. Export the model again.") from error


def write_bundle(
    out: Path,
    graph: Path,
    *,
    rule: AnswerRule | None,
    facts: Mapping[str, Any],
    texts: Mapping[str, str],
) -> None:
    """Writes a bundle, whole or not at all.

    Args:
        out: A folder; or a file, if it ends in `.zip`. A bundle that is there is replaced once
            the new one is complete.
        graph: What `export_graph` wrote; it is copied.
        rule: When the model would rather not answer.
        facts: What else stands in bundle.json.
        texts: Every other file, by name.
    """
    body = {
        **facts,
        "format": FORMAT,
        "answer_rule": None if rule is None else asdict(rule),
        "graph_sha256": _hash(graph, graph),
    }
    files = {FACTS: json.dumps(body, indent=2) + "\n", **texts}
    if out.suffix.lower() == ARCHIVE_ENDING:
        with replacing(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for name, text in files.items():
                archive.writestr(name, text)
            archive.write(graph, GRAPH)
        return
    ready = out.with_name(f".{out.name}.new")
    with making_folder(ready) as part:
        for name, text in files.items():
            (part / name).write_text(text, encoding="utf-8")
        shutil.copyfile(graph, part / GRAPH)
    shutil.rmtree(out, ignore_errors=True)
    ready.rename(out)


def _read_text(path: Path, name: str) -> str:
    """Reads one file of a bundle, within bounds."""
    if not path.is_dir():
        return _read_member(path, name, _MAX_TEXT_BYTES).decode("utf-8")
    try:
        if (path / name).stat().st_size > _MAX_TEXT_BYTES:
            raise CheckpointError(f"{path / name} is far too big. Export the model again.")
        return (path / name).read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{path / name} can't be read ({error.strerror or error}). Give a folder or file that "
            "`ferfusion export` wrote."
        ) from error


def _read_member(path: Path, name: str, max_bytes: int) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(name)
            # Stored as they are; one that would swell was not written by us.
            if info.file_size > max_bytes or info.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError(f"{path} was not written by `ferfusion export`.")
            return archive.read(info)
    except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is no bundle or a damaged one: {name} can't be read from it ({error}). "
            "Give what `ferfusion export` wrote."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} can't be read ({error.strerror or error}).") from error


def _hash(source: Path | bytes, name: Path) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        with source.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{GRAPH} in {name} can't be read ({error.strerror or error}). Export it again."
        ) from error
