"""`ferfusion train`: one model."""

from functools import partial
from pathlib import Path

from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import make_setup, open_data, save_config, say, warn_of_doubts
from ferfusion.config import Settings
from ferfusion.errors import ConfigError
from ferfusion.modality import Modality
from ferfusion.study.plan import Row
from ferfusion.study.run import run_row
from ferfusion.study.workbench import Workbench


def run_train(data: Path, out: Path, settings: Settings) -> None:
    """Trains one model, and before it the single models it starts from or mixes."""
    seed, *more = settings.seed
    if more:
        raise ConfigError("train takes one --seed; `ferfusion study` takes several.")
    dataset = open_data(data, settings)
    setup = make_setup(dataset, settings)
    row = choose_row(setup.modalities, settings)
    with StudyProgress() as progress:
        bench = Workbench(dataset, setup, out, progress.decode)
        if bench.fabric.is_global_zero:
            save_config(settings, out)
        warn_of_doubts(bench, settings)
        singles = {need.modalities[0]: out / "stages" / need.name for need in row.needs}
        progress.plan(sum(bench.work(r, seed) for r in (*row.needs, row)))
        for need in row.needs:
            folder = singles[need.modalities[0]]
            run_row(bench, need, seed, folder, {}, partial(progress.on_event, need.name))
        run_row(bench, row, seed, out, singles, partial(progress.on_event, row.name))
    say(f"\nThe model: {out}. To test it on other data: ferfusion evaluate {out} DATA")


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
