import re
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import ArrayLike

from ferfusion.reporting.fusion_surface import draw_fusion_surface
from ferfusion.reporting.summary import LateChoice
from ferfusion.training.weight_search import list_weights


def choose(correct: ArrayLike, chosen: int, *modalities: str, n: int = 83) -> LateChoice:
    weights = list_weights(len(modalities), 10) / 10
    return LateChoice(modalities, weights, np.array(correct), chosen, n)


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [(e.text or "").strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]


def told(svg: str) -> str:
    return str(ElementTree.fromstring(svg).get("aria-label"))


LINE = [40, 41, 50, 55, 60, 66, 70, 70, 69, 68, 61]


def test_a_line_shows_every_count_and_the_choice():
    # The seventh mixture gives 0.6 to the first modality.
    svg = draw_fusion_surface([choose(LINE, 6, "visible", "infrared")])
    shown = texts(svg)
    for count in LINE:
        assert str(count) in shown
    assert {"right of 83", "Chosen: 0.6 visible + 0.4 infrared (1 as good)"} <= set(shown)
    assert told(svg) == (
        "Late fusion of visible and infrared on validation: chosen is 0.6 visible + 0.4 infrared "
        "with 70 of 83 right; 1 other mixture is as good; all 11 mixtures have 40 to 70 of 83 "
        "right; visible alone 61, infrared alone 40."
    )


def test_counts_stand_over_their_weights_from_left_to_right():
    svg = draw_fusion_surface([choose(range(40, 51), 10, "visible", "msx")])
    places = {
        (e.text or "").strip(): float(str(e.get("x")))
        for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        if e.get("x")
    }
    counts = [places[str(count)] for count in range(40, 51)]
    weights = [places[f"{i / 10:.1f}"] for i in range(11)]
    assert counts == sorted(counts)
    assert counts == pytest.approx(weights, abs=0.5)


def test_folds_are_added_up_and_each_has_its_dot():
    folds = [choose(np.add(LINE, i), 6 + i % 2, "visible", "infrared", n=83 + i) for i in range(3)]
    svg = draw_fusion_surface(folds)
    assert {"right of 252", "3 folds added up; they chose 2 mixtures"} <= set(texts(svg))
    assert str(70 + 71 + 72) in texts(svg)
    assert "0.6 visible + 0.4 infrared by 2; 0.7 visible + 0.3 infrared by 1" in told(svg)
    dots = svg.count("<use ") - draw_fusion_surface([*folds, folds[0]]).count("<use ")
    assert dots == -1


def test_a_triangle_shows_all_66_mixtures_and_names_its_corners():
    correct = np.arange(100, 166)
    svg = draw_fusion_surface([choose(correct, 65, "visible", "infrared", "msx", n=200)])
    shown = texts(svg)
    assert all(str(count) in shown for count in correct)
    assert {"visible alone", "infrared alone", "MSX alone"} <= set(shown)
    # The last mixture of the list is all of the first modality.
    assert "chosen is 1.0 visible + 0.0 infrared + 0.0 MSX with 165 of 200" in told(svg)
    assert "visible alone 165, infrared alone 110, MSX alone 100" in told(svg)


def test_the_best_mixture_is_the_most_opaque():
    correct = np.full(66, 50)
    correct[30] = 60
    svg = draw_fusion_surface([choose(correct, 30, "visible", "infrared", "msx")])
    cells = re.findall(r"fill: rgb\(var\(--heat[^)]*\)\); opacity: ([0-9.]+)", svg)
    assert len(cells) == 66
    assert [float(opacity) == pytest.approx(0.9) for opacity in cells].index(True) == 30
    assert cells.count("0.04") == 65


def test_ties_are_outlined():
    correct = np.full(66, 50)
    correct[[30, 31, 32]] = 60

    def count_outlines(chosen: int, correct: np.ndarray) -> int:
        svg = draw_fusion_surface([choose(correct, chosen, "visible", "infrared", "msx")])
        return svg.count("stroke: var(--ink")

    assert count_outlines(30, correct) == 3
    assert count_outlines(5, np.full(66, 50)) == 66


def test_many_folds_of_one_choice_are_a_number():
    fold = choose(np.arange(66), 40, "visible", "infrared", "msx")
    assert "\u00d75" in texts(draw_fusion_surface([fold] * 5))
    assert "\u00d73" not in texts(draw_fusion_surface([fold] * 3))


def test_all_mixtures_alike_is_no_error():
    svg = draw_fusion_surface([choose([50] * 11, 5, "visible", "msx")])
    assert "10 other mixtures are as good" in told(svg)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([], "nothing"),
        ([choose([5], 0, "visible")], "two or three"),
        (
            [choose(LINE, 0, "visible", "msx"), choose(LINE, 0, "visible", "infrared")],
            "same mixtures",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(choices: list[LateChoice], message: str):
    with pytest.raises(ValueError, match=message):
        draw_fusion_surface(choices)
