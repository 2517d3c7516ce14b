import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferfusion.data.cache import resize
from ferfusion.inference.graph_front import build_front
from ferfusion.inference.model_facts import name_normalised, name_picture
from ferfusion.modality import Modality

SIZE = 24
MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
INFRARED = Modality.INFRARED


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    front = build_front(INFRARED, SIZE, MEAN, STD, opset=20, ir_version=10)
    onnx.checker.check_model(front, full_check=True)
    return onnxruntime.InferenceSession(
        front.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(session: onnxruntime.InferenceSession, pictures: np.ndarray) -> np.ndarray:
    """Gives what the graph made of bytes, back on the scale of bytes, channels last."""
    (out,) = session.run([name_normalised(INFRARED)], {name_picture(INFRARED): pictures})
    out = np.asarray(out)
    assert out.shape == (len(pictures), 3, SIZE, SIZE)
    return (out.transpose(0, 2, 3, 1) * np.array(STD) + np.array(MEAN)) * 255


@settings(max_examples=60)
@given(
    height=st.integers(1, 4 * SIZE), width=st.integers(1, 4 * SIZE), seed=st.integers(0, 2**32 - 1)
)
def test_resize_is_that_of_the_cache(
    session: onnxruntime.InferenceSession, height: int, width: int, seed: int
) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    difference = np.abs(run(session, picture[None])[0] - resize(picture, SIZE))
    # One level, where an average lies between two levels.
    assert difference.max() < 1.01
    assert difference.mean() < 0.3


@pytest.mark.parametrize("shape", [(10, 17), (7, 61), (23, 24), (12, 12)])
def test_growing_is_exact(session: onnxruntime.InferenceSession, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    difference = np.abs(run(session, picture[None])[0] - resize(picture, SIZE))
    assert (difference > 0.01).mean() < 0.005


@pytest.mark.parametrize("shape", [(50, 61), (25, 90), (48, 48), (48, 49), (72, 72), (96, 96)])
def test_shrinking_is_exact(session: onnxruntime.InferenceSession, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    difference = np.abs(run(session, picture[None])[0] - resize(picture, SIZE))
    assert (difference > 0.01).mean() < 0.005


def test_right_size_passes_as_it_is(session: onnxruntime.InferenceSession) -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_allclose(run(session, pictures), pictures, atol=1e-3)
