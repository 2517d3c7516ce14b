"""From moments of videos or cameras to lines, counts and an annotated video."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from ferfusion.cli.answer_table import Tally
from ferfusion.cli.predict_request import Request
from ferfusion.errors import DataError
from ferfusion.imaging.annotation import annotate
from ferfusion.imaging.faces.detector import Face
from ferfusion.imaging.frame_matching import Moment
from ferfusion.imaging.video import Frame, writing_video
from ferfusion.inference.answer_lines import Columns, Line, choose_format, writing_lines
from ferfusion.inference.pictures import Picture, make_msx
from ferfusion.inference.predictor import Prediction, Predictor, Unusable
from ferfusion.inference.smoothing import SMOOTH_S, Smoother
from ferfusion.modality import MODALITIES, Modality
from ferfusion.preparation.folder import one_thread
from ferfusion.preparation.frames import FrameCutter
from ferfusion.preparation.shot import Pictures

Answer = Prediction | Unusable


@dataclass(frozen=True, eq=False)
class Look:
    """A moment as the model is asked about it.

    Attributes:
        moment: As it was seen.
        pictures: Cut out, or as they are; none where there is a reason.
        reason: Why there can't be an answer; or empty.
        face: Where it was found.
        laid: The whole pictures in one frame.
    """

    moment: Moment
    pictures: Pictures
    reason: str
    face: Face | None
    laid: Pictures


Ask = Callable[[Iterable[Look]], Generator[tuple[Look, Answer], None, None]]


@dataclass(frozen=True, eq=False)
class FrameLoop:
    """What happens to each moment.

    Attributes:
        model: Is asked.
        request: The command line.
        cutter: Cuts faces out; None takes frames as they are.
        makes_msx: Whether MSX-style pictures are made.
        console: For people.
    """

    model: Predictor
    request: Request
    cutter: FrameCutter | None
    makes_msx: bool
    console: Console

    def run(
        self, moments: Iterator[Moment], ask: Ask, rate_hz: float, show: Callable[[Answer], None]
    ) -> bool:
        """Asks about every moment and writes what is wanted.

        Args:
            moments: In their order; may be endless.
            ask: Gives an answer for each look, in their order.
            rate_hz: Of the annotated video.
            show: Called with each answer.

        Returns:
            Whether there was an answer.
        """
        request = self.request
        smooth_s = SMOOTH_S if request.smooth_s is None else request.smooth_s
        self._tell_ways(smooth_s)
        smoother = Smoother(smooth_s) if smooth_s else None
        tally, begun_s = Tally(self.model.labels), time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(one_thread())
            columns = Columns(("frame", "time_s"), self.model.labels, has_raw=smoother is not None)
            write = draw = None
            if request.out is not None or request.is_for_programs:
                form = choose_format(request.out, request.form)
                write = stack.enter_context(
                    writing_lines(request.out, form, columns, grows=request.is_live)
                )
            if request.video_out is not None:
                draw = stack.enter_context(writing_video(request.video_out, rate_hz))
            looks = map(self._look, self._until_end(moments))
            answers = stack.enter_context(closing(ask(looks)))
            try:
                for look, answer in answers:
                    line = self._smooth(look.moment, answer, smoother)
                    tally.add(line)
                    if write is not None:
                        write(line)
                    if draw is not None:
                        draw(_draw(look, line.answer))
                    show(line.answer)
            except KeyboardInterrupt:
                # It is how one ends with cameras; of a video nothing is written then.
                if not request.is_live:
                    raise
        tally.print(self.console, "frames", time.monotonic() - begun_s)
        return tally.n_answered > 0

    def give(self, look: Look) -> Mapping[Modality, Picture]:
        """Gives the pictures that the model looks at of a moment.

        Raises:
            DataError: There are none; says why.
        """
        if look.reason:
            raise DataError(look.reason)
        pictures: dict[Modality, Picture] = dict(look.pictures)
        if self.makes_msx and Modality.MSX not in pictures:
            pictures[Modality.MSX] = make_msx(
                pictures[Modality.VISIBLE], pictures[Modality.INFRARED]
            )
        return {m: pictures[m] for m in self.model.modalities}

    def _tell_ways(self, smooth_s: float) -> None:
        if self.makes_msx:
            self.console.print("MSX-style pictures are made of visible and infrared.")
        if smooth_s:
            self.console.print(
                f"Probabilities are smoothed over {smooth_s:g} s (--smooth 0 turns it off)."
            )

    def _until_end(self, moments: Iterator[Moment]) -> Iterator[Moment]:
        begun_s, limit_s = None, self.request.seconds
        for moment in moments:
            begun_s = moment.time_s if begun_s is None else begun_s
            if limit_s is not None and moment.time_s - begun_s >= limit_s:
                return
            yield moment

    def _look(self, moment: Moment) -> Look:
        seen = moment.pictures
        if moment.lacking:
            reason = f"no {' and no '.join(moment.lacking)} frame is near in time"
            return Look(moment, {}, reason, None, seen)
        if self.cutter is None:
            return Look(moment, seen, "", None, seen)
        cut = self.cutter.cut(seen)
        return Look(moment, cut.pictures, cut.reason, cut.face, cut.laid)

    def _smooth(self, moment: Moment, answer: Answer, smoother: Smoother | None) -> Line:
        about = {"frame": moment.number, "time_s": round(moment.time_s, 3)}
        if smoother is None or isinstance(answer, Unusable):
            return Line(about, answer)
        probs = np.array(list(answer.probabilities.values()))
        smoothed = self.model.interpret(smoother.add(probs, moment.time_s))
        return Line(about, smoothed, raw=answer.probabilities)


def _draw(look: Look, answer: Answer) -> Frame:
    """Gives the frame with the answer on it."""
    is_sure = False
    if isinstance(answer, Unusable):
        words = answer.reason
    elif answer.abstained:
        words = f"would rather not say ({answer.label} {answer.confidence:.2f})"
    else:
        words, is_sure = f"{answer.label} {answer.confidence:.2f}", True
    ground, *others = [look.laid[m] for m in MODALITIES if m in look.laid]
    picture = annotate(
        ground,
        words,
        is_sure=is_sure,
        time_s=look.moment.time_s,
        face=look.face,
        inset=others[0] if others else None,
    )
    return Frame(look.moment.number, look.moment.time_s, picture)
