import re
from pathlib import Path

import numpy as np

from ferfusion.evaluation.faithfulness import KINDS, ORDERS, compare_orders
from ferfusion.evaluation.heat_regions import total_regions
from ferfusion.evaluation.shapley import average_credit
from ferfusion.modality import MODALITIES
from ferfusion.reporting.explanation_figures import draw_contributions, draw_densities
from ferfusion.reporting.explanation_page import (
    ExplainedPicture,
    ExplainedSample,
    ExplanationPage,
    make_region_tables,
    write_explanation_page,
)

V, IR, M = MODALITIES
RNG = np.random.default_rng(0)
PEOPLE = tuple(f"p{row % 6}" for row in range(12))
CLASSES = ("angry", "happy")
EXPLAINED = np.array([0, 1] * 6)
CURVES = {kind: {order: RNG.random((12, 5)) for order in ORDERS} for kind in KINDS}
LAYOUTS = np.stack([np.arange(16, dtype=np.uint8).reshape(4, 4) % 3] * 12)
REGIONS = total_regions(
    {V: RNG.random((12, 4, 4)), IR: RNG.random((12, 4, 4))}, LAYOUTS, ("eyes", "nose", "mouth"),
    EXPLAINED, PEOPLE, CLASSES,
)  # fmt: skip
CREDIT = average_credit({V: RNG.random(12), IR: -RNG.random(12)}, EXPLAINED, PEOPLE, CLASSES)


def make_page(*, measured: bool = True) -> ExplanationPage:
    picture = np.full((20, 20, 3), 90, np.uint8)
    cells = (
        ExplainedPicture("visible", picture, "", False),
        ExplainedPicture("model, in visible", picture, "happy <97> %", True),
    )
    return ExplanationPage(
        title="Early fusion & co",
        finding="The maps are half faithful.",
        facts=("One fact.",),
        samples=(ExplainedSample("<script>x</script>", "labelled angry", cells),),
        chosen="Chosen by rule.",
        about_method="gradcam: channels.",
        curves=CURVES if measured else None,
        comparisons=tuple(compare_orders(CURVES, PEOPLE)) if measured else (),
        regions=tuple(REGIONS) if measured else (),
        about_regions="From five points.",
        contributions=tuple(CREDIT) if measured else (),
        about_contributions=("A sentence on shares.",),
        settings=(("method", "gradcam"),),
    )


def test_the_page_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    write_explanation_page(make_page(), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "<script" not in html
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert html.count("data:image/jpeg;base64,") == 2
    assert html.count("<svg") == 3
    for words in ("your own pictures", "half faithful", "From five points.", "from the middle",
                  "A sentence on shares.", "posed or induced", "article 5(1)(f)",
                  "no lie detector", "&lt;script&gt;"):  # fmt: skip
        assert words in html, words
    assert 'class="wrong">happy &lt;97&gt; %' in html


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    write_explanation_page(make_page(measured=False), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "<svg" not in html
    assert "Are the maps to be believed" not in html
    assert "A sentence on shares." in html


def test_tables_have_a_row_a_class_and_a_column_a_region() -> None:
    tables = make_region_tables(REGIONS)
    assert [table.modality for table in tables] == ["visible", "infrared"]
    for table in tables:
        assert table.regions == ("eyes", "nose", "mouth")
        assert [(name, n) for name, n, _ in table.rows] == [("all", 12), ("angry", 6), ("happy", 6)]


def test_figures_tell_their_numbers_to_people_who_cannot_see_them() -> None:
    svg = draw_contributions(CREDIT)
    for one in CREDIT:
        assert f"{one.modality} {100 * one.mean:+.1f}" in svg
    assert "var(--early" in svg, "the colours follow the page's, light or dark"
    svg = draw_densities(REGIONS)
    for total in REGIONS:
        if total.explained is None:
            assert f"{total.modality} {total.density:.2f}" in svg
