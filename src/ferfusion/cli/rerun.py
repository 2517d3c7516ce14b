"""`ferfusion rerun`: a finished run made once more."""

import json
from pathlib import Path

from ferfusion.atomic import write_text
from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import say
from ferfusion.config import Settings
from ferfusion.data.opening import open_dataset
from ferfusion.data.temperatures import use_temperatures
from ferfusion.errors import ConfigError, ResultsError
from ferfusion.evaluation.run_folder import RUN
from ferfusion.models.backbones import IMAGENET, NO_WEIGHTS
from ferfusion.study.rerun import (
    Repetition,
    describe_repetition,
    describe_row,
    recall_setup,
    repeat_run,
)
from ferfusion.study.run import read_run
from ferfusion.training.machine import choose_device

REPETITION = "rerun.json"


def run_rerun(run: Path, data: Path | None, out: Path | None, settings: Settings) -> bool:
    """Repeats a run, says what came out, and whether every answer is the same."""
    if not (run / RUN).is_file():
        raise ConfigError(
            f"{run} is not a finished run: it has no {RUN}. Give the folder of `ferfusion train`, "
            "or one in the runs folder of a study."
        )
    before = read_run(run)
    setup = recall_setup(
        before,
        _find_file(settings),
        Path(settings.cache) if settings.cache else None,
        None if settings.device == "auto" else settings.device,
        cache_limit_gb=settings.cache_limit,
    )
    if settings.device == "auto":
        _find_device(run, setup.hardware.device)
    data = data or setup.root
    if not data.exists():
        raise ConfigError(
            f"{run} was made of {data}, which isn't there (seen from {Path.cwd()}). Name the data "
            "with --data."
        )
    if setup.weights not in (IMAGENET, NO_WEIGHTS) and not Path(setup.weights).exists():
        raise ConfigError(
            f"{run} started from the weights {setup.weights}, which aren't there. Name them with "
            f"--weights {setup.backbone}=FILE."
        )
    pattern = settings.subject_pattern or setup.subject_pattern
    dataset = open_dataset(data, subject_pattern=pattern or None)
    if setup.heat is not None:
        dataset = use_temperatures(dataset)
    out = out or Path(f"rerun-{run.resolve().name}")
    if (out / REPETITION).exists():
        raise ResultsError(
            f"{out} holds an earlier repetition. Give another --out, or move it away: a repetition "
            "that is only read back would prove nothing."
        )
    row = describe_row(before)
    fold = f", fold {before.record.fold}" if before.record.fold else ""
    say(f"Repeating {row.name} (seed {before.record.seed}{fold}) in {out}")
    for sentence in before.facts.get("leaks", ()):
        say(f"Its split leaks: {sentence}", colour="red")
    with StudyProgress() as progress:
        repetition = repeat_run(before, dataset, setup, out, progress.decode, progress.on_event)
    write_text(out / REPETITION, json.dumps(describe_repetition(repetition), indent=2) + "\n")
    _tell(repetition)
    return repetition.is_same


def _find_device(run: Path, device: str) -> None:
    try:
        choose_device(device)
    except ConfigError as error:
        raise ConfigError(
            f"{run} was trained on {device}, which isn't here. Give --device cpu to repeat it "
            "there; its numbers will then differ a little."
        ) from error


def _find_file(settings: Settings) -> str | None:
    files = [word.partition("=")[2] for word in settings.weights if "=" in word]
    return files[0] if files else None


def _tell(repetition: Repetition) -> None:
    then, now = repetition.before.record, repetition.after.record
    counts = f"{then.correct}/{then.n_test} right then, {now.correct}/{now.n_test} now"
    if repetition.largest_difference == 0:
        say(f"\nThe same, to the last digit: {counts}.", colour="green")
    elif repetition.is_same:
        say(
            f"\nThe same answers: {counts}. Probabilities differ by "
            f"{repetition.largest_difference:.1g} at most.",
            colour="green",
        )
    else:
        say(
            f"\nNot the same: {repetition.n - repetition.n_same} of {repetition.n} answers differ; "
            f"{counts}. Probabilities differ by {repetition.largest_difference:.1g} at most.",
            colour="red",
        )
    if repetition.changes:
        say("What is not as it was then:")
        for name, (before, after) in repetition.changes.items():
            say(f"  {name}: {before} -> {after}")
