"""Where the time of a training goes."""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch

PHASES: tuple[str, ...] = ("data", "transfer", "forward", "backward", "evaluation")
"""Reading and augmenting pictures; bytes to the device and to numbers; the model's answer and its
loss; gradients and the step; all of validation."""

Item = TypeVar("Item")


class Stopwatch:
    """Adds up seconds by phase.

    A GPU works while the program goes on, so it is waited for at the end of each phase: a training
    that is watched is a little slower than one that isn't. Without a wish to know it does nothing.
    """

    def __init__(self, device: torch.device, *, is_on: bool) -> None:
        self.device = device
        self.is_on = is_on
        self.seconds = dict.fromkeys(PHASES, 0.0) if is_on else {}

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Adds the time of a block to a phase."""
        return self._measure(name) if self.is_on else nullcontext()

    @contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name] += time.perf_counter() - start

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Gives the items; the time until each comes belongs to a phase."""
        coming = iter(items)
        while True:
            with self.phase(name):
                item = next(coming, None)
            if item is None:
                return
            yield item
