"""The tables of docs/performance.md, each from the files it is of."""

import csv
import json
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from growth_figure import WORKS, measure_slope
from measuring import UNITS

from ferfusion.errors import ConfigError
from ferfusion.training.recipe import Recipe

Row = Mapping[str, str]

NOT_YET = "not measured yet"
TARGETS = {
    "epoch_single": 2.3,
    "epoch_early3": 2.2,
    "first_epoch": 2.0,
    "comparison": 2.3,
    "epoch_frozen": 100,
    "late_grid": 1000,
    "infer_triple_fp32": 1.7,
    "infer_triple_int8": 4.5,
    "infer_folder_fp32": 1.6,
    "infer_folder_int8": 4,
}
"""How many times as fast as the plain script each work must be, on two cores."""
_OTHERS = ("gpu-", "growth-", "predict-", "scaling-")
_UNTOLD = ("gflop_per_s", "compared_samples")


def fill(page: str, name: str, text: str) -> str:
    """Gives the page with another text between the two marks of a section.

    Raises:
        ConfigError: The page doesn't have each of them once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ConfigError(f"The page needs {begin} and {end} once each; give another --page.")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def read_all(folder: Path, pattern: str) -> list[tuple[Path, list[dict[str, str]]]]:
    """Reads every CSV of a folder that has such a name, in the order of names."""
    found: list[tuple[Path, list[dict[str, str]]]] = []
    for path in sorted(folder.glob(pattern)):
        with path.open(newline="", encoding="utf-8") as stream:
            found.append((path, list(csv.DictReader(stream))))
    return found


def tell_ratios(results: Path) -> str:
    """Holds every ratio against its target, machine by machine."""
    parts: list[str] = []
    for path, rows in _read_yardsticks(results):
        by_work = {row["work"]: row for row in rows}
        works = _read_conditions(path).get("works", {})
        notes = "\n".join(f"* {sentence}" for sentence in list_conditions(by_work, works))
        parts += [_say_source(path, rows), _tell_ratios(by_work, works), notes]
    return "\n\n".join(parts) or _tell_ratios({}, {})


def _tell_ratios(rows: Mapping[str, Row], works: Mapping[str, Any]) -> str:
    lines: list[list[str]] = []
    for work, target in TARGETS.items():
        if work not in rows:
            lines.append([work, "", "", NOT_YET, f"{target:g}", "", ""])
            continue
        row, unit = rows[work], UNITS[work]
        ratio = float(row["ratio_median"])
        lines.append(
            [
                work,
                f"{_round(row['plain'])} {unit}",
                f"{_round(row['ours'])} {unit}",
                f"{_round(ratio)} ({_round(row['ratio_min'])} to {_round(row['ratio_max'])})",
                f"{target:g}",
                _say_reached(ratio, _find_least(row, works.get(work, {})), target),
                _round(row["peak_mb"]),
            ]
        )
    heading = ["work", "plain", "ours", "ratio (rounds)", "target", "reached", "our peak MB"]
    return _table(heading, lines)


def list_conditions(rows: Mapping[str, Row], works: Mapping[str, Any]) -> list[str]:
    """Says what one must know to read the ratios, as far as the conditions tell.

    Args:
        rows: Of the table, by work.
        works: Conditions of each work.
    """
    said = [
        'Reached goes by the median of the rounds; "median" means that a round was below the target'
        f"{_list_low_rounds(rows, works)}."
    ]
    if facts := works.get("comparison"):
        sizes = facts["sizes"]
        said.append(
            f"comparison was measured with {sum(sizes['comparison_samples'].values())} samples, "
            f"{sizes['comparison_epochs']} epochs and {facts['rounds']} rounds. Without the grid "
            "that runs the models again, which a more careful script would spare itself, its ratio "
            f"is {_round(facts['ratio_without_grid'])}."
        )
    if facts := works.get("epoch_frozen"):
        said.append(_say_frozen(facts, rows["epoch_frozen"]))
    if facts := works.get("late_grid"):
        said.append(_say_grid(facts, rows["late_grid"]))
    return said


def _list_low_rounds(rows: Mapping[str, Row], works: Mapping[str, Any]) -> str:
    least = {work: _find_least(row, works.get(work, {})) for work, row in rows.items()}
    low = [
        f"{work} ({_round_below(least[work], target)}, target {target:g})"
        for work, target in TARGETS.items()
        if work in rows and least[work] < target <= float(rows[work]["ratio_median"])
    ]
    return f": {', '.join(low)}" if low else "; there is none"


def _find_least(row: Row, facts: Mapping[str, Any]) -> float:
    """Gives the lowest ratio of a round, to more digits than the table has where they are known."""
    rounds = zip(facts.get("plain_rounds", ()), facts.get("our_rounds", ()), strict=False)
    return min((plain / ours for plain, ours in rounds), default=float(row["ratio_min"]))


def _say_reached(ratio: float, least: float, target: float) -> str:
    if ratio < target:
        return "no"
    return "yes" if least >= target else "median"


def _say_frozen(facts: Mapping[str, Any], row: Row) -> str:
    """Says what a frozen trunk gains over a whole training, with the epochs that compute."""
    first, each_s = facts["ours"]["epochs_that_compute"], facts["ours"]["seconds_of_such_an_epoch"]
    epochs = Recipe().epochs
    plain_s = epochs * float(row["plain"])
    ours_s = first * each_s + (epochs - first) * float(row["ours"])
    return (
        f"epoch_frozen's ratio holds from epoch {first + 1} on. Each of the first {first} computes "
        f"the features of its augmentation and takes {_round(each_s)} s. A whole training of "
        f"{epochs} epochs therefore comes to {_round(ours_s)} s against {_round(plain_s)}: a ratio "
        f"of {_round(plain_s / ours_s)}."
    )


def _say_grid(facts: Mapping[str, Any], row: Row) -> str:
    """Says what late_grid's plain side is, and what is left against a loop in numpy."""
    timed, n = facts["sizes"]["forward_samples"], facts["sizes"]["grid_samples"]
    one_ms, loop_ms = facts["plain"]["one_sample_one_mixture_ms"], facts["ours"]["numpy_loop_ms"]
    mixtures = round(float(row["plain"]) / one_ms / n)
    return (
        f"late_grid's plain side was not run whole: one mixture of {timed} samples was timed and "
        f"scaled up to {mixtures} mixtures of {n:,} samples. Whoever stores probabilities needs no "
        f"model for it, only a loop in numpy, which takes {_round(loop_ms)} ms: against that the "
        f"ratio is {_round(loop_ms / float(row['ours']))}."
    )


def _say_agreement(folder: Path) -> str:
    """Holds the few samples of the benchmark against the counts of the study of precision."""
    said = [
        f"{row['same_label']} of {row['n']} ({int(row['same_label']) / int(row['n']):.1%}; "
        f"{row['model']})"
        for _, rows in read_all(folder, "*.csv")
        for row in rows
        if row.get("what") == "int8 in use"
    ]
    if not said:
        return ""
    return (
        "The labels of these few samples say little. With more of them (see [Precision]"
        f"(#precision)) int8 gave the label of fp32 in {' and '.join(said)}."
    )


def tell_bounds(results: Path) -> str:
    """Says what the machine can do, how near it a work comes, and what else was seen."""
    parts: list[str] = []
    for path, rows in _read_yardsticks(results):
        known = _read_conditions(path)
        if not known:
            continue
        peak = known["machine"]["peak"]
        bests = {
            kind: max(peak[f"{what}_{kind}_gflop_per_s"] for what in ("matmul", "convolution"))
            for kind in ("fp32", "bf16")
        }
        parts.append(
            f"{_say_source(path, rows)} {known['machine']['cores']} cores. The most that torch "
            f"does here: {bests['fp32']:g} GFLOP/s in fp32 and {bests['bf16']:g} in bf16 (the "
            "better of a large product and a 3 x 3 convolution)."
        )
        parts.append(_table(["work", "seen beside its time"], _list_facts(known["works"])))
    if parts and (said := _say_agreement(results / "precision")):
        parts.append(said)
    return "\n\n".join(parts) or f"{NOT_YET.capitalize()}."


def _list_facts(works: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    lines: list[list[str]] = []
    for work, facts in works.items():
        said: list[str] = []
        for kind in ("fp32", "bf16"):
            if share := facts.get(f"share_of_{kind}_peak"):
                floor = share * statistics.median(facts["our_rounds"])
                said.append(
                    f"floor {floor:.3g} {UNITS[work]} (its arithmetic at the {kind} peak), gap "
                    f"{1 / share:.2g} times"
                )
                said.append(f"{share:.0%} of the {kind} peak")
        if "ratio_without_grid" in facts:
            said.append(f"ratio {_round(facts['ratio_without_grid'])} without the plain grid")
        ours = facts.get("ours", {})
        for name, value in ours.items():
            if name == "label_agreement" and "compared_samples" in ours:
                n = ours["compared_samples"]
                said.append(f"same label as the trained model in {round(value * n)} of {n} samples")
            elif isinstance(value, int | float | str) and name not in _UNTOLD:
                shown = f"{value:.1%}" if name.startswith("share") else _round(value)
                said.append(f"{name.replace('_', ' ')} {shown}")
        if "plain_peak_mb" in facts:
            said.append(f"the plain script's peak {_round(facts['plain_peak_mb'])} MB")
        if not ours:
            said.append("its arithmetic and its data path were not measured apart")
        lines.append([work, "; ".join(said)])
    return lines


def tell_growth(results: Path) -> str:
    """Lists times and memory against the number of samples, and times against all else."""
    parts: list[str] = []
    for path, rows in read_all(results / "benchmarks", "growth-*.csv"):
        parts.append(_say_source(path, rows))
        parts.append("![Time and memory, by samples, classes, modalities and size of pictures]"
                     "(pictures/growth.svg)")  # fmt: skip
        of_samples = [row for row in rows if row["axis"] == "samples"]
        if of_samples:
            parts.append("Seconds, by samples; the power with which it grows at the end:")
            parts.append(_tell_axis(of_samples, "seconds", has_power=True))
            parts.append("Anonymous memory added at most, in MB, by samples:")
            parts.append(_tell_axis(of_samples, "anon_mb", has_power=False))
        for axis, words in (
            ("classes", "Seconds, by classes (10,000 samples; a head: one step, batch 32):"),
            (
                "modalities",
                "Seconds, by modalities (a training step per sample; the grid of 10,000 samples):",
            ),
            ("size", "Seconds of a training step per sample, by the side of the pictures in px:"),
        ):
            if of_axis := [row for row in rows if row["axis"] == axis]:
                parts += [words, _tell_axis(of_axis, "seconds", has_power=axis != "modalities")]
        if of_size := [row for row in rows if row["axis"] == "size"]:
            parts.append("Anonymous memory added by a training step of batch 32, in MB:")
            parts.append(_tell_axis(of_size, "anon_mb", has_power=False))
    return "\n\n".join(parts) or f"{NOT_YET.capitalize()}."


def _tell_axis(rows: Sequence[Row], column: str, *, has_power: bool) -> str:
    values = sorted({int(row["value"]) for row in rows})
    works = list(dict.fromkeys(row["work"] for row in rows))
    lines: list[list[str]] = []
    for work in works:
        found = {int(row["value"]): row[column] for row in rows if row["work"] == work}
        power = measure_slope([(n, float(found[n])) for n in sorted(found) if found[n]])
        lines.append(
            [WORKS.get(work, work)]
            + [_round(found[n]) if found.get(n) else "" for n in values]
            + ([f"{power:.2f}" if power is not None else ""] if has_power else [])
        )
    heading = ["work", *(f"{n:,}" for n in values), *(["power"] if has_power else [])]
    return _table(heading, lines)


def tell_scaling(results: Path) -> str:
    """Gives what several processes gained, and whether they learned the same."""
    parts: list[str] = []
    for path, rows in read_all(results / "benchmarks", "scaling-*.csv"):
        lines = [
            [
                row["processes"],
                f"{_round(row['epoch_s'])} ({_round(row['epoch_min_s'])} to "
                f"{_round(row['epoch_max_s'])})",
                f"{float(row['efficiency']):.0%}",
                f"{float(row['loss_difference']):.1g}",
                f"{float(row['probability_difference']):.1g}",
            ]
            for row in rows
        ]
        heading = ["processes", "s an epoch", "efficiency", "losses differ by", "answers differ by"]
        parts += [_say_source(path, rows), _table(heading, lines)]
    return "\n\n".join(parts) or f"{NOT_YET.capitalize()}."


def tell_gpu(results: Path) -> str:
    """Lists what was measured on a GPU, as its table has it."""
    return _tell_plainly(results / "benchmarks", "gpu-*.csv") or "Not measured."


def tell_precision(results: Path) -> str:
    """Lists what bf16 and int8 change, as their tables have it."""
    return _tell_plainly(results / "precision", "*.csv") or f"{NOT_YET.capitalize()}."


def tell_answers(results: Path) -> str:
    """Holds one answer, and many, of ours against the plain script's and other packages'."""
    parts: list[str] = []
    for path, rows in read_all(results / "benchmarks", "predict-*.csv"):
        plain = next(row for row in rows if row["who"].startswith("plain"))
        lines: list[list[str]] = []
        for row in rows:
            if row["why"]:
                why = textwrap.shorten(row["why"], 100, placeholder=" ...")
                lines.append([row["who"], row["model"], why, "", "", ""])
                continue
            low, high = _round(row["latency_min_ms"]), _round(row["latency_max_ms"])
            sooner = float(plain["latency_ms"]) / float(row["latency_ms"])
            more = float(row["faces_per_s"]) / float(plain["faces_per_s"])
            lines.append([
                row["who"], row["model"], f"{_round(row['latency_ms'])} [{low}, {high}]",
                _round(sooner), _round(row["faces_per_s"]), _round(more),
            ])  # fmt: skip
        heading = [
            "who",
            "model",
            "ms for one face [rounds]",
            "x plain",
            "faces a second",
            "x plain",
        ]
        parts += [_say_source(path, rows), _table(heading, lines)]
    return "\n\n".join(parts) or f"{NOT_YET.capitalize()}."


def tell_start(results: Path) -> str:
    """Gives the time until the first word."""
    lines: list[list[str]] = []
    for path, rows in read_all(results / "benchmarks", "growth-*.csv"):
        seconds = {row["work"]: row["seconds"] for row in rows if row["axis"] == "start"}
        if seconds:
            cells = [
                f"{float(seconds[w]):.2f} s" if w in seconds else "" for w in ("help", "import")
            ]
            lines.append([path.stem.removeprefix("growth-"), *cells])
    heading = ["machine", "`ferfusion --help` (target 0.5 s)", "`import ferfusion` (target 0.2 s)"]
    return _table(heading, lines) if lines else f"{NOT_YET.capitalize()}."


SECTIONS: Mapping[str, Callable[[Path], str]] = {
    "ratios": tell_ratios,
    "bounds": tell_bounds,
    "growth": tell_growth,
    "scaling": tell_scaling,
    "gpu": tell_gpu,
    "precision": tell_precision,
    "answers": tell_answers,
    "start": tell_start,
}
"""Name of a section's marks -> what gives its text."""


def _read_yardsticks(results: Path) -> list[tuple[Path, list[dict[str, str]]]]:
    tables = read_all(results / "benchmarks", "*.csv")
    return [(path, rows) for path, rows in tables if not path.name.startswith(_OTHERS)]


def _read_conditions(path: Path) -> dict[str, Any]:
    """Reads the conditions beside a table; empty if there are none."""
    conditions = path.with_suffix(".json")
    return json.loads(conditions.read_text(encoding="utf-8")) if conditions.exists() else {}


def _tell_plainly(folder: Path, pattern: str) -> str:
    parts: list[str] = []
    for path, rows in read_all(folder, pattern):
        if rows:
            columns = [name for name in rows[0] if name != "commit"]
            lines = [[_round(row[name]) for name in columns] for row in rows]
            parts += [_say_source(path, rows), _table(columns, lines)]
    return "\n\n".join(parts)


def _say_source(path: Path, rows: Sequence[Row]) -> str:
    commits = list(dict.fromkeys(row["commit"] for row in rows if row.get("commit")))
    said = f" (commit {', '.join(commits)})" if commits else ""
    return f"`{path.relative_to(path.parents[2])}`{said}."


def _round(value: str | float) -> str:
    """Writes a number with three digits, and leaves words alone.

    >>> _round("1234.5"), _round(0.012345), _round("fp32"), _round("")
    ('1,230', '0.0123', 'fp32', '')
    """
    try:
        number = float(value)
    except ValueError:
        return str(value)
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def _round_below(value: float, limit: float) -> str:
    """Writes a number with three digits, or with as many as it takes to see that it is below.

    >>> _round_below(4.0991, 4.5), _round_below(1.59974, 1.6)
    ('4.1', '1.5997')
    """
    written = (f"{value:.{digits}g}" for digits in range(3, 17))
    return next((text for text in written if float(text) < limit), str(value))


def _table(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heading, ["---"] + ["---:"] * (len(heading) - 1), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
