"""How pixels become numbers a model was trained on; saved with every checkpoint."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from ferfusion.errors import ConfigError, unknown_name
from ferfusion.modality import Modality

Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


HeatKind = Literal["window", "standardised", "palette"]

_MOST_PX = 8192

PICTURE = "picture"
"""What `--infrared-as` says where infrared pictures are taken as they are."""


@dataclass(frozen=True)
class HeatInput:
    """How degrees become the infrared picture that a model sees.

    Attributes:
        kind: `window`: grey from `low_c` to `high_c`, the same for every picture. `standardised`:
            grey by how far from the mean of the picture's middle, which takes away how warm
            a face is.
            `palette`: the window in the colours of iron, as a camera shows them.
        low_c: Temperature of the darkest level.
        high_c: Temperature of the brightest level.
    """

    kind: HeatKind
    low_c: float = 28.0
    high_c: float = 38.0

    def __str__(self) -> str:
        if self.kind == "standardised":
            return self.kind
        return f"{self.kind}:{self.low_c:g},{self.high_c:g}"


def parse_heat(text: str) -> HeatInput | None:
    """Reads what `str` of a `HeatInput` gave, or None from `picture`.

    >>> parse_heat("window:22,38")
    HeatInput(kind='window', low_c=22.0, high_c=38.0)
    >>> parse_heat("picture") is None
    True

    Raises:
        ConfigError: It is neither, or the window doesn't rise.
    """
    kind, _, window = text.partition(":")
    if kind == PICTURE and not window:
        return None
    if kind not in get_args(HeatKind):
        known = (PICTURE, *get_args(HeatKind))
        raise ConfigError(unknown_name("way to show infrared", kind, known))
    if not window:
        return HeatInput(cast("HeatKind", kind))
    return HeatInput(cast("HeatKind", kind), *parse_span(f"--infrared-as {kind}:", window))


def parse_span(option: str, text: str) -> tuple[float, float]:
    """Gives two temperatures from LOW,HIGH.

    Args:
        option: What was typed before it, with its blank or colon.
        text: The two.

    Raises:
        ConfigError: It is something else.
    """
    try:
        low, high = (float(number) for number in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{option}{text} is not two temperatures: write LOW,HIGH as in {option}28,38."
        ) from error
    if not (low < high and math.isfinite(high - low)):
        raise ConfigError(f"{option}{text} must rise from LOW to HIGH, as in {option}28,38.")
    return low, high


@dataclass(frozen=True)
class Preprocessing:
    """Resize to a square, scale to [0, 1], subtract the mean, divide by the deviation.

    Pictures that are not square are squeezed, as in the paper's code (Resize((224, 224))).

    Attributes:
        size_px: Side of the square a model sees.
        mean: Per modality, per RGB channel, of values in [0, 1].
        std: Likewise.
        heat: How temperatures became infrared pictures; None where they were pictures.
    """

    size_px: int
    mean: Mapping[Modality, Channels]
    std: Mapping[Modality, Channels]
    heat: HeatInput | None = None

    def to_json(self) -> dict[str, Any]:
        """Gives plain values that `from_json` reads back."""
        return {
            "size_px": self.size_px,
            "mean": {str(m): list(v) for m, v in self.mean.items()},
            "std": {str(m): list(v) for m, v in self.std.items()},
            "infrared_as": str(self.heat or PICTURE),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Preprocessing":
        """Reads what `to_json` gave."""
        size_px = int(values["size_px"])
        if not 0 < size_px <= _MOST_PX:
            raise ValueError(f"pictures of {size_px} pixels a side")
        return Preprocessing(
            size_px=size_px,
            mean=read_channels(values["mean"]),
            std=read_channels(values["std"]),
            # Checkpoints of the first months don't say it.
            heat=parse_heat(values.get("infrared_as", PICTURE)),
        )


def read_channels(values: Mapping[str, Any]) -> dict[Modality, Channels]:
    """Reads a number for each channel of each modality, as JSON has it.

    Raises:
        ValueError, KeyError, IndexError, TypeError: It holds something else.
    """
    return {Modality(m): (float(v[0]), float(v[1]), float(v[2])) for m, v in values.items()}
