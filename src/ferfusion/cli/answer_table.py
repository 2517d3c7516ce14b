"""Answers on the terminal: bars for one, a table for some, counts for all."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ferfusion.evaluation.coverage import AnswerRule
from ferfusion.inference.answer_lines import Line
from ferfusion.inference.predictor import Prediction, Unusable

_BAR = 30
_SHOWN = 20
_SHOWN_REASONS = 8


def print_answer(answer: Prediction, rule: AnswerRule | None, console: Console) -> None:
    """Prints one answer with a bar for each class."""
    console.print(draw_answer(answer, rule))


def draw_answer(answer: Prediction, rule: AnswerRule | None) -> RenderableType:
    """Gives a bar for each class, the label, and whether the model would rather not say."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    for label, p in answer.probabilities.items():
        style = "bold" if label == answer.label else ""
        bar = ProgressBar(total=1.0, completed=p, width=_BAR)
        table.add_row(Text(label, style), bar, Text(f"{p:.3f}", style))
    if not answer.abstained:
        verdict = Text(f" {answer.label}", "bold green")
    else:
        least = 0.0 if rule is None else rule.least_confidence
        verdict = Text(
            f" It would rather not say: {answer.label} is likeliest, and it answers from "
            f"{least:.3f} on.",
            "yellow",
        )
    return Group(table, verdict)


def print_lines(lines: Sequence[Line], console: Console) -> None:
    """Prints the first lines as a table."""
    knows = any(line.expression is not None for line in lines)
    table = Table("sample", "answer", "confidence", *(["shows"] if knows else []))
    for line in lines[:_SHOWN]:
        name, answer = str(next(iter(line.about.values()))), line.answer
        if isinstance(answer, Unusable):
            table.add_row(Text(name), Text(answer.reason, "yellow"), "")
            continue
        words = Text(answer.label)
        if answer.abstained:
            words = Text(f"would rather not say ({answer.label})", "yellow")
        table.add_row(
            Text(name), words, f"{answer.confidence:.3f}", *([line.expression or ""] * knows)
        )
    console.print(table)
    if len(lines) > _SHOWN:
        console.print(
            f"and {len(lines) - _SHOWN} more; --out answers.csv keeps all, with all probabilities"
        )


class Tally:
    """Counts answers as they come.

    Attributes:
        n_answered: Samples or frames with an answer.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        """Begins with nothing.

        Args:
            labels: Of the model.
        """
        self._labels = labels
        self._counts = Counter[str]()
        self._reasons = Counter[str]()
        self._strange = Counter[str]()
        self._n = self._n_abstained = 0
        self._right = Counter[tuple[bool, bool]]()  # is right, has abstained
        self.n_answered = 0

    def add(self, line: Line) -> None:
        """Counts a line."""
        self._n += 1
        if isinstance(line.answer, Unusable):
            self._reasons[line.answer.reason] += 1
            return
        self.n_answered += 1
        self._counts[line.answer.label] += 1
        self._n_abstained += line.answer.abstained
        if line.expression is not None and line.expression not in self._labels:
            self._strange[line.expression] += 1
        elif line.is_right is not None:
            self._right[line.is_right, line.answer.abstained] += 1

    def print(self, console: Console, what: str, seconds: float) -> None:
        """Prints the counts.

        Args:
            console: Where to.
            what: `samples` or `frames`.
            seconds: That it took.
        """
        shares = ", ".join(f"{label} {self._counts[label]}" for label in self._labels)
        console.print(f"{self.n_answered} of {self._n} {what} have an answer: {shares}.")
        if self._n_abstained:
            console.print(f"It would rather not say about {self._n_abstained} of them.")
        if known := self._right.total():
            right = self._right[True, False] + self._right[True, True]
            said = self._right[True, False] + self._right[False, False]
            console.print(
                f"Right: {right} of {known} whose expression is known"
                + (f"; of the {said} it answers, {self._right[True, False]}" * (said < known))
                + ". Samples that trained the model count here, too: `ferfusion evaluate` leaves "
                "them out."
            )
        if self._strange:
            console.print(
                f"{self._strange.total()} show what the model never learned: "
                f"{', '.join(sorted(self._strange))}."
            )
        for reason, count in self._reasons.most_common(_SHOWN_REASONS):
            console.print(f"[yellow]{count} without an answer:[/yellow] ", end="")
            console.print(reason, markup=False)
        if (rest := len(self._reasons) - _SHOWN_REASONS) > 0:
            console.print(f"and {rest} more reasons; --out keeps each one")
        if seconds > 0:
            console.print(f"{self._n / seconds:.1f} {what} a second.")
