from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ferfusion.cli.study import draw_augmentation, find_bright, list_folders, make_tables
from ferfusion.config import resolve
from ferfusion.data.cache import ImageStore
from ferfusion.data.dataset import Dataset
from ferfusion.modality import MODALITIES
from ferfusion.sample import ImageFile, Sample
from ferfusion.training.recipe import Recipe


def test_tables_of_an_earlier_call_stay_on_the_page(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    for name in ("a", "c"):
        (tmp_path / name / "setup.json").write_text("{}")
    asked = [tmp_path / "b"]
    assert list_folders(tmp_path, asked) == [tmp_path / name for name in ("b", "a", "c")]
    assert list_folders(tmp_path, [tmp_path / "c", tmp_path / "a"]) == [
        tmp_path / "c", tmp_path / "a",
    ]  # fmt: skip


def test_tables_that_augment_alike_share_a_sheet(make_store: Any, tmp_path: Path) -> None:
    store: ImageStore = make_store()

    paper = Recipe(augmentation="paper")
    recipes = {
        "none": paper,
        "double_softmax": replace(paper, quirks=("double_softmax",)),
        "identical_flips": replace(paper, quirks=("identical_flips",)),
        "bare": Recipe(augmentation="none"),
    }
    draw_augmentation(recipes, store, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["augmentation-identical_flips.png", "augmentation.png"]
    first, other = (Image.open(tmp_path / name) for name in reversed(names))
    assert first.size == other.size
    assert first.tobytes() != other.tobytes()
    assert 0 <= find_bright(store) < len(store.samples)


@pytest.mark.parametrize(
    ("rows", "said"),
    [("late-visible-infrared", True), ("visible", False), ("all", False)],
)
def test_rows_that_few_tables_have_are_named(
    capsys: pytest.CaptureFixture[str], rows: str, said: bool
) -> None:
    images = {m: ImageFile(Path(f"{m}.png")) for m in MODALITIES}
    samples = tuple(
        Sample(f"{label}{n}", label, f"p{n}", images) for label in ("happy", "sad") for n in "ab"
    )
    data = Dataset(Path("faces"), "", "", "a column", ("happy", "sad"), samples)
    settings = resolve({
        "plan": "sound", "backbones": "resnet18,vgg16", "rows": rows, "weights": "none",
    })  # fmt: skip
    make_tables(data, Path("out"), settings)
    words = f"The plan sound has {rows} in the table resnet18 only."
    assert (words in capsys.readouterr().out) is said
