r"""Tables for a paper, in LaTeX that needs `\usepackage{booktabs}` and nothing else."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ferfusion.atomic import write_text
from ferfusion.evaluation.statistics import bootstrap_by_subject
from ferfusion.reporting.comparisons import Comparison, compare_models
from ferfusion.reporting.drawing import capitalise
from ferfusion.reporting.summary import StudySummary
from ferfusion.reporting.tables import (
    RESAMPLING_SEED,
    ResultRow,
    format_p,
    format_points,
    make_rows,
)

PublishedNumber = tuple[float, int | None, int | None, str]
"""Per cent as printed; the count and the size of the test set behind it, where it is a count; where
the number comes from, for a footnote: nothing or "paper" needs none."""

_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        # After the end of a row, a bracket would be read as a distance.
        "[": "{[}",
        "]": "{]}",
    }
)


def escape_latex(text: str) -> str:
    r"""Gives a plain text as LaTeX that prints it, on one line.

    >>> print(escape_latex("mobilenet_v2 & 50 %"))
    mobilenet\_v2 \& 50 \%
    """
    return " ".join(text.split()).translate(_SPECIAL)


def write_latex(study: StudySummary, path: Path) -> None:
    """Writes a study's tables into one file: each variant's results, then all comparisons."""
    published = {
        key: (
            found.percent,
            found.correct,
            found.n,
            ". ".join(text for text in (found.mark, found.remark) if text not in ("", "paper")),
        )
        for key, found in study.reported.items()
        if found.percent is not None
    }
    rows = make_rows(study.runs)
    data = study.data.root_name
    note = f". {study.data.note}" if study.data.note else ""
    if study.leaks:
        note += ". The split leaks, and the study was told to run all the same"
    parts = [r"% Needs \usepackage{booktabs}. Made by ferfusion study."]
    for variant in dict.fromkeys(row.variant for row in rows):
        of_variant = [row for row in rows if row.variant == variant]
        caption = f"Results on {data}" + (f", {_name_table(variant)}" if variant else "") + note
        label = "tab:results" + (
            f"-{re.sub('[^a-z0-9]+', '-', variant.lower())}" if variant else ""
        )
        parts.append(render_latex_results(of_variant, published, caption, label))
    comparisons = compare_models(study.runs)
    # A table for each question, because a table can't break over pages.
    for place, question in enumerate(dict.fromkeys(c.question for c in comparisons), start=1):
        caption = f"{capitalise(question)} Paired comparisons on {data}{note}"
        own = [c for c in comparisons if c.question == question]
        label = f"tab:comparisons-{place}"
        parts.append(render_latex_comparisons(own, caption, label, n_adjusted=len(comparisons)))
    write_text(path, "\n\n".join(part.strip() for part in parts) + "\n")


def render_latex_results(
    rows: Sequence[ResultRow],
    published: Mapping[str, PublishedNumber],
    caption: str,
    label: str,
) -> str:
    """Writes every model with its count, rate, 95 % interval, macro precision, recall and F1.

    The published numbers stand beside them.

    Fits on a page of two columns. Rows are parted where the table or the kind of fusion changes.

    Args:
        rows: From top to bottom; answers of all seeds and folds are put together.
        published: `ResultRow.model` -> what was published; without any the columns are left out.
        caption: Plain text.
        label: For `ref`, such as "tab:results".

    Raises:
        ValueError: There is no row, or the label has letters that LaTeX can't refer to.
    """
    if not rows:
        raise ValueError("A table needs at least one row.")
    shows_paper = any(row.model in published for row in rows)
    marks = list(
        dict.fromkeys(
            mark
            for row in rows
            if (mark := published.get(row.model, (0.0, None, None, ""))[3]) not in ("", "paper")
        )
    )
    body: list[str] = []
    for i, row in enumerate(rows):
        if i and row.variant != rows[i - 1].variant:
            body.append(r"\midrule")
        elif i and row.fusion != rows[i - 1].fusion:
            body.append(r"\addlinespace")
        correct, n = sum(row.correct), sum(row.n_test)
        cells = [rf"\raggedright {escape_latex(capitalise(row.title))}"]
        if shows_paper:
            cells += _write_published(published.get(row.model), marks)
        low, high = 100 * row.interval.low, 100 * row.interval.high
        cells += [f"{correct}/{n}", f"{100 * correct / n:.1f}", f"[{low:.1f}, {high:.1f}]"]
        means = (row.macro_precision, row.macro_recall, row.macro_f1)
        body.append(_join_cells([*cells, *(f"{mean:.3f}" for mean in means)]))
    ours = [r"right", r"\%", r"95\,\% interval", "P", "R", "F1"]
    if shows_paper:
        head = [
            r" & \multicolumn{2}{c}{published} & \multicolumn{6}{c}{ours} \\",
            r"\cmidrule(lr){2-3}\cmidrule(lr){4-9}",
            _join_cells(["model", "right", r"\%", *ours]),
        ]
    else:
        head = [_join_cells(["model", *ours])]
    most = max(len(row.points) for row in rows)
    notes = [f"Ours: answers of {most} test splits put together."] if most > 1 else []
    notes += [
        rf"\textsuperscript{{{_letter(i)}}}\,{escape_latex(mark)}{'' if mark[-1] in '.!?' else '.'}"
        for i, mark in enumerate(marks)
    ]
    notes.append("P, R, F1: means over the classes.")
    columns = r"p{0.3\textwidth}" + "rr" * shows_paper + "rrrrrr"
    return _wrap_table(columns, head, body, notes, caption, label)


def render_latex_comparisons(
    comparisons: Sequence[Comparison], caption: str, label: str, *, n_adjusted: int | None = None
) -> str:
    """Writes paired comparisons with the interval of the points, both tests and the finding.

    Fits on a page of two columns.

    Args:
        comparisons: Those of one question.
        caption: Plain text.
        label: For `ref`.
        n_adjusted: For how many the p-values are adjusted; None: for these.

    Raises:
        ValueError: There is no comparison, or the label has letters that LaTeX can't refer to.
    """
    if not comparisons:
        raise ValueError("A table needs at least one comparison.")
    body = [
        _join_cells(
            [
                rf"\raggedright {escape_latex(capitalise(c.title))}",
                rf"\raggedright {escape_latex(c.against)}",
                f"{c.test.only_a}",
                f"{c.test.only_b}",
                f"${format_points(c.test.difference)}$ {_write_interval(c)}",
                _write_p(c.mcnemar_p),
                _write_p(c.test.p_value),
                _write_p(c.adjusted_p),
                c.verdict,
            ]
        )
        for c in comparisons
    ]
    head = [
        r" & & \multicolumn{2}{c}{only right} & & \multicolumn{3}{c}{$p$} & \\",
        r"\cmidrule(lr){3-4}\cmidrule(lr){6-8}",
        r"model & against & first & second & points & McNemar & by subject & adjusted & finding \\",
    ]
    n = n_adjusted or len(comparisons)
    notes = [
        "Points with their 95\\,\\% interval by subject, not adjusted. By subject: whole people "
        "permuted. Adjusted: that by Holm's method, for "
        + ("this comparison." if n == 1 else f"all {n} comparisons of the study."),
        "No difference shown is not the same as no difference.",
    ]
    columns = r"p{0.18\textwidth}p{0.18\textwidth}rrrrrrl"
    return _wrap_table(columns, head, body, notes, caption, label)


def _name_table(variant: str) -> str:
    return "no quirk" if variant == "none" else variant.replace("_", " ")


def _write_interval(comparison: Comparison) -> str:
    paired = comparison.paired
    interval = bootstrap_by_subject(
        paired.first.astype(float) - paired.second, paired.groups, RESAMPLING_SEED
    )
    return f"{{[}}{100 * interval.low:.1f}, {100 * interval.high:.1f}{{]}}"


def _wrap_table(
    columns: str, head: list[str], body: list[str], notes: list[str], caption: str, label: str
) -> str:
    if not re.fullmatch(r"[A-Za-z0-9:._/-]+", label):
        raise ValueError(f"'{label}' can't be a label: use letters, digits and : . _ / - only.")
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{{label}}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        *head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if notes:
        lines += ["", r"\smallskip", " ".join(notes)]
    return "\n".join([*lines, r"\end{table*}", ""])


def _write_published(number: PublishedNumber | None, marks: Sequence[str]) -> list[str]:
    """Gives the cells of count and rate; a dash where nothing is known."""
    if number is None:
        return ["--", "--"]
    percent, correct, n, mark = number
    sign = rf"\textsuperscript{{{_letter(marks.index(mark))}}}" if mark in marks else ""
    return ["--" if correct is None or n is None else f"{correct}/{n}", f"{percent:.2f}{sign}"]


def _write_p(p_value: float) -> str:
    return f"${format_p(p_value)}$"


def _join_cells(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _letter(i: int) -> str:
    return chr(ord("a") + i)
