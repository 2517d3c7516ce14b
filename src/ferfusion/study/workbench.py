"""A data set on a machine that is ready to train, and the folder its results go to."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from ferfusion.atomic import write_text
from ferfusion.data.augmentation import count_copies
from ferfusion.data.cache import Advance, ImageStore, decode_all
from ferfusion.data.cache_folder import LIMIT_GB
from ferfusion.data.dataset import Dataset
from ferfusion.data.splits import (
    Split,
    check_split,
    draw_folds,
    draw_paper_split,
    draw_subject_split,
    read_split,
    write_split,
)
from ferfusion.errors import ConfigError, DataError, ResultsError
from ferfusion.modality import Modality
from ferfusion.models.backbones import build_trunk, extract_features, find_backbone
from ferfusion.preprocessing import PICTURE, HeatInput
from ferfusion.study.plan import Row
from ferfusion.training.loop import STATE
from ferfusion.training.machine import settle, start_fabric
from ferfusion.training.recipe import Hardware, Recipe, Schedule
from ferfusion.training.stages import Lab

OURS = frozenset({"setup.json", "config.toml", "splits", "runs", "stages", "leaks.html", STATE})
"""What an unfinished or refused study or training leaves in its folder."""


@dataclass(frozen=True)
class Setup:
    """All that decides the results of a study, but the data itself.

    Attributes:
        modalities: Samples that lack one of these are left out of every row.
        backbone: Name of every trunk.
        weights: First weights: `imagenet`, `none`, or a file.
        size_px: Side of the pictures.
        split_kind: `subject` or `paper`.
        split_file: Used instead of drawing a split, where given.
        recipe: How every model is trained; its seed is replaced by each seed of the study.
        hardware: Where.
        cache: Folder of decoded pictures; None is the usual one.
        cache_limit_gb: How large that folder may grow; 0 is without limit.
        n_folds: Splits per seed that test every sample once; 0 draws one split per seed.
        early_schedule: Of early fusion's learning rate, where it has one of its own.
        root: The data, as the user named it; kept so that a run can be repeated.
        subject_pattern: By which its subjects were found; likewise.
        leaks: What the audit found in its splits and was told to ignore; kept with every run.
        heat: How temperatures become infrared pictures; None where they are pictures.
        note: What readers must know of the data; kept with every run.
    """

    modalities: tuple[Modality, ...]
    backbone: str
    weights: str
    size_px: int
    split_kind: str
    split_file: Path | None
    recipe: Recipe
    hardware: Hardware
    cache: Path | None = None
    cache_limit_gb: float = LIMIT_GB
    n_folds: int = 0
    early_schedule: Schedule | None = None
    root: Path = Path()
    subject_pattern: str = ""
    leaks: tuple[str, ...] = ()
    heat: HeatInput | None = None
    note: str = ""

    @property
    def folds(self) -> tuple[int | None, ...]:
        """Numbers of the folds, from 1; None where there is one split per seed."""
        return tuple(range(1, self.n_folds + 1)) or (None,)


class Workbench:
    """A data set, decoded and split, on a machine that is ready to train."""

    def __init__(self, dataset: Dataset, setup: Setup, out: Path, advance: Advance | None) -> None:
        backbone = find_backbone(setup.backbone)
        self.dataset = dataset.complete_in(setup.modalities)
        empty = [label for label, count in self.dataset.class_counts.items() if count == 0]
        if empty:
            raise DataError(
                f"No sample of {', '.join(empty)} in {dataset.root} has a picture in each of "
                f"{', '.join(setup.modalities)}. Choose other --modalities, or see with `ferfusion "
                "inspect` what is missing and whether a class is misspelt."
            )
        self.n_incomplete = len(dataset.samples) - len(self.dataset.samples)
        self.setup = setup
        self.out = out
        self.backbone = backbone
        self.hardware = settle(setup.hardware, backbone)
        # Both fail now, not after the pictures are decoded.
        check_size(build_trunk(backbone, setup.weights), setup.size_px, backbone.name)
        self.fabric: Fabric = start_fabric(self.hardware)
        self.store: ImageStore = decode_all(
            self.dataset,
            setup.modalities,
            setup.size_px,
            heat=setup.heat,
            folder=setup.cache,
            limit_gb=setup.cache_limit_gb,
            advance=advance,
        )
        self._splits: dict[tuple[int, int | None], Split] = {}
        self._facts = self._gather_facts()
        self._refuse_other_results()

    def lab(self, row: Row, seed: int, fold: int | None = None) -> Lab:
        """Gives what all trainings of one seed and fold share, and how this row is trained."""
        recipe = replace(self.setup.recipe, seed=seed)
        if row.fusion == "early" and self.setup.early_schedule is not None:
            recipe = replace(recipe, schedule=self.setup.early_schedule)
        return Lab(
            fabric=self.fabric,
            hardware=self.hardware,
            store=self.store,
            labels=self.dataset.labels,
            split=self.split(seed, fold),
            backbone=self.backbone,
            weights=self.setup.weights,
            recipe=recipe,
            cache=self.setup.cache,
            cache_limit_gb=self.setup.cache_limit_gb,
            heat=self.setup.heat,
        )

    def split(self, seed: int, fold: int | None = None) -> Split:
        """Gives the split of a seed and fold, from its file if it was drawn before."""
        if (seed, fold) not in self._splits:
            self._find_splits(seed)
        return self._splits[seed, fold]

    def _find_splits(self, seed: int) -> None:
        paths = {fold: self.setup.split_file or self._split_path(seed, fold) for fold in self.folds}
        # A split without results may be of other data: a first try that failed, say.
        if self.setup.split_file is not None or (
            self._setup_path.exists() and all(path.exists() for path in paths.values())
        ):
            for fold, path in paths.items():
                split = read_split(path)
                check_split(split, self.dataset)
                self._splits[seed, fold] = split
            return
        by_subject = self.setup.split_kind == "subject"
        if self.setup.n_folds:
            drawn = draw_folds(self.dataset, self.setup.n_folds, seed, by_subject=by_subject)
        else:
            drawn = ((draw_subject_split if by_subject else draw_paper_split)(self.dataset, seed),)
        for (fold, path), split in zip(paths.items(), drawn, strict=True):
            self._splits[seed, fold] = split
            if self.fabric.is_global_zero:
                write_split(split, path)
        self.fabric.barrier()

    def _split_path(self, seed: int, fold: int | None) -> Path:
        of_fold = "" if fold is None else f"-fold{fold}of{self.setup.n_folds}"
        return self.out / "splits" / f"{self.setup.split_kind}-seed{seed}{of_fold}.csv"

    @property
    def folds(self) -> tuple[int | None, ...]:
        """Numbers of the folds, from 1; None where there is one split per seed."""
        return self.setup.folds

    def work(self, row: Row, seed: int, fold: int | None = None) -> float:
        """Counts pictures that pass through a trunk while a row is trained."""
        if row.fusion == "late" or row.is_svm:
            return 0
        recipe = self.setup.recipe
        n_train = len(self.split(seed, fold).parts["train"])
        return recipe.epochs * n_train * count_copies(recipe.augmentation) * len(row.modalities)

    def _refuse_other_results(self) -> None:
        """Makes sure that a folder only ever holds results of one setup on one data set."""
        if self._setup_path.exists():
            # Folders of the first months don't say what infrared was.
            before = {"infrared_as": PICTURE, **json.loads(self._setup_path.read_text())}
            facts = self._facts
            other = {name for name, value in facts.items() if before.get(name) != value}
            changed = [
                "the data or its pictures are others"
                if name == "data"
                else f"{name} was {before.get(name)!r}, now {value!r}"
                for name, value in facts.items()
                # Other modalities are other samples; saying so once is enough.
                if name in other and not (name == "data" and "modalities" in other)
            ]
            if changed:
                # A table of a plan lies one folder below.
                places = [folder / "config.toml" for folder in (self.out, self.out.parent)]
                config = next((path for path in places if path.exists()), places[0])
                raise ResultsError(
                    f"{self.out} holds results made otherwise: {'; '.join(changed)}. Give another "
                    f"--out, or go on with the old options (--config {config})."
                )
        elif self.out.exists() and any(p.name not in OURS for p in self.out.iterdir()):
            raise ResultsError(
                f"{self.out} is not empty and not ours. Give another --out; nothing is overwritten."
            )

    def _gather_facts(self) -> dict[str, Any]:
        # As it comes back from the file: JSON makes lists of tuples.
        recipe = json.loads(json.dumps(asdict(self.setup.recipe)))
        recipe.pop("seed")
        return {
            "data": self.store.fingerprint,
            "modalities": [str(m) for m in self.setup.modalities],
            "backbone": self.setup.backbone,
            "weights": Path(self.setup.weights).name,
            "size": self.setup.size_px,
            "infrared_as": str(self.setup.heat or PICTURE),
            "split": self.setup.split_kind,
            "folds": self.setup.n_folds,
            "early_schedule": self.setup.early_schedule,
            "split_file": ""
            if self.setup.split_file is None
            else read_split(self.setup.split_file).checksum,
            "precision": self.hardware.precision,
            **recipe,
        }

    @property
    def _setup_path(self) -> Path:
        return self.out / "setup.json"

    def commit_setup(self) -> None:
        """Ties the folder to this setup; called when there is a result to protect.

        Raises:
            ResultsError: Meanwhile another study has tied it to its own.
        """
        if self._setup_path.exists():
            self._refuse_other_results()
        else:
            write_text(self._setup_path, json.dumps(self._facts, indent=2) + "\n")


def check_size(trunk: nn.Module, size_px: int, name: str) -> None:
    """Makes sure that a trunk can take pictures of this size.

    Raises:
        ConfigError: Nothing is left of them before the last layer.
    """
    was_training = trunk.training
    try:
        with torch.no_grad():
            extract_features(trunk.eval(), torch.zeros(1, 3, size_px, size_px))
    except RuntimeError as error:
        raise ConfigError(
            f"Pictures of {size_px} px are too small for {name} ({error}). Give a larger --size."
        ) from error
    finally:
        trunk.train(was_training)


def check_rows(dataset: Dataset, modalities: Sequence[Modality]) -> None:
    """Makes sure that the data has what the rows need.

    Raises:
        ConfigError: A modality is asked for that no sample has.
    """
    missing = [m for m in modalities if m not in dataset.modalities]
    if missing:
        raise ConfigError(
            f"{dataset.root} has no {' and no '.join(missing)} pictures, only "
            f"{', '.join(dataset.modalities)}. Choose with --modalities."
        )
