"""Live cameras: always the latest frame, and what was dropped is counted."""

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import cv2

from ferfusion.errors import VideoError
from ferfusion.imaging.frame_matching import MOST_TOLERANCE_S, Moment
from ferfusion.imaging.video import Frame, hush, open_capture, read_picture, read_rate
from ferfusion.modality import Modality, find_ground

_SILENCE_S = 5.0
"""A camera that gives nothing for so long has stopped."""


class LiveCamera:
    """A camera that a thread of its own keeps reading; only the latest frame is kept.

    Whoever is too slow to look at all frames misses some, and never falls behind.

    Attributes:
        name: For people.
        rate_hz: Frames a second, as the camera says.
        n_frames: How many came.
        n_dropped: How many of them nobody took.
    """

    def __init__(self, address: str, *, began_s: float) -> None:
        """Opens the camera.

        Args:
            address: The number of a camera (0 is the first), a device or stream (`/dev/video2`,
                `rtsp://...`), or a video file, which is played as a camera would give it.
            began_s: What times count from, as `time.monotonic` says it.

        Raises:
            VideoError: There is no such camera.
        """
        self.name = f"camera {address}" if address.isdigit() else address
        self._is_file = Path(address).is_file()
        self._capture = _open(address)
        self.rate_hz = read_rate(self._capture)
        self.n_frames, self.n_dropped = 0, 0
        self._began_s = began_s
        self._latest: Frame | None = None
        self._is_taken = True
        self._is_over = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, name=self.name, daemon=True)
        self._thread.start()

    def wait(self) -> Frame | None:
        """Gives the next frame that nobody took, as soon as there is one; None: it has stopped."""
        with self._news:
            self._news.wait_for(lambda: self._is_over or not self._is_taken, _SILENCE_S)
            if self._is_taken:
                return None
            self._is_taken = True
            return self._latest

    def peek(self) -> Frame | None:
        """Gives the latest frame, also one that was taken before; None if there was none yet."""
        with self._news:
            self._is_taken = True
            return self._latest

    @property
    def has_stopped(self) -> bool:
        """Whether no more frames will come."""
        return self._is_over

    def close(self) -> None:
        """Lets the camera go."""
        self._is_over = True
        self._thread.join(_SILENCE_S)
        self._capture.release()

    def _read(self) -> None:
        while not self._is_over:
            picture = read_picture(self._capture)
            if picture is None:
                break
            if self._is_file:
                due_s = self._began_s + self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                time.sleep(max(0.0, due_s - time.monotonic()))
            frame = Frame(self.n_frames, time.monotonic() - self._began_s, picture)
            with self._news:
                self.n_dropped += not self._is_taken
                self._latest, self._is_taken = frame, False
                self.n_frames += 1
                self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()


class LiveMoments:
    """One camera or several: a moment for each latest frame of the ground.

    Attributes:
        rate_hz: Of the ground, as the camera says.
        names: Of the cameras, for people.
    """

    def __init__(
        self, addresses: Mapping[Modality, str], *, tolerance_s: float | None = None
    ) -> None:
        """Opens the cameras.

        Args:
            addresses: See `LiveCamera`; the ground is as `find_ground` says.
            tolerance_s: How long before the ground's frame another may have come; None is 0.2 s.

        Raises:
            VideoError: There is no such camera.
        """
        self._tolerance_s = MOST_TOLERANCE_S if tolerance_s is None else tolerance_s
        self._ground = find_ground(addresses)
        self._cameras: dict[Modality, LiveCamera] = {}
        self._n_unmatched = 0
        began_s = time.monotonic()
        try:
            for modality, address in addresses.items():
                self._cameras[modality] = LiveCamera(address, began_s=began_s)
        except VideoError:
            self.__exit__(None, None, None)
            raise
        self.rate_hz = self._cameras[self._ground].rate_hz
        self.names = " and ".join(f"{m} {c.name}" for m, c in self._cameras.items())

    def __enter__(self) -> "LiveMoments":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for camera in self._cameras.values():
            with suppress(RuntimeError):
                camera.close()

    def read(self) -> Generator[Moment, None, None]:
        """Gives moments until one of the cameras stops."""
        ground = self._cameras[self._ground]
        others = {m: c for m, c in self._cameras.items() if m is not self._ground}
        while (frame := ground.wait()) is not None:
            latest = {m: camera.peek() for m, camera in others.items()}
            pictures = {self._ground: frame.picture}
            for modality, other in latest.items():
                if other is not None and abs(frame.time_s - other.time_s) <= self._tolerance_s:
                    pictures[modality] = other.picture
            lacking = tuple(m for m in others if m not in pictures)
            if lacking and any(others[m].has_stopped for m in lacking):
                return
            self._n_unmatched += bool(lacking)
            yield Moment(frame.number, frame.time_s, pictures, lacking)

    def describe(self) -> list[str]:
        """Says what became of the frames."""
        said = [
            f"The {m} {camera.name} gave {camera.n_frames} frames; {camera.n_dropped} were dropped "
            "because a later one was there." + (" It stopped." if camera.has_stopped else "")
            for m, camera in self._cameras.items()
        ]
        if len(self._cameras) > 1:
            said.append(
                f"{self._n_unmatched} {self._ground} frames had no partner within "
                f"{self._tolerance_s:g} s."
            )
        return said


def _open(address: str) -> cv2.VideoCapture:
    if Path(address).is_file():
        return open_capture(Path(address))
    hush()
    capture = cv2.VideoCapture()
    with suppress(cv2.error):
        capture.open(int(address) if address.isdigit() else address)
    if not capture.isOpened():
        raise VideoError(_tell_unopened(address))
    return capture


def _tell_unopened(address: str) -> str:
    if "://" in address:
        return (
            f"The stream {address} can't be opened: check its address, user and password, and "
            "whether a player such as VLC shows it."
        )
    if address.isdigit() or address.startswith("/dev/"):
        return (
            f"There is no camera {address} that can be opened: see `ls /dev/video*` for numbers, "
            "whether another program uses it, and whether you may (group video)."
        )
    return (
        f"There is no camera or file {address}: give a camera's number (0 is the first), a device "
        "(/dev/video2), or an address (rtsp://...)."
    )
