from dataclasses import replace
from pathlib import Path

import pytest

from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.errors import ResultsError
from ferfusion.modality import Modality
from ferfusion.study.workbench import Setup, Workbench
from ferfusion.training.recipe import Hardware, Recipe


def test_a_folder_knows_its_setup_again_and_refuses_other_quirks(tmp_path: Path) -> None:
    dataset = open_dataset(write_synthetic_dataset(tmp_path / "faces", subjects=6, size_px=32))
    setup = Setup(
        modalities=(Modality.VISIBLE,),
        backbone="shufflenet_v2",
        weights="none",
        size_px=32,
        split_kind="subject",
        split_file=None,
        recipe=Recipe(quirks=("double_softmax", "no_normalisation")),
        hardware=Hardware("cpu", precision="fp32"),
    )
    out = tmp_path / "out"
    Workbench(dataset, setup, out, None).commit_setup()
    # The second one reads what the first wrote: a list where the recipe has a tuple.
    Workbench(dataset, setup, out, None)
    for quirks in ((), ("double_softmax",)):
        other = replace(setup, recipe=replace(setup.recipe, quirks=quirks))
        with pytest.raises(ResultsError, match=r"quirks was .*'no_normalisation'.*, now"):
            Workbench(dataset, other, out, None)
