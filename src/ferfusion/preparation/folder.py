"""A whole folder prepared: streamed, in several processes, resumed, and moved into place whole."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from threadpoolctl import threadpool_limits

from ferfusion.atomic import replacing, write_text
from ferfusion.errors import DataError, ImageError, ResultsError
from ferfusion.imaging.faces.detector import FaceDetector
from ferfusion.imaging.file_bytes import read_bytes
from ferfusion.locks import hold
from ferfusion.modality import MODALITIES
from ferfusion.preparation.reading import UNLABELLED
from ferfusion.preparation.recipe import Preparation, Record, read_records, write_records
from ferfusion.preparation.sample import Prepared, prepare_sample
from ferfusion.preparation.shot import hash_files
from ferfusion.preparation.tables import (
    list_files,
    list_samples,
    list_subjects,
    name_files,
    picture_path,
    read_filled,
    temperature_path,
)
from ferfusion.sample import Sample

RECORDS = "prepared.csv"
SETTINGS = "prepared.json"
PAGE = "prepared.html"
SUBJECTS = "subjects.csv"
TABLE = "samples.csv"
"""Where expressions are to be filled in, if nobody said them."""

_OURS = {RECORDS, SETTINGS, PAGE, SUBJECTS, TABLE, "temperature", *(str(m) for m in MODALITIES)}
_AHEAD = 4


@dataclass(frozen=True)
class Progress:
    """How far it is: told after each sample.

    Attributes:
        done: Samples that are finished, those of earlier runs included.
        total: All of them.
        record: What became of the last one.
    """

    done: int
    total: int
    record: Record


@dataclass(frozen=True)
class Finished:
    """All samples are done; `folder` is about to get its name.

    Attributes:
        records: Of all samples.
        folder: Where they lie now.
        gone: Samples of an earlier run that are not there any more.
        fresh: Samples that were prepared now; all others are as an earlier run left them.
    """

    records: Sequence[Record]
    folder: Path
    gone: int = 0
    fresh: int = 0


def prepare_folder(
    samples: Sequence[Sample],
    preparation: Preparation,
    weights: Path | None,
    out: Path,
    *,
    source: Path = Path(),
    workers: int,
    overwrites: bool = False,
    advance: Callable[[Progress], None] = lambda _: None,
    finish: Callable[[Finished], None] = lambda _: None,
) -> list[Record]:
    """Prepares every sample and writes a data set, whole or not at all.

    Everything is written into a hidden folder beside `out`, which takes its name at the end. What
    a run that was stopped had finished stays there for the next one; what an earlier run put into
    `out` is taken over if its files are still the same. Memory holds a few samples at a time.

    Args:
        samples: As a reader gave them.
        preparation: What is done to each.
        weights: Of the face detector; None where no faces are looked for.
        out: The folder of the data set.
        source: Where the samples were read from; a folder is made of one source only.
        workers: Processes.
        overwrites: Whether a data set prepared in another way may be replaced.
        advance: Told after each sample.
        finish: Told before the folder gets its name: what it writes there appears with the rest.

    Returns:
        What became of each. If none is kept, nothing is written.

    Raises:
        ResultsError: `out` holds something else, or was prepared in another way.
    """
    settings = json.dumps({"data": str(source.resolve()), **preparation.to_json()}, indent=2)
    with hold(out):
        known = _check_folder(out, settings, overwrites)
        before = {name_files(r): r for r in _read_if_there(out / RECORDS)}
        subjects, table = read_filled(out / SUBJECTS), read_filled(out / TABLE)
        part = out.with_name(f".{out.name}.preparing")
        if part.exists() and _read_text(part / SETTINGS) != settings:
            shutil.rmtree(part)
        part.mkdir(parents=True, exist_ok=True)
        write_text(part / SETTINGS, settings)
        records = {r.sample_id: r for r in _read_if_there(part / RECORDS)}
        journal = part / RECORDS
        if not journal.exists():
            write_text(journal, write_records(()))
        todo: list[Sample] = []
        for sample in samples:
            old = records.get(sample.id) or known.get(sample.id)
            if old is None or old.source != _hash_sample(sample):
                todo.append(sample)
            elif sample.id not in records:
                _take_over(old, out, part)
                records[sample.id] = old
                _append(journal, old)
        done = len(samples) - len(todo)
        for prepared in _prepare_all(todo, preparation, weights, workers):
            # As the journal says it, so that a resumed run tells the same.
            record = Record.from_row(prepared.record.to_row())
            if record.kept:
                _write_pictures(prepared, part)
            records[record.sample_id] = record
            _append(journal, record)
            done += 1
            advance(Progress(done, len(samples), record))
        # Who is who may have been said, or corrected, since the pictures were prepared.
        finished = [replace(records[sample.id], subject=sample.subject or "") for sample in samples]
        if not any(record.kept for record in finished):
            shutil.rmtree(part)
            return finished
        _drop_others(part, finished)
        write_text(journal, write_records(finished))
        write_text(part / SUBJECTS, list_subjects(finished, subjects, before))
        if any(record.expression == UNLABELLED for record in finished):
            write_text(part / TABLE, list_samples(finished, table, before))
        gone = len(known.keys() - {sample.id for sample in samples})
        finish(Finished(finished, part, gone, fresh=len(todo)))
        _swap(part, out)
    return finished


def _prepare_all(
    samples: Sequence[Sample], preparation: Preparation, weights: Path | None, workers: int
) -> Iterator[Prepared]:
    """Gives each sample as it is finished, in order; a few are under way at a time."""
    if workers <= 1 or len(samples) <= 1:
        with one_thread():
            _open_detector(weights)
            for sample in samples:
                yield _prepare(sample, preparation)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(weights,)
    ) as pool:
        under_way: list[Future[Prepared]] = []
        queue = iter(samples)
        try:
            for sample in queue:
                under_way.append(pool.submit(_prepare, sample, preparation))
                if len(under_way) >= workers * _AHEAD:
                    yield under_way.pop(0).result()
            while under_way:
                yield under_way.pop(0).result()
        finally:
            for future in under_way:
                future.cancel()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps OpenCV and linear algebra to one thread for a while: many small steps gain nothing."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)


_detectors: list[FaceDetector | None] = []
"""Of this process: a worker reads the weights once."""


def _start_worker(weights: Path | None) -> None:
    # Small matrices gain nothing by threads, and workers would fight over the cores.
    cv2.setNumThreads(1)
    threadpool_limits(1)
    _open_detector(weights)


def _open_detector(weights: Path | None) -> None:
    _detectors[:] = [FaceDetector(weights) if weights is not None else None]


def _prepare(sample: Sample, preparation: Preparation) -> Prepared:
    try:
        return prepare_sample(sample, preparation, _detectors[0])
    except DataError as error:
        record = Record(
            sample.id, sample.expression, sample.subject or "", kept=False, reason=str(error),
            source=_hash_sample(sample),
        )  # fmt: skip
        return Prepared(record, {})


def _hash_sample(sample: Sample) -> str:
    """Gives the hash of the files of a sample; empty where one can't be read."""
    try:
        return hash_files(
            {m: read_bytes(sample.images[m]) for m in MODALITIES if m in sample.images}
        )
    except ImageError:
        return ""


def _check_folder(out: Path, settings: str, overwrites: bool) -> dict[str, Record]:
    """Gives what an earlier run made of each sample, if it may be taken over."""
    if not out.exists():
        return {}
    if not out.is_dir():
        raise ResultsError(f"{out} is a file: give --out the name of a folder.")
    if not (out / SETTINGS).is_file():
        if out.is_dir() and not any(out.iterdir()):
            return {}
        raise ResultsError(
            f"{out} is there already and was not made by 'ferfusion prepare': give --out another "
            "name, or move it away."
        )
    strange = sorted(path.name for path in out.iterdir() if path.name not in _OURS)
    if strange:
        raise ResultsError(
            f"{out} holds what 'ferfusion prepare' did not put there ({', '.join(strange[:5])}), "
            "and it would be lost: move it away, or give --out another name."
        )
    before = _read_text(out / SETTINGS)
    if before != settings:
        if overwrites:
            return {}
        raise ResultsError(
            f"{out} was prepared in another way ({_tell_difference(before, settings)}): give --out "
            "another name, or --overwrite to prepare it anew."
        )
    return {record.sample_id: record for record in read_records(out / RECORDS)}


def _tell_difference(before: str, now: str) -> str:
    try:
        old, new = json.loads(before), json.loads(now)
        changed = [f"{k} {old.get(k)}, now {v}" for k, v in new.items() if old.get(k) != v]
    except (ValueError, AttributeError):
        changed = []
    return "; ".join(changed) or f"its {SETTINGS} can't be read"


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _read_if_there(path: Path) -> list[Record]:
    """Reads the journal of a run that was stopped; a torn one counts as none."""
    try:
        return read_records(path) if path.is_file() else []
    except DataError:
        return []


def _append(journal: Path, record: Record) -> None:
    line = write_records((record,)).split("\n", 1)[1]
    with journal.open("a", encoding="utf-8", newline="") as stream:
        stream.write(line)


def _write_pictures(prepared: Prepared, folder: Path) -> None:
    for modality, picture in prepared.pictures.items():
        path = folder / picture_path(prepared.record, modality)
        with replacing(path) as part:
            part.write_bytes(_encode(picture))
    if prepared.temperature_c is not None:
        with replacing(folder / temperature_path(prepared.record)) as part, part.open("wb") as file:
            np.save(file, prepared.temperature_c)


def _encode(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    fine, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not fine:
        raise DataError("A picture can't be written as PNG.")
    return data.tobytes()


def _take_over(record: Record, out: Path, part: Path) -> None:
    """Links what an earlier run wrote, or copies it where links can't be."""
    for path in list_files(record):
        goal = part / path
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.unlink(missing_ok=True)
        try:
            goal.hardlink_to(out / path)
        except OSError:
            shutil.copy2(out / path, goal)


def _drop_others(part: Path, records: Sequence[Record]) -> None:
    """Removes pictures of samples that are gone, or aren't kept any more."""
    wanted = {part / path for record in records if record.kept for path in list_files(record)}
    for folder in (*(str(m) for m in MODALITIES), "temperature"):
        for path in (part / folder).rglob("*.*"):
            if path not in wanted:
                path.unlink()


def _swap(part: Path, out: Path) -> None:
    """Gives the finished folder its name; the one before it disappears only then."""
    before = out.with_name(f".{out.name}.before")
    if before.exists():
        shutil.rmtree(before)
    if out.exists():
        out.rename(before)
    part.rename(out)
    if before.exists():
        shutil.rmtree(before)
