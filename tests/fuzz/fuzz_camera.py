"""Looks for bytes that make the readers of camera files fail otherwise than with one sentence.

Run by hand, as atheris is no dependency and knows no end. SEEDS is a folder of small camera files
to start from; what is found lands beside this command's own folder as crash-*:

    pip install atheris 'ferfusion[thermal]'
    python tests/fuzz/fuzz_camera.py SEEDS -max_len=20000 -timeout=20 -rss_limit_mb=2500 \
        -max_total_time=300

The first byte of an input chooses the file's name and the options; so seeds are tried in all ways.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ferfusion.imaging.camera", "flyr"]):
    import flyr.flyr  # noqa: F401

    from ferfusion.errors import FerfusionError
    from ferfusion.imaging.camera.grids import SCALES
    from ferfusion.imaging.camera.opening import open_thermogram
    from ferfusion.imaging.camera.thermogram import CameraSettings
    from ferfusion.imaging.camera.triple import make_triple

NAMES = ("a.jpg", "a.hir", "a.npy", "a.csv", "a.tiff", "a.seq", "a.bmp", "a")
OPTIONS = (
    {},
    {
        "scale": SCALES["centikelvin"],
        "value_range_c": (20.0, 40.0),
        "overrides": CameraSettings(0.98, 1.0, 20.0, 20.0, 0.5),
    },
)
FOLDER = tempfile.TemporaryDirectory(prefix="ferfusion-fuzz-")


def try_one(data: bytes) -> None:
    """Reads and shows one input; any error but a sentence is a crash."""
    if not data:
        return
    path = Path(FOLDER.name) / NAMES[data[0] % len(NAMES)]
    path.write_bytes(data[1:])
    try:
        read = open_thermogram(path, **OPTIONS[data[0] // len(NAMES) % len(OPTIONS)])
    except FerfusionError as error:
        if "\n" in str(error) or str(path) not in str(error):
            raise AssertionError(f"Not one sentence about this file: {error}") from error
        return
    make_triple(read)


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
