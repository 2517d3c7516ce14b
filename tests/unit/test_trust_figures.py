import re
from xml.etree import ElementTree

import numpy as np
import pytest

from ferfusion.evaluation.calibration import list_reliability_bins
from ferfusion.evaluation.coverage import trace_coverage
from ferfusion.evaluation.statistics import Interval
from ferfusion.reporting.record import Fusion
from ferfusion.reporting.tables import ResultRow
from ferfusion.reporting.trust_figures import draw_coverage, draw_reliability


def make_row(title: str, fusion: Fusion = "single") -> ResultRow:
    return ResultRow(
        model=title,
        variant="",
        inputs=title,
        how="single",
        fusion=fusion,
        method="network",
        backbone="resnet18",
        steps=None,
        seeds=(0,),
        correct=(60,),
        n_test=(90,),
        points=(60 / 90,),
        interval=Interval(0.55, 0.75),
        macro_precision=0.7,
        macro_recall=0.7,
        macro_f1=0.7,
        parameters=1,
        seconds=1.0,
        paper_accuracy=None,
        val_accuracy=0.7,
    )


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [(e.text or "").strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]


def told(svg: str) -> str:
    return str(ElementTree.fromstring(svg).get("aria-label"))


# Ten answers at 95 %, nine of them right; four at 60 %, one of them right.
PROBS = np.array([[0.95, 0.05]] * 10 + [[0.6, 0.4]] * 4)
LABELS = np.array([0] * 9 + [1] + [0] + [1] * 3)


def test_reliability_tells_every_bin_with_answers():
    svg = draw_reliability("visible", {"as trained": list_reliability_bins(PROBS, LABELS)})
    assert told(svg) == (
        "Reliability of visible. as trained: 60 % sure, 25.0 % of 4 right, 95 % sure, 90.0 % of "
        "10 right."
    )
    # The bars are told their counts; empty bins have none.
    assert {"as trained", "4", "10"} <= set(texts(svg))
    assert texts(svg).count("0") == 1


def test_a_dot_lies_where_its_numbers_say():
    svg = draw_reliability("x", {"once": list_reliability_bins(PROBS, LABELS)})
    dots = [
        (float(x), float(y)) for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', svg)
    ]
    dots = [dot for dot in dots if dot[1] < 150]
    (x0, y0), (x1, y1) = sorted(dots)[:2]
    # Both axes have the same scale, so distances on the page are distances in per cent.
    assert (x1 - x0) / (y0 - y1) == pytest.approx((95 - 60) / (90 - 25), rel=0.01)


def test_panels_stand_side_by_side():
    bins = list_reliability_bins(PROBS, LABELS)
    one = draw_reliability("x", {"before": bins})
    two = draw_reliability("x", {"before": bins, "after": bins})
    assert {"before", "after"} <= set(texts(two))
    assert texts(two).count("too sure") == texts(one).count("too sure") == 1
    assert ElementTree.fromstring(two).get("height") == ElementTree.fromstring(one).get("height")


def test_coverage_labels_every_line_with_its_accuracy():
    curve = trace_coverage(PROBS, LABELS)
    svg = draw_coverage([(make_row("visible"), curve), (make_row("all", "late"), curve)], 2)
    assert {"71.4 % visible", "71.4 % all", "chance"} <= set(texts(svg))
    assert "visible 71.4 % of all, 90.0 % of the surer half; all" in told(svg)
    assert told(svg).endswith("Chance is 50 %.")
    assert "var(--late, " in svg


def test_lines_of_one_kind_have_their_own_dashes():
    curve = trace_coverage(PROBS, LABELS)

    def count_dashes(*fusions: Fusion) -> int:
        svg = draw_coverage([(make_row(f"m{i}", f), curve) for i, f in enumerate(fusions)], 2)
        return len(set(re.findall(r"stroke-dasharray: ([^;\"]+)", svg)))

    # Chance has its own.
    assert count_dashes("single", "early") == 1
    assert count_dashes("single", "single", "single") == 3


def test_few_answers_still_give_a_line():
    curve = trace_coverage(PROBS[:3], LABELS[:3])
    assert "100.0 % m" in texts(draw_coverage([(make_row("m"), curve)], 2))


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        draw_coverage([], 5)
    with pytest.raises(ValueError, match="nothing"):
        draw_reliability("x", {})
