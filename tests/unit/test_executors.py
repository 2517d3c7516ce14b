import contextlib
import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.atomic import replacing
from ferfusion.errors import DataError
from ferfusion.study.executors import (
    Failure,
    Task,
    Tell,
    attempt,
    count_cores,
    run_processes,
    run_serial,
)

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60.0

Run = Callable[[list[Task], Callable[[str, Any], None]], tuple[Failure, ...]]


def run_two(tasks: list[Task], on_event: Callable[[str, Any], None]) -> tuple[Failure, ...]:
    return run_processes(tasks, 2, on_event)


both = pytest.mark.parametrize("run", [run_serial, run_two])


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes find the functions of this file."""
    monkeypatch.syspath_prepend(str(REPOSITORY))


class Log:
    """What was told, by task, and in which order tasks told something first."""

    def __init__(self) -> None:
        self.told: dict[str, list[Any]] = defaultdict(list)

    def __call__(self, name: str, event: Any) -> None:
        self.told[name].append(event)


# What tasks do here.


def say(words: tuple[Any, ...], tell: Tell) -> None:
    for word in words:
        tell(word)


def say_pid(tell: Tell) -> None:
    tell(os.getpid())


def say_environment(tell: Tell) -> None:
    tell({k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")})


def say_function(tell: Tell) -> None:
    tell(lambda: None)  # can't be sent


def fail_kindly(tell: Tell) -> None:
    tell("before")
    raise DataError("The folder is empty. Give another.")


def divide_by_nothing(tell: Tell) -> None:
    print(1 / 0)


def die(number: int, tell: Tell) -> None:
    tell("last words")
    os.kill(os.getpid(), number)
    time.sleep(PATIENCE_S)


def die_afterwards(tell: Tell) -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()


def rest(tell: Tell) -> None:
    time.sleep(0.8)


def leave(tell: Tell) -> None:
    raise SystemExit(3)


def meet(mine: Path, other: Path, tell: Tell) -> None:
    mine.touch()
    deadline = time.monotonic() + PATIENCE_S
    while not other.exists():
        assert time.monotonic() < deadline, "nobody came"
        time.sleep(0.01)


def write_for_ever(folder: Path, name: str, tell: Tell) -> None:
    with replacing(folder / f"{name}.big") as part:
        part.write_text("half of it")
        (folder / f"{name}.pid").write_text(str(os.getpid()))
        (folder / f"{name}.pid").rename(folder / name)
        time.sleep(PATIENCE_S)


def run_for_ever(folder: str) -> None:
    """What a process does that the tests interrupt or kill."""
    names = ("one", "two")
    tasks = [Task(name, (), partial(write_for_ever, Path(folder), name)) for name in names]
    run_processes(tasks, 2, lambda name, event: None)


# What must hold.


@both
def test_needs_come_first_and_events_arrive_in_order(run: Run) -> None:
    log = Log()
    many = tuple(range(200))
    tasks = [
        Task("fused", ("visible", "infrared"), partial(say, ("fused",))),
        Task("visible", (), partial(say, many)),
        Task("infrared", (), partial(say, many)),
        Task("late", ("fused",), partial(say, ("late",))),
    ]
    assert run(tasks, log) == ()
    assert log.told["visible"] == log.told["infrared"] == list(many)
    assert list(log.told)[-2:] == ["fused", "late"]


@both
def test_a_failure_takes_along_only_what_needs_it(run: Run) -> None:
    log = Log()
    tasks = [
        Task("late", ("fused",), partial(say, ("never",))),
        Task("visible", (), fail_kindly),
        Task("fused", ("visible", "infrared"), partial(say, ("never",))),
        Task("odd", (), divide_by_nothing),
        Task("mute", (), say_function),
        Task("infrared", (), partial(say, ("done",))),
    ]
    failures = run(tasks, log)
    late, visible, fused, odd = failures[:4]
    assert late == Failure("late", "fused, which it needs, failed")
    assert visible == Failure("visible", "The folder is empty. Give another.")
    assert fused == Failure("fused", "visible, which it needs, failed")
    assert (odd.name, odd.why) == ("odd", "ZeroDivisionError: division by zero")
    assert "in divide_by_nothing" in odd.trace
    assert log.told["visible"] == ["before", visible]
    assert log.told["late"] == [late]
    assert log.told["infrared"] == ["done"]
    if run is run_serial:  # where nothing must be sent
        assert len(failures) == 4
    else:
        assert failures[4].name == "mute"
        assert "pickle" in failures[4].why
        assert len(failures) == 5


@given(st.data())
def test_done_is_what_neither_fails_nor_needs_what_failed(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    needs = {i: data.draw(st.sets(st.integers(0, i - 1))) if i else set() for i in range(n)}
    bad = data.draw(st.sets(st.integers(0, n - 1)))
    order = data.draw(st.permutations(range(n)))
    calls = {i: divide_by_nothing if i in bad else partial(say, (i,)) for i in range(n)}
    tasks = [Task(str(i), tuple(str(k) for k in needs[i]), calls[i]) for i in order]
    good: set[int] = set()
    for i in range(n):
        if i not in bad and needs[i] <= good:
            good.add(i)
    log = Log()
    failures = run_serial(tasks, log)
    done = [int(name) for name, told in log.told.items() if told == [int(name)]]
    assert set(done) == good
    assert all(done.index(need) < done.index(i) for i in good for need in needs[i])
    assert [int(failure.name) for failure in failures] == [i for i in order if i not in good]


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"a": (), "b": ("c",)}, "not all are tasks"),
        ({"a": ("b",), "b": ("c",), "c": ("a",)}, "wait for each other"),
    ],
)
def test_tasks_that_could_never_run_are_refused(
    needs: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        run_serial([Task(name, need, say_pid) for name, need in needs.items()], Log())


def test_names_are_unique_and_workers_are_some() -> None:
    with pytest.raises(ValueError, match="same name"):
        run_serial([Task("a", (), say_pid), Task("a", (), say_pid)], Log())
    with pytest.raises(ValueError, match="At least one"):
        run_processes([], 0, Log())


def test_serial_stops_at_once_on_ctrl_c() -> None:
    log = Log()
    tasks = [Task("a", (), partial(die, signal.SIGINT)), Task("b", (), say_pid)]
    # A shell that starts the tests in the background makes them deaf to Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_serial(tasks, log)
    finally:
        signal.signal(signal.SIGINT, before)
    assert log.told == {"a": ["last words"]}


def test_a_worker_that_dies_fails_only_its_task(tmp_path: Path) -> None:
    log = Log()
    tasks = [
        Task("killed", (), partial(die, signal.SIGKILL)),
        Task("crashed", (), partial(die, signal.SIGSEGV)),
        Task("stopped", (), partial(die, signal.SIGTERM)),
        Task("left", (), leave),
        Task("waiting", ("killed",), say_pid),
        *(Task(f"good {i}", (), say_pid) for i in range(4)),
    ]
    failures = {failure.name: failure.why for failure in run_two(tasks, log)}
    ended = "its process was ended by signal"
    assert failures == {
        "killed": f"{ended} 9 (Killed), often because memory ran out",
        "crashed": f"{ended} 11 (Segmentation fault)",
        "stopped": f"{ended} 15 (Terminated)",
        "left": "its process ended by itself with exit code 3",
        "waiting": "killed, which it needs, failed",
    }
    assert log.told["killed"][0] == "last words"
    assert all(isinstance(log.told[f"good {i}"][0], int) for i in range(4))


def test_an_idle_worker_that_dies_fails_nothing() -> None:
    tasks = [
        Task("short", (), die_afterwards),
        Task("long", (), rest),
        *(Task(f"good {i}", ("long",), say_pid) for i in range(4)),
    ]
    assert run_two(tasks, Log()) == ()


def test_workers_work_at_the_same_time_and_do_many_tasks(tmp_path: Path) -> None:
    log = Log()
    one, two = tmp_path / "one", tmp_path / "two"
    tasks = [
        Task("one", (), partial(meet, one, two)),
        Task("two", (), partial(meet, two, one)),
        *(Task(f"pid {i}", (), say_pid) for i in range(8)),
    ]
    assert run_two(tasks, log) == ()
    pids = {log.told[f"pid {i}"][0] for i in range(8)}
    assert len(pids) <= 2
    assert os.getpid() not in pids
    assert not multiprocessing.active_children()


def test_workers_share_the_cores_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENCV_FOR_THREADS_NUM", "7")
    log = Log()
    assert run_two([Task("a", (), say_environment)], log) == ()
    share = str(max(1, count_cores() // 2))
    assert log.told["a"] == [{"OMP_NUM_THREADS": share, "OPENCV_FOR_THREADS_NUM": "7"}]
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("broken_starts", [2, 3])
def test_a_task_survives_two_broken_starts_of_a_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken_starts: int
) -> None:
    python, starts = tmp_path / "python", tmp_path / "starts"
    python.write_text(
        f"#!/bin/sh\necho >> {starts}\n"
        f'[ "$(wc -l < {starts})" -le {broken_starts} ] && exit 5\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", os.fsencode(python))
    log = Log()
    if broken_starts == 2:
        assert run_two([Task("a", (), say_pid)], log) == ()
        assert len(log.told["a"]) == 1
    else:
        with pytest.raises(RuntimeError, match="exit code 5"):
            run_two([Task("a", (), say_pid)], log)


@pytest.mark.parametrize("error", [LookupError, BrokenPipeError])
def test_a_listener_that_fails_ends_the_workers(error: type[Exception]) -> None:
    def refuse(name: str, event: Any) -> None:
        raise error(name)

    with pytest.raises(error):
        run_two([Task("a", (), say_pid), Task("b", (), partial(die, 0))], refuse)
    assert not multiprocessing.active_children()


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.strip() not in {"", "Z", "Z+", "Zs"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_one_who_asked(number: int) -> None:
    # Ctrl-C reaches the whole group, as in a terminal; the kill only the one who asked.
    code = f"from {run_for_ever.__module__} import run_for_ever as r; import sys; r(sys.argv[1])"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-c", code, name]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        pids: list[int] = []
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not all((folder / n).exists() for n in ("one", "two")):
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.02)
            pids = [int((folder / n).read_text()) for n in ("one", "two")]
            assert all(is_running(pid) for pid in pids)
            if number == signal.SIGINT:
                os.killpg(process.pid, number)
            else:
                process.kill()
            _, errors = process.communicate(timeout=PATIENCE_S)
            deadline = time.monotonic() + 10
            while any(is_running(pid) for pid in pids):
                assert time.monotonic() < deadline, "a worker lives on"
                time.sleep(0.02)
            if number == signal.SIGINT:
                assert errors.count("Traceback") == 1, errors
                assert not list(folder.glob(".*.part"))
        finally:
            for pid in (process.pid, *pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_a_full_disk_is_no_fault_of_ours() -> None:
    def fail(tell: Tell) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    why, trace = attempt(fail, lambda event: None) or ("", "")
    assert why.startswith("The disk is full")
    assert trace == ""
