"""What lies in the folder of a finished run, by name, and what its `run.json` says."""

import json
from pathlib import Path
from typing import Any

from ferfusion.errors import ResultsError

RUN, SPLIT, SEEN = "run.json", "split.csv", "seen.json"
VAL, TEST = "val.csv", "test.csv"
CHECKPOINT = "model.json"
"""What the model is; also of a run that isn't finished."""


def read_facts(folder: Path) -> dict[str, Any]:
    """Reads the run.json of a finished run, which is written last.

    Raises:
        ResultsError: The folder holds no finished run, or its run.json is damaged.
    """
    if not (folder / RUN).exists():
        raise ResultsError(
            f"{folder / RUN} is missing, so {folder} is no finished run. Give the folder that "
            "`ferfusion train` wrote, or STUDY/runs/MODEL of a study."
        )
    try:
        facts = json.loads((folder / RUN).read_text())
        if not isinstance(facts, dict):
            raise TypeError("it is no table of facts")
    except (OSError, TypeError, ValueError) as error:
        raise ResultsError(
            f"{folder / RUN} is damaged ({error}). Move {folder} away and run again."
        ) from error
    return facts
