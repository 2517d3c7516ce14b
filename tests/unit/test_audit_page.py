import base64
import re
from pathlib import Path

import cv2
import numpy as np

from ferfusion.reporting.audit_page import AuditPage, Pair, write_audit_page


def make_pair(name: str = "happy/001") -> Pair:
    ramp = np.linspace(0, 255, 300 * 200 * 3).reshape(300, 200, 3).astype(np.uint8)
    return Pair(
        "near-duplicate",
        (f"{name}, anna, train", "happy/002, ben, test"),
        ("visible: correlation 0.97 after alignment",),
        {"visible": (ramp, ramp[:40, :40]), "msx": (ramp, None)},
    )


def write(tmp_path: Path, *pairs: Pair, n_pairs: int = 1) -> str:
    ways_out = (("a clean split", "ferfusion inspect DATA --repair FILE"),)
    page = AuditPage("Twins", "2 samples", "looked", ("a fact",), pairs, n_pairs, ways_out)
    write_audit_page(page, tmp_path / "twins.html")
    return (tmp_path / "twins.html").read_text()


def test_the_page_holds_the_pictures_small_and_fetches_nothing(tmp_path: Path) -> None:
    html = write(tmp_path, make_pair())
    embedded = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    shapes = []
    for text in embedded:
        data = np.frombuffer(base64.b64decode(text), np.uint8)
        shapes.append(cv2.imdecode(data, cv2.IMREAD_COLOR).shape)
    assert shapes == [(128, 85, 3), (40, 40, 3), (128, 85, 3)]
    assert ">no msx picture<" in html
    assert "<script" not in html
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert "ferfusion inspect DATA --repair FILE" in html
    assert "correlation 0.97" in html


def test_colours_stay_what_they_are(tmp_path: Path) -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[:, :, 0] = 255
    pair = Pair("same file", ("a", "b"), (), {"visible": (red, red)})
    html = write(tmp_path, pair)
    text = re.findall(r'base64,([^"]+)"', html)[0]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    blue, green, red_seen = picture.mean(axis=(0, 1))
    assert red_seen > 230
    assert max(blue, green) < 30


def test_names_are_escaped_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    html = write(tmp_path, make_pair("<b>bold"), n_pairs=99)
    assert "<b>bold" not in html
    assert "&lt;b&gt;bold" in html
    assert "The first 1 of 99 pairs" in html
    assert "A pair shown here may be none." in html
