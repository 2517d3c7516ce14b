"""The three ways the paper makes a model, each a plain sequence of fits.

single: one fit. Early fusion, 1-step: one fit of all trunks from their first weights; 3-step: the
trunks come from the trained single models, then one fit of the whole. Late fusion: no fit, only a
search for weights on validation.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from lightning_fabric import Fabric
from torch import nn

from ferfusion.data.cache import ImageStore
from ferfusion.data.cache_folder import LIMIT_GB
from ferfusion.data.loading import Loader, index_labels
from ferfusion.data.splits import Part, Split
from ferfusion.evaluation.collect import collect
from ferfusion.evaluation.predictions import Predictions
from ferfusion.modality import Modality
from ferfusion.models.backbones import NO_WEIGHTS, Backbone
from ferfusion.models.blueprint import Blueprint, assemble
from ferfusion.models.checkpoint import TENSORS, read_tensors, restore
from ferfusion.models.late_fusion import LateFusionModel, mix_probs
from ferfusion.preprocessing import HeatInput, Preprocessing
from ferfusion.training.features import FeatureCache
from ferfusion.training.loop import Epoch, History, fit
from ferfusion.training.machine import choose_compile
from ferfusion.training.recipe import Hardware, Recipe, seed_for
from ferfusion.training.weight_search import FusionWeights, search_weights

Steps = Literal[1, 3]
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Lab:
    """What all trainings of one seed share.

    Attributes:
        fabric: Launched.
        hardware: What it runs on, settled.
        store: Decoded pictures of every modality in use.
        labels: Class names in the order of the logits.
        split: Which samples train, choose and test.
        backbone: Of every trunk.
        weights: The trunks' first weights: `imagenet`, `none`, or a file.
        recipe: How to train.
        cache: Folder of decoded pictures and of features; None is the usual one.
        cache_limit_gb: How large it may grow.
        heat: How temperatures became the store's infrared pictures; None where they were pictures.
    """

    fabric: Fabric
    hardware: Hardware
    store: ImageStore
    labels: tuple[str, ...]
    split: Split
    backbone: Backbone
    weights: str
    recipe: Recipe
    cache: Path | None = None
    cache_limit_gb: float = LIMIT_GB
    heat: HeatInput | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        """What the backbone's weights expect of pictures; or pictures as they are, by quirk."""
        modalities = tuple(self.store.pictures)
        is_bare = "no_normalisation" in self.recipe.quirks
        return Preprocessing(
            size_px=self.store.size_px,
            mean=dict.fromkeys(modalities, (0.0, 0.0, 0.0) if is_bare else self.backbone.mean),
            std=dict.fromkeys(modalities, (1.0, 1.0, 1.0) if is_bare else self.backbone.std),
            heat=self.heat,
        )

    def rows(self, part: Part) -> Int[np.ndarray, " rows"]:
        """Where the samples of a part lie in the store."""
        place = {sample.id: row for row, sample in enumerate(self.store.samples)}
        return np.array([place[i] for i in self.split.parts[part] if i in place], dtype=np.int64)

    def loader(self, part: Part, modalities: tuple[Modality, ...]) -> Loader:
        """Gives the samples of a part: augmented for training, as they are otherwise."""
        rows = self.rows(part)
        expressions = [self.store.samples[row].expression for row in rows]
        is_train = part == "train"
        return Loader(
            store=self.store,
            rows=rows,
            labels=index_labels(self.labels, expressions),
            modalities=modalities,
            batch_size=self.recipe.batch_size if is_train else EVALUATION_BATCH,
            policy=self.recipe.augmentation if is_train else "none",
            seed=self.recipe.seed,
            independent="independent_augmentation" in self.recipe.quirks,
            identical_flips="identical_flips" in self.recipe.quirks,
        )

    def predict(
        self, model: nn.Module, modalities: tuple[Modality, ...], part: Part
    ) -> Predictions:
        """Asks a model about the validation or test samples."""
        loader = self.loader(part, modalities)
        return collect(model, loader, self.preprocessing, self.labels, self.fabric.device)


@dataclass(frozen=True)
class Trained:
    """A finished model and what it says of validation and test.

    Attributes:
        model: With the weights of its best epoch.
        blueprint: What it is made of.
        recipe: As it was used: random trunks change it.
        history: Of its own fit; None for late fusion, which has none.
        weights: Late fusion's; None for the others.
        val: Predictions that chose the epoch, and may choose more.
        test: Predictions that nothing was chosen by.
    """

    model: nn.Module
    blueprint: Blueprint
    recipe: Recipe
    history: History | None
    weights: FusionWeights | None
    val: Predictions
    test: Predictions


OnEpoch = Callable[[Epoch], None]


def fit_single(
    lab: Lab,
    modality: Modality,
    folder: Path,
    on_epoch: OnEpoch | None = None,
    *,
    attention: bool = False,
) -> Trained:
    """Trains one modality's model.

    Args:
        lab: What all trainings share.
        modality: Which.
        folder: Keeps the state of an unfinished training.
        on_epoch: Told of each epoch.
        attention: Whether features go through a channel gate, as in the authors' follow-up.

    Source:
        Naseem et al. 2024, Figs 3 to 5; with attention, Naseem et al. 2025.
    """
    blueprint = Blueprint(
        "single",
        lab.backbone.name,
        (modality,),
        lab.labels,
        dropout=lab.recipe.dropout,
        attention=attention,
    )
    torch.manual_seed(seed_for(lab.recipe.seed, "single", modality))
    model = assemble(blueprint, lab.weights)
    return _fit(
        lab, model, blueprint, folder, on_epoch, has_trained_trunks=lab.weights != NO_WEIGHTS
    )


def fit_early(
    lab: Lab,
    modalities: tuple[Modality, ...],
    steps: Steps,
    folder: Path,
    singles: Mapping[Modality, Path],
    on_epoch: OnEpoch | None = None,
    *,
    attention: bool = False,
) -> Trained:
    """Trains a model that joins the features of several modalities.

    Args:
        lab: What all trainings share.
        modalities: Two or three.
        steps: 1 starts from the trunks' first weights, 3 from the trained single models. (The
            paper's name: with three modalities the 3-step way has four trainings.)
        folder: Keeps the state of an unfinished training.
        singles: Folders of the trained single models; only 3-step needs them.
        on_epoch: Told of each epoch.
        attention: Whether features go through channel gates, as in the authors' follow-up. With 3
            steps the gates come from the single models, which must have been trained with them.

    Source:
        Naseem et al. 2024, Fig. 6; with attention, Naseem et al. 2025. All weights are trained in
        the last step, as in the authors' code; `frozen="backbone"` trains all but the trunks, as
        one sentence of the paper's introduction reads.
    """
    blueprint = Blueprint(
        "early",
        lab.backbone.name,
        modalities,
        lab.labels,
        # The plain head has no dropout.
        dropout=lab.recipe.dropout if attention else 1.0,
        attention=attention,
    )
    torch.manual_seed(seed_for(lab.recipe.seed, "early", *modalities))
    model = assemble(blueprint, lab.weights if steps == 1 else NO_WEIGHTS)
    if steps == 3:
        for modality in modalities:
            path = singles[modality] / TENSORS
            saved = read_tensors(path)
            for part in ("trunks", "gates"):
                prefix = f"{part}.{modality}."
                tensors = {
                    name.removeprefix(prefix): tensor
                    for name, tensor in saved.items()
                    if name.startswith(prefix)
                }
                restore(model.get_submodule(prefix.removesuffix(".")), tensors, path)
    has_trained_trunks = steps == 3 or lab.weights != NO_WEIGHTS
    return _fit(lab, model, blueprint, folder, on_epoch, has_trained_trunks, str(steps))


def mix_late(
    lab: Lab,
    singles: Mapping[Modality, nn.Module],
    val: Mapping[Modality, Predictions],
    test: Mapping[Modality, Predictions],
) -> Trained:
    """Mixes trained single models; the weights come from validation predictions alone.

    Args:
        lab: What all trainings share.
        singles: The trained models.
        val: What they say of validation, rows aligned.
        test: What they say of test, rows aligned.

    Source:
        Naseem et al. 2024, section III-B.
    """
    (first, *others) = val.values()
    if any(other.sample_ids != first.sample_ids for other in others):
        raise ValueError("the single models' predictions are of different samples")
    weights = search_weights({m: p.probs for m, p in val.items()}, first.labels)
    blueprint = Blueprint(
        "late",
        lab.backbone.name,
        tuple(singles),
        lab.labels,
        dropout=lab.recipe.dropout,
        mixture=weights.weights,
    )

    def mix(of: Mapping[Modality, Predictions]) -> Predictions:
        probs = mix_probs({m: p.probs for m, p in of.items()}, weights.weights)
        return replace(next(iter(of.values())), probs=probs)

    model = LateFusionModel(singles, weights.weights).eval()
    recipe = adapt_recipe(lab.recipe, has_trained_trunks=lab.weights != NO_WEIGHTS)
    return Trained(model, blueprint, recipe, None, weights, mix(val), mix(test))


def adapt_recipe(recipe: Recipe, *, has_trained_trunks: bool) -> Recipe:
    """Gives the recipe as it is used.

    Random trunks have nothing to preserve: they learn like the head, norms included.
    """
    if has_trained_trunks:
        return recipe
    return replace(
        recipe,
        backbone_learning_rate=recipe.learning_rate,
        frozen_norms=False,
        head_epochs=0,
    )


def _fit(
    lab: Lab,
    model: nn.Module,
    blueprint: Blueprint,
    folder: Path,
    on_epoch: OnEpoch | None,
    has_trained_trunks: bool,
    *start: str,
) -> Trained:
    recipe = adapt_recipe(lab.recipe, has_trained_trunks=has_trained_trunks)
    decisive = {
        "blueprint": blueprint.to_json(),
        "preprocessing": lab.preprocessing.to_json(),
        "recipe": asdict(recipe),
        "weights": lab.weights,
        "start": start,
        "data": lab.store.fingerprint,
        "split": lab.split.checksum,
        "hardware": asdict(replace(lab.hardware, profile=False)),
    }
    features: FeatureCache | None = None
    if recipe.frozen == "backbone":
        trunks = {m: model.get_submodule(f"trunks.{m}") for m in blueprint.modalities}
        features = FeatureCache(
            lab.fabric, trunks, lab.preprocessing, lab.cache, lab.cache_limit_gb
        )
    train = lab.loader("train", blueprint.modalities)
    history = fit(
        lab.fabric,
        model,
        train,
        lab.loader("val", blueprint.modalities),
        lab.preprocessing,
        recipe,
        state_folder=folder,
        identity=hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest(),
        on_epoch=on_epoch,
        features=features,
        is_profiled=lab.hardware.profile,
        compiled=features is None and choose_compile(lab.hardware, recipe.epochs * train.n_batches),
    )
    return Trained(
        model,
        blueprint,
        recipe,
        history,
        None,
        lab.predict(model, blueprint.modalities, "val"),
        lab.predict(model, blueprint.modalities, "test"),
    )
