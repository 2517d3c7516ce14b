"""What the paper compares with: features that nobody trained for expressions, and an SVM on them.

`alexnet-svm`: features of an AlexNet that was trained on ImageNet. `frozen-svm`: the same with the
study's own backbone. `regions-svm`: statistics of facial regions and directions of edges.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from ferfusion.data.loading import index_labels, normalise
from ferfusion.data.splits import Part
from ferfusion.errors import ConfigError, SplitError
from ferfusion.evaluation.predictions import Predictions
from ferfusion.imaging.face_regions import describe_edges, measure_regions
from ferfusion.modality import Modality
from ferfusion.models.backbones import (
    IMAGENET,
    NO_WEIGHTS,
    build_trunk,
    extract_features,
    find_backbone,
)
from ferfusion.models.blueprint import count_parameters
from ferfusion.models.late_fusion import mix_probs
from ferfusion.training.recipe import seed_for
from ferfusion.training.stages import EVALUATION_BATCH, Lab
from ferfusion.training.support_vectors import ChosenSvm, Grid, choose_svm
from ferfusion.training.weight_search import search_weights

Method = Literal["alexnet-svm", "frozen-svm", "regions-svm"]

TRUNK_GRID = Grid()
REGIONS_GRID = Grid(gammas=(None, 0.1, 0.3, 1.0), n_features=(10, 20, 50, 100, 200, 500, None))

ALEXNET_LEAST_PX = 63
"""Smaller pictures leave nothing after AlexNet's three poolings."""

_KEPT = 16
_known_features: OrderedDict[tuple[object, ...], Float[np.ndarray, "samples width"]] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Baseline:
    """A finished baseline.

    Attributes:
        val: Predictions that chose all there is to choose.
        test: Predictions that nothing was chosen by.
        chosen: What validation chose, as plain values: C, kernel, number of features and so on;
            with late fusion one such mapping per modality, and the weights.
        n_features: How many numbers per sample the SVMs look at.
        parameters: Numbers that decide: those of the SVMs, and those of the trunk, which all
            modalities share.
        seconds: Wall time. Features that an earlier baseline of this process needed cost nothing.
    """

    val: Predictions
    test: Predictions
    chosen: Mapping[str, Any]
    n_features: int
    parameters: int
    seconds: float


def fit_baseline(
    lab: Lab,
    method: Method,
    fusion: Literal["single", "early", "late"],
    modalities: tuple[Modality, ...],
    *,
    alexnet_weights: str | None = None,
) -> Baseline:
    """Fits a baseline on the training pictures as they are, without augmentation.

    Everything that has a choice is chosen on validation. Only a trunk of random weights follows
    from the seed; nothing else is random.

    Args:
        lab: What all trainings share.
        method: Where the features come from.
        fusion: `single`; `early` joins features before one SVM; `late` mixes the probabilities of
            an SVM per modality, with weights chosen on validation.
        modalities: One for `single`, two or three otherwise.
        alexnet_weights: `imagenet`, `none` or a file, for `alexnet-svm`. None takes the lab's
            where they can be meant: where its backbone is AlexNet, or they are no file.

    Raises:
        ConfigError: The pictures are too small for AlexNet.
        SplitError: Training lacks a class.
        WeightsError: A trunk's weights can't be had or don't fit.

    Source:
        alexnet-svm: Siddiqui and Javaid 2020 (MTI 4:46): transferred AlexNet features, joined, and
        an SVM. regions-svm: Wang et al. 2014 (FCS 8:232-242): thermal statistics of facial regions
        and appearance, F-test, SVM, joined at feature and at decision level.

    Deviation:
        alexnet-svm: that the features are those of the layer before the last (4096, "fc7") and the
        kernel linear is inferred. regions-svm: fixed places instead of landmarks of an active
        appearance model, gradients instead of its parameters, no movement of the head, one still
        picture instead of the change from a neutral one. MSX, which they don't have, gets both
        kinds of features. frozen-svm is ours.
    """
    if (fusion == "single") != (len(modalities) == 1):
        raise ValueError(f"{fusion} of {len(modalities)} modalities makes no sense")
    start = time.monotonic()
    if method == "alexnet-svm":
        lab = _with_alexnet(lab, alexnet_weights)
    rows = {part: lab.rows(part) for part in ("train", "val", "test")}
    labels = index_labels(lab.labels, [sample.expression for sample in lab.store.samples])
    counts = np.bincount(labels[rows["train"]], minlength=len(lab.labels))
    if missing := [label for label, n in zip(lab.labels, counts, strict=True) if n == 0]:
        raise SplitError(
            f"The training part of the split has no sample of {', '.join(missing)}, and an SVM "
            "needs some of every class. Use another split, or add samples."
        )

    def choose(features: Float[np.ndarray, "samples width"]) -> ChosenSvm:
        return choose_svm(
            features[rows["train"]],
            labels[rows["train"]],
            features[rows["val"]],
            labels[rows["val"]],
            REGIONS_GRID if method == "regions-svm" else TRUNK_GRID,
        )

    def predict(part: Part, probs: Float[np.ndarray, "samples classes"]) -> Predictions:
        samples = [lab.store.samples[row] for row in rows[part]]
        return Predictions(
            sample_ids=tuple(sample.id for sample in samples),
            subjects=tuple(sample.subject for sample in samples),
            classes=lab.labels,
            labels=labels[rows[part]],
            probs=probs,
        )

    features = {m: compute_features(lab, method, m) for m in modalities}
    if fusion == "late":
        svms = {m: choose(features[m]) for m in modalities}
        asked = {
            part: {m: svm.probs(features[m][rows[part]]) for m, svm in svms.items()}
            for part in ("val", "test")
        }
        found = search_weights(asked["val"], labels[rows["val"]])
        val, test = (mix_probs(asked[part], found.weights) for part in ("val", "test"))
        chosen = {str(m): svm.to_json() for m, svm in svms.items()}
        chosen["weights"] = {str(m): weight for m, weight in found.weights.items()}
        machines = list(svms.values())
    else:
        joined = np.concatenate([features[m] for m in modalities], axis=1)
        svm = choose(joined)
        val, test = (svm.probs(joined[rows[part]]) for part in ("val", "test"))
        chosen = svm.to_json()
        machines = [svm]
    return Baseline(
        val=predict("val", val),
        test=predict("test", test),
        chosen=chosen,
        n_features=sum(len(machine.columns) for machine in machines),
        parameters=_count_trunk(lab, method) + sum(m.n_parameters for m in machines),
        seconds=time.monotonic() - start,
    )


def compute_features(
    lab: Lab, method: Method, modality: Modality
) -> Float[np.ndarray, "samples width"]:
    """Gives the features of every sample of the store, as they are needed by a method.

    They don't depend on the split, so folds share them: a process computes them once.
    """
    store = lab.store
    key: tuple[object, ...] = (method, modality, store.fingerprint, store.size_px)
    if method != "regions-svm":
        key += (lab.backbone.name, lab.weights, lab.preprocessing.mean[modality])
        key += (lab.recipe.seed,) if lab.weights == NO_WEIGHTS else ()
    if key not in _known_features:
        find = _measure if method == "regions-svm" else _ask_trunk
        _known_features[key] = find(lab, modality)
        while len(_known_features) > _KEPT:
            _known_features.popitem(last=False)
    return _known_features[key]


def _measure(lab: Lab, modality: Modality) -> Float[np.ndarray, "samples width"]:
    pictures = np.asarray(lab.store.pictures[modality])
    if modality is Modality.VISIBLE:
        return describe_edges(pictures)
    if modality is Modality.INFRARED:
        return measure_regions(pictures)
    return np.concatenate([measure_regions(pictures), describe_edges(pictures)], axis=1)


@torch.inference_mode()
def _ask_trunk(lab: Lab, modality: Modality) -> Float[np.ndarray, "samples width"]:
    torch.manual_seed(seed_for(lab.recipe.seed, "frozen"))
    device = lab.fabric.device
    trunk = build_trunk(lab.backbone, lab.weights).to(device).eval()
    pictures = lab.store.pictures[modality]
    found = []
    for first in range(0, len(pictures), EVALUATION_BATCH):
        batch = torch.from_numpy(np.array(pictures[first : first + EVALUATION_BATCH]))
        ready = normalise({modality: batch}, lab.preprocessing, device)[modality]
        found.append(extract_features(trunk, ready).cpu().numpy())
    return np.concatenate(found)


def _with_alexnet(lab: Lab, weights: str | None) -> Lab:
    if lab.store.size_px < ALEXNET_LEAST_PX:
        raise ConfigError(
            f"AlexNet needs pictures of at least {ALEXNET_LEAST_PX} pixels a side, and these have "
            f"{lab.store.size_px}. Choose a larger --size, or leave the alexnet-svm rows out."
        )
    if weights is None:
        is_meant = lab.backbone.name == "alexnet" or lab.weights in (IMAGENET, NO_WEIGHTS)
        weights = lab.weights if is_meant else IMAGENET
    return replace(lab, backbone=find_backbone("alexnet"), weights=weights)


def _count_trunk(lab: Lab, method: Method) -> int:
    if method == "regions-svm":
        return 0
    with torch.device("meta"):
        return count_parameters(lab.backbone.build())
