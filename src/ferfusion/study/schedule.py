"""All runs of a study, in an order that lets each find what it starts from; here or elsewhere."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ferfusion.data.dataset import Dataset
from ferfusion.errors import ConfigError
from ferfusion.evaluation.run_folder import RUN
from ferfusion.locks import hold
from ferfusion.modality import MODALITIES
from ferfusion.reporting.record import RunRecord
from ferfusion.study.executors import Failure, Task, run_processes, run_serial
from ferfusion.study.plan import Row, list_other_rows, list_rows
from ferfusion.study.run import Event, Finished, Waiting, name_run, read_run, run_row
from ferfusion.study.workbench import Setup, Workbench


@dataclass(frozen=True)
class Table:
    """The runs of one variant: what is trained on what, and where it is kept.

    Attributes:
        name: Of the variant; empty where a study has only one.
        dataset: As it was read.
        setup: How.
        rows: Which models; the single models they start from are added.
        folder: Keeps setup.json, splits and runs.
    """

    name: str
    dataset: Dataset
    setup: Setup
    rows: tuple[Row, ...]
    folder: Path


@dataclass(frozen=True)
class Job:
    """One run, with all that another process needs to make it."""

    table: Table
    row: Row
    seed: int
    fold: int | None

    @property
    def name(self) -> str:
        """Unique in a study, and readable."""
        run = name_run(self.row, self.seed, self.fold)
        return f"{self.table.name}/{run}" if self.table.name else run

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.table.folder / "runs" / name_run(self.row, self.seed, self.fold)

    @property
    def needs(self) -> tuple["Job", ...]:
        """The runs that must be finished before."""
        return tuple(Job(self.table, row, self.seed, self.fold) for row in self.row.needs)


_bench_of: list[tuple[Table, Workbench]] = []
"""The table this process works on at present: opening a workbench costs seconds."""


def open_bench(table: Table, advance: Callable[[int, int], None] | None = None) -> Workbench:
    """Gives the workbench of a table; opens it if this process doesn't hold it already."""
    if not _bench_of or _bench_of[0][0] != table:
        _bench_of.clear()
        bench = Workbench(table.dataset, table.setup, table.folder, advance)
        _bench_of.append((table, bench))
    return _bench_of[0][1]


def list_jobs(tables: Sequence[Table], seeds: Sequence[int]) -> tuple[Job, ...]:
    """Lists all runs; each comes after those it needs."""
    return tuple(
        Job(table, row, seed, fold)
        for table in tables
        for seed in dict.fromkeys(seeds)
        for fold in table.setup.folds
        for row in order_with_needs(table.rows)
    )


def order_with_needs(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Puts before each row the single models it needs, each once."""
    ordered: dict[Row, None] = {}
    for row in rows:
        ordered.update(dict.fromkeys((*row.needs, row)))
    return tuple(ordered)


def run_jobs(
    jobs: Iterable[Job],
    on_event: Callable[[str, Event | Failure], None],
    *,
    workers: int = 1,
    ray: str = "",
    device: str = "cpu",
) -> tuple[Failure, ...]:
    """Makes every run that isn't finished: here, in several processes, or on a Ray cluster.

    A run that fails or is killed fails alone, with those that need it; the same call again does
    what is missing.

    Args:
        jobs: In an order in which needs come first.
        on_event: Told (name of the job, what happened); a failure is the last of its job.
        workers: Processes on this machine.
        ray: Address of a cluster, `local`, or empty.
        device: What the runs train on. Workers share the CUDA GPUs of this machine evenly; on Ray
            each run has a GPU to itself.

    Raises:
        ConfigError: Both are asked for.
    """
    if ray and workers > 1:
        raise ConfigError("--workers are processes of this machine; with --ray leave them out.")
    tasks = [
        Task(job.name, tuple(need.name for need in job.needs), partial(run_job, job))
        for job in jobs
    ]
    if ray:
        from ferfusion.study.ray_executor import run_on_ray

        return run_on_ray(tasks, ray, on_event, gpus=0 if device == "cpu" else None)
    if workers > 1:
        return run_processes(tasks, workers, on_event, gpus=_list_gpus(device))
    return run_serial(tasks, on_event)


def _list_gpus(device: str) -> list[str]:
    if device != "cuda":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = [name for name in visible if name] or map(str, range(torch.cuda.device_count()))
    return list(names)


def run_job(job: Job, tell: Callable[[Any], None]) -> None:
    """Makes one run in this process, or finds it done. Two studies never make the same one."""
    bench = open_bench(job.table)
    singles = {need.row.modalities[0]: need.folder for need in job.needs}

    def make() -> None:
        run_row(
            bench, job.row, job.seed, job.folder, singles, tell,
            fold=job.fold, variant=job.table.name,
        )  # fmt: skip

    if bench.fabric.world_size > 1 or (job.folder / RUN).exists():
        # Several processes of one training would wait for each other's lock for ever.
        make()
    else:
        with hold(job.folder, lambda: tell(Waiting())):
            make()


def read_finished(tables: Iterable[Path]) -> list[Finished]:
    """Reads every finished run below some tables' folders, those of earlier calls too.

    Returns:
        In the order of the tables, then of the paper's rows, then by seed and fold.
    """
    order = [row.name for row in (*list_rows(MODALITIES), *list_other_rows(MODALITIES))]

    def place(record: RunRecord) -> tuple[int, str, int, int]:
        known = order.index(record.model) if record.model in order else len(order)
        return known, record.model, record.seed, record.fold or 0

    finished: list[Finished] = []
    for folder in tables:
        runs = [read_run(path.parent) for path in sorted((folder / "runs").glob(f"*/{RUN}"))]
        finished += sorted(runs, key=lambda run: place(run.record))
    return finished
