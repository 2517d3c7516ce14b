"""Drawn faces in three modalities, for the demo and the tests: no download, nobody's face."""

import json
import shutil
import tempfile
from collections.abc import Callable
from csv import DictWriter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import ConfigError, ResultsError, unknown_name
from ferfusion.expression import VIRI
from ferfusion.imaging.drawn.canvas import Pose
from ferfusion.imaging.drawn.drawing import paint_face
from ferfusion.imaging.drawn.geometry import Face, shape_face
from ferfusion.imaging.drawn.hair import shape_hair
from ferfusion.imaging.drawn.identity import Identity, draw_identity
from ferfusion.imaging.drawn.light import LIGHTS, light_picture
from ferfusion.imaging.drawn.muscles import draw_muscles
from ferfusion.imaging.drawn.temperature import paint_temperature
from ferfusion.imaging.msx import blend_msx
from ferfusion.imaging.palette import colourise

_FOLDERS = {"angry": "Angry", "happy": "Happy", "neutral": "Neutral", "sad": "Sad",
            "surprised": "Surprise"}  # fmt: skip
_PARAMETERS = "synthetic.json"
_VERSION = 4
_LIGHT_SHARES = (0.40, 0.35, 0.25)  # of LIGHTS: even, dim, side
_SUFFIXES = ("Vis", "Ir", "MSX")


@dataclass(frozen=True)
class DrawnSample:
    """One moment of a drawn face in every modality; infrared misses visible by a pixel or so."""

    visible: UInt8[np.ndarray, "height width 3"]
    temperature_c: Float[np.ndarray, "height width"]
    infrared: UInt8[np.ndarray, "height width 3"]
    msx: UInt8[np.ndarray, "height width 3"]


def draw_sample(
    identity: Identity,
    expression: str,
    *,
    light: str,
    intensity: float,
    seed: int,
    size_px: int = 128,
    misalignment: float = 1.0,
) -> DrawnSample:
    """Draws a person showing an expression.

    Args:
        identity: Who; see `draw_identity`.
        expression: One of `ferfusion.expression.VIRI`.
        light: "even", "dim" or "side": what falls on the visible picture. The thermal camera
            doesn't notice it.
        intensity: From 0 (not shown) to 1 (in full); below about 0.4 it is hard to name.
        seed: Draws pose, variant, background and noise.
        size_px: Side of the pictures.
        misalignment: How far infrared misses visible: 1 is a pixel or so of 128, 0 not at all.

    Raises:
        ConfigError: The expression or the light is unknown.
    """
    if light not in LIGHTS:
        raise ConfigError(unknown_name("light", light, LIGHTS))
    rng = np.random.default_rng(seed)
    face, pose = lay_out_face(identity, expression, intensity, rng)
    hair = shape_hair(identity, face.chin_y)
    painted = paint_face(face, hair, pose, size_px, rng)
    visible = light_picture(painted, light, pose, rng)
    temperature_c = paint_temperature(face, hair, pose, size_px, rng, misalignment)
    coldest, warmest = np.percentile(temperature_c, (5.0, 99.8))
    # The room is black and faces use most of the palette, as when the span is set for people.
    low_c = coldest + 0.14 * (warmest - coldest)
    infrared = colourise(temperature_c, float(low_c), float(warmest) + 0.7)
    msx = blend_msx(visible, infrared, sigma_px=0.02 * size_px, gain=0.8)
    return DrawnSample(visible, temperature_c, infrared, msx)


def lay_out_face(
    identity: Identity, expression: str, intensity: float, rng: np.random.Generator
) -> tuple[Face, Pose]:
    """Gives the outlines of a face and where it is in the picture, before anything is painted."""
    muscles = draw_muscles(expression, intensity, rng)
    yaw = float(rng.normal(0.0, 0.045))
    pose = Pose(
        scale=float(0.345 * rng.uniform(0.95, 1.03)),
        tilt_deg=float(rng.normal(0.0, 3.2)),
        x=float(0.5 + rng.normal(0.0, 0.015)),
        y=float(0.49 + rng.normal(0.0, 0.012)),
    )
    return shape_face(identity, muscles, yaw), pose


def write_synthetic_dataset(
    folder: Path,
    *,
    subjects: int = 60,
    per_expression: int = 1,
    size_px: int = 128,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes a drawn data set in VIRI's folder layout, with `subjects.csv` beside it.

    Every subject shows every expression `per_expression` times. About 35 % of the visible
    pictures are dim and 25 % lit from one side. The same parameters give the same pictures.

    Args:
        folder: Where; made, or returned as it is when it holds this very data set.
        subjects: How many people.
        per_expression: Moments of each expression and person.
        size_px: Side of the pictures.
        seed: Draws everything.
        progress: Called with (samples done, samples in all) after each sample.

    Returns:
        The folder.

    Raises:
        ConfigError: A number is too small.
        ResultsError: Something else is in the way.
    """
    for name, value, least in (("subjects", subjects, 1), ("per_expression", per_expression, 1),
                               ("size_px", size_px, 32)):  # fmt: skip
        if value < least:
            raise ConfigError(f"A drawn data set needs {name} of at least {least}, not {value}.")
    parameters = {"version": _VERSION, "subjects": subjects, "per_expression": per_expression,
                  "size_px": size_px, "seed": seed}  # fmt: skip
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        _check_same(folder, parameters)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(unfinished, parameters, progress)
        unfinished.chmod(0o755)
        unfinished.replace(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def is_drawn(folder: Path) -> bool:
    """Says whether this software drew the faces in a folder, by the file that it left there."""
    return (folder / _PARAMETERS).is_file()


def _check_same(folder: Path, parameters: dict[str, Any]) -> None:
    found = None
    if (folder / _PARAMETERS).is_file():
        try:
            found = json.loads((folder / _PARAMETERS).read_text(encoding="utf-8"))
        except ValueError:
            found = None
    pictures = parameters["subjects"] * parameters["per_expression"] * len(VIRI) * len(_SUFFIXES)
    if found != parameters:
        what = "something else" if found is None else f"a drawn data set made with {found}"
    elif len(list(folder.glob("VIRI-*/*.png"))) != pictures:
        what = f"this data set with pictures added or missing ({pictures} were drawn)"
    else:
        return
    raise ResultsError(
        f"The drawn faces can't be written to '{folder}': it already holds {what}. "
        "Choose another folder, or remove this one if you don't need it."
    )


def _write(
    folder: Path, parameters: dict[str, Any], progress: Callable[[int, int], None] | None
) -> None:
    seed, subjects, takes = (parameters[k] for k in ("seed", "subjects", "per_expression"))
    rows = []
    total = subjects * takes * len(VIRI)
    for label in VIRI:
        for kind in _SUFFIXES:
            (folder / f"VIRI-{_FOLDERS[label]}-{kind}").mkdir()
    for subject in range(subjects):
        identity = draw_identity(_derived_seed(seed, subject))
        for number, label in enumerate(VIRI):
            for take in range(takes):
                drawn_seed = _derived_seed(seed, subject, number, take)
                rng = np.random.default_rng([drawn_seed, 1])
                light = LIGHTS[int(rng.choice(len(LIGHTS), p=_LIGHT_SHARES))]
                sample = draw_sample(
                    identity, label, light=light, intensity=float(rng.uniform(0.6, 1.1)),
                    seed=drawn_seed, size_px=parameters["size_px"],
                )  # fmt: skip
                stem = f"{label}_{subject * takes + take + 1:03d}"
                pictures = (sample.visible, sample.infrared, sample.msx)
                for kind, pixels in zip(_SUFFIXES, pictures, strict=True):
                    _save(folder / f"VIRI-{_FOLDERS[label]}-{kind}" / f"{stem}.png", pixels)
                rows.append({"stem": stem, "subject": f"drawn{subject + 1:03d}",
                             "expression": label, "visible_light": light})  # fmt: skip
                if progress is not None:
                    progress(len(rows), total)
    with (folder / "subjects.csv").open("w", newline="", encoding="utf-8") as file:
        writer = DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / _PARAMETERS).write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")


def _derived_seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _save(path: Path, pixels: UInt8[np.ndarray, "height width 3"]) -> None:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    path.write_bytes(encoded.tobytes())
