"""A trained model as one ONNX graph: bytes of pictures in, probabilities out.

Batch normalisation is folded into the convolutions before it, and the batch is of any length. What
the graph takes and gives is written into it (`ModelFacts`).
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ferfusion.atomic import replacing
from ferfusion.errors import ConfigError
from ferfusion.inference.model_facts import METADATA_KEY, OUTPUT, ModelFacts, name_normalised
from ferfusion.inference.quantisation import Pictures, quantise
from ferfusion.inference.runner import check_modalities
from ferfusion.modality import Modality
from ferfusion.models.blueprint import list_needed
from ferfusion.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    import onnx

_PACKAGES = ("ferfusion", "torch", "onnx", "onnxruntime")
_LONGEST_BATCH = 65536


class _Answering(nn.Module):
    """A model that takes pictures one by one and gives probabilities."""

    def __init__(
        self, model: nn.Module, modalities: tuple[Modality, ...], temperature: float
    ) -> None:
        super().__init__()
        self.model = model
        self.modalities = modalities
        self.temperature = temperature

    def forward(
        self, *pictures: Float[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch classes"]:
        logits = self.model(dict(zip(self.modalities, pictures, strict=True)))
        return (logits / self.temperature).softmax(dim=1)


def export_graph(
    checkpoint: Checkpoint,
    path: Path,
    *,
    temperature: float = 1.0,
    calibration: Pictures | None = None,
) -> ModelFacts:
    """Writes a model as one graph, whole or not at all.

    A late fusion's modality of weight 0 is left out, as its model is never run.

    Args:
        checkpoint: Single, early or late fusion.
        path: Of the file, by custom ending in `.onnx`.
        temperature: What logits are divided by; see `fit_temperature`.
        calibration: Training pictures, resized, a few hundred samples. With them the graph
            calculates in int8, without in fp32.

    Returns:
        What the graph says about itself.

    Raises:
        ConfigError: The packages of the extra `export` are not installed, or the pictures for
            calibration lack a modality.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch needs it, and its own message is longer)

        from ferfusion.inference.graph_front import add_fronts
    except ImportError as error:
        raise ConfigError(
            f"Exporting needs a package that is missing ({error.name}): "
            "pip install 'ferfusion[export]'."
        ) from error

    modalities = list_needed(checkpoint.blueprint)
    if calibration is not None:
        check_modalities(calibration, modalities)
    core = _trace(checkpoint, modalities, temperature)
    if calibration is not None:
        core = quantise(core, modalities, checkpoint.preprocessing, calibration)
    graph = add_fronts(core, modalities, checkpoint.preprocessing)
    facts = ModelFacts(
        labels=checkpoint.blueprint.labels,
        modalities=modalities,
        size_px=checkpoint.preprocessing.size_px,
        precision="fp32" if calibration is None else "int8",
        temperature=temperature,
        fusion=checkpoint.blueprint.fusion,
        backbone=checkpoint.blueprint.backbone,
        versions={package: version(package) for package in _PACKAGES},
        heat=checkpoint.preprocessing.heat,
        mean={m: checkpoint.preprocessing.mean[m] for m in modalities},
    )
    onnx.helper.set_model_props(graph, {METADATA_KEY: facts.to_text()})
    onnx.checker.check_model(graph)
    with replacing(path) as part:
        onnx.save(graph, part)
    return facts


def _trace(
    checkpoint: Checkpoint, modalities: tuple[Modality, ...], temperature: float
) -> "onnx.ModelProto":
    """Gives the network alone, from normalised pictures to probabilities."""
    answering = _Answering(checkpoint.model, modalities, temperature).eval()
    size = checkpoint.preprocessing.size_px
    # Two samples: torch would take a batch of one for a promise that it is always one.
    examples = tuple(torch.zeros(2, 3, size, size) for _ in modalities)
    batch = torch.export.Dim("batch", min=1, max=_LONGEST_BATCH)
    with _exporter_quiet(), torch.no_grad():
        # Exported by hand first, since torch.onnx tries again in other ways where this fails.
        program = torch.export.export(
            answering, examples, dynamic_shapes=(tuple({0: batch} for _ in modalities),)
        )
        exported = torch.onnx.export(
            program,
            input_names=[name_normalised(m) for m in modalities],
            output_names=[OUTPUT],
            dynamo=True,
            verbose=False,
        )
    if exported is None:
        raise RuntimeError("torch exported nothing")
    return exported.model_proto


@contextlib.contextmanager
def _exporter_quiet() -> Iterator[None]:
    """Hushes warnings of torch's exporter about its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
