"""What runs, how long it will take, and what has been learned so far, on the terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from ferfusion.cli.setup import is_main_process
from ferfusion.reporting.tables import format_proportion
from ferfusion.study.plan import Row
from ferfusion.study.run import Finished
from ferfusion.training.loop import Epoch


class _TimeLeft(ProgressColumn):
    """Elapsed and remaining time. Remaining follows the work done now, not what was found done."""

    def render(self, task: Task) -> Text:
        speed = task.fields.get("speed")
        elapsed = _clock(task.elapsed or 0)
        if not speed or task.remaining is None:
            return Text(f"{elapsed} so far")
        return Text(f"{elapsed} so far, about {_clock(task.remaining / speed)} left")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class StudyProgress:
    """A bar for the whole, a line for the model in training, a line for each finished one.

    Where the output is not a terminal, only finished models are printed, one line each.
    """

    def __init__(self) -> None:
        self.console = Console(quiet=not is_main_process(), highlight=False)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:3.0f} %"),
            _TimeLeft(),
            TextColumn("{task.fields[learned]}", style="cyan"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.whole: TaskID | None = None
        self.current: TaskID | None = None
        self.pictures: TaskID | None = None
        self.work_done, self.began = 0.0, 0.0

    def __enter__(self) -> "StudyProgress":
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def decode(self, done: int, total: int) -> None:
        """Moves the bar of decoding."""
        self._count("reading pictures", done, total)

    def draw(self, done: int, total: int) -> None:
        """Moves the bar of drawing synthetic faces."""
        self._count("drawing faces", done, total)

    def _count(self, what: str, done: int, total: int) -> None:
        if self.pictures is None:
            self.pictures = self.bars.add_task(what, total=total, learned="")
        self.bars.update(self.pictures, completed=done)
        if done == total:
            self.bars.remove_task(self.pictures)
            self.pictures = None

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """Shows a bar while the block runs; gives a function that moves it by one."""
        task = self.bars.add_task(what, total=total, learned="")
        yield lambda: self.bars.advance(task)
        self.bars.remove_task(task)

    def plan(self, work: float) -> None:
        """Opens the bar of the whole."""
        self.whole = self.bars.add_task("[bold]whole comparison", total=work, learned="")
        self.began = time.monotonic()

    def start(self, row: Row, seed: int, epochs: int) -> None:
        """Opens the bar of one model."""
        if epochs and not self.console.is_terminal:
            self.console.print(f"training {row.name}, seed {seed}: {epochs} epochs", style="dim")
        if epochs:
            name = f"{row.name}, seed {seed}"
            self.current = self.bars.add_task(name, total=epochs, learned="")

    def epoch(self, epoch: Epoch, work: float) -> None:
        """Moves both bars and says what validation thinks."""
        self.work_done += work
        if self.whole is not None:
            speed = self.work_done / max(1e-9, time.monotonic() - self.began)
            self.bars.update(self.whole, advance=work, speed=speed)
        if self.current is not None:
            learned = f"validation {epoch.val_correct}/{epoch.val_n}, loss {epoch.train_loss:.2f}"
            self.bars.update(self.current, advance=1, learned=learned)

    def finish(self, finished: Finished, work: float, *, is_new: bool) -> None:
        """Prints a model's result; closes its bar."""
        if self.current is not None:
            self.bars.remove_task(self.current)
            self.current = None
        if not is_new and self.whole is not None:
            self.bars.update(self.whole, advance=work)
        record = finished.record
        scored = format_proportion(record.correct, record.n_test)
        how = f"{record.seconds:.0f} s" if is_new else "was there already"
        weights = finished.facts["late_weights"]
        if weights is not None:
            mixture = " / ".join(f"{w:.1f}" for w in weights["weights"].values())
            how = f"weights {mixture}" + ("" if is_new else ", was there already")
        self.console.print(
            f"{record.inputs}, {record.how}, seed {record.seed}: test {scored} [dim]({how})[/dim]",
            soft_wrap=True,
        )
