"""A tiny finished study, made once for all tests that read one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.modality import Modality
from ferfusion.study.plan import choose_rows
from ferfusion.study.schedule import Table, list_jobs, run_jobs
from ferfusion.study.workbench import Setup
from ferfusion.training.recipe import Hardware, Recipe

V, IR = Modality.VISIBLE, Modality.INFRARED
ROWS = (
    "early-visible-infrared-3step",
    "late-visible-infrared",
    "regions-svm-late-visible-infrared",
)


@dataclass(frozen=True)
class SmallStudy:
    """Two folds of three models, and the single ones they start from, and what was told."""

    table: Table
    events: tuple[tuple[str, Any], ...]


@pytest.fixture(scope="session")
def make_table(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Table]:
    """Makes a table of a study of six drawn people; nothing of it is run yet."""
    root = tmp_path_factory.mktemp("drawn") / "faces"
    dataset = open_dataset(write_synthetic_dataset(root, subjects=6, size_px=32))

    def make(folder: Path, *rows: str, name: str = "", **changes: Any) -> Table:
        setup: dict[str, Any] = {
            "modalities": (V, IR),
            "backbone": "shufflenet_v2",
            "weights": "none",
            "size_px": 32,
            "split_kind": "subject",
            "split_file": None,
            "recipe": Recipe(epochs=1, batch_size=16, head_epochs=0),
            "hardware": Hardware("cpu", precision="fp32"),
            "n_folds": 2,
            "root": root,
        }
        chosen = choose_rows(rows or ROWS, (V, IR))
        return Table(name, dataset, Setup(**{**setup, **changes}), chosen, folder / name)

    return make


@pytest.fixture(scope="session")
def small_study(
    make_table: Callable[..., Table], tmp_path_factory: pytest.TempPathFactory
) -> SmallStudy:
    """The study; tests must not change it."""
    table = make_table(tmp_path_factory.mktemp("small"))
    events: list[tuple[str, Any]] = []
    failures = run_jobs(list_jobs([table], [0]), lambda name, event: events.append((name, event)))
    assert not failures
    return SmallStudy(table, tuple(events))
