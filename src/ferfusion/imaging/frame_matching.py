"""Which frames of two videos show one moment: by their times, whatever was dropped."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ferfusion.imaging.video import Frame, probe_video, read_frames
from ferfusion.modality import Modality, find_ground

MOST_TOLERANCE_S = 0.2
"""In that time a face may have changed what it does."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What is seen at one moment.

    Attributes:
        number: Of the frame that the others are matched to.
        time_s: Likewise.
        pictures: Of the modalities that have a frame then.
        lacking: Those that have none near in time.
    """

    number: int
    time_s: float
    pictures: Mapping[Modality, UInt8[np.ndarray, "_ _ 3"]]
    lacking: tuple[Modality, ...] = ()


class NearestFrames:
    """The frames of one video, asked for by the times of another.

    Holds two frames, however long the videos are. A frame may be the nearest one of several times:
    so a slow infrared camera goes with a fast visible one.

    Attributes:
        n_unused: How many frames have been passed over, because none of the times was nearest.
    """

    def __init__(
        self, frames: Iterator[Frame], *, tolerance_s: float, offset_s: float = 0.0
    ) -> None:
        """Begins with the first frame.

        Args:
            frames: With times that rise.
            tolerance_s: How far a frame's time may be from the one asked for.
            offset_s: How much later than the other video this one was started.
        """
        self._frames = frames
        self._tolerance_s, self._offset_s = tolerance_s, offset_s
        self._held: Frame | None = None
        self._next = next(frames, None)
        self._is_used = True
        self.n_unused = 0

    def at(self, time_s: float) -> Frame | None:
        """Gives the frame nearest to a time, the later of two as near; None if none is near.

        Args:
            time_s: On the clock of the other video; not before the last one asked for.
        """
        while self._next is not None and (
            self._held is None or self._gap(self._next, time_s) <= self._gap(self._held, time_s)
        ):
            self.n_unused += not self._is_used
            self._held, self._next = self._next, next(self._frames, None)
            self._is_used = False
        if self._held is None or self._gap(self._held, time_s) > self._tolerance_s:
            return None
        self._is_used = True
        return self._held

    def _gap(self, frame: Frame, time_s: float) -> float:
        return abs(frame.time_s + self._offset_s - time_s)


def choose_tolerance(*rates_hz: float) -> float:
    """Gives how far apart two frames of one moment may be: one frame of the slowest video.

    So a single dropped frame is bridged by its neighbour, also where times are not quite even. At
    most 0.2 s.

    >>> round(choose_tolerance(25.0, 12.5), 3)
    0.088
    """
    return min(1.1 / min(rates_hz), MOST_TOLERANCE_S)


class VideoMoments:
    """Several videos of one scene, or one: a moment for each frame of the ground.

    Attributes:
        rate_hz: Of the ground.
        n_frames: Of the ground, as its file says; None where it doesn't.
    """

    def __init__(
        self,
        paths: Mapping[Modality, Path],
        *,
        offset_s: float = 0.0,
        tolerance_s: float | None = None,
    ) -> None:
        """Looks at every video.

        Args:
            paths: At least one; the ground is as `find_ground` says.
            offset_s: How much later than the ground the others were started.
            tolerance_s: How far apart frames of one moment may be; None: see `choose_tolerance`.

        Raises:
            VideoError: One can't be read.
        """
        self._ground = find_ground(paths)
        self._paths, self._offset_s = paths, offset_s
        facts = {modality: probe_video(path) for modality, path in paths.items()}
        self.rate_hz = facts[self._ground].rate_hz
        self.n_frames = facts[self._ground].n_frames
        rates = (fact.rate_hz for fact in facts.values())
        self.tolerance_s = choose_tolerance(*rates) if tolerance_s is None else tolerance_s
        self._n_read, self._n_unmatched, self._has_ended = 0, 0, False
        self._unused: dict[Modality, int] = {}

    def read(self) -> Generator[Moment, None, None]:
        """Gives the moments from the beginning."""
        self._n_read, self._n_unmatched, self._has_ended = 0, 0, False
        with ExitStack() as stack:
            streams = {
                m: stack.enter_context(closing(read_frames(path)))
                for m, path in self._paths.items()
            }
            others = {
                m: NearestFrames(stream, tolerance_s=self.tolerance_s, offset_s=self._offset_s)
                for m, stream in streams.items()
                if m is not self._ground
            }
            for frame in streams[self._ground]:
                near = {m: other.at(frame.time_s) for m, other in others.items()}
                pictures = {m: found.picture for m, found in near.items() if found is not None}
                lacking = tuple(m for m, found in near.items() if found is None)
                unused = {m: other.n_unused for m, other in others.items()}
                pictures = {self._ground: frame.picture, **pictures}
                yield Moment(frame.number, frame.time_s, pictures, lacking)
                # Not of the moment at which whoever takes them stops.
                self._n_read += 1
                self._n_unmatched += bool(lacking)
                self._unused = unused
            self._has_ended = True

    def describe(self) -> list[str]:
        """Says how the frames read so far went together."""
        said: list[str] = []
        if len(self._paths) > 1:
            unused = ", ".join(f"{n} {m}" for m, n in self._unused.items())
            said.append(
                f"By time, {self._n_read - self._n_unmatched} of {self._n_read} {self._ground} "
                f"frames have a partner within {self.tolerance_s:.3f} s, {self._n_unmatched} have "
                f"none; frames in between that nobody needed: {unused}."
            )
        is_short = self.n_frames is not None and self._n_read < 0.95 * self.n_frames
        if self._has_ended and is_short:
            said.append(
                f"{self._paths[self._ground]} says that it has {self.n_frames} frames, and "
                f"{self._n_read} were read."
            )
        return said
