"""`ferfusion export`: a trained model as a bundle that runs without PyTorch, with its proof."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ferfusion.cli.like_training import read_settings
from ferfusion.cli.setup import open_data, say
from ferfusion.config import Settings
from ferfusion.delivery.export import export_run
from ferfusion.errors import ConfigError
from ferfusion.evaluation.run_folder import read_facts
from ferfusion.inference.model_facts import Precision


def run_export(
    run: Path,
    out: Path,
    settings: Settings,
    *,
    data: Path | None,
    precision: Precision,
    coverage: float,
    bound: float | None,
    overwrite: bool,
) -> None:
    """Exports the run and says what was written and how near it is."""
    facts = read_facts(run)
    root = Path(str(facts.get("data", "")))
    if data is None and not (str(root) and root.exists()):
        raise ConfigError(
            f"The data that {run} was trained on is not at {root} any more. Parity is measured on "
            "its samples: say where it lies now with --data DATA."
        )
    setup = facts.get("setup", {})
    settings = replace(
        settings,
        infrared_as=str(setup.get("infrared_as", settings.infrared_as)),
        subject_pattern=settings.subject_pattern or str(setup.get("subject_pattern") or ""),
    )
    dataset = open_data(data or root, settings)
    console = Console(stderr=True, highlight=False)
    with console.status("reading the model") as status:
        made = export_run(
            run,
            dataset,
            out,
            precision=precision,
            coverage=coverage,
            bound=bound,
            note=settings.note,
            preparation=read_settings(data or root),
            overwrite=overwrite,
            advance=status.update,
        )
    certificate, parity = made.certificate, made.certificate.parity
    if certificate.asked != "test samples":
        say(f"Careful: the certificate is of {certificate.asked}.", colour="yellow")
    say(
        f"Parity with the trained model on {parity.samples} samples: the largest difference of a "
        f"probability is {parity.max_probability_difference:.2g} (bound {certificate.bound:g}), "
        f"before calibration {parity.max_uncalibrated_difference:.2g}; "
        f"{100 * parity.label_agreement:.1f} % of the labels agree."
    )
    if made.rule is None:
        say("It always answers: the run has no validation predictions to choose by.")
    else:
        say(
            f"It would rather not say where it is less sure than {made.rule.least_confidence:.3f}: "
            f"{coverage:.0%} of {made.rule.n} validation samples are answered (--coverage)."
        )
    say(f"The bundle: {out}. Its card: {'README.md in it' if out.is_file() else out / 'README.md'}")
    say(f"Use it: ferfusion predict {out} --help, ferfusion evaluate {out} DATA")
