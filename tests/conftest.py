"""Shape checks for everything the tests import, a cache that is not the user's, and easy data."""

import io
import os
import signal
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

# Tiny tensors gain nothing by threads, and on a busy machine threads that wait for each other made
# this suite ten times slower. Before torch is imported; processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# Some tests import ONNX Runtime themselves, which then would tell its makers.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# The hook below makes Python look for bytecode under a name of its own, also for what our modules
# import; these are big, and would be compiled anew wherever bytecode isn't written.
import cv2
import hypothesis
import lightning_fabric  # noqa: F401
import matplotlib.figure  # noqa: F401
import numpy as np
import onnx
import onnx.helper
import onnx.parser
import pytest
import scipy.stats  # noqa: F401
import sklearn.metrics  # noqa: F401
import timm  # noqa: F401
from jaxtyping import install_import_hook
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

# Before anything of ferfusion is imported: its functions then check types and shapes of arrays.
install_import_hook(
    "ferfusion", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

# Fetched once for all sessions; everything else that is cached is each session's own.
_weights = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ferfusion", "weights")
_cache = tempfile.TemporaryDirectory(prefix="ferfusion-tests-")
# Set here and not in a fixture, so that processes and fixtures of any scope see it.
os.environ["XDG_CACHE_HOME"] = _cache.name
os.environ.pop("FERFUSION_CACHE", None)

from ferfusion.data.cache import ImageStore  # noqa: E402
from ferfusion.data.splits import Split  # noqa: E402
from ferfusion.errors import WeightsError  # noqa: E402
from ferfusion.evaluation.coverage import AnswerRule  # noqa: E402
from ferfusion.imaging.faces.detector import FaceDetector  # noqa: E402
from ferfusion.imaging.faces.weights import fetch_weights  # noqa: E402
from ferfusion.inference.bundle import write_bundle  # noqa: E402
from ferfusion.inference.graph_front import add_fronts  # noqa: E402
from ferfusion.inference.model_facts import (  # noqa: E402
    METADATA_KEY,
    OUTPUT,
    ModelFacts,
    name_picture,
)
from ferfusion.modality import MODALITIES, Modality  # noqa: E402
from ferfusion.preprocessing import Preprocessing  # noqa: E402
from ferfusion.sample import ImageFile, Sample  # noqa: E402

# Whoever runs this behind `nohup` or `&` has Ctrl-C ignored, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

LABELS = ("angry", "happy", "neutral")


@pytest.fixture(scope="session", autouse=True)
def cache_folder() -> Iterator[Path]:
    """Decoded pictures of the whole session; gone afterwards."""
    yield Path(_cache.name)
    _cache.cleanup()


@pytest.fixture(scope="session")
def detector_weights() -> Path:
    """Gives the weights of the face detector, fetched if this machine has none."""
    try:
        return fetch_weights(_weights)
    except WeightsError as error:
        pytest.skip(f"needs the face detector: {error}")


@pytest.fixture(scope="session")
def detector(detector_weights: Path) -> FaceDetector:
    """Finds faces."""
    return FaceDetector(detector_weights)


@pytest.fixture(scope="session")
def make_store() -> Callable[..., ImageStore]:
    """Makes stores of noise in which each class has its colour, in every modality its own."""

    def make(n: int = 42, size_px: int = 32, noise: int = 60, seed: int = 0) -> ImageStore:
        rng = np.random.default_rng(seed)
        samples = tuple(
            Sample(
                id=f"face{row:03d}",
                expression=LABELS[row % len(LABELS)],
                subject=f"s{row // len(LABELS)}",
                images={m: ImageFile(Path(f"{m}/{row}.png")) for m in MODALITIES},
            )
            for row in range(n)
        )
        pictures = {}
        for turn, modality in enumerate(MODALITIES):
            array = rng.integers(90 - noise // 2, 90 + noise // 2, (n, size_px, size_px, 3))
            for row in range(n):
                array[row, :, :, (row + turn) % len(LABELS)] += 60
            pictures[modality] = array.astype(np.uint8)
        name = f"fake-{n}-{size_px}-{seed}"
        digests = {m: tuple(f"{name}-{m}-{row}" for row in range(n)) for m in MODALITIES}
        return ImageStore(size_px, samples, pictures, digests, fingerprint=name)

    return make


@pytest.fixture(scope="session")
def make_split() -> Callable[[ImageStore], Split]:
    """Makes splits of 4 : 1 : 1 by subject."""

    def make(store: ImageStore) -> Split:
        parts = {"train": [], "val": [], "test": []}
        for sample in store.samples:
            turn = int(str(sample.subject)[1:]) % 6
            parts["val" if turn == 4 else "test" if turn == 5 else "train"].append(sample.id)
        return Split("subject", 0, {part: tuple(ids) for part, ids in parts.items()})

    return make


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a bundle of visible and infrared that is asked in a millisecond.

    Each class is the more probable the more of its colour there is, in visible twice as much as
    in infrared.
    """
    folder = tmp_path_factory.mktemp("tiny")
    graph = folder / "tiny.onnx"
    _write_tiny_graph(graph, LABELS)
    facts = {
        "name": "tiny",
        "test": {"n": 90, "correct": 76},
        "trained_on": {
            "note": "Noise of three colours.",
            "samples": {"train": 420, "val": 90, "test": 90},
            "people_learned_from": 70,
            "leaks": [],
            "shared_people": 0,
        },
    }
    rule = AnswerRule(least_confidence=0.45, coverage=0.9, n=90)
    write_bundle(folder / "TINY", graph, rule=rule, facts=facts, texts={})
    return folder / "TINY"


def _write_tiny_graph(path: Path, labels: tuple[str, ...]) -> None:
    modalities = (Modality.VISIBLE, Modality.INFRARED)
    nodes = [helper.make_node("Add", ["of_visible", "of_infrared"], ["logits"])]
    nodes.append(helper.make_node("Softmax", ["logits"], [OUTPUT], axis=-1))
    constants = [numpy_helper.from_array(np.array([1, 2], np.int64), "rows_and_columns")]
    inputs = []
    for modality, steepness in zip(modalities, (0.04, 0.02), strict=True):
        name = name_picture(modality)
        inputs.append(helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", "h", "w", 3]))
        constants.append(numpy_helper.from_array(np.float32(steepness), f"steep_{modality}"))
        nodes[:0] = [
            helper.make_node("Cast", [name], [f"float_{modality}"], to=TensorProto.FLOAT),
            helper.make_node(
                "ReduceMean",
                [f"float_{modality}", "rows_and_columns"],
                [f"mean_{modality}"],
                keepdims=0,
            ),
            helper.make_node("Mul", [f"mean_{modality}", f"steep_{modality}"], [f"of_{modality}"]),
        ]
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", len(labels)])
    graph = helper.make_graph(nodes, "tiny", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    facts = ModelFacts(labels, modalities, 32, "fp32", 1.0, "early", "colours", {})
    helper.set_model_props(model, {METADATA_KEY: facts.to_text()})
    onnx.save(model, path)


@pytest.fixture(scope="session")
def make_flir() -> Callable[..., bytes]:
    """Writes the bytes of a FLIR radiometric JPEG, by what exiftool documents of them."""
    return _write_flir


FLIR_CALIBRATION: dict[int, tuple[str, float]] = {
    0x20: ("f", 0.98),  # emissivity
    0x24: ("f", 1.0),  # distance in metres
    0x28: ("f", 293.15),  # reflected temperature
    0x2C: ("f", 293.15),  # of the air
    0x30: ("f", 293.15),  # of a window
    0x34: ("f", 1.0),  # what the window lets through
    0x3C: ("f", 0.5),  # relative humidity
    0x58: ("f", 17000.0),  # Planck R1
    0x5C: ("f", 1440.0),  # B
    0x60: ("f", 1.0),  # F
    0x70: ("f", 0.006569),  # alpha 1
    0x74: ("f", 0.01262),  # alpha 2
    0x78: ("f", -0.002276),  # beta 1
    0x7C: ("f", -0.00667),  # beta 2
    0x80: ("f", 1.9),  # X
    0x308: ("i", -5000),  # Planck O
    0x30C: ("f", 0.0131),  # R2
}


def _write_flir(
    counts: np.ndarray,
    *,
    photo: np.ndarray | None = None,
    photo_format: str = "JPEG",
    placement: tuple[float, int, int] | None = None,
    is_png: bool = True,
    calibration: dict[int, float] | None = None,
    fff: str | None = None,
) -> bytes:
    """Writes the bytes; with `fff` the byte order of a bare FFF file, "<" or ">"."""
    height, width = counts.shape
    values = {at: value for at, (_, value) in FLIR_CALIBRATION.items()} | (calibration or {})
    info = bytearray(1024)
    info[:2] = b"\2\0"
    for at, (code, _) in FLIR_CALIBRATION.items():
        struct.pack_into("<" + code, info, at, values[at])
    info[212:221] = b"FLIR Test"
    body = counts.astype("<u2").tobytes()
    if is_png:
        body = _encode(counts.byteswap(), "PNG")  # as cameras do, in the wrong order
    records = {1: struct.pack("<HHH26x", 2, width, height) + body, 32: bytes(info)}
    if photo is not None:
        size = struct.pack("<HHH26x", 3, photo.shape[1], photo.shape[0])
        records[14] = size + _encode(photo, photo_format)
    if placement is not None:
        records[42] = struct.pack("<fhh24x", *placement)
    order = fff or ">"
    directory, offset = b"", 64 + 32 * len(records)
    for kind, record in records.items():
        directory += struct.pack(order + "HHIIII12x", kind, 1, 100, 1, offset, len(record))
        offset += len(record)
    head = b"FFF\0" + bytes(16) + struct.pack(order + "III", 100, 64, len(records))
    block = head.ljust(64, b"\0") + directory + b"".join(records.values())
    if fff:
        return block
    parts = [block[start : start + 65_000] for start in range(0, len(block), 65_000)]
    segments = b"".join(
        b"\xff\xe1"
        + struct.pack(">H", len(part) + 10)
        + b"FLIR\0\1"
        + bytes((number, len(parts) - 1))
        + part
        for number, part in enumerate(parts)
    )
    screen = _encode(np.full((48, 64, 3), 90, np.uint8), "JPEG")
    return screen[:2] + segments + screen[2:]


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Writes RGB frames as a video; `times_s` are stamped onto them, uneven as they may be."""

    def write(
        path: Path,
        frames: Iterable[np.ndarray],
        *,
        rate_hz: float = 10.0,
        times_s: Sequence[float] | None = None,
    ) -> Path:
        writer = None
        for frame in frames:
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                size = frame.shape[1], frame.shape[0]
                writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate_hz, size)
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        assert writer is not None
        writer.release()
        if times_s is not None:
            path.write_bytes(_stamp(path.read_bytes(), times_s))
        return path

    return write


def _stamp(data: bytes, times_s: Sequence[float]) -> bytes:
    """Gives an MP4 file of OpenCV other times: ISO/IEC 14496-12, sections 8.6.1.2 and 8.6.6."""
    # Its list of edits would end where the even frames end.
    data = data.replace(b"elst", b"free")
    at = data.index(b"mdhd")
    (scale,) = struct.unpack_from(">I", data, at + 16)
    steps = np.diff([round(t * scale) for t in (*times_s, times_s[-1] + 0.1)])
    entries = b"".join(struct.pack(">II", 1, step) for step in steps)
    at = data.index(b"stts") - 4
    (length,) = struct.unpack_from(">I", data, at)
    table = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(steps)) + entries
    grown = bytearray(data[:at] + table + data[at + length :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        box = data.rindex(name, 0, at) - 4
        (length,) = struct.unpack_from(">I", grown, box)
        struct.pack_into(">I", grown, box, length + len(grown) - len(data))
    return bytes(grown)


_CORE = """
<ir_version: 10, opset_import: ["" : 20]>
core ({inputs}) => (float[batch, 2] probabilities)
<int64[3] axes = {{1, 2, 3}}, float[1, 1] one = {{1.0}}>
{{
    {means}
    light = Unsqueeze (mean, last)
    dark = Sub (one, light)
    probabilities = Concat <axis = 1> (dark, light)
}}
"""


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Path]:
    """Writes a bundle that says how light the pictures are, on average over its modalities."""

    def make(path: Path, *modalities: str, least_confidence: float = 0.0) -> Path:
        size = 16
        shape = f"float[batch, 3, {size}, {size}]"
        inputs = ", ".join(f"{shape} {m}_normalised" for m in modalities)
        parts = [f"m{n} = ReduceMean <keepdims = 0> ({m}_normalised, axes)"
                 for n, m in enumerate(modalities)]  # fmt: skip
        sums = ", ".join(f"m{n}" for n in range(len(modalities)))
        parts += [f"mean = Mean ({sums})", "last = Constant <value_ints = [1]> ()"]
        core = _CORE.format(inputs=inputs, means="\n    ".join(parts))
        chosen = tuple(Modality(m) for m in modalities)
        preprocessing = Preprocessing(
            size, dict.fromkeys(chosen, (0.0,) * 3), dict.fromkeys(chosen, (1.0,) * 3)
        )
        model = add_fronts(onnx.parser.parse_model(core), chosen, preprocessing)
        facts = ModelFacts(("dark", "light"), chosen, size, "fp32", 1.0, "single", "none", {})
        onnx.helper.set_model_props(model, {METADATA_KEY: facts.to_text()})
        graph = path.with_name(f"{path.stem}.onnx")
        graph.write_bytes(model.SerializeToString())
        write_bundle(path, graph, rule=AnswerRule(least_confidence, 0.9, 10), facts={}, texts={})
        return path

    return make


def _encode(array: np.ndarray, name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, name)
    return buffer.getvalue()
