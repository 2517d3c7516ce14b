"""What stands in the sections of a page, as plain data that a template only has to write down."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ferfusion.evaluation.resolution import Resolution, resolve_test_set
from ferfusion.evaluation.statistics import Interval, bootstrap_by_subject
from ferfusion.reporting.comparisons import (
    FUSION,
    QUIRK,
    Comparison,
    Paired,
    WithoutPerson,
    compare_pair,
    leave_out_largest,
)
from ferfusion.reporting.summary import (
    RunReport,
    SplitFacts,
    StudySummary,
    VariantFacts,
)
from ferfusion.reporting.tables import (
    RESAMPLING_SEED,
    ResultRow,
    find_best_single,
    group_by_model,
    keep_complete,
)

# More test splits than this are told by their range.
_MOST_SPLITS_TOLD = 6


@dataclass(frozen=True, eq=False)
class Table:
    """The models that one variant of a study trained.

    Attributes:
        name: Of the variant; empty where there is one.
        anchor: What links to it.
        rows: With titles that don't repeat the name.
        runs: Key of a model -> one run for each seed, folds pooled.
        chosen: The networks that validation prefers: single, early and late, as far as there are.
        recipe: How they were trained; in later tables only what differs from the first.
        weights: First weights of their trunks, in words.
    """

    name: str
    anchor: str
    rows: tuple[ResultRow, ...]
    runs: Mapping[str, Sequence[RunReport]]
    chosen: tuple[ResultRow, ...]
    recipe: Mapping[str, str]
    weights: str


@dataclass(frozen=True)
class ComparisonLine:
    """A comparison, with titles as short as its block allows and the interval of its points."""

    title: str
    against: str
    comparison: Comparison
    interval: Interval


@dataclass(frozen=True)
class Question:
    """The comparisons that answer one question.

    Attributes:
        text: The question.
        blocks: Name of a table -> its comparisons; "" for those between tables.
    """

    text: str
    blocks: Mapping[str, Sequence[ComparisonLine]]


@dataclass(frozen=True)
class AblationCell:
    """A model with one quirk.

    Attributes:
        row: Its numbers.
        line: How it differs from the model without; None for that model itself.
        is_idle: Whether the quirk can't act on this model.
    """

    row: ResultRow
    line: ComparisonLine | None
    is_idle: bool = False


def make_tables(
    rows: Sequence[ResultRow], runs: Sequence[RunReport], variants: Sequence[VariantFacts]
) -> tuple[Table, ...]:
    """Gathers the models of each variant, in the order of the study.

    Args:
        rows: Every row, with full titles.
        runs: Of these rows, folds pooled.
        variants: How the tables were trained.
    """
    by_variant: dict[str, list[ResultRow]] = {}
    for row in rows:
        short = replace(row, how=row.how.removesuffix(f", {row.variant}"))
        by_variant.setdefault(row.variant, []).append(short)
    by_model = group_by_model(runs)
    facts = {variant.name: variant for variant in variants}
    first = facts.get(next(iter(by_variant)), VariantFacts("", {})).recipe
    tables: list[Table] = []
    for place, (name, own_rows) in enumerate(by_variant.items()):
        own = facts[name].recipe if name in facts else {}
        told = own if place == 0 else {k: v for k, v in own.items() if first.get(k) != v}
        own_runs = {row.model: by_model[row.model] for row in own_rows}
        tables.append(
            Table(
                name=name,
                anchor=f"table-{place + 1}",
                rows=tuple(own_rows),
                runs=own_runs,
                chosen=choose_models(own_rows),
                recipe=told,
                weights=tell_weights(own.get("first weights", "")),
            )
        )
    return tuple(tables)


def tell_weights(weights: str) -> str:
    """Says what trunks started from.

    >>> tell_weights("none"), tell_weights("imagenet"), tell_weights("trunk.safetensors")
    ('random weights', 'ImageNet weights', 'trunk.safetensors')
    """
    return {"none": "random weights", "imagenet": "ImageNet weights"}.get(weights, weights)


ONE_ANSWER = 0.95
"""Share of the answers from which a model is said to give one answer to every face."""


@dataclass(frozen=True)
class Collapse:
    """How many of a model's trainings gave (almost) one answer to every test face."""

    n_collapsed: int
    n_trainings: int


def find_collapsed(runs: Sequence[RunReport]) -> dict[str, Collapse]:
    """Finds models whose training collapsed, in all or in some of their splits.

    Args:
        runs: Every run, folds apart: pooled, folds with different answers would hide it.

    Returns:
        Key of a model -> how often. Models that never did are left out.
    """
    found: dict[str, Collapse] = {}
    for model, of_model in group_by_model(runs).items():
        shares = [
            Counter(run.predictions.predicted.tolist()).most_common(1)[0][1] / len(run.predictions)
            for run in of_model
        ]
        n = sum(share >= ONE_ANSWER for share in shares)
        if n:
            found[model] = Collapse(n, len(shares))
    return found


def choose_models(rows: Sequence[ResultRow]) -> tuple[ResultRow, ...]:
    """Picks the networks that validation prefers: a single, an early and a late one.

    Where there is no network, the model that validation prefers.
    """
    chosen = [find_best_single(rows)]
    for fusion in ("early", "late"):
        fused = [row for row in rows if row.fusion == fusion and row.method == "network"]
        chosen.append(max(fused, key=lambda row: row.val_accuracy, default=None))
    found = tuple(row for row in chosen if row is not None)
    return found or (max(rows, key=lambda row: row.val_accuracy),)


def find_fused(rows: Sequence[ResultRow]) -> ResultRow | None:
    """Finds the fused network that validation prefers; the first among equals."""
    fused = [row for row in rows if row.fusion != "single" and row.method == "network"]
    return max(keep_complete(fused), key=lambda row: row.val_accuracy, default=None)


def make_overview(tables: Sequence[Table]) -> dict[str, dict[str, ResultRow]]:
    """Gives model -> name of table -> its row, for models that stand in several tables."""
    found: dict[str, dict[str, ResultRow]] = {}
    for table in tables:
        for row in table.rows:
            found.setdefault(row.title, {})[table.name] = row
    return {title: cells for title, cells in found.items() if len(cells) > 1}


def group_comparisons(
    rows: Sequence[ResultRow], comparisons: Sequence[Comparison]
) -> tuple[Question, ...]:
    """Sorts comparisons by question and table, in the order in which they first occur.

    Args:
        rows: Every row of the study, with full titles.
        comparisons: As `compare_models` gives them.
    """
    by_title = {row.title: row for row in rows}
    questions: dict[str, dict[str, list[ComparisonLine]]] = {}
    for comparison in comparisons:
        first, second = by_title[comparison.title], by_title[comparison.against]
        is_inside = first.variant == second.variant
        name = first.variant if is_inside else ""
        blocks = questions.setdefault(comparison.question, {})
        blocks.setdefault(name, []).append(_make_line(comparison, second, name))
    return tuple(Question(text, blocks) for text, blocks in questions.items())


def _make_line(comparison: Comparison, second: ResultRow, name: str) -> ComparisonLine:
    def shorten(words: str) -> str:
        return words.removesuffix(f", {name}") if name else words

    how = shorten(second.how).removeprefix("single, ")
    is_same = f"{comparison.title},".startswith(f"{second.inputs},") and how != "single"
    paired = comparison.paired
    return ComparisonLine(
        shorten(comparison.title),
        # Inputs that both have needn't be said twice.
        how if is_same else shorten(second.title),
        comparison,
        bootstrap_by_subject(
            paired.first.astype(float) - paired.second, paired.groups, RESAMPLING_SEED
        ),
    )


def make_ablation(
    tables: Sequence[Table], rows: Sequence[ResultRow], comparisons: Sequence[Comparison]
) -> dict[str, dict[str, AblationCell]]:
    """Gives model -> name of table -> cell, where a study measures quirks; else nothing."""
    by_title = {row.title: row for row in rows}
    lines = {
        c.title: _make_line(c, by_title[c.against], "") for c in comparisons if c.question == QUIRK
    }
    if not lines:
        return {}
    full_title = {row.model: row.title for row in rows}
    found: dict[str, dict[str, AblationCell]] = {row.title: {} for row in tables[0].rows}
    for table in tables:
        for row in table.rows:
            line = lines.get(full_title[row.model])
            is_idle = table.name == "independent_augmentation" and "+" not in row.inputs
            cell = AblationCell(row, line, is_idle and line is not None)
            found.setdefault(row.title, {})[table.name] = cell
    return found


def resolve_pair(
    runs: Sequence[RunReport], first: ResultRow, second: ResultRow
) -> Resolution | None:
    """Says what the test samples of the first common seed can tell of two models.

    One seed only, because more seeds are no more faces.

    Args:
        runs: With folds pooled.
        first: One model.
        second: The other one.
    """
    paired = _pair_one_seed(runs, first, second)
    if paired is None:
        return None
    return resolve_test_set(paired.first, paired.second, paired.groups)


def leave_out_person(
    runs: Sequence[RunReport], first: ResultRow, second: ResultRow
) -> WithoutPerson | None:
    """Says how two models do without the person with the most faces, under the first common seed.

    One seed only, as for `resolve_pair`.

    Args:
        runs: With folds pooled.
        first: One model.
        second: The other one.
    """
    paired = _pair_one_seed(runs, first, second)
    return None if paired is None else leave_out_largest(paired)


def _pair_one_seed(runs: Sequence[RunReport], first: ResultRow, second: ResultRow) -> Paired | None:
    by_model = group_by_model(runs)
    a = {run.record.seed: run.predictions for run in by_model[first.model]}
    b = {run.record.seed: run.predictions for run in by_model[second.model]}
    for seed in sorted(a.keys() & b.keys()):
        paired = compare_pair({seed: a[seed]}, {seed: b[seed]})
        if paired is not None:
            return paired
    return None


def list_late(
    study: StudySummary, rows: Sequence[ResultRow]
) -> tuple[tuple[ResultRow, tuple[RunReport, ...]], ...]:
    """Lists the runs, of every seed and fold, that tell how a late fusion was weighted."""
    by_model = group_by_model(study.runs)
    found = [(row, tuple(run for run in by_model[row.model] if run.late)) for row in rows]
    return tuple((row, runs) for row, runs in found if runs)


def tell_splits(row: ResultRow) -> str:
    """Writes the accuracy on each test split: counts of seeds, rates of folds."""
    if len(row.points) == len(row.seeds):
        return row.each_seed
    if len(row.points) <= _MOST_SPLITS_TOLD:
        return ", ".join(f"{100 * rate:.0f}" for rate in row.points) + " %"
    low, high = 100 * min(row.points), 100 * max(row.points)
    return f"{low:.0f} to {high:.0f} % in {len(row.points)}"


def group_splits(
    splits: Sequence[SplitFacts],
) -> list[tuple[tuple[str, ...], list[SplitFacts]]]:
    """Gives the folds of each seed, with the names of the tables that were made with them."""
    found: dict[tuple[tuple[str, ...], int], list[SplitFacts]] = {}
    for split in splits:
        found.setdefault((split.tables, split.seed), []).append(split)
    return [(tables, of_seed) for (tables, _), of_seed in found.items()]


def gather_shared(splits: Sequence[SplitFacts]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Gives names of tables -> everybody who is in more than one part of a split of theirs."""
    found: dict[tuple[str, ...], set[str]] = {}
    for split in splits:
        found.setdefault(split.tables, set()).update(split.shared_subjects)
    return {tables: tuple(sorted(people)) for tables, people in found.items() if people}


def find_main(rows: Sequence[ResultRow]) -> tuple[ResultRow, ResultRow] | None:
    """Gives the pair of the headline: the fused and the single network that validation prefers."""
    fused, best = find_fused(rows), find_best_single(rows)
    return None if fused is None or best is None else (fused, best)


def find_quirk_pair(
    rows: Sequence[ResultRow], comparisons: Sequence[Comparison]
) -> tuple[ResultRow, ResultRow] | None:
    """Gives the fused network that validation prefers with a quirk, and without; None without any.

    Of its quirks the one in the middle, by how often the answers with and without it differ.
    """
    by_title = {row.title: row for row in rows}
    lines = [c for c in comparisons if c.question == QUIRK]
    without = find_fused([by_title[c.against] for c in lines])
    own = [c for c in lines if without is not None and c.against == without.title]
    if without is None or not own:
        return None
    own.sort(key=lambda c: (c.test.only_a + c.test.only_b) / c.test.n)
    return by_title[own[len(own) // 2].title], without


def list_fusion(comparisons: Sequence[Comparison], best: ResultRow) -> list[Comparison]:
    """Lists the fused networks that are held against this single one."""
    return [c for c in comparisons if c.question == FUSION and c.against == best.title]
