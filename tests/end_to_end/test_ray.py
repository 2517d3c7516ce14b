"""Tasks on a Ray of this machine: one that is started for the purpose, and one of two nodes."""

import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.errors import ConfigError, DataError
from ferfusion.study.executors import Failure, Task, Tell

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from ferfusion.study.ray_executor import run_on_ray  # noqa: E402

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's processes find the functions of this file."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def append(path: Path, line: str) -> int:
    """Returns how many lines there are now."""
    with path.open("a") as file:
        file.write(line + "\n")
    return len(path.read_text().splitlines())


def say(words: tuple[Any, ...], tell: Tell) -> None:
    for word in words:
        tell(word)


def die(starts: Path, times: int, tell: Tell) -> None:
    if append(starts, str(os.getpid())) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    tell("survived")


def fail(starts: Path, tell: Tell) -> None:
    append(starts, str(os.getpid()))
    tell("before")
    raise DataError("The folder is empty. Give another.")


def square(folder: Path, number: int, doomed: str, tell: Tell) -> None:
    """On the doomed node it waits for the end, elsewhere until somebody is there."""
    node = ray.get_runtime_context().get_node_id()
    append(folder / f"{number}.starts", node)
    tell(node)
    deadline = time.monotonic() + PATIENCE_S
    if node == doomed:
        (folder / "somebody").touch()
    while node == doomed or not (folder / "somebody").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (folder / f"{number}.result").write_text(str(number**2))


def add_up(folder: Path, numbers: range, tell: Tell) -> None:
    tell(sum(int((folder / f"{number}.result").read_text()) for number in numbers))


def test_a_local_ray_tries_again_what_was_killed_but_not_what_failed(tmp_path: Path) -> None:
    told: dict[str, list[Any]] = defaultdict(list)
    many = tuple(range(100))
    tasks = [
        Task("after", ("talks", "killed once"), partial(say, ("after",))),
        Task("talks", (), partial(say, many)),
        Task("killed once", (), partial(die, tmp_path / "once", 1)),
        Task("killed always", (), partial(die, tmp_path / "always", 99)),
        Task("fails", (), partial(fail, tmp_path / "fails")),
        Task("never", ("fails",), partial(say, ("never",))),
    ]
    failures = run_on_ray(tasks, "local", lambda name, event: told[name].append(event), cpus=0.5)
    killed, fails, never = failures
    assert killed.name == "killed always"
    assert "died each of the 3 times" in killed.why
    assert fails == Failure("fails", "The folder is empty. Give another.")
    assert never == Failure("never", "fails, which it needs, failed")
    assert told["talks"] == list(many)
    assert told["killed once"] == ["survived"]
    assert told["after"] == ["after"]
    assert told["fails"] == ["before", fails]
    counts = [len((tmp_path / n).read_text().splitlines()) for n in ("once", "always", "fails")]
    assert counts == [2, 3, 1]
    assert not ray.is_initialized()


@pytest.fixture
def cluster(_findable: None) -> Iterator[Cluster]:
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    cluster.add_node(**small)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def test_all_is_done_although_a_node_dies_in_the_middle(cluster: Cluster, tmp_path: Path) -> None:
    told: dict[str, list[Any]] = defaultdict(list)
    (second,) = cluster.worker_nodes
    doomed = second.node_id

    def listen(name: str, event: Any) -> None:
        told[name].append(event)
        if event == doomed and second in cluster.worker_nodes:
            cluster.remove_node(second, allow_graceful=False)

    numbers = range(6)
    squares = [Task(str(n), (), partial(square, tmp_path, n, doomed)) for n in numbers]
    total = Task("total", tuple(str(n) for n in numbers), partial(add_up, tmp_path, numbers))
    with pytest.raises(ConfigError, match="No node of the Ray cluster has CPU: 2"):
        run_on_ray(squares, cluster.address, listen, cpus=2)
    assert not told
    assert run_on_ray([total, *squares], cluster.address, listen) == ()

    assert second not in cluster.worker_nodes
    assert told["total"] == [sum(n**2 for n in numbers)]
    starts = {n: (tmp_path / f"{n}.starts").read_text().split() for n in numbers}
    again = [n for n in numbers if doomed in starts[n]]
    assert again
    assert all(starts[n][-1] != doomed for n in numbers)
    assert all(told[str(n)] == starts[n] for n in numbers)


def test_a_study_on_a_local_ray(
    ferfusion: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray's processes run elsewhere: what the user names is seen from here.
    monkeypatch.chdir(tmp_path)
    write_synthetic_dataset(Path("faces"), subjects=6, size_px=32)
    line = ("study", "faces", "--backbone", "shufflenet_v2", "--weights", "none", "--size", 32)
    line += ("--epochs", 1, "--batch-size", 16, "--device", "cpu", "--precision", "fp32")
    line += ("--rows", "visible,late-visible-infrared", "--ray", "local", "--out", "out")
    answer = ferfusion(*line)
    assert answer.code == 0, answer.said
    models = ["visible", "infrared", "late-visible-infrared"]
    for model in models:
        assert Path(f"out/runs/{model}/run.json").exists()
        assert Path(f"out/predictions/{model}.csv").exists()
    assert answer.said.count("test ") == len(models)
    assert "was there already" not in answer.said
    assert "late-visible-infrared" in Path("out/results.csv").read_text()
    assert not ray.is_initialized()
    # On Ray as in this process.
    again = ferfusion("rerun", "out/runs/late-visible-infrared")
    assert again.code == 0, again.said
    assert "The same, to the last digit" in again.said


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_where_no_ray_is_the_error_says_what_to_give(address: str) -> None:
    with pytest.raises(ConfigError, match=r"ray start --head"):
        run_on_ray([Task("a", (), partial(say, ()))], address, lambda name, event: None)


def test_without_ray_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'pip install "ferfusion\[ray\]"'):
        run_on_ray([Task("a", (), partial(say, ()))], "local", lambda name, event: None)
