"""A trained model in a folder: `model.safetensors` holds tensors, `model.json` all the rest.

No pickle, and nothing to remember: labels, modalities, preprocessing and recipe are inside.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ferfusion.atomic import replacing, write_text
from ferfusion.errors import CheckpointError, ConfigError
from ferfusion.models.blueprint import Blueprint, assemble
from ferfusion.preprocessing import Preprocessing

FORMAT = 1
_NONSENSE = (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError)
"""What comes of JSON that isn't ours, found by changing bytes in it."""

TENSORS, FACTS = "model.safetensors", "model.json"


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to use, and what it expects.

    Attributes:
        model: In evaluation mode, on the CPU.
        blueprint: What it is made of.
        preprocessing: What its pictures must go through.
        recipe: How it was trained; for people, not for code.
    """

    model: nn.Module
    blueprint: Blueprint
    preprocessing: Preprocessing
    recipe: Mapping[str, Any]


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    blueprint: Blueprint,
    preprocessing: Preprocessing,
    recipe: Mapping[str, Any],
) -> None:
    """Writes a checkpoint; each file appears whole or not at all."""
    write_tensors(folder / TENSORS, model.state_dict())
    facts = {
        "format": FORMAT,
        "blueprint": blueprint.to_json(),
        "preprocessing": preprocessing.to_json(),
        "recipe": dict(recipe),
    }
    write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads a checkpoint from the folder of a run.

    Raises:
        CheckpointError: It is missing, damaged, or from a newer ferfusion.
    """
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder.absolute()}. Check the path of the run.")
    if not (folder / FACTS).is_file() or not (folder / TENSORS).is_file():
        raise CheckpointError(
            f"{folder} holds no trained model ({FACTS} and {TENSORS}). Give the folder of a run: "
            "the --out of `ferfusion train`, or DIR/runs/MODEL of a study."
        )
    try:
        facts = json.loads((folder / FACTS).read_text())
        if facts["format"] != FORMAT:
            raise CheckpointError(
                f"{folder} was written in format {facts['format']}, and this ferfusion reads "
                f"format {FORMAT}. Install the ferfusion that wrote it."
            )
        blueprint = Blueprint.from_json(facts["blueprint"])
        preprocessing = Preprocessing.from_json(facts["preprocessing"])
        recipe = dict(facts["recipe"])
        model = assemble(blueprint)
    except (*_NONSENSE, ConfigError) as error:
        raise CheckpointError(f"{folder / FACTS} is damaged: {error!r}.") from error
    restore(model, read_tensors(folder / TENSORS), folder / TENSORS)
    return Checkpoint(model.eval(), blueprint, preprocessing, recipe)


def restore(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Puts tensors into a module; every one must find its place.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{source} doesn't fit the model it names: {error}") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as safetensors, whole or not at all."""
    with replacing(path) as part:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads what `write_tensors` wrote.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is missing or damaged ({error}). Delete its folder and train again."
        ) from error
