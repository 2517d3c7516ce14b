"""What `grow` measures: each work at one value of its axis, in a process of its own.

Every function gets a value, the sizes and a folder for what it writes. It prepares what the work
needs, and then does the work alone within `watching`, which takes its time and its memory.
"""
# ruff: noqa: ARG001 (every work is given the same three things)

import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional
from watching import Measured, watching

from ferfusion.data.cache import ImageStore, decode_all
from ferfusion.data.dataset import Dataset
from ferfusion.data.loading import Loader, normalise
from ferfusion.data.splits import draw_subject_split
from ferfusion.data.synthetic import draw_sample
from ferfusion.data.table import read_table
from ferfusion.evaluation.metrics import summarise
from ferfusion.evaluation.statistics import bootstrap_by_subject, permute_by_subject
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.weights import fetch_weights
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models.backbones import find_backbone
from ferfusion.models.blueprint import Blueprint, assemble
from ferfusion.models.heads import build_head
from ferfusion.preparation.folder import prepare_folder
from ferfusion.preparation.recipe import Preparation
from ferfusion.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from ferfusion.sample import ImageFile, Sample
from ferfusion.training.machine import settle, start_fabric
from ferfusion.training.optimiser import build_optimiser
from ferfusion.training.recipe import Hardware, Recipe
from ferfusion.training.weight_search import search_weights

V = Modality.VISIBLE
N_CLASSES = 5
PICTURES_A_PERSON = 10
BATCH = 32


@dataclass(frozen=True)
class Sizes:
    """What stays the same along an axis.

    Attributes:
        stored_px: Side of the pictures in the sparse store, and of the generated JPEGs.
        photo_px: Side of the pictures that are prepared.
        batches: Training batches taken from the store.
        answers: Samples of the works that grow with classes or modalities.
        backbone: Of the training steps.
        size_px: Side of their pictures, where that isn't the axis.
        steps: Timed training steps; their median counts.
        repeats: How often something short is done; the median counts.
    """

    stored_px: int = 64
    photo_px: int = 500
    batches: int = 200
    answers: int = 10_000
    backbone: str = "resnet18"
    size_px: int = 224
    steps: int = 5
    repeats: int = 5


TOY = Sizes(16, 96, 4, 200, "shufflenet_v2", 32, 1, 1)


# ------------------------------------------------------------------------ works of many samples


def read_csv(n: int, sizes: Sizes, folder: Path) -> Measured:
    """Reading a CSV of n samples, which share four picture files, into a data set."""
    names = [f"{k}.jpg" for k in range(4)]
    for name in names:
        (folder / name).write_bytes(b"")
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("sample_id", "subject", "expression", *MODALITIES))
        # No samples are made here: their memory would be there for the reader to use again.
        writer.writerows(
            (
                f"s{k:07d}",
                f"p{k // PICTURES_A_PERSON:06d}",
                f"class{k % N_CLASSES}",
                *(names[(k + place) % 4] for place in range(3)),
            )
            for k in range(n)
        )
    with watching() as told:
        found = len(read_table(folder / "data.csv").samples)
    return told | {"samples": found}


def split_by_subject(n: int, sizes: Sizes, folder: Path) -> Measured:
    """Splitting n samples of n / 10 people by subject."""
    dataset = _make_dataset(_make_samples(n, folder))
    with watching() as told:
        draw_subject_split(dataset, seed=0)
    return told


def take_batches(n: int, sizes: Sizes, folder: Path) -> Measured:
    """Taking 200 augmented training batches of 32 from a store of n decoded pictures.

    The store is a sparse file: it is as long as a real one and read in the same way, but its
    pictures are black, and the disk holds none of them.
    """
    shape = (n, sizes.stored_px, sizes.stored_px, 3)
    path = folder / "store.npy"
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + int(np.prod(shape)))
    pictures = np.load(path, mmap_mode="r")
    samples = tuple(_make_samples(n, folder))
    store = ImageStore(sizes.stored_px, samples, {V: pictures}, {V: ()}, "")
    labels = np.arange(n) % N_CLASSES
    loader = Loader(store, np.arange(n), labels, (V,), BATCH, policy="sound")
    ready = (batch for epoch in count() for batch in loader.shuffled(epoch))
    with watching() as told:
        for _ in range(sizes.batches):
            next(ready)
    return told


def decode(n: int, sizes: Sizes, folder: Path) -> Measured:
    """Decoding n JPEGs into an empty cache, resized to half their side."""
    rng = np.random.default_rng(0)
    samples = _make_samples(n, folder)
    for sample in samples:
        small = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        picture = cv2.resize(small, (sizes.stored_px, sizes.stored_px))
        sample.images[V].path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    with watching() as told:
        decode_all(_make_dataset(samples), (V,), sizes.stored_px // 2, folder=folder / "cache")
    return told


def prepare(n: int, sizes: Sizes, folder: Path) -> Measured:
    """Preparing n pairs of visible and infrared: aligned, cut to the face, MSX made; one process.

    The pairs are 20 drawn ones over and over, each in files of its own.
    """
    pairs = [_draw_pair(who, sizes.photo_px) for who in range(min(n, 20))]
    samples = []
    for number in range(n):
        images = {}
        for modality, data in zip((V, Modality.INFRARED), pairs[number % len(pairs)], strict=True):
            images[modality] = ImageFile(folder / f"{number}-{modality}.jpg")
            images[modality].path.write_bytes(data)
        samples.append(Sample(f"happy/{number:06d}", "happy", None, images))
    weights = fetch_weights()
    with watching() as told:
        prepare_folder(samples, Preparation(), weights, folder / "out", workers=1)
    return told


def _draw_pair(who: int, size_px: int) -> tuple[bytes, bytes]:
    """Gives a drawn face as two JPEGs, infrared a little out of place."""
    drawn = draw_sample(
        draw_identity(who), "happy", light="even", intensity=0.8, seed=who, size_px=size_px
    )
    colours = (cv2.cvtColor(p, cv2.COLOR_RGB2BGR) for p in (drawn.visible, drawn.infrared))
    visible, infrared = (cv2.imencode(".jpg", picture)[1].tobytes() for picture in colours)
    return visible, infrared


def search_grid(n: int, sizes: Sizes, folder: Path) -> Measured:
    """Searching late fusion's 66 mixtures of three modalities on n validation samples."""
    return _search(n, N_CLASSES, len(MODALITIES), sizes)


def bootstrap(n: int, sizes: Sizes, folder: Path) -> Measured:
    """Drawing n / 10 people 2,000 times over, for the interval of an accuracy on n answers."""
    right, _, people = _make_answers(n)
    return _repeat(lambda: bootstrap_by_subject(right.astype(float), people, 0), n, sizes)


def permute(n: int, sizes: Sizes, folder: Path) -> Measured:
    """A paired test of two models on n answers, with 10,000 permutations of n / 10 people."""
    right, other, people = _make_answers(n)
    return _repeat(lambda: permute_by_subject(right, other, people, 0), n, sizes)


def score(n: int, sizes: Sizes, folder: Path) -> Measured:
    """Macro F1, all other scores and the confusion matrix of n answers."""
    return _score(n, N_CLASSES, sizes)


# --------------------------------------------------------- works of classes, modalities and size


def search_grid_of_classes(n_classes: int, sizes: Sizes, folder: Path) -> Measured:
    """Searching late fusion's 66 mixtures of three modalities on 10,000 samples."""
    return _search(sizes.answers, n_classes, len(MODALITIES), sizes)


def score_classes(n_classes: int, sizes: Sizes, folder: Path) -> Measured:
    """Macro F1, all other scores and the confusion matrix of 10,000 answers."""
    return _score(sizes.answers, n_classes, sizes)


def step_head(n_classes: int, sizes: Sizes, folder: Path) -> Measured:
    """One training step of the visible head alone, on the features of a batch of 32."""
    width = find_backbone(sizes.backbone).width
    head = build_head(V, width, n_classes, 0.5)
    optimiser = torch.optim.AdamW(head.parameters())
    features = torch.randn(BATCH, width)
    labels = torch.arange(BATCH) % n_classes

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        functional.cross_entropy(head(features), labels).backward()
        optimiser.step()

    step()
    return _repeat(step, 1, sizes, times=20 * sizes.repeats)


def search_grid_of_modalities(n_modalities: int, sizes: Sizes, folder: Path) -> Measured:
    """Searching all mixtures of late fusion on 10,000 samples: 1, 11 or 66 of them."""
    return _search(sizes.answers, N_CLASSES, n_modalities, sizes)


def step_modalities(n_modalities: int, sizes: Sizes, folder: Path) -> Measured:
    """One training step (1-step early fusion from two on), batch 32; seconds a sample."""
    return _step(sizes.size_px, n_modalities, sizes)


def step_size(size_px: int, sizes: Sizes, folder: Path) -> Measured:
    """One training step of the visible model, batch 32; seconds a sample."""
    return _step(size_px, 1, sizes)


# ------------------------------------------------------------------------------------- start-up


def show_help(value: int, sizes: Sizes, folder: Path) -> Measured:
    """`ferfusion --help`, from the shell's call to its end."""
    return _start(["-m", "ferfusion", "--help"], sizes)


def import_package(value: int, sizes: Sizes, folder: Path) -> Measured:
    """`import ferfusion`, without the start of Python itself."""
    told = _start(["-c", "import ferfusion"], sizes)
    bare = _start(["-c", "pass"], sizes)
    return {"seconds": max(0.0, told["seconds"] - bare["seconds"])}


Work = Callable[[int, Sizes, Path], Measured]

SAMPLES = (100, 1_000, 10_000, 100_000, 1_000_000)
AXES: Mapping[str, Mapping[str, tuple[Work, tuple[int, ...]]]] = {
    "samples": {
        "read_csv": (read_csv, SAMPLES),
        "split_by_subject": (split_by_subject, SAMPLES),
        "take_batches": (take_batches, SAMPLES),
        "decode": (decode, SAMPLES[:3]),
        "prepare": (prepare, (30, 100, 300, 1_000)),
        "late_grid": (search_grid, SAMPLES),
        "bootstrap": (bootstrap, SAMPLES),
        "permute": (permute, SAMPLES),
        "score": (score, SAMPLES),
    },
    "classes": {
        "late_grid": (search_grid_of_classes, (2, 5, 10, 20, 50, 100)),
        "score": (score_classes, (2, 5, 10, 20, 50, 100)),
        "step_head": (step_head, (2, 5, 10, 20, 50, 100)),
    },
    "modalities": {
        "train_step": (step_modalities, (1, 2, 3)),
        "late_grid": (search_grid_of_modalities, (1, 2, 3)),
    },
    "size": {"train_step": (step_size, (64, 96, 128, 160, 192, 224))},
    "start": {"help": (show_help, (1,)), "import": (import_package, (1,))},
}
"""Axis -> work -> what does it, and at which values."""


# --------------------------------------------------------------------------------------- parts


def _make_samples(n: int, folder: Path) -> list[Sample]:
    return [
        Sample(
            f"s{number:07d}",
            f"class{number % N_CLASSES}",
            f"p{number // PICTURES_A_PERSON:06d}",
            {V: ImageFile(folder / f"{number}.jpg")},
        )
        for number in range(n)
    ]


def _make_dataset(samples: list[Sample]) -> Dataset:
    labels = tuple(f"class{k}" for k in range(N_CLASSES))
    return Dataset(Path("grown"), "made", "made", "made", labels, tuple(samples))


def _make_answers(n: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    right, other = rng.random(n) < 0.7, rng.random(n) < 0.68
    return right, other, [f"p{number // PICTURES_A_PERSON}" for number in range(n)]


def _search(n: int, n_classes: int, n_modalities: int, sizes: Sizes) -> Measured:
    rng = np.random.default_rng(0)
    probs = {m: rng.dirichlet(np.ones(n_classes), size=n) for m in MODALITIES[:n_modalities]}
    labels = rng.integers(0, n_classes, size=n)
    return _repeat(lambda: search_weights(probs, labels), n * n_classes, sizes)


def _score(n: int, n_classes: int, sizes: Sizes) -> Measured:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, size=n)
    predicted = np.where(rng.random(n) < 0.7, labels, rng.integers(0, n_classes, size=n))
    return _repeat(lambda: summarise(labels, predicted, n_classes), n, sizes)


def _step(size_px: int, n_modalities: int, sizes: Sizes) -> Measured:
    backbone = find_backbone(sizes.backbone)
    hardware = settle(Hardware("cpu"), backbone)
    fabric = start_fabric(hardware)
    modalities = MODALITIES[:n_modalities]
    kind = "single" if n_modalities == 1 else "early"
    labels = tuple(f"class{k}" for k in range(N_CLASSES))
    bare = assemble(Blueprint(kind, sizes.backbone, modalities, labels))
    bare = bare.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    model, optimiser = fabric.setup(bare, build_optimiser(bare, bare.trunks, Recipe()))  # pyright: ignore[reportArgumentType]
    channels = dict.fromkeys(modalities, IMAGENET_MEAN), dict.fromkeys(modalities, IMAGENET_STD)
    preprocessing = Preprocessing(size_px, *channels)
    batch = {m: torch.randint(0, 256, (BATCH, size_px, size_px, 3)).byte() for m in modalities}
    truth = torch.arange(BATCH) % N_CLASSES

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        logits = model(normalise(batch, preprocessing, fabric.device))
        fabric.backward(functional.cross_entropy(logits.float(), truth))
        optimiser.step()

    # What the first steps hold, they keep; so memory is that of all of them.
    with watching() as told:
        step()
        told["seconds"] = _time_median(step, sizes.steps) / BATCH
    return told | {"precision": hardware.precision}


def _repeat(do: Callable[[], object], n: int, sizes: Sizes, times: int | None = None) -> Measured:
    """Does something short often enough for a median, something long once."""
    times = times or (sizes.repeats if n <= 100_000 else 1)
    with watching() as told:
        told["seconds"] = _time_median(do, times)
    return told


def _time_median(do: Callable[[], object], times: int) -> float:
    taken: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        do()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _start(words: list[str], sizes: Sizes) -> Measured:
    def call() -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    call()
    return {"seconds": _time_median(call, sizes.repeats)}
