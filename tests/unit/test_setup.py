from dataclasses import replace
from pathlib import Path

import pytest

from ferfusion.cli.setup import is_main_process, make_setup
from ferfusion.config import Settings
from ferfusion.data.dataset import Dataset
from ferfusion.errors import ConfigError
from ferfusion.modality import MODALITIES
from ferfusion.sample import ImageFile, Sample


def make_dataset(subject: str | None) -> Dataset:
    images = {m: ImageFile(Path(f"{m}.png")) for m in MODALITIES}
    return Dataset(
        root=Path("faces"),
        reader="",
        pairing="",
        subjects_from=None,
        labels=("happy",),
        samples=(Sample("one", "happy", subject, images),),
    )


KNOWN, UNKNOWN = make_dataset("s1"), make_dataset(None)


def test_quirks_reach_the_recipe_and_none_are_there_by_default() -> None:
    assert make_setup(KNOWN, Settings()).recipe.quirks == ()
    asked = Settings(quirks=("no_normalisation", "double_softmax"))
    assert make_setup(KNOWN, asked).recipe.quirks == ("double_softmax", "no_normalisation")


@pytest.mark.parametrize("dataset", [KNOWN, UNKNOWN])
@pytest.mark.parametrize("split", ["auto", "paper"])
def test_image_split_is_the_papers_split(dataset: Dataset, split: str) -> None:
    setup = make_setup(dataset, Settings(split=split, quirks=("image_split",)))
    assert setup.split_kind == "paper"


def test_other_quirks_leave_the_split_alone() -> None:
    plain = Settings()
    quirky = replace(
        plain,
        augmentation="paper",
        quirks=(
            "double_softmax",
            "identical_flips",
            "independent_augmentation",
            "no_normalisation",
        ),
    )
    assert make_setup(KNOWN, plain).split_kind == make_setup(KNOWN, quirky).split_kind == "subject"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(quirks=("image_split",), split="subject"), "image_split.*--split subject"),
        (Settings(quirks=("image_split",), split_file="s.csv"), "image_split.*--split-file"),
        (Settings(quirks=("identical_flips",)), "only.*--augmentation paper.*sound"),
        (
            Settings(quirks=("identical_flips",), augmentation="none"),
            "only.*--augmentation paper.*none",
        ),
        (
            Settings(quirks=("independent_augmentation",), augmentation="none"),
            "no effect with --augmentation none",
        ),
    ],
)
def test_quirk_that_fits_no_other_option_is_refused(settings: Settings, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_setup(KNOWN, settings)


@pytest.mark.parametrize(
    ("environment", "speaks"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        # torchrun: the first process of a second node has LOCAL_RANK 0, too.
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "faces", "SLURM_PROCID": "1"}, False),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "faces", "SLURM_PROCID": "0"}, True),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "interactive", "SLURM_PROCID": "1"}, True),
    ],
)
def test_one_process_speaks_however_they_were_started(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], speaks: bool
) -> None:
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_NTASKS", "SLURM_JOB_NAME", "SLURM_PROCID")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is speaks
