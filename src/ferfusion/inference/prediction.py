"""From files to probabilities with a graph: one sample at once, or a stream of them to a CSV.

Nothing here or below it needs torch.
"""

import csv
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.atomic import replacing
from ferfusion.data.cache import resize
from ferfusion.errors import DataError, ImageError, ThermogramError
from ferfusion.imaging.files import decode_image, read_bytes
from ferfusion.imaging.heat_input import read_picture
from ferfusion.inference.engines import count_processors
from ferfusion.inference.graph_runner import GraphRunner, check_modalities
from ferfusion.modality import Modality
from ferfusion.preprocessing import HeatInput
from ferfusion.sample import ImageFile, Sample

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


def read_square(
    source: ImageFile | bytes,
    size_px: int,
    *,
    reduced: bool = False,
    heat: HeatInput | None = None,
) -> UInt8[np.ndarray, "size size 3"]:
    """Gives a picture as models look at it.

    Args:
        source: A file, or the bytes of one.
        size_px: Side of the square.
        reduced: Whether large JPEGs may be decoded at a half, a quarter or an eighth. It takes
            about half the time. From 500 px to 224 the pixels of photographs differ by 0.7 levels
            on average, 99 % of them by at most 5, the worst by 19.
        heat: How the temperatures in a file become a picture; None where it is one.

    Raises:
        DataError: It can't be used, or holds no temperatures; says why.
    """
    if heat is not None or (isinstance(source, ImageFile) and source.is_grid):
        if isinstance(source, bytes):
            raise DataError("This model looks at temperatures: give the path of a file with them.")
        return resize(read_picture(source, heat), size_px)
    at_least_px = size_px if reduced else None
    if isinstance(source, bytes):
        picture = decode_image("The picture", source, at_least_px=at_least_px)
    else:
        picture = decode_image(source, read_bytes(source), at_least_px=at_least_px)
    return resize(picture, size_px)


def predict_one(
    runner: GraphRunner,
    images: Mapping[Modality, ImageFile | bytes],
    *,
    reduced: bool = False,
    pool: ThreadPoolExecutor | None = None,
) -> Float[np.ndarray, " classes"]:
    """Gives the probabilities of one sample, as soon as can be.

    Args:
        runner: See `open_graph`.
        images: Where each modality's picture is.
        reduced: As in `read_square`.
        pool: Threads that decode the modalities side by side; None decodes them one by one.

    Raises:
        ConfigError: A modality is missing.
        ImageError: A picture can't be used.
    """
    modalities, size = runner.facts.modalities, runner.facts.size_px
    check_modalities(images, modalities)

    def read(modality: Modality) -> UInt8[np.ndarray, "1 size size 3"]:
        heat = runner.facts.heat_of(modality)
        return read_square(images[modality], size, reduced=reduced, heat=heat)[None]

    squares = map(read, modalities) if pool is None else pool.map(read, modalities)
    return runner.predict(dict(zip(modalities, squares, strict=True)))[0]


def predict_stream(
    runner: GraphRunner,
    samples: Iterable[Sample],
    *,
    batch_size: int = 4,
    workers: int | None = None,
    reduced: bool = False,
    tell_broken: TellBroken | None = None,
) -> Generator[Answer, None, None]:
    """Gives the answers for any number of samples, in their order, in flat memory.

    Each worker decodes a batch and asks the graph about it. So a runner of one thread
    (`open_graph(path, threads=1)`) keeps all processors busy, and none waits for another.

    Args:
        runner: See `open_graph`.
        samples: May be endless; only a few batches are ahead of what was taken.
        batch_size: Samples that are asked about together.
        workers: How many batches are worked on at once; None means one a processor.
        reduced: As in `read_square`.
        tell_broken: Told of samples with a picture that can't be used, which are left out. None
            makes the first of them an error.

    Raises:
        ConfigError: A sample lacks a modality.
        ImageError: A picture can't be used, and `tell_broken` is None.
    """
    workers = workers or count_processors()

    def work(batch: tuple[Sample, ...]) -> list[Answer | tuple[Sample, DataError]]:
        return _answer_batch(runner, batch, reduced)

    rest = iter(samples)
    waiting: deque[Future[list[Answer | tuple[Sample, DataError]]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(waiting) < workers + _AHEAD and (batch := tuple(islice(rest, batch_size))):
                waiting.append(pool.submit(work, batch))
            if not waiting:
                return
            for answer in waiting.popleft().result():
                if isinstance(answer, Answer):
                    yield answer
                elif tell_broken is None:
                    raise answer[1]
                else:
                    tell_broken(*answer)
    finally:
        pool.shutdown(cancel_futures=True)


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
    runner: GraphRunner, batch: tuple[Sample, ...], reduced: bool
) -> list[Answer | tuple[Sample, DataError]]:
    """Decodes a batch and asks about it; what can't be used comes back with its reason."""
    modalities, size = runner.facts.modalities, runner.facts.size_px
    answers: list[Answer | tuple[Sample, DataError] | None] = []
    squares: dict[Modality, list[np.ndarray]] = {m: [] for m in modalities}
    for sample in batch:
        check_modalities(sample.images, modalities)
        try:
            read = [
                read_square(sample.images[m], size, reduced=reduced, heat=runner.facts.heat_of(m))
                for m in modalities
            ]
        except (ImageError, ThermogramError) as error:
            answers.append((sample, error))
            continue
        answers.append(None)
        for modality, square in zip(modalities, read, strict=True):
            squares[modality].append(square)
    usable = sum(answer is None for answer in answers)
    if usable == 0:
        return [answer for answer in answers if answer is not None]
    rows = iter(runner.predict({m: np.stack(rows) for m, rows in squares.items()}))
    return [
        Answer(sample, next(rows).astype(np.float64)) if answer is None else answer
        for sample, answer in zip(batch, answers, strict=True)
    ]
