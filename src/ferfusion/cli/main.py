"""`ferfusion`: the commands, and what happens to errors. Nothing heavy is imported here."""

import difflib
import sys
from pathlib import Path

import click

from ferfusion.cli.options import DATA, MACHINE, MODEL, TRAINING, settings_options
from ferfusion.config import Settings, render
from ferfusion.errors import FerfusionError

FOLDER = click.Path(path_type=Path)


class _Commands(click.Group):
    """A group that names the nearest command when one is misspelt."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command, or says which one was probably meant."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0], known, n=1, cutoff=0.4)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(
                f"There is no command '{args[0]}'.{hint} Known: {', '.join(known)}.", ctx
            )
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Lists commands in the order one meets them, not by alphabet."""
        return list(self.commands)


@click.group(
    cls=_Commands,
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


@app.command(short_help="Make a clean data set of a folder: faces, alignment, MSX.")
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder of the data set.")
@click.option(
    "--size",
    type=click.IntRange(16, 2048),
    default=224,
    show_default=True,
    metavar="N",
    help="Side of the pictures in pixels.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 2),
    default=0.25,
    show_default=True,
    metavar="X",
    help="Around the face, in parts of its longer side.",
)
@click.option("--whole", is_flag=True, help="Keep whole pictures; look for no face.")
@click.option("--straighten/--no-straighten", default=True, help="Make the eyes level.")
@click.option(
    "--least-face",
    type=click.IntRange(8),
    default=48,
    show_default=True,
    metavar="N",
    help="Narrower faces are kept out, in pixels.",
)
@click.option(
    "--align/--no-align", default=True, help="Lay infrared and MSX on the visible picture."
)
@click.option(
    "--least-quality",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    metavar="X",
    help="Of that; samples below it are kept out.",
)
@click.option("--msx/--no-msx", default=True, help="Make MSX-style pictures where there are none.")
@click.option("--subject-pattern", metavar="REGEX", help="Finds who it is in each path.")
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Processes; default: one a core."
)
@click.option("--overwrite", is_flag=True, help="Replace a data set prepared in another way.")
def prepare(
    data: Path,
    out: Path,
    size: int,
    margin: float,
    whole: bool,
    straighten: bool,
    least_face: int,
    align: bool,
    least_quality: float,
    msx: bool,
    subject_pattern: str | None,
    workers: int | None,
    overwrite: bool,
) -> None:
    """Make a data set that `study` takes of the pictures in DATA.

    Each sample is read, infrared and MSX are laid on the visible picture, the face is found, all
    are cut alike, and a missing MSX picture is made. What can't be used with certainty is kept
    out and listed with its reason. Run again to do only what is new.
    """
    from ferfusion.cli.prepare import run_prepare
    from ferfusion.preparation.recipe import Preparation

    preparation = Preparation(
        size_px=size,
        finds_faces=not whole,
        margin=margin,
        straightens=straighten,
        least_face_px=least_face,
        aligns=align,
        least_quality=least_quality,
        makes_msx=msx,
    )
    run_prepare(
        data,
        out,
        preparation,
        subject_pattern=subject_pattern,
        workers=workers,
        overwrites=overwrite,
    )


@app.command(short_help="Lay infrared pictures on visible ones.")
@click.argument("visible", type=FOLDER)
@click.argument("infrared", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for what comes out.")
@click.option(
    "--motion",
    type=click.Choice(["translation", "similarity", "affine"]),
    default="similarity",
    show_default=True,
    help="What may differ between the cameras.",
)
@click.option("--overwrite", is_flag=True, help="Replace an alignment that is there already.")
def align(visible: Path, infrared: Path, out: Path, motion: str, overwrite: bool) -> None:
    """Lay INFRARED on VISIBLE: two pictures, or two folders with pictures of the same names.

    Writes DIR/alignment.csv with the motion of each infrared picture and how sure it is, the
    pictures as they lie on the visible ones, and a sheet to look at. The exit code is 0 if all
    pairs pass, else 1.
    """
    from ferfusion.cli.align import run_align

    if not run_align(visible, infrared, out, kind=motion, overwrites=overwrite):  # pyright: ignore[reportArgumentType]
        sys.exit(1)


@app.command(short_help="Make an MSX-style picture of a visible and an infrared one.")
@click.argument("visible", type=FOLDER)
@click.argument("infrared", type=FOLDER)
@click.option("--out", type=FOLDER, default=Path("msx.png"), show_default=True, metavar="FILE")
@click.option(
    "--gain",
    type=float,
    default=1.0,
    show_default=True,
    metavar="X",
    help="How strong the outlines are; 0 gives the infrared picture.",
)
@click.option(
    "--detail",
    type=float,
    metavar="PX",
    help="How fine they are, in pixels; default: an 80th of the width.",
)
@click.option("--align/--no-align", default=True, help="Lay infrared on visible first.")
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
def msx(
    visible: Path,
    infrared: Path,
    out: Path,
    gain: float,
    detail: float | None,
    align: bool,
    overwrite: bool,
) -> None:
    """Make an MSX-style picture: the outlines of VISIBLE over the colours of INFRARED.

    MSX is a trademark of Teledyne FLIR; this is not their method.
    """
    from ferfusion.cli.align import run_msx

    run_msx(visible, infrared, out, gain=gain, detail=detail, aligns=align, overwrites=overwrite)


@app.command(short_help="Train one model on DATA and test it.")
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, metavar="RUN", help="Folder of the run.")
@settings_options(*MODEL[:1], "fusion", "steps", *MODEL[1:], *DATA, *TRAINING, *MACHINE)
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


@app.command(short_help="Test a trained model on DATA.")
@click.argument("run", type=FOLDER)
@click.argument("data", type=FOLDER)
@click.option(
    "--part",
    type=click.Choice(["auto", "all", "train", "val", "test"]),
    default="auto",
    show_default=True,
    help="Which samples; auto: all that neither trained nor chose the model. Pictures are known "
    "again by their bytes, whatever they are called.",
)
@click.option("--out", type=FOLDER, metavar="FILE", help="Write predictions to this CSV file.")
@settings_options("subject_pattern", "cache", "cache_limit", "device")
def evaluate(settings: Settings, run: Path, data: Path, part: str, out: Path | None) -> None:
    """Test the trained model in RUN on DATA, which must have the same classes."""
    from ferfusion.cli.evaluate import run_evaluate

    run_evaluate(run, data, part, out, settings)


@app.command(short_help="Make a finished run once more and compare.")
@click.argument("run", type=FOLDER)
@click.option("--data", type=FOLDER, metavar="DATA", help="Where the data lies now.")
@click.option("--out", type=FOLDER, metavar="DIR", help="Default: rerun-NAME, here.")
@settings_options("weights", "subject_pattern", "cache", "cache_limit", "device")
def rerun(settings: Settings, run: Path, data: Path | None, out: Path | None) -> None:
    """Make the finished RUN once more, from its manifest, and say whether its numbers came out.

    RUN is a folder with a run.json: of `train`, or one in DIR/runs of a study. The exit code is 0
    if every test sample got the same answer, else 1.
    """
    from ferfusion.cli.rerun import run_rerun

    if not run_rerun(run, data, out, settings):
        sys.exit(1)


@app.group(cls=_Commands, short_help="Look into files of thermal cameras, and take them apart.")
def camera() -> None:
    """Look into files of thermal cameras, and take temperatures and pictures out of them."""


@camera.command(short_help="Say what is inside files, and what can be done with them.")
@click.argument("files", type=FOLDER, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="For programs: a list, one entry a file.")
def probe(files: tuple[Path, ...], as_json: bool) -> None:
    """Say what is inside each of FILES: temperatures, photo, palette, calibration, doubts.

    FILES may be folders. A file without temperatures is no error; it is said what can still be
    done. The exit code is 2 if a file is damaged or of no known kind.
    """
    from ferfusion.cli.camera import run_probe

    run_probe(files, as_json=as_json)


@camera.command(short_help="Write temperatures, photos and aligned pictures.")
@click.argument("files", type=FOLDER, nargs=-1, required=True)
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder of what is written.")
@click.option(
    "--emissivity",
    type=float,
    metavar="X",
    help="Of what is seen, instead of what the camera was told; skin has 0.98.",
)
@click.option("--distance", type=float, metavar="M", help="Metres to it, likewise.")
@click.option(
    "--reflected", type=float, metavar="C", help="Temperature of what it mirrors, likewise."
)
@click.option("--atmospheric", type=float, metavar="C", help="Temperature of the air, likewise.")
@click.option("--humidity", type=float, metavar="X", help="Of the air, 0 to 1, likewise.")
@click.option(
    "--scale",
    metavar="NAME|GAIN,OFFSET",
    help="What a count is, of files that hold counts: celsius, kelvin, decikelvin, centikelvin, "
    "0.04K, or degrees = GAIN * count + OFFSET.",
)
@click.option(
    "--range",
    "value_range",
    metavar="LOW,HIGH",
    help="Read palette pictures, too: the temperatures of their first and last colour.",
)
@click.option(
    "--picture-palette",
    metavar="NAME|FILE",
    help="Theirs: iron, rainbow, white-hot, black-hot, or a picture of the camera's colour scale; "
    "default: what fits best.",
)
@click.option(
    "--palette",
    default="iron",
    show_default=True,
    metavar="NAME",
    help="Of the infrared pictures that are written: iron, rainbow, white-hot or black-hot.",
)
@click.option(
    "--span",
    metavar="LOW,HIGH",
    help="Temperatures of its ends, the same for all files, so that colours can be compared; "
    "default: each picture's own.",
)
@click.option("--overwrite", is_flag=True, help="Replace files of an earlier extraction.")
def extract(
    files: tuple[Path, ...],
    out: Path,
    emissivity: float | None,
    distance: float | None,
    reflected: float | None,
    atmospheric: float | None,
    humidity: float | None,
    scale: str | None,
    value_range: str | None,
    picture_palette: str | None,
    palette: str,
    span: str | None,
    overwrite: bool,
) -> None:
    """Write to DIR what is inside each of FILES, and DIR/extract.csv about all of them.

    Of each: NAME.temperature.npy and .tiff (degrees Celsius), NAME.infrared.png (in false
    colours). With a photo: NAME.photo.png. If the camera says how infrared lies on the photo:
    NAME.visible.png, NAME.infrared.png and NAME.msx.png, aligned and cut to where both exist.

    FILES may be folders. Files that give nothing are listed at the end, and the exit code is 2.
    """
    from ferfusion.cli.camera_extract import parse_extraction, run_extract

    extraction = parse_extraction(
        scale=scale,
        settings=(emissivity, distance, reflected, atmospheric, humidity),
        value_range=value_range,
        picture_palette=picture_palette,
        palette=palette,
        span=span,
        overwrites=overwrite,
    )
    run_extract(files, out, extraction)


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
    except FerfusionError as error:
        click.echo(click.style("Error: ", fg="red") + str(error), err=True)
        sys.exit(2)
    except OSError as error:
        # Of a file the user named; anything else that the system refuses is a bug of ours.
        if error.filename is None:
            raise
        click.echo(
            click.style("Error: ", fg="red")
            + f"{error.filename} can't be read or written: {error.strerror}. Choose another place, "
            "or change its permissions.",
            err=True,
        )
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "\nStopped. Nothing that was finished is lost; run the same line to go on.", err=True
        )
        sys.exit(130)


if __name__ == "__main__":
    main()
