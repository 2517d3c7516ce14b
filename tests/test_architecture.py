"""ARCHITECTURE.md names every module, and no module that isn't there."""

import ast
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "src" / "ferfusion"


def read_tree(text: str) -> list[str]:
    """Reads the paths below src/ferfusion/ from the block that draws them.

    Indentation says what lies in which folder; several files may share a line.
    """
    (block,) = [b for b in re.findall(r"```\w*\n(.*?)```", text, re.S) if "src/ferfusion/" in b]
    paths: list[str] = []
    folders: list[tuple[int, str]] = []
    for line in block.splitlines():
        indent = len(line) - len(line.lstrip())
        words = line.split()
        while folders and folders[-1][0] >= indent:
            folders.pop()
        if words and words[0].endswith("/"):
            folders.append((indent, words.pop(0)))
        above = "".join(name for _, name in folders)
        for word in words:
            if not word.endswith(".py"):
                break  # the comment begins
            paths.append(str(PurePosixPath(above) / word))
    return [p.removeprefix("src/ferfusion/") for p in paths if p.startswith("src/ferfusion/")]


def test_architecture_names_every_module_once_and_no_other() -> None:
    named = read_tree((REPOSITORY / "ARCHITECTURE.md").read_text())
    modules = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(set(named) - modules) == [], "named, but not there"
    assert sorted(modules - set(named)) == [], "there, but not named"
    assert len(named) == len(set(named)), "named twice"


def test_the_tree_is_read_rightly() -> None:
    text = """```
    src/ferfusion/
      a.py     not b.py, that is said here
      c.py d.py  two on a line
      data/    what readers.py would do
        e.py   one
        deep/  f.py
      g.py     back above
    tests/
      h.py
    ```"""
    wanted = ["a.py", "c.py", "d.py", "data/e.py", "data/deep/f.py", "g.py"]
    assert read_tree(text.replace("\n    ", "\n")) == wanted


def test_inits_stay_light() -> None:
    for path in PACKAGE.rglob("*/__init__.py"):
        statements = ast.parse(path.read_text()).body
        assert all(isinstance(s, ast.Expr) for s in statements), f"{path} does more than explain"


def test_package_itself_imports_nothing() -> None:
    """It offers `load`, and imports it when somebody asks."""
    code = (
        "import sys, ferfusion; print({m.split('.')[0] for m in sys.modules} & {'numpy', 'click'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
