"""What `ferfusion explain` was asked for and found, and how its page tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ferfusion.evaluation.faithfulness import Comparison, Curves
from ferfusion.evaluation.heat_regions import RegionTotal
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.run_folder import SEEN
from ferfusion.evaluation.shapley import Contribution, Subset
from ferfusion.inference.cam import METHODS
from ferfusion.inference.cam_sheet import Column
from ferfusion.inference.removal import RANDOM_ORDERS, STEPS
from ferfusion.inference.subsets import ABSENT
from ferfusion.modality import Modality
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.reporting.explanation_page import (
    ExplainedPicture,
    ExplainedSample,
    ExplanationPage,
)
from ferfusion.reporting.tables import format_proportion
from ferfusion.sample import Sample


@dataclass(frozen=True)
class Wishes:
    """What a person asked for.

    Attributes:
        method: Of the maps.
        explained: A class; None is each model's answer.
        sample_ids: To show; empty: chosen by how sure the model is.
        count: How many to show; None is one of each class and the worst error.
        measured: How many samples the numbers are from, at most; 0 leaves them out.
        absent: What stands for a modality that isn't known.
        part: Of the data, as for `evaluate`.
    """

    method: str
    explained: str | None
    sample_ids: tuple[str, ...]
    count: int | None
    measured: int
    absent: str
    part: str


@dataclass(frozen=True, eq=False)
class Explanation:
    """All that was found about a model; what was not measured is empty.

    Attributes:
        run: Folder of the model.
        data: Where the pictures are.
        wishes: What was asked for.
        checkpoint: The model.
        predictions: Its answers about the samples that might have been chosen.
        fingerprint: Of the data.
        shown: Samples of the sheet.
        columns: Of the sheet.
        measured: Samples that the numbers are from.
        places: Where they are in the predictions.
        explained: Index of the explained class of each.
        people: Different subjects among them.
        finding: Whether the maps are to be believed.
        curves: Of deletion and insertion.
        comparisons: Their tests.
        regions: Heat in regions of the face.
        about_regions: How these were found.
        layers: What the maps are of, per modality.
        values: Probability of the explained class when only these modalities are known.
        credit: Shapley values.
        contributions: Their averages.
        others: How many other faces stood for the unknown, and where they are from.
        seconds: How long it took.
    """

    run: Path
    data: Path
    wishes: Wishes
    checkpoint: Checkpoint
    predictions: Predictions
    fingerprint: str
    shown: tuple[Sample, ...]
    columns: tuple[Column, ...]
    measured: tuple[Sample, ...] = ()
    places: Int[np.ndarray, " measured"] = field(default_factory=lambda: np.zeros(0, np.int64))
    explained: Int[np.ndarray, " measured"] = field(default_factory=lambda: np.zeros(0, np.int64))
    people: int = 0
    finding: str = ""
    curves: Curves | None = None
    comparisons: tuple[Comparison, ...] = ()
    regions: tuple[RegionTotal, ...] = ()
    about_regions: str = ""
    layers: Mapping[Modality, str] = field(default_factory=dict)
    values: Mapping[Subset, Float[np.ndarray, " measured"]] = field(default_factory=dict)
    credit: Mapping[Modality, Float[np.ndarray, " measured"]] = field(default_factory=dict)
    contributions: tuple[Contribution, ...] = ()
    others: tuple[int, str] = (0, "")
    seconds: float = 0.0


def describe_model(checkpoint: Checkpoint) -> str:
    """Names a model for people: how it fuses, what it sees, its backbone."""
    blueprint = checkpoint.blueprint
    *first, last = (str(m) for m in blueprint.modalities)
    inputs = f"{', '.join(first)} and {last}" if first else last
    kind = "Single model" if blueprint.fusion == "single" else f"{blueprint.fusion} fusion"
    return f"{kind[0].upper()}{kind[1:]} of {inputs} ({blueprint.backbone})"


def make_page(made: Explanation) -> ExplanationPage:
    """Puts what was found into sentences and rows."""
    wishes, predictions = made.wishes, made.predictions
    correct = int(predictions.correct.sum())
    which = {
        "auto": "that it has not learned from"
        if (made.run / SEEN).exists()
        else "(nobody can tell which of them it has learned from)",
        "all": "of this data, seen or not",
    }.get(wishes.part, f"of the run's part {wishes.part}")
    facts = [
        f"Of {len(predictions)} samples {which}, the model recognises "
        f"{format_proportion(correct, len(predictions))}.",
    ]
    if made.measured:
        nameless = sum(sample.subject is None for sample in made.measured)
        people = (
            f"{nameless} of which don't say whom they show and count as people of their own"
            if nameless
            else f"of {made.people} people"
        )
        facts.append(
            f"The numbers are from {len(made.measured)} of them, {people}, drawn at random with "
            "classes as even as can be, and spread over people."
        )
        what = "the class " + wishes.explained if wishes.explained else "the model's own answer"
        facts.append(f"Explained is {what}, also where it is wrong.")
    return ExplanationPage(
        title=f"{describe_model(made.checkpoint)}, explained",
        finding=made.finding
        or f"What the model looked at in {len(made.shown)} samples. Whether its maps are to be "
        "believed was not measured (--measure 0).",
        facts=tuple(facts),
        samples=_list_shown(made),
        chosen=_tell_chosen(made),
        about_method=f"{wishes.method}: {METHODS[wishes.method]}.",
        curves=made.curves,
        comparisons=made.comparisons,
        regions=made.regions,
        about_regions=made.about_regions,
        contributions=made.contributions,
        about_contributions=_tell_contributions(made),
        settings=_list_settings(made),
    )


def _list_shown(made: Explanation) -> tuple[ExplainedSample, ...]:
    rows: list[ExplainedSample] = []
    for row, sample in enumerate(made.shown):
        cells = [(column, column.cells[row]) for column in made.columns]
        rows.append(
            ExplainedSample(
                sample.id,
                f"labelled {sample.expression}",
                tuple(
                    ExplainedPicture(
                        column.title
                        if column.title == column.modality
                        else f"{column.title}, in {column.modality}",
                        cell.picture, cell.words, cell.is_wrong,
                    )
                    for column, cell in cells
                ),
            )
        )  # fmt: skip
    return tuple(rows)


def _tell_chosen(made: Explanation) -> str:
    wishes = made.wishes
    if wishes.sample_ids:
        chosen = "These samples were asked for by name."
    else:
        chosen = (
            "Chosen by rule: of each class the sample that this model recognises most surely, and "
            "the wrong answer that it gives most surely"
        )
        chosen += ", then the next of each." if wishes.count else "."
        chosen += " So they show its best and its worst, not its average."
    singles = [c.title for c in made.columns if c.title.endswith(" alone")]
    if singles:
        chosen += " The single models are those of the same split, each with its own answer."
    return chosen


def _tell_contributions(made: Explanation) -> tuple[str, ...]:
    if made.checkpoint.blueprint.fusion == "single":
        (modality,) = made.checkpoint.blueprint.modalities
        return (
            f"This model sees {modality} pictures only, so all of every answer comes from there.",
        )
    if not made.contributions:
        return ("This was not measured (--measure 0).",)
    whole = max(made.values, key=len)
    known, unknown = (float(made.values[s].mean()) for s in (whole, frozenset[Modality]()))
    n_others, where = made.others
    absent = made.wishes.absent
    about = f"Where a modality is taken as unknown, {ABSENT[absent]}."
    if absent != "left-out":
        about += f" The other faces are {n_others}, from {where}, of all classes alike."
    said = [f"{c.modality} {100 * c.mean:+.1f}" for c in made.contributions if c.explained is None]
    return (
        f"With nothing known the explained class has {100 * unknown:.1f} %, with all pictures "
        f"{100 * known:.1f} %. In percentage points, the step is made of {', '.join(said)}.",
        "These are exact Shapley values: what knowing a modality adds to the probability of the "
        f"explained class, averaged over all orders in which they become known. {about}",
    )


def _list_settings(made: Explanation) -> tuple[tuple[str, str], ...]:
    wishes, checkpoint = made.wishes, made.checkpoint
    rows = [
        ("model", f"{made.run}: {describe_model(checkpoint)}"),
        ("data", f"{made.data} (fingerprint {made.fingerprint[:12]})"),
        ("method", f"{wishes.method}, as in captum"),
        ("explained", wishes.explained or "each model's own answer"),
    ]
    rows += [(f"layer, {modality}", layer) for modality, layer in made.layers.items()]
    if made.measured:
        rows += [
            ("samples measured", str(len(made.measured))),
            ("curves", f"{STEPS} steps, mean of {RANDOM_ORDERS} random orders a sample"),
        ]
    if made.contributions:
        rows.append(("unknown modality", wishes.absent))
    return (*rows, ("took", f"{made.seconds:.0f} s"))
