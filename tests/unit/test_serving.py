"""The API: what it answers, what it refuses and how, without a socket."""

import asyncio
import io
import json
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from ferfusion import load
from ferfusion.errors import ConfigError, DataError
from ferfusion.evaluation.coverage import AnswerRule
from ferfusion.imaging.faces.detector import Face
from ferfusion.inference.model_facts import ModelFacts, name_picture
from ferfusion.inference.pictures import make_msx
from ferfusion.inference.predictor import Predictor
from ferfusion.inference.runner import Runner
from ferfusion.modality import Modality
from ferfusion.preprocessing import HeatInput
from ferfusion.serving import limits
from ferfusion.serving.app import create_app
from ferfusion.serving.examples import EXAMPLES, draw_example
from ferfusion.serving.guard import HEADERS
from ferfusion.serving.limits import Limits, Places, RateLimit
from ferfusion.serving.running import choose_token

TOKEN = "a-token-that-is-long-enough"
MANY = Limits(requests_per_s=1e6, burst=10**6)


def encode(
    colour: tuple[int, int, int], size: tuple[int, int] = (40, 40), kind: str = "PNG"
) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def encode_pixels(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


V, MSX = Modality.VISIBLE, Modality.MSX
RED, GREEN, BLUE = encode((200, 0, 0)), encode((0, 200, 0)), encode((0, 0, 200))


@contextmanager
def serving(model: Predictor, **options: Any) -> Iterator[TestClient]:
    app = create_app(model, **{"limits": MANY, **options})
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Predictor:
    return load(tiny_bundle)


@pytest.fixture(scope="module")
def client(model: Predictor) -> Iterator[TestClient]:
    with serving(model) as one:
        yield one


def send(client: TestClient, path: str = "/predict", **files: Any) -> Any:
    return client.post(path, files=files)


def check_refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    sentence = answer.json()["error"]
    assert sentence.endswith("."), sentence
    assert "Traceback" not in sentence
    for word in words:
        assert word in sentence


def test_an_answer_is_what_load_predict_says(client: TestClient, model: Predictor) -> None:
    said = send(client, visible=RED, infrared=GREEN).json()
    wanted = model.predict(visible=RED, infrared=GREEN)
    assert said["label"] == wanted.label == "angry"
    assert said["probabilities"] == pytest.approx(dict(wanted.probabilities), abs=1e-6)
    assert list(said["probabilities"]) == list(model.labels)
    assert said["abstained"] is wanted.abstained is False
    assert said["model"] == "TINY"
    assert 0 < said["milliseconds"] < 60_000


def test_whole_pictures_are_cut_where_somebody_can(client: TestClient, model: Predictor) -> None:
    def cut(pictures: Any) -> Any:
        if pictures[V].mean() > 100:
            raise DataError("No face can be cut out: it is too bright.")
        box = Face(1.04, 2.0, 3.0, 4.0, np.zeros((5, 2)), 0.9)
        return {m: picture[:20, :20] for m, picture in pictures.items()}, box

    half = np.zeros((40, 40, 3), np.uint8)
    half[:20, :20] = (0, 200, 0)
    whole = encode_pixels(half)
    alone = send(client, visible=encode((0, 200, 0), (20, 20)), infrared=BLUE).json()
    with serving(model, cut=cut) as cutting:
        assert cutting.get("/model").json()["finds_faces"]
        for path in ("/predict", "/explain"):
            found = send(cutting, f"{path}?find_face=true", visible=whole, infrared=BLUE)
            assert found.json()["face"] == {"left": 1, "top": 2, "width": 3, "height": 4}
            assert found.json()["probabilities"] == pytest.approx(alone["probabilities"])
        assert found.json()["aligned"]["found"] is None
        as_is = send(cutting, visible=whole, infrared=BLUE).json()
        assert as_is["face"] is None
        assert as_is["probabilities"] != pytest.approx(alone["probabilities"])
        bright = encode((200, 200, 200))
        answer = send(cutting, "/predict?find_face=true", visible=bright, infrared=BLUE)
        check_refused(answer, 422, "too bright")
        check_refused(send(cutting, "/predict?find_face=maybe", visible=whole), 422, "find_face")
    assert not client.get("/model").json()["finds_faces"]
    answer = send(client, "/predict?find_face=true", visible=whole, infrared=BLUE)
    check_refused(answer, 422, "--find-face")


def test_a_missing_msx_picture_is_made() -> None:
    def ask(pictures: dict[str, np.ndarray]) -> np.ndarray:
        red = pictures[name_picture(MSX)][:, 0, 0, 0] / 255
        return np.stack([red, 1 - red], axis=1)

    pair = {"visible": GREEN, "infrared": RED}
    for modalities in ((V, MSX), (V, Modality.INFRARED, MSX)):
        with serving(make_stub(ask, modalities=modalities)) as client:
            made = send(client, **pair).json()
            msx = encode_pixels(make_msx(GREEN, RED))
            given = {m: file for m, file in {**pair, "msx": msx}.items() if m in modalities}
            assert made["probabilities"] == pytest.approx(
                send(client, **given).json()["probabilities"]
            )
            check_refused(send(client, visible=GREEN), 422, "made of these")
            (form,) = (
                client.get("/openapi.json")
                .json()["paths"]["/predict"]["post"]["requestBody"]["content"]
                .values()
            )
            assert set(form["schema"]["properties"]) == {"visible", "infrared", "msx"}


def test_it_would_rather_not_say(client: TestClient) -> None:
    grey = encode((90, 90, 90))
    assert send(client, visible=grey, infrared=grey).json()["abstained"] is True


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_every_kind_of_picture(client: TestClient, kind: str) -> None:
    data = encode((0, 0, 220), (70, 50), kind)
    assert send(client, visible=data, infrared=data).json()["label"] == "neutral"


def test_what_is_known_of_the_model(client: TestClient) -> None:
    said = client.get("/model").json()
    assert said["name"] == "TINY"
    assert said["modalities"] == ["visible", "infrared"]
    assert said["least_confidence"] == 0.45
    found = said["accuracy"]
    assert (found["correct"], found["n"]) == (76, 90)
    assert found["low"] == pytest.approx(0.756, abs=1e-3)
    assert found["high"] == pytest.approx(0.905, abs=1e-3)
    assert "70 people" in " ".join(said["trained_on"])
    text = " ".join(said["responsible_use"])
    assert "posed expressions, not feelings" in text
    assert "5(1)(f)" in text
    assert str(Path.home()) not in json.dumps(said)


def test_a_bare_graph_says_nothing_of_its_test(tiny_bundle: Path) -> None:
    with serving(load(tiny_bundle / "model.onnx")) as client:
        said = client.get("/model").json()
        assert said["accuracy"] is None
        assert said["trained_on"] == []
        assert said["least_confidence"] == 0


def test_an_explanation_shows_where_and_what_without(client: TestClient) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:20, :20, 0] = 255  # all the red is in the corner
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    said = send(client, "/explain", visible=file.getvalue(), infrared=BLUE).json()
    assert {"aligned", "heat", "pictures", "without", "probabilities"} <= said.keys()
    assert set(said["without"]) == set(said["heat"]) == {"visible", "infrared"}
    for shown in (*said["pictures"].values(), said["aligned"]["infrared"]):
        assert shown.startswith("data:image/jpeg;base64,")
    assert said["without"]["visible"]["label"] == "neutral"
    assert said["heat"]["infrared"]["strongest"] > 0


def test_metrics_count_what_was_asked(model: Predictor) -> None:
    with serving(model) as client:
        send(client, visible=RED, infrared=RED)
        send(client, visible=RED)
        client.get("/nothing/here/" + "x" * 50)
        told = client.get("/metrics")
        assert told.headers["content-type"].startswith("text/plain")
        assert 'ferfusion_requests_total{path="/predict",status="200"} 1.0' in told.text
        assert 'ferfusion_requests_total{path="/predict",status="422"} 1.0' in told.text
        assert 'path="other",status="404"' in told.text
        assert "xxx" not in told.text
        assert "ferfusion_batch_size_count 1.0" in told.text


PAGES = ("/", "/docs", "/page/page.css", "/page/page.js", "/health", "/openapi.json", "/none")


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    for name, value in HEADERS.items():
        assert headers[name] == value
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_pages_fetch_nothing_from_elsewhere_and_hold_no_script_or_style() -> None:
    folder = Path(limits.__file__).parent / "page"
    files = [path for path in folder.iterdir() if path.suffix in (".html", ".css", ".js")]
    assert len(files) >= 6
    for path in files:
        text = path.read_text().replace("http://localhost", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        if path.suffix == ".html":
            assert " style=" not in text
            assert "<style" not in text
            assert " onclick" not in text
            assert text.count("<script") == text.count("<script src=")


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ({}, 415, ["multipart/form-data"]),
        ({"visible": RED}, 422, ["visible and infrared", "Sent: visible"]),
        ({"visible": RED, "infrared": RED, "msx": RED}, 422, ["no other"]),
        ({"visible": RED, "depth": RED}, 422, ["no modality"]),
        ({"visible": b"", "infrared": RED}, 422, ["visible picture", "empty"]),
        ({"visible": b"GIF89a" + bytes(50), "infrared": RED}, 422, ["not a picture of a kind"]),
        ({"visible": RED[:60], "infrared": RED}, 422, ["visible picture"]),
        ({"visible": ("a.png", RED, "text/html"), "infrared": RED}, 415, ["image/jpeg"]),
    ],
)
def test_what_cannot_be_used_is_refused(
    client: TestClient, files: dict[str, Any], status: int, words: list[str]
) -> None:
    check_refused(send(client, **files), status, *words)


def test_other_bodies_are_refused(client: TestClient) -> None:
    check_refused(client.post("/predict", json={"visible": "x"}), 415)
    check_refused(client.post("/predict", data={"visible": "x"}), 415)
    plain = {"content-type": "multipart/form-data"}
    check_refused(client.post("/predict", content=b"x", headers=plain), 400, "boundary")
    form = {"content-type": "multipart/form-data; boundary=b"}
    check_refused(client.post("/predict", content=b"no form at all", headers=form), 400)
    text = b'--b\r\ncontent-disposition: form-data; name="visible"\r\n\r\ntext\r\n--b--\r\n'
    check_refused(client.post("/predict", content=text, headers=form), 422, "as a file")
    twice = [("visible", RED), ("visible", RED)]
    check_refused(client.post("/predict", files=twice), 422, "more than once")
    check_refused(client.post("/predict", files=[("visible", RED)] * 9), 400, "Too many files")


def test_other_addresses_and_methods(client: TestClient) -> None:
    check_refused(client.get("/nothing"), 404, "/docs")
    check_refused(client.get("/predict"), 405, "/docs")
    check_refused(client.post("/model"), 405, "/docs")
    check_refused(client.get("/examples/happy/sound"), 404)
    check_refused(client.get("/examples/bored/visible"), 404)
    check_refused(client.get("/page/../app.py"), 404)
    check_refused(client.get("/page/%2e%2e/app.py"), 404)


def test_too_long_is_refused_before_it_is_read(model: Predictor) -> None:
    with serving(model, limits=Limits(max_mb=0.5)) as client:
        big = bytes(600_000)
        check_refused(send(client, visible=big, infrared=RED), 413, "0.5 MB")

        def drip() -> Iterator[bytes]:
            nonlocal sent
            yield b'--b\r\ncontent-disposition: form-data; name="visible"; filename="a"\r\n\r\n'
            for _ in range(100):
                sent += 20_000
                yield bytes(20_000)

        sent = 0
        form = {"content-type": "multipart/form-data; boundary=b"}
        check_refused(client.post("/predict", content=drip(), headers=form), 413)


def test_too_many_pixels_are_refused_before_they_are_decoded(model: Predictor) -> None:
    with serving(model, limits=Limits(max_megapixels=1)) as client:
        large = encode((200, 0, 0), (1200, 1000))
        check_refused(send(client, visible=large, infrared=RED), 413, "1 are allowed")
        fits = encode((200, 0, 0), (1000, 1000))
        assert send(client, visible=fits, infrared=RED).status_code == 200


def make_bomb(side_px: int) -> bytes:
    """A PNG of few bytes that says it has very many pixels, and has them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = side_px.to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    row = zlib.compress(bytes(1 + side_px) * 64, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def test_bombs_cost_nothing(client: TestClient) -> None:
    bomb = make_bomb(30_000)
    tracemalloc.start()
    check_refused(send(client, visible=bomb, infrared=RED), 413, "megapixels")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_uploads_never_touch_the_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starlette by itself writes files of more than 1 MB to the disk."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was made")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("tempfile._mkstemp_inner", refuse)
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert len(file.getvalue()) > 2_000_000
    assert send(client, visible=file.getvalue(), infrared=RED).status_code == 200


def test_the_token_is_asked_for(model: Predictor) -> None:
    with serving(model, token=TOKEN) as client:
        for path in ("/model", "/metrics", "/examples/happy/visible"):
            answer = client.get(path)
            check_refused(answer, 401, "Bearer")
            assert answer.headers["www-authenticate"] == "Bearer"
        check_refused(send(client, visible=RED, infrared=RED), 401)
        for path in ("/", "/docs", "/health", "/page/page.js"):
            assert client.get(path).status_code == 200
        for wrong in ("Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"):
            headers = {"authorization": wrong.encode("latin-1")}
            check_refused(client.get("/model", headers=headers), 401)
        right = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/model", headers=right).status_code == 200


def test_tokens_are_made_where_they_are_needed() -> None:
    assert choose_token(None, "127.0.0.1") == (None, False)
    made, is_new = choose_token(None, "0.0.0.0")
    assert is_new
    assert made is not None
    assert len(made) >= 32
    assert choose_token(None, "0.0.0.0")[0] != made
    assert choose_token(TOKEN, "127.0.0.1") == (TOKEN, False)
    for bad in ("short", "with a line\nin the middle of it", "äöü" * 10):
        with pytest.raises(ConfigError, match="16 letters"):
            choose_token(bad, "localhost")


def test_names_of_others_are_refused(model: Predictor) -> None:
    with serving(model, hosts=["faces.example"]) as client:
        for name in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000",
                     "faces.example", "FACES.example:443"):  # fmt: skip
            assert client.get("/health", headers={"host": name}).status_code == 200, name
        for name in ("evil.example", "localhost.evil.example", "", "[::1", "127.0.0.1.evil"):
            check_refused(client.get("/health", headers={"host": name}), 400, "--allow-host")


def test_pages_of_others_are_refused(client: TestClient) -> None:
    files = {"visible": RED, "infrared": RED}
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://[broken"},
    ):
        check_refused(client.post("/predict", files=files, headers=headers), 403)
    for headers in ({"sec-fetch-site": "same-origin"}, {"origin": "http://localhost"}):
        assert client.post("/predict", files=files, headers=headers).status_code == 200


def test_whoever_asks_too_often_is_told_when_to_come_back(model: Predictor) -> None:
    with serving(model, limits=Limits(requests_per_s=0.5, burst=3)) as client:
        answers = [client.get("/health") for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        check_refused(answers[-1], 429, "0.5 times a second")
        assert int(answers[-1].headers["retry-after"]) >= 1


def test_rates_are_of_each_address_and_recover() -> None:
    rate = RateLimit(per_s=2, burst=2)
    assert [rate.wait_s("a", now=0.0) for _ in range(3)] == [0, 0, 0.5]
    assert rate.wait_s("b", now=0.0) == 0
    assert rate.wait_s("a", now=0.5) == 0
    assert rate.wait_s("a", now=0.5) > 0
    # A person has 2^64 addresses of IPv6, and must not have as many tries.
    assert [rate.wait_s(f"2001:db8::{n}", now=0.0) > 0 for n in range(3)] == [False, False, True]
    for number in range(20_000):
        rate.wait_s(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", now=1.0)
    assert len(rate._states) <= 4096


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.integers(1, 5), st.floats(0.5, 9))
def test_nobody_gets_more_than_burst_and_rate(gaps: list[float], burst: int, per_s: float) -> None:
    rate, now, passed = RateLimit(per_s, burst), 0.0, 0
    for gap in gaps:
        now += gap
        passed += rate.wait_s("a", now=now) == 0
    assert passed <= burst + now * per_s + 1e-6


def make_stub(
    ask: Callable[[dict[str, np.ndarray]], np.ndarray],
    heat: HeatInput | None = None,
    modalities: tuple[Modality, ...] = (Modality.VISIBLE,),
) -> Predictor:
    facts = ModelFacts(("a", "b"), modalities, 8, "fp32", 1.0, "single", "stub", {}, heat)
    runner = Runner(facts, lambda pictures: ask(dict(pictures)))
    return Predictor(lambda _: runner, AnswerRule(0.0, 1.0, 1), "stub")


def answer_by_red(pictures: dict[str, np.ndarray]) -> np.ndarray:
    red = pictures[name_picture(Modality.VISIBLE)][:, 0, 0, 0] / 255
    return np.stack([red, 1 - red], axis=1)


def test_questions_at_once_are_asked_together_and_not_mixed_up() -> None:
    sizes: list[int] = []

    def ask(pictures: dict[str, np.ndarray]) -> np.ndarray:
        rows = answer_by_red(pictures)
        sizes.append(len(rows))
        time.sleep(0.02)
        return rows

    with serving(make_stub(ask)) as client, ThreadPoolExecutor(16) as pool:
        reds = [5 * number for number in range(40)]
        answers = list(pool.map(lambda red: send(client, visible=encode((red, 0, 0))), reds))
    for red, answer in zip(reds, answers, strict=True):
        if answer.status_code == 200:
            assert answer.json()["probabilities"]["a"] == pytest.approx(red / 255, abs=1e-6)
    assert [a.status_code for a in answers] == [200] * 40
    assert sum(sizes) == 40
    assert 1 < max(sizes) <= 8
    assert len(sizes) < 30


def test_a_full_house_says_so_at_once_and_keeps_its_promises() -> None:
    opened = threading.Event()

    def ask(pictures: dict[str, np.ndarray]) -> np.ndarray:
        opened.wait(20)
        return answer_by_red(pictures)

    limits = Limits(requests_per_s=1e6, burst=10**6, places=3)
    with serving(make_stub(ask), limits=limits) as client, ThreadPoolExecutor(3) as pool:
        inside = [pool.submit(send, client, visible=RED) for _ in range(3)]
        deadline = time.monotonic() + 20
        while "ferfusion_places_taken 3.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        began = time.monotonic()
        refused = send(client, visible=RED)
        assert time.monotonic() - began < 5
        check_refused(refused, 503, "Come back")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/health").status_code == 200
        opened.set()
        assert [each.result().status_code for each in inside] == [200] * 3
        assert send(client, visible=RED).status_code == 200


def test_what_takes_too_long_is_given_up() -> None:
    opened = threading.Event()

    def ask(pictures: dict[str, np.ndarray]) -> np.ndarray:
        opened.wait(20)
        return answer_by_red(pictures)

    limits = Limits(requests_per_s=1e6, burst=10**6, seconds=0.3)
    with serving(make_stub(ask), limits=limits) as client:
        check_refused(send(client, visible=RED), 504, "0.3 seconds")
        opened.set()


def test_our_faults_are_confessed_without_a_traceback() -> None:
    is_broken = True

    def ask(pictures: dict[str, np.ndarray]) -> np.ndarray:
        if is_broken:
            raise ZeroDivisionError("secret inside")
        return answer_by_red(pictures)

    with serving(make_stub(ask)) as client:
        answer = send(client, visible=RED)
        check_refused(answer, 500, "isn't your fault")
        assert "secret" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        is_broken = False
        assert send(client, visible=RED).status_code == 200


def test_a_model_of_temperatures_takes_files_of_them() -> None:
    def ask(pictures: dict[str, np.ndarray]) -> np.ndarray:
        warm = pictures[name_picture(Modality.INFRARED)][:, 0, 0, 0] / 255
        return np.stack([warm, 1 - warm], axis=1)

    heat = HeatInput("window", 20.0, 40.0)
    with serving(make_stub(ask, heat, (Modality.INFRARED,))) as client:
        file = io.BytesIO()
        np.save(file, np.full((20, 20), 40.0, np.float32))
        said = send(client, infrared=file.getvalue()).json()
        assert said["probabilities"]["a"] == pytest.approx(1, abs=0.01)
        check_refused(send(client, infrared=RED), 422, "infrared picture")
        example = client.get("/examples/happy/infrared")
        assert send(client, infrared=example.content).status_code == 200
        assert client.get("/model").json()["takes_temperatures"] is True


def test_examples_are_pictures_and_differ() -> None:
    seen = {draw_example(name, modality) for name in EXAMPLES for modality in Modality}
    assert len(seen) == 15
    for data in seen:
        assert Image.open(io.BytesIO(data)).size == (224, 224)


def test_places_come_back() -> None:
    places = Places(1)
    with places.take() as first, places.take() as second:
        assert (first, second) == (True, False)
    with places.take() as again:
        assert again


@pytest.mark.parametrize("name", ["max_mb", "places", "seconds", "requests_per_s"])
def test_limits_make_sense(model: Predictor, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        create_app(model, limits=Limits(**{name: 0}))


@settings(max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.tuples(
            st.sampled_from([RED, encode((1, 2, 3), kind="JPEG"), encode((9, 9, 9), kind="TIFF")]),
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
            st.integers(0, 500),
        ).map(lambda parts: spoil(*parts)),
    )
)
def test_no_bytes_are_our_fault(client: TestClient, data: bytes) -> None:
    answer = send(client, visible=data, infrared=RED)
    assert answer.status_code in (200, 413, 422), answer.text
    if answer.status_code != 200:
        check_refused(answer, answer.status_code)


def spoil(data: bytes, changes: list[tuple[int, int]], length: int) -> bytes:
    spoilt = bytearray(data)
    for at, value in changes:
        spoilt[at % len(spoilt)] = value
    return bytes(spoilt[: length or None])


@settings(max_examples=100)
@given(st.binary(max_size=400), st.sampled_from(["", "b", '"b"', "b; charset=nope", "\x7f"]))
def test_no_form_is_our_fault(client: TestClient, body: bytes, boundary: str) -> None:
    kind = f"multipart/form-data; boundary={boundary}"
    start = b'--b\r\ncontent-disposition: form-data; name="visible"; filename="a"\r\n'
    for content in (body, start + body, start + b"\r\n" + body + b"\r\n--b--\r\n"):
        answer = client.post("/predict", content=content, headers={"content-type": kind})
        assert answer.status_code in (400, 413, 415, 422), answer.text


def test_openapi_describes_it(client: TestClient) -> None:
    api = client.get("/openapi.json").json()
    form = api["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["required"] == ["visible", "infrared"]
    assert set(api["paths"]) == {
        *("/predict", "/explain", "/model", "/health", "/metrics"),
        "/examples/{name}/{modality}",
    }


def test_an_app_can_be_asked_by_any_asgi_server(model: Predictor) -> None:
    """Websockets and other things than requests pass through the guard to the framework."""

    async def ask() -> list[Any]:
        sent: list[Any] = []
        app = create_app(model)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def keep(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/predict", "headers": [], "query_string": b""}
        await app(scope, receive, keep)
        return sent

    assert asyncio.run(ask())[0]["type"] == "websocket.close"
