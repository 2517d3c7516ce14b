"""One model against another on the same faces: no page says more than these tests support."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.resolution import Resolution, resolve_test_set
from ferfusion.evaluation.statistics import PairedTest, holm, mcnemar_exact, permute_by_subject
from ferfusion.reporting.summary import RunReport
from ferfusion.reporting.tables import (
    RESAMPLING_SEED,
    ResultRow,
    find_best_single,
    format_p,
    format_points,
    group_by_model,
    list_groups,
    make_rows,
    pool_folds,
    render_markdown,
)

SIGNIFICANCE = 0.05

FUSION = "does fusion help?"
STEPS = "do three steps help?"
WHERE = "early or late fusion?"
THIRD = "does a third modality help?"
BASELINE = "does a network differ from the baseline?"
ATTENTION = "does attention help?"
BACKBONE = "does the backbone matter?"
QUIRK = "what does the quirk change?"


@dataclass(frozen=True, eq=False)
class Paired:
    """Two models' answers to the same questions.

    Attributes:
        test: Whole subjects permuted.
        mcnemar_p: Exact McNemar, as if answers were independent.
        first: Whether the first model is right, per answer.
        second: The same of the second.
        groups: Whom each answer is about.
    """

    test: PairedTest
    mcnemar_p: float
    first: Bool[np.ndarray, " answers"]
    second: Bool[np.ndarray, " answers"]
    groups: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """One model against another on the same test samples.

    Attributes:
        title: Of the model in question.
        against: What it is held against: a title.
        question: What the comparison is made for, in a few words.
        test: First model = `title`; whole subjects permuted.
        mcnemar_p: The exact McNemar test on the same answers, which takes them as independent.
        adjusted_p: That of `test` after Holm, over all comparisons of the page.
        paired: The answers themselves.
    """

    title: str
    against: str
    question: str
    test: PairedTest
    mcnemar_p: float
    adjusted_p: float
    paired: "Paired"

    @property
    def verdict(self) -> str:
        """Says "better" or "worse" only where the adjusted p is below 0.05."""
        if self.adjusted_p >= SIGNIFICANCE:
            return "no difference shown"
        return "better" if self.test.difference > 0 else "worse"


def compare_models(runs: Sequence[RunReport]) -> tuple[Comparison, ...]:
    """Makes every comparison that was planned before the results were seen, and no other.

    In each table: fused networks against the best single one, and 3-step against 1-step. In the
    first one also early fusion (3-step) against late fusion of the same modalities, and either
    against itself with one modality less. Over the tables: the network that validation prefers of
    each backbone against the same network with the first backbone; each baseline and each attention
    network against the network with the same inputs; each quirk against the same model without it.
    "Best" and "prefers" always mean validation.

    Answers are paired by seed and sample, folds pooled; whole subjects are permuted, over all
    seeds together, and the p-values are adjusted (Holm) for the number of comparisons.
    """
    rows = make_rows(runs)
    predictions = {
        model: {run.record.seed: run.predictions for run in of_model}
        for model, of_model in group_by_model(pool_folds(runs)).items()
    }
    found = [
        (first, second, question, paired)
        for first, second, question in _list_pairs(rows)
        if (paired := compare_pair(predictions[first.model], predictions[second.model]))
    ]
    adjusted = holm([paired.test.p_value for *_, paired in found])
    return tuple(
        Comparison(first.title, second.title, question, paired.test, paired.mcnemar_p, p, paired)
        for (first, second, question, paired), p in zip(found, adjusted, strict=True)
    )


def _list_pairs(rows: Sequence[ResultRow]) -> Iterator[tuple[ResultRow, ResultRow, str]]:
    variants: dict[str, list[ResultRow]] = {}
    for row in rows:
        variants.setdefault(row.variant, []).append(row)
    networks = {
        name: [row for row in of_variant if row.method == "network"]
        for name, of_variant in variants.items()
    }
    first = next(iter(variants), "")
    same = {(row.variant, row.inputs, row.fusion, row.steps): row for row in rows
            if row.method == "network"}  # fmt: skip
    for of_variant in networks.values():
        best = find_best_single(of_variant)
        if best is not None:
            yield from ((row, best, FUSION) for row in of_variant if row.fusion != "single")
        for row in of_variant:
            other = same.get((row.variant, row.inputs, row.fusion, 1))
            if row.steps == 3 and other is not None:
                yield row, other, STEPS
    is_ablation = len({row.backbone for row in rows}) == 1
    if not (is_ablation and len(networks) > 1):
        yield from _list_kinds_of_fusion(networks.get(first, []))
    for name, of_variant in networks.items():
        if name == first or not of_variant or not networks[first]:
            continue
        if is_ablation:
            for row in of_variant:
                other = same.get((first, row.inputs, row.fusion, row.steps))
                if other is not None:
                    yield row, other, QUIRK
        else:
            row = _prefer(of_variant)
            other = same.get((first, row.inputs, row.fusion, row.steps))
            if other is not None:
                yield row, other, BACKBONE
    for row in rows:
        if row.method == "network":
            continue
        # A baseline has no steps: it is held against three of them, or the single or late model.
        place = (first, row.inputs, row.fusion, 3 if row.fusion == "early" else None)
        other = same.get(place)
        if other is not None and row.method == "attention":
            yield row, other, ATTENTION
        elif other is not None:
            yield other, row, BASELINE


def _list_kinds_of_fusion(
    rows: Sequence[ResultRow],
) -> Iterator[tuple[ResultRow, ResultRow, str]]:
    """Lists early against late fusion, and three modalities against two; early means 3-step."""
    early, late = (
        {row.inputs: row for row in rows if row.fusion == fusion and row.steps != 1}
        for fusion in ("early", "late")
    )
    yield from ((early[i], late[i], WHERE) for i in early if i in late)
    for kind in (early, late):
        for inputs, row in kind.items():
            names = set(inputs.split(" + "))
            for fewer, other in kind.items():
                if set(fewer.split(" + ")) < names:
                    yield row, other, THIRD


def _prefer(rows: Sequence[ResultRow]) -> ResultRow:
    return max(rows, key=lambda row: row.val_accuracy)


def compare_pair(
    first: Mapping[int, Predictions], second: Mapping[int, Predictions]
) -> "Paired | None":
    """Compares two models on the samples that both answered under the same seed.

    Args:
        first: Test predictions per seed.
        second: The same of the other model.

    Returns:
        None where they share no seed and sample.
    """
    right: tuple[list[bool], list[bool]] = ([], [])
    groups: list[tuple[str, str]] = []
    for seed in sorted(first.keys() & second.keys()):
        answers = dict(zip(second[seed].sample_ids, second[seed].correct, strict=True))
        own = zip(
            first[seed].sample_ids, first[seed].correct, list_groups(first[seed]), strict=True
        )
        for sample_id, is_correct, group in own:
            if sample_id in answers:
                right[0].append(bool(is_correct))
                right[1].append(bool(answers[sample_id]))
                groups.append(group)
    if not groups:
        return None
    first_right, second_right = np.array(right[0]), np.array(right[1])
    return Paired(
        permute_by_subject(first_right, second_right, groups, RESAMPLING_SEED),
        mcnemar_exact(first_right, second_right).p_value,
        first_right,
        second_right,
        tuple(groups),
    )


@dataclass(frozen=True)
class WithoutPerson:
    """Two models once more, without whoever has the most faces.

    Attributes:
        person: Who is left out.
        n_left_out: Answers about that person.
        correct: Right answers of the first and of the second model about all others.
        test: Whole subjects permuted, all others only.
        resolution: What the test set could resolve without that person.
    """

    person: str
    n_left_out: int
    correct: tuple[int, int]
    test: PairedTest
    resolution: Resolution


MUCH = 0.1
"""Share of the faces from which one person may carry a result alone."""


def leave_out_largest(paired: Paired) -> WithoutPerson | None:
    """Says what is left without the person with the most faces; None where nobody has many."""
    counts = Counter(name for kind, name in paired.groups if kind == "subject")
    (person, n), (_, next_n) = (*counts.most_common(2), ("", 0), ("", 0))[:2]
    rest = np.array([group != ("subject", person) for group in paired.groups])
    # Of a few people who have as many each, nobody stands out.
    if n < MUCH * len(rest) or n < 2 * next_n or not rest.any():
        return None
    first, second = paired.first[rest], paired.second[rest]
    groups = [group for group, stays in zip(paired.groups, rest, strict=True) if stays]
    test = permute_by_subject(first, second, groups, RESAMPLING_SEED)
    resolution = resolve_test_set(first, second, groups)
    return WithoutPerson(person, n, (int(first.sum()), int(second.sum())), test, resolution)


def render_comparisons_markdown(comparisons: Sequence[Comparison]) -> str:
    """Writes the paired comparisons for a README."""
    heading = ["model", "against", "only first right", "only second right", "points"]
    heading += ["p", "p adjusted", "finding"]
    body = [
        [
            comparison.title,
            comparison.against,
            str(comparison.test.only_a),
            str(comparison.test.only_b),
            format_points(comparison.test.difference),
            format_p(comparison.test.p_value),
            format_p(comparison.adjusted_p),
            comparison.verdict,
        ]
        for comparison in comparisons
    ]
    return render_markdown(heading, body, left=2)
