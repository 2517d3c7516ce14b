"""Runs many tasks on a Ray cluster, as `executors.py` does on one machine.

Every node must have the same ferfusion, and see the files that tasks read and write under the
same absolute paths, on a file system that supports locks.
"""

import logging
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

from ferfusion.errors import ConfigError
from ferfusion.study.executors import (
    Failure,
    OnEvent,
    Queue,
    Task,
    Trouble,
    attempt,
    unpickle_and_call,
)

# How often Ray starts a task again when its process or its node died.
_RETRIES = 2

# How long events may lie in the mailbox.
_POLL_S = 0.5

# What a local Ray may keep in shared memory. Our tasks leave files, and give back a few words.
_STORE_BYTES = 100 * 2**20


def run_on_ray(
    tasks: Sequence[Task],
    address: str,
    on_event: OnEvent,
    *,
    cpus: float = 1,
    gpus: float | None = None,
) -> tuple[Failure, ...]:
    """Runs the tasks on a Ray cluster, as many at the same time as it has room for.

    A task whose process or node dies is started again, twice at most, on any node. It should go on
    from what it has saved. An exception is final. All tasks are stopped when this process ends.

    Args:
        tasks: In the order to start them. A task waits for its needs.
        address: `local` starts a Ray on this machine and ends it afterwards. `auto` joins the
            cluster that this machine is a node of, `HOST:PORT` the one whose head is there.
        on_event: Gets what tasks tell, half a second late at most, and each Failure at once.
            A task that was started again may tell the same again.
        cpus: Cores for each task.
        gpus: GPUs for each task; 0.25 lets four tasks share one. None: one if there are any.

    Returns:
        What failed, in the order of the tasks.

    Raises:
        ConfigError: Ray isn't installed, there is no cluster, it goes away, or no node has room for
            a task.
    """
    queue = Queue(tasks, on_event)
    with _connected(address) as ray:
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
        _require_room(ray, cpus, gpus)
        mailbox = _open_mailbox(ray)
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES)(_do)
        running: dict[Any, Task] = {}
        while True:
            while (task := queue.take()) is not None:
                submit = remote.options(name=task.name).remote
                running[submit(task.name, pickle.dumps(task.call), mailbox)] = task
            if not running:
                return queue.failures
            ended, _ = ray.wait(list(running), num_returns=1, timeout=_POLL_S)
            try:
                letters = ray.get(mailbox.empty.remote())
            except ray.exceptions.RayError as error:
                # The mailbox lives as long as this node does.
                last = str(error).strip().splitlines()[-1:]
                raise ConfigError(
                    f"Ray stopped answering ({' '.join(last) or type(error).__name__}). What is "
                    "finished is kept: start Ray again, and type the same line."
                ) from error
            for name, event in letters:
                on_event(name, pickle.loads(event))
            for result in ended:
                queue.settle(running.pop(result), _read_result(ray, result))


@contextmanager
def _connected(address: str) -> Iterator[ModuleType]:
    # Ray reads these when it is imported or started: it must not report who uses it, and must not
    # try for ever where memory doesn't suffice.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_task_oom_retries", str(_RETRIES))
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            'Ray is not installed. Type: pip install "ferfusion[ray]". To use several processes '
            "of this machine without it, give --workers."
        ) from error
    if ray.is_initialized():  # by somebody who will end it, too
        yield ray
        return
    starting = (
        {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
        if address == "local"
        else {}
    )
    try:
        _require_answer(address)
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **starting)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"Ray can't be used at '{address}': {str(error).rstrip('.')}. Give HOST:PORT as "
            "`ray start --head` prints it, 'auto' on a node of the cluster, or 'local' to start a "
            "Ray on this machine."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    # Ray itself would ask a silent address for more than ten minutes.
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _require_room(ray: ModuleType, cpus: float, gpus: float) -> None:
    has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(r.get("CPU", 0) >= cpus and r.get("GPU", 0) >= gpus for r in has):
        raise ConfigError(
            f"No node of the Ray cluster has CPU: {cpus:g} and GPU: {gpus:g}, which each task was "
            "promised. Ask for less, or add a node."
        )


class _Mailbox:
    """Where tasks leave what they tell, until it is fetched. Runs in a process of its own."""

    def __init__(self) -> None:
        self._letters: list[tuple[str, bytes]] = []

    def put(self, name: str, event: bytes) -> None:
        self._letters.append((name, event))

    def empty(self) -> list[tuple[str, bytes]]:
        letters, self._letters = self._letters, []
        return letters


def _open_mailbox(ray: ModuleType) -> Any:
    # On this node, so that it lives as long as the one who reads it.
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    return ray.remote(_Mailbox).options(scheduling_strategy=here, **options).remote()


def _do(name: str, pickled: bytes, mailbox: Any) -> Trouble | None:
    """What Ray runs on some node: one task."""
    import ray

    letters = []

    def tell(event: Any) -> None:
        # Not waited for: meanwhile Ray would give our core to another task. Pickled here, so that
        # the mailbox needn't import what events are made of.
        letters[:] = [mailbox.put.remote(name, pickle.dumps(event))]

    trouble = attempt(partial(unpickle_and_call, pickled), tell)
    # When the end is known, so must be all that was told before.
    ray.get(letters)
    return trouble


def _read_result(ray: ModuleType, result: Any) -> Trouble | None:
    times = f"each of the {_RETRIES + 1} times it was started"
    try:
        return ray.get(result)
    except ray.exceptions.OutOfMemoryError as error:
        return f"its node ran out of memory {times}", str(error)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        return f"its process or its node died {times}; often because memory ran out", str(error)
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1:]
        return f"Ray could not run it: {' '.join(last) or type(error).__name__}", str(error)
