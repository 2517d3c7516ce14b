"""What calculates a graph on a CPU: ONNX Runtime, or OpenVINO, which is faster on many processors.

Each engine is started by one function, which gives a function that asks it.
"""

import os
import platform
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Never

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.data.cache import resize
from ferfusion.errors import CheckpointError, ConfigError
from ferfusion.inference.model_facts import METADATA_KEY, OUTPUT, ModelFacts

Engine = Literal["onnxruntime", "openvino"]
EngineChoice = Literal[Engine, "fastest"]
"""`fastest`: whichever of those that are installed answers soonest on this machine."""
Ask = Callable[[Mapping[str, UInt8[np.ndarray, "batch _ _ 3"]]], Float[np.ndarray, "batch classes"]]
"""Gives probabilities of pictures, which are named as the graph names them; of any thread."""


def start_onnxruntime(
    source: Path | bytes, name: str, threads: int, *, spins: bool
) -> tuple[Ask, str | None]:
    """Loads a graph into ONNX Runtime.

    Args:
        source: See `open_graph`.
        name: What messages call it.
        threads: Likewise.
        spins: Likewise.

    Returns:
        What asks it, and what the graph says about itself, if it does.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        CheckpointError: It is damaged, or no ONNX graph.
    """
    keep_to_oneself()
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "Running a graph needs ONNX Runtime: pip install 'ferfusion[runtime]'."
        ) from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # warnings are about names, and for who wrote the graph
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
    # By default they would go on spinning after the answer, against whoever reads the next picture.
    options.add_session_config_entry("session.force_spinning_stop", "1")
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
        raise _damaged(name, error) from error

    def ask(
        pictures: Mapping[str, UInt8[np.ndarray, "batch _ _ 3"]],
    ) -> Float[np.ndarray, "batch classes"]:
        (probs,) = session.run([OUTPUT], dict(pictures))
        return np.asarray(probs)

    return ask, session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)


def keep_to_oneself() -> None:
    """Has ONNX Runtime tell its makers nothing, and keep no file about it; before it is imported.

    Its official builds send events to Microsoft unless told otherwise (its Privacy.md). Whoever
    wants that sets ORT_DISABLE_TELEMETRY=0.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def start_openvino(source: Path | bytes, name: str, threads: int) -> tuple[Ask, str | None]:
    """Loads a graph into OpenVINO, in the precision that it was exported with.

    Arguments and results are those of `start_onnxruntime`.

    Raises:
        ConfigError: OpenVINO is not installed.
        CheckpointError: It is damaged, or no ONNX graph.
    """
    try:
        import openvino
    except ImportError as error:
        raise ConfigError(
            "This engine needs OpenVINO: pip install 'ferfusion[openvino]'."
        ) from error

    core = openvino.Core()
    # OpenVINO's errors have no class in common below Exception.
    try:
        graph = core.read_model(source)
        known: Any = {}
        if graph.has_rt_info("framework"):
            known = graph.get_rt_info(["framework"]).value
    except Exception as error:
        raise _damaged(name, error) from error
    said = known.get(METADATA_KEY)
    if said is None:
        return _refuse, None
    size = ModelFacts.from_text(said).size_px
    # With one thread a call, several calls are worked on at once.
    streams = count_processors() if threads == 1 else 1
    try:
        # Where pictures may be of any size, OpenVINO 2026.4 answers wrongly when first asked.
        graph.reshape({each.get_any_name(): [-1, size, size, 3] for each in graph.inputs})
        compiled = core.compile_model(
            graph,
            "CPU",
            {
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": threads * streams,
                # Else it takes bf16 by itself where the processor has it.
                "INFERENCE_PRECISION_HINT": "f32",
                "ENABLE_CPU_PINNING": False,
            },
        )
    except Exception as error:
        raise _damaged(name, error) from error
    requests = threading.local()

    def ask(
        pictures: Mapping[str, UInt8[np.ndarray, "batch _ _ 3"]],
    ) -> Float[np.ndarray, "batch classes"]:
        if not hasattr(requests, "mine"):
            requests.mine = compiled.create_infer_request()
        squares = {each: _squeeze(batch, size) for each, batch in pictures.items()}
        return np.array(requests.mine.infer(squares, share_inputs=True)[OUTPUT])

    return ask, said


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


def _squeeze(
    batch: UInt8[np.ndarray, "batch _ _ 3"], size: int
) -> UInt8[np.ndarray, "batch size size 3"]:
    if batch.shape[1:3] == (size, size):
        return batch
    return np.stack([resize(picture, size) for picture in batch])


def _refuse(pictures: object) -> Never:
    raise RuntimeError(f"this graph is none of ours, and can't be asked about {pictures}")


def _damaged(name: str, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[0][:200]
    return CheckpointError(f"{name} is damaged or no ONNX graph ({reason}). Export it again.")
