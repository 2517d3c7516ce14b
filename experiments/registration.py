"""How well infrared pictures are laid on visible ones, and how well a pair's quality tells.

    .venv/bin/python experiments/registration.py measure DATA PAIRS.csv
    .venv/bin/python experiments/registration.py fit PAIRS.csv
    .venv/bin/python experiments/registration.py tell PAIRS.csv results/registration

`measure` (about twenty minutes on one core; goes on where it was stopped) registers the stand-in
pairs, whose motion is recorded; the same ones moved much further; drawn faces, in place and moved;
and strangers, a visible picture with somebody else's infrared one, which should not pass. `fit`
prints the weights of the quality from the pairs of half of the people (dev); they stand in
imaging/registration/quality.py. `tell` writes what came of the other half (test) with them.
"""

import csv
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

from ferfusion.atomic import write_text
from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import draw_sample
from ferfusion.evaluation.statistics import wilson
from ferfusion.expression import VIRI
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.drawn.light import LIGHTS
from ferfusion.imaging.files import read_image
from ferfusion.imaging.registration.motion import Motion
from ferfusion.imaging.registration.quality import PASSING_QUALITY, describe, rate_quality
from ferfusion.imaging.registration.register import register
from ferfusion.modality import Modality

PEOPLE = 60
"""Drawn people, each with two pictures."""
WIDTH_PX = 500
RIGHT_PX = 3.0
CASES = {
    "recorded": "stand-in, as it is",
    "moved": "stand-in, moved further",
    "drawn": "drawn faces, in place",
    "drawn-moved": "drawn faces, moved",
    "strangers": "somebody else's infrared",
}


@dataclass(frozen=True)
class Pair:
    """One registration and, where it is known, how far it is off."""

    case: str
    sample: str
    half: str
    moved_px: float
    error_px: float
    agreement: float
    lead: float
    expected_error_px: float

    @property
    def is_right(self) -> bool:
        """Whether points lie where they belong; never so for strangers."""
        return self.error_px <= RIGHT_PX

    @property
    def quality(self) -> float:
        """As the software rates it now."""
        return rate_quality(self.agreement, self.lead, self.expected_error_px / WIDTH_PX)


Task = tuple[str, str, str, np.ndarray, np.ndarray, Motion | None]


def measure(data: Path, out: Path) -> None:
    """Registers every pair that is not in the file yet."""
    done = {(p.case, p.sample) for p in read_pairs(out)} if out.exists() else set()
    names = [field.name for field in fields(Pair)]
    with out.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        if not done:
            writer.writeheader()
        for case, sample, subject, visible, infrared, truth in list_tasks(data, done):
            found = register(visible, infrared)
            width, height = visible.shape[1], visible.shape[0]
            far = truth.distance_px(Motion(), width, height) if truth else float("nan")
            off = found.motion.distance_px(truth, width, height) if truth else float("inf")
            pair = Pair(
                case, sample, choose_half(subject), round(far, 2), round(off, 3),
                round(found.agreement, 4), round(found.lead, 4), round(found.expected_error_px, 4),
            )  # fmt: skip
            writer.writerow(asdict(pair))
            stream.flush()


def choose_half(subject: str) -> str:
    """Puts a person into dev or test, whatever else is measured."""
    return "dev" if hashlib.sha256(subject.encode()).digest()[0] % 2 else "test"


def list_tasks(data: Path, done: set[tuple[str, str]]) -> Iterator[Task]:
    """Gives case, sample, subject, the two pictures and the motion between them."""
    dataset = open_dataset(data)
    truths = read_motions(data / "subjects.csv")
    samples = dataset.samples
    for number, sample in enumerate(samples):
        truth = truths[sample.images[Modality.VISIBLE].path.stem]
        stranger = next(
            s for s in (*samples[number + 1 :], *samples) if s.subject != sample.subject
        )
        who = sample.subject or sample.id
        if any((case, sample.id) not in done for case in ("recorded", "moved", "strangers")):
            visible = read_image(sample.images[Modality.VISIBLE])
            infrared = read_image(sample.images[Modality.INFRARED])
            moved, motion = move(infrared, truth, number)
            other = read_image(stranger.images[Modality.INFRARED])
            for task in (
                ("recorded", sample.id, who, visible, infrared, truth),
                ("moved", sample.id, who, visible, moved, motion),
                ("strangers", sample.id, who, visible, other, None),
            ):
                if task[:2] not in done:
                    yield task
    for number in range(2 * PEOPLE):
        name, case = f"drawn-{number:03}", number % len(LIGHTS)
        drawn = draw_sample(
            draw_identity(1000 + number // 2), VIRI[number % len(VIRI)], light=list(LIGHTS)[case],
            intensity=0.8, seed=number, size_px=WIDTH_PX, misalignment=0.0,
        )  # fmt: skip
        moved, motion = move(drawn.infrared, Motion(), 10_000 + number)
        subject = f"drawn-person-{number // 2}"
        for task in (
            ("drawn", name, subject, drawn.visible, drawn.infrared, Motion()),
            ("drawn-moved", name, subject, drawn.visible, moved, motion),
        ):
            if task[:2] not in done:
                yield task


def read_motions(path: Path) -> dict[str, Motion]:
    """Reads how the stand-in's infrared pictures were moved."""
    with path.open(newline="") as stream:
        return {
            row["stem"]: Motion(
                float(row["infrared_scale"]),
                float(row["infrared_dx_px"]),
                float(row["infrared_dy_px"]),
            )
            for row in csv.DictReader(stream)
        }


def move(infrared: np.ndarray, before: Motion, seed: int) -> tuple[np.ndarray, Motion]:
    """Moves a picture by up to 15 % of its width, 10 degrees and 15 % of scale."""
    rng = np.random.default_rng(seed)
    height, width = infrared.shape[:2]
    more = Motion(
        scale=1 + rng.uniform(-0.15, 0.15),
        dx_px=rng.uniform(-0.15, 0.15) * width,
        dy_px=rng.uniform(-0.15, 0.15) * height,
        angle_deg=rng.uniform(-10, 10),
    )
    moved = cv2.warpAffine(
        infrared, more.matrix(width, height), (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    first, second = (np.vstack((m.matrix(width, height), (0, 0, 1))) for m in (before, more))
    return moved, Motion.from_matrix((second @ first)[:2], width, height)


def read_pairs(path: Path) -> list[Pair]:
    """Reads what `measure` wrote."""
    with path.open(newline="") as stream:
        return [
            Pair(
                row["case"],
                row["sample"],
                row["half"],
                *(float(row[f.name]) for f in fields(Pair)[3:]),
            )
            for row in csv.DictReader(stream)
        ]


def fit(path: Path) -> None:
    """Prints the weights that tell right from wrong motions best, from the dev half alone."""
    pairs = [p for p in read_pairs(path) if p.half == "dev"]
    facts = np.array([describe(p.agreement, p.lead, p.expected_error_px / WIDTH_PX) for p in pairs])
    right = np.array([p.is_right for p in pairs])
    model = LogisticRegression(C=10.0, max_iter=1000).fit(facts, right)
    print(f"{len(pairs)} pairs, {right.sum()} right")
    for name, weight in zip(
        ("_OFFSET", "_BY_AGREEMENT", "_BY_LEAD", "_BY_ERROR"),
        (*model.intercept_, *model.coef_[0]), strict=True,
    ):  # fmt: skip
        print(f"{name} = {weight:.2f}")
    quality = model.predict_proba(facts)[:, 1]
    for passing in (0.5, 0.7, 0.8, 0.9, 0.95, 0.98):
        passed = quality >= passing
        wrong = int((passed & ~right).sum())
        print(f"passing at {passing}: {passed.sum()} pass, {wrong} wrongly, "
              f"{int((right & ~passed).sum())} right ones don't")  # fmt: skip


def tell(path: Path, out: Path) -> None:
    """Writes the table of the test half."""
    pairs = read_pairs(path)
    rows = [
        "| pairs | n | off, median px | 90 % | within 3 px | pass | of these within 3 px "
        "| wrong and pass |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    ]
    for case, words in CASES.items():
        chosen = [p for p in pairs if p.case == case and p.half == "test"]
        rows.append(tell_case(words, chosen))
    dev = sum(p.half == "dev" for p in pairs)
    text = [
        "# How well infrared is laid on visible",
        "**Stand-in, simulated infrared**: real visible faces; their infrared pictures are drawn "
        "from them, and share more edges with them than real heat does. Drawn faces are drawn by "
        "this software. Real pairs will be harder.",
        f"Pictures {WIDTH_PX} px wide. Off: the mean distance between where the found and the true "
        "motion carry points of the middle two thirds. Moved: up to 15 % of the width, 10 degrees, "
        f"15 % of scale. Test half of the people only; the weights of the quality and the "
        f"threshold ({PASSING_QUALITY:g}) come from the other half ({dev} pairs). Intervals are "
        "95 %, Wilson's. Made by `experiments/registration.py`; each pair is in `pairs.csv`.",
        "\n".join(rows),
    ]
    write_text(out / "README.md", "\n\n".join(text) + "\n")
    write_text(out / "pairs.csv", path.read_text())


def tell_case(words: str, pairs: Sequence[Pair]) -> str:
    """Gives one line of the table."""
    passed = [p for p in pairs if p.quality >= PASSING_QUALITY]
    right, good = sum(p.is_right for p in pairs), sum(p.is_right for p in passed)
    off = [p.error_px for p in pairs if np.isfinite(p.error_px)]
    median, far = (f"{v:.2f}" for v in np.percentile(off, (50, 90))) if off else ("", "")
    false = tell_share(len(passed) - good, len(pairs) - right)
    return (
        f"| {words} | {len(pairs)} | {median} | {far} | {tell_share(right, len(pairs))} | "
        f"{tell_share(len(passed), len(pairs))} | {tell_share(good, len(passed))} | {false} |"
    )


def tell_share(count: int, of: int) -> str:
    """Gives a count with its share and interval."""
    if of == 0:
        return "0/0"
    span = wilson(count, of)
    share = f"{100 * count / of:.1f} % [{100 * span.low:.1f}, {100 * span.high:.1f}]"
    return f"{count}/{of} = {share}"


if __name__ == "__main__":
    {"measure": measure, "fit": fit, "tell": tell}[sys.argv[1]](*map(Path, sys.argv[2:]))
