"""Facial expression recognition from visible, thermal infrared and MSX pictures together."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferfusion.inference.predictor import Prediction as Prediction
    from ferfusion.inference.predictor import Predictor as Predictor
    from ferfusion.inference.predictor import load as load

__all__ = ["Prediction", "Predictor", "load"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is asked for, so that the command line starts at once."""
    if name in __all__:
        from ferfusion.inference import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'ferfusion' has no attribute '{name}'")
