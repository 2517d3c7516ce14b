"""`ferfusion demo`: the whole way, on faces drawn here, in a few minutes."""

from pathlib import Path

from ferfusion.cli.progress import StudyProgress
from ferfusion.cli.setup import open_data, say
from ferfusion.cli.study import compare
from ferfusion.config import resolve
from ferfusion.data.synthetic import write_synthetic_dataset

SETTINGS = {
    "size": 64,
    "weights": "none",
    "epochs": 8,
    "note": "Synthetic faces, drawn by ferfusion: these numbers show that the software works, and "
    "say nothing about real people.",
}
"""Small pictures and no download; everything else as for one's own data."""


def run_demo(out: Path) -> None:
    """Draws faces, compares every model on them, and says what to do next."""
    say("ferfusion demo: drawn faces, three modalities, twelve models. No download is needed.\n")
    with StudyProgress() as progress:
        data = write_synthetic_dataset(out / "data", progress=progress.draw)
        settings = resolve(SETTINGS)
        dataset = open_data(data, settings)
        compare(dataset, out / "study", settings, progress, title="Demo: drawn faces")
    say(f"\nThe page: {out / 'study' / 'report.html'}   (open it in a browser)")
    say(
        "\nFor your own data:\n"
        "  ferfusion inspect DATA             what is understood of your folder or table\n"
        "  ferfusion study DATA --out DIR     the same comparison\n"
        "  ferfusion config show              every option"
    )
