"""Questions that come at the same time are asked together: one call to the model answers them."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.inference.runner import Runner
from ferfusion.modality import Modality

Squares = Mapping[Modality, UInt8[np.ndarray, "size size 3"]]


@dataclass(frozen=True, eq=False)
class _Question:
    squares: Squares
    answer: asyncio.Future[Float[np.ndarray, " classes"]]


class Batcher:
    """Asks a model on behalf of many.

    A question waits a few milliseconds for others, and only while others are on their way. Nobody
    may put more questions than the server has places, so the queue is as short as that.
    """

    def __init__(
        self,
        runner: Runner,
        executor: Executor,
        *,
        count_coming: Callable[[], int],
        tell_size: Callable[[int], None],
        most: int = 8,
        patience_s: float = 0.004,
    ) -> None:
        """Makes one that is not yet at work.

        Args:
            runner: The model.
            executor: Where it calculates.
            count_coming: Says how many questions there are or will soon be, those that wait too.
            tell_size: Told of how many questions were asked together.
            most: Questions at once.
            patience_s: How long one waits for others.
        """
        self._runner = runner
        self._executor = executor
        self._count_coming = count_coming
        self._tell_size = tell_size
        self._most = most
        self._patience_s = patience_s
        self._questions: asyncio.Queue[_Question] = asyncio.Queue()

    async def ask(self, squares: Squares) -> Float[np.ndarray, " classes"]:
        """Gives the probabilities of one sample."""
        answer = asyncio.get_running_loop().create_future()
        self._questions.put_nowait(_Question(squares, answer))
        return await answer

    async def work(self) -> None:
        """Answers questions until it is cancelled."""
        while True:
            batch = [await self._questions.get()]
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s):
                    while len(batch) < min(self._most, self._count_coming()):
                        batch.append(await self._questions.get())
            # Whoever gave up meanwhile needs no answer.
            await self._answer([each for each in batch if not each.answer.done()])

    async def _answer(self, batch: list[_Question]) -> None:
        if not batch:
            return
        self._tell_size(len(batch))
        stacked = {m: np.stack([q.squares[m] for q in batch]) for m in batch[0].squares}
        loop = asyncio.get_running_loop()
        try:
            rows = await loop.run_in_executor(self._executor, self._runner.predict, stacked)
        # Whatever it is, those who asked have to hear of it, and the next ones be answered.
        except Exception as error:
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        for each, row in zip(batch, rows, strict=True):
            if not each.answer.done():
                each.answer.set_result(row.astype(np.float64))
