"""Which samples of a data set a run learned from, and which it didn't: by name, and by bytes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import read_split
from ferfusion.errors import DataError
from ferfusion.evaluation.run_folder import SEEN, SPLIT
from ferfusion.imaging.file_bytes import fingerprint_bytes, read_bytes
from ferfusion.models.blueprint import list_needed
from ferfusion.models.checkpoint import Checkpoint
from ferfusion.sample import Sample


def sort_samples(
    run: Path, dataset: Dataset, checkpoint: Checkpoint
) -> dict[str, tuple[Sample, ...]]:
    """Gives the samples that trained the model, that tested it, and all it hasn't learned from."""
    needed = list_needed(checkpoint.blueprint)
    complete = dataset.complete_in(needed).samples
    if not complete:
        raise DataError(
            f"No sample of {dataset.root} has all that this model looks at: {', '.join(needed)}. "
            "Name the data it was trained on with --data."
        )
    split = read_split(run / SPLIT) if (run / SPLIT).is_file() else None
    part_of = {} if split is None else {i: part for part, ids in split.parts.items() for i in ids}
    train = tuple(s for s in complete if part_of.get(s.id) == "train")
    test = tuple(s for s in complete if part_of.get(s.id) == "test")
    others = tuple(s for s in complete if s.id not in part_of)
    return {"train": train, "test": test, "unseen": test or others}


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Takes at most so many, spread evenly over the data, which lies sorted by class."""
    if len(samples) <= count:
        return list(samples)
    return [samples[row] for row in np.linspace(0, len(samples) - 1, count).round().astype(int)]


def read_seen(run: Path) -> dict[str, list[str]] | None:
    """Reads which picture files the run met, by their hashes; None where nobody wrote it down."""
    return json.loads((run / SEEN).read_text()) if (run / SEEN).is_file() else None


def have_met(
    run: Path, part: str, checkpoint: Checkpoint, samples: Sequence[Sample]
) -> bool | None:
    """Says whether all these very pictures were in a part of the run's data; None: nobody knows."""
    seen = read_seen(run)
    if seen is None:
        return None
    met = set(seen.get(part, ()))
    files = (sample.images[m] for sample in samples for m in list_needed(checkpoint.blueprint))
    return all(fingerprint_bytes(read_bytes(file)) in met for file in files)


def say_asked(
    run: Path,
    checkpoint: Checkpoint,
    parts: Mapping[str, Sequence[Sample]],
    certified: Sequence[Sample],
) -> str:
    """Says what the certificate's samples are."""
    if not parts["test"]:
        return "samples of the data given"
    known = have_met(run, "test", checkpoint, certified)
    if known is None:
        return f"samples named as the test samples; the run has no {SEEN}, so nobody can tell more"
    return "test samples" if known else "other data than the run's: the pictures differ"
