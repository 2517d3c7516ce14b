"""How often looks alone tell who is who: pairs of faces put together, against the true subjects.

    .venv/bin/python experiments/subject_guesses.py DATA results/subject_guesses

DATA has subjects, which the grouping doesn't see. Takes about two minutes on one core for 566
samples. The descriptor, its regions and the threshold were chosen while looking at the same set, so
these figures flatter it; there is no test set that was kept apart.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ferfusion.atomic import write_text
from ferfusion.data.guess_by_looks import cut_faces, group_faces
from ferfusion.data.opening import open_dataset
from ferfusion.evaluation.statistics import wilson
from ferfusion.imaging.faces.weights import fetch_weights
from ferfusion.sample import Sample

HEADER = """# How often looks alone tell who is who

**Stand-in**: real faces of a private set, {n} samples of {people} people; one person has {most}.
In {shown} samples one face is found. They were grouped as `ferfusion subjects --by appearance`
does, not knowing the subjects, and every pair put together was held against the truth. Intervals
are 95 %, Wilson's, as if pairs were independent, which they are not. Made by
`experiments/subject_guesses.py`.

**These figures flatter it**: what is compared and from which likeness on was chosen while looking
at this very set: 32 descriptors, 6 ways to join some of them, each with 2 linkages and 7
thresholds, then 4 thresholds in deviations. No part of it was kept apart for a test; the halves
below only show how much the figures vary.

Precision: of the pairs put together, how many are one person. By chance: what it would be for
pairs drawn blindly. Recall: of the pairs that are one person, how many were put together.

| people | samples | pairs put together | precision | by chance | recall |
|---|---:|---:|---:|---:|---:|
"""
FOOTER = """
So it is much better than chance and still of little use: most true pairs are missed, and a good
part of what is shown is wrong. It is never taken for subjects, in no split, and doesn't enter the
warning before a study.

By names and by times nothing is found in this set: its names only count, and its pictures have no
EXIF times.
"""


def main(data: Path, out: Path) -> None:
    """Guesses with everybody, with the people of each half, and without the most frequent one."""
    dataset = open_dataset(data)
    sizes = Counter(sample.subject for sample in dataset.samples)
    (most_frequent, most), *_ = sizes.most_common(1)
    faces = cut_faces(dataset.samples, fetch_weights())
    shown = [sample for sample in dataset.samples if sample.id in faces]
    parts = {
        "all": shown,
        "half of the people": [s for s in shown if not _in_half(str(s.subject))],
        "the other half": [s for s in shown if _in_half(str(s.subject))],
        "all but the most frequent": [s for s in shown if s.subject != most_frequent],
    }
    text = HEADER.format(n=len(dataset.samples), shown=len(shown), people=len(sizes), most=most)
    for name, samples in parts.items():
        row = _measure(name, samples, faces)
        print(row)
        text += f"{row}\n"
    write_text(out / "README.md", text + FOOTER)


def _in_half(subject: str) -> bool:
    return hashlib.sha256(subject.encode()).digest()[-1] % 2 == 1


def _measure(name: str, samples: Sequence[Sample], faces: Mapping[str, np.ndarray]) -> str:
    truth = np.array([sample.subject for sample in samples])
    crops = np.stack([faces[sample.id] for sample in samples])
    group = np.array(group_faces(crops, [sample.expression for sample in samples]))
    above = np.triu_indices(len(truth), 1)
    same = (truth[:, None] == truth)[above]
    together = (group[:, None] == group)[above]
    right, n_together, n_same = int((same & together).sum()), int(together.sum()), int(same.sum())
    return (
        f"| {name} | {len(truth)} | {n_together} | {_tell(right, n_together)} | "
        f"{100 * same.mean():.1f} % | {_tell(right, n_same)} |"
    )


def _tell(k: int, n: int) -> str:
    if n == 0:
        return "0/0"
    interval = wilson(k, n)
    return f"{k}/{n} = {100 * k / n:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
