"""The commands for a trained model: test it, explain it, carry it away, make it again."""

import sys
from pathlib import Path
from typing import Any, Literal

import click

from ferfusion.cli.groups import ENGINE, FOLDER, Commands
from ferfusion.cli.options import settings_options
from ferfusion.config import Settings


@click.command(short_help="Test a trained model on DATA.")
@click.argument("model", type=FOLDER)
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
@ENGINE
@settings_options("subject_pattern", "cache", "cache_limit", "device")
def evaluate(
    settings: Settings,
    model: Path,
    data: Path,
    part: str,
    out: Path | None,
    engine: Any,
) -> None:
    """Test a trained model on DATA, which must have the same classes.

    MODEL is the folder of a run, or a bundle that was exported of it.
    """
    from ferfusion.cli.evaluate import run_evaluate

    run_evaluate(model, data, part, out, engine, settings)


@click.command(short_help="Write a trained model as a bundle that runs without PyTorch.")
@click.argument("run", type=FOLDER)
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    metavar="BUNDLE",
    help="Folder of the bundle, or one file if it ends in .zip.",
)
@click.option(
    "--data", type=FOLDER, metavar="DATA", help="The run's data; default: where it lay in training."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    show_default=True,
    help="Of its arithmetic. int8 is faster and smaller, and changes some answers.",
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Share of the validation samples that it answers; of the others it would rather not say.",
)
@click.option(
    "--bound",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Largest difference of a probability that passes; default: 0.001 in fp32, 0.1 in int8.",
)
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@settings_options("subject_pattern", "note")
def export(
    settings: Settings,
    run: Path,
    out: Path,
    data: Path | None,
    precision: Literal["fp32", "int8"],
    coverage: float,
    bound: float | None,
    overwrite: bool,
) -> None:
    """Write the trained model in RUN as a bundle: ONNX graph, labels, model card, licences, proof.

    The proof is parity: graph and trained model are asked about the same samples, and if their
    probabilities differ by more than the bound, nothing is written. A bundle takes pictures of any
    size as they are, and needs no PyTorch: pip install 'ferfusion[runtime]'.
    """
    from ferfusion.cli.export import run_export

    run_export(
        run,
        out,
        settings,
        data=data,
        precision=precision,
        coverage=coverage,
        bound=bound,
        overwrite=overwrite,
    )


@click.group(cls=Commands)
def hub() -> None:
    """Bundles to and from the Hugging Face hub."""


@hub.command()
@click.argument("bundle", type=FOLDER)
@click.argument("name", metavar="USER/MODEL")
@click.option("--public", is_flag=True, help="Let everybody see a new model; default: only you.")
def push(bundle: Path, name: str, public: bool) -> None:
    """Upload a bundle that was exported, with its model card.

    The model is private unless you say otherwise: weights that learned from faces may not be
    everybody's to see. Log in first, with `hf auth login` or HF_TOKEN.
    """
    from ferfusion.delivery.hub import push_bundle

    click.echo(f"Uploaded: {push_bundle(bundle, name, is_public=public)}")


@hub.command()
@click.argument("name", metavar="USER/MODEL")
@click.option("--out", type=FOLDER, required=True, metavar="BUNDLE", help="A new folder.")
@click.option("--revision", metavar="COMMIT", help="A commit, tag or branch; default: the newest.")
def pull(name: str, out: Path, revision: str | None) -> None:
    """Download a bundle, and check that it is the one that was certified."""
    from ferfusion.delivery.hub import pull_bundle

    pull_bundle(name, out, revision=revision)
    click.echo(f"The bundle: {out}. Read its card first: {out / 'README.md'}")


@click.command(short_help="Show what a trained model looked at, and how far to believe it.")
@click.argument("run", type=FOLDER)
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Folder for what is made.")
@click.option(
    "--method",
    default="gradcam",
    show_default=True,
    metavar="NAME",
    help="Of the maps: gradcam, hirescam, occlusion, integrated-gradients or saliency.",
)
@click.option(
    "--class",
    "explained",
    metavar="NAME",
    help="Explain this class everywhere; default: the answer that the model gave.",
)
@click.option(
    "--samples",
    metavar="IDS",
    help="Show these samples, ids divided by commas; default: the surest of each class and the "
    "surest error.",
)
@click.option(
    "--count", type=click.IntRange(1, 100), metavar="N", help="Show so many, chosen the same way."
)
@click.option(
    "--measure",
    type=click.IntRange(0, 1000),
    default=100,
    show_default=True,
    metavar="N",
    help="Samples for faithfulness, regions of the face and shares of modalities; 0: maps only.",
)
@click.option(
    "--absent",
    default="others",
    show_default=True,
    metavar="WAY",
    help="What stands for a modality that is taken as unknown: pictures of others, their mean, or "
    "left-out (late fusion only).",
)
@click.option(
    "--part",
    type=click.Choice(["auto", "all", "train", "val", "test"]),
    default="auto",
    show_default=True,
    help="Which samples; auto: all that neither trained nor chose the model.",
)
@click.option("--overwrite", is_flag=True, help="Replace what an earlier explain wrote to DIR.")
@settings_options("subject_pattern", "cache", "cache_limit", "device")
def explain(
    settings: Settings,
    run: Path,
    data: Path,
    out: Path,
    method: str,
    explained: str | None,
    samples: str | None,
    count: int | None,
    measure: int,
    absent: str,
    part: str,
    overwrite: bool,
) -> None:
    """Show what the model in RUN looked at in pictures of DATA, and how far to believe it.

    Writes DIR/explained.html: heat maps beside the pictures, for each modality of a fused model;
    whether these maps are better than random (deletion and insertion); how much heat lies in
    which part of the face; and how much each modality gave (exact Shapley values). DIR/sheet.png
    has the maps as one picture, CSV files have the numbers. The pages and pictures show faces of
    your data. Needs the extra [explain].
    """
    from ferfusion.cli.explain import run_explain
    from ferfusion.cli.explanation import Wishes

    ids = tuple(one.strip() for one in (samples or "").split(",") if one.strip())
    wishes = Wishes(method, explained, ids, count, measure, absent, part)
    run_explain(run, data, out, wishes, settings, overwrites=overwrite)


@click.command(short_help="Make a finished run once more and compare.")
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
