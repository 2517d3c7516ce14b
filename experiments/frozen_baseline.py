"""Frozen ImageNet features and logistic regression, on the splits of a study.

The yardstick for small data: fine-tuning that loses to this is a defect. Features are those of the
backbone's trunk at the study's picture size, standardised; logistic regression has C = 0.01, fixed
beforehand. Nothing is chosen on the test samples.

Command (about a minute on two CPU cores):

    .venv/bin/python experiments/frozen_baseline.py STUDY DATA

writes STUDY/frozen_baseline.csv (modalities, seed, correct, n_test) and, for the paired test,
STUDY/frozen_baseline/<modalities>-seed<k>.csv in the format of predictions/.
"""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ferfusion.atomic import write_text
from ferfusion.config import read_config, resolve
from ferfusion.data.cache import decode_all
from ferfusion.data.loading import Loader, index_labels, normalise
from ferfusion.data.opening import open_dataset
from ferfusion.data.splits import read_split
from ferfusion.evaluation.predictions import Predictions, write_predictions
from ferfusion.models.backbones import build_trunk, extract_features, find_backbone
from ferfusion.preprocessing import Preprocessing
from ferfusion.study.plan import list_rows


def main(study: Path, data: Path) -> None:
    """Fits and tests one regression for each combination of modalities and seed."""
    settings = resolve(read_config(study / "config.toml"))
    dataset = open_dataset(data)
    modalities = dataset.modalities
    store = decode_all(dataset, modalities, settings.size)
    backbone = find_backbone(settings.backbone)
    trunk = build_trunk(backbone, settings.weights[0].split("=", 1)[-1]).eval()
    preprocessing = Preprocessing(
        settings.size,
        dict.fromkeys(modalities, backbone.mean),
        dict.fromkeys(modalities, backbone.std),
    )
    labels = index_labels(dataset.labels, [s.expression for s in store.samples])
    loader = Loader(store, np.arange(len(labels)), labels, modalities, batch_size=64)
    features: dict[str, list[np.ndarray]] = {str(m): [] for m in modalities}
    with torch.inference_mode():
        for batch in loader.in_order():
            pictures = normalise(batch.pictures, preprocessing, torch.device("cpu"))
            for modality in modalities:
                features[str(modality)].append(extract_features(trunk, pictures[modality]).numpy())
    joined = {name: np.concatenate(parts) for name, parts in features.items()}

    place = {sample.id: row for row, sample in enumerate(store.samples)}
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("modalities", "seed", "correct", "n_test"))
    combinations = [row.modalities for row in list_rows(modalities) if row.steps is None]
    for combination in dict.fromkeys(combinations):
        inputs = np.concatenate([joined[str(m)] for m in combination], axis=1)
        for seed in settings.seed:
            split = read_split(study / "splits" / f"subject-seed{seed}.csv")
            train, test = ([place[i] for i in split.parts[part]] for part in ("train", "test"))
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=5000))
            model.fit(inputs[train], labels[train])
            predictions = Predictions(
                sample_ids=split.parts["test"],
                subjects=tuple(store.samples[row].subject for row in test),
                classes=dataset.labels,
                labels=labels[test],
                probs=model.predict_proba(inputs[test]),
            )
            name = "+".join(combination)
            write_predictions(predictions, study / "frozen_baseline" / f"{name}-seed{seed}.csv")
            writer.writerow((name, seed, int(predictions.correct.sum()), len(predictions)))
    write_text(study / "frozen_baseline.csv", table.getvalue())
    print(table.getvalue())
    print(json.dumps({"study": str(study), "size": settings.size, "backbone": backbone.name}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
