"""How many faces are found, and how far they are turned: as they are, turned, darkened, shrunk.

    .venv/bin/python experiments/faces.py DATA results/faces

(about half an hour on one core) looks for the one face in every visible and infrared
picture of the stand-in set, with the looks of imaging/faces/detector.py and with the network
alone. Then the pictures in even light whose face was found are turned, darkened and shrunk; the
points found before, moved likewise, are the truth: a face counts if the middle of its eyes lies
within a quarter of the distance between them, and its roll is compared with theirs. Nothing was
chosen by these figures but the looks themselves, on 90 of the pictures, and what counts as
doubtful, on 40 (results/LOG.md).
"""

import csv
import io
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ferfusion.atomic import write_text
from ferfusion.data.opening import open_dataset
from ferfusion.evaluation.statistics import wilson
from ferfusion.imaging.faces.choosing import choose_face
from ferfusion.imaging.faces.detector import Face, FaceDetector
from ferfusion.imaging.faces.warm_faces import find_warm_face
from ferfusion.imaging.faces.weights import fetch_weights
from ferfusion.imaging.files import read_image
from ferfusion.modality import Modality
from ferfusion.sample import Sample

TURNS_DEG = (0, 15, 30, 45, 60, 90, 135, 180)
LIGHTS = (0.3, 0.1, 0.05)
SIDES_PX = (160, 100, 60, 40)
LEVEL_DEG = 10
"""A face so near to upright looks upright."""

FEW = 100
"""Pictures that are changed; each in every way."""


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        pictures: Which, and what was done to them.
        n: Pictures.
        found: Faces found where they are.
        several: Pictures in which more than one was found.
        rolls_off_deg: How far the roll of each found face is off, where the truth is known.
    """

    pictures: str
    n: int
    found: int
    several: int
    rolls_off_deg: tuple[float, ...] = ()


def main(data: Path, out: Path) -> None:
    """Looks at everything and writes the table."""
    samples = open_dataset(data).samples
    lights = read_lights(data / "subjects.csv")
    detector = FaceDetector(fetch_weights())
    lines: list[Line] = []
    for light in ("none", "side", "dark"):
        chosen = [s for s in samples if lights[s.images[Modality.VISIBLE].path.stem] == light]
        name = {"none": "even light", "side": "light from the side", "dark": "dark"}[light]
        lines.append(count(f"visible, {name}", show(chosen, Modality.VISIBLE), detector.find))
    infrared = list(samples)
    lines.append(count("infrared", show(infrared, Modality.INFRARED), detector.find))
    lines.append(count("infrared, by warmth alone", show(infrared, Modality.INFRARED), find_warm))
    even = [s for s in samples if lights[s.images[Modality.VISIBLE].path.stem] == "none"][:FEW]
    known = [(p, f[0]) for p in show(even, Modality.VISIBLE) if len(f := detector.find(p)) == 1]
    lines += [change(f"turned by {t} degrees", known, turner(t), detector) for t in TURNS_DEG]
    lines += [change(f"darkened to {x:g}, noisy", known, dimmer(x), detector) for x in LIGHTS]
    lines += [
        change(f"shrunk to {s} px, in a room", known, shrinker(s), detector) for s in SIDES_PX
    ]
    write_lines(lines, out)


def read_lights(path: Path) -> dict[str, str]:
    """Reads what light fell on each visible picture."""
    with path.open(newline="") as stream:
        return {row["stem"]: row["visible_light"] for row in csv.DictReader(stream)}


def show(samples: Iterable[Sample], modality: Modality) -> Iterable[np.ndarray]:
    """Gives the pictures of samples, one at a time."""
    return (read_image(sample.images[modality]) for sample in samples)


def find_warm(picture: np.ndarray) -> list[Face]:
    """Gives the warm face as the detector would."""
    face = find_warm_face(picture)
    return [face] if face else []


def count(
    name: str, pictures: Iterable[np.ndarray], find: Callable[[np.ndarray], list[Face]]
) -> Line:
    """Counts pictures in which one face is found that may be used."""
    n = found = several = 0
    for picture in pictures:
        faces = find(picture)
        choice = choose_face(faces, picture.shape[1], picture.shape[0])
        n, found, several = n + 1, found + (choice.face is not None), several + (len(faces) > 1)
    return Line(name, n, found, several)


Change = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def turner(degrees: float) -> Change:
    """Turns a picture around its middle, alternately to either side."""

    def turn(picture: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        height, width = picture.shape[:2]
        side = degrees if number % 2 else -degrees
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), side, 0.7)
        return cv2.warpAffine(picture, matrix, (width, height), borderValue=(90, 90, 90)), matrix

    return turn


def dimmer(share: float) -> Change:
    """Leaves a share of the light, and the noise of a sensor."""

    def dim(picture: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        noise = np.random.default_rng(number).normal(0, 3, picture.shape[:2])[..., np.newaxis]
        dark = np.clip(picture * share + noise, 0, 255).astype(np.uint8)
        return dark, np.eye(2, 3)

    return dim


def shrinker(side_px: int) -> Change:
    """Puts a picture, made small, somewhere into a grey room of 640 x 480 pixels."""

    def shrink(picture: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(number)
        room = cv2.GaussianBlur(rng.uniform(60, 160, (480, 640, 3)).astype(np.float32), (0, 0), 20)
        factor = side_px / picture.shape[1]
        small = cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_AREA)
        x, y = int(rng.integers(640 - side_px)), int(rng.integers(480 - side_px))
        scene = np.clip(room, 0, 255).astype(np.uint8)
        scene[y : y + side_px, x : x + side_px] = small
        return scene, np.array([[factor, 0, x], [0, factor, y]])

    return shrink


def change(
    name: str, known: list[tuple[np.ndarray, Face]], alter: Change, detector: FaceDetector
) -> Line:
    """Counts pictures in which the changed face is found where it is, and measures its roll."""
    several = 0
    rolls_off: list[float] = []
    for number, (picture, face) in enumerate(known):
        altered, matrix = alter(picture, number)
        faces = detector.find(altered)
        several += len(faces) > 1
        wanted = face.moved(matrix)
        eyes = wanted.points[:2]
        reach = 0.25 * np.linalg.norm(eyes[1] - eyes[0])
        for surest in faces[:1]:
            if np.linalg.norm(surest.points[:2].mean(axis=0) - eyes.mean(axis=0)) < reach:
                off = surest.roll_deg - wanted.roll_deg
                rolls_off.append(abs((off + 180) % 360 - 180))
    return Line(name, len(known), len(rolls_off), several, tuple(rolls_off))


def write_lines(lines: list[Line], out: Path) -> None:
    """Writes the table for people and for programs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("pictures", "n", "found", "several", "roll_off_median_deg", "roll_off_p90_deg", "level")
    )
    rows = []
    for line in lines:
        off = line.rolls_off_deg
        median, most = (f"{np.percentile(off, p):.1f}" if off else "" for p in (50, 90))
        level = str(sum(degrees <= LEVEL_DEG for degrees in off)) if off else ""
        writer.writerow((line.pictures, line.n, line.found, line.several, median, most, level))
        span = wilson(line.found, line.n)
        rows.append(
            f"| {line.pictures} | {line.n} | {line.found} = {100 * line.found / line.n:.1f} % "
            f"[{100 * span.low:.1f}, {100 * span.high:.1f}] | {line.several} | "
            f"{median} | {most} | {level} |"
        )
    write_text(out / "found.csv", text.getvalue())
    parts = [
        "# How many faces are found",
        "**Stand-in, simulated infrared**: real visible faces cut close, 500 px wide; infrared is "
        "drawn from them, and a detector made for photographs finds more in it than in real heat. "
        "Intervals are 95 %, Wilson's; pictures of one person aren't independent, so they are a "
        "little too narrow. Several: pictures in which more than one face was found. The roll of a "
        "found face (how far the line of its eyes is turned) is held against the one found before "
        "the picture was changed: half and nine tenths of them are off by no more than so many "
        f"degrees; level: how many by {LEVEL_DEG} at most. Pictures are turned to either side. "
        "Made by `experiments/faces.py`.",
        "| pictures | n | one face found | several | roll off, half | nine tenths | level |\n"
        "|---|---:|---:|---:|---:|---:|---:|\n" + "\n".join(rows),
    ]
    write_text(out / "README.md", "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
