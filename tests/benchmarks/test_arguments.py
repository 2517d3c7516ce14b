"""Wrong options of every benchmark: one line that says what to do, and exit code 2."""

import doctest
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import pytest

from ferfusion.data.synthetic import write_synthetic_dataset
from ferfusion.errors import DataError

FOLDER = Path(__file__).parents[2] / "benchmarks"
TOY = ("--toy", "--works", "late_grid", "--out", "TMP/out", "--work-folder", "TMP/work")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_dataset(tmp_path_factory.mktemp("drawn") / "f", subjects=4, size_px=32)


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("arguments")


@pytest.fixture
def refuse(
    arguments: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a script as the command line would, and gives the one line it ends with."""

    def refuse(name: str, *words: str) -> str:
        loader = SourceFileLoader(f"benchmarks_{name}", str(FOLDER / name))
        script = module_from_spec(ModuleSpec(loader.name, loader, origin=loader.path))
        script.__file__ = loader.path
        # Its dataclasses look for their module there.
        monkeypatch.setitem(sys.modules, loader.name, script)
        loader.exec_module(script)
        monkeypatch.setattr(sys, "argv", [name, *words])
        with pytest.raises(SystemExit) as stopped:
            arguments.call(script.main)
        assert stopped.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return refuse


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("run", ("--rounds", "0"), "--rounds: is 0, but must be a whole number, at least 1"),
        ("run", ("--rounds", "-1"), "--rounds: is -1"),
        ("run", ("--size", "0"), "at least 32 and at most 1024"),
        ("run", ("--batch", "0"), "--batch: is 0"),
        ("run", ("--threads", "0"), "--threads: is 0"),
        ("run", ("--workers", "two"), "--workers: is two"),
        ("run", ("--backbone", "nosuch"), "'nosuch' (choose from"),
        ("run", ("--works", ""), "--works: names no work; there are epoch_single"),
        ("run", ("--weights", "/nosuch.safetensors"), "there is no file /nosuch.safetensors"),
        ("run", ("--machine", "a/b"), "--machine: is a/b"),
        ("run", (*TOY, "--out", "FILE"), "FILE is a file"),
        ("run", (*TOY, "--data", "/nosuch"), "There is nothing at /nosuch"),
        ("run", (*TOY, "--data", "FACES", "--comparison-samples", "1"), "show too few people"),
        ("run", (*TOY, "--data", "FACES", "--weights", "FILE"), "FILE is no weights file"),
        ("scale", ("--processes", "x"), "--processes: is x"),
        ("scale", ("--processes", "2,0"), "--processes: is 0"),
        ("scale", ("--rounds", "0"), "--rounds: is 0"),
        ("tell", ("--results", "/nosuch"), "there is no folder /nosuch"),
        ("tell", ("--page", "/nosuch.md"), "there is no file /nosuch.md"),
        ("tell", ("--page", "FILE"), "The page needs <!-- ratios:begin -->"),
        ("grow", ("--most", "0"), "--most: is 0"),
        ("grow", ("--works", ""), "--works: names no work"),
        ("grow", ("--axes", "size", "--works", "decode"), "has nothing of these --works"),
        ("grow", ("--threads", "0"), "--threads: is 0"),
        ("gpu", ("--budget", "-1"), "--budget: is -1"),
        ("gpu", ("--budget", "long"), "--budget: is long"),
        ("gpu", ("--works", ""), "--works: names no work"),
        ("gpu", ("--machine", "../x"), "--machine: is ../x"),
    ],
)
def test_wrong_options_get_one_line(
    refuse: Callable[..., str],
    tmp_path: Path,
    faces: Path,
    script: str,
    words: tuple[str, ...],
    said: str,
) -> None:
    taken = tmp_path / "notes.txt"
    taken.write_text("milk\n")

    def fill(word: str) -> str:
        known = (("TMP", tmp_path), ("FILE", taken), ("FACES", faces))
        for name, path in known:
            word = word.replace(name, str(path))
        return word

    line = refuse(script, *map(fill, words))
    assert line.startswith(f"{script}: ")
    assert fill(said) in line


def test_what_is_no_mistake_of_the_user_keeps_its_traceback(arguments: ModuleType) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        arguments.call(fail)


def fail_in_a_part() -> dict[str, float]:
    raise DataError("This picture is broken.")


def test_a_part_hands_on_what_the_user_can_mend(arguments: ModuleType) -> None:
    measuring = importlib.import_module("measuring")

    class Line:
        def send(self, answer: object) -> None:
            self.answer = answer

        def close(self) -> None:
            pass

    line = Line()
    measuring._do_part(line, fail_in_a_part, ())
    assert line.answer[:2] == ({}, "This picture is broken.")


def test_examples_hold(arguments: ModuleType) -> None:
    assert doctest.testmod(arguments) == (0, 2)
