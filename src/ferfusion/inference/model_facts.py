"""What an exported graph says about itself, and what its inputs and its output are called."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ferfusion.errors import CheckpointError
from ferfusion.modality import Modality
from ferfusion.preprocessing import PICTURE, Channels, HeatInput, parse_heat, read_channels

Precision = Literal["fp32", "int8"]
FORMAT = 1
METADATA_KEY = "ferfusion"
OUTPUT = "probabilities"


@dataclass(frozen=True)
class ModelFacts:
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
        heat: How temperatures become its infrared pictures; None where it takes pictures.
        mean: Of its training pictures, by modality and channel, of values in [0, 1]: what is 0 to
            the network. Graphs of the first months don't say it.
    """

    labels: tuple[str, ...]
    modalities: tuple[Modality, ...]
    size_px: int
    precision: Precision
    temperature: float
    fusion: str
    backbone: str
    versions: Mapping[str, str]
    heat: HeatInput | None = None
    mean: Mapping[Modality, Channels] = field(default_factory=dict)

    def heat_of(self, modality: Modality) -> HeatInput | None:
        """Gives `heat` for infrared, and None for all else."""
        return self.heat if modality is Modality.INFRARED else None

    def to_text(self) -> str:
        """Gives a text that `from_text` reads back."""
        values = {**asdict(self), "heat": str(self.heat or PICTURE)}
        return json.dumps({"format": FORMAT, **values}, sort_keys=True)

    @staticmethod
    def from_text(text: str) -> "ModelFacts":
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
            return ModelFacts(
                labels=tuple(values["labels"]),
                modalities=tuple(Modality(m) for m in values["modalities"]),
                size_px=int(values["size_px"]),
                precision=values["precision"],
                temperature=float(values["temperature"]),
                fusion=values["fusion"],
                backbone=values["backbone"],
                versions=dict(values["versions"]),
                heat=parse_heat(values.get("heat", PICTURE)),
                mean=read_channels(values.get("mean", {})),
            )
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"What the graph says about itself is damaged ({error!r}). Export it again."
            ) from error


def name_picture(modality: Modality) -> str:
    """Gives the name under which a graph takes a modality's bytes."""
    return f"{modality}_picture"


def name_normalised(modality: Modality) -> str:
    """Gives the name under which the network inside takes a modality's pictures."""
    return f"{modality}_normalised"
