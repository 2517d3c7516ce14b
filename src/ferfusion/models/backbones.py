"""The trunks that turn a picture into a feature vector, behind one contract.

A trunk maps `Float[Tensor, "batch 3 size size"]` to `Float[Tensor, "batch width"]`. The paper's
five (Naseem et al. 2024, Table 5) are entries of `BACKBONES`, and so is AlexNet, which a baseline
needs; any other name is looked up in timm.
"""

import difflib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import torch
import torchvision.models as tv
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ferfusion.errors import ConfigError, WeightsError, unknown_name
from ferfusion.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Channels

IMAGENET = "imagenet"
"""Stands for "the ImageNet weights from the backbone's own hub"."""
NO_WEIGHTS = "none"
"""Stands for "random weights"."""


@dataclass(frozen=True)
class Backbone:
    """A named way to build a trunk.

    Attributes:
        name: As given on the command line.
        build: Makes the trunk with random weights.
        width: Length of the feature vector.
        mean: Of the pictures its ImageNet weights were trained on, per RGB channel.
        std: Likewise.
        fetch: Downloads the state dict of its ImageNet weights, classifier included.
        local_file: Where an earlier download of them lies, or None.
        origin: Their address, for people.
        dropped: Prefixes of the classifier's parameters, which the trunk lacks.
        likes_bf16: Whether bfloat16 pays on a CPU that has it. Dense convolutions gain 2 to 2.5 x,
            depthwise ones are bound by memory and gain nothing.
    """

    name: str
    build: Callable[[], nn.Module]
    width: int
    fetch: Callable[[], Mapping[str, Tensor]]
    local_file: Callable[[], Path | None]
    origin: str
    dropped: tuple[str, ...]
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    likes_bf16: bool = True


def _without(attribute: str, build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Builds a torchvision model whose classifier lets features through."""

    def build_trunk() -> nn.Module:
        model = build()
        setattr(model, attribute, nn.Identity())
        return model

    return build_trunk


def _without_last(build: Callable[[], tv.VGG | tv.AlexNet]) -> Callable[[], nn.Module]:
    """Builds a torchvision model whose last layer is gone.

    The two 4096-wide layers before it come with the ImageNet weights, and the same cut as for the
    others (the classifying layer) gives 4096 features.
    """

    def build_trunk() -> nn.Module:
        model = build()
        model.classifier = nn.Sequential(*list(model.classifier)[:-1])
        return model

    return build_trunk


def _describe_torchvision(
    name: str,
    build: Callable[[], nn.Module],
    width: int,
    weights: tv.WeightsEnum,
    dropped: str,
    *,
    likes_bf16: bool = True,
) -> Backbone:
    def find_file() -> Path | None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        return path if path.exists() else None

    return Backbone(
        name=name,
        build=build,
        width=width,
        # The hash in the file's name is checked, and torch loads it without running code.
        fetch=lambda: weights.get_state_dict(progress=True, check_hash=True),
        local_file=find_file,
        origin=weights.url,
        dropped=(dropped,),
        likes_bf16=likes_bf16,
    )


def _find_timm_file(hub_id: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(hub_id, "model.safetensors") if hub_id else None
    return Path(cached) if isinstance(cached, str) else None


def _fetch_timm(name: str, hub_id: str | None) -> Mapping[str, Tensor]:
    import timm

    cached = _find_timm_file(hub_id)
    if cached is not None:
        return load_file(cached)
    # The hub's client retries for most of a minute when there is no network; this fails at once.
    urlopen("https://huggingface.co", timeout=10).close()
    return timm.create_model(name, pretrained=True).state_dict()


def _describe_timm(model: str, name: str | None = None, *, likes_bf16: bool = True) -> Backbone:
    import timm
    from timm.models import get_pretrained_cfg

    with torch.device("meta"):
        trunk = timm.create_model(model, num_classes=0)
        width = int(trunk(torch.empty(2, 3, *_input_size(trunk))).shape[1])
    config = get_pretrained_cfg(model)
    hub_id = config.hf_hub_id if config else None
    classifier = (config.classifier if config else None) or ()
    return Backbone(
        name=name or model,
        build=lambda: timm.create_model(model, num_classes=0),
        width=width,
        fetch=lambda: _fetch_timm(model, hub_id),
        local_file=lambda: _find_timm_file(hub_id),
        origin=f"model.safetensors of https://huggingface.co/{hub_id}",
        dropped=(classifier,) if isinstance(classifier, str) else tuple(classifier),
        mean=config.mean if config else IMAGENET_MEAN,  # pyright: ignore[reportArgumentType]
        std=config.std if config else IMAGENET_STD,  # pyright: ignore[reportArgumentType]
        likes_bf16=likes_bf16,
    )


def _input_size(trunk: nn.Module) -> tuple[int, int]:
    config = getattr(trunk, "default_cfg", None) or {}
    _, height, width = config.get("input_size", (3, 224, 224))
    return height, width


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "resnet18": lambda: _describe_torchvision(
        "resnet18",
        _without("fc", tv.resnet18),
        512,
        tv.ResNet18_Weights.IMAGENET1K_V1,
        "fc",
    ),
    "vgg16": lambda: _describe_torchvision(
        "vgg16",
        _without_last(tv.vgg16),
        4096,
        tv.VGG16_Weights.IMAGENET1K_V1,
        "classifier.6",
    ),
    "shufflenet_v2": lambda: _describe_torchvision(
        "shufflenet_v2",
        _without("fc", tv.shufflenet_v2_x1_0),
        1024,
        tv.ShuffleNet_V2_X1_0_Weights.IMAGENET1K_V1,
        "fc",
        likes_bf16=False,
    ),
    "mobilenet_v2": lambda: _describe_torchvision(
        "mobilenet_v2",
        _without("classifier", tv.mobilenet_v2),
        1280,
        tv.MobileNet_V2_Weights.IMAGENET1K_V2,
        "classifier",
        likes_bf16=False,
    ),
    "ghostnet": lambda: _describe_timm("ghostnet_100", "ghostnet", likes_bf16=False),
    "alexnet": lambda: _describe_torchvision(
        "alexnet",
        _without_last(tv.alexnet),
        4096,
        tv.AlexNet_Weights.IMAGENET1K_V1,
        "classifier.6",
    ),
}


def find_backbone(name: str) -> Backbone:
    """Looks a backbone up by name: one of `BACKBONES`, or any model of timm.

    Raises:
        ConfigError: Neither we nor timm know the name; the nearest known one is named.
    """
    if name in BACKBONES:
        return BACKBONES[name]()
    import timm

    if not timm.is_model(name):
        # Ours are listed; a misspelt name of timm's is still recognised.
        near = difflib.get_close_matches(name, [*BACKBONES, *timm.list_models()], n=1)
        known = [*BACKBONES, *(n for n in near if n not in BACKBONES)]
        raise ConfigError(unknown_name("backbone", name, known) + " Any name of timm works too.")
    return _describe_timm(name)


def build_trunk(backbone: Backbone, weights: str) -> nn.Module:
    """Builds a trunk and puts weights into it.

    Args:
        backbone: Which one.
        weights: `imagenet`, `none`, or the path of a .safetensors or .pth file.

    Raises:
        WeightsError: The hub can't be reached, or the file is missing or doesn't fit.
    """
    trunk = backbone.build()
    if weights == NO_WEIGHTS:
        return trunk
    state = _fetch(backbone) if weights == IMAGENET else _read_weights(Path(weights))
    source = "the hub" if weights == IMAGENET else weights
    _load_trunk(trunk, state, backbone, source)
    return trunk


def _fetch(backbone: Backbone) -> Mapping[str, Tensor]:
    try:
        return backbone.fetch()
    # Hubs fail with URLError, RuntimeError (bad hash), requests' and huggingface's own errors.
    except Exception as error:
        raise WeightsError(
            f"The ImageNet weights of {backbone.name} could not be fetched from their hub "
            f"({type(error).__name__}: {str(error)[:120]}). Two ways out: download "
            f"{backbone.origin} elsewhere and pass --weights {backbone.name}=FILE, or train from "
            "random weights with --weights none."
        ) from error


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}. Check the path after --weights.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} can't be read as weights: {error}") from error
    # torch refuses anything that would run code with an UnpicklingError.
    except Exception as error:
        if not zipfile.is_zipfile(path) and path.suffix not in (".pth", ".pt"):
            raise WeightsError(
                f"{path} is no weights file. Give a .safetensors, or a .pth of torch."
            ) from error
        raise WeightsError(
            f"{path} holds more than tensors and is refused, because loading it could run code. "
            "Save its state dict as .safetensors and pass that."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def _load_trunk(
    trunk: nn.Module, state: Mapping[str, Tensor], backbone: Backbone, source: str
) -> None:
    wanted = trunk.state_dict()
    dropped = tuple(prefix + "." for prefix in backbone.dropped)
    # num_batches_tracked only matters to BatchNorm without momentum, and old files lack it.
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    strange = [k for k in state if k not in wanted and not k.startswith(dropped)]
    misshapen = [k for k in wanted if k in state and wanted[k].shape != state[k].shape]
    if missing or strange or misshapen:
        example = (missing or strange or misshapen)[0]
        raise WeightsError(
            f"The weights from {source} don't fit {backbone.name}: {len(missing)} tensors are "
            f"missing, {len(strange)} are unknown, {len(misshapen)} have another shape "
            f"(the first is '{example}'). Give the file made for this backbone."
        )
    trunk.load_state_dict({k: state[k] for k in wanted if k in state}, strict=False)


def extract_features(
    trunk: nn.Module, pictures: Float[Tensor, "batch 3 size size"]
) -> Float[Tensor, "batch width"]:
    """Runs a trunk; whatever its last layer's shape, one vector a picture comes out."""
    return trunk(pictures).flatten(1)
