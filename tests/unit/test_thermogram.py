import numpy as np
import pytest

from ferfusion.imaging.camera.thermogram import CameraSettings, find_doubts

FINE_C = np.linspace(20, 36, 400).reshape(20, 20).astype(np.float32)


def test_nothing_is_doubted_without_reason() -> None:
    assert find_doubts(FINE_C, CameraSettings()) == ()
    assert find_doubts(FINE_C, CameraSettings(0.98, 1.0, 20.0, 20.0, 0.5)) == ()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (CameraSettings(emissivity=1.0), "set to 1.00; skin has 0.98"),
        (CameraSettings(emissivity=0.95), "--emissivity 0.98"),
        (CameraSettings(distance_m=0.0), "0 m"),
        (CameraSettings(reflected_c=298.0), "reflected temperature was set to 298"),
        (CameraSettings(atmospheric_c=-273.15), "atmospheric"),
    ],
)
def test_settings_that_are_doubted(settings: CameraSettings, words: str) -> None:
    (doubt,) = find_doubts(FINE_C, settings)
    assert words in doubt
    assert doubt.endswith(".")


def test_temperatures_that_are_doubted() -> None:
    def doubt(temperature_c: np.ndarray) -> str:
        return " ".join(find_doubts(temperature_c.astype(np.float32), CameraSettings()))

    assert "from 220 to 236 °C, beyond -40 to 150" in doubt(FINE_C + 200)
    assert "have the highest temperature, 30.0" in doubt(np.minimum(FINE_C, 30))
    assert "have the lowest temperature, 24.0" in doubt(np.maximum(FINE_C, 24))
    assert "All pixels" in doubt(np.full((4, 4), 20.0))
    holed = FINE_C.copy()
    holed[0, :3] = np.nan
    assert "3 of 400 pixels have no temperature" in doubt(holed)


def test_settings_are_changed_by_what_is_known() -> None:
    told = CameraSettings(0.95, 1.0, 20.0)
    assert told.changed_by(CameraSettings(emissivity=0.98)) == CameraSettings(0.98, 1.0, 20.0)
    assert told.changed_by(CameraSettings()) == told
    assert CameraSettings(distance_m=0.0).known() == {"distance_m": 0.0}
