import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferfusion.cli import check
from ferfusion.config import Settings
from ferfusion.data import cache_folder
from ferfusion.data.cache_folder import (
    default_cache_folder,
    find_cache_folder,
    hold_entry,
    look_into,
    make_room,
    note_mapped,
    remove_entry,
)
from ferfusion.errors import ConfigError

KEYS = [f"{number:032x}" for number in range(12)]


def write_entry(folder: Path, key: str, nbytes: int, used_at: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.npy"
    with path.open("wb") as stream:
        stream.truncate(nbytes - 2)
    path.with_suffix(".json").write_text("{}")
    for one in (path, path.with_suffix(".json")):
        os.utime(one, ns=(used_at, used_at))
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_folder_is_chosen_by_one_variable_or_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FERFUSION_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "ferfusion"
    monkeypatch.setenv("FERFUSION_CACHE", str(tmp_path / "mine"))
    assert default_cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("FERFUSION_CACHE", "~/mine")
    assert default_cache_folder() == Path.home() / "mine"
    monkeypatch.setenv("FERFUSION_CACHE", "")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_folder() == Path.home() / ".cache" / "ferfusion"


def test_only_files_of_ours_are_counted(tmp_path: Path) -> None:
    assert look_into(tmp_path / "nowhere").entries == ()
    late = write_entry(tmp_path, KEYS[0], 100, used_at=9)
    early = write_entry(tmp_path, KEYS[1], 50, used_at=3)
    (tmp_path / f"{KEYS[2]}-audit.json").write_text("x" * 7)
    (tmp_path / f".{KEYS[3]}.npy.123.part").write_text("x" * 5)
    (tmp_path / "thesis.npy").write_text("x" * 1000)
    (tmp_path / f".{KEYS[0]}.lock").touch()
    (tmp_path / KEYS[4]).mkdir()
    holding = look_into(tmp_path)
    assert [entry.path for entry in holding.entries[:2]] == [early, late]
    assert [entry.nbytes for entry in holding.entries] == [50, 100, 5]
    assert [entry.is_whole for entry in holding.entries] == [True, True, False]
    assert holding.nbytes == 162
    assert holding.other_nbytes == 7


@given(
    sizes=st.lists(st.integers(10, 5000), min_size=1, max_size=8),
    used=st.randoms(use_true_random=False),
    in_use=st.sets(st.integers(0, 7)),
    needed=st.integers(1, 9000),
    limit=st.integers(1, 20_000),
)
def test_room_is_made_by_removing_what_was_used_longest_ago(
    sizes: list[int], used: object, in_use: set[int], needed: int, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        order = list(range(len(sizes)))
        used.shuffle(order)  # pyright: ignore[reportAttributeAccessIssue]
        paths = [
            write_entry(folder, KEYS[i], size, used_at=1 + order[i]) for i, size in enumerate(sizes)
        ]
        audit = folder / f"{KEYS[11]}-audit.json"
        audit.write_text("x" * 10)
        kept = {paths[i] for i in in_use if i < len(paths)}
        arrays = {path: np.zeros(1) for path in kept}
        for path in sorted(kept, key=lambda path: order[paths.index(path)]):
            state = path.stat()
            note_mapped(path, arrays[path])
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        stays = 10 + sum(sizes[paths.index(path)] for path in kept)
        wanted = {folder / f"{KEYS[10]}.npy": needed}
        if stays + needed > limit:
            with pytest.raises(ConfigError, match="--cache-limit"):
                make_room(folder, wanted, limit / 1e9, "Pictures")
            assert all(path.exists() for path in paths)
            return
        make_room(folder, wanted, limit / 1e9, "Pictures")
        left = look_into(folder)
        assert left.nbytes + needed <= limit
        assert audit.exists()
        assert kept <= {entry.path for entry in left.entries}
        # Nothing that was removed was used later than anything that could have been removed.
        gone = [order[i] for i, path in enumerate(paths) if not path.exists()]
        stayed = [order[i] for i, path in enumerate(paths) if path.exists() and path not in kept]
        assert max(gone, default=-1) < min(stayed, default=99)
        # One removal less would not have been enough.
        if gone:
            last = paths[order.index(max(gone))]
            assert left.nbytes + needed + sizes[paths.index(last)] > limit
        assert not list(folder.glob(".*"))


def test_what_is_wanted_and_there_is_not_counted_twice(tmp_path: Path) -> None:
    path = write_entry(tmp_path, KEYS[0], 600)
    make_room(tmp_path, {path: 600, tmp_path / f"{KEYS[1]}.npy": 300}, 1e-6, "Pictures")
    assert path.exists()


def test_a_killed_writer_blocks_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / f"{KEYS[0]}.npy"
    other = tmp_path / f"{KEYS[1]}.npy"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ferfusion.atomic import replacing\n"
        "from ferfusion.data.cache_folder import hold_entry\n"
        "paths = [Path(p) for p in sys.argv[1:]]\n"
        "with hold_entry(paths[0]), replacing(paths[0]) as a:\n"
        "    with hold_entry(paths[1]), replacing(paths[1]) as b:\n"
        "        a.write_bytes(b'half'); b.write_bytes(b'half')\n"
        "        print('writes', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path, other], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writes\n"
        assert not remove_entry(path)
        make_room(tmp_path, {}, 0, "Nothing")
        assert len(list(tmp_path.glob(".*.part"))) == 2
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    waited: list[bool] = []
    with hold_entry(path, on_wait=lambda: waited.append(True)):
        assert len(list(tmp_path.glob(".*.part"))) == 1
    assert not waited
    make_room(tmp_path, {}, 0, "Nothing")
    assert names(tmp_path) == set()


def test_leftovers_beside_a_whole_entry_go_and_it_stays(tmp_path: Path) -> None:
    path = write_entry(tmp_path, KEYS[0], 100)
    (tmp_path / f".{KEYS[0]}.npy.77.part").touch()
    (tmp_path / f"{KEYS[1]}.json").touch()
    make_room(tmp_path, {}, 0, "Nothing")
    assert names(tmp_path) == {path.name, path.with_suffix(".json").name}


def test_what_another_process_uses_stays_until_it_ends(tmp_path: Path) -> None:
    used, idle = (write_entry(tmp_path, KEYS[i], 1000, used_at=1 + i) for i in range(2))
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from ferfusion.data.cache_folder import note_mapped\n"
        "array = np.memmap(sys.argv[1], mode='r'); note_mapped(Path(sys.argv[1]), array)\n"
        "print('reads', flush=True); sys.stdin.read()\n"
    )
    wanted = {tmp_path / f"{KEYS[9]}.npy": 1000}
    with subprocess.Popen(
        [sys.executable, "-c", code, used], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reads\n"
        os.utime(used, ns=(1, 1))  # longest ago, and yet it stays
        with pytest.raises(ConfigError, match=r"beside the .* in use"):
            make_room(tmp_path, wanted, 1.5e-6, "Pictures")
        assert used.exists()
        assert idle.exists()
        assert "1 entry used longest ago" in make_room(tmp_path, wanted, 2.5e-6, "Pictures")
        assert used.exists()
        assert not idle.exists()
        reader.communicate()
    make_room(tmp_path, wanted, 1.5e-6, "Pictures")
    assert not used.exists()


def test_a_folder_that_may_only_be_read_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_entry(tmp_path, KEYS[0], 1000)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(cache_folder, "try_to_hold", refuse)
    assert make_room(tmp_path, {}, 5e-7, "Nothing") == ""
    assert path.exists()


def test_a_full_disk_makes_old_entries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_entry(tmp_path, KEYS[i], 1000, used_at=1 + i) for i in range(3)]

    class Usage:
        @property
        def free(self) -> int:
            return 500 + sum(1000 for path in paths if not path.exists())

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage())
    make_room(tmp_path, {tmp_path / f"{KEYS[9]}.npy": 1200}, 0, "Pictures")
    assert [path.exists() for path in paths] == [False, True, True]
    with pytest.raises(ConfigError, match="disk"):
        make_room(tmp_path, {tmp_path / f"{KEYS[9]}.npy": 3600}, 0, "Pictures")
    assert [path.exists() for path in paths] == [False, True, True]


def test_check_says_where_how_large_how_many_and_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_entry(tmp_path, KEYS[0], 3_000_000)
    (tmp_path / f"{KEYS[1]}-audit.json").write_text("x" * 500_000)
    (tmp_path / "benchmarks" / "drawn").mkdir(parents=True)
    (tmp_path / "benchmarks" / "drawn" / "face.jpg").write_bytes(bytes(7_000_000))
    check._print_cache(Settings(), tmp_path, check.Console(highlight=False))
    said = capsys.readouterr().out
    assert f"3.5 MB in {tmp_path}, 1 entry" in said
    assert "20 GB (--cache-limit)" in said
    assert "Other things in that folder: 7.0 MB" in said
    check._print_cache(Settings(cache_limit=0), tmp_path, check.Console(highlight=False))
    assert "not limited" in capsys.readouterr().out


def test_a_file_is_no_cache_for_any_command(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.touch()
    with pytest.raises(ConfigError, match=r"notes.txt is a file"):
        check.run_check(Settings(cache=str(path)))
    with pytest.raises(ConfigError, match=r"notes.txt is a file"):
        find_cache_folder(path)
    assert find_cache_folder(tmp_path / "new") == (tmp_path / "new").resolve()
