"""The model card of a bundle, and the notes on licences: for whoever meets the model without us.

Source:
    Mitchell et al. 2019, Model cards for model reporting. The first lines are what the Hugging Face
    hub reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ferfusion.reporting.tables import format_proportion
from ferfusion.responsible_use import RESPONSIBLE_USE

_TORCHVISION = (
    "weights of torchvision (code BSD-3-Clause) trained on ImageNet, whose terms allow "
    "non-commercial research and education"
)
_TIMM = (
    "weights of timm (code Apache-2.0; see the weights' own page there), trained on ImageNet, "
    "whose terms allow non-commercial research and education"
)
_ORIGINS = {
    "resnet18": _TORCHVISION,
    "vgg16": _TORCHVISION,
    "shufflenet_v2": _TORCHVISION,
    "mobilenet_v2": _TORCHVISION,
    "alexnet": _TORCHVISION,
}


@dataclass(frozen=True)
class CardFacts:
    """What a card tells.

    Attributes:
        facts: A bundle's bundle.json.
        parity: Its parity.json.
    """

    facts: Mapping[str, Any]
    parity: Mapping[str, Any]


def write_card(card: CardFacts) -> str:
    """Gives the card as Markdown."""
    facts, test, learned = card.facts, card.facts["test"], card.facts["trained_on"]
    modalities = " + ".join(facts["modalities"])
    keywords = ", ".join(f"{m}=..." for m in facts["modalities"])
    heat, whole = facts["infrared_as"], card.parity["squeezed_in_graph"]
    lines = [
        "---",
        "library_name: ferfusion",
        "license: other",
        "license_name: see-licences",
        "license_link: LICENCES.md",
        "pipeline_tag: image-classification",
        "tags: [facial-expression-recognition, thermal-infrared, multimodal, onnx]",
        "---",
        "",
        f"# {facts['name']}: facial expressions from {modalities}",
        "",
        f"{_say_fusion(facts)}, {facts['backbone']}, {facts['parameters'] / 1e6:.1f} million "
        f"parameters, {facts['size_px']} px, {facts['precision']}. Made with ferfusion "
        f"{facts['ferfusion']}, {facts['written'][:10]}.",
        "",
        "| in | out |",
        "|---|---|",
        f"| one picture each of: {modalities}; of one moment, laid on each other, cut to the face "
        f"| calibrated probabilities of: {', '.join(facts['labels'])} |",
        "",
        "```python",
        "from ferfusion import load  # pip install 'ferfusion[runtime]', no PyTorch",
        "",
        f"answer = load('THIS FOLDER').predict({keywords})",
        "answer.label, answer.confidence, answer.abstained",
        "```",
        "",
        *(
            [f"Its infrared pictures are made of temperatures ({heat}): give degrees Celsius.", ""]
            if heat != "picture"
            else []
        ),
        "## How good it is",
        "",
        *_tell_test(facts, test),
        "",
        "## What it learned from",
        "",
        *([learned["note"], ""] if learned["note"] else []),
        f"{learned['samples']['train']} samples trained it, {learned['samples']['val']} chose it, "
        f"{learned['samples']['test']} tested it. {tell_people(learned)} Fingerprint of the data: "
        f"`{learned['fingerprint']}`.",
        *(
            ["", "**Leaks were found in this split and allowed**; the figures above flatter."]
            if learned["leaks"]
            else []
        ),
        "",
        "## That it is the trained model",
        "",
        f"Graph and trained model were asked about the same {card.parity['samples']} samples "
        f"({card.parity['asked']}). The largest difference of a probability is "
        f"{card.parity['max_probability_difference']:.2g} (bound {card.parity['bound']:g}), before "
        f"calibration {card.parity['max_uncalibrated_difference']:.2g}; "
        f"{100 * card.parity['label_agreement']:.1f} % of the labels agree "
        f"({' and '.join(card.parity['engines'])}). Where the graph squeezes pictures itself, of "
        f"sizes {', '.join(whole['sizes'])}, the largest is "
        f"{whole['max_probability_difference']:.2g} (bound {whole['bound']:g}). `parity.json` has "
        "it all.",
        "",
        "## Responsible use",
        "",
        *(f"* {sentence}" for sentence in RESPONSIBLE_USE),
        "",
        "## Licences",
        "",
        "See [LICENCES.md](LICENCES.md). The method is that of Naseem, Lee and Kim, IEEE Access 12 "
        "(2024), doi 10.1109/ACCESS.2024.3362247; please cite it.",
    ]
    return "\n".join(lines) + "\n"


def describe_licences(backbone: str, weights: str, *, is_drawn: bool = False) -> str:
    """Gives the notes on licences as Markdown.

    Args:
        backbone: Name of the trunk.
        weights: What it started from: `imagenet`, `none`, or the name of a file.
        is_drawn: Whether ferfusion drew the faces that it learned from.
    """
    if weights == "none":
        start = "The trunks started from random weights."
    elif weights == "imagenet":
        start = f"The trunks started from {_ORIGINS.get(backbone, _TIMM)}."
    else:
        start = (
            f"The trunks started from the file `{weights}`. Its terms are known to whoever made "
            "this bundle; ask them."
        )
    owners = (
        "faces have owners. VIRI, NVIE and others come with terms of their own, often for research "
        "only, and these may bind what was trained on them. Whoever made this bundle knows which "
        "data it was; ask them before you use it for anything but looking at it."
    )
    data = "the faces were drawn by ferfusion and are nobody's." if is_drawn else owners
    lines = (
        "# Licences",
        "* **Software**: ferfusion is Apache-2.0. The graph runs in ONNX Runtime (MIT) or OpenVINO "
        "(Apache-2.0).",
        f"* **Weights**: {start} Training on the data below made of them what they are.",
        f"* **Data**: {data}",
    )
    return "\n\n".join(lines) + "\n"


def _say_fusion(facts: Mapping[str, Any]) -> str:
    if facts["fusion"] == "single":
        return "A single model"
    if facts["fusion"] == "early":
        return f"Early fusion (joined features, {facts['steps']}-step)"
    weights = facts["late_weights"]["weights"]
    shares = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
    return f"Late fusion (mixed probabilities: {shares})"


def _tell_test(facts: Mapping[str, Any], test: Mapping[str, Any]) -> list[str]:
    whole = format_proportion(test["correct"], test["n"])
    people = f", of {test['people']} people" if test["people"] else ""
    lines = [f"Right on its test split: **{whole}** (95 % Wilson interval{people})."]
    rule = facts.get("answer_rule")
    if rule is not None and test["answered"]:
        lines.append(
            f"It would rather not say where it is less sure than {rule['least_confidence']:.3f}, "
            f"which {rule['coverage']:.0%} of {rule['n']} validation samples reach. Of the test "
            f"samples it answers {test['answered']} of {test['n']}, and of these right: "
            f"{format_proportion(test['answered_correct'], test['answered'])}."
        )
    lines += ["", "| class | right |", "|---|---:|"]
    lines += [
        f"| {label} | {format_proportion(of['correct'], of['n']) if of['n'] else 'no sample'} |"
        for label, of in test["by_class"].items()
    ]
    return lines


def tell_people(learned: Mapping[str, Any]) -> str:
    """Says on whom the model was trained, as far as anybody wrote it down."""
    shared, people = learned["shared_people"], learned["people_learned_from"]
    if learned["drawn"]:
        return (
            f"**The faces were drawn by software: its {people or 'people'} training people don't "
            "exist, and the figures above say nothing about real ones.**"
        )
    unknown = (
        " Their age, sex and origin, and the cameras, aren't recorded here: ask whoever made this "
        "bundle."
    )
    if shared:
        return (
            f"**{shared} people are in more than one of these parts, so the figures above flatter "
            "it.**"
        ) + unknown
    if people is None:
        return (
            "How many people, and whether some of them were in test, isn't known: the run had lost "
            "its seen.json."
        ) + unknown
    if not people:
        return (
            "**Nobody said who is who, so the same people may be in training and in test, and the "
            "figures above may flatter it.**"
        ) + unknown
    return f"It learned from {people} people, and nobody of the test split is among them." + unknown
