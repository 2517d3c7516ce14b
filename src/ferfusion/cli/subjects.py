"""`ferfusion subjects`: a guess at who is who, as a CSV to correct by hand."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track

from ferfusion.data.dataset import Dataset
from ferfusion.data.guess import Grouping, Guess
from ferfusion.data.guess_by_looks import group_by_looks
from ferfusion.data.guess_by_names import group_by_names
from ferfusion.data.guess_by_times import group_by_times
from ferfusion.data.opening import open_dataset
from ferfusion.data.subject_guesses import complete_guesses, guess_cheaply, write_guesses
from ferfusion.errors import ConfigError
from ferfusion.imaging.faces.weights import fetch_weights, find_weights

_DOUBTFUL = 0.5
_SHOWN = 5


def run_subjects(data: Path, out: Path, by: str, *, overwrites: bool) -> None:
    """Writes a guess for every sample, and says how sure it is and what to do next.

    Raises:
        ConfigError: `out` is there already.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: give --out the name of a CSV file.")
    if out.exists() and not overwrites:
        raise ConfigError(
            f"{out} is there already, maybe corrected by hand: give --out another name, or "
            "--overwrite."
        )
    console = Console(highlight=False, soft_wrap=True)
    dataset = open_dataset(data)
    if dataset.has_subjects:
        console.print(
            f"All {len(dataset.samples)} samples say whom they show, from "
            f"{escape(str(dataset.subjects_from))}. There is nothing to guess."
        )
        return
    grouping, *others = _group(dataset, by, console)
    guesses = complete_guesses(dataset, grouping)
    write_guesses(guesses, out)
    for tried in (grouping, *others):
        console.print(escape(tried.sentence))
    _sum_up(guesses, grouping, console)
    console.print(f"Written to {out}; the doubtful come first.")
    _say_next(dataset, out, console)


def _group(dataset: Dataset, by: str, console: Console) -> tuple[Grouping, ...]:
    """Gives what is taken, then what else was tried."""
    if by == "auto":
        return guess_cheaply(dataset)
    if by == "names":
        return (group_by_names(dataset),)
    if by == "times":
        return (group_by_times(dataset),)
    weights = find_weights()
    if weights is None:
        console.print("Fetching the weights of the face detector, once (7 MB) ...")
        weights = fetch_weights()
    samples = track(
        dataset.samples, "looking for faces", console=console, disable=not console.is_terminal
    )
    return (group_by_looks(dataset, weights, samples),)


def _sum_up(guesses: dict[str, Guess], grouping: Grouping, console: Console) -> None:
    guessed = [guess for guess in guesses.values() if 0 < guess.confidence < 1]
    n_named = sum(guess.confidence == 1 for guess in guesses.values())
    n_unknown = sum(not guess.subject for guess in guesses.values())
    if n_named:
        console.print(f"{n_named} of {len(guesses)} samples were named already and stay so.")
    if not guessed:
        console.print("[yellow]Nobody could be guessed: the file is a form to fill in.[/yellow]")
        return
    people = {guess.subject for guess in guessed}
    n_doubtful = sum(guess.confidence < _DOUBTFUL for guess in guessed)
    shown = ", ".join(sorted(people)[:_SHOWN]) + (", ..." if len(people) > _SHOWN else "")
    console.print(
        f"{len(guessed)} of {len(guesses)} samples get one of {len(people)} subjects "
        f"({escape(shown)}); confidence {grouping.confidence:.2f}; doubtful (below {_DOUBTFUL:g}): "
        f"{n_doubtful}; without a guess: {n_unknown}."
    )


def _say_next(dataset: Dataset, out: Path, console: Console) -> None:
    root = dataset.root
    folder = root if root.is_dir() else root.parent
    goal = folder / "subjects.csv"
    if root.is_file() and dataset.subjects_from is not None:
        where = f"copy the subjects into the subject column of {root}"
    elif out.absolute() == goal.absolute():
        console.print(
            f"[yellow]{escape(str(goal))} is what studies read: correct it before you run one."
            "[/yellow]"
        )
        return
    else:
        where = f"save it as {goal}"
    check = shlex.join(("ferfusion", "inspect", str(root)))
    console.print(
        escape(f"Next: correct it by hand, {where}, then: {check}\nUntil then no study uses it.")
    )
