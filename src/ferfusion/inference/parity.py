"""Whether an exported graph says what the trained model says, on real samples."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.data.cache import resize
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
        label_agreement: Share of the samples to which both give the same label.
    """

    samples: int
    max_probability_difference: float
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
    reduced: bool = False,
) -> Parity:
    """Asks the graph and the trained model about the same samples, from files to probabilities.

    Args:
        runner: The graph.
        checkpoint: What it was made of. The model is asked in fp32.
        samples: Each with all modalities that the graph takes; best ones not seen in training.
        in_graph_resize: Whether the graph gets pictures as they are in their files, and squeezes
            them itself; otherwise squeezed ones, as `predict_stream` gives it.
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
    return compare_probs(np.concatenate(ours), np.concatenate(theirs))


def compare_probs(
    ours: Float[np.ndarray, "samples classes"], theirs: Float[np.ndarray, "samples classes"]
) -> Parity:
    """Compares two tables of probabilities, rows aligned by sample.

    >>> ours, theirs = np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([[0.25, 0.75], [0.25, 0.75]])
    >>> compare_probs(ours, theirs)
    Parity(samples=2, max_probability_difference=0.25, label_agreement=0.5)
    """
    return Parity(
        samples=len(ours),
        max_probability_difference=float(np.abs(ours.astype(np.float64) - theirs).max()),
        label_agreement=float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
    )


def _split(samples: Iterable[Sample]) -> Iterator[tuple[Sample, ...]]:
    rest = iter(samples)
    while batch := tuple(islice(rest, _BATCH)):
        yield batch


def _stack(
    pictures: list[dict[Modality, UInt8[np.ndarray, "size size 3"]]],
) -> dict[Modality, UInt8[np.ndarray, "batch size size 3"]]:
    return {m: np.stack([one[m] for one in pictures]) for m in pictures[0]}
