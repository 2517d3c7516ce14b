"""Frames of videos with their times, and which of two videos belong together."""

import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.errors import ConfigError, VideoError
from ferfusion.imaging.frame_matching import NearestFrames, VideoMoments
from ferfusion.imaging.live import LiveCamera, LiveMoments
from ferfusion.imaging.video import Frame, probe_video, read_frames, writing_video
from ferfusion.modality import Modality

V, IR = Modality.VISIBLE, Modality.INFRARED
WriteVideo = Callable[..., Path]


def grey(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def levels(n: int) -> list[np.ndarray]:
    return [grey(10 * i) for i in range(n)]


def test_frames_have_the_times_of_the_file(tmp_path: Path, write_video: WriteVideo) -> None:
    times = [0.0, 0.1, 0.2, 0.5, 0.6, 1.3]
    video = write_video(tmp_path / "v.mp4", levels(6), times_s=times)
    frames = list(read_frames(video))
    assert [f.number for f in frames] == list(range(6))
    assert [f.time_s for f in frames] == pytest.approx(times, abs=0.002)
    assert [round(float(f.picture.mean()), -1) for f in frames] == [0, 10, 20, 30, 40, 50]


def test_colours_are_in_the_order_of_everything_else(
    tmp_path: Path, write_video: WriteVideo
) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 220
    (frame,) = read_frames(write_video(tmp_path / "v.mp4", [red]))
    assert frame.picture[..., 0].mean() > 180
    assert frame.picture[..., 1:].mean() < 40


def test_what_a_video_says_about_itself(tmp_path: Path, write_video: WriteVideo) -> None:
    facts = probe_video(write_video(tmp_path / "v.mp4", levels(7), rate_hz=12.5))
    assert (facts.width, facts.height, facts.rate_hz, facts.n_frames) == (64, 48, 12.5, 7)


def test_what_is_no_video_is_named(tmp_path: Path, write_video: WriteVideo) -> None:
    with wave.open(str(tmp_path / "s.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    whole = write_video(tmp_path / "v.mp4", levels(5)).read_bytes()
    (tmp_path / "junk.mp4").write_bytes(b"junk" * 500)
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "sound.mp4").write_bytes((tmp_path / "s.wav").read_bytes())
    for name, words in (
        ("s.wav", "is sound without pictures"),
        ("junk.mp4", "can't be read as a video"),
        ("cut.mp4", "can't be read as a video"),
        ("empty.mp4", "can't be read as a video"),
        ("sound.mp4", "can't be read as a video"),
        ("gone.mp4", "There is nothing at"),
    ):
        with pytest.raises(VideoError, match=words):
            probe_video(tmp_path / name)


def test_a_video_without_frames_is_named(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "v.mp4", levels(3))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : data.index(b"moov") - 4] = bytes(data.index(b"moov") - 4 - start)
    path.write_bytes(data)
    with pytest.raises(VideoError, match="no frame that can be read"):
        list(read_frames(path))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_a_written_video_lasts_as_long_as_it_should(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with writing_video(path, 10.0) as write:
        for number, time_s in enumerate((0.0, 0.1, 0.5, 0.6)):  # three frames were dropped
            assert not path.exists()
            write(Frame(number, time_s, grey(50 * number, 65, 49)))
    shown = [round(float(f.picture.mean()), -1) for f in read_frames(path)]
    assert shown == [0, 50, 50, 50, 50, 100, 150]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def break_off(path: Path) -> None:
    with writing_video(path, 10.0) as write:
        write(Frame(0, 0.0, grey(1)))
        raise RuntimeError


def write_nothing(path: Path) -> None:
    with writing_video(path, 10.0):
        pass


def test_a_video_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        break_off(tmp_path / "out.mp4")
    with pytest.raises(VideoError, match="No frame was written"):
        write_nothing(tmp_path / "out.mp4")
    with pytest.raises(ConfigError, match=r"use \.mp4"):
        write_nothing(tmp_path / "out.txt")
    assert not list(tmp_path.iterdir())


def test_a_gap_of_an_hour_is_cut(tmp_path: Path) -> None:
    with writing_video(tmp_path / "out.mp4", 5.0) as write:
        write(Frame(0, 0.0, grey(1)))
        write(Frame(1, 3600.0, grey(100)))
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 51


# --- frames of one moment

TIMES = st.lists(st.integers(0, 400), max_size=40, unique=True).map(
    lambda ticks: [tick / 100 for tick in sorted(ticks)]
)


def as_frames(times_s: list[float]) -> Iterator[Frame]:
    return (Frame(number, t, grey(0, 2, 2)) for number, t in enumerate(times_s))


@given(TIMES, TIMES, st.integers(0, 50), st.integers(-30, 30))
def test_the_nearest_frame_within_the_tolerance(
    ground: list[float], other: list[float], tolerance: int, offset: int
) -> None:
    tolerance_s, offset_s = tolerance / 100 + 0.001, offset / 100
    nearest = NearestFrames(as_frames(other), tolerance_s=tolerance_s, offset_s=offset_s)
    used = set()
    for time_s in ground:
        found = nearest.at(time_s)
        gaps = [abs(t + offset_s - time_s) for t in other]
        if found is None:
            assert not gaps or min(gaps) > tolerance_s
        else:
            used.add(found.number)
            assert gaps[found.number] <= min(gaps) + 1e-9
            assert gaps[found.number] <= tolerance_s
    # What lies behind the last one used was passed over, or has not been reached.
    assert nearest.n_unused + len(used) <= len(other)
    if used:
        assert nearest.n_unused >= max(used) + 1 - len(used)


def test_a_dropped_frame_is_bridged_and_a_gap_is_said(
    tmp_path: Path, write_video: WriteVideo
) -> None:
    even = [i / 10 for i in range(10)]
    kept = [t for i, t in enumerate(even) if i not in (2, 5, 6, 7)]
    visible = write_video(tmp_path / "v.mp4", levels(10), times_s=even)
    infrared = write_video(tmp_path / "i.mp4", levels(6), times_s=kept)
    moments = VideoMoments({V: visible, IR: infrared}, tolerance_s=0.11)
    read = list(moments.read())
    assert [m.number for m in read if m.lacking] == [6]
    assert read[6].lacking == (IR,)
    assert IR not in read[6].pictures
    assert 5 < read[2].pictures[IR].mean() < 25  # one of the neighbours
    (said,) = moments.describe()
    assert "9 of 10 visible frames have a partner within 0.110 s, 1 have none" in said


def test_two_rates_and_cameras_started_apart(tmp_path: Path, write_video: WriteVideo) -> None:
    visible = write_video(tmp_path / "v.mp4", levels(20), rate_hz=25)
    infrared = write_video(tmp_path / "i.mp4", levels(5), rate_hz=5)
    moments = VideoMoments({V: visible, IR: infrared})
    partners = [round(m.pictures[IR].mean() / 10) for m in moments.read()]
    assert partners == [*[0] * 3, *[1] * 5, *[2] * 5, *[3] * 5, *[4] * 2]
    late = VideoMoments({V: visible, IR: infrared}, offset_s=0.5)
    assert [m.number for m in late.read() if m.lacking] == list(range(8))


# --- cameras, played by files


def test_a_slow_reader_gets_the_latest_frame(tmp_path: Path, write_video: WriteVideo) -> None:
    video = write_video(tmp_path / "v.mp4", levels(20), rate_hz=20)
    camera = LiveCamera(str(video), began_s=time.monotonic())
    first = camera.wait()
    assert first is not None
    time.sleep(0.5)
    second = camera.wait()
    assert second is not None
    assert second.number >= first.number + 5
    while camera.wait() is not None:
        pass
    assert camera.has_stopped
    assert camera.n_frames == 20
    assert camera.n_dropped >= 4
    camera.close()
    assert not [t for t in threading.enumerate() if t.name == str(video)]


def test_cameras_end_together(tmp_path: Path, write_video: WriteVideo) -> None:
    visible = write_video(tmp_path / "v.mp4", levels(24), rate_hz=20)
    infrared = write_video(tmp_path / "i.mp4", levels(8), rate_hz=20)
    with LiveMoments({V: str(visible), IR: str(infrared)}, tolerance_s=0.15) as moments:
        numbers = [m.number for m in moments.read() if not m.lacking]
        assert 3 < len(numbers) < 16
        assert numbers == sorted(set(numbers))
        assert "It stopped" in moments.describe()[1]


def test_no_such_camera(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="There is no camera 97"):
        LiveCamera("97", began_s=0.0)
