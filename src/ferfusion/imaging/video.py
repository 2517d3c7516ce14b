"""Videos as frames with times: read one after the other, and written whole or not at all."""

import math
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from ferfusion.atomic import replacing
from ferfusion.errors import ConfigError, VideoError
from ferfusion.imaging.files import MAX_MEGAPIXELS

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg",
                            ".wmv", ".3gp", ".ts", ".mts", ".flv", ".ogv", ".mjpeg"})  # fmt: skip
SOUND_SUFFIXES = frozenset({".mp3", ".wav", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac",
                            ".wma", ".aiff"})  # fmt: skip

_WRITTEN = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""What the wheel of OpenCV can write without a codec of the system."""
_USUAL_RATE_HZ = 25.0
_RATES_HZ = (0.1, 240.0)
_LONGEST_GAP_S = 10.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video or of a live camera.

    Attributes:
        number: From 0.
        time_s: Since the first one, or since the cameras were started.
        picture: RGB, upright.
    """

    number: int
    time_s: float
    picture: UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class VideoFacts:
    """What a video says about itself.

    Attributes:
        width: Of its first frame, in pixels.
        height: Likewise.
        rate_hz: Frames a second; a usual value where it says nothing that makes sense.
        n_frames: How many there should be; None where nobody knows.
    """

    width: int
    height: int
    rate_hz: float
    n_frames: int | None


def probe_video(path: Path) -> VideoFacts:
    """Gives what a video says about itself, after a look at its first frame.

    Raises:
        VideoError: It is missing, no video, sound alone, or without frames.
    """
    capture = open_capture(path)
    try:
        rate_hz, n_frames = read_rate(capture), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    frames = read_frames(path)
    try:
        height, width = next(frames).picture.shape[:2]
    finally:
        frames.close()
    return VideoFacts(width, height, rate_hz, n_frames if n_frames > 0 else None)


def read_frames(path: Path) -> Generator[Frame, None, None]:
    """Gives the frames of a video one after the other, with the times that the file gives them.

    Where the file gives none, or one that goes back, a frame follows the last one at the video's
    rate. A damaged end is the end.

    Raises:
        VideoError: As `probe_video`.
    """
    capture = open_capture(path)
    try:
        step_s, last_s, number = 1 / read_rate(capture), -math.inf, 0
        while (picture := read_picture(capture)) is not None:
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if not (math.isfinite(time_s) and time_s > last_s):
                time_s = last_s + step_s if number else 0.0
            yield Frame(number, time_s, picture)
            last_s, number = time_s, number + 1
        if not number:
            raise VideoError(
                f"{path} has no frame that can be read: play it to see whether it is damaged, or "
                "convert it to MP4."
            )
    finally:
        capture.release()


def open_capture(path: Path) -> cv2.VideoCapture:
    """Opens a video file, and refuses pictures that are too large before one is decoded.

    Raises:
        VideoError: It is missing, or no video that can be read.
    """
    if not path.exists():
        raise VideoError(f"There is nothing at {path.absolute()}. Check the spelling of the path.")
    if path.suffix.lower() in SOUND_SUFFIXES:
        raise VideoError(f"{path} is sound without pictures: give the video.")
    hush()
    # Named, because OpenCV would otherwise take a picture for the first one of a sequence.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise VideoError(
            f"{path} can't be read as a video: it is damaged, cut short, or of a kind that isn't "
            "known. Copy it again, or convert it to MP4."
        )
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if width * height > MAX_MEGAPIXELS * 1e6:
        capture.release()
        raise VideoError(
            f"The frames of {path} have more than {MAX_MEGAPIXELS} megapixels: save it smaller."
        )
    return capture


def read_rate(capture: cv2.VideoCapture) -> float:
    """Gives frames a second as the source says, or a usual value where that makes no sense."""
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    return rate_hz if _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1] else _USUAL_RATE_HZ


def read_picture(capture: cv2.VideoCapture) -> UInt8[np.ndarray, "height width 3"] | None:
    """Gives the next picture in RGB, or None where there is no more."""
    try:
        is_there, picture = capture.read()
    except cv2.error:
        return None
    if not is_there or picture is None:
        return None
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def hush() -> None:
    """Keeps OpenCV and FFmpeg from writing to the terminal: we say it in a sentence."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(0)


def check_video_out(path: Path) -> None:
    """Refuses the name of a video that can't be written.

    Raises:
        ConfigError: Says which endings can.
    """
    if path.suffix.lower() not in _WRITTEN:
        raise ConfigError(
            f"{path} has no ending of a video that is written: use {', '.join(_WRITTEN)}."
        )


@contextmanager
def writing_video(path: Path, rate_hz: float) -> Iterator[Callable[[Frame], None]]:
    """Gives a function that writes frames; the file appears when the block ends well.

    The video has an even rate, so each frame stands until the time of the next one. A gap of more
    than ten seconds is cut to that.

    Args:
        path: See `check_video_out`.
        rate_hz: Of the video.

    Raises:
        VideoError: It can't be written.
    """
    check_video_out(path)
    hush()
    with replacing(path) as part:
        # FFmpeg goes by the ending of the name.
        growing = part.with_name(part.name + path.suffix)
        writer = _EvenWriter(growing, rate_hz)
        try:
            yield writer.add
            writer.finish()
            if growing.exists():
                growing.replace(part)
            else:
                raise VideoError(f"No frame was written, so there is no {path}.")
        finally:
            writer.finish()
            growing.unlink(missing_ok=True)


class _EvenWriter:
    """Writes frames at an even rate, the last one again where none came."""

    def __init__(self, path: Path, rate_hz: float) -> None:
        self._path, self._rate_hz = path, rate_hz
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0
        self._start_s, self._last_s = 0.0, 0.0
        self._held: np.ndarray | None = None

    def add(self, frame: Frame) -> None:
        """Writes what was held up to the time of this frame, and holds this one."""
        height, width = frame.picture.shape[:2]
        if self._writer is None:
            self._open(width, height)
            self._start_s = self._last_s = frame.time_s
        gap_s = frame.time_s - self._last_s
        self._start_s += max(0.0, gap_s - _LONGEST_GAP_S)
        self._last_s = frame.time_s
        self._write_until(round((frame.time_s - self._start_s) * self._rate_hz))
        self._held = cv2.cvtColor(frame.picture, cv2.COLOR_RGB2BGR)
        if (width, height) != self._size:
            self._held = cv2.resize(self._held, self._size)

    def finish(self) -> None:
        """Writes the last frame and closes the file."""
        if self._writer is not None:
            self._write_until(self._written + 1)
            self._writer.release()
            self._writer = None

    def _write_until(self, count: int) -> None:
        if self._writer is None or self._held is None:
            return
        for _ in range(self._written, count):
            self._writer.write(self._held)
        self._written = max(self._written, count)

    def _open(self, width: int, height: int) -> None:
        # Codecs want even sides.
        self._size = (max(2, width // 2 * 2), max(2, height // 2 * 2))
        code = cv2.VideoWriter.fourcc(*_WRITTEN[self._path.suffix.lower()])
        self._writer = cv2.VideoWriter(
            str(self._path), cv2.CAP_FFMPEG, code, self._rate_hz, self._size
        )
        if not self._writer.isOpened():
            raise VideoError(f"{self._path.name} can't be written as a video of this kind here.")
