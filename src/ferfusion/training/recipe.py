"""How a model is trained, as plain values. No torch here, so that help stays instant."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from ferfusion.errors import ConfigError, unknown_name

Optimiser = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "plateau", "constant"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Frozen = Literal["none", "backbone"]
Compile = Literal["auto", "on", "off"]

QUIRKS: dict[str, str] = {
    "double_softmax": (
        "The loss takes softmax of the logits for logits and applies softmax again, so with five "
        "classes it can't fall below 0.905."
    ),
    "identical_flips": "The paper's five flipped copies of a picture are all the same.",
    "image_split": (
        "The data is split by image, so the same person may be in training and in test; the "
        "pictures of a sample stay together."
    ),
    "independent_augmentation": (
        "Each modality of a sample gets its own random draw, so its pictures no longer fit "
        "together."
    ),
    "no_normalisation": (
        "Pictures stay between 0 and 1: no mean is subtracted, and nothing is divided by a "
        "deviation."
    ),
}
"""What the authors' code does and a careful reader would not: name -> one sentence."""


METHOD_NOTES: dict[str, str] = {
    "regions-svm": (
        "After Wang et al. 2014, simplified: regions at fixed places instead of landmarks of an "
        "active appearance model, directions of edges instead of its parameters, one still picture "
        "instead of the change from a neutral one, no movement of the head, an SVM and no Bayesian "
        "network."
    ),
    "alexnet-svm": (
        "After Siddiqui and Javaid 2020: features of an AlexNet that nobody trained for this, and "
        "an SVM; with random first weights its features say little."
    ),
    "frozen-svm": "Ours: features of this table's own trunk before any training here, and an SVM.",
    "attention": "After Naseem et al. 2025: a channel gate behind each trunk.",
}
"""Baselines and other methods: name -> what it is and what is simplified."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training's outcome, but data and machine.

    Attributes:
        epochs: Passes over the training pictures; the best epoch on validation is kept.
        batch_size: Samples a step, over all processes.
        optimiser: `adamw`, `adam` (the authors' later code) or `sgd` (momentum 0.9).
        learning_rate: Of the head.
        backbone_learning_rate: Of the trunks, once they carry trained weights.
        weight_decay: Of matrices and kernels; biases and norms have none.
        schedule: `cosine` after a warm-up of a tenth of the steps; `plateau` (the paper's
            ReduceLROnPlateau on validation accuracy, patience 3, factor 0.1); or `constant`.
        label_smoothing: Of the cross-entropy.
        dropout: Factor on the paper's dropout rates.
        augmentation: `sound`, `paper` (26 copies of each picture an epoch) or `none`.
        head_epochs: Passes over features computed once, which train the head of pretrained trunks
            before everything is trained.
        frozen: `backbone` trains the head alone; trunks then stay as they are, norms included.
        frozen_norms: Whether BatchNorm in pretrained trunks keeps its statistics. Random trunks
            always learn theirs.
        seed: Of the split, the initial weights, the order, the augmentation and dropout.
        quirks: Names of `QUIRKS` that this training repeats; kept sorted, each once.

    Raises:
        ConfigError: There is no quirk of a name.
    """

    epochs: int = 20
    batch_size: int = 32
    optimiser: Optimiser = "adamw"
    learning_rate: float = 3e-4
    backbone_learning_rate: float = 1e-4
    weight_decay: float = 0.05
    schedule: Schedule = "cosine"
    label_smoothing: float = 0.1
    dropout: float = 0.5
    augmentation: Literal["sound", "paper", "none"] = "sound"
    head_epochs: int = 30
    frozen: Frozen = "none"
    frozen_norms: bool = True
    seed: int = 0
    quirks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.quirks:
            if name not in QUIRKS:
                raise ConfigError(unknown_name("quirk", name, QUIRKS))
        # Two recipes with the same quirks are the same recipe.
        object.__setattr__(self, "quirks", tuple(sorted(set(self.quirks))))


@dataclass(frozen=True)
class Hardware:
    """Where a training runs.

    Attributes:
        device: `auto`, `cpu`, `cuda`, `mps`, or another accelerator Lightning Fabric knows.
        devices: Processes a node: GPUs, or CPU processes.
        nodes: Machines; each starts the same command (see docs of `fabric run` or torchrun).
        precision: `auto` takes bf16 where the machine has it and the backbone gains by it.
        profile: Whether to measure where the time of each training goes.
        compile: Whether torch compiles models: `on`, `off`, or `auto` for long trainings on a CUDA
            GPU. On a CPU nothing is gained; on a GPU it was not measured yet, so it is off.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "auto"
    profile: bool = False
    compile: Compile = "off"


def seed_for(seed: int, *words: str) -> int:
    """Derives a seed from a run's seed and what it is for, the same on every machine."""
    digest = hashlib.sha256(" ".join((str(seed), *words)).encode()).digest()
    return int.from_bytes(digest[:4], "big")
