"""What runs, how long it will take, and what has been learned so far, on the terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from ferfusion.cli.setup import is_main_process
from ferfusion.reporting.tables import format_proportion
from ferfusion.study.executors import Failure
from ferfusion.study.run import Done, Event, Learned, Started, Waiting
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
        self.current: dict[str, TaskID] = {}
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

    def look(self, done: int, total: int) -> None:
        """Moves the bar of the audit."""
        self._count("looking for leaks", done, total)

    def weigh(self, done: int, total: int) -> None:
        """Moves the bar of measuring what an answer costs."""
        self._count("measuring costs", done, total)

    def draw_figures(self, done: int, total: int) -> None:
        """Moves the bar of drawing figures."""
        self._count("drawing figures", done, total)

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

    def on_event(self, name: str, event: Event | Failure) -> None:
        """Moves the bars, prints a finished model, or says why one failed."""
        match event:
            case Started(epochs):
                self._start(name, epochs)
            case Learned(epoch, work):
                self._learn(name, epoch, work)
            case Waiting():
                self.console.print(f"{name}: another study makes it; waiting", style="dim")
            case Done():
                self._finish(name, event)
            case Failure():
                self._close(name)
                self.console.print(f"[red]{name} failed:[/red] {escape(event.why)}", soft_wrap=True)

    def _start(self, name: str, epochs: int) -> None:
        if not epochs:
            return
        if not self.console.is_terminal:
            self.console.print(f"training {name}: {epochs} epochs", style="dim")
        self.current[name] = self.bars.add_task(name, total=epochs, learned="")

    def _learn(self, name: str, epoch: Epoch, work: float) -> None:
        self.work_done += work
        if self.whole is not None:
            speed = self.work_done / max(1e-9, time.monotonic() - self.began)
            self.bars.update(self.whole, advance=work, speed=speed)
        if name in self.current:
            learned = f"validation {epoch.val_correct}/{epoch.val_n}, loss {epoch.train_loss:.2f}"
            self.bars.update(self.current[name], advance=1, learned=learned)

    def _close(self, name: str) -> None:
        if name in self.current:
            self.bars.remove_task(self.current.pop(name))

    def _finish(self, name: str, done: Done) -> None:
        self._close(name)
        if not done.is_new and self.whole is not None:
            self.bars.update(self.whole, advance=done.work)
        record = done.record
        scored = format_proportion(record.correct, record.n_test)
        how = f"{record.seconds:.0f} s" if done.is_new else "was there already"
        if done.late_weights is not None:
            mixture = " / ".join(f"{w:.1f}" for w in done.late_weights.values())
            how = f"weights {mixture}" + ("" if done.is_new else ", was there already")
        table = f"{record.variant}: " if record.variant else ""
        where = f"seed {record.seed}" + (f", fold {record.fold}" if record.fold else "")
        self.console.print(
            f"{table}{record.inputs}, {record.how}, {where}: test {scored} [dim]({how})[/dim]",
            soft_wrap=True,
        )
