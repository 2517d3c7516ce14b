"""`ferfusion demo`: the whole way, on faces drawn here, in a few minutes."""

import shutil
from dataclasses import replace
from pathlib import Path

from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import make_setup, open_data, say
from ferfusion.cli.study import compare
from ferfusion.config import Settings, resolve
from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.modality import Modality
from ferfusion.models.checkpoint import write_tensors
from ferfusion.study.plan import Row
from ferfusion.study.workbench import Workbench
from ferfusion.training.recipe import Recipe
from ferfusion.training.stages import fit_single

SUBJECTS, OTHER_SUBJECTS = 60, 100
SIZE_PX = 64
NOTE = (
    "Drawn faces: these numbers show that the software works, and say nothing about real people. "
    "The trunks were first trained on visible pictures of other drawn people, which stand in for "
    "ImageNet."
)


def run_demo(out: Path) -> None:
    """Draws faces, compares every model on them, and says what to do next."""
    say("Drawn faces, three modalities, twelve models. Nothing is downloaded.")
    with StudyProgress() as progress:
        say(f"1/3  drawing {SUBJECTS + OTHER_SUBJECTS} people with five expressions each")
        data = write_synthetic_dataset(out / "faces", subjects=SUBJECTS, progress=progress.draw)
        others = write_synthetic_dataset(
            out / "other-faces", subjects=OTHER_SUBJECTS, seed=1, progress=progress.draw
        )
        trunk = out / "trunk.safetensors"
        if not trunk.exists():
            say("2/3  training a first trunk on visible pictures of other people")
            pretrain(others, trunk, progress)
        say("3/3  the comparison")
        settings = resolve(
            {
                "size": SIZE_PX,
                "epochs": 6,
                "backbone_learning_rate": 3e-4,
                "weights": f"resnet18={trunk}",
                "note": NOTE,
            }
        )
        dataset = open_data(data, settings)
        compare(dataset, out / "study", settings, progress, title="Demo: drawn faces")
    say(f"\nThe page: {out / 'study' / 'report.html'}   (open it in a browser)")
    ferfusion = "ferfusion" if shutil.which("ferfusion") else ".venv/bin/ferfusion"
    say(
        "\nFor your own data:\n"
        f"  {ferfusion} inspect DATA             what is understood of your folder or table\n"
        f"  {ferfusion} study DATA --out DIR     the same comparison\n"
        f"  {ferfusion} config show              every option"
    )


def pretrain(faces: Path, trunk: Path, progress: StudyProgress) -> None:
    """Trains a trunk from random weights on visible pictures and writes it as a weights file."""
    settings = Settings(size=SIZE_PX, weights=("none",), modalities=("visible",))
    dataset = open_data(faces, settings)
    recipe = Recipe(epochs=24, batch_size=16, learning_rate=1e-3, dropout=0.25)
    setup = replace(make_setup(dataset, settings), recipe=recipe)
    folder = trunk.with_suffix(".unfinished")
    bench = Workbench(dataset, setup, folder, progress.decode)
    lab = bench.lab(Row("single", (Modality.VISIBLE,)), seed=1)
    with progress.counting("first trunk", recipe.epochs) as advance:
        trained = fit_single(lab, Modality.VISIBLE, folder, lambda _: advance())
    prefix = f"trunks.{Modality.VISIBLE}."
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in trained.model.state_dict().items()
        if name.startswith(prefix)
    }
    write_tensors(trunk, tensors)
    shutil.rmtree(folder, ignore_errors=True)
