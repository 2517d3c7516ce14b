"""The page as a person uses it, in a real Chromium."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
TOKEN = "a-token-of-the-browser-tests"
PATIENCE_MS = 60_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which isn't installed")


@pytest.fixture(scope="module")
def address(tiny_bundle: Path) -> Iterator[str]:
    with serving(tiny_bundle, "--as-is") as found:
        yield found


@contextmanager
def serving(bundle: Path, *options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "ferfusion", "serve", str(bundle), "--port", "0",
               "--max-mb", "2", *options]  # fmt: skip
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "FERFUSION_TOKEN": TOKEN}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout
        found = re.search(r"served at (\S+)", process.stdout.readline())
        assert found
        yield found[1]
        process.terminate()
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )  # fmt: skip
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page with the token."""
    with opening(browser, address) as opened:
        yield opened


@contextmanager
def opening(browser: Any, address: str) -> Iterator[Any]:
    """Opens a page, which must fetch nothing from elsewhere and complain of nothing."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    # A refusal is logged by the browser, too; it is no fault of the page.
    opened.on("console", lambda m: complaints.append(m.text)
              if m.type == "error" and "load resource" not in m.text else None)  # fmt: skip
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"{address}/#token={TOKEN}")
    opened.wait_for_selector("#examples img[src^=blob]")
    yield opened
    assert complaints == []
    strange = [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    assert strange == []
    context.close()


def make_file(folder: Path, name: str, colour: tuple[int, int, int], kind: str = "PNG") -> Path:
    path = folder / name
    Image.new("RGB", (60, 60), colour).save(path, kind)
    return path


def wait_for_answer(page: Any) -> str:
    page.wait_for_selector("#maps:not([hidden])")
    return page.inner_text("#label")


def test_a_drawn_face_is_answered_and_explained(page: Any, address: str) -> None:
    assert page.url == f"{address}/", "the token is out of the address bar"
    assert "76/90 = 84.4 % [75.6, 90.5]" in page.inner_text("#facts")
    page.get_by_role("button", name="Drawn face that looks sad").click()
    label = wait_for_answer(page)
    assert label in ("angry", "happy", "neutral", "It would rather not say")
    shares = [row.inner_text() for row in page.query_selector_all("#bars tr td:last-child")]
    assert len(shares) == 3
    assert 98 < sum(float(share.split()[0]) for share in shares) < 102
    for image in page.query_selector_all("#pair img, #maps img"):
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
        assert image.get_attribute("alt")
    assert page.locator("#without-rows tr").count() == 3
    before = page.eval_on_selector("#above", "image => image.style.clipPath")
    page.focus("#share")
    page.keyboard.press("Home")
    assert page.eval_on_selector("#above", "image => image.style.clipPath") != before
    page.get_by_label("Mix").check()
    assert page.eval_on_selector("#above", "image => image.style.opacity") == "0"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "fits a phone"


def test_own_files_are_answered(page: Any, tmp_path: Path) -> None:
    visible = make_file(tmp_path, "me.png", (0, 0, 230))
    page.set_input_files("input[name=visible]", visible)
    assert "Still missing: infrared" in page.inner_text("#status")
    # A kind that browsers don't show: the server's picture takes its place.
    page.set_input_files("input[name=infrared]", make_file(tmp_path, "me.tif", (0, 0, 230), "TIFF"))
    assert wait_for_answer(page) == "neutral"
    page.wait_for_selector("img[alt='The infrared picture']:not([hidden])")
    page.get_by_role("button", name="Remove the visible picture").click()
    page.wait_for_selector("#answer", state="hidden")
    assert "Still missing: visible" in page.inner_text("#status")


def test_files_are_dropped(page: Any, tmp_path: Path) -> None:
    data = list(make_file(tmp_path, "me.png", (230, 0, 0)).read_bytes())
    page.evaluate(
        """(data) => {
            const transfer = new DataTransfer();
            for (const name of ["a.png", "b.png"])
                transfer.items.add(new File([new Uint8Array(data)], name, { type: "image/png" }));
            document.querySelector(".drop").dispatchEvent(
                new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        data,
    )
    assert wait_for_answer(page) == "angry"


def test_the_webcam_gives_the_visible_picture(page: Any) -> None:
    page.get_by_role("button", name="Use the webcam").click()
    page.wait_for_selector("dialog[open]")
    page.get_by_role("button", name="Take it").click()
    page.wait_for_selector("dialog[open]", state="hidden")
    page.wait_for_selector("img[alt='The visible picture']:not([hidden])")
    assert "Still missing: infrared" in page.inner_text("#status")
    live = "document.getElementById('video').srcObject.getTracks().map((track) => track.readyState)"
    assert page.evaluate(live) == ["ended"]


def test_faces_are_cut_out_of_whole_pictures(
    browser: Any,
    tiny_bundle: Path,
    detector_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grey = make_file(tmp_path, "wall.png", (90, 90, 90))
    monkeypatch.setenv("FERFUSION_FACE_WEIGHTS", str(detector_weights))
    with serving(tiny_bundle, "--find-face") as address, opening(browser, address) as page:
        assert "more than the face" in page.inner_text("#lead")
        inputs = page.locator("#cards input[type=file]")
        for place in range(inputs.count()):
            inputs.nth(place).set_input_files(grey)
        page.wait_for_selector("#problem:not([hidden])")
        assert "can be cut out" in page.inner_text("#problem-text")
        assert not page.is_visible("#answer")
        page.get_by_label("Find the face").uncheck()
        wait_for_answer(page)
        assert not page.is_visible("#problem")
        # Drawn faces are cut already, whatever is said.
        page.get_by_label("Find the face").check()
        page.wait_for_selector("#problem:not([hidden])")
        page.get_by_role("button", name="Drawn face that looks happy").click()
        wait_for_answer(page)


def test_mistakes_are_told_kindly(page: Any, tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    page.set_input_files("input[name=visible]", text)
    page.set_input_files("input[name=infrared]", make_file(tmp_path, "a.png", (1, 2, 3)))
    problem = page.wait_for_selector("#problem:not([hidden])")
    assert "visible picture is not a picture of a kind that can be read" in problem.inner_text()
    assert page.is_hidden("#again"), "a second try wouldn't help"
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    large = {"name": "large.png", "mimeType": "image/png", "buffer": file.getvalue()}
    page.set_input_files("input[name=visible]", large)
    assert "this server takes 2 MB" in page.inner_text("#problem-text")


def test_a_server_that_is_gone_is_noticed_and_tried_again(page: Any) -> None:
    page.route("**/predict", lambda route: route.abort())
    page.get_by_role("button", name="Drawn face that looks happy").click()
    page.wait_for_selector("#problem:not([hidden])")
    assert "doesn't answer" in page.inner_text("#problem-text")
    page.unroute("**/predict")
    page.get_by_role("button", name="Try again").click()
    wait_for_answer(page)
    assert page.is_hidden("#problem")


def test_the_token_is_asked_for_and_remembered(browser: Any, address: str) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#token-form:not([hidden])")
    assert page.is_hidden("#app")
    for given, is_right in (("wrong-wrong-wrong-wrong", False), (TOKEN, True)):
        page.fill("#token", given)
        page.keyboard.press("Enter")
        if not is_right:
            page.wait_for_selector("#token-wrong:not(:empty)")
    page.wait_for_selector("#examples img[src^=blob]")
    page.reload()
    page.wait_for_selector("#examples img[src^=blob]")
    context.close()


def test_everything_is_reached_with_the_keyboard_and_has_a_name(page: Any) -> None:
    names: list[str] = []
    for _ in range(14):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "(document.activeElement.ariaLabel || document.activeElement.textContent).trim()"
            )
        )
    wanted = ["Skip to the pictures", "Visible picture", "Use the webcam", "Infrared picture",
              "Drawn face that looks angry", "looks surprised", "The API"]  # fmt: skip
    places = [next(place for place, name in enumerate(names) if want in name) for want in wanted]
    assert places == sorted(places)
    page.get_by_role("button", name="Drawn face that looks angry").focus()
    page.keyboard.press("Enter")
    wait_for_answer(page)
    assert "Answer" in page.inner_text("[role=status]") or "not say" in page.inner_text("#label")
    unnamed = """[...document.querySelectorAll("button, input, a, img, section, dialog, table")]
        .filter((one) => one.checkVisibility() && !one.ariaLabel && !one.textContent.trim()
            && !one.alt && !one.getAttribute("aria-labelledby") && !one.labels?.length
            && !(one.tagName === "IMG" && one.getAttribute("alt") === ""))
        .map((one) => one.outerHTML)"""
    assert page.evaluate(unnamed) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Any, address: str, scheme: str) -> None:
    """WCAG AA asks 4.5 : 1 of text; here of the colours that text is written in."""
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{address}/docs")
    page.wait_for_selector("#operations section")
    read = """(name) => {
        const probe = document.createElement("i");
        probe.style.color = `var(--${name})`;
        document.body.append(probe);
        return getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(Number);
    }"""

    def shine(name: str) -> float:
        channels = np.array(page.evaluate(read, name)) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ (0.2126, 0.7152, 0.0722))

    pairs = [("ink", "paper"), ("faint", "paper"), ("faint", "wash"), ("ink", "wash"),
             ("accent", "paper"), ("accent", "wash"), ("on-accent", "accent"),
             ("red", "red-wash"), ("amber", "amber-wash")]  # fmt: skip
    for text, ground in pairs:
        bright, dark = sorted((shine(text), shine(ground)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, (text, ground)
    context.close()


def test_the_api_is_described_without_help_from_elsewhere(page: Any, address: str) -> None:
    page.goto(f"{address}/docs")
    page.wait_for_selector("#operations section")
    said = page.inner_text("#operations")
    for words in ("POST /predict", "-F visible=@visible.jpg", "abstained", "GET /health"):
        assert words in said
