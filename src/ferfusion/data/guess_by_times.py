"""Who is who by bursts in time: pictures that were taken in one go, between longer pauses.

Only the time that the camera wrote into the EXIF counts. The time at which a file was changed
says when it was copied, so it is never looked at.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

import numpy as np
from jaxtyping import Float, Int

from ferfusion.data.dataset import Dataset
from ferfusion.data.guess import Grouping, Guess
from ferfusion.errors import ImageError
from ferfusion.imaging.files import read_taken_at
from ferfusion.sample import Sample

_N_TRIED = 20
_LEAST_RATIO = 3.0
_CLEAR_RATIO = 20.0
_LEAST_SESSIONS = 3
_MOST_CONFIDENCE = 0.7
"""One person may sit twice, and two may follow each other at once: times alone are never sure."""


def group_by_times(dataset: Dataset) -> Grouping:
    """Groups samples into sessions: what was taken with no long pause between.

    A pause is long if it is several times longer than the longest short one. Its confidence is a
    product: how many times longer, how many samples lie in sessions with several classes, how
    many have a time; and at most 0.7.
    """
    samples = dataset.samples
    tried = samples[:: max(1, len(samples) // _N_TRIED)]
    if not any(_read_time(sample) for sample in tried):
        return Grouping(
            "times",
            f"None of {len(tried)} samples that were tried says when it was taken (EXIF "
            "DateTimeOriginal). When a file was changed says nothing: copying changes that.",
        )
    times = {sample.id: time for sample in samples if (time := _read_time(sample)) is not None}
    return group_moments(times, {sample.id: sample.expression for sample in samples})


def group_moments(times: Mapping[str, datetime], expression_of: Mapping[str, str]) -> Grouping:
    """Does what `group_by_times` does with times that were read before.

    Args:
        times: Of samples, by id.
        expression_of: Of all samples, those without a time too.
    """
    order = sorted(times, key=lambda i: (times[i], i))
    seconds = np.array([(times[i] - datetime.min).total_seconds() for i in order])
    gaps_s = np.diff(seconds)
    best: tuple[float, float, Int[np.ndarray, " samples"]] | None = None
    for longest_short_s, ratio in _list_breaks(gaps_s):
        session_of = np.concatenate(([0], np.cumsum(gaps_s > longest_short_s)))
        n_sessions = int(session_of[-1]) + 1
        if not _LEAST_SESSIONS <= n_sessions <= len(order) / 2:
            continue
        clearness = min(np.log(ratio) / np.log(_CLEAR_RATIO), 1.0)
        spread = _share_with_classes(session_of, [expression_of[i] for i in order])
        rating = float(clearness * spread * (1 - 1 / n_sessions))
        if best is None or rating > best[0]:
            best = (rating, longest_short_s, session_of)
    confidence = _MOST_CONFIDENCE * best[0] * len(times) / len(expression_of) if best else 0.0
    if best is None or confidence < 0.2:
        return Grouping(
            "times",
            f"{len(times)} of {len(expression_of)} samples say when they were taken, but no pauses "
            "part them into sessions that hold several classes each.",
        )
    return _tell(order, seconds, best[2], confidence, best[1], expression_of)


def _read_time(sample: Sample) -> datetime | None:
    for file in sample.images.values():
        try:
            taken_at = read_taken_at(file)
        except ImageError:  # Whoever reads the picture says so.
            continue
        if taken_at is not None:
            return taken_at
    return None


def _list_breaks(gaps_s: Float[np.ndarray, " gaps"]) -> list[tuple[float, float]]:
    """Lists the longest short gap and how many times longer the next one is, of each wide jump."""
    lengths = np.unique(gaps_s)
    # A second more: two pictures within one second are no infinite factor closer.
    ratios = (lengths[1:] + 1) / (lengths[:-1] + 1)
    return [
        (float(length), float(ratio))
        for length, ratio in zip(lengths[:-1], ratios, strict=True)
        if ratio >= _LEAST_RATIO
    ]


def _share_with_classes(session_of: Int[np.ndarray, " samples"], expressions: list[str]) -> float:
    classes: dict[int, set[str]] = defaultdict(set)
    for session, expression in zip(session_of.tolist(), expressions, strict=True):
        classes[session].add(expression)
    return float(np.mean([len(classes[session]) > 1 for session in session_of.tolist()]))


def _tell(
    order: list[str],
    seconds: Float[np.ndarray, " samples"],
    session_of: Int[np.ndarray, " samples"],
    confidence: float,
    longest_short_s: float,
    expression_of: Mapping[str, str],
) -> Grouping:
    guesses: dict[str, Guess] = {}
    n_sessions = int(session_of[-1]) + 1
    digits = len(str(n_sessions))
    for session in range(n_sessions):
        (places,) = np.nonzero(session_of == session)
        members = [order[place] for place in places]
        n_classes = len({expression_of[i] for i in members})
        lasted_s = float(seconds[places[-1]] - seconds[places[0]])
        how = f"taken within {_say_span(lasted_s)}, {len(members)} samples of {n_classes} classes"
        sure = confidence * (1.0 if n_classes > 1 else 0.5)
        guess = Guess(f"session{session + 1:0{digits}}", sure, how)
        guesses |= dict.fromkeys(members, guess)
    return Grouping(
        "times",
        f"By times: {n_sessions} sessions, parted by pauses of more than "
        f"{_say_span(longest_short_s)}.",
        confidence,
        guesses,
    )


def _say_span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
