"""What a camera file gives: temperatures, pictures, how they lie on each other, and doubts."""

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import ConfigError
from ferfusion.imaging.camera.kinds import Kind
from ferfusion.imaging.registration.motion import Motion

SKIN_EMISSIVITY = 0.98
"""Of human skin between 8 and 14 micrometres, whatever its colour (Steketee 1973: 0.98 +- 0.01)."""

_PLAUSIBLE_C = (-40.0, 150.0)
# Settings are stored as they were typed: two digits.
_SAME_EMISSIVITY = 0.006


@dataclass(frozen=True)
class CameraSettings:
    """What the camera was told about the scene; None where nobody knows.

    Attributes:
        emissivity: Of what is looked at, above 0 and up to 1.
        distance_m: To what is looked at.
        reflected_c: Apparent temperature of what is reflected in it.
        atmospheric_c: Of the air between.
        humidity: Relative, 0 to 1.
    """

    emissivity: float | None = None
    distance_m: float | None = None
    reflected_c: float | None = None
    atmospheric_c: float | None = None
    humidity: float | None = None

    def check(self) -> None:
        """Refuses what no scene can have.

        Raises:
            ConfigError: A value makes no sense.
        """
        wanted = {
            "emissivity": (0.01, 1.0),
            "distance_m": (0.0, 10_000.0),
            "reflected_c": (-273.0, 1000.0),
            "atmospheric_c": (-273.0, 1000.0),
            "humidity": (0.0, 1.0),
        }
        for name, value in self.known().items():
            low, high = wanted[name]
            if not low <= value <= high:
                raise ConfigError(f"{name} must be from {low:g} to {high:g}, not {value:g}.")

    def changed_by(self, other: "CameraSettings") -> "CameraSettings":
        """Gives these settings with all that `other` knows in their place."""
        return replace(self, **other.known())

    def known(self) -> dict[str, float]:
        """Gives those that aren't None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Thermogram:
    """What one camera file gives.

    Attributes:
        kind: Of file.
        temperature_c: Degrees Celsius; NaN where there is no value.
        photo: What the camera's visible lens saw.
        picture: The camera's own rendering of the temperatures, with its overlays.
        placement: How `temperature_c` was moved against `photo`, by what the camera wrote. It
            holds for one distance; nearer, the two lenses see differently.
        settings: With which `temperature_c` was calculated.
        camera: Its maker and model.
        warnings: Doubts, as sentences.
    """

    kind: Kind
    temperature_c: Float[np.ndarray, "rows columns"]
    photo: UInt8[np.ndarray, "_ _ 3"] | None = None
    picture: UInt8[np.ndarray, "_ _ 3"] | None = None
    placement: Motion | None = None
    settings: CameraSettings = CameraSettings()
    camera: str | None = None
    warnings: tuple[str, ...] = ()


def find_doubts(
    temperature_c: Float[np.ndarray, "rows columns"], settings: CameraSettings
) -> tuple[str, ...]:
    """Lists what looks wrong with temperatures and settings, as sentences."""
    return (*_doubt_settings(settings), *_doubt_temperatures(temperature_c))


def _doubt_settings(settings: CameraSettings) -> list[str]:
    doubts = []
    emissivity = settings.emissivity
    if emissivity is not None and abs(emissivity - SKIN_EMISSIVITY) > _SAME_EMISSIVITY:
        doubts.append(
            f"The emissivity was set to {emissivity:.2f}; skin has {SKIN_EMISSIVITY}: for faces "
            f"give --emissivity {SKIN_EMISSIVITY}."
        )
    if settings.distance_m == 0:
        doubts.append("The distance was set to 0 m, so nothing is corrected for the air.")
    for name, value in (
        ("reflected", settings.reflected_c),
        ("atmospheric", settings.atmospheric_c),
    ):
        if value is not None and not -60 <= value <= 80:
            doubts.append(f"The {name} temperature was set to {value:.0f} °C, which is unlikely.")
    return doubts


def _doubt_temperatures(temperature_c: Float[np.ndarray, "rows columns"]) -> list[str]:
    doubts = []
    known = temperature_c[np.isfinite(temperature_c)]
    if known.size < temperature_c.size:
        missing = temperature_c.size - known.size
        doubts.append(f"{missing} of {temperature_c.size} pixels have no temperature.")
    if not known.size:
        return doubts
    low, high = float(known.min()), float(known.max())
    if low < _PLAUSIBLE_C[0] or high > _PLAUSIBLE_C[1]:
        doubts.append(
            f"Temperatures go from {low:.0f} to {high:.0f} °C, beyond {_PLAUSIBLE_C[0]:.0f} to "
            f"{_PLAUSIBLE_C[1]:.0f}: check scale, range or settings."
        )
    if low == high:
        doubts.append("All pixels have the same temperature.")
    else:
        for value, which in ((high, "highest"), (low, "lowest")):
            alike = int((known == value).sum())
            share = alike / known.size
            if share > 0.02 and alike > 20:
                doubts.append(
                    f"{share:.0%} of the pixels have the {which} temperature, {value:.1f} °C: the "
                    "range was probably exceeded there."
                )
    return doubts
