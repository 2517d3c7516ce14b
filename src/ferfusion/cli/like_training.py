"""How faces are to be cut for a model: as the pictures that trained it were."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferfusion.errors import ConfigError, DataError
from ferfusion.evaluation.run_folder import RUN, read_facts
from ferfusion.inference.bundle import is_bundle, open_bundle
from ferfusion.preparation.folder import SETTINGS
from ferfusion.preparation.recipe import Preparation


def find_preparation(model: Path, like: Path | None) -> Preparation:
    """Gives how to cut faces: as somebody says, else as the model says, else as usual.

    Args:
        model: A bundle, which says it if its training pictures were made by `ferfusion prepare`; or
            a run, which says where they lay.
        like: A folder that `ferfusion prepare` wrote, or its settings.

    Raises:
        ConfigError: It isn't.
    """
    if like is not None:
        try:
            return _read(like / SETTINGS if like.is_dir() else like)
        except (OSError, ValueError, TypeError, DataError) as error:
            raise ConfigError(
                f"--like {like} is no folder that `ferfusion prepare` wrote ({error}): give the "
                "one with the model's training pictures."
            ) from error
    if is_bundle(model):
        said = open_bundle(model).facts.get("preparation")
    elif (model / RUN).is_file():
        said = read_settings(Path(str(read_facts(model).get("data", ""))))
    else:
        said = None
    try:
        return Preparation() if said is None else Preparation.from_json(said)
    except DataError:
        return Preparation()


def read_settings(data: Path) -> Mapping[str, Any] | None:
    """Gives how a folder was prepared, as plain values; None if it wasn't, or can't be read."""
    try:
        return _read(data / SETTINGS).to_json()
    except (OSError, ValueError, TypeError, DataError):
        return None


def _read(path: Path) -> Preparation:
    return Preparation.from_json(dict(json.loads(path.read_text(encoding="utf-8"))))
