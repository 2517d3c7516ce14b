import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.evaluation.statistics import Interval, PairedTest
from ferfusion.reporting.comparisons import Comparison, Paired
from ferfusion.reporting.latex import (
    escape_latex,
    render_latex_comparisons,
    render_latex_results,
)
from ferfusion.reporting.record import Fusion
from ferfusion.reporting.tables import ResultRow

PRINTS = {
    "textbackslash": "\\",
    "textasciicircum": "^",
    "textasciitilde": "~",
    "textless": "<",
    "textgreater": ">",
    "textbar": "|",
}


def make_row(title: str, fusion: Fusion = "single", variant: str = "") -> ResultRow:
    return ResultRow(
        model=title,
        variant=variant,
        inputs=title,
        how="single",
        fusion=fusion,
        method="network",
        backbone="resnet18",
        steps=None,
        seeds=(0, 1),
        correct=(60, 70),
        n_test=(90, 90),
        points=(60 / 90, 70 / 90),
        interval=Interval(0.65, 0.79),
        macro_precision=0.7311,
        macro_recall=0.7222,
        macro_f1=0.7123,
        parameters=1,
        seconds=1.0,
        paper_accuracy=None,
        val_accuracy=0.7,
    )


def make_comparison(title: str, question: str, p: float, only: tuple[int, int]) -> Comparison:
    test = PairedTest(180, *only, p)
    right = [np.arange(180) < only[0], np.arange(180)[::-1] < only[1]]
    groups = tuple(("subject", f"p{i // 4}") for i in range(180))
    paired = Paired(test, p, right[0], right[1], groups)
    return Comparison(title, "visible", question, test, p / 2, min(1.0, 2 * p), paired)


ROWS = [make_row("visible"), make_row("MSX"), make_row("visible + MSX", "early", "vgg_16")]
PUBLISHED = {
    "visible": (81.11, 73, 90, "paper"),
    "MSX": (77.34, None, None, "another test set, so not comparable"),
}


def read_unescaped(latex: str) -> str:
    """Gives what TeX would print of an escaped text; refuses what TeX would not print as it is."""
    printed = ""
    while latex:
        if found := re.match(r"\\(" + "|".join(PRINTS) + r")\{\}", latex):
            printed += PRINTS[found[1]]
        elif found := re.match(r"\\([{}$&#%_])|\{([][])\}", latex):
            printed += found[1] or found[2]
        elif found := re.match(r"[^\\{}$&#%_^~<>|\"]", latex):
            printed += found[0]
        else:
            raise AssertionError(latex)
        latex = latex[found.end() :]
    return printed


def check_table(latex: str) -> list[list[str]]:
    """Checks what TeX would stumble over, and gives the cells of each row."""
    assert latex.isascii()
    opened: list[str] = []
    for begins, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", latex):
        if begins == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert len(re.findall(r"(?<!\\)\$", latex)) % 2 == 0
    columns, inside = re.findall(
        r"\\begin\{tabular\}\{@\{\}(.*?)@\{\}\}\n(.*)\\end\{tabular\}", latex, re.DOTALL
    )[0]
    n_columns = len(re.sub(r"p\{[^}]*\}", "p", columns))
    rows: list[list[str]] = []
    for line in inside.strip().split("\n"):
        if line.startswith(("\\toprule", "\\midrule", "\\bottomrule", "\\addlinespace", "\\cmid")):
            assert not line.endswith("\\\\")
            continue
        assert line.endswith(" \\\\"), line
        cells = re.split(r"(?<!\\)&", line.removesuffix("\\\\"))
        spans = [re.match(r"\s*\\multicolumn\{(\d+)\}", cell) for cell in cells]
        assert sum(int(span[1]) if span else 1 for span in spans) == n_columns, line
        rows.append([cell.strip() for cell in cells])
    return rows


def test_results_stand_beside_the_papers():
    latex = render_latex_results(ROWS, PUBLISHED, "What was found.", "tab:results")
    rows = {row[0].removeprefix("\\raggedright "): row[1:] for row in check_table(latex)}
    ours = ["130/180", "72.2", "[65.0, 79.0]", "0.731", "0.722", "0.712"]
    assert rows["Visible"] == ["73/90", "81.11", *ours]
    assert rows["MSX"] == ["--", "77.34\\textsuperscript{a}", *ours]
    assert rows["Visible + MSX"] == ["--", "--", *ours]
    assert "\\textsuperscript{a}\\,another test set, so not comparable." in latex
    assert "2 test splits put together" in latex
    assert "\\caption{What was found.}\n\\label{tab:results}" in latex


def test_tables_and_kinds_of_fusion_are_parted():
    rows = [make_row("a"), make_row("b", "late"), make_row("c", "late", "other")]
    lines = render_latex_results(rows, {}, "c", "t").split("\n")
    inside = lines[lines.index("\\midrule") + 1 : lines.index("\\bottomrule")]
    assert [line for line in inside if "&" not in line] == ["\\addlinespace", "\\midrule"]


def test_without_published_numbers_there_are_no_columns_for_them():
    rows = check_table(render_latex_results(ROWS, {}, "c", "t"))
    assert {len(row) for row in rows} == {7}


def test_one_split_needs_no_note():
    row = replace(make_row("visible"), points=(0.7,))
    latex = render_latex_results([row], {}, "c", "t")
    assert "put together" not in latex
    check_table(latex)


def test_comparisons_say_no_more_than_the_test():
    latex = render_latex_comparisons(
        [
            make_comparison("early", "does fusion help?", 0.0001, (20, 2)),
            make_comparison("late", "does fusion help?", 0.02, (3, 12)),
            make_comparison("3-step", "does fusion help?", 0.4, (5, 7)),
        ],
        "c",
        "t",
        n_adjusted=7,
    )
    early, late, steps = check_table(latex)[2:]
    assert early[2:4] == ["20", "2"]
    assert early[5:] == ["$< 0.001$", "$< 0.001$", "$< 0.001$", "better"]
    assert re.fullmatch(r"\$\+10\.0\$ \{\[\}-?[0-9.]+, [0-9.]+\{\]\}", early[4])
    assert late[-1] == "worse"
    assert steps[4].startswith("$-1.1$ {[}-")
    assert steps[5:] == ["$0.200$", "$0.400$", "$0.800$", "no difference shown"]
    assert "all 7 comparisons of the study" in latex


@given(st.text(st.characters(codec="ascii")))
def test_escaped_text_prints_as_it_was(text: str):
    assert read_unescaped(escape_latex(text)) == " ".join(text.split()).replace('"', "''")


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_any_name_makes_a_whole_table(name: str):
    rows = [make_row("x"), make_row(name)]
    check_table(render_latex_results(rows, {name: (1.0, 1, 90, name)}, name, "tab:x"))


def test_a_name_with_a_bracket_is_no_distance():
    latex = render_latex_results([make_row("a"), make_row("[b]")], {}, "[c]", "t")
    assert not re.search(r"\\\\\s*\[", latex)


@pytest.mark.parametrize("label", ["", "a b", "a%", "a}"])
def test_a_label_that_cannot_be_referred_to_is_refused(label: str):
    with pytest.raises(ValueError, match="can't be a label"):
        render_latex_results(ROWS, {}, "c", label)


def test_empty_tables_are_refused():
    with pytest.raises(ValueError, match="at least one row"):
        render_latex_results([], {}, "c", "t")
    with pytest.raises(ValueError, match="at least one comparison"):
        render_latex_comparisons([], "c", "t")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tables_compile(tmp_path: Path):
    body = render_latex_results(ROWS, PUBLISHED, "50 % & more", "tab:a")
    body += render_latex_comparisons([make_comparison("a_b", "q?", 0.1, (1, 2))], "c", "tab:b")
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
        f"{body}\\end{{document}}\n",
        encoding="utf-8",
    )
    subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
