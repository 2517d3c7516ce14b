"""`ferfusion study`: the whole comparison."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import make_setup, open_data, save_config, say, warn_of_doubts
from ferfusion.config import Settings
from ferfusion.data.dataset import Dataset
from ferfusion.reporting.page import write_report
from ferfusion.reporting.record import write_results
from ferfusion.study.plan import choose_rows
from ferfusion.study.run import Finished, read_finished, run_rows
from ferfusion.study.summary import summarise_study
from ferfusion.study.workbench import Workbench


def run_study(data: Path, out: Path, settings: Settings) -> None:
    """Runs every row under every seed and writes results.csv and report.html."""
    dataset = open_data(data, settings)
    with StudyProgress() as progress:
        compare(dataset, out, settings, progress, title=f"Study of {data.resolve().name}")
    say(f"\nThe page: {out / 'report.html'}")
    say(f"The numbers: {out / 'results.csv'}; every model's answers: {out / 'predictions'}")


def compare(
    dataset: Dataset, out: Path, settings: Settings, progress: StudyProgress, *, title: str
) -> Sequence[Finished]:
    """Does the comparison and writes all its files."""
    setup = make_setup(dataset, settings)
    rows = choose_rows(settings.rows, setup.modalities)
    bench = Workbench(dataset, setup, out, progress.decode)
    if bench.fabric.is_global_zero:
        save_config(settings, out)
    warn_of_doubts(bench, settings)
    finished = run_rows(bench, rows, settings.seed, progress)
    if bench.fabric.is_global_zero:
        finished = read_finished(out)
        write_results([run.record for run in finished], out / "results.csv")
        summary = summarise_study(
            bench.dataset,
            [bench.split(seed) for seed in sorted({run.record.seed for run in finished})],
            finished,
            title=title,
            n_incomplete=bench.n_incomplete,
            note=settings.note,
            command="ferfusion " + shlex.join(sys.argv[1:]),
        )
        write_report(summary, out / "report.html")
    bench.fabric.barrier()
    return finished
