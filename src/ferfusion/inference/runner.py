"""Asks an exported graph about pictures; nothing here or below it needs torch."""

import importlib.util
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import CheckpointError, ConfigError
from ferfusion.inference.engines import (
    Ask,
    Engine,
    EngineChoice,
    adds_exactly,
    count_processors,
    start_onnxruntime,
    start_openvino,
)
from ferfusion.inference.model_facts import ModelFacts, name_picture
from ferfusion.memory import keep_freed_memory
from ferfusion.modality import Modality

_TURNS = 9


@dataclass(frozen=True, eq=False)
class Runner:
    """A graph that is ready to be asked; several threads may ask at the same time.

    Attributes:
        facts: What it takes and gives.
        ask: Asks the engine.
        engine: What calculates.
    """

    facts: ModelFacts
    ask: Ask
    engine: str = "own"

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
        return self.ask({name_picture(m): pictures[m] for m in modalities})


def open_graph(
    source: Path | bytes,
    *,
    engine: EngineChoice = "onnxruntime",
    threads: int | None = None,
    spins: bool = True,
    keeps_memory: bool = True,
) -> Runner:
    """Loads a graph from a file or from bytes.

    Args:
        source: What `export_graph` wrote.
        engine: What calculates: `onnxruntime`; `openvino`, which is faster on many CPUs; or
            `fastest`, which loads both and keeps the one that answers one question sooner.
        threads: That work on one call. None means as many as there are processors, which answers
            one sample soonest. With 1, calls from several threads don't disturb each other.
        spins: Of ONNX Runtime: whether threads that wait for each other within a call keep their
            processor busy. It saves a little time, and costs much where several graphs run side by
            side.
        keeps_memory: Calls `keep_freed_memory`, which holds for the whole process. Reading
            pictures takes half the time then.

    Raises:
        ConfigError: The engine is not installed, or would calculate wrongly on this processor.
        CheckpointError: The graph is missing, damaged, or none of ours.
    """
    if isinstance(source, Path) and not source.is_file():
        raise CheckpointError(f"There is no graph {source}. Check the path, or export it.")
    if keeps_memory:
        keep_freed_memory()
    if engine == "fastest":
        return _open_fastest(source, threads=threads, spins=spins)
    name = str(source) if isinstance(source, Path) else "The graph"
    threads = threads or count_processors()
    if engine == "openvino":
        ask, said = start_openvino(source, name, threads)
    else:
        ask, said = start_onnxruntime(source, name, threads, spins=spins)
    if said is None:
        raise CheckpointError(
            f"{name} is an ONNX graph, but not one that ferfusion exported: it says nothing of "
            "labels and modalities. Give the file that an export wrote."
        )
    facts = ModelFacts.from_text(said)
    if engine == "openvino" and facts.precision == "int8" and not adds_exactly():
        raise ConfigError(
            "On this processor, which has no VNNI instructions, OpenVINO's sums of int8 products "
            "may overflow. Use the engine onnxruntime, or a graph in fp32."
        )
    return Runner(facts, ask, engine)


def list_engines() -> tuple[Engine, ...]:
    """Lists the engines that are installed."""
    return tuple(each for each in get_args(Engine) if importlib.util.find_spec(each) is not None)


def _open_fastest(source: Path | bytes, *, threads: int | None, spins: bool) -> Runner:
    """Times a question to each engine, in turns; the median counts."""
    runners: list[Runner] = []
    for engine in list_engines() or ("onnxruntime",):
        try:
            runners.append(open_graph(source, engine=engine, threads=threads, spins=spins))
        except ConfigError:
            # OpenVINO may refuse this graph on this processor; ONNX Runtime's word is final.
            if engine == "onnxruntime":
                raise
    if len(runners) == 1:
        return runners[0]
    facts = runners[0].facts
    question = {
        m: np.zeros((1, facts.size_px, facts.size_px, 3), np.uint8) for m in facts.modalities
    }
    seconds: list[list[float]] = [[] for _ in runners]
    for turn in range(_TURNS + 1):
        for runner, times in zip(runners, seconds, strict=True):
            began = time.perf_counter()
            runner.predict(question)
            if turn:  # the first warms up
                times.append(time.perf_counter() - began)
    medians = [statistics.median(times) for times in seconds]
    return runners[medians.index(min(medians))]


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
