"""From a graph in fp32 to one whose convolutions multiply int8."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8

from ferfusion.inference.engines import keep_to_oneself
from ferfusion.inference.model_facts import name_normalised
from ferfusion.modality import Modality
from ferfusion.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnx

Pictures = Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]]
"""Pictures of samples, rows aligned between modalities."""

_BATCH = 8
_SMALL = 1_000_000
"""A layer with fewer weights than this costs nothing in fp32, and heads decide the answer."""
_QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "HardSigmoid", "MaxPool",
              "GlobalAveragePool", "Concat", "Split", "Reshape", "Transpose")  # fmt: skip


def quantise(
    core: "onnx.ModelProto",
    modalities: tuple[Modality, ...],
    preprocessing: Preprocessing,
    pictures: Pictures,
) -> "onnx.ModelProto":
    """Gives a graph that does the same in int8, as nearly as int8 can.

    Weights are signed and scaled channel by channel. What flows between layers is unsigned, with a
    range seen on the pictures: with signed values ONNX Runtime is no faster than in fp32. Small
    layers, which include the heads, and softmax stay in fp32.

    Args:
        core: From normalised pictures to probabilities.
        modalities: Of its inputs.
        preprocessing: What makes inputs of pictures.
        pictures: Of training, resized; a few hundred samples say enough.
    """
    import onnx

    keep_to_oneself()
    from onnxruntime import quantization as tool

    with tempfile.TemporaryDirectory() as folder, _root_quiet():
        path = Path(folder) / "int8.onnx"
        tool.quantize_static(
            core,
            path,
            # The tool asks for what has get_next, which its stub doesn't know.
            _Reader(modalities, preprocessing, pictures),  # pyright: ignore[reportArgumentType]
            quant_format=tool.QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            nodes_to_exclude=_list_small(core),
            per_channel=True,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
            calibrate_method=tool.CalibrationMethod.MinMax,
        )
        return onnx.load(path)


class _Reader:
    """Hands pictures to the calibration, a few at a time."""

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        preprocessing: Preprocessing,
        pictures: Pictures,
    ) -> None:
        self._batches = _give_inputs(modalities, preprocessing, pictures)

    def get_next(self) -> dict[str, Float32[np.ndarray, "batch 3 size size"]] | None:
        """Gives the next batch, and at the end nothing."""
        return next(self._batches, None)


def _give_inputs(
    modalities: tuple[Modality, ...], preprocessing: Preprocessing, pictures: Pictures
) -> Iterator[dict[str, Float32[np.ndarray, "batch 3 size size"]]]:
    for start in range(0, len(pictures[modalities[0]]), _BATCH):
        inputs = {}
        for modality in modalities:
            mean = np.array(preprocessing.mean[modality], np.float32) * 255
            std = np.array(preprocessing.std[modality], np.float32) * 255
            floats = (pictures[modality][start : start + _BATCH] - mean) / std
            inputs[name_normalised(modality)] = np.ascontiguousarray(floats.transpose(0, 3, 1, 2))
        yield inputs


def _list_small(core: "onnx.ModelProto") -> list[str]:
    """Names the fully connected layers that stay as they are."""
    n_weights = {tensor.name: int(np.prod(tensor.dims)) for tensor in core.graph.initializer}
    return [
        node.name
        for node in core.graph.node
        if node.op_type in ("Gemm", "MatMul") and n_weights.get(node.input[1], 0) < _SMALL
    ]


@contextlib.contextmanager
def _root_quiet() -> Iterator[None]:
    """Hushes advice that the tool gives on the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
