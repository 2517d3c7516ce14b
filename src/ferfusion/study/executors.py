"""Runs many tasks, in this process or in several, so that one that fails stops no other.

A task says what must succeed before it. Whatever waits for a failed task fails, too; everything
else goes on. What a task does is not known here. `ray_executor.py` does the same on a cluster.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from graphlib import CycleError, TopologicalSorter
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, cast

from ferfusion.errors import FerfusionError, find_remedy, is_disk_full

Tell = Callable[[Any], None]
"""Sends a small event, which can be pickled, to the caller while the task runs."""

OnEvent = Callable[[str, Any], None]
"""Gets each event with the name of its task. The last one of a task that fails is its Failure."""

Trouble = tuple[str, str]
"""Why a task failed, in one sentence, and the trace if that may be a fault of ours."""


@dataclass(frozen=True)
class Task:
    """A piece of work.

    Attributes:
        name: No other task has it.
        needs: Names of the tasks that must succeed first.
        call: Does it. Can be pickled: a function of a module, or a `functools.partial` of one.
    """

    name: str
    needs: tuple[str, ...]
    call: Callable[[Tell], None]


@dataclass(frozen=True)
class Failure:
    """A task that isn't done.

    Attributes:
        name: Of the task.
        why: The reason, for people.
        trace: Where in the code it happened; empty unless it may be a fault of ours.
    """

    name: str
    why: str
    trace: str = ""


class Queue:
    """Which task may start next, and what became of the others."""

    def __init__(self, tasks: Sequence[Task], on_event: OnEvent) -> None:
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"Two tasks have the same name: {names}.")
        for task in tasks:
            if not set(task.needs) <= set(names):
                raise ValueError(f"{task.name} needs {task.needs}, and not all are tasks.")
        try:
            TopologicalSorter({task.name: task.needs for task in tasks}).prepare()
        except CycleError as error:
            raise ValueError(f"These tasks wait for each other: {error.args[1]}.") from error
        self._names = names
        self._waiting = {task.name: task for task in tasks}
        self._done: set[str] = set()
        self._failed: dict[str, Failure] = {}
        self._on_event = on_event

    def take(self) -> Task | None:
        """Takes the first task whose needs are done; None if none can start now."""
        for task in self._waiting.values():
            if self._done.issuperset(task.needs):
                return self._waiting.pop(task.name)
        return None

    def put_back(self, task: Task) -> None:
        """Takes back a task that could not start. It will be the next."""
        self._waiting = {task.name: task, **self._waiting}

    def settle(self, task: Task, trouble: Trouble | None) -> None:
        """Notes that a task is done, or that it failed, and with it all that wait for it."""
        if trouble is None:
            self._done.add(task.name)
            return
        failure = Failure(task.name, *trouble)
        self._failed[task.name] = failure
        self._on_event(task.name, failure)
        for other in list(self._waiting.values()):
            if task.name in other.needs and other.name in self._waiting:
                del self._waiting[other.name]
                self.settle(other, (f"{task.name}, which it needs, failed", ""))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """All failures so far, in the order of the tasks."""
        return tuple(self._failed[name] for name in self._names if name in self._failed)


def attempt(call: Callable[[Tell], None], tell: Tell) -> Trouble | None:
    """Does one task here. An exception becomes words, which can always be sent."""
    try:
        call(tell)
    except Exception as error:
        if isinstance(error, FerfusionError) or is_disk_full(error):
            return find_remedy(error) or "", ""
        return f"{type(error).__name__}: {error}", traceback.format_exc()
    return None


def unpickle_and_call(pickled: bytes, tell: Tell) -> None:
    """Does a pickled task. What it is made of is imported here, which may fail like the task."""
    pickle.loads(pickled)(tell)


def run_serial(tasks: Sequence[Task], on_event: OnEvent) -> tuple[Failure, ...]:
    """Runs the tasks one after the other in this process.

    Args:
        tasks: In the order to start them. A task waits for its needs.
        on_event: Gets what tasks tell, and each Failure at once.

    Returns:
        What failed, in the order of the tasks.
    """
    queue = Queue(tasks, on_event)
    while (task := queue.take()) is not None:
        queue.settle(task, attempt(task.call, partial(on_event, task.name)))
    return queue.failures


# What a worker sends: a word and what belongs to it.
_BEGIN, _EVENT, _END = "begin", "event", "end"

# A worker that dies before it begins its task says nothing about the task, which another worker
# gets. Memory may be short for a moment, but after so many in a row it is no accident.
_BROKEN_STARTS = 3

# What a worker has time for between being told to leave and being killed: removing half a file.
_GRACE_S = 2.0

# Torch, MKL and OpenBLAS read the first, OpenCV the second, all when they are imported.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    gpu: str | None = None
    task: Task | None = None
    has_begun: bool = False


@dataclass
class _Crew:
    """The worker processes, and what they are doing."""

    queue: Queue
    size: int
    on_event: OnEvent
    gpus: Sequence[str] = ()
    workers: list[_Worker] = field(default_factory=list)
    broken_starts: int = 0

    def hand_out(self) -> bool:
        """Gives tasks to idle workers, and hires until there are enough. False: nothing to do."""
        while any(w.task is None for w in self.workers) or len(self.workers) < self.size:
            task = self.queue.take()
            if task is None:
                break
            idle = [w for w in self.workers if w.task is None]
            worker = idle[0] if idle else self.hire()
            worker.task, worker.has_begun = task, False
            # If it has just died, `listen` finds out.
            with suppress(ConnectionError):
                worker.pipe.send_bytes(pickle.dumps(task.call))
        return any(w.task is not None for w in self.workers)

    def hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        # The cast: checkers think of Windows, too.
        ours, theirs = cast("tuple[Connection, Connection]", Pipe())
        process = context.Process(target=_work, args=(theirs,), name="ferfusion worker")
        taken = [worker.gpu for worker in self.workers]
        gpu = min(self.gpus, key=taken.count) if self.gpus else None
        with _sharing_machine(self.size, gpu):
            process.start()
        theirs.close()  # so that the pipe ends when the worker does
        self.workers.append(_Worker(process, ours, gpu))
        return self.workers[-1]

    def listen(self) -> None:
        """Waits until a worker says something or dies, and acts on it."""
        wait([end for w in self.workers for end in (w.pipe, w.process.sentinel)])
        for worker in list(self.workers):
            # Asked first: what a dead worker had said is then surely in the pipe.
            is_alive = worker.process.is_alive()
            messages, is_open = _read_all(worker.pipe)
            for word, content in messages:
                self.hear(worker, word, content)
            if not (is_alive and is_open):
                self.bury(worker)

    def hear(self, worker: _Worker, word: str, content: Any) -> None:
        task = worker.task
        if task is None:  # a thread that its task has left behind
            return
        if word == _BEGIN:
            worker.has_begun = True
            self.broken_starts = 0
        elif word == _EVENT:
            self.on_event(task.name, content)
        else:
            worker.task = None
            self.queue.settle(task, content)

    def bury(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.process.join(_GRACE_S)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        why = _say_how_it_ended(worker.process.exitcode or 0)
        if worker.task is None:
            return
        if worker.has_begun:
            self.queue.settle(worker.task, (why, ""))
            return
        self.broken_starts += 1
        if self.broken_starts >= _BROKEN_STARTS:
            raise RuntimeError(
                f"{_BROKEN_STARTS} worker processes in a row ended before they began: {why}. "
                "What they printed is above. A script of your own must start everything below "
                "`if __name__ == '__main__':`."
            )
        self.queue.put_back(worker.task)

    def dismiss(self) -> None:
        """Ends all workers, whatever they do."""
        try:
            for worker in self.workers:
                worker.process.terminate()
            deadline = time.monotonic() + _GRACE_S
            for worker in self.workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:  # also when somebody presses Ctrl-C once more
            for worker in self.workers:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()


def run_processes(
    tasks: Sequence[Task], workers: int, on_event: OnEvent, *, gpus: Sequence[str] = ()
) -> tuple[Failure, ...]:
    """Runs the tasks in several processes of this machine, which share its cores evenly.

    Each worker process imports once and does many tasks. When one dies, by the system or by a
    crash, its task has failed, and a new one takes its place. All end when this function ends, by
    Ctrl-C too, and when this process is killed.

    Args:
        tasks: In the order to start them. A task waits for its needs.
        workers: How many tasks may run at the same time.
        on_event: Gets what tasks tell, and each Failure at once. Called in this thread.
        gpus: Names of CUDA devices; each worker sees one of them, and they are shared evenly.

    Returns:
        What failed, in the order of the tasks.

    Raises:
        RuntimeError: Worker processes die before they can begin.
    """
    if workers < 1:
        raise ValueError(f"At least one worker is needed, not {workers}.")
    queue = Queue(tasks, on_event)
    crew = _Crew(queue, workers, on_event, gpus)
    try:
        while crew.hand_out():
            crew.listen()
    finally:
        crew.dismiss()
    return queue.failures


def count_cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _sharing_machine(workers: int, gpu: str | None) -> Iterator[None]:
    # In the environment a process starts with, because libraries read it when they are loaded.
    # Who has set a variable of threads knows why.
    threads = str(max(1, count_cores() // workers))
    ours = {name: threads for name in _THREAD_VARIABLES if name not in os.environ}
    if gpu is not None:
        ours[_GPU_VARIABLE] = gpu
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _read_all(pipe: Connection) -> tuple[list[tuple[str, Any]], bool]:
    """Reads what lies in the pipe, and whether more may come."""
    messages: list[tuple[str, Any]] = []
    try:
        while pipe.poll():
            messages.append(pipe.recv())
    except (EOFError, OSError):
        return messages, False
    return messages, True


def _say_how_it_ended(exit_code: int) -> str:
    # Negative where the signal ended it, above 128 where it left because of the signal.
    number = -exit_code if exit_code < 0 else exit_code - 128
    if number <= 0:
        return f"its process ended by itself with exit code {exit_code}"
    name = signal.strsignal(number) or "unknown"
    hint = ", often because memory ran out" if number == signal.SIGKILL else ""
    return f"its process was ended by signal {number} ({name}){hint}"


def _work(pipe: Connection) -> None:
    """What a worker process does: tasks, until the pipe ends."""
    # Ctrl-C reaches every process of a terminal; the one that asked for the work ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(event: Any) -> None:
        pipe.send((_EVENT, event))

    with suppress(EOFError, ConnectionError):  # the one that asked is gone
        while True:
            pickled = pipe.recv_bytes()
            pipe.send((_BEGIN, None))
            pipe.send((_END, attempt(partial(unpickle_and_call, pickled), tell)))


def _leave(number: int, _frame: FrameType | None) -> None:
    # As an exception, so that half-written files are removed.
    sys.exit(128 + number)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
