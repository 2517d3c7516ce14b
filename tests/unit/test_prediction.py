"""Files to probabilities, on a graph that looks at the mean colour."""

import itertools
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import parser

from ferfusion.errors import ConfigError, DataError, ImageError
from ferfusion.evaluation.predictions import read_predictions
from ferfusion.inference.graph_front import add_fronts
from ferfusion.inference.model_facts import METADATA_KEY, ModelFacts
from ferfusion.inference.prediction import (
    Answer,
    predict_one,
    predict_stream,
    read_square,
    write_answers,
)
from ferfusion.inference.runner import Runner, open_graph
from ferfusion.modality import Modality
from ferfusion.preprocessing import Preprocessing
from ferfusion.sample import ImageFile, Sample

V, IR = Modality.VISIBLE, Modality.INFRARED
LABELS = ("red", "green", "blue")
SIZE = 16

CORE = f"""
<ir_version: 10, opset_import: ["" : 20]>
core (float[batch, 3, {SIZE}, {SIZE}] visible_normalised,
      float[batch, 3, {SIZE}, {SIZE}] infrared_normalised) => (float[batch, 3] probabilities)
<int64[2] sides = {{2, 3}}>
{{
    both = Add (visible_normalised, infrared_normalised)
    means = ReduceMean <keepdims = 0> (both, sides)
    probabilities = Softmax <axis = 1> (means)
}}
"""


@pytest.fixture(scope="module")
def graph() -> bytes:
    ones = {V: (0.0, 0.0, 0.0), IR: (0.0, 0.0, 0.0)}
    preprocessing = Preprocessing(SIZE, ones, {V: (0.5, 0.5, 0.5), IR: (1.0, 1.0, 1.0)})
    model = add_fronts(parser.parse_model(CORE), (V, IR), preprocessing)
    facts = ModelFacts(LABELS, (V, IR), SIZE, "fp32", 1.0, "early", "none", {})
    onnx.helper.set_model_props(model, {METADATA_KEY: facts.to_text()})
    return model.SerializeToString()


@pytest.fixture(scope="module")
def runner(graph: bytes) -> Runner:
    return open_graph(graph, threads=1)


@pytest.fixture
def make_samples(tmp_path: Path) -> Callable[[int], list[Sample]]:
    """Writes samples of which each has its own colours and its own size."""

    def make(n: int) -> list[Sample]:
        rng = np.random.default_rng(n)
        samples = []
        for number in range(n):
            images = {}
            for modality in (V, IR):
                path = tmp_path / f"{number}-{modality}.jpg"
                colour = rng.integers(0, 256, 3)
                picture = np.broadcast_to(colour, (20 + number % 7, 30, 3)).astype(np.uint8)
                assert cv2.imwrite(str(path), picture)
                images[modality] = ImageFile(path)
            samples.append(
                Sample(
                    f"s{number}", LABELS[number % 3], f"p{number}" if number % 2 else None, images
                )
            )
        return samples

    return make


def expect(sample: Sample) -> np.ndarray:
    """Says what the graph must answer, by another way."""
    means = [
        np.asarray(cv2.imread(str(sample.images[m].path)))[..., ::-1].mean(axis=(0, 1)) / 255
        for m in (V, IR)
    ]
    powers = np.exp(2 * means[0] + means[1])
    return powers / powers.sum()


def test_one_sample(runner: Runner, make_samples: Callable[[int], list[Sample]]) -> None:
    (sample,) = make_samples(1)
    probs = predict_one(runner, sample.images)
    np.testing.assert_allclose(probs, expect(sample), atol=0.01)
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(predict_one(runner, sample.images, pool=pool), probs)
    as_bytes = {m: file.path.read_bytes() for m, file in sample.images.items()}
    assert np.array_equal(predict_one(runner, as_bytes), probs)


def test_one_sample_given_wrongly(runner: Runner) -> None:
    with pytest.raises(ConfigError, match="infrared is missing"):
        predict_one(runner, {V: b"x"})
    with pytest.raises(ImageError, match="The visible picture is not a picture"):
        predict_one(runner, {V: b"x" * 99, IR: b"x"})
    with pytest.raises(ImageError, match="The visible picture is empty"):
        predict_one(runner, {V: b"", IR: b"x"})


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_stream_answers_in_order(
    runner: Runner,
    make_samples: Callable[[int], list[Sample]],
    workers: int,
    batch_size: int,
) -> None:
    samples = make_samples(22)
    answers = list(predict_stream(runner, samples, batch_size=batch_size, workers=workers))
    assert [answer.sample for answer in answers] == samples
    for answer in answers:
        np.testing.assert_allclose(answer.probs, expect(answer.sample), atol=0.01)


def test_stream_of_nothing(runner: Runner) -> None:
    assert list(predict_stream(runner, [])) == []


def test_broken_pictures_are_told_or_raised(
    runner: Runner, make_samples: Callable[[int], list[Sample]]
) -> None:
    samples = make_samples(7)
    for number in (2, 4, 5):  # one in a batch of two, and a whole batch
        samples[number].images[IR].path.write_bytes(b"")
    told: list[tuple[str, str]] = []
    answers = predict_stream(
        runner, samples, batch_size=2, tell_broken=lambda s, e: told.append((s.id, str(e)))
    )
    assert [answer.sample.id for answer in answers] == ["s0", "s1", "s3", "s6"]
    assert [id for id, _ in told] == ["s2", "s4", "s5"]
    assert all("is empty" in sentence for _, sentence in told)
    with pytest.raises(ImageError, match=r"2-infrared.jpg is empty"):
        list(predict_stream(runner, samples, batch_size=2))


def test_stream_is_taken_only_as_far_as_needed(
    runner: Runner, make_samples: Callable[[int], list[Sample]]
) -> None:
    taken = 0

    def endless() -> Iterator[Sample]:
        nonlocal taken
        for sample in itertools.cycle(make_samples(3)):
            taken += 1
            yield sample

    before = threading.active_count()
    answers = predict_stream(runner, endless(), batch_size=2, workers=2)
    for _ in range(5):
        next(answers)
    assert taken <= 5 + 2 * (2 + 2) + 2
    answers.close()
    assert threading.active_count() == before


def test_memory_stays_flat(
    runner: Runner, make_samples: Callable[[int], list[Sample]], tmp_path: Path
) -> None:
    few = make_samples(10)

    def measure(n: int) -> int:
        answers = predict_stream(runner, itertools.islice(itertools.cycle(few), n), workers=2)
        tracemalloc.start()
        try:
            assert write_answers(answers, LABELS, tmp_path / "many.csv") == n
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    measure(40)
    assert measure(400) < 2 * measure(40) + 100_000


def test_written_answers_are_predictions(
    runner: Runner, make_samples: Callable[[int], list[Sample]], tmp_path: Path
) -> None:
    samples = make_samples(6)
    answers = list(predict_stream(runner, samples))
    path = tmp_path / "new" / "predictions.csv"
    assert write_answers(iter(answers), LABELS, path) == 6
    read = read_predictions(path)
    assert read.sample_ids == tuple(s.id for s in samples)
    assert read.subjects == tuple(s.subject for s in samples)
    assert [read.classes[label] for label in read.labels] == [s.expression for s in samples]
    assert np.array_equal(read.probs, [answer.probs for answer in answers])


def test_unknown_class_leaves_no_file(tmp_path: Path) -> None:
    answer = Answer(Sample("s9", "pink", None, {}), np.array([1.0, 0.0, 0.0]))
    with pytest.raises(DataError, match=r"s9 shows 'pink'.*red, green, blue"):
        write_answers([answer], LABELS, tmp_path / "predictions.csv")
    assert list(tmp_path.iterdir()) == []


def test_reduced_decoding_is_near(tmp_path: Path) -> None:
    path = tmp_path / "smooth.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (200, 240, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255
    assert cv2.imwrite(str(path), smooth.astype(np.uint8))
    whole = read_square(ImageFile(path), 48).astype(int)
    reduced = read_square(ImageFile(path), 48, reduced=True).astype(int)
    assert np.abs(whole - reduced).mean() < 3
    assert not np.array_equal(whole, reduced)
    # Where it can't shrink by two, nothing changes.
    assert np.array_equal(
        read_square(ImageFile(path), 150), read_square(ImageFile(path), 150, reduced=True)
    )


def test_running_needs_no_torch(graph: bytes, make_samples: Callable[[int], list[Sample]]) -> None:
    (sample,) = make_samples(1)
    path = sample.images[V].path.with_name("graph.onnx")
    path.write_bytes(graph)
    code = f"""
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
from pathlib import Path
from ferfusion.inference.runner import open_graph
from ferfusion.inference.prediction import predict_one
from ferfusion.modality import Modality
names = ("visible", "infrared")
images = {{Modality(m): Path(f"{path.parent}/0-{{m}}.jpg").read_bytes() for m in names}}
print(*predict_one(open_graph(Path("{path}"), threads=1), images))
assert not {{"torchvision", "timm", "lightning_fabric", "onnxscript"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose([float(p) for p in done.stdout.split()], expect(sample), atol=0.01)
