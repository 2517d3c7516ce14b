"""The proof that a graph is the trained model: what was asked, and how far apart both were."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ferfusion.delivery.run_samples import spread
from ferfusion.errors import ConfigError, ParityError
from ferfusion.inference.engines import Engine
from ferfusion.inference.model_facts import Precision
from ferfusion.inference.parity import Parity, find_worst, measure_parity
from ferfusion.inference.runner import list_engines, open_graph
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.sample import Sample

BOUNDS: Mapping[Precision, float] = {"fp32": 1e-3, "int8": 0.1}
"""How far a probability may be off: fp32 sums in another order, int8 rounds every number."""

PARITY_SAMPLES = 200
WHOLE_SIZES: tuple[tuple[int, int] | None, ...] = (None, (640, 480), (97, 131))
"""Width and height of pictures that the graph is asked to squeeze itself; None as in the files."""
WHOLE_SAMPLES = 24
WHOLE_BOUND = 0.01
"""Of pictures that the graph squeezes: an average between two levels may be rounded to the other
one, and a level in a thousand pixels moves probabilities by about 0.001."""


@dataclass(frozen=True)
class Certificate:
    """What a bundle's parity.json says.

    Attributes:
        parity: As `load` asks, the worst of all engines.
        by_engine: Of each.
        bound: What `parity` is held against.
        whole: Where the graph squeezes pictures of several sizes itself.
        whole_bound: What that is held against.
        asked: What the samples are.
    """

    parity: Parity
    by_engine: Mapping[Engine, Parity]
    bound: float
    whole: Parity
    whole_bound: float
    asked: str

    def check(self, precision: Precision) -> None:
        """Refuses a graph that is too far off.

        Raises:
            ParityError: Says by how much, and what to do.
        """
        for found, most in ((self.parity, self.bound), (self.whole, self.whole_bound)):
            if not found.holds(most):
                raise ParityError(
                    f"The {precision} graph is not the trained model: a probability is off by "
                    f"{found.max_probability_difference:.3g}, more than the bound {most:g}, and "
                    f"{100 * found.label_agreement:.1f} % of {found.samples} labels agree. Nothing "
                    f"is written. {_advise(precision, most)}"
                )

    def to_json(self) -> dict[str, Any]:
        """Gives plain values for parity.json."""
        sizes = ["as in the files" if s is None else f"{s[0]} x {s[1]}" for s in WHOLE_SIZES]
        return {
            **asdict(self.parity),
            "bound": self.bound,
            "asked": self.asked,
            "squeezed_in_graph": {
                **asdict(self.whole), "bound": self.whole_bound, "sizes": sizes
            },
            "engines": {_name(engine): asdict(p) for engine, p in self.by_engine.items()},
        }  # fmt: skip


def certify(
    graph: Path,
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    *,
    bound: float,
    asked: str,
) -> Certificate:
    """Asks graph and trained model about the same samples.

    Args:
        graph: What `export_graph` wrote.
        checkpoint: What it was made of.
        samples: Best ones that the model hasn't learned from.
        bound: See `Certificate`.
        asked: Likewise.
    """
    by_engine = _measure(graph, checkpoint, samples)
    return Certificate(
        parity=find_worst(list(by_engine.values())),
        by_engine=by_engine,
        bound=bound,
        whole=_measure_whole(graph, checkpoint, samples),
        whole_bound=max(bound, WHOLE_BOUND),
        asked=asked,
    )


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
    runner, few = open_graph(graph), spread(samples, WHOLE_SAMPLES)
    return find_worst([
        measure_parity(runner, checkpoint, few, in_graph_resize=True, whole_size=size)
        for size in WHOLE_SIZES
    ])  # fmt: skip


def _advise(precision: Precision, limit: float) -> str:
    if limit < BOUNDS[precision]:
        return f"The usual bound is {BOUNDS[precision]:g}; this one was given with --bound."
    if precision == "int8":
        return "Export in fp32, or allow more with --bound if you accept the loss."
    return "Please report this, with the versions that `ferfusion check` prints."


def _name(engine: Engine) -> str:
    """Gives an engine's name and version; the distribution may be called otherwise."""
    return f"{engine} {import_module(engine).__version__.partition('-')[0]}"
