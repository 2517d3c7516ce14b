"""`ferfusion train`: one model."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import (
    make_setup,
    open_data,
    save_config,
    say,
    tell_precision,
    warn_of_doubts,
)
from ferfusion.config import Settings
from ferfusion.errors import ConfigError
from ferfusion.modality import Modality
from ferfusion.study.plan import Row
from ferfusion.study.run import Finished, run_row
from ferfusion.study.workbench import Workbench
from ferfusion.training.stopwatch import PHASES


def run_train(data: Path, out: Path, settings: Settings) -> None:
    """Trains one model, and before it the single models it starts from or mixes."""
    seed, *more = settings.seed
    if more:
        raise ConfigError("train takes one --seed; `ferfusion study` takes several.")
    dataset = open_data(data, settings)
    setup = make_setup(dataset, settings)
    row = choose_row(setup.modalities, settings)
    tell_precision(setup)
    with StudyProgress() as progress:
        bench = Workbench(dataset, setup, out, progress.decode)
        if bench.fabric.is_global_zero:
            save_config(settings, out)
        warn_of_doubts(bench, settings)
        singles = {need.modalities[0]: out / "stages" / need.name for need in row.needs}
        progress.plan(sum(bench.work(r, seed) for r in (*row.needs, row)))
        finished = [
            run_row(
                bench,
                need,
                seed,
                singles[need.modalities[0]],
                {},
                partial(progress.on_event, need.name),
            )
            for need in row.needs
        ]
        finished.append(
            run_row(bench, row, seed, out, singles, partial(progress.on_event, row.name))
        )
    if settings.profile:
        print_times(finished, progress.console)
    say(f"\nThe model: {out}. To test it on other data: ferfusion evaluate {out} DATA")


def print_times(finished: Sequence[Finished], console: Console) -> None:
    """Prints where the time of each training went, as the page of a study shows it."""
    profiles = {run.record.model: run.facts.get("profile") for run in finished}
    measured = {model: profile for model, profile in profiles.items() if profile}
    if not measured:
        console.print("Nothing was trained under --profile, so there are no times to show.")
        return
    table = Table(title="Where the time went", title_justify="left")
    table.add_column("model", overflow="fold")
    for heading in ("measured", *PHASES):
        table.add_column(heading, justify="right")
    for model, profile in measured.items():
        total = sum(profile.values())
        shares = [f"{profile[phase] / total:.0%}" for phase in PHASES]
        table.add_row(model, f"{total:.1f} s", *shares)
    console.print(table)


def choose_row(modalities: tuple[Modality, ...], settings: Settings) -> Row:
    """Finds which model is meant by --modalities, --fusion and --steps.

    Raises:
        ConfigError: They contradict each other.
    """
    fusion = settings.fusion
    if fusion == "auto":
        fusion = "single" if len(modalities) == 1 else "early"
    if fusion == "single":
        if len(modalities) > 1:
            raise ConfigError(
                f"A single model sees one modality, but {', '.join(modalities)} were given. "
                "Choose one with --modalities, or --fusion early or late."
            )
        return Row("single", modalities)
    if len(modalities) == 1:
        raise ConfigError(
            f"--fusion {fusion} needs two or three modalities, but there is only {modalities[0]}."
        )
    if fusion == "late":
        return Row("late", modalities)
    if settings.steps == 1:
        return Row("early", modalities, 1)
    if settings.steps == 3:
        return Row("early", modalities, 3)
    raise ConfigError(f"--steps is {settings.steps}, but early fusion is trained in 1 or in 3.")
