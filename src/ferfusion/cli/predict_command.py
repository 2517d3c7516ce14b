"""The command line of `ferfusion predict`. Nothing heavy is imported here."""

import os
import sys
from pathlib import Path
from typing import Any, Literal

import click

from ferfusion.cli.groups import ENGINE, FOLDER

_SOURCE = "picture, folder or video; with --live the number or address of a camera."
_LENGTH = click.FloatRange(0)


@click.command(short_help="Ask a trained model about pictures, videos or cameras.")
@click.argument("model", type=FOLDER)
@click.argument("data", type=FOLDER, required=False)
@click.option("--visible", metavar="SOURCE", help=f"Visible {_SOURCE}")
@click.option("--infrared", metavar="SOURCE", help="Infrared one, likewise.")
@click.option("--msx", metavar="SOURCE", help="MSX one, likewise; made where it is missing.")
@click.option("--live", is_flag=True, help="The sources are cameras; Ctrl-C ends it.")
@click.option(
    "--out", type=FOLDER, metavar="FILE", help="Write answers there: .csv, or .jsonl (a line each)."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl", "table"]),
    help="Of the answers, whatever FILE is called; table is for people. Default without FILE: a "
    "table on a terminal, else jsonl.",
)
@click.option(
    "--video-out", type=FOLDER, metavar="FILE", help="Write the video with answers drawn onto it."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option(
    "--find-face/--as-is",
    "finds_face",
    default=None,
    help="Find the face and cut it out as `prepare` does, or take pictures as they are. Default: "
    "--as-is for pictures, --find-face for videos and cameras.",
)
@click.option(
    "--like",
    type=FOLDER,
    metavar="DIR",
    help="A folder that `prepare` wrote, whose options are used to find faces; default: those of "
    "`prepare`.",
)
@click.option(
    "--motion",
    metavar="FILE|LINE",
    help="How infrared frames lie on visible ones: the alignment.csv of `align`, or a line of it; "
    "default: found in the first seconds.",
)
@click.option(
    "--offset",
    type=float,
    metavar="SECONDS",
    help="How much later than the visible video the infrared one was started; below 0: earlier.",
)
@click.option(
    "--tolerance",
    type=_LENGTH,
    metavar="SECONDS",
    help="How far apart frames of one moment may be; default: a frame of the slower video, at most "
    "0.2.",
)
@click.option(
    "--smooth",
    type=_LENGTH,
    metavar="SECONDS",
    help="Of videos and cameras: smooth probabilities over time; default: 0.3, and 0 turns it off.",
)
@click.option(
    "--detect-every",
    type=click.IntRange(1),
    metavar="N",
    help="Frames from one look for the face to the next; default: 5.",
)
@click.option("--seconds", type=_LENGTH, metavar="S", help="Stop a video or cameras after that.")
@click.option(
    "--least-confidence",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="It would rather not say below that; default: as the model was exported; 0: never.",
)
@ENGINE
def predict(
    model: Path,
    data: Path | None,
    visible: str | None,
    infrared: str | None,
    msx: str | None,
    live: bool,
    out: Path | None,
    form: Literal["csv", "jsonl", "table"] | None,
    video_out: Path | None,
    overwrite: bool,
    finds_face: bool | None,
    like: Path | None,
    motion: str | None,
    offset: float | None,
    tolerance: float | None,
    smooth: float | None,
    detect_every: int | None,
    seconds: float | None,
    least_confidence: float | None,
    engine: Any,
) -> None:
    """Ask MODEL which expression faces show: in pictures, folders, a data set, videos or live.

    MODEL is a bundle that `export` wrote, which needs no PyTorch, or the folder of a run. DATA is a
    data set, a table, or a folder of pictures; of a model of one modality also one picture or
    video.

    \b
    One face:      predict MODEL --visible face.jpg --infrared heat.jpg
    Two folders:   predict MODEL --visible DIR --infrared DIR --out answers.csv
    A table:       predict MODEL samples.csv      (columns visible, infrared, msx)
    A data set:    predict MODEL DATA             (says what is right, too)
    Two videos:    predict MODEL --visible a.mp4 --infrared b.mp4 --video-out c.mp4
    Two cameras:   predict MODEL --live --visible 0 --infrared 2

    The exit code is 0 if anything was answered, 1 if nothing was, and 2 for a mistake in the line
    itself.
    """  # noqa: D301  (click wants the character that \b stands for)
    from ferfusion.cli.predict import run_predict
    from ferfusion.cli.predict_request import Request
    from ferfusion.modality import Modality

    given = {Modality.VISIBLE: visible, Modality.INFRARED: infrared, Modality.MSX: msx}
    request = Request(
        sources={m: source for m, source in given.items() if source is not None},
        data=data,
        out=out,
        form=None if form == "table" else form,
        is_table=form == "table",
        overwrites=overwrite,
        finds_face=finds_face,
        like=like,
        motion=motion,
        offset_s=offset,
        tolerance_s=tolerance,
        smooth_s=smooth,
        every=detect_every,
        video_out=video_out,
        is_live=live,
        seconds=seconds,
    )
    try:
        did = run_predict(model, request, engine=engine, least_confidence=least_confidence)
    except BrokenPipeError:
        # Who reads has seen enough, as `head` does; Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        did = True
    if not did:
        sys.exit(1)
