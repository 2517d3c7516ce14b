"""Shape checks for everything the tests import, a cache that is not the user's, and easy data."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Tiny tensors gain nothing by threads, and on a busy machine threads that wait for each other made
# this suite ten times slower. Before torch is imported; processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

# The hook below makes Python look for bytecode under a name of its own, also for what our modules
# import; these are big, and would be compiled anew wherever bytecode isn't written.
import hypothesis
import lightning_fabric  # noqa: F401
import matplotlib.figure  # noqa: F401
import numpy as np
import pytest
import scipy.stats  # noqa: F401
import sklearn.metrics  # noqa: F401
import timm  # noqa: F401
from jaxtyping import install_import_hook

# Before anything of ferfusion is imported: its functions then check types and shapes of arrays.
install_import_hook(
    "ferfusion", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

# Fetched once for all sessions; everything else that is cached is each session's own.
_weights = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ferfusion", "weights")
_cache = tempfile.TemporaryDirectory(prefix="ferfusion-tests-")
# Set here and not in a fixture, so that processes and fixtures of any scope see it.
os.environ["XDG_CACHE_HOME"] = _cache.name
os.environ.pop("FERFUSION_CACHE", None)

from ferfusion.data.cache import ImageStore  # noqa: E402
from ferfusion.data.splits import Split  # noqa: E402
from ferfusion.errors import WeightsError  # noqa: E402
from ferfusion.imaging.faces.detector import FaceDetector  # noqa: E402
from ferfusion.imaging.faces.weights import fetch_weights  # noqa: E402
from ferfusion.modality import MODALITIES  # noqa: E402
from ferfusion.sample import ImageFile, Sample  # noqa: E402

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

LABELS = ("angry", "happy", "neutral")


@pytest.fixture(scope="session", autouse=True)
def cache_folder() -> Iterator[Path]:
    """Decoded pictures of the whole session; gone afterwards."""
    yield Path(_cache.name)
    _cache.cleanup()


@pytest.fixture(scope="session")
def detector_weights() -> Path:
    """Gives the weights of the face detector, fetched if this machine has none."""
    try:
        return fetch_weights(_weights)
    except WeightsError as error:
        pytest.skip(f"needs the face detector: {error}")


@pytest.fixture(scope="session")
def detector(detector_weights: Path) -> FaceDetector:
    """Finds faces."""
    return FaceDetector(detector_weights)


@pytest.fixture(scope="session")
def make_store() -> Callable[..., ImageStore]:
    """Makes stores of noise in which each class has its colour, in every modality its own."""

    def make(n: int = 42, size_px: int = 32, noise: int = 60, seed: int = 0) -> ImageStore:
        rng = np.random.default_rng(seed)
        samples = tuple(
            Sample(
                id=f"face{row:03d}",
                expression=LABELS[row % len(LABELS)],
                subject=f"s{row // len(LABELS)}",
                images={m: ImageFile(Path(f"{m}/{row}.png")) for m in MODALITIES},
            )
            for row in range(n)
        )
        pictures = {}
        for turn, modality in enumerate(MODALITIES):
            array = rng.integers(90 - noise // 2, 90 + noise // 2, (n, size_px, size_px, 3))
            for row in range(n):
                array[row, :, :, (row + turn) % len(LABELS)] += 60
            pictures[modality] = array.astype(np.uint8)
        name = f"fake-{n}-{size_px}-{seed}"
        digests = {m: tuple(f"{name}-{m}-{row}" for row in range(n)) for m in MODALITIES}
        return ImageStore(size_px, samples, pictures, digests, fingerprint=name)

    return make


@pytest.fixture(scope="session")
def make_split() -> Callable[[ImageStore], Split]:
    """Makes splits of 4 : 1 : 1 by subject."""

    def make(store: ImageStore) -> Split:
        parts = {"train": [], "val": [], "test": []}
        for sample in store.samples:
            turn = int(str(sample.subject)[1:]) % 6
            parts["val" if turn == 4 else "test" if turn == 5 else "train"].append(sample.id)
        return Split("subject", 0, {part: tuple(ids) for part, ids in parts.items()})

    return make
