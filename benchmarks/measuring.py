"""Parts in processes of their own, what the machine can do, and the files of results."""

import csv
import json
import os
import platform
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional

from ferfusion.atomic import replacing, write_text
from ferfusion.errors import FerfusionError, find_remedy

UNITS = {
    "epoch_single": "s",
    "epoch_early3": "s",
    "first_epoch": "s",
    "comparison": "s",
    "epoch_frozen": "s",
    "late_grid": "ms",
    "infer_triple_fp32": "ms",
    "infer_triple_int8": "ms",
    "infer_folder_fp32": "s",
    "infer_folder_int8": "s",
}
"""Every work, in the order of the table, and what its times are in."""


@dataclass(frozen=True)
class Line:
    """A work's line in the table of results.

    Attributes:
        work: Its name.
        plain: Median over the rounds of the plain script's times.
        ours: Likewise.
        unit: Of both.
        ratio_median: Of plain / ours, round by round.
        ratio_min: The least of them.
        ratio_max: The greatest.
        peak_mb: Most memory that our process held, in millions of bytes.
        commit: What was measured.
    """

    work: str
    plain: float
    ours: float
    unit: str
    ratio_median: float
    ratio_min: float
    ratio_max: float
    peak_mb: float
    commit: str


def make_line(
    work: str, plain: Sequence[float], ours: Sequence[float], peaks: Sequence[float], commit: str
) -> Line:
    """Sums up the rounds of a work.

    >>> line = make_line("late_grid", [10.0, 30.0], [2.0, 3.0], [90.0, 95.0], "abc")
    >>> (line.ratio_median, line.ratio_min, line.ratio_max, line.peak_mb)
    (7.5, 5.0, 10.0, 95.0)
    """
    ratios = [p / o for p, o in zip(plain, ours, strict=True)]
    values = (median(plain), median(ours), median(ratios), min(ratios), max(ratios), max(peaks))
    of_plain, of_ours, ratio, least, most, peak = (float(f"{value:.4g}") for value in values)
    return Line(work, of_plain, of_ours, UNITS[work], ratio, least, most, peak, commit)


# ----------------------------------------------------------------------------------- processes


def start_context() -> ForkServerContext:
    """Gives a way to start processes that have imported everything and computed nothing.

    They are forked from a server that only imports, so that a part's memory and threads are its
    own, and twenty parts don't import torch twenty times.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch", "torchvision", "ferfusion.study.schedule"])
    return context


def run_part(
    context: ForkServerContext, do: Callable[..., Mapping[str, Any]], *given: object
) -> dict[str, Any]:
    """Does one part in a process of its own.

    Returns:
        What it gives, and `peak_mb`: the most memory the process held.

    Raises:
        FerfusionError: The part met something that the user can mend.
        RuntimeError: The part failed otherwise, or the process died.
    """
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_do_part, args=(sender, do, given))
    process.start()
    sender.close()
    try:
        answer, remedy, problem = receiver.recv()
    except EOFError:
        answer, remedy, problem = {}, None, "its process died; is there enough memory?"
    process.join()
    if remedy:
        raise FerfusionError(remedy)
    if problem:
        raise RuntimeError(f"{do.__module__}.{do.__name__} failed: {problem}")
    return answer


def _do_part(sender: Connection, do: Callable[..., Mapping[str, Any]], given: Sequence[object]):
    try:
        answer = ({**do(*given), "peak_mb": find_peak_mb()}, None, "")
    except BaseException as error:
        answer = ({}, find_remedy(error), traceback.format_exc())
    sender.send(answer)
    sender.close()


def time_once(do: Callable[[], object]) -> float:
    """Gives the seconds that something takes."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def time_warm(do: Callable[[int], object], repeats: int, warm_up_s: float) -> float:
    """Gives the median of the seconds that something takes, once it has been done for a while.

    Args:
        do: Is given the number of the repeat.
        repeats: How often it counts.
        warm_up_s: For how long it is done before; once at least.
    """
    start = time.perf_counter()
    for turn in count():
        do(turn % repeats)
        if time.perf_counter() - start >= warm_up_s:
            break
    return median(time_once(lambda turn=turn: do(turn)) for turn in range(repeats))


def find_peak_mb() -> float:
    """Gives the most memory that this process has held, in millions of bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        # Kilobytes, but bytes on macOS.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1e6 if sys.platform == "darwin" else 1e3)
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


# ------------------------------------------------------------------------------------- machine


def name_machine() -> str:
    """Names the machine by its processor and how many cores this process may use."""
    return f"{slug(find_processor())}-{count_cores()}-cores"


def slug(processor: str) -> str:
    """Makes a processor's name fit for a file.

    >>> slug("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz")
    'intel-xeon-platinum-8481c'
    >>> slug("AMD EPYC 9V74 80-Core Processor")
    'amd-epyc-9v74'
    """
    plain = re.sub(
        r"\((R|TM|C)\)|@.*|\b\d+-Core\b|\bCPU\b|\bProcessor\b", " ", processor, flags=re.I
    )
    return "-".join(re.findall(r"[a-z0-9]+", plain.lower())) or "unknown"


def find_processor() -> str:
    """Gives the processor's name, as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def count_cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine() -> dict[str, Any]:
    """Names processor, cores and the software that times depend on."""
    packages = ("torch", "torchvision", "numpy", "pillow", "opencv-python-headless", "onnxruntime")
    versions: dict[str, str] = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": find_processor(),
        "cores": count_cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def measure_peaks(side: int, channels: int, repeats: int) -> dict[str, Any]:
    """Measures what this machine's torch can do at best, in GFLOP/s; runs in its own process.

    Args:
        side: Of the square matrices.
        channels: Of the 3 x 3 convolution of 32 pictures of 28 x 28.
        repeats: The fastest of so many counts.
    """
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = (torch.randn(side, side).to(dtype) for _ in range(2))
        gflop = 2 * side**3 / 1e9
        found[f"matmul_{name}_gflop_per_s"] = _rate(lambda a=left, b=right: a @ b, gflop, repeats)
        pictures = torch.randn(32, channels, 28, 28).to(dtype)
        kernels = torch.randn(channels, channels, 3, 3).to(dtype)
        pictures, kernels = (t.to(memory_format=torch.channels_last) for t in (pictures, kernels))
        gflop = 2 * 32 * 28 * 28 * channels**2 * 9 / 1e9
        found[f"convolution_{name}_gflop_per_s"] = _rate(
            lambda p=pictures, k=kernels: functional.conv2d(p, k, padding=1), gflop, repeats
        )
    return found


def _rate(do: Callable[[], torch.Tensor], gflop: float, repeats: int) -> float:
    with torch.inference_mode():
        times = []
        for _ in range(repeats + 2):
            start = time.perf_counter()
            do()
            times.append(time.perf_counter() - start)
    return round(gflop / min(times[2:]), 1)


def find_best_rate(peaks: Mapping[str, Any], precision: str) -> float:
    """Gives the better of what products and convolutions reach."""
    return max(peaks[f"{kind}_{precision}_gflop_per_s"] for kind in ("matmul", "convolution"))


# --------------------------------------------------------------------------------------- files


def read_lines(path: Path) -> dict[str, Line]:
    """Reads the table of an earlier call, by work; empty if there is none."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        return {
            row["work"]: Line(
                row["work"],
                float(row["plain"]),
                float(row["ours"]),
                row["unit"],
                float(row["ratio_median"]),
                float(row["ratio_min"]),
                float(row["ratio_max"]),
                float(row["peak_mb"]),
                row["commit"],
            )
            for row in csv.DictReader(stream)
        }


def write_lines(path: Path, lines: Mapping[str, Line]) -> None:
    """Writes the table, works in their order."""
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(Line.__annotations__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(lines[work]) for work in UNITS if work in lines)


def update_conditions(path: Path, machine: Mapping[str, Any], works: Mapping[str, Any]) -> None:
    """Writes the conditions beside the table; those of works that weren't run now stay."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"works": {}}
    kept = {**before["works"], **works}
    ordered = {work: kept[work] for work in UNITS if work in kept}
    write_text(path, json.dumps({"machine": machine, "works": ordered}, indent=2) + "\n")
