"""What a capable user writes by hand in an afternoon: torchvision, PIL, a DataLoader, fp32.

It trains the 12 models that ferfusion compares, on the same split and by the same recipe: three
single models, early fusion in 1 and in 3 steps, and late fusion over a grid of 0.1. ferfusion's
benchmarks hold its times against these. Nothing of ferfusion is used here.

    python benchmarks/plain_script.py DATA --split split.csv --out DIR --weights FILE

DATA is a folder with VIRI's layout, or a CSV with the columns sample_id, expression, visible,
infrared and msx. The split is a CSV with the columns sample_id and part (train, val or test).
"""

# ruff: noqa: D102, D103
import argparse
import copy
import csv
import itertools
import json
import math
import random
import statistics
import time
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import models
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tf

MODALITIES = ("visible", "infrared", "msx")
COMBINATIONS = (("visible", "infrared"), ("visible", "msx"), MODALITIES)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FILL = [124.0, 116.0, 104.0]  # the mean colour, around pictures that were moved
LEARNING_RATE, TRUNK_LEARNING_RATE, WEIGHT_DECAY = 3e-4, 1e-4, 0.05
LABEL_SMOOTHING, HEAD_EPOCHS = 0.1, 30


# ---------------------------------------------------------------------------------------- data


def read_samples(data):
    """Lists the samples: id, expression, and the path of each modality's picture."""
    if data.is_dir():
        kinds = {"Vis": "visible", "Ir": "infrared", "MSX": "msx"}
        found = {}
        for folder in sorted(data.glob("VIRI-*-*")):
            _, name, kind = folder.name.split("-")
            expression = "surprised" if name == "Surprise" else name.lower()
            for path in sorted(folder.iterdir()):
                sample_id = f"{expression}/{path.stem}"
                row = found.setdefault(sample_id, {"id": sample_id, "expression": expression})
                row[kinds[kind]] = path
        samples = list(found.values())
    else:
        with data.open(newline="", encoding="utf-8") as stream:
            samples = [
                {"id": row["sample_id"], "expression": row["expression"]}
                | {m: data.parent / row[m] for m in MODALITIES if row.get(m)}
                for row in csv.DictReader(stream)
            ]
    return [s for s in samples if all(m in s for m in MODALITIES)]


def read_parts(split, samples):
    """Gives the samples of train, val and test."""
    with split.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        part_of = {row["sample_id"]: row["part"] for row in rows}
    return {p: [s for s in samples if part_of.get(s["id"]) == p] for p in ("train", "val", "test")}


class Faces(Dataset):
    """Decodes pictures from their files, each time they are asked for."""

    def __init__(self, samples, labels, modalities, size, augment):
        self.samples, self.labels, self.modalities = samples, labels, modalities
        self.size, self.augment = size, augment

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        sample = self.samples[index]
        change = Change(self.size) if self.augment else None
        pictures = {}
        for modality in self.modalities:
            picture = open_picture(sample[modality], self.size)
            pictures[modality] = change(picture, modality) if change else to_tensor(picture)
        return pictures, self.labels.index(sample["expression"])


def open_picture(path, size):
    with Image.open(path) as file:
        return file.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


class Change:
    """One random draw of geometry and light, the same for all modalities of a sample."""

    def __init__(self, size):
        self.size, self.edge = size, size // 8  # what is moved in from outside repeats the edge
        self.flip = random.random() < 0.5
        self.angle = random.uniform(-12, 12)
        self.zoom = math.exp(random.uniform(math.log(0.88), math.log(1.16)))
        self.shear = math.degrees(math.atan(random.uniform(-0.06, 0.06)))
        self.shift = [round(random.uniform(-0.06, 0.06) * size) for _ in range(2)]
        near, far = self.edge, self.edge + size
        corners = [[near, near], [far, near], [far, far], [near, far]]
        moved = [[x + random.uniform(-0.05, 0.05) * size for x in corner] for corner in corners]
        self.corners = (corners, moved)
        self.brightness = math.exp(random.uniform(-0.3, 0.3))
        self.gamma = math.exp(random.uniform(-0.3, 0.3))
        self.box = None
        if random.random() < 0.25:
            height, width = (round(random.uniform(0.1, 0.28) * size) for _ in range(2))
            top, left = random.randint(0, size - height), random.randint(0, size - width)
            self.box = (top, left, height, width)

    def __call__(self, picture, modality):
        if self.flip:
            picture = tf.hflip(picture)
        picture = tf.pad(picture, self.edge, padding_mode="edge")
        bilinear = InterpolationMode.BILINEAR
        picture = tf.affine(
            picture, self.angle, self.shift, self.zoom, [self.shear, 0.0], bilinear, FILL
        )
        picture = tf.perspective(picture, *self.corners, bilinear, FILL)
        picture = tf.center_crop(picture, self.size)
        if modality != "infrared":  # its colours are temperatures
            picture = tf.adjust_gamma(picture, self.gamma)
            picture = tf.adjust_brightness(picture, self.brightness)
        tensor = to_tensor(picture)
        return tensor if self.box is None else tf.erase(tensor, *self.box, torch.zeros(1))


def to_tensor(picture):
    return tf.normalize(tf.to_tensor(picture), MEAN, STD)


def make_loader(samples, labels, modalities, size, batch, workers, *, train):
    # A last batch of one sample would be too small for BatchNorm.
    one_left = train and len(samples) % batch == 1 and len(samples) > 1
    return DataLoader(
        Faces(samples, labels, modalities, size, augment=train),
        batch_size=batch,
        shuffle=train,
        num_workers=workers,
        persistent_workers=workers > 0,
        drop_last=one_left,
    )


# -------------------------------------------------------------------------------------- models


def build_trunk(backbone: str, weights):
    """Builds a torchvision network without its classifier; gives it and its width."""
    network = models.get_model(TORCHVISION_NAMES.get(backbone, backbone))
    last = "fc" if hasattr(network, "fc") else "classifier"
    layer = getattr(network, last)
    width = layer.in_features if last == "fc" else layer[-1].in_features
    setattr(network, last, nn.Identity())
    if weights is not None:
        if weights.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        state = {name: tensor for name, tensor in state.items() if not name.startswith(f"{last}.")}
        missing = network.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys, missing
        assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys), missing
    return network, width


TORCHVISION_NAMES = {"shufflenet_v2": "shufflenet_v2_x1_0"}


class Model(nn.Module):
    """One trunk for each modality, and a head on their joined features."""

    def __init__(self, backbone, weights, modalities, n_classes):
        super().__init__()
        built = {m: build_trunk(backbone, weights) for m in modalities}
        self.trunks = nn.ModuleDict({m: trunk for m, (trunk, _) in built.items()})
        width = sum(width for _, width in built.values())
        if len(modalities) > 1:
            self.head = nn.Sequential(nn.ReLU(), nn.Linear(width, n_classes))
        elif modalities == ("infrared",):
            self.head = nn.Sequential(
                nn.Dropout(0.35), nn.Linear(width, 256), nn.ReLU(), nn.BatchNorm1d(256),
                nn.Dropout(0.4), nn.Linear(256, 128), nn.ReLU(),
                nn.Dropout(0.25), nn.Linear(128, n_classes),
            )  # fmt: skip
        else:
            self.head = nn.Sequential(
                nn.Dropout(0.2), nn.Linear(width, 256), nn.Dropout(0.2), nn.Linear(256, n_classes)
            )

    def features(self, pictures):
        return torch.cat([trunk(pictures[m]) for m, trunk in self.trunks.items()], dim=1)

    def forward(self, pictures):
        return self.head(self.features(pictures))


# ------------------------------------------------------------------------------------ training


def make_optimiser(model, trunk_rate=TRUNK_LEARNING_RATE):
    """AdamW: the head learns faster than the trunks; biases and norms have no decay."""
    groups = []
    for part, rate in ((model.head, LEARNING_RATE), (model.trunks, trunk_rate)):
        for decays in (True, False):
            wanted = [p for p in part.parameters() if p.requires_grad and (p.ndim > 1) == decays]
            decay = WEIGHT_DECAY if decays else 0.0
            if wanted:
                groups.append({"params": wanted, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def warm_up_head(model, loader):
    """Trains the head alone, on features computed once, so that it doesn't spoil the trunks."""
    data = loader.dataset
    still = Faces(data.samples, data.labels, data.modalities, data.size, augment=False)
    whole = DataLoader(still, batch_size=64, num_workers=loader.num_workers)
    model.eval()
    with torch.no_grad():
        seen = [(model.features(pictures), labels) for pictures, labels in whole]
    features, labels = (torch.cat(column) for column in zip(*seen, strict=True))
    model.head.train()
    optimiser = torch.optim.AdamW(
        model.head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    n_batches = max(1, math.ceil(len(labels) / loader.batch_size))
    for _ in range(HEAD_EPOCHS):
        for rows in torch.randperm(len(labels)).tensor_split(n_batches):
            take_step(model.head, features[rows], labels[rows], optimiser)


def take_step(model, inputs, labels, optimiser):
    loss = functional.cross_entropy(model(inputs), labels, label_smoothing=LABEL_SMOOTHING)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def fit(model, train, val, epochs, *, has_weights=True, freeze=False):
    """Trains, and leaves the model with the weights of the epoch that is best on validation.

    Random trunks learn as fast as the head, norms included. Gives the seconds of each epoch,
    validation included.
    """
    if freeze:
        model.trunks.requires_grad_(False)
    optimiser = make_optimiser(model, TRUNK_LEARNING_RATE if has_weights else LEARNING_RATE)
    total = epochs * len(train)
    warm_up = max(1, total // 10)

    def factor(step):
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    best, kept, seconds = None, None, []
    for _ in range(epochs):
        start = time.perf_counter()
        model.train()
        if freeze:
            model.trunks.eval()
        elif has_weights:
            for module in model.trunks.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        for pictures, labels in train:
            take_step(model, pictures, labels, optimiser)
            schedule.step()
        loss, correct = validate(model, val)
        if best is None or (correct, -loss) > best:
            best, kept = (correct, -loss), copy.deepcopy(model.state_dict())
        seconds.append(time.perf_counter() - start)
    model.load_state_dict(kept)
    return seconds


@torch.no_grad()
def validate(model, loader):
    """Gives the mean loss and how many are right."""
    model.eval()
    loss, correct = 0.0, 0
    for pictures, labels in loader:
        logits = model(pictures)
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(dim=1) == labels).sum().item()
    return loss / len(loader.dataset), correct


@torch.no_grad()
def count_mixture(singles, weights, batches):
    """Runs the single models and counts the right answers of their mixture."""
    correct = 0
    for pictures, labels in batches:
        probs = [w * singles[m]({m: pictures[m]}).softmax(dim=1) for m, w in weights.items()]
        mixed = torch.stack(probs).sum(dim=0)
        correct += (mixed.argmax(dim=1) == labels).sum().item()
    return correct


def list_mixtures(modalities):
    """Lists all weights in steps of 0.1 that add up to 1, the most even first."""
    tenths = itertools.product(range(11), repeat=len(modalities))
    grid = sorted((w for w in tenths if sum(w) == 10), key=lambda w: sum(x * x for x in w))
    return [{m: x / 10 for m, x in zip(modalities, w, strict=True)} for w in grid]


def search_mixture(singles, batches):
    """Finds the mixture with most right answers, running the models again for each."""
    for model in singles.values():
        model.eval()
    return max(list_mixtures(tuple(singles)), key=lambda w: count_mixture(singles, w, batches))


# --------------------------------------------------------------------------------------- using


@torch.inference_mode()
def classify(model, sample, size):
    """Gives the probabilities of one sample, from its files."""
    pictures = {}
    for modality in model.trunks:
        pictures[modality] = to_tensor(open_picture(sample[modality], size)).unsqueeze(0)
    return model(pictures).softmax(dim=1)[0].tolist()


@torch.inference_mode()
def classify_folder(model, loader, path):
    """Writes a CSV of the probabilities of every sample of a loader."""
    data = loader.dataset
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("sample_id", *data.labels, "predicted"))
        ids = iter(sample["id"] for sample in data.samples)
        for pictures, _ in loader:
            for probs in model(pictures).softmax(dim=1).tolist():
                best = data.labels[probs.index(max(probs))]
                writer.writerow((next(ids), *(f"{p:.6f}" for p in probs), best))


# ------------------------------------------------------------------------------------ everything


def choose_workers(build, model, *, steps=8):
    """Times some steps of training with 0, 1 and 2 worker processes; gives the best number."""
    optimiser = make_optimiser(model)
    times = {}
    for workers in (0, 1, 2):
        seconds, last = [], time.perf_counter()
        for pictures, labels in itertools.islice(build(workers), steps + 2):
            take_step(model, pictures, labels, optimiser)
            seconds.append(time.perf_counter() - last)
            last = time.perf_counter()
        # The first steps pay for starting workers and for memory.
        times[workers] = statistics.median(seconds[2:] or seconds)
    return min(times, key=times.__getitem__)


class Study:
    """The data, and how every model is trained."""

    def __init__(self, data, split, *, epochs, size, backbone, weights, batch, workers, seed=0):
        samples = read_samples(data)
        self.parts = read_parts(split, samples)
        self.labels = sorted({s["expression"] for s in samples})
        self.epochs, self.size, self.batch = epochs, size, batch
        self.backbone, self.weights, self.seed = backbone, weights, seed
        self.workers = self.find_workers() if workers is None else workers

    def build(self, modalities):
        return Model(self.backbone, self.weights, modalities, len(self.labels))

    def loader(self, part, modalities):
        return make_loader(
            self.parts[part], self.labels, modalities, self.size, self.batch, self.workers,
            train=part == "train",
        )  # fmt: skip

    def find_workers(self):
        def build(workers):
            self.workers = workers
            return self.loader("train", ("visible",))

        return choose_workers(build, self.build(("visible",)))

    def train(self, modalities, trained=None, *, freeze=False):
        """Gives a trained model and the seconds of each epoch.

        Early fusion in 3 steps starts from the trained single models.
        """
        torch.manual_seed(self.seed)
        random.seed(self.seed)
        model = self.build(modalities)
        if trained is not None:
            for m in modalities:
                model.trunks[m].load_state_dict(trained[m].trunks[m].state_dict())
        loaders = self.loader("train", modalities), self.loader("val", modalities)
        has_weights = self.weights is not None or trained is not None
        if has_weights:
            warm_up_head(model, loaders[0])
        return model, fit(model, *loaders, self.epochs, has_weights=has_weights, freeze=freeze)

    def test(self, model, modalities):
        return validate(model, self.loader("test", modalities))[1]


def run_study(study, tell=print):
    """Trains all 12 models; gives the right answers on test of each, and the grid's seconds."""
    correct = {}

    def note(name, count):
        correct[name] = count
        tell(f"{name}: {count} of {len(study.parts['test'])} right")

    singles = {}
    for m in MODALITIES:
        singles[m], _ = study.train((m,))
        note(m, study.test(singles[m], (m,)))
    for modalities in COMBINATIONS:
        for steps, trained in ((1, None), (3, singles)):
            model, _ = study.train(modalities, trained)
            note(f"early-{'-'.join(modalities)}-{steps}step", study.test(model, modalities))
    start = time.perf_counter()
    for modalities in COMBINATIONS:
        mixed = {m: singles[m] for m in modalities}
        # Decoded once, not for each mixture again.
        val, test = list(study.loader("val", modalities)), study.loader("test", modalities)
        weights = search_mixture(mixed, val)
        note(f"late-{'-'.join(modalities)}", count_mixture(mixed, weights, test))
    return correct, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description="Trains the 12 models that ferfusion compares.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", type=Path, help="first weights of the trunks; else random")
    parser.add_argument("--workers", type=int, help="of the DataLoader; else the best of 0, 1, 2")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    study = Study(
        given.data, given.split, epochs=given.epochs, size=given.size, batch=given.batch,
        backbone=given.backbone, weights=given.weights, workers=given.workers, seed=given.seed,
    )  # fmt: skip
    start = time.perf_counter()
    correct, grid_s = run_study(study)
    seconds = time.perf_counter() - start
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "results.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("model", "correct", "n"))
        writer.writerows((name, count, len(study.parts["test"])) for name, count in correct.items())
    facts = {"seconds": seconds, "grid_seconds": grid_s, "workers": study.workers}
    (given.out / "times.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{seconds:.0f} s in all, with {study.workers} worker processes")


if __name__ == "__main__":
    main()
