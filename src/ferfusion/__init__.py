"""Facial expression recognition from visible, thermal infrared and MSX pictures together."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferfusion.errors import ConfigError as ConfigError
    from ferfusion.errors import DataError as DataError
    from ferfusion.errors import FerfusionError as FerfusionError
    from ferfusion.inference.predictor import Prediction as Prediction
    from ferfusion.inference.predictor import Predictor as Predictor
    from ferfusion.inference.predictor import Unusable as Unusable
    from ferfusion.inference.predictor import load as load

_ERRORS = ("ConfigError", "DataError", "FerfusionError")

__all__ = [
    "ConfigError",
    "DataError",
    "FerfusionError",
    "Prediction",
    "Predictor",
    "Unusable",
    "load",
]


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is asked for, so that the command line starts at once."""
    if name in _ERRORS:
        from ferfusion import errors

        return getattr(errors, name)
    if name in __all__:
        from ferfusion.inference import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'ferfusion' has no attribute '{name}'")
