"""How pixels become numbers a model was trained on; saved with every checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ferfusion.modality import Modality

Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize to a square, scale to [0, 1], subtract the mean, divide by the deviation.

    Pictures that are not square are squeezed, as in the paper's code (Resize((224, 224))).

    Attributes:
        size_px: Side of the square a model sees.
        mean: Per modality, per RGB channel, of values in [0, 1].
        std: Likewise.
    """

    size_px: int
    mean: Mapping[Modality, Channels]
    std: Mapping[Modality, Channels]

    def to_json(self) -> dict[str, Any]:
        """Gives plain values that `from_json` reads back."""
        return {
            "size_px": self.size_px,
            "mean": {str(m): list(v) for m, v in self.mean.items()},
            "std": {str(m): list(v) for m, v in self.std.items()},
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Preprocessing":
        """Reads what `to_json` gave."""

        def channels(of: Mapping[str, Any]) -> dict[Modality, Channels]:
            return {Modality(m): (float(v[0]), float(v[1]), float(v[2])) for m, v in of.items()}

        return Preprocessing(
            size_px=int(values["size_px"]),
            mean=channels(values["mean"]),
            std=channels(values["std"]),
        )
