"""What the page shows of a sample beyond the answer: pairs, heat maps, what each picture adds."""

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.data.cache import resize
from ferfusion.imaging.heat_overlay import overlay_heat
from ferfusion.imaging.registration.motion import lay_on
from ferfusion.imaging.registration.register import register
from ferfusion.inference.ask_without import ask_without_each, map_influence
from ferfusion.inference.predictor import Prediction, Predictor
from ferfusion.modality import Modality

_SHOWN_PX = 448
_JPEG_QUALITY = 88
_LEAST_INFLUENCE = 0.005
"""A map in which nothing changes the answer by more than that would be a map of noise."""

Pictures = Mapping[Modality, UInt8[np.ndarray, "_ _ 3"]]


def explain(
    model: Predictor, pictures: Pictures, *, seconds: float, are_laid: bool = False
) -> dict[str, Any]:
    """Gives an answer and everything around it, as plain values; pictures are data addresses.

    Args:
        model: The one that is served.
        pictures: What it looks at, each in its own size.
        seconds: For the heat maps. Those that aren't finished by then are left out.
        are_laid: Whether the pictures lie on each other already.
    """
    size_px = model.facts.size_px
    squares = {m: resize(picture, size_px) for m, picture in pictures.items()}
    probs = model.runner.predict({m: square[None] for m, square in squares.items()})[0]
    place = int(probs.argmax())
    without = ask_without_each(model.runner, squares) if len(squares) > 1 else {}
    found = map_influence(model.runner, squares, place, seconds=seconds)
    return {
        **tell_prediction(model.interpret(probs.astype(np.float64))),
        "aligned": _align(pictures, are_laid),
        "pictures": {m: to_address(_shrink(picture)) for m, picture in pictures.items()},
        "heat": _draw_maps(squares, found),
        "without": {
            m: tell_prediction(model.interpret(row.astype(np.float64)))
            for m, row in without.items()
        },
    }


def tell_prediction(prediction: Prediction) -> dict[str, Any]:
    """Gives a prediction as plain values."""
    return {
        "label": prediction.label,
        "probabilities": dict(prediction.probabilities),
        "abstained": prediction.abstained,
    }


def to_address(picture: UInt8[np.ndarray, "_ _ 3"]) -> str:
    """Gives a picture as an address that holds it."""
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _align(pictures: Pictures, are_laid: bool) -> dict[str, Any] | None:
    """Lays infrared on visible, for the eye; the model is asked about the pictures as they are."""
    if not {Modality.VISIBLE, Modality.INFRARED} <= pictures.keys():
        return None
    visible = _shrink(pictures[Modality.VISIBLE])
    infrared = _shrink(pictures[Modality.INFRARED])
    found = None if are_laid else register(visible, infrared)
    if found is None:
        return {"visible": to_address(visible), "infrared": to_address(infrared), "found": None}
    height, width = visible.shape[:2]
    laid = lay_on(infrared, found.motion, width, height)
    motion = {
        "quality": found.quality,
        "passed": found.passed,
        "shift_percent": 100 * float(np.hypot(found.motion.dx_px, found.motion.dy_px)) / width,
        "scale": found.motion.scale,
        "angle_deg": found.motion.angle_deg,
    }
    return {"visible": to_address(visible), "infrared": to_address(laid), "found": motion}


def _draw_maps(
    squares: Pictures, found: Mapping[Modality, Float[np.ndarray, "grid grid"]]
) -> dict[str, Any]:
    """Draws the maps in one scale, so that modalities can be compared."""
    strongest = max((float(one.max()) for one in found.values()), default=0.0)
    drawn: dict[str, Any] = {}
    for modality, square in squares.items():
        if modality not in found:
            drawn[modality] = None
            continue
        shown = resize(square, _SHOWN_PX)
        heat = np.zeros((_SHOWN_PX, _SHOWN_PX), np.float32)
        if strongest >= _LEAST_INFLUENCE:
            coarse = np.clip(found[modality] / strongest, 0, 1).astype(np.float32)
            fine = cv2.resize(coarse, (_SHOWN_PX, _SHOWN_PX), interpolation=cv2.INTER_CUBIC)
            heat = np.clip(fine, 0, 1)
        drawn[modality] = {
            "picture": to_address(overlay_heat(shown, heat)),
            "strongest": max(0.0, float(found[modality].max())),
        }
    return drawn


def _shrink(picture: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
    """Gives the picture no larger than it is shown; its sides keep their ratio."""
    height, width = picture.shape[:2]
    factor = _SHOWN_PX / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
