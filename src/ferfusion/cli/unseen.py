"""The data of a trained model: what fits it, and which samples it has not seen."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ferfusion.cli.setup import open_data, say
from ferfusion.config import Settings
from ferfusion.data.cache import Advance, ImageStore, decode_all
from ferfusion.data.dataset import Dataset
from ferfusion.errors import ConfigError, DataError, ResultsError
from ferfusion.evaluation.run_folder import SEEN
from ferfusion.inference.bundle import is_bundle, read_seen
from ferfusion.inference.model_facts import ModelFacts
from ferfusion.preprocessing import PICTURE


def decode_for_model(
    facts: ModelFacts, data: Path, settings: Settings, advance: Advance
) -> ImageStore:
    """Reads the pictures that a model takes, of all samples that have them, and says what is odd.

    Raises:
        DataError: Classes that the model doesn't know, or no sample with its modalities.
    """
    settings = replace(settings, infrared_as=str(facts.heat or PICTURE))
    store = decode_all(
        _fit_to_model(open_data(data, settings), facts),
        facts.modalities,
        facts.size_px,
        heat=facts.heat,
        folder=Path(settings.cache) if settings.cache else None,
        limit_gb=settings.cache_limit,
        advance=advance,
    )
    for note in store.notes:
        say(note, colour="yellow")
    return store


def _fit_to_model(dataset: Dataset, facts: ModelFacts) -> Dataset:
    strange = [label for label in dataset.labels if label not in facts.labels]
    if strange:
        raise DataError(
            f"{dataset.root} has classes the model never learned: {', '.join(strange)}. It knows "
            f"{', '.join(facts.labels)}. Take those samples out, or train a new model."
        )
    complete = dataset.complete_in(facts.modalities)
    if not complete.samples:
        raise DataError(
            f"No sample of {dataset.root} has all that this model needs: "
            f"{', '.join(facts.modalities)}."
        )
    left_out = len(dataset.samples) - len(complete.samples)
    if left_out:
        say(f"{left_out} samples lack a modality that this model needs and are left out.")
    return complete


def divide_by_use(model: Path, store: ImageStore) -> dict[str, set[str]]:
    """Says what a run, or that of a bundle, did with these very picture files.

    Returns:
        Sample ids of train, val, test and new.

    Raises:
        ResultsError: What the run kept about that is damaged.
    """
    try:
        if is_bundle(model):
            seen = read_seen(model)
        else:
            seen = json.loads((model / SEEN).read_text()) if (model / SEEN).exists() else {}
        people = set(seen.pop("subjects", ()))
        part_of = {digest: name for name, digests in seen.items() for digest in digests}
    except (AttributeError, TypeError, ValueError) as error:
        raise ResultsError(
            f"{model / SEEN} is damaged ({error}), so nobody can tell what trained the model. "
            "Remove it to go on without knowing, or train again."
        ) from error
    if not seen:
        say(
            f"{model} has no {SEEN}, so nobody can tell whether these samples trained the model.",
            colour="yellow",
        )
    parts: dict[str, set[str]] = {"train": set(), "val": set(), "test": set(), "new": set()}
    for row, sample in enumerate(store.samples):
        met = {part_of[rows[row]] for rows in store.digests.values() if rows[row] in part_of}
        # Copies of one file may lie in two parts; having been trained on weighs most.
        parts[next((p for p in ("train", "val", "test") if p in met), "new")].add(sample.id)
    known_people = {s.subject for s in store.samples if s.id in parts["new"]} & people
    if known_people:
        say(
            f"Careful: {len(known_people)} subjects of pictures new to the model have names that "
            "it was trained on. If they are the same people, they flatter it.",
            colour="yellow",
        )
    elif parts["new"] and is_bundle(model):
        say(
            f"{len(parts['new'])} samples are new to the model. Bundles don't say who trained it: "
            "if some of these people did, they flatter it.",
            colour="yellow",
        )
    return parts


def choose_part(parts: Mapping[str, set[str]], part: str) -> set[str]:
    """Picks sample ids: of `train`, `val`, `test`, of `all`, or by `auto` those that are unseen.

    Raises:
        ConfigError: There is none.
    """
    everything = set().union(*parts.values())
    known = len(parts["train"]) + len(parts["val"])
    if part == "auto" and known:
        say(
            f"{known} of these {len(everything)} samples trained or chose this model and are left "
            "out (--part all takes them in)."
        )
        part = "unseen"
    elif part in ("auto", "all"):
        if known:
            say(f"Careful: {known} of these samples trained or chose the model; they flatter it.")
        return everything
    chosen = parts["test"] | parts["new"] if part == "unseen" else parts[part]
    if not chosen:
        raise ConfigError(
            f"No sample is left: of {len(everything)}, {len(parts['train'])} trained the model, "
            f"{len(parts['val'])} chose it, {len(parts['test'])} tested it and "
            f"{len(parts['new'])} are new to it. --part all takes every one."
        )
    return chosen
