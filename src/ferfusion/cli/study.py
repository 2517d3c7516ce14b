"""`ferfusion study`: the whole comparison, or a plan of many."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ferfusion.atomic import replacing
from ferfusion.cli.audit import audit_before_study
from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import (
    choose_modalities,
    make_setup,
    open_data,
    save_config,
    say,
    tell_precision,
    warn_of_doubts,
)
from ferfusion.config import Settings, read_config
from ferfusion.data.augmentation_sheet import draw_augmentation_sheet
from ferfusion.data.cache import ImageStore
from ferfusion.data.dataset import Dataset
from ferfusion.errors import ConfigError, ResultsError, StudyError, find_remedy
from ferfusion.evaluation.predictions import write_predictions
from ferfusion.evaluation.run_folder import RUN
from ferfusion.reporting.figure_files import write_figures
from ferfusion.reporting.latex import write_latex
from ferfusion.reporting.page import write_report
from ferfusion.reporting.record import write_results
from ferfusion.reporting.summary import Skipped, StudySummary
from ferfusion.reporting.tables import pool_folds
from ferfusion.study.costs import measure_costs
from ferfusion.study.executors import Failure
from ferfusion.study.pictures import can_explain, draw_activation_maps
from ferfusion.study.plan import PLANS, list_variants
from ferfusion.study.run import Finished
from ferfusion.study.schedule import Job, Table, list_jobs, open_bench, read_finished, run_jobs
from ferfusion.study.summary import summarise_study
from ferfusion.study.workbench import OURS, Workbench
from ferfusion.training.recipe import Recipe

MAPS = "activation-maps.png"


def run_study(data: Path, out: Path, settings: Settings) -> None:
    """Runs every row under every seed and fold; writes results.csv, tables.tex, report.html."""
    if settings.ray:
        # The cluster's processes run in other folders.
        data, out = data.resolve(), out.resolve()
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
    is_spread = settings.workers > 1 or settings.ray
    if is_spread and settings.devices * settings.nodes > 1:
        raise ConfigError(
            "--workers and --ray give each model one process, --devices and --nodes give one model "
            "several. Leave one of them out."
        )
    if settings.plan == "quirks" and settings.quirks:
        raise ConfigError(
            "The plan quirks switches each quirk on by itself and holds it against none. Leave "
            "--quirks out, or leave --plan out to run one comparison with these quirks."
        )
    if settings.backbones and plan is None:
        raise ConfigError(
            f"--backbones belongs to a plan ({', '.join(PLANS)}). Without one, give --backbone."
        )
    if plan is not None and settings.devices * settings.nodes > 1:
        raise ConfigError(
            "A plan trains many models: on several devices give --workers, one model each, "
            "instead of --devices and --nodes."
        )
    if plan is not None and plan.backbones and settings.backbone != Settings().backbone:
        raise ConfigError(
            f"The plan {settings.plan} has backbones of its own, so --backbone "
            f"{settings.backbone} would change nothing. Give --backbones."
        )
    backbones = settings.backbones or (plan.backbones if plan else ()) or (settings.backbone,)
    modalities = choose_modalities(dataset, settings)
    variants = list_variants(settings.plan, settings.rows, modalities, backbones, settings.quirks)
    every = list_variants(settings.plan, ("all",), modalities, backbones, settings.quirks)
    for name in settings.rows:
        having = [v.name for v in variants if name in {row.name for row in v.rows}]
        if 0 < len(having) < len(every):
            say(f"The plan {settings.plan} has {name} in the table {', '.join(having)} only.")
    return tuple(
        Table(v.name, dataset, make_setup(dataset, settings, v), v.rows, out / v.name)
        for v in variants
    )


def _refuse_other_plan(plan: str, names: set[str], out: Path) -> None:
    """Makes sure that a folder only ever holds tables of one plan; each looks after its own."""
    config = out / "config.toml"
    if config.exists():
        before = read_config(config).get("plan", "")
        if before != plan and any(out.rglob(RUN)):
            was = f"of the plan {before}" if before else "without a plan"
            raise ResultsError(
                f"{out} holds a study {was}, now the plan is {plan}. Give another --out, or go on "
                f"with the old options (--config {config})."
            )
    elif out.exists() and any(path.name not in OURS | names for path in out.iterdir()):
        raise ResultsError(
            f"{out} is not empty and not ours. Give another --out; nothing is overwritten."
        )


@dataclass(frozen=True)
class Prepared:
    """A study that is ready to run.

    Attributes:
        bench: The workbench that was opened last; data and pictures are those of all tables.
        work: Of all trainings, in pictures through one trunk.
        leaks: What the audit found and was told to ignore.
        audited: What the audit looked at.
        likely_shared: Who, by a guess, is in test and in another part; None if nobody seems to be.
    """

    bench: Workbench
    work: float
    leaks: tuple[str, ...]
    audited: str
    likely_shared: str | None


def compare(
    dataset: Dataset, out: Path, settings: Settings, progress: StudyProgress, *, title: str
) -> Sequence[Failure]:
    """Does the comparison and writes all its files; gives what failed."""
    tables = make_tables(dataset, out, settings)
    if settings.plan:
        _refuse_other_plan(settings.plan, {table.name for table in tables}, out)
    tell_precision(*(table.setup for table in tables))
    jobs = list_jobs(tables, settings.seed)
    prepared = _prepare(tables, jobs, out, settings, progress)
    bench = prepared.bench
    if prepared.leaks:
        # Every run keeps it, so that its numbers don't travel without it.
        setups = [replace(table.setup, leaks=prepared.leaks) for table in tables]
        tables = tuple(replace(t, setup=s) for t, s in zip(tables, setups, strict=True))
        jobs = list_jobs(tables, settings.seed)
    if bench.fabric.is_global_zero:
        save_config(settings, out)
    progress.plan(prepared.work)
    failures = run_jobs(
        jobs,
        progress.on_event,
        workers=settings.workers,
        ray=settings.ray,
        device=bench.hardware.device,
    )
    if bench.fabric.is_global_zero:
        folders = list_folders(out, [table.folder for table in tables])
        finished = read_finished(folders)
        if not finished:
            raise StudyError([f"{failure.name}: {failure.why}" for failure in failures])
        measure_costs(finished, bench.hardware.device, progress.weigh)
        summary = summarise_study(
            bench.dataset,
            read_finished(folders),
            title=title,
            n_incomplete=bench.n_incomplete,
            note=settings.note,
            command="ferfusion " + shlex.join(sys.argv[1:]),
            plan=settings.plan,
            skipped=[Skipped(failure.name, failure.why) for failure in failures],
            leaks=prepared.leaks,
            audited=prepared.audited or None,
            likely_shared=prepared.likely_shared,
        )
        with sparing(f"{MAPS} is"):
            _draw_activation_maps(finished, bench.store, out, bench.hardware.device)
        with sparing("The sheets of augmented pictures are"):
            recipes = {table.name: table.setup.recipe for table in tables}
            draw_augmentation(recipes, bench.store, out / "figures")
        write_study(summary, out, progress)
    bench.fabric.barrier()
    return failures


def _prepare(
    tables: Sequence[Table],
    jobs: Sequence[Job],
    out: Path,
    settings: Settings,
    progress: StudyProgress,
) -> Prepared:
    """Opens every table, so that what can't work fails now; looks for leaks; counts the work."""
    work, leaks, audited, audited_kinds = 0.0, dict[str, None](), "", set[str]()
    likely_shared: str | None = None
    for table in tables:
        bench = open_bench(table, progress.decode)
        if table is tables[0]:
            warn_of_doubts(bench, settings)
        if table.setup.split_kind not in audited_kinds:
            audited_kinds.add(table.setup.split_kind)
            # A quirk is asked for by name, and so is its leak.
            is_told_to = settings.allow_leaks or "image_split" in table.setup.recipe.quirks
            audit = audit_before_study(
                bench.dataset,
                bench.store,
                [bench.split(seed, fold) for seed in settings.seed for fold in bench.folds],
                allow_leaks=is_told_to,
                out=out,
                advance=progress.look,
                cache=table.setup.cache,
                cache_limit_gb=table.setup.cache_limit_gb,
            )
            leaks |= dict.fromkeys(audit.sentences)
            audited = audited or audit.looked_at
            likely_shared = likely_shared or audit.likely_shared
        work += sum(bench.work(job.row, job.seed, job.fold) for job in jobs if job.table is table)
    return Prepared(open_bench(tables[-1]), work, tuple(leaks), audited, likely_shared)


@contextmanager
def sparing(what: str) -> Iterator[None]:
    """Lets a picture fail and says so, because the page doesn't need it."""
    try:
        yield
    except Exception as error:
        why = find_remedy(error) or f"{type(error).__name__}: {error}"
        say(f"{what} missing; the same line draws again. {why}", colour="yellow")


def write_study(summary: StudySummary, out: Path, progress: StudyProgress) -> None:
    """Writes everything that people read of a study, from its finished runs alone."""
    write_results([run.record for run in summary.runs], out / "results.csv")
    for run in pool_folds(summary.runs):
        record = run.record
        of_seed = "" if record.seed == 0 else f"-seed{record.seed}"
        path = out / "predictions" / record.variant / f"{record.model}{of_seed}.csv"
        write_predictions(run.predictions, path)
    write_latex(summary, out / "tables.tex")
    with sparing("Some figures are"):
        write_figures(summary, out / "figures", progress.draw_figures)
    write_report(summary, out / "report.html")


def _draw_activation_maps(
    finished: Sequence[Finished], store: ImageStore, out: Path, device: str
) -> None:
    path = out / "figures" / MAPS
    if not can_explain():
        say(f'{path} is left out: it needs captum. pip install "ferfusion[explain]"')
    elif draw_activation_maps(finished, store, path, device):
        say(f"Where the models look, on pictures of your data: {path}")


def draw_augmentation(recipes: Mapping[str, Recipe], store: ImageStore, folder: Path) -> None:
    """Draws what each table's training makes of one sample; tables that do alike share a sheet.

    A sheet that is there is left alone.

    Args:
        recipes: Name of a table -> how its models are trained.
        store: Their pictures.
        folder: For the sheets.
    """
    done: set[tuple[str, int, bool, bool]] = set()
    row = find_bright(store)
    sample = store.samples[row]
    for table, recipe in recipes.items():
        quirks = [name in recipe.quirks for name in ("independent_augmentation", "identical_flips")]
        how = (recipe.augmentation, recipe.seed, quirks[0], quirks[1])
        name = f"augmentation-{table}.png" if done else "augmentation.png"
        if how in done or recipe.augmentation == "none":
            continue
        done.add(how)
        if (folder / name).exists():
            continue
        sheet = draw_augmentation_sheet(
            {m: pictures[row] for m, pictures in store.pictures.items()},
            sample.id,
            recipe.augmentation,
            recipe.seed,
            independent=quirks[0],
            identical_flips=quirks[1],
        )
        with replacing(folder / name) as part:
            Image.fromarray(sheet).save(part, format="PNG")


def find_bright(store: ImageStore) -> int:
    """Finds, among some samples, the row with the brightest picture: there is something to see."""
    rows = range(0, len(store.samples), max(1, len(store.samples) // 40))
    first = next(iter(store.pictures.values()))
    return max(rows, key=lambda row: float(first[row].mean()))


def list_folders(out: Path, folders: Sequence[Path]) -> list[Path]:
    """Lists the folders of a study's tables, and those that an earlier call made here."""
    made = sorted(path.parent for path in out.glob("*/setup.json"))
    return [*folders, *(folder for folder in made if folder not in folders)]
