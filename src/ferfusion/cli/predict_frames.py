"""`ferfusion predict` on videos and live cameras."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ferfusion.cli.answer_table import draw_answer
from ferfusion.cli.frame_loop import Answer, FrameLoop, Look
from ferfusion.cli.predict_request import Request, choose_seen
from ferfusion.errors import DataError
from ferfusion.imaging.faces.detector import FaceDetector
from ferfusion.imaging.faces.following import EVERY
from ferfusion.imaging.faces.weights import fetch_weights
from ferfusion.imaging.frame_matching import Moment, VideoMoments
from ferfusion.imaging.live import LiveMoments
from ferfusion.inference.engines import count_processors
from ferfusion.inference.predictor import Predictor, Unusable
from ferfusion.modality import Modality, find_ground
from ferfusion.preparation.alignment import read_motion
from ferfusion.preparation.folder import one_thread
from ferfusion.preparation.frames import FrameCutter, find_motions
from ferfusion.preparation.recipe import Preparation

_TRIES = 5
_BATCH = 4
_MOST_WORKERS = 4
"""Frames wait in memory while they are asked about: these bound how many, on any machine."""


def run_videos(
    model: Predictor, request: Request, preparation: Preparation, console: Console
) -> bool:
    """Answers about every frame of a video, or of two; gives whether there was an answer."""
    seen, makes = _choose(model, request)
    moments = VideoMoments(
        {m: Path(request.sources[m]) for m in seen},
        offset_s=request.offset_s or 0.0,
        tolerance_s=request.tolerance_s,
    )
    # A try every half second: neighbours would say the same.
    step = max(1, round(moments.rate_hz / 2))
    with closing(moments.read()) as beginning:
        cutter = _make_cutter(request, preparation, seen, makes, beginning, step, console)
    loop = FrameLoop(model, request, cutter, makes, console)

    def ask(looks: Iterable[Look]) -> Generator[tuple[Look, Answer], None, None]:
        workers = min(count_processors(), _MOST_WORKERS)
        return model.predict_each(looks, loop.give, batch_size=_BATCH, workers=workers)

    with Progress(
        TextColumn("asking"), BarColumn(bar_width=28), TextColumn("{task.completed:.0f} frames"),
        TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        redirect_stdout=False,
    ) as bars:  # fmt: skip
        bar = bars.add_task("", total=moments.n_frames)
        did = loop.run(moments.read(), ask, moments.rate_hz, lambda _: bars.advance(bar))
    _tell(moments.describe(), request, console)
    return did


def run_cameras(
    model: Predictor, request: Request, preparation: Preparation, console: Console
) -> bool:
    """Answers about cameras until they stop or Ctrl-C; gives whether there was an answer."""
    seen, makes = _choose(model, request)
    addresses = {m: request.sources[m] for m in seen}
    with LiveMoments(addresses, tolerance_s=request.tolerance_s) as moments:
        console.print(f"Looking at {moments.names}. Ctrl-C ends it.", markup=False)
        with closing(moments.read()) as beginning:
            cutter = _make_cutter(request, preparation, seen, makes, beginning, 1, console)
        loop = FrameLoop(model, request, cutter, makes, console)

        def ask(looks: Iterable[Look]) -> Generator[tuple[Look, Answer], None, None]:
            # One by one: a batch would keep people waiting.
            for look in looks:
                try:
                    pictures = loop.give(look)
                    yield look, model.predict(**{str(m): p for m, p in pictures.items()})
                except DataError as error:
                    yield look, Unusable(str(error))

        with Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False
        ) as live:

            def show(answer: Answer) -> None:
                if console.is_terminal:
                    is_answer = not isinstance(answer, Unusable)
                    shown = draw_answer(answer, model.rule) if is_answer else answer.reason
                    live.update(shown, refresh=True)

            did = loop.run(moments.read(), ask, moments.rate_hz, show)
        _tell(moments.describe(), request, console)
    return did


def _choose(model: Predictor, request: Request) -> tuple[tuple[Modality, ...], bool]:
    finds_face = request.finds_face is not False
    return choose_seen(set(request.sources), model.modalities, finds_face=finds_face)


def _make_cutter(
    request: Request,
    preparation: Preparation,
    seen: tuple[Modality, ...],
    makes_msx: bool,
    beginning: Iterator[Moment],
    step: int,
    console: Console,
) -> FrameCutter | None:
    """Gives what cuts the face out of all pictures, after saying how they lie on each other."""
    if request.finds_face is False:
        return None
    detector = FaceDetector(fetch_weights())
    others = [m for m in seen if m is not find_ground(seen)]
    motions = {}
    if others and request.motion is not None:
        motions = dict.fromkeys(others, read_motion(request.motion))
    elif others:
        whole = (moment.pictures for moment in beginning if not moment.lacking)
        with one_thread():
            found = find_motions(islice(whole, 0, _TRIES * step, step), preparation)
        for modality, registration in found.items():
            motions[modality] = registration.motion
            console.print(
                f"How the {modality} frames lie on the {find_ground(seen)} ones: from the surest "
                f"of {_TRIES} moments (quality {registration.quality:.2f}), kept for all."
            )
    # Blending costs time, and only some models look at it.
    preparation = replace(preparation, makes_msx=makes_msx)
    return FrameCutter(preparation, detector, motions, every=request.every or EVERY)


def _tell(sentences: Iterable[str], request: Request, console: Console) -> None:
    for sentence in sentences:
        console.print(sentence, markup=False)
    for file in (request.out, request.video_out):
        if file is not None:
            console.print(f"Written: {file}", markup=False)
