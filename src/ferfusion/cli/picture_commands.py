"""The commands about pictures: camera, prepare, align, msx, subjects. Nothing heavy here."""

import sys
from pathlib import Path

import click

from ferfusion.cli.groups import FOLDER, Commands
from ferfusion.preprocessing import parse_span

_covers = click.option(
    "--infrared-covers",
    type=float,
    metavar="X",
    help="About how much of the visible picture's width infrared shows, if that isn't all and no "
    "camera file says it: 0.7, or 1.4 if it shows more.",
)


@click.group(cls=Commands, short_help="Look into files of thermal cameras, and take them apart.")
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


@click.command(short_help="Make a clean data set of a folder: faces, alignment, MSX.")
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
@_covers
@click.option("--msx/--no-msx", default=True, help="Make MSX-style pictures where there are none.")
@click.option(
    "--span",
    metavar="LOW,HIGH",
    help="Of temperatures: those of the first and the last colour, the same for all pictures; "
    "default: each picture's own.",
)
@click.option("--emissivity", type=float, metavar="X", help="Of FLIR files; skin has 0.98.")
@click.option("--scale", metavar="NAME", help="Of 16-bit files: centikelvin or GAIN,OFFSET.")
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
    infrared_covers: float | None,
    msx: bool,
    span: str | None,
    emissivity: float | None,
    scale: str | None,
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
        infrared_covers=infrared_covers,
        makes_msx=msx,
        span_c=parse_span("--span ", span) if span else None,
        emissivity=emissivity,
        scale=scale,
    )
    run_prepare(
        data,
        out,
        preparation,
        subject_pattern=subject_pattern,
        workers=workers,
        overwrites=overwrite,
    )


@click.command(short_help="Lay infrared pictures on visible ones.")
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
@_covers
@click.option("--overwrite", is_flag=True, help="Replace an alignment that is there already.")
def align(
    visible: Path,
    infrared: Path,
    out: Path,
    motion: str,
    infrared_covers: float | None,
    overwrite: bool,
) -> None:
    """Lay INFRARED on VISIBLE: two pictures, or two folders with pictures of the same names.

    Writes DIR/alignment.csv with the motion of each infrared picture and how sure it is, the
    pictures as they lie on the visible ones, and a sheet to look at. The exit code is 0 if all
    pairs pass, else 1.
    """
    from ferfusion.cli.align import run_align

    passed = run_align(
        visible,
        infrared,
        out,
        kind=motion,  # pyright: ignore[reportArgumentType]
        infrared_covers=infrared_covers,
        overwrites=overwrite,
    )
    if not passed:
        sys.exit(1)


@click.command(short_help="Make an MSX-style picture of a visible and an infrared one.")
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
@click.option(
    "--palette",
    default="iron",
    show_default=True,
    metavar="NAME",
    help="Where INFRARED holds temperatures: iron, rainbow, white-hot or black-hot.",
)
@click.option(
    "--span",
    metavar="LOW,HIGH",
    help="Of these: temperatures of the first and the last colour; default: the picture's own.",
)
@click.option("--align/--no-align", default=True, help="Lay infrared on visible first.")
@_covers
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
def msx(
    visible: Path,
    infrared: Path,
    out: Path,
    gain: float,
    detail: float | None,
    palette: str,
    span: str | None,
    align: bool,
    infrared_covers: float | None,
    overwrite: bool,
) -> None:
    """Make an MSX-style picture: the outlines of VISIBLE over the colours of INFRARED.

    MSX is a trademark of Teledyne FLIR; this is not their method.
    """
    from ferfusion.cli.align import Overlay, run_msx

    span_c = parse_span("--span ", span) if span else None
    overlay = Overlay(gain, detail, palette, span_c, align, infrared_covers)
    run_msx(visible, infrared, out, overlay, overwrites=overwrite)


@click.command(short_help="Guess who is who in DATA, as a CSV to correct by hand.")
@click.argument("data", type=FOLDER)
@click.option(
    "--out",
    type=FOLDER,
    default=Path("subjects-guess.csv"),
    show_default=True,
    metavar="FILE",
    help="Where the guesses are written.",
)
@click.option(
    "--by",
    type=click.Choice(["auto", "names", "times", "appearance"]),
    default="auto",
    show_default=True,
    help="What to go by; auto takes the surer of names and times. Appearance is a weak hint.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
def subjects(data: Path, out: Path, by: str, overwrite: bool) -> None:
    """Guess who is who in DATA where nobody wrote it down, and write a CSV to correct by hand.

    Each sample gets a subject, how sure that is, and why; the doubtful ones come first. No study
    uses the file until you save it as subjects.csv beside the data.
    """
    from ferfusion.cli.subjects import run_subjects

    run_subjects(data, out, by, overwrites=overwrite)
