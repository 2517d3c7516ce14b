"""A model in use: every form of a picture, the same answers, errors that say what was wanted."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ferfusion
from ferfusion import Predictor, load
from ferfusion.errors import CheckpointError, ConfigError, DataError, ImageError
from ferfusion.evaluation.coverage import AnswerRule
from ferfusion.inference import bundle
from ferfusion.inference.model_facts import ModelFacts, name_picture
from ferfusion.inference.predictor import Prediction, Unusable
from ferfusion.inference.runner import Runner
from ferfusion.modality import Modality
from ferfusion.preprocessing import HeatInput

V, IR = Modality.VISIBLE, Modality.INFRARED
LABELS = ("dark", "light")


def make_predictor(
    *modalities: Modality, least: float | None = None, heat: HeatInput | None = None
) -> Predictor:
    """Gives a model that says how light the pictures are, taken together."""
    facts = ModelFacts(LABELS, modalities, 8, "fp32", 1.0, "single", "none", {}, heat)

    def ask(pictures: dict[str, np.ndarray]) -> np.ndarray:
        means = [pictures[name_picture(m)].mean(axis=(1, 2, 3)) / 255 for m in modalities]
        light = np.mean(means, axis=0)
        return np.stack([1 - light, light], axis=1).astype(np.float32)

    rule = None if least is None else AnswerRule(least, 0.9, 10)
    return Predictor(lambda _: Runner(facts, ask), rule, "brightness")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "light.png"
    Image.new("RGB", (24, 20), (204, 204, 204)).save(path)
    return path


FORMS: dict[str, Callable[[Path], object]] = {
    "path": lambda p: p,
    "text": str,
    "bytes": lambda p: p.read_bytes(),
    "file": lambda p: p.open("rb"),
    "stream": lambda p: io.BytesIO(p.read_bytes()),
    "pillow": Image.open,
    "array": lambda p: np.asarray(Image.open(p)),
    "bytearray": lambda p: bytearray(p.read_bytes()),
    "memoryview": lambda p: memoryview(p.read_bytes()),
    "one channel": lambda p: np.asarray(Image.open(p).convert("L"))[:, :, None],
    "grey array": lambda p: np.asarray(Image.open(p).convert("L")),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_picture_gives_the_same_answer(form: str, picture: Path) -> None:
    given = FORMS[form](picture)
    answer = make_predictor(V).predict(visible=given)
    assert answer.label == "light"
    assert answer.confidence == pytest.approx(0.8, abs=1e-6)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    if isinstance(given, io.IOBase):
        given.close()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (3, "of the type int"),
        (np.zeros((4, 4)), "an array of float64, 4 x 4"),
        (np.zeros((4, 4, 4), np.uint8), "an array of uint8, 4 x 4 x 4"),
        (np.zeros((0, 4, 3), np.uint8), "an array of uint8, 0 x 4 x 3"),
        (np.zeros((1, 1), np.uint8), "is 1 x 1 pixels, and models look at a face of 16 x 16"),
        (np.zeros((5, 2000, 3), np.uint8), "is 2000 x 5 pixels"),
        (io.StringIO("text"), "a file opened as text"),
        (b"nonsense" * 9, "The visible picture is not a picture"),
        (b"", "The visible picture is empty"),
        ("nowhere.jpg", "nowhere.jpg does not exist"),
        (Image.new("L", (9000, 9000)), "more than 64 megapixels"),
    ],
)
def test_what_is_no_picture_is_named(given: object, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        make_predictor(V).predict(visible=given)


def test_a_file_that_cannot_be_read_from_is_named(picture: Path) -> None:
    closed = picture.open("rb")
    closed.close()
    with pytest.raises(ferfusion.DataError, match="is a file that was closed"):
        make_predictor(V).predict(visible=closed)
    with picture.open(encoding="utf-8") as text, pytest.raises(DataError, match="no binary file"):
        make_predictor(V).predict(visible=text)


def test_errors_are_at_the_top() -> None:
    assert ferfusion.DataError is DataError
    assert ferfusion.ConfigError is ConfigError
    assert issubclass(DataError, ferfusion.FerfusionError)
    assert ferfusion.Unusable is Unusable
    assert repr(make_predictor(V, IR)) == "<Predictor model of visible, infrared: brightness>"


def test_a_stream_goes_on_after_a_sample_that_lacks_a_modality(picture: Path) -> None:
    whole = {"visible": picture, "infrared": picture}
    answers = list(make_predictor(V, IR).predict_stream([whole, {"visible": picture}, whole]))
    assert [isinstance(answer, Unusable) for answer in answers] == [False, True, False]
    assert answers[1] == Unusable("there is no infrared picture")


def test_what_is_no_stream_is_named(tiny_bundle: Path) -> None:
    # In a process of its own, where nobody checks types.
    code = """
import sys
from ferfusion import ConfigError, load
for samples in ({"visible": "a.jpg"}, ["a.jpg"]):
    try:
        list(load(sys.argv[1]).predict_stream(samples))
    except ConfigError as error:
        print(error)
"""
    line = [sys.executable, "-c", code, str(tiny_bundle)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "takes any number of samples, and this is one" in done.stdout
    assert "not of the type str" in done.stdout


def test_wrong_modalities_say_which_were_expected(picture: Path) -> None:
    model = make_predictor(V, IR)
    with pytest.raises(ConfigError, match=r"visible and infrared \(missing: infrared\)"):
        model.predict(visible=picture)
    with pytest.raises(ConfigError, match="missing: visible, infrared"):
        model.predict()
    with pytest.raises(ConfigError, match="not looked at: msx"):
        model.predict(visible=picture, infrared=picture, msx=picture)
    with pytest.raises(ConfigError, match="Did you mean 'infrared'"):
        list(model.predict_stream([{"visible": picture, "infared": picture}]))


def test_it_would_rather_not_say_where_it_is_unsure(picture: Path) -> None:
    assert make_predictor(V, least=0.81).predict(visible=picture).abstained
    assert not make_predictor(V, least=0.79).predict(visible=picture).abstained
    assert not make_predictor(V).predict(visible=np.full((16, 16), 128, np.uint8)).abstained


def test_a_model_of_temperatures_takes_degrees(picture: Path, tmp_path: Path) -> None:
    model = make_predictor(IR, heat=HeatInput("window", 20, 40))
    warm = np.full((16, 16), 36, np.float32)
    assert model.predict(infrared=warm).probabilities["light"] == pytest.approx(0.8, abs=0.01)
    np.save(tmp_path / "warm.npy", warm)
    same = model.predict(infrared=tmp_path / "warm.npy")
    assert same == model.predict(infrared=warm.astype(np.float64))
    with pytest.raises(DataError, match="colours, which aren't temperatures"):
        model.predict(infrared=picture.read_bytes())
    with pytest.raises(DataError, match=r"array of uint8, 4 x 4"):
        model.predict(infrared=np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stream_keeps_its_order_and_says_what_was_unusable(workers: int, picture: Path) -> None:
    levels = np.linspace(0, 255, 37).astype(np.uint8)
    given = [{"visible": np.full((16, 16), level)} for level in levels]
    given.insert(20, {"visible": picture.with_name("gone.png")})
    answers = list(make_predictor(V).predict_stream(given, batch_size=4, workers=workers))
    broken = answers.pop(20)
    assert isinstance(broken, Unusable)
    assert "gone.png does not exist" in broken.reason
    found = [a.probabilities["light"] for a in answers if isinstance(a, Prediction)]
    np.testing.assert_allclose(found, levels / 255, atol=1e-6)


def test_a_stream_takes_no_more_than_it_needs() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield {"visible": np.zeros((16, 16), np.uint8)}

    answers = make_predictor(V).predict_stream(endless(), batch_size=2, workers=2)
    for _ in range(10):
        next(answers)
    answers.close()
    assert taken < 30


def test_what_is_no_model_is_named(tmp_path: Path, picture: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no model"):
        load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is no bundle and no run"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="is no bundle or a damaged one"):
        load(picture.rename(tmp_path / "a.zip"))
    with pytest.raises(ConfigError, match="from 0 to 1, not 2"):
        load(tmp_path, least_confidence=2)


def write_bundle(out: Path) -> None:
    graph = out.with_name("graph")
    graph.write_bytes(b"a graph")
    texts = {bundle.SEEN: '{"train": ["a"], "test": []}', bundle.CARD: "a card"}
    bundle.write_bundle(
        out, graph, rule=AnswerRule(0.5, 0.9, 10), facts={"ferfusion": "0.1"}, texts=texts
    )


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_a_bundle_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / name)
    write_bundle(tmp_path / name)  # again, in its place
    assert bundle.is_bundle(tmp_path / name)
    opened = bundle.open_bundle(tmp_path / name)
    graph = opened.graph if isinstance(opened.graph, bytes) else opened.graph.read_bytes()
    assert graph == b"a graph"
    assert opened.rule == AnswerRule(0.5, 0.9, 10)
    assert bundle.read_seen(tmp_path / name) == {"train": ["a"], "test": []}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["graph", name])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (bundle.GRAPH, "another", "not the file that was certified"),
        (bundle.FACTS, "{", "is damaged"),
        (bundle.FACTS, "[]", "is damaged"),
        (bundle.FACTS, '{"format": 9}', "reads format 1"),
        (bundle.FACTS, '{"format": 1, "answer_rule": 3}', "is damaged"),
    ],
)
def test_a_damaged_bundle_is_named(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    write_bundle(tmp_path / "model")
    (tmp_path / "model" / name).write_text(text)
    with pytest.raises(CheckpointError, match=sentence):
        bundle.open_bundle(tmp_path / "model")


def test_a_cut_archive_is_named(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model.zip")
    whole = (tmp_path / "model.zip").read_bytes()
    for length in range(0, len(whole), 41):
        (tmp_path / "model.zip").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            bundle.open_bundle(tmp_path / "model.zip")


HEAVY = ("torch", "torchvision", "timm", "scipy", "sklearn", "matplotlib", "lightning_fabric")


def test_loading_needs_none_of_what_training_needs() -> None:
    code = f"import sys; from ferfusion import load; print(set({HEAVY}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
