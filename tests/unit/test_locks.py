import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from ferfusion.locks import hold, try_to_hold

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes find the functions of this file."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def hold_and_say(path: Path, pipe: Connection) -> None:
    with hold(path, on_wait=lambda: pipe.send("waits")):
        pipe.send("has it")
        pipe.recv()
    pipe.send("left")


def count_up(path: Path, times: int) -> None:
    for _ in range(times):
        with hold(path):
            number = int(path.read_text())
            time.sleep(0.001)  # somebody else would now read the same number
            path.write_text(str(number + 1))


@contextmanager
def holder(path: Path) -> Iterator[tuple[SpawnProcess, Connection]]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=hold_and_say, args=(path, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def hear(pipe: Connection) -> str:
    assert pipe.poll(PATIENCE_S)
    return pipe.recv()


def test_the_second_waits_says_so_once_and_goes_on_when_the_first_leaves(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "visible"  # neither is there yet
    with holder(run) as (_, first):
        assert hear(first) == "has it"
        with holder(run) as (_, second):
            assert hear(second) == "waits"
            assert not second.poll(0.5)
            first.send("leave")
            assert hear(first) == "left"
            assert hear(second) == "has it"


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as (process, first):
        assert hear(first) == "has it"
        waited: list[bool] = []
        # Killed when, and only when, this process has found out that it must wait.
        kill = partial(os.kill, process.pid, signal.SIGKILL)
        with hold(tmp_path / "run", lambda: waited.append(True) or kill()):
            process.join(PATIENCE_S)
            assert process.exitcode == -signal.SIGKILL
        assert waited == [True]


def test_a_file_that_was_removed_before_it_was_locked_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[object] = []
    really_open = os.open

    def open_and_lose(path: str, *details: int) -> int:
        file = really_open(path, *details)
        if not lost:
            Path(path).unlink()  # as who held the lock does on leaving
            lost.append(path)
        return file

    monkeypatch.setattr(os, "open", open_and_lose)
    with hold(tmp_path / "run"), try_to_hold(tmp_path / "run") as is_held:
        assert lost
        assert not is_held


def test_a_failing_block_frees_the_lock_and_other_paths_are_other_locks(tmp_path: Path) -> None:
    def fail() -> None:
        pytest.fail("waited")

    with pytest.raises(KeyError), hold(tmp_path / "a", fail):
        raise KeyError
    with hold(tmp_path / "a", fail), hold(tmp_path / "b", fail):
        pass
    assert not (tmp_path / "a").exists()


def test_processes_in_turn_lose_no_count(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    crowd = [SPAWN.Process(target=count_up, args=(path, 10)) for _ in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in crowd] == [0, 0, 0]
    assert path.read_text() == "30"
    assert list(tmp_path.iterdir()) == [path]  # nothing is left behind
