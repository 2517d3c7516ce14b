from pathlib import Path

import pytest

from ferfusion.atomic import making_folder


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with making_folder(tmp_path / "a" / "new") as part:
        (part / "deep").mkdir()
        (part / "deep" / "x").write_text("x")
        assert not (tmp_path / "a" / "new").exists()
    assert (tmp_path / "a" / "new" / "deep" / "x").read_text() == "x"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["new"]


def test_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with making_folder(tmp_path / "new") as part:
            (part / "x").write_text("x")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_never_over_another_one(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").write_text("mine")
    with pytest.raises(OSError, match="not empty"), making_folder(tmp_path / "new") as part:
        (part / "x").write_text("x")
    assert [p.name for p in tmp_path.rglob("*")] == ["new", "mine"]
