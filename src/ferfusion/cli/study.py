"""`ferfusion study`: the whole comparison, or a plan of many."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ferfusion.cli.audit import audit_before_study
from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import (
    choose_modalities,
    make_setup,
    open_data,
    save_config,
    say,
    warn_of_doubts,
)
from ferfusion.config import Settings
from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import Split, read_split
from ferfusion.errors import ConfigError, StudyError
from ferfusion.evaluation.predictions import write_predictions
from ferfusion.reporting.latex import write_latex
from ferfusion.reporting.page import write_report
from ferfusion.reporting.record import write_results
from ferfusion.reporting.summary import Skipped
from ferfusion.reporting.tables import pool_folds
from ferfusion.study.costs import measure_costs
from ferfusion.study.executors import Failure
from ferfusion.study.plan import PLANS, list_variants
from ferfusion.study.run import SPLIT, Finished
from ferfusion.study.schedule import Table, list_jobs, open_bench, read_finished, run_jobs
from ferfusion.study.summary import summarise_study


def run_study(data: Path, out: Path, settings: Settings) -> None:
    """Runs every row under every seed and fold; writes results.csv, tables.tex, report.html."""
    dataset = open_data(data, settings)
    with StudyProgress() as progress:
        failures = compare(dataset, out, settings, progress, title=f"Study of {dataset.root.name}")
    say(f"\nThe page: {out / 'report.html'}")
    say(f"The numbers: {out / 'results.csv'}; every model's answers: {out / 'predictions'}")
    if failures:
        raise StudyError([f"{failure.name}: {failure.why}" for failure in failures])


def make_tables(dataset: Dataset, out: Path, settings: Settings) -> tuple[Table, ...]:
    """Lists the tables of a study and how each is made.

    Raises:
        ConfigError: An option doesn't fit the data or another option.
    """
    plan = PLANS.get(settings.plan)
    if settings.backbones and plan is None:
        raise ConfigError(
            f"--backbones belongs to a plan ({', '.join(PLANS)}). Without one, give --backbone."
        )
    if plan is not None and settings.devices * settings.nodes > 1:
        raise ConfigError(
            "A plan trains many models: on several devices give --workers, one model each, "
            "instead of --devices and --nodes."
        )
    backbones = settings.backbones or (plan.backbones if plan else ()) or (settings.backbone,)
    modalities = choose_modalities(dataset, settings)
    variants = list_variants(settings.plan, settings.rows, modalities, backbones, settings.quirks)
    return tuple(
        Table(v.name, dataset, make_setup(dataset, settings, v), v.rows, out / v.name)
        for v in variants
    )


def compare(
    dataset: Dataset, out: Path, settings: Settings, progress: StudyProgress, *, title: str
) -> Sequence[Failure]:
    """Does the comparison and writes all its files; gives what failed."""
    tables = make_tables(dataset, out, settings)
    jobs = list_jobs(tables, settings.seed)
    work, leaks, audited = 0.0, dict[str, None](), ""
    for table in tables:
        bench = open_bench(table, progress.decode)
        if table is tables[0]:
            warn_of_doubts(bench, settings)
        if table is tables[0] or table.setup.split_kind != tables[0].setup.split_kind:
            audit = audit_before_study(
                bench.dataset,
                bench.store,
                [bench.split(seed, fold) for seed in settings.seed for fold in bench.folds],
                allow_leaks=settings.allow_leaks or "image_split" in table.setup.recipe.quirks,
                out=out,
                advance=progress.look,
            )
            leaks |= dict.fromkeys(audit.sentences)
            audited = audit.looked_at
        work += sum(bench.work(j.row, j.seed, j.fold) for j in jobs if j.table is table)
    if bench.fabric.is_global_zero:
        save_config(settings, out)
    progress.plan(work)
    failures = run_jobs(jobs, progress.on_event, workers=settings.workers, ray=settings.ray)
    if bench.fabric.is_global_zero:
        finished = read_finished([table.folder for table in tables])
        if not finished:
            raise StudyError([f"{failure.name}: {failure.why}" for failure in failures])
        measure_costs(finished, bench.hardware.device, progress.weigh)
        finished = read_finished([table.folder for table in tables])
        write_results([run.record for run in finished], out / "results.csv")
        summary = summarise_study(
            bench.dataset,
            list_splits(finished),
            finished,
            title=title,
            n_incomplete=bench.n_incomplete,
            note=settings.note,
            command="ferfusion " + shlex.join(sys.argv[1:]),
            plan=settings.plan,
            skipped=[Skipped(failure.name, failure.why) for failure in failures],
            leaks=tuple(leaks),
            audited=audited,
        )
        for run in pool_folds(summary.runs):
            record = run.record
            of_seed = "" if record.seed == 0 else f"-seed{record.seed}"
            path = out / "predictions" / record.variant / f"{record.model}{of_seed}.csv"
            write_predictions(run.predictions, path)
        write_latex(summary, out / "tables.tex")
        write_report(summary, out / "report.html")
    bench.fabric.barrier()
    return failures


def list_splits(finished: Sequence[Finished]) -> list[tuple[int | None, Split]]:
    """Reads the splits of the first table, each once, with the number of its fold."""
    folders = {
        (run.record.seed, run.record.fold or 0): run.folder
        for run in finished
        if run.record.variant == finished[0].record.variant
    }
    return [
        (fold or None, read_split(folder / SPLIT)) for (_, fold), folder in sorted(folders.items())
    ]
