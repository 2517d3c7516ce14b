"""From a finished run to a bundle: the graph, the proof that it is the trained model, the card."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import read_split
from ferfusion.data.synthetic import is_drawn
from ferfusion.errors import CheckpointError, ConfigError, DataError, ParityError, ResultsError
from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.evaluation.coverage import AnswerRule
from ferfusion.evaluation.predictions import read_predictions
from ferfusion.evaluation.run_folder import SEEN, SPLIT, TEST, read_facts
from ferfusion.imaging.file_bytes import fingerprint_bytes, read_bytes
from ferfusion.inference import bundle
from ferfusion.inference.engines import Engine
from ferfusion.inference.graph import export_graph
from ferfusion.inference.manners import DEFAULT_COVERAGE, read_manners
from ferfusion.inference.model_facts import ModelFacts, Precision
from ferfusion.inference.parity import Parity, find_worst, measure_parity
from ferfusion.inference.pictures import read_square
from ferfusion.inference.quantisation import Pictures
from ferfusion.inference.runner import list_engines, open_graph
from ferfusion.models.blueprint import list_needed
from ferfusion.models.checkpoint import Checkpoint, load_checkpoint
from ferfusion.reporting.model_card import CardFacts, describe_licences, write_card
from ferfusion.sample import Sample

BOUNDS: Mapping[Precision, float] = {"fp32": 1e-3, "int8": 0.1}
"""How far a probability may be off: fp32 sums in another order, int8 rounds every number."""

PARITY_SAMPLES = 200
CALIBRATION_SAMPLES = 256
WHOLE_SIZES: tuple[tuple[int, int] | None, ...] = (None, (640, 480), (97, 131))
"""Width and height of pictures that the graph is asked to squeeze itself; None as in the files."""
WHOLE_SAMPLES = 24
WHOLE_BOUND = 0.01
"""Of pictures that the graph squeezes: an average between two levels may be rounded to the other
one, and a level in a thousand pixels moves probabilities by about 0.001."""

Advance = Callable[[str], None]
"""Told what begins."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was written.

    Attributes:
        path: Its folder or file.
        facts: What the model takes and gives.
        parity: The certificate's figures, the worst of all engines and ways in.
        asked: What samples these are of.
        bound: What they were held against.
        rule: When it would rather not answer.
    """

    path: Path
    facts: ModelFacts
    parity: Parity
    asked: str
    bound: float
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
    parts = _sort_samples(run, dataset, checkpoint)
    limit = BOUNDS[precision] if bound is None else bound
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
        certified = _spread(parts["unseen"] or parts["train"], PARITY_SAMPLES)
        by_engine = _measure(graph, checkpoint, certified)
        parity = find_worst(list(by_engine.values()))
        asked = _say_asked(run, checkpoint, parts, certified)
        whole, whole_limit = _measure_whole(graph, checkpoint, certified), max(limit, WHOLE_BOUND)
        for found, most in ((parity, limit), (whole, whole_limit)):
            if not found.holds(most):
                raise ParityError(
                    f"The {precision} graph is not the trained model: a probability is off by "
                    f"{found.max_probability_difference:.3g}, more than the bound {most:g}, and "
                    f"{100 * found.label_agreement:.1f} % of {found.samples} labels agree. Nothing "
                    f"is written. {_advise(precision, most)}"
                )
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
        certificate = {
            **asdict(parity),
            "bound": limit,
            "asked": asked,
            "squeezed_in_graph": {
                **asdict(whole),
                "bound": whole_limit,
                "sizes": [
                    "as in the files" if size is None else f"{size[0]} x {size[1]}"
                    for size in WHOLE_SIZES
                ],
            },
            "engines": {_name(e): asdict(p) for e, p in by_engine.items()},
        }
        card = CardFacts(facts={**body, "answer_rule": rule and asdict(rule)}, parity=certificate)
        seen = _read_seen(run) or {}
        seen.pop("subjects", None)  # names of people don't travel
        bundle.write_bundle(
            out,
            graph,
            rule=rule,
            facts=body,
            texts={
                bundle.PARITY: json.dumps(certificate, indent=2) + "\n",
                bundle.SEEN: json.dumps(seen) + "\n",
                bundle.CARD: write_card(card),
                bundle.LICENCES: describe_licences(
                    body["backbone"], body["weights"], is_drawn=body["trained_on"]["drawn"]
                ),
            },
        )
    return Exported(out, model_facts, parity, asked, limit, rule)


def _sort_samples(
    run: Path, dataset: Dataset, checkpoint: Checkpoint
) -> dict[str, tuple[Sample, ...]]:
    """Gives the samples that trained the model, that tested it, and all it hasn't learned from."""
    needed = list_needed(checkpoint.blueprint)
    complete = dataset.complete_in(needed).samples
    if not complete:
        raise DataError(
            f"No sample of {dataset.root} has all that this model looks at: {', '.join(needed)}. "
            "Name the data it was trained on with --data."
        )
    split = read_split(run / SPLIT) if (run / SPLIT).is_file() else None
    part_of = {} if split is None else {i: part for part, ids in split.parts.items() for i in ids}
    train = tuple(s for s in complete if part_of.get(s.id) == "train")
    test = tuple(s for s in complete if part_of.get(s.id) == "test")
    others = tuple(s for s in complete if s.id not in part_of)
    return {"train": train, "test": test, "unseen": test or others}


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Takes at most so many, spread evenly over the data, which lies sorted by class."""
    if len(samples) <= count:
        return list(samples)
    return [samples[row] for row in np.linspace(0, len(samples) - 1, count).round().astype(int)]


def _read_seen(run: Path) -> dict[str, list[str]] | None:
    """Reads which picture files the run met, by their hashes; None where nobody wrote it down."""
    return json.loads((run / SEEN).read_text()) if (run / SEEN).is_file() else None


def _have_met(
    run: Path, part: str, checkpoint: Checkpoint, samples: Sequence[Sample]
) -> bool | None:
    """Says whether all these very pictures were in a part of the run's data; None: nobody knows."""
    seen = _read_seen(run)
    if seen is None:
        return None
    met = set(seen.get(part, ()))
    files = (sample.images[m] for sample in samples for m in list_needed(checkpoint.blueprint))
    return all(fingerprint_bytes(read_bytes(file)) in met for file in files)


def _say_asked(
    run: Path,
    checkpoint: Checkpoint,
    parts: Mapping[str, Sequence[Sample]],
    certified: Sequence[Sample],
) -> str:
    """Says what the certificate's samples are."""
    if not parts["test"]:
        return "samples of the data given"
    known = _have_met(run, "test", checkpoint, certified)
    if known is None:
        return f"samples named as the test samples; the run has no {SEEN}, so nobody can tell more"
    return "test samples" if known else "other data than the run's: the pictures differ"


def _advise(precision: Precision, limit: float) -> str:
    if limit < BOUNDS[precision]:
        return f"The usual bound is {BOUNDS[precision]:g}; this one was given with --bound."
    if precision == "int8":
        return "Export in fp32, or allow more with --bound if you accept the loss."
    return "Please report this, with the versions that `ferfusion check` prints."


def _read_calibration(run: Path, checkpoint: Checkpoint, train: Sequence[Sample]) -> Pictures:
    if not train:
        raise ConfigError(
            "An int8 graph is calibrated on training pictures, and none of the run's is in this "
            "data. Name the data it was trained on with --data, or export in fp32."
        )
    preprocessing = checkpoint.preprocessing
    chosen = _spread(train, CALIBRATION_SAMPLES)
    if _have_met(run, "train", checkpoint, chosen) is False:
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


def _measure(
    graph: Path, checkpoint: Checkpoint, samples: Sequence[Sample]
) -> dict[Engine, Parity]:
    """Asks every engine that is installed, as `load` does."""
    found: dict[Engine, Parity] = {}
    for engine in list_engines():
        try:
            runner = open_graph(graph, engine=engine)
        except ConfigError:
            if engine == "onnxruntime":
                raise
            continue  # it refuses this graph on this processor, also when somebody loads it
        found[engine] = measure_parity(runner, checkpoint, samples)
    return found


def _measure_whole(graph: Path, checkpoint: Checkpoint, samples: Sequence[Sample]) -> Parity:
    """Asks the graph about pictures of other sizes, as others may do without ferfusion."""
    runner, few = open_graph(graph), _spread(samples, WHOLE_SAMPLES)
    return find_worst([
        measure_parity(runner, checkpoint, few, in_graph_resize=True, whole_size=size)
        for size in WHOLE_SIZES
    ])  # fmt: skip


def _name(engine: Engine) -> str:
    """Gives an engine's name and version; the distribution may be called otherwise."""
    return f"{engine} {import_module(engine).__version__.partition('-')[0]}"


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
        seen = _read_seen(run)
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
