"""`ferfusion prepare` on folders in which good pictures lie beside all that shouldn't be there."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ferfusion.data.opening import open_dataset
from ferfusion.data.synthetic import draw_sample
from ferfusion.imaging.drawn.identity import draw_identity
from ferfusion.imaging.faces.weights import VARIABLE
from ferfusion.imaging.files import read_image
from ferfusion.modality import Modality
from ferfusion.preparation import folder as preparing
from ferfusion.preparation.folder import RECORDS
from ferfusion.preparation.reading import UNLABELLED
from ferfusion.preparation.recipe import Record, read_records
from ferfusion.preparation.sample import prepare_sample
from ferfusion.preparation.tables import list_files
from ferfusion.sample import ImageFile, Sample

Ferfusion = Callable[..., Any]
SIDE = 96


def encode(picture: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return buffer.getvalue()


def draw(who: int) -> dict[str, bytes]:
    face = draw_sample(
        draw_identity(who), "happy", light="even", intensity=0.8, seed=who, size_px=SIDE,
        misalignment=0.0,
    )  # fmt: skip
    grid = io.BytesIO()
    np.save(grid, face.temperature_c)
    return {"vis": encode(face.visible), "ir": encode(face.infrared), "npy": grid.getvalue()}


FACES = [draw(who) for who in (1, 4, 7)]
GOOD = FACES[0]["vis"]
JPEG = encode(np.full((40, 40, 3), 90, np.uint8), "JPEG")


def claim_size(width: int, height: int) -> bytes:
    """Gives a PNG whose header says that it is as large as that."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return GOOD[:8] + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + GOOD[33:]


def zip_up(members: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def claim_grid(kind: str, shape: tuple[int, ...]) -> bytes:
    """Gives a NumPy file with nothing behind its header."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\1\0v\0" + head.ljust(117).encode() + b"\n"


BYTES = {
    "empty": b"",
    "short": GOOD[: len(GOOD) // 2],
    "short jpeg": JPEG[: len(JPEG) // 2],
    "header only": GOOD[:33],
    "huge": claim_size(60_000, 60_000),
    "flat and wide": claim_size(2**31 - 1, 1),
    "text": b"this is no picture",
    "page": b"<!doctype html><html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "jpeg under another name": JPEG,
    "archive": zip_up({"a.png": GOOD, "../b.png": GOOD}),
    "swelling archive": zip_up({"a.png": bytes(10**6)}),
    "broken archive": zip_up({"a.png": GOOD})[:-30],
    "huge grid": claim_grid("<f8", (999_999, 999_999)),
    "pickle": claim_grid("|O", (3,)),
    "grid": FACES[0]["npy"],
    "numbers": b"20.5,30.1\n31,32.5\n" * 4,
    "table": b"sample_id,subject\nx,../../y\n\"open,z\n",
    "table of nothing": b"\0" * 50,
    "table with a formula": b"sample_id,subject,expression\n=1+1,a,b\n",
}  # fmt: skip
NAMES = (
    *("a.png", "b.jpg", "a_vis.png", "a_ir.png", "a_msx.png", "c.tiff", "d.bmp", "e.webp"),
    *("f.npy", "g.csv", "h.zip", "i", "j.JPG", ".hidden.png", "k\nl.png", "ü ß, \"q'.png"),
    *("-m.png", "n.png.png", "=cmd().png", "o" * 200 + ".png", os.fsdecode(b"p\xff.png")),
    *("subjects.csv", "samples.csv", "VIRI-Happy-Vis.zip", "Thumbs.db", "CON.png", "x/y.png"),
)
FOLDERS = ("happy", "sad", "happy/visible", "sad/infrared", "", "other", "happy/S01", "temperature")
WAYS = ("link to nothing", "link to itself", "link out", "folder", "pipe", "link up", "not allowed")


def strew(root: Path, folder: str, name: str, what: str) -> None:
    """Puts something into a folder, unless something is there."""
    path = root / folder / name
    if path.is_symlink() or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if what in BYTES:
        path.write_bytes(BYTES[what])
    elif what == "random":
        path.write_bytes(np.random.default_rng(len(name)).bytes(500))
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "not allowed":
        path.write_bytes(GOOD)
        path.chmod(0)
    else:
        goals = {"link to nothing": "gone.png", "link to itself": path.name, "link up": root}
        path.symlink_to(goals.get(what, root.parent / "outside.png"))


strewn = st.lists(
    st.tuples(
        st.sampled_from(FOLDERS), st.sampled_from(NAMES), st.sampled_from([*BYTES, *WAYS, "random"])
    ),
    max_size=12,
)


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch, detector_weights: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(detector_weights))


def check(
    ferfusion: Ferfusion,
    monkeypatch: pytest.MonkeyPatch,
    room: Path,
    clutter: list[tuple[str, str, str]],
    n_good: int,
    options: tuple[object, ...],
) -> None:
    """Prepares a folder twice, and once more with a picture added."""
    data, out = room / "data", room / "prepared"
    data.mkdir()
    (room / "outside.png").write_bytes(GOOD)
    for number, face in enumerate(FACES[:n_good]):
        for feeling in ("happy", "sad"):
            for kind in ("vis", "ir"):
                path = data / feeling / f"good{number}_{kind}.png"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(face[kind])
    for folder, name, what in clutter:
        try:
            strew(data, folder, name, what)
        except OSError:  # a name that is a file already is no folder
            continue
    done: list[str] = []

    def note(sample: Sample, *rest: Any) -> Any:
        done.append(sample.id)
        return prepare_sample(sample, *rest)

    monkeypatch.setattr(preparing, "prepare_sample", note)
    line = ("prepare", data, "--out", out, "--size", 32, "--workers", 1, *options)
    first = ferfusion(*line)
    assert first.code in (0, 2)
    assert "Traceback" not in first.out + first.err
    assert {path.name for path in room.iterdir()} <= {"data", "outside.png", "prepared"}
    if first.code == 2:
        assert not out.exists()
        assert first.err.count("Error: ") == 1
        return
    records = read_records(out / RECORDS)
    assert sorted(done) == sorted(record.sample_id for record in records)
    check_data_set(out, records)
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    done.clear()
    assert ferfusion(*line).code == 0
    assert done == []
    assert read_records(out / RECORDS) == records
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before
    if not n_good:  # what the folders mean could change with one more picture
        return
    known = {record.sample_id for record in records}
    (data / "happy" / "later_vis.png").write_bytes(GOOD)
    third = ferfusion(*line)
    assert third.code in (0, 2), third.said
    assert len(set(done) - known) <= 1
    check_data_set(out, read_records(out / RECORDS))


def check_data_set(out: Path, records: list[Record]) -> None:
    """Looks whether all is there that the table says, and nothing else."""
    for record in records:
        assert record.kept == (record.reason == "")
    kept = [record for record in records if record.kept]
    files = {out / path for record in kept for path in list_files(record)}
    assert {p for m in Modality for p in (out / str(m)).rglob("*.png")} == {
        path for path in files if path.suffix == ".png"
    }
    for path in files:
        if path.suffix == ".png":
            assert read_image(ImageFile(path)).shape == (32, 32, 3)
        else:
            assert np.load(path, allow_pickle=False).shape == (32, 32)
    labels = {record.expression for record in kept}
    if len(labels) > 1 and UNLABELLED not in labels:
        dataset = open_dataset(out)
        assert {sample.id for sample in dataset.samples} == {record.sample_id for record in kept}
        assert not dataset.leftovers


N_FOLDERS = int(os.environ.get("FERFUSION_HOSTILE_FOLDERS", "12"))
"""More by hand, with --timeout 0: 200 take some ten minutes."""

WAYS_TO_PREPARE = (
    ("--whole", "--no-align"),
    ("--whole", "--least-quality", 0),
    ("--least-quality", 0, "--least-face", 20),
)


@settings(
    max_examples=N_FOLDERS,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(clutter=strewn, n_good=st.integers(0, 2), options=st.sampled_from(WAYS_TO_PREPARE))
def test_a_folder_of_anything_is_prepared_or_refused(
    ferfusion: Ferfusion,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    clutter: list[tuple[str, str, str]],
    n_good: int,
    options: tuple[object, ...],
) -> None:
    check(ferfusion, monkeypatch, tmp_path_factory.mktemp("hostile"), clutter, n_good, options)
