"""Runs an exported graph with ONNX Runtime; nothing here or below it needs torch."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import CheckpointError, ConfigError
from ferfusion.memory import keep_freed_memory
from ferfusion.modality import Modality

if TYPE_CHECKING:
    import onnxruntime

Precision = Literal["fp32", "int8"]
FORMAT = 1
METADATA_KEY = "ferfusion"
OUTPUT = "probabilities"


@dataclass(frozen=True)
class GraphFacts:
    """What a graph says about itself.

    Attributes:
        labels: Class names in the order of the probabilities.
        modalities: Which pictures it takes, in the fixed order.
        size_px: Side of the square it looks at; other pictures it squeezes.
        precision: Of its arithmetic.
        temperature: What logits are divided by.
        fusion: `single`, `early` or `late`.
        backbone: Name of the trunk.
        versions: Of the packages that wrote it.
    """

    labels: tuple[str, ...]
    modalities: tuple[Modality, ...]
    size_px: int
    precision: Precision
    temperature: float
    fusion: str
    backbone: str
    versions: Mapping[str, str]

    def to_text(self) -> str:
        """Gives a text that `from_text` reads back."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)

    @staticmethod
    def from_text(text: str) -> "GraphFacts":
        """Reads what `to_text` gave.

        Raises:
            CheckpointError: It is damaged, or from another ferfusion.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            if values["format"] != FORMAT:
                raise CheckpointError(
                    f"The graph was written in format {values['format']}, and this ferfusion reads "
                    f"format {FORMAT}. Install the ferfusion that wrote it."
                )
            return GraphFacts(
                labels=tuple(values["labels"]),
                modalities=tuple(Modality(m) for m in values["modalities"]),
                size_px=int(values["size_px"]),
                precision=values["precision"],
                temperature=float(values["temperature"]),
                fusion=values["fusion"],
                backbone=values["backbone"],
                versions=dict(values["versions"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"What the graph says about itself is damaged ({error!r}). Export it again."
            ) from error


@dataclass(frozen=True, eq=False)
class GraphRunner:
    """A graph that is ready to be asked; several threads may ask at the same time.

    Attributes:
        facts: What it takes and gives.
        session: ONNX Runtime's own.
    """

    facts: GraphFacts
    session: "onnxruntime.InferenceSession"

    def predict(
        self, pictures: Mapping[Modality, UInt8[np.ndarray, "batch _ _ 3"]]
    ) -> Float[np.ndarray, "batch classes"]:
        """Gives probabilities, one row a sample.

        Args:
            pictures: RGB, of any size; faster if they are `size_px` wide and high. Modalities
                that the graph doesn't know are ignored.

        Raises:
            ConfigError: A modality is missing, or the counts of pictures differ.
        """
        modalities = self.facts.modalities
        check_modalities(pictures, modalities)
        if len({len(pictures[m]) for m in modalities}) != 1:
            counts = ", ".join(f"{len(pictures[m])} of {m}" for m in modalities)
            raise ConfigError(
                f"The counts of pictures differ: {counts}. Give one of each for every sample."
            )
        inputs = {name_picture(m): pictures[m] for m in modalities}
        (probs,) = self.session.run([OUTPUT], inputs)
        return np.asarray(probs)


def open_graph(
    source: Path | bytes,
    *,
    threads: int | None = None,
    spins: bool = True,
    keeps_memory: bool = True,
) -> GraphRunner:
    """Loads a graph from a file or from bytes.

    Args:
        source: What `export_graph` wrote.
        threads: That work on one call. None means as many as there are processors, which answers
            one sample soonest. With 1, calls from several threads don't disturb each other.
        spins: Whether threads that wait keep their processor busy for a moment. It saves a little
            time in a process with one graph, and costs much where several run side by side.
        keeps_memory: Calls `keep_freed_memory`, which holds for the whole process. Reading
            pictures takes half the time then.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        CheckpointError: It is missing, damaged, or no graph of ours.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "Running a graph needs ONNX Runtime: pip install 'ferfusion[runtime]'."
        ) from error

    if isinstance(source, Path) and not source.is_file():
        raise CheckpointError(f"There is no graph {source}. Check the path, or export it.")
    if keeps_memory:
        keep_freed_memory()
    name = str(source) if isinstance(source, Path) else "The graph"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or count_processors()
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # warnings are about names, and for who wrote the graph
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
    # Without VNNI, sums of int8 products overflow unless this is set. With VNNI they don't, and it
    # would take 2.5 times as long.
    options.add_session_config_entry("session.x64quantprecision", "0" if adds_exactly() else "1")
    try:
        session = onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else str(source),
            options,
            providers=["CPUExecutionProvider"],
        )
    # ONNX Runtime's errors have no class in common below Exception.
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(
            f"{name} is damaged or no ONNX graph ({reason}). Export it again."
        ) from error
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise CheckpointError(
            f"{name} is an ONNX graph, but not one that ferfusion exported: it says nothing of "
            "labels and modalities. Give the file that an export wrote."
        )
    return GraphRunner(GraphFacts.from_text(text), session)


def count_processors() -> int:
    """Counts the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def adds_exactly() -> bool:
    """Says whether this processor adds products of int8 without overflow, as far as one can know.

    Of x86 those with VNNI do, which Linux tells; all others with int8 arithmetic do.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_vnni", "avx_vnni"})


def name_picture(modality: Modality) -> str:
    """Gives the name under which a graph takes a modality's bytes."""
    return f"{modality}_picture"


def name_normalised(modality: Modality) -> str:
    """Gives the name under which the network inside takes a modality's pictures."""
    return f"{modality}_normalised"


def check_modalities(given: Mapping[Modality, Any], wanted: tuple[Modality, ...]) -> None:
    """Makes sure that no picture is missing.

    Raises:
        ConfigError: Says which were expected and which were given.
    """
    missing = [m for m in wanted if m not in given]
    if missing:
        raise ConfigError(
            f"The model looks at {' and '.join(wanted)}, and {' and '.join(missing)} is missing. "
            f"Given: {', '.join(given) or 'nothing'}."
        )
