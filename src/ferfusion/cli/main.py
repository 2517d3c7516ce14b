"""`ferfusion`: the commands, and what happens to errors. Nothing heavy is imported here."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ferfusion.cli import model_commands, picture_commands
from ferfusion.cli.groups import FOLDER, Commands
from ferfusion.cli.options import DATA, MACHINE, MODEL, TRAINING, settings_options
from ferfusion.cli.predict_command import predict
from ferfusion.cli.serve import serve
from ferfusion.config import Settings, render
from ferfusion.errors import FerfusionError, find_remedy

_GO_ON = ("demo", "download", "prepare", "train", "study", "rerun")
"""Commands that do only what is missing when they are run again."""


@click.group(
    cls=Commands,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="ferfusion")
def app() -> None:
    """Recognises facial expressions from visible, thermal infrared and MSX pictures together.

    Start with `ferfusion demo`, then `ferfusion inspect DATA` and `ferfusion study DATA --out DIR`.
    """


@app.command()
@click.option(
    "--out", type=FOLDER, default=Path("ferfusion-demo"), show_default=True, metavar="DIR"
)
def demo(out: Path) -> None:
    """Draw synthetic faces, train the whole comparison on them, write a page (about 4 minutes)."""
    from ferfusion.cli.demo import run_demo

    run_demo(out)


@app.command(short_help="Fetch a public data set, or say who holds it.")
@click.argument("name", required=False)
@click.option(
    "--out", type=FOLDER, metavar="DIR", help="Folder for it; default: the data set's name, here."
)
@click.option(
    "--only",
    multiple=True,
    metavar="WORDS",
    help="Only these archives, as in: --only happy --only sad-vis. May be given several times.",
)
@click.option("--packed", is_flag=True, help="Leave the archives packed; they can be read so, too.")
@click.option("--overwrite", is_flag=True, help="Replace other files that have an archive's name.")
@click.option("--base-url", metavar="URL", help="A mirror, with the same file names below URL.")
def download(
    name: str | None,
    out: Path | None,
    only: tuple[str, ...],
    packed: bool,
    overwrite: bool,
    base_url: str | None,
) -> None:
    """Fetch the public data set NAME from its authors, check and unpack it, say what is in it.

    Without NAME: which data sets are public, and who holds the others. Run again to go on after a
    stop: only what is missing is fetched. Archives that were downloaded by hand are used if they
    lie in DIR/archives.
    """
    from ferfusion.cli.download import list_data, run_download

    if name is None:
        list_data()
        return
    run_download(name, out, only=only, is_packed=packed, overwrite=overwrite, base_url=base_url)


@app.command(short_help="Say what is understood of DATA and what is wrong.")
@click.argument("data", type=FOLDER)
@click.option(
    "--out", type=FOLDER, metavar="DIR", help="Folder for the sheets; default: ferfusion-inspect."
)
@click.option(
    "--repair",
    type=FOLDER,
    metavar="FILE",
    help="Write a split there in which the twins that were found, and subjects, stay together.",
)
@settings_options(
    *("subject_pattern", "split", "split_file", "modalities", "size", "cache", "cache_limit"),
    *("seed", "augmentation"),
)
def inspect(settings: Settings, data: Path, out: Path | None, repair: Path | None) -> None:
    """Say what is understood of DATA and what is wrong with it; draw sheets; look for leaks.

    DATA is a folder (VIRI as published, or any tree whose names say class and modality) or a CSV.
    Samples that show the same photograph are listed, and what of it leaks between the parts of
    the split that a study would use.
    """
    from ferfusion.cli.inspect import run_inspect

    run_inspect(data, out or Path("ferfusion-inspect"), settings, repair)


for command in (
    picture_commands.camera,
    picture_commands.prepare,
    picture_commands.align,
    picture_commands.msx,
    picture_commands.subjects,
):
    app.add_command(command)


@app.command(short_help="Train one model on DATA and test it.")
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, metavar="RUN", help="Folder of the run.")
@settings_options(*MODEL[:1], "fusion", "steps", *MODEL[1:], "note", *DATA, *TRAINING, *MACHINE)
def train(settings: Settings, data: Path, out: Path) -> None:
    """Train one model on DATA and test it. Run again to go on after a stop."""
    from ferfusion.cli.train import run_train

    run_train(data, out, settings)


@app.command(short_help="Compare single, early and late fusion on DATA.")
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder of the study.")
@settings_options(
    *("plan", "rows", *MODEL, "backbones", "note", *DATA, "folds", "allow_leaks"),
    *(*TRAINING, *MACHINE, "workers", "ray"),
)
def study(settings: Settings, data: Path, out: Path) -> None:
    """Train and compare single models, early and late fusion on DATA; write DIR/report.html.

    With --plan paper: all that the paper reports; with --plan sound: the same and more, in folds
    with nobody in two parts; with --plan quirks: what the paper's quirks do to the numbers.

    Run again to do only what is missing: more seeds or rows may be asked for, too.
    """
    from ferfusion.cli.study import run_study

    run_study(data, out, settings)


for command in (
    model_commands.evaluate,
    model_commands.explain,
    model_commands.export,
    model_commands.hub,
    predict,
    serve,
    model_commands.rerun,
):
    app.add_command(command)


@app.command(short_help="Say what is installed and what is missing.")
@settings_options("cache", "cache_limit")
def check(settings: Settings) -> None:
    """Say what is installed, what this machine can do, and what to do about the rest."""
    from ferfusion.cli.check import run_check

    run_check(settings)


@app.group()
def config() -> None:
    """Options and their defaults."""


@config.command()
@settings_options()
def show(settings: Settings) -> None:
    """Print every option with its value and a comment, as a file that --config reads."""
    click.echo(render(settings), nl=False)


def main() -> None:
    """Runs the command line. Exit code 2 and one plain message for what the user can mend."""
    try:
        app.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (FerfusionError, OSError, ModuleNotFoundError) as error:
        command = _find_command(sys.argv[1:])
        remedy = find_remedy(error, command if command in ("explain", "export") else None)
        if remedy is None:
            raise
        click.echo(click.style("Error: ", fg="red") + remedy, err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"\nStopped. {_tell_rest(_find_command(sys.argv[1:]))}", err=True)
        sys.exit(130)


def _find_command(words: Sequence[str]) -> str:
    return next((word for word in words if not word.startswith("-")), "")


def _tell_rest(command: str) -> str:
    """Says what is left of a command that was stopped."""
    if command in _GO_ON:
        return "Nothing that was finished is lost; run the same line to go on."
    if command == "predict":
        return "No file was written, and the answers so far are lost; the same line begins anew."
    return "It was not done; the same line begins anew."


if __name__ == "__main__":
    main()
