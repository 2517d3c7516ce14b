"""Whatever bytes lie under whatever name: a thermogram or one sentence, and little memory."""

import io
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ferfusion.errors import FerfusionError
from ferfusion.imaging.camera.grids import SCALES
from ferfusion.imaging.camera.opening import open_thermogram
from ferfusion.imaging.camera.triple import make_triple

GREY = np.linspace(0, 255, 24 * 32).reshape(24, 32)
NAMES = ("a.jpg", "a.png", "a.tiff", "a.npy", "a.npz", "a.csv", "a.hir", "a.seq", "a.bmp", "a")


def encode(array: np.ndarray, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, name, **options)
    return buffer.getvalue()


def save(write: Callable[..., None], array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    write(buffer, array)
    return buffer.getvalue()


class Seeds(dict[str, bytes]):
    """Sound files by kind; a failing test shall not print them."""

    def __repr__(self) -> str:
        return "seeds"


@pytest.fixture(scope="module")
def seeds(make_flir: Callable[..., bytes]) -> Seeds:
    counts = (GREY * 9 + 9000).astype(np.uint16)
    photo = np.dstack([GREY.astype(np.uint8)] * 3)
    screen = encode(photo, "JPEG")
    rows = "\n".join(",".join(f"{value:.2f}" for value in row) for row in GREY)
    return Seeds(
        {
            "flir png": make_flir(counts, photo=photo, placement=(1.2, 1, 1)),
            "flir raw": make_flir(counts, photo=photo, photo_format="PNG", is_png=False),
            "fff": make_flir(counts, fff="<"),
            "hir": screen.ljust(0x2000 + len(screen) // 4096 * 4096, b"\0") + bytes(80_000),
            "npy": save(np.save, GREY),
            "npz": save(np.savez_compressed, GREY),
            "csv": rows.encode(),
            "tiff16": encode(counts, "TIFF"),
            "tiff32": encode(GREY.astype(np.float32), "TIFF", compression="tiff_lzw"),
            "png16": encode(counts, "PNG"),
            "jpeg": screen,
            "bmp": encode(photo, "BMP"),
        }
    )


def damage(data: bytes, steps: list[tuple[str, float, bytes]]) -> bytes:
    """Cuts, overwrites, doubles and inserts; places are shares, mostly near the beginning."""
    for what, share, change in steps:
        at = int(len(data) * share**3)
        if what == "cut":
            data = data[:at]
        elif what == "overwrite":
            data = data[:at] + change + data[at + len(change) :]
        elif what == "insert":
            data = data[:at] + change + data[at:]
        else:
            data = data[:at] + data[at // 2 :]
    return data


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "overwrite", "overwrite", "overwrite", "insert", "double"]),
        st.floats(0, 1),
        st.one_of(
            st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff", b"\xff\xd9", b"\xff"]),
            st.binary(min_size=1, max_size=8),
        ),
    ),
    max_size=4,
)


def open_or_fail(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        for scale, value_range_c in ((None, None), (SCALES["centikelvin"], (20.0, 40.0))):
            said = ""
            try:
                read = open_thermogram(path, scale=scale, value_range_c=value_range_c)
            except FerfusionError as error:
                said = str(error)
            if said:
                assert str(path) in said
                assert "\n" not in said
                continue
            assert read.temperature_c.dtype == np.float32
            assert not np.isnan(read.temperature_c).all()
            assert not np.isinf(read.temperature_c).any()
            make_triple(read)


@pytest.mark.parametrize("kind", ["flir png", "flir raw", "fff", "hir", "npy", "npz", "csv",
                                  "tiff16", "tiff32", "png16", "jpeg", "bmp"])  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, name=st.sampled_from(NAMES))
def test_damaged_files(
    kind: str, seeds: Seeds, steps: list[tuple[str, float, bytes]], name: str
) -> None:
    open_or_fail(damage(seeds[kind], steps), name)


BEGINNINGS = (
    *(b"", b"\xff\xd8\xff", b"FFF\0", b"AFF\0", b"\x93NUMPY\1\0", b"\x93NUMPY\3\0", b"PK\3\4"),
    *(b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"BM", b"RIFF", b"\xff\xfe", b"1,2\n3,4\n"),
)


@settings(max_examples=150)
@given(
    head=st.sampled_from(BEGINNINGS),
    rest=st.binary(max_size=300),
    name=st.sampled_from(NAMES),
)
def test_beginnings_with_anything_behind(head: bytes, rest: bytes, name: str) -> None:
    open_or_fail(head + rest, name)


def test_sizes_that_files_claim_cost_no_memory(seeds: Seeds) -> None:
    """Overwrites each pair of bytes of the first 400 of every seed by the largest number."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("flir png", "flir raw", "fff", "npy", "tiff16", "png16"):
        data = seeds[name]
        for at in range(2, 400, 9):
            open_or_fail(data[:at] + b"\xff\xff" + data[at + 2 :], "a")
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 600
