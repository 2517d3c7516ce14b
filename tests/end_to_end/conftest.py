"""The command line as people type it, without starting a process each time."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ferfusion.cli.main import main


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams, with line breaks made spaces and table borders taken out."""
        return " ".join(re.sub(r"[^\w\s.,:;/'()%+\-=*]", " ", self.out + self.err).split())


@pytest.fixture
def ferfusion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Runs a command in this process, through the same door as the installed script."""

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["ferfusion", *(str(w) for w in words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run
