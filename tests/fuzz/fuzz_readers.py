"""Looks for bytes that make a reader fail otherwise than with one of our sentences.

Run by hand, as atheris is no dependency and knows no end. TARGET is zip, table, picture, grid,
split or model. Small sound files of its kind are written into SEEDS first, if it isn't there; what
is found lands in the folder one is in, as crash-*, oom-* or timeout-*:

    pip install atheris
    python tests/fuzz/fuzz_readers.py TARGET SEEDS -max_len=20000 -timeout=10 -rss_limit_mb=2000 \
        -max_total_time=300

Camera files have a harness of their own, fuzz_camera.py.
"""

import io
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris
import numpy as np
from PIL import Image

INSTRUMENTED = {
    "zip": ["ferfusion.unpacking", "zipfile"],
    "table": ["ferfusion.data.table", "ferfusion.data.subjects"],
    "picture": ["ferfusion.imaging.files", "PIL"],
    "grid": ["ferfusion.imaging.camera.text_grid"],
    "split": ["ferfusion.data.splits"],
    "model": ["ferfusion.models.checkpoint", "ferfusion.models.blueprint"],
}
TARGET = sys.argv[1] if len(sys.argv) > 1 else ""
if TARGET not in INSTRUMENTED:
    sys.exit(f"Give one of {', '.join(INSTRUMENTED)}, and a folder for small sound files.")

with atheris.instrument_imports(include=INSTRUMENTED[TARGET]):
    from ferfusion.data.dataset import Dataset
    from ferfusion.data.listing import list_pictures
    from ferfusion.data.splits import read_split
    from ferfusion.data.subjects import name_subjects
    from ferfusion.data.table import read_table
    from ferfusion.errors import FerfusionError
    from ferfusion.imaging.camera.text_grid import holds_grid, read_text_grid
    from ferfusion.imaging.file_bytes import read_bytes
    from ferfusion.imaging.files import (
        decode_image,
        decode_levels,
        read_camera,
        read_depth,
        read_image,
        read_image_size,
        read_taken_at,
    )
    from ferfusion.modality import Modality
    from ferfusion.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
    from ferfusion.sample import ImageFile, Sample
    from ferfusion.unpacking import unpack_zip

    if TARGET == "model":
        from ferfusion.models.blueprint import Blueprint
        from ferfusion.models.checkpoint import FACTS, TENSORS, load_checkpoint

ROOM = Path(tempfile.mkdtemp(prefix="ferfusion-fuzz-"))
GREY = np.linspace(0, 255, 12 * 16).reshape(12, 16)
SAMPLES = (Sample("happy/a", "happy", None, {Modality.VISIBLE: ImageFile(ROOM / "a.png")}),)


def try_zip(data: bytes) -> None:
    """Unpacks, whole or not at all, and lists what is inside."""
    path, out = ROOM / "a.zip", ROOM / "out"
    path.write_bytes(data)
    try:
        refuse_otherwise(path, lambda: unpack_zip(path, out, suffixes=frozenset({".png", ".txt"})))
        refuse_otherwise(path, lambda: read_members(path))
        if strays := {p.name for p in ROOM.iterdir()} - {"a.zip", "out"}:
            raise AssertionError(f"Left behind: {strays}")
    finally:
        shutil.rmtree(out, ignore_errors=True)


def read_members(path: Path) -> None:
    """Reads what the list of an archive names, as readers of packed data sets do."""
    for picture in list_pictures(path)[0]:
        refuse_otherwise(path, lambda picture=picture: read_bytes(picture.file))


def try_table(data: bytes) -> None:
    """Reads a table of samples, and the same bytes as a table of subjects."""
    path, subjects = ROOM / "a.csv", ROOM / "subjects.csv"
    path.write_bytes(data)
    subjects.write_bytes(data)
    dataset = Dataset(ROOM, "", "", None, ("happy",), SAMPLES)
    refuse_otherwise(path, lambda: read_table(path))
    refuse_otherwise(subjects, lambda: name_subjects(dataset))


def try_picture(data: bytes) -> None:
    """Reads a picture in all the ways there are."""
    file = ImageFile(ROOM / "a.png")
    file.path.write_bytes(data)
    for read in (read_image, read_image_size, read_taken_at):
        refuse_otherwise(file.path, lambda read=read: read(file))
    for decode in (read_camera, read_depth):
        refuse_otherwise(file.path, lambda decode=decode: decode(file, data))
    refuse_otherwise(file.path, lambda: decode_levels(file, data, max_pixels=4_000_000))
    refuse_otherwise(file.path, lambda: decode_image(file, data, at_least_px=8))


def try_grid(data: bytes) -> None:
    """Reads a text grid."""
    holds_grid(data)
    refuse_otherwise(Path("a.csv"), lambda: read_text_grid("a.csv", data, 4_000_000))


def try_split(data: bytes) -> None:
    """Reads a split file."""
    path = ROOM / "split.csv"
    path.write_bytes(data)
    refuse_otherwise(path, lambda: read_split(path))


def try_model(data: bytes) -> None:
    """Reads a model's facts, or its tensors under sound facts."""
    (ROOM / FACTS).write_bytes(data)
    (ROOM / TENSORS).write_bytes(data)
    refuse_otherwise(ROOM, lambda: load_checkpoint(ROOM))


def refuse_otherwise(path: Path, read: Callable[[], object]) -> None:
    """Lets pass what is read, and what is refused with a sentence about the file."""
    try:
        read()
    except FerfusionError as error:
        if str(path) not in str(error):
            raise AssertionError(f"Not about this file: {error}") from error


def list_seeds() -> Iterable[bytes]:
    """Gives small sound files of the target's kind."""
    if TARGET == "zip":
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", method) as archive:
                archive.writestr("in/a.png", b"a" * 40)
                archive.writestr("b.txt", b"b" * 40)
            yield packed.getvalue()
    elif TARGET == "table":
        yield b"sample_id,subject,expression,visible\na,S1,happy,a.png\n"
        yield b'\xef\xbb\xbfstem,subject,expression\r\n"a","x, y",happy\r\n'
    elif TARGET == "picture":
        colours = np.dstack([GREY.astype(np.uint8)] * 3)
        exif = Image.Exif()
        exif[0x0112] = 6
        exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
        for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP"):
            yield encode(colours, kind, **({} if kind == "BMP" else {"exif": exif}))
        for deep in (GREY.astype(np.uint16) * 200, GREY.astype(np.float32)):
            yield encode(deep, "TIFF", compression="tiff_lzw")
        yield encode(GREY.astype(np.uint16), "PNG")
        palette = io.BytesIO()
        Image.fromarray(colours).convert("P").save(palette, "PNG", transparency=3)
        yield palette.getvalue()
    elif TARGET == "grid":
        for between in (",", ";", "\t", "   "):
            rows = (between.join(f"{value:.1f}" for value in row) for row in GREY)
            yield ("Camera: x\n" + "\n".join(rows)).encode()
    elif TARGET == "split":
        yield b"sample_id,part\na,train\nb,val\nc,test\n"
        yield b"# kind=subject seed=3 checksum=00\nsample_id,part\na,train\n"
    else:
        for fusion, mixture in (("single", None), ("late", {Modality.VISIBLE: 1.0})):
            blueprint = Blueprint(fusion, "resnet18", (Modality.VISIBLE,), ("a", "b"), 1.0, mixture)
            preprocessing = Preprocessing(
                32, {Modality.VISIBLE: IMAGENET_MEAN}, {Modality.VISIBLE: IMAGENET_STD}
            )
            facts = {"format": 1, "recipe": {}, "blueprint": blueprint.to_json()}
            yield json.dumps(facts | {"preprocessing": preprocessing.to_json()}).encode()


def encode(array: np.ndarray, kind: str, **options: object) -> bytes:
    """Gives the bytes of a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    if not folder.exists():
        folder.mkdir(parents=True)
        for number, seed in enumerate(list_seeds()):
            (folder / f"{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], globals()[f"try_{TARGET}"])
    atheris.Fuzz()
