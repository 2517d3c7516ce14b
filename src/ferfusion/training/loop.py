"""The one training loop, on Lightning Fabric: one CPU, one GPU, several GPUs, several nodes.

Everything random in an epoch follows from (seed, epoch), so a training that was killed goes on
from its last saved epoch and ends with the weights it would have had on the same machine.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ferfusion.data.device_loading import DeviceLoader, bring_pictures
from ferfusion.data.loading import Feed, Loader
from ferfusion.errors import CheckpointError
from ferfusion.models.checkpoint import read_tensors, write_tensors
from ferfusion.preprocessing import Preprocessing
from ferfusion.training.features import FeatureCache, FeatureLoader, OnFeatures, stand_still
from ferfusion.training.loss import as_loss_takes, compute_loss
from ferfusion.training.machine import renew_loss_scale
from ferfusion.training.optimiser import (
    build_optimiser,
    pack_optimiser,
    strip_prefix,
    unpack_optimiser,
)
from ferfusion.training.recipe import Recipe, seed_for
from ferfusion.training.stopwatch import Stopwatch
from ferfusion.training.warm_up import warm_up_head

STATE = "unfinished.safetensors"


@dataclass(frozen=True)
class Epoch:
    """What one epoch brought.

    Attributes:
        epoch: From 1, for people.
        train_loss: Mean over the epoch's pictures, as augmented, with dropout.
        val_loss: Cross-entropy without label smoothing; of doubled softmax where that was trained.
        val_correct: Validation samples that are right.
        val_n: Validation samples.
        learning_rate: Of the head, at the end of the epoch.
        seconds: Wall time.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_correct: int
    val_n: int
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class History:
    """All epochs of one fit, and the one whose weights were kept.

    Attributes:
        epochs: In order.
        best_epoch: Its number.
        seconds: Time by phase (`stopwatch.PHASES`), where it was asked for; else empty.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.epochs[self.best_epoch - 1]


def choose_epoch(epochs: Iterable[Epoch]) -> int:
    """Names the best epoch: most right on validation; then lowest validation loss; then earliest.

    Source:
        The authors' later code saves whenever validation accuracy is at least the best so far.

    Deviation:
        With 83 validation images ties are common; the lower loss wins, not the later epoch.
    """
    return min(epochs, key=lambda e: (-e.val_correct, e.val_loss, e.epoch)).epoch


def fit(
    fabric: Fabric,
    model: nn.Module,
    train: Loader,
    val: Loader,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    state_folder: Path,
    identity: str,
    on_epoch: Callable[[Epoch], None] | None = None,
    save_every_s: float = 15,
    features: FeatureCache | None = None,
    is_profiled: bool = False,
    on_device: bool | None = None,
    compiled: bool = False,
) -> History:
    """Trains a model in place and leaves it with the weights of its best epoch.

    Args:
        fabric: Launched.
        model: Its trunks are in `model.trunks`, the rest is head.
        train: Shuffled and augmented.
        val: Chooses the epoch, and nothing else does.
        preprocessing: Between bytes and model.
        recipe: Optimiser, schedule, epochs, seed, freezing.
        state_folder: Where the state of an unfinished training is kept, so that it can go on.
        identity: Names all that decides the outcome; a state of another identity is not used.
        on_epoch: Told of each epoch, resumed ones included.
        save_every_s: Least seconds between two saved states.
        features: Of this model's trunks, where the recipe freezes them, computed once. None
            computes them in every epoch, for the same model.
        is_profiled: Whether to measure where the time goes.
        on_device: Whether batches are made on the device (see `DeviceLoader`); None: on a CUDA GPU.
        compiled: Whether torch compiles the model and, on a GPU, replays its steps as one.
    """
    if recipe.frozen == "backbone":
        train = stand_still(train)
    shown: Feed = train
    chosen: Feed = val
    learner = model
    if features is not None:
        shown, chosen = FeatureLoader(train, features), FeatureLoader(val, features)
        learner = OnFeatures(model)
    elif on_device or (on_device is None and fabric.device.type == "cuda"):
        pictures = bring_pictures(train.store, train.modalities, fabric.device)
        shown, chosen = (
            DeviceLoader(loader, preprocessing, fabric.device, pictures, compiled=compiled)
            for loader in (train, val)
        )
    watch = Stopwatch(fabric.device, is_on=is_profiled)
    loop = _Loop(fabric, learner, shown, preprocessing, recipe, identity, watch, compiled=compiled)
    if not loop.load(state_folder):
        warm_up_head(fabric, model, train, preprocessing, recipe, features)
    for epoch in loop.epochs:
        if on_epoch is not None:
            on_epoch(epoch)
    saved_at = time.monotonic()
    while len(loop.epochs) < recipe.epochs:
        start = time.monotonic()
        train_loss = loop.train_epoch(len(loop.epochs))
        with watch.phase("evaluation"):
            # One process's answers decide for all: another GPU may round the last digit otherwise.
            val_loss, val_correct, val_n = fabric.broadcast(loop.validate(chosen))
        epoch = Epoch(
            epoch=len(loop.epochs) + 1,
            train_loss=train_loss,
            val_loss=val_loss,
            val_correct=val_correct,
            val_n=val_n,
            learning_rate=loop.optimiser.param_groups[0]["lr"],
            seconds=time.monotonic() - start,
        )
        loop.finish_epoch(epoch)
        # One process's clock decides for all, or they would wait for each other for ever.
        due = fabric.broadcast(time.monotonic() - saved_at >= save_every_s)
        if due and len(loop.epochs) < recipe.epochs:
            loop.save(state_folder)
            saved_at = time.monotonic()
        if on_epoch is not None:
            on_epoch(epoch)
    # With features at hand, only what is behind the trunks has learned.
    model.load_state_dict(loop.best_weights, strict=features is None)
    model.zero_grad(set_to_none=True)
    model.eval()
    return History(tuple(loop.epochs), choose_epoch(loop.epochs), watch.seconds)


class _Loop:
    """The state that travels from epoch to epoch."""

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        train: Feed,
        preprocessing: Preprocessing,
        recipe: Recipe,
        identity: str,
        watch: Stopwatch,
        *,
        compiled: bool,
    ) -> None:
        self.fabric = fabric
        self.watch = watch
        # On the device before the optimiser is built, which asks where the weights are.
        self.bare = model.to(fabric.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.train_loader = train
        self.preprocessing = preprocessing
        self.recipe = recipe
        self.identity = identity
        # There are none where their features are at hand.
        self.trunks: nn.Module = getattr(model, "trunks", nn.ModuleDict())
        if recipe.frozen == "backbone":
            self.trunks.requires_grad_(False)
        optimiser = build_optimiser(model, self.trunks, recipe)
        self.plateau = (
            ReduceLROnPlateau(optimiser, mode="max", factor=0.1, patience=3)
            if recipe.schedule == "plateau"
            else None
        )
        self.compiled = compiled
        # Fabric compiles again, with the same options, what it wraps.
        faster = compile_model(model) if compiled else model
        self.model, self.optimiser = fabric.setup(faster, optimiser)
        renew_loss_scale(fabric)
        self.epochs: list[Epoch] = []
        self.best_weights: dict[str, Tensor] = {}

    def train_epoch(self, epoch: int) -> float:
        """Trains on every picture once; returns the mean loss."""
        world, rank = self.fabric.world_size, self.fabric.global_rank
        # Dropout is the only thing that still asks torch for numbers; see Loader for the rest.
        torch.manual_seed(seed_for(self.recipe.seed, "dropout", str(epoch), str(rank)))
        self.model.train()
        self._keep_frozen_parts_still()
        total, seen = torch.zeros((), device=self.fabric.device), 0
        batches = self.train_loader.shuffled(epoch, rank=rank, world=world)
        for step, batch in enumerate(
            self.watch.each("data", batches), start=epoch * self.train_loader.n_batches
        ):
            self._set_learning_rate(step)
            # Before the model runs: where steps are replayed, gradients lie in memory it reuses.
            self.optimiser.zero_grad(set_to_none=True)
            if self.compiled:
                torch.compiler.cudagraph_mark_step_begin()
            with self.watch.phase("transfer"):
                inputs, labels = batch.move(self.fabric.device, self.preprocessing)
            with self.watch.phase("forward"):
                loss = compute_loss(self.model(inputs).float(), labels, self.recipe)
            with self.watch.phase("backward"):
                self.fabric.backward(loss * batch.share)
                self.optimiser.step()
            total += loss.detach() * len(batch.labels)
            seen += len(batch.labels)
        # Sums, not means: processes may hold unequal numbers of pictures.
        sums = self.fabric.all_reduce(torch.stack([total, total.new_tensor(seen)]), reduce_op="sum")
        return float(sums[0] / sums[1])  # pyright: ignore[reportArgumentType, reportIndexIssue]

    @torch.no_grad()
    def validate(self, val: Feed) -> tuple[float, int, int]:
        """Gives loss, right ones and all of validation; each process does the whole of it."""
        self.model.eval()
        sums: list[Tensor] = []
        n = 0
        for batch in val.in_order():
            if self.compiled:
                torch.compiler.cudagraph_mark_step_begin()
            inputs, labels = batch.move(self.fabric.device, self.preprocessing)
            logits = self.model(inputs).float()
            taken = as_loss_takes(logits, self.recipe)
            entropy = functional.cross_entropy(taken, labels, reduction="sum")
            right = (logits.argmax(dim=1) == labels).sum()
            sums.append(torch.stack([entropy, right.to(entropy.dtype)]))
            n += len(labels)
        # Asked for once, at the end: a GPU that is asked for a number must first finish its work.
        loss, correct = 0.0, 0
        for of_batch, right in torch.stack(sums).tolist():
            loss += of_batch
            correct += int(right)
        return loss / n, correct, n

    def finish_epoch(self, epoch: Epoch) -> None:
        """Books an epoch: is it the best so far, and does the schedule react?"""
        self.epochs.append(epoch)
        if self.plateau is not None:
            self.plateau.step(epoch.val_correct / epoch.val_n)
        if choose_epoch(self.epochs) == epoch.epoch:
            # They stay on the device: bringing them here would keep it waiting.
            self.best_weights = {k: v.clone() for k, v in self.bare.state_dict().items()}

    def save(self, folder: Path) -> None:
        """Writes all that is needed to go on from here."""
        if self.fabric.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            packed, scalars = pack_optimiser(self.optimiser)
            tensors = {f"model/{k}": v for k, v in self.bare.state_dict().items()}
            tensors |= {f"best/{k}": v for k, v in self.best_weights.items()}
            facts = {
                "identity": self.identity,
                "epochs": [asdict(epoch) for epoch in self.epochs],
                "seconds": self.watch.seconds,
                "optimiser": scalars,
                "plateau": None if self.plateau is None else self.plateau.state_dict(),
                "precision": self.fabric._precision.state_dict(),
            }
            # The facts go inside the tensors' file, so that one rename saves both.
            blob = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
            write_tensors(folder / STATE, tensors | packed | {"facts": blob})
        self.fabric.barrier()

    def load(self, folder: Path) -> bool:
        """Goes on from a saved state, if there is one of the same identity; says whether."""
        path = folder / STATE
        if not path.exists():
            return False
        try:
            tensors = read_tensors(path)
            facts = json.loads(bytes(tensors.pop("facts").numpy()))
        except (CheckpointError, KeyError, ValueError):
            return False  # damaged: train from the start
        if facts["identity"] != self.identity:
            return False
        self.bare.load_state_dict(strip_prefix("model/", tensors))
        self.best_weights = strip_prefix("best/", tensors)
        unpack_optimiser(self.optimiser, tensors, facts["optimiser"])
        if self.plateau is not None:
            self.plateau.load_state_dict(facts["plateau"])
        self.fabric._precision.load_state_dict(facts.get("precision", {}))
        self.epochs = [Epoch(**values) for values in facts["epochs"]]
        if self.watch.is_on:
            self.watch.seconds |= facts["seconds"]
        return True

    def _keep_frozen_parts_still(self) -> None:
        # requires_grad=False alone would leave BatchNorm's running statistics moving.
        if self.recipe.frozen == "backbone":
            self.trunks.eval()
        elif self.recipe.frozen_norms:
            for module in self.trunks.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _set_learning_rate(self, step: int) -> None:
        if self.recipe.schedule != "cosine":
            return
        total = self.recipe.epochs * self.train_loader.n_batches
        warmup = max(1, total // 10)
        if step < warmup:
            factor = (step + 1) / warmup
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor


def compile_model(model: nn.Module) -> nn.Module:
    """Gives the model as torch compiles it, once for each size of a batch.

    On a GPU its steps are recorded and replayed, so that the processor no longer limits it.
    """
    # What earlier models left would count against torch's limit of versions of one function.
    torch.compiler.reset()
    return torch.compile(model, mode="reduce-overhead", dynamic=False)  # pyright: ignore[reportReturnType]
