"""From files to probabilities with a graph: one sample at once, or a stream of them to a CSV.

Nothing here or below it needs torch.
"""

import contextlib
import csv
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.atomic import replacing
from ferfusion.errors import DataError
from ferfusion.inference.engines import count_processors
from ferfusion.inference.pictures import Picture, read_square
from ferfusion.inference.runner import Runner, check_modalities
from ferfusion.modality import Modality
from ferfusion.sample import Sample

T = TypeVar("T")

TellBroken = Callable[[Sample, DataError], None]
"""Called with a sample that was left out, and why."""

_COLUMNS = ("sample_id", "subject", "label")  # then the classes: what `read_predictions` reads
_AHEAD = 2
"""Batches that may wait, above those being worked on."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model said about one sample.

    Attributes:
        sample: The one it was asked about.
        probs: One a class; they sum to 1.
    """

    sample: Sample
    probs: Float[np.ndarray, " classes"]


def predict_one(
    runner: Runner,
    pictures: Mapping[Modality, Picture],
    *,
    reduced: bool = False,
    pool: ThreadPoolExecutor | None = None,
) -> Float[np.ndarray, " classes"]:
    """Gives the probabilities of one sample, as soon as can be.

    Args:
        runner: See `open_graph`.
        pictures: Each modality's picture, in any form.
        reduced: As in `read_square`.
        pool: Threads that decode the modalities side by side; None decodes them one by one.

    Raises:
        ConfigError: A modality is missing.
        DataError: A picture can't be used.
    """
    check_modalities(pictures, runner.facts.modalities)

    def read(modality: Modality) -> UInt8[np.ndarray, "1 size size 3"]:
        return _read(runner, pictures, modality, reduced)[None]

    modalities = runner.facts.modalities
    squares = map(read, modalities) if pool is None else pool.map(read, modalities)
    return runner.predict(dict(zip(modalities, squares, strict=True)))[0]


def predict_each(
    runner: Runner,
    items: Iterable[T],
    pictures_of: Callable[[T], Mapping[Modality, Picture]],
    *,
    batch_size: int = 4,
    workers: int | None = None,
    reduced: bool = False,
) -> Generator[tuple[T, Float[np.ndarray, " classes"] | DataError], None, None]:
    """Gives the probabilities for any number of things, in their order, in flat memory.

    Each worker decodes a batch and asks the graph about it. So a runner of one thread
    (`open_graph(path, threads=1)`) keeps all processors busy, and none waits for another.

    Args:
        runner: See `open_graph`.
        items: May be endless; only a few batches are ahead of what was taken.
        pictures_of: Gives the pictures of one of them, in the thread of a worker. A `DataError`
            that it raises is that item's answer.
        batch_size: How many are asked about together.
        workers: How many batches are worked on at once; None means one a processor.
        reduced: As in `read_square`.

    Returns:
        Each with its probabilities, or with the reason why its pictures can't be used.

    Raises:
        ConfigError: One lacks a modality.
    """
    workers = workers or count_processors()

    def work(batch: tuple[T, ...]) -> list[tuple[T, Float[np.ndarray, " classes"] | DataError]]:
        return _answer_batch(runner, batch, pictures_of, reduced)

    rest = iter(items)
    waiting: deque[Future[list[tuple[T, Float[np.ndarray, " classes"] | DataError]]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(waiting) < workers + _AHEAD and (batch := tuple(islice(rest, batch_size))):
                waiting.append(pool.submit(work, batch))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def predict_stream(
    runner: Runner,
    samples: Iterable[Sample],
    *,
    batch_size: int = 4,
    workers: int | None = None,
    reduced: bool = False,
    tell_broken: TellBroken | None = None,
) -> Generator[Answer, None, None]:
    """Gives the answers for the samples of a data set, as `predict_each` does.

    Args:
        runner: See `predict_each`, as for all else.
        samples: May be endless.
        batch_size: Samples that are asked about together.
        workers: How many batches are worked on at once.
        reduced: As in `read_square`.
        tell_broken: Told of samples with a picture that can't be used, which are left out. None
            makes the first of them an error.

    Raises:
        ConfigError: A sample lacks a modality.
        DataError: A picture can't be used, and `tell_broken` is None.
    """
    answers = predict_each(
        runner,
        samples,
        lambda sample: sample.images,
        batch_size=batch_size,
        workers=workers,
        reduced=reduced,
    )
    with contextlib.closing(answers):
        for sample, probs in answers:
            if not isinstance(probs, DataError):
                yield Answer(sample, probs)
            elif tell_broken is None:
                raise probs
            else:
                tell_broken(sample, probs)


def write_answers(answers: Iterable[Answer], classes: tuple[str, ...], path: Path) -> int:
    """Writes answers as they come, as a table that `read_predictions` reads.

    Args:
        answers: Of `predict_stream`.
        classes: In the order of the probabilities.
        path: Of the CSV, which appears whole or not at all.

    Returns:
        How many there were.

    Raises:
        DataError: A sample's expression is none of the classes.
    """
    count = 0
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*_COLUMNS, *classes))
        for answer in answers:
            sample = answer.sample
            if sample.expression not in classes:
                raise DataError(
                    f"Sample {sample.id} shows '{sample.expression}', and the model knows only "
                    f"{', '.join(classes)}. Leave such samples out, or rename their class."
                )
            probs = (repr(float(p)) for p in answer.probs)
            writer.writerow((sample.id, sample.subject or "", sample.expression, *probs))
            count += 1
    return count


def _answer_batch(
    runner: Runner,
    batch: Sequence[T],
    pictures_of: Callable[[T], Mapping[Modality, Picture]],
    reduced: bool,
) -> list[tuple[T, Float[np.ndarray, " classes"] | DataError]]:
    """Decodes a batch and asks about it; what can't be used comes back with its reason."""
    modalities = runner.facts.modalities
    broken: dict[int, DataError] = {}
    squares: dict[Modality, list[np.ndarray]] = {m: [] for m in modalities}
    for row, item in enumerate(batch):
        try:
            given = pictures_of(item)
            check_modalities(given, modalities)
            read = [_read(runner, given, modality, reduced) for modality in modalities]
        except DataError as error:
            broken[row] = error
            continue
        for modality, square in zip(modalities, read, strict=True):
            squares[modality].append(square)
    if len(broken) == len(batch):
        return [(item, broken[row]) for row, item in enumerate(batch)]
    rows = iter(runner.predict({m: np.stack(rows) for m, rows in squares.items()}))
    return [
        (item, broken[row] if row in broken else next(rows).astype(np.float64))
        for row, item in enumerate(batch)
    ]


def _read(
    runner: Runner, pictures: Mapping[Modality, Picture], modality: Modality, reduced: bool
) -> UInt8[np.ndarray, "size size 3"]:
    facts = runner.facts
    return read_square(
        pictures[modality],
        facts.size_px,
        name=f"The {modality} picture",
        reduced=reduced,
        heat=facts.heat_of(modality),
    )
