"""Whether an exported graph says what the trained model says, on real samples."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.data.cache import resize
from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.imaging.heat_input import read_picture
from ferfusion.inference.pictures import read_square
from ferfusion.inference.runner import Runner
from ferfusion.inference.torch_engine import open_checkpoint
from ferfusion.modality import Modality
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.sample import Sample

_BATCH = 8


@dataclass(frozen=True)
class Parity:
    """How far a graph is from the model it was made of.

    Attributes:
        samples: How many both were asked about.
        max_probability_difference: The largest, over samples and classes.
        max_uncalibrated_difference: Likewise, before logits are divided by the temperature. Where
            that is high, calibrated probabilities are near each other and hide differences.
        label_agreement: Share of the samples to which both give the same label.
    """

    samples: int
    max_probability_difference: float
    max_uncalibrated_difference: float
    label_agreement: float

    def holds(self, bound: float) -> bool:
        """Says whether no probability is farther off than a bound."""
        return self.max_probability_difference <= bound


def measure_parity(
    runner: Runner,
    checkpoint: Checkpoint,
    samples: Iterable[Sample],
    *,
    in_graph_resize: bool = False,
    whole_size: tuple[int, int] | None = None,
    reduced: bool = False,
) -> Parity:
    """Asks the graph and the trained model about the same samples, from files to probabilities.

    Args:
        runner: The graph.
        checkpoint: What it was made of. The model is asked in fp32.
        samples: Each with all modalities that the graph takes; best ones not seen in training.
        in_graph_resize: Whether the graph gets pictures as they are in their files, and squeezes
            them itself; otherwise squeezed ones, as `predict_stream` gives it.
        whole_size: Width and height that pictures are brought to first, for both.
        reduced: Whether the graph gets pictures as `read_square` gives them with `reduced`. The
            model always gets those without.

    Raises:
        ValueError: There is no sample.
    """
    size = checkpoint.preprocessing.size_px
    trained = open_checkpoint(checkpoint, temperature=runner.facts.temperature)
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    for batch in _split(samples):
        files = [{m: s.images[m] for m in runner.facts.modalities} for s in batch]
        whole = [
            {m: read_picture(file, runner.facts.heat_of(m)) for m, file in of.items()}
            for of in files
        ]
        if whole_size is not None:
            whole = [{m: cv2.resize(p, whole_size) for m, p in of.items()} for of in whole]
        squeezed = [{m: resize(p, size) for m, p in pictures.items()} for pictures in whole]
        theirs.append(trained.predict(_stack(squeezed)))
        if in_graph_resize:
            # Pictures of different samples may differ in size, so they go one by one.
            ours += [runner.predict({m: p[None] for m, p in one.items()}) for one in whole]
        elif reduced:
            ours.append(runner.predict(_stack([
                {
                    m: read_square(file, size, reduced=True, heat=runner.facts.heat_of(m))
                    for m, file in of.items()
                }
                for of in files
            ])))  # fmt: skip
        else:
            ours.append(runner.predict(_stack(squeezed)))
    if not ours:
        raise ValueError("parity needs at least one sample")
    return compare_probs(np.concatenate(ours), np.concatenate(theirs), runner.facts.temperature)


def compare_probs(
    ours: Float[np.ndarray, "samples classes"],
    theirs: Float[np.ndarray, "samples classes"],
    temperature: float = 1.0,
) -> Parity:
    """Compares two tables of probabilities, calibrated by this temperature, rows aligned by sample.

    >>> ours, theirs = np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([[0.25, 0.75], [0.25, 0.75]])
    >>> parity = compare_probs(ours, theirs, temperature=0.5)
    >>> parity.samples, parity.max_probability_difference, parity.label_agreement
    (2, 0.25, 0.5)
    >>> round(parity.max_uncalibrated_difference, 3)  # as sqrt(0.75) : sqrt(0.25) has it
    0.134
    """
    raw_ours, raw_theirs = (apply_temperature(p, 1 / temperature) for p in (ours, theirs))
    return Parity(
        samples=len(ours),
        max_probability_difference=_find_largest(ours, theirs),
        max_uncalibrated_difference=_find_largest(raw_ours, raw_theirs),
        label_agreement=float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
    )


def find_worst(parities: Sequence[Parity]) -> Parity:
    """Gives the worst figure of each kind, of several ways to ask; samples are the first's."""
    return Parity(
        samples=parities[0].samples,
        max_probability_difference=max(p.max_probability_difference for p in parities),
        max_uncalibrated_difference=max(p.max_uncalibrated_difference for p in parities),
        label_agreement=min(p.label_agreement for p in parities),
    )


def _find_largest(
    ours: Float[np.ndarray, "samples classes"], theirs: Float[np.ndarray, "samples classes"]
) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs).max())


def _split(samples: Iterable[Sample]) -> Iterator[tuple[Sample, ...]]:
    rest = iter(samples)
    while batch := tuple(islice(rest, _BATCH)):
        yield batch


def _stack(
    pictures: list[dict[Modality, UInt8[np.ndarray, "size size 3"]]],
) -> dict[Modality, UInt8[np.ndarray, "batch size size 3"]]:
    return {m: np.stack([one[m] for one in pictures]) for m in pictures[0]}
