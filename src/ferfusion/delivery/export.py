"""From a finished run to a bundle: the graph, the proof that it is the trained model, the card."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import read_split
from ferfusion.data.synthetic import is_drawn
from ferfusion.delivery.certificate import BOUNDS, PARITY_SAMPLES, Certificate, certify
from ferfusion.delivery.run_samples import have_met, read_seen, say_asked, sort_samples, spread
from ferfusion.errors import CheckpointError, ConfigError, ResultsError
from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.evaluation.coverage import AnswerRule
from ferfusion.evaluation.predictions import read_predictions
from ferfusion.evaluation.run_folder import SPLIT, TEST, read_facts
from ferfusion.inference import bundle
from ferfusion.inference.graph import export_graph
from ferfusion.inference.manners import DEFAULT_COVERAGE, read_manners
from ferfusion.inference.model_facts import ModelFacts, Precision
from ferfusion.inference.pictures import read_square
from ferfusion.inference.quantisation import Pictures
from ferfusion.models.blueprint import list_needed
from ferfusion.models.checkpoint import Checkpoint, load_checkpoint
from ferfusion.reporting.model_card import CardFacts, describe_licences, write_card
from ferfusion.sample import Sample

CALIBRATION_SAMPLES = 256

Advance = Callable[[str], None]
"""Told what begins."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was written.

    Attributes:
        path: Its folder or file.
        facts: What the model takes and gives.
        certificate: That it is the trained model.
        rule: When it would rather not answer.
    """

    path: Path
    facts: ModelFacts
    certificate: Certificate
    rule: AnswerRule | None


def export_run(
    run: Path,
    dataset: Dataset,
    out: Path,
    *,
    precision: Precision = "fp32",
    coverage: float = DEFAULT_COVERAGE,
    bound: float | None = None,
    note: str = "",
    preparation: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    advance: Advance = lambda _: None,
) -> Exported:
    """Writes a bundle of a finished run, if the graph says what the trained model says.

    Args:
        run: The folder of a single model, early or late fusion.
        dataset: What it was trained and tested on, or other samples of the same kind. Parity is
            measured on its test samples. If it has none, any will do.
        out: A new folder, or a new file that ends in `.zip`.
        precision: `int8` is calibrated on training samples, which must be there.
        coverage: Share of the validation samples that the model answers; see `AnswerRule`.
        bound: The largest difference of a probability that passes; None takes `BOUNDS`.
        note: A sentence about the data, for the card; empty takes the run's.
        preparation: How its pictures were cut to the face, where `ferfusion prepare` did it.
        overwrite: Replaces a bundle that is there already.
        advance: Told what begins.

    Raises:
        ParityError: The graph is farther off than the bound. Nothing is written.
        CheckpointError: The run can't be exported.
        DataError: No sample has all modalities that the model looks at.
        ResultsError: Something is at `out` that may not be replaced.
    """
    if out.exists() and not (overwrite and bundle.is_bundle(out)):
        raise ResultsError(
            f"{out} is there already. Give another --out, or say --overwrite if it is a bundle."
        )
    facts = read_facts(run)
    checkpoint = load_checkpoint(run)
    temperature, rule = read_manners(run, coverage)
    parts = sort_samples(run, dataset, checkpoint)
    with tempfile.TemporaryDirectory(prefix="ferfusion-export-") as folder:
        graph = Path(folder) / bundle.GRAPH
        calibration: Pictures | None = None
        if precision == "int8":
            advance("reading training pictures")
            calibration = _read_calibration(run, checkpoint, parts["train"])
        advance("exporting")
        model_facts = export_graph(
            checkpoint, graph, temperature=temperature, calibration=calibration
        )
        advance("asking graph and trained model about the same samples")
        certified = spread(parts["unseen"] or parts["train"], PARITY_SAMPLES)
        certificate = certify(
            graph, checkpoint, certified,
            bound=BOUNDS[precision] if bound is None else bound,
            asked=say_asked(run, checkpoint, parts, certified),
        )  # fmt: skip
        certificate.check(precision)
        body = {
            **_describe(
                run,
                facts,
                checkpoint,
                model_facts,
                rule,
                note or str(facts.get("note") or ""),
                is_drawn(dataset.root),
            ),
            "preparation": preparation,
        }
        proof = certificate.to_json()
        card = CardFacts(facts={**body, "answer_rule": rule and asdict(rule)}, parity=proof)
        seen = read_seen(run) or {}
        seen.pop("subjects", None)  # names of people don't travel
        bundle.write_bundle(
            out,
            graph,
            rule=rule,
            facts=body,
            texts={
                bundle.PARITY: json.dumps(proof, indent=2) + "\n",
                bundle.SEEN: json.dumps(seen) + "\n",
                bundle.CARD: write_card(card),
                bundle.LICENCES: describe_licences(
                    body["backbone"], body["weights"], is_drawn=body["trained_on"]["drawn"]
                ),
            },
        )
    return Exported(out, model_facts, certificate, rule)


def _read_calibration(run: Path, checkpoint: Checkpoint, train: Sequence[Sample]) -> Pictures:
    if not train:
        raise ConfigError(
            "An int8 graph is calibrated on training pictures, and none of the run's is in this "
            "data. Name the data it was trained on with --data, or export in fp32."
        )
    preprocessing = checkpoint.preprocessing
    chosen = spread(train, CALIBRATION_SAMPLES)
    if have_met(run, "train", checkpoint, chosen) is False:
        raise ConfigError(
            "An int8 graph is calibrated on training pictures, and those of this data that have "
            "the names of training samples are other pictures. Name the data it was trained on "
            "with --data, or export in fp32."
        )
    return {
        m: np.stack([
            read_square(
                sample.images[m],
                preprocessing.size_px,
                heat=preprocessing.heat if m == "infrared" else None,
            )
            for sample in chosen
        ])
        for m in list_needed(checkpoint.blueprint)
    }  # fmt: skip


def _describe(
    run: Path,
    facts: Mapping[str, Any],
    checkpoint: Checkpoint,
    model_facts: ModelFacts,
    rule: AnswerRule | None,
    note: str,
    were_drawn: bool,
) -> dict[str, Any]:
    """Gives what stands in bundle.json, and on the card."""
    try:
        record = facts["record"]
        split = read_split(run / SPLIT)
        seen = read_seen(run)
        return {
            "name": record["model"],
            "ferfusion": version("ferfusion"),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels": list(model_facts.labels),
            "modalities": [str(m) for m in model_facts.modalities],
            "size_px": model_facts.size_px,
            "precision": model_facts.precision,
            "temperature": model_facts.temperature,
            "infrared_as": str(model_facts.heat or "picture"),
            "fusion": record["fusion"],
            "steps": record["steps"],
            "backbone": checkpoint.blueprint.backbone,
            "weights": Path(str(facts["weights"])).name,
            "parameters": record["parameters"],
            "late_weights": facts["late_weights"],
            "recipe": dict(checkpoint.recipe),
            "trained_on": {
                "note": note,
                "fingerprint": facts["data_fingerprint"],
                "split": record["split"],
                "split_checksum": facts["split_checksum"],
                "samples": {part: len(ids) for part, ids in split.parts.items()},
                "drawn": were_drawn,
                "people_learned_from": None if seen is None else len(seen.get("subjects", ())),
                "shared_people": facts["shared_subjects"],
                "leaks": facts["leaks"],
            },
            "test": _describe_test(run, model_facts.temperature, rule),
            "versions": facts["versions"],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The facts of {run} are damaged or from an old ferfusion ({error!r}). Make the run "
            "again."
        ) from error


def _describe_test(run: Path, temperature: float, rule: AnswerRule | None) -> dict[str, Any]:
    """Counts right answers on the test split: of all, of those that are given, by class."""
    test = read_predictions(run / TEST)
    calibrated = apply_temperature(test.probs, temperature)
    least = 0.0 if rule is None else rule.least_confidence
    answered = calibrated.max(axis=1) >= least
    people = {subject for subject in test.subjects if subject is not None}
    return {
        "n": len(test),
        "people": len(people),
        "correct": int(test.correct.sum()),
        "answered": int(answered.sum()),
        "answered_correct": int(test.correct[answered].sum()),
        "by_class": {
            label: {
                "n": int((test.labels == place).sum()),
                "correct": int(test.correct[test.labels == place].sum()),
            }
            for place, label in enumerate(test.classes)
        },
    }
