"""Heat maps: where in each modality's picture a model found its answer.

Source:
    Naseem et al. 2024, Fig. 13, shows class activation maps. Which kind, and of which layer, is not
    said; Grad-CAM (Selvaraju et al. 2017) on the last convolutional map is what most people do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from ferfusion.data.loading import normalise
from ferfusion.errors import ConfigError, unknown_name
from ferfusion.inference.map_layer import MapLayer, find_map_layer
from ferfusion.modality import Modality
from ferfusion.models.borrowing import borrow
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.models.late_fusion import LateFusionModel

METHODS = {
    "gradcam": "the last convolutional map, each channel weighed by its mean gradient",
    "hirescam": "the last convolutional map, each place weighed by its own gradient",
    "occlusion": "how much the class loses where a window of the picture is greyed out",
    "integrated-gradients": "each pixel's share of what the class gains on the way from grey",
    "saliency": "how strongly the class reacts to a small change of each pixel",
}
"""Names and what is shown; the first three look at areas, the last two at pixels."""

_PATH_STEPS = 24
"""Places on the way from grey to the picture."""
_BLUR = 0.02
"""Maps of pixels are smoothed by this part of the picture's side: single pixels are noise."""
_WINDOW = 0.25
"""Of occlusion, as part of the picture's side."""


@dataclass(frozen=True, eq=False)
class HeatMaps:
    """Where a model found its answers about some samples.

    Attributes:
        method: One of `METHODS`.
        maps: Per modality, at the pictures' size, from 0 to 1. The modalities of a sample share one
            scale: 1 is the strongest place in any of them, and a modality that said nothing for
            the class, or that the model doesn't run, is 0 all over.
        layers: Per modality, the layer in the trunk and its cells, for people. Without those that
            are not run, and empty for methods that look at no layer.
        explained: Index of the class that is explained.
        probs: What the model said.
        grain: How wide the smallest thing is that the maps can show, as part of the picture's
            width; 0 for methods that look at pixels.
    """

    method: str
    maps: Mapping[Modality, Float[np.ndarray, "samples size size"]]
    layers: Mapping[Modality, str]
    explained: Int[np.ndarray, " samples"]
    probs: Float[np.ndarray, "samples classes"]
    grain: float = 0.0


def explain_samples(
    checkpoint: Checkpoint,
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]],
    *,
    classes: Int[np.ndarray, " samples"] | None = None,
    method: str = "gradcam",
    device: torch.device | None = None,
    batch_size: int = 16,
) -> HeatMaps:
    """Finds where a model sees what speaks for a class; the model is left as it was found.

    What is explained is the class's logit. Late fusion shows its models' own maps, each as strong
    as the model's share of the mixed probability of the class.

    Args:
        checkpoint: A single model, early fusion or late fusion.
        pictures: At the size of the checkpoint's preprocessing; modalities the model doesn't take
            are not looked at.
        classes: Which class to explain, per sample; None is the model's own answer.
        method: One of `METHODS`. The CAMs need a convolutional map; `occlusion` is slow (49 runs
            a modality). `saliency` alone also shows what speaks against the class.
        device: Where to run; None is the CPU.
        batch_size: Samples at once.

    Raises:
        ConfigError: The method is unknown, captum isn't installed, or the trunk has no
            convolutional map.
        ValueError: Pictures are missing or of another size.

    Source:
        Selvaraju et al. 2017, Grad-CAM; Draelos and Carin 2020, HiResCAM; Zeiler and Fergus 2014,
        occlusion; Sundararajan et al. 2017, integrated gradients; Simonyan et al. 2014, saliency.
        All as in captum.
    """
    attr = find_method(method)
    _check_pictures(checkpoint, pictures)
    modalities = checkpoint.blueprint.modalities
    count = len(pictures[modalities[0]])
    device = device or torch.device("cpu")
    maps = {m: np.zeros(pictures[m].shape[:3], np.float32) for m in modalities}
    probs = np.zeros((count, len(checkpoint.blueprint.labels)))
    explained = np.zeros(count, np.int64) if classes is None else classes.astype(np.int64)
    layers: dict[Modality, MapLayer] = {}
    with borrow(checkpoint.model, device) as model, torch.inference_mode(mode=False):
        for start in range(0, count, batch_size):
            rows = slice(start, start + batch_size)
            arrays = {m: torch.from_numpy(np.array(pictures[m][rows])) for m in modalities}
            ready = normalise(arrays, checkpoint.preprocessing, device)
            with torch.no_grad():
                probs[rows] = model(ready).double().softmax(dim=1).cpu().numpy()
            if classes is None:
                explained[rows] = probs[rows].argmax(axis=1)
            target = torch.from_numpy(explained[rows]).to(device)
            if isinstance(model, LateFusionModel):
                heat = _explain_late(attr, model, ready, target, method, layers)
            else:
                heat = _explain_network(attr, model, ready, target, method, layers)
            for modality, found in heat.items():
                maps[modality][rows] = found.cpu().numpy()
    names = {m: f"{layer.name} ({layer.cells} x {layer.cells})" for m, layer in layers.items()}
    window = _WINDOW if method == "occlusion" else 0.0
    grain = max((1 / layer.cells for layer in layers.values()), default=window)
    return HeatMaps(method, _scale(maps), names, explained, probs, grain)


def find_method(method: str) -> ModuleType:
    """Gives captum's methods, if there is this one.

    Raises:
        ConfigError: There isn't, or captum isn't installed.
    """
    if method not in METHODS:
        raise ConfigError(unknown_name("method for heat maps", method, METHODS))
    try:
        import captum.attr
    except ImportError as error:
        raise ConfigError(
            "Heat maps need captum, which is not installed. Install it with: "
            'pip install "ferfusion[explain]"'
        ) from error
    return captum.attr


def _check_pictures(
    checkpoint: Checkpoint, pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]]
) -> None:
    size_px = checkpoint.preprocessing.size_px
    modalities = checkpoint.blueprint.modalities
    missing = [m for m in modalities if m not in pictures]
    if missing:
        raise ValueError(f"the model takes {', '.join(modalities)}; missing: {', '.join(missing)}")
    shapes = {pictures[m].shape for m in modalities}
    if len(shapes) != 1 or shapes.pop()[1:] != (size_px, size_px, 3):
        raise ValueError(f"pictures must be aligned and of {size_px} pixels, as the model's are")


def _explain_network(
    attr: ModuleType,
    model: nn.Module,
    pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]],
    target: Int[Tensor, " batch"],
    method: str,
    layers: dict[Modality, MapLayer],
) -> dict[Modality, Float[Tensor, "batch size size"]]:
    """Gives the heat of each modality in a single model or early fusion; notes the layers."""
    if method in ("integrated-gradients", "saliency"):
        return _trace_gradients(attr, model, pictures, target, method)
    heat: dict[Modality, Tensor] = {}
    for modality in pictures:
        if method == "occlusion":
            heat[modality] = _occlude(attr, model, pictures, modality, target)
            continue
        if modality not in layers:
            trunk = model.get_submodule(f"trunks.{modality}")
            layers[modality] = find_map_layer(trunk, pictures[modality][:1])
        heat[modality] = _weigh(attr, model, pictures, layers[modality], target, method)
    return heat


def _explain_late(
    attr: ModuleType,
    model: LateFusionModel,
    pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]],
    target: Int[Tensor, " batch"],
    method: str,
    layers: dict[Modality, MapLayer],
) -> dict[Modality, Float[Tensor, "batch size size"]]:
    """Gives each model's own map, as strong as its share of the mixed probability.

    Not by gradients through the mixture: those of a model vanish where it is sure, so the surest
    would look as if it had said nothing.
    """
    heat: dict[Modality, Tensor] = {}
    for modality, weight in model.weights.items():
        if weight == 0:
            continue
        single, own = model.singles[str(modality)], {modality: pictures[modality]}
        with torch.no_grad():
            probs = single(own).softmax(dim=1)
        share = weight * probs.gather(1, target[:, None]).flatten()
        found = _explain_network(attr, single, own, target, method, layers)[modality]
        highest = found.amax(dim=(1, 2))
        factor = share / torch.where(highest > 0, highest, 1)
        heat[modality] = found * factor[:, None, None]
    return heat


def _weigh(
    attr: ModuleType,
    model: nn.Module,
    pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]],
    layer: MapLayer,
    target: Int[Tensor, " batch"],
    method: str,
) -> Float[Tensor, "batch size size"]:
    def forward(*tensors: Tensor) -> Tensor:
        return model(dict(zip(pictures, tensors, strict=True)))

    inputs = tuple(pictures.values())
    if method == "gradcam":
        cells = attr.LayerGradCam(forward, layer.module).attribute(inputs, target)
    else:
        weighed = attr.LayerGradientXActivation(forward, layer.module).attribute(inputs, target)
        cells = weighed.sum(dim=1, keepdim=True)
    return layer.spread(cells.detach().relu(), inputs[0].shape[-1])


def _trace_gradients(
    attr: ModuleType,
    model: nn.Module,
    pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]],
    target: Int[Tensor, " batch"],
    method: str,
) -> dict[Modality, Float[Tensor, "batch size size"]]:
    def forward(*tensors: Tensor) -> Tensor:
        return model(dict(zip(pictures, tensors, strict=True)))

    # Of their own, or captum would warn that it changes them.
    inputs = tuple(tensor.detach().clone().requires_grad_() for tensor in pictures.values())
    if method == "saliency":
        found = attr.Saliency(forward).attribute(inputs, target, abs=True)
        heat = [gradient.amax(dim=1) for gradient in found]
    else:
        found = attr.IntegratedGradients(forward).attribute(
            inputs,
            tuple(torch.zeros_like(tensor) for tensor in inputs),
            target,
            n_steps=_PATH_STEPS,
            internal_batch_size=max(16, len(target)),
        )
        heat = [share.sum(dim=1).relu() for share in found]
    sigma = max(0.5, _BLUR * inputs[0].shape[-1])
    kernel = 2 * round(2 * sigma) + 1
    smooth = [
        gaussian_blur(h.detach()[:, None].float(), [kernel, kernel], [sigma, sigma])[:, 0]
        for h in heat
    ]
    return dict(zip(pictures, smooth, strict=True))


def _occlude(
    attr: ModuleType,
    model: nn.Module,
    pictures: Mapping[Modality, Float[Tensor, "batch 3 size size"]],
    modality: Modality,
    target: Int[Tensor, " batch"],
) -> Float[Tensor, "batch size size"]:
    def forward(tensor: Tensor) -> Tensor:
        return model({**pictures, modality: tensor})

    size_px = pictures[modality].shape[-1]
    # In steps of half a window; 0 is the mean colour.
    window, step = max(1, int(size_px * _WINDOW)), max(1, int(size_px * _WINDOW / 2))
    with torch.no_grad():
        loss = attr.Occlusion(forward).attribute(
            pictures[modality],
            sliding_window_shapes=(3, window, window),
            strides=(3, step, step),
            baselines=0,
            target=target,
        )
    return loss.mean(dim=1).relu()


def _scale(
    maps: Mapping[Modality, Float[np.ndarray, "samples size size"]],
) -> dict[Modality, Float[np.ndarray, "samples size size"]]:
    highest = np.max([heat.max(axis=(1, 2), initial=0) for heat in maps.values()], axis=0)
    divisor = np.where(highest > 0, highest, 1)[:, None, None]
    return {m: (heat / divisor).astype(np.float32) for m, heat in maps.items()}
