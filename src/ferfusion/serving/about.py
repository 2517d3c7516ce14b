"""What a server tells of its model: what it looks at, how good it was, what it isn't for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ferfusion.errors import CheckpointError
from ferfusion.evaluation.proportion import wilson
from ferfusion.evaluation.run_folder import RUN, read_facts
from ferfusion.inference.bundle import is_bundle, open_bundle
from ferfusion.inference.predictor import Predictor
from ferfusion.responsible_use import RESPONSIBLE_USE


@dataclass(frozen=True)
class Accuracy:
    """How many answers on the test part were right, and the 95 % interval of that rate."""

    correct: int
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class About:
    """A model, for people.

    Attributes:
        name: Of its folder or file, without what lies above.
        labels: Its classes.
        modalities: What it looks at.
        size_px: Side of the square it looks at.
        takes_temperatures: Whether its infrared pictures are files with temperatures.
        backbone: Of each modality.
        fusion: `single`, `early` or `late`.
        precision: Of its arithmetic.
        least_confidence: Below this it would rather not say; 0 if it always answers.
        accuracy: On its test part, where known.
        trained_on: What is known of the data and the people, in sentences.
        responsible_use: What the labels are, and where the model must not be used.
    """

    name: str
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    size_px: int
    takes_temperatures: bool
    backbone: str
    fusion: str
    precision: str
    least_confidence: float
    accuracy: Accuracy | None
    trained_on: tuple[str, ...]
    responsible_use: tuple[str, ...] = RESPONSIBLE_USE

    def to_json(self) -> dict[str, Any]:
        """Gives plain values."""
        return asdict(self)


def describe_model(model: Predictor) -> About:
    """Gathers what is known of a model, from itself and from what lies beside it.

    Raises:
        CheckpointError: What its bundle says is damaged.
    """
    path, facts = Path(model.name), model.facts
    said = _read_said(path)
    try:
        accuracy, trained_on = _find_accuracy(said), _find_training(said)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"What {path} says of its training and its test is damaged ({error!r}). Export the "
            "model again."
        ) from error
    return About(
        name=path.resolve().name,
        labels=model.labels,
        modalities=tuple(map(str, model.modalities)),
        size_px=facts.size_px,
        takes_temperatures=facts.heat is not None,
        backbone=facts.backbone,
        fusion=facts.fusion,
        precision=facts.precision,
        least_confidence=model.rule.least_confidence if model.rule else 0.0,
        accuracy=accuracy,
        trained_on=trained_on,
    )


def _read_said(path: Path) -> Mapping[str, Any]:
    """Gives all that the bundle or the run says; a bare graph says nothing."""
    if is_bundle(path):
        return open_bundle(path).facts
    return read_facts(path) if (path / RUN).is_file() else {}


def _find_accuracy(said: Mapping[str, Any]) -> Accuracy | None:
    """Finds the test result: bundles say `test`, runs say `record`."""
    test, record = said.get("test", {}), said.get("record", {})
    correct = test.get("correct", record.get("correct"))
    n = test.get("n", record.get("n_test"))
    if not correct and not n:
        return None
    interval = wilson(int(correct), int(n))
    return Accuracy(int(correct), int(n), interval.low, interval.high)


def _find_training(said: Mapping[str, Any]) -> tuple[str, ...]:
    """Says on what and on whom the model was trained, as far as its bundle does."""
    learned = said.get("trained_on", {})
    if not learned:
        return ()
    sentences = [f"{learned['samples']['train']} samples trained it."]
    if learned.get("note"):
        sentences.insert(0, learned["note"])
    people = learned.get("people_learned_from")
    if learned.get("drawn"):
        sentences.append(
            "Its faces were drawn by software, of people who don't exist: its accuracy says "
            "nothing about real ones."
        )
    elif learned.get("leaks") or learned.get("shared_people"):
        sentences.append(
            "Test samples were not kept apart from training, so its accuracy is flattered."
        )
    elif people:
        sentences.append(
            f"It learned from {people} people; others tested it. Their age, sex and origin aren't "
            "recorded."
        )
    elif people is None:
        sentences.append("On how many people isn't known.")
    else:
        sentences.append(
            "Nobody said who is who, so the same people may have trained and tested it."
        )
    return tuple(sentences)
