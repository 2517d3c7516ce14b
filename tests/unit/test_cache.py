import errno
import json
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.data import cache
from ferfusion.data.cache import decode_all
from ferfusion.data.cache_folder import remove_entry
from ferfusion.data.dataset import Dataset
from ferfusion.errors import BrokenFilesError, ConfigError
from ferfusion.modality import MODALITIES, Modality
from ferfusion.sample import ImageFile, Sample

V, IR, M = MODALITIES
SIZE = 32


def write_picture(path: Path, seed: int, size: tuple[int, int] = (40, 48)) -> ImageFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return ImageFile(path)


def make_dataset(folder: Path, n: int = 4) -> Dataset:
    samples = tuple(
        Sample(
            f"face{i}",
            "happy" if i % 2 else "sad",
            f"s{i}",
            {
                m: write_picture(folder / m / f"{i}.png", 10 * i + k)
                for k, m in enumerate(MODALITIES)
            },
        )
        for i in range(n)
    )
    return Dataset(folder, "test", "by name", "nobody", ("happy", "sad"), samples)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(tmp_path / "data")


def forbid_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: ImageFile) -> None:
        raise AssertionError(f"{file} was opened again")

    monkeypatch.setattr(cache, "read_bytes", fail)


def test_rows_are_the_pictures_of_the_samples(dataset: Dataset, tmp_path: Path) -> None:
    store = decode_all(dataset, (V, IR), SIZE, folder=tmp_path / "cache")
    assert set(store.pictures) == {V, IR}
    assert store.samples == dataset.samples
    for modality, rows in store.pictures.items():
        assert rows.shape == (4, SIZE, SIZE, 3)
        for sample, row in zip(dataset.samples, rows, strict=True):
            with Image.open(sample.images[modality].path) as picture:
                wanted = cache.resize(np.asarray(picture), SIZE)
            np.testing.assert_array_equal(row, wanted)
    assert store.nbytes == 2 * 4 * SIZE * SIZE * 3


def test_pictures_are_decoded_once(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decode_all(dataset, (V, IR), SIZE, folder=tmp_path / "cache")
    forbid_opening(monkeypatch)
    told: list[tuple[int, int]] = []
    second = decode_all(
        dataset, (V, IR), SIZE, folder=tmp_path / "cache", advance=lambda *d: told.append(d)
    )
    assert told == []
    assert second.fingerprint == first.fingerprint
    assert second.digests == first.digests
    np.testing.assert_array_equal(second.pictures[V], first.pictures[V])


def test_another_modality_or_size_decodes_only_what_is_new(
    dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    decode_all(dataset, (V,), SIZE, folder=folder)
    told: list[tuple[int, int]] = []
    decode_all(dataset, (V, M), SIZE, folder=folder, advance=lambda *d: told.append(d))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    store = decode_all(dataset, (V,), SIZE // 2, folder=folder)
    assert store.pictures[V].shape == (4, SIZE // 2, SIZE // 2, 3)


def test_progress_counts_all_modalities_together(dataset: Dataset, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    decode_all(dataset, MODALITIES, SIZE, folder=tmp_path, advance=lambda *d: told.append(d))
    assert told == [(n, 12) for n in range(1, 13)]


def test_changed_file_is_decoded_again(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    before = decode_all(dataset, (V,), SIZE, folder=folder)
    path = dataset.samples[2].images[V].path
    then = path.stat().st_mtime_ns
    write_picture(path, seed=999)
    os.utime(path, ns=(then + 1_000_000, then + 1_000_000))
    after = decode_all(dataset, (V,), SIZE, folder=folder)
    assert not np.array_equal(before.pictures[V][2], after.pictures[V][2])
    np.testing.assert_array_equal(before.pictures[V][1], after.pictures[V][1])
    assert before.fingerprint != after.fingerprint


def test_all_broken_files_are_reported_at_once_and_nothing_stays(
    dataset: Dataset, tmp_path: Path
) -> None:
    broken = [
        dataset.samples[0].images[V].path,
        dataset.samples[3].images[V].path,
        dataset.samples[1].images[M].path,
        dataset.samples[2].images[IR].path,
    ]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(b"no picture at all")
    broken[2].write_bytes(broken[2].read_bytes()[:300])
    broken[3].unlink()
    folder = tmp_path / "cache"
    with pytest.raises(BrokenFilesError) as caught:
        decode_all(dataset, MODALITIES, SIZE, folder=folder)
    assert len(caught.value.sentences) == 4
    for path in broken:
        assert sum(str(path) in sentence for sentence in caught.value.sentences) == 1
        assert str(path) in str(caught.value)
    assert not folder.exists() or list(folder.iterdir()) == []

    for seed, path in enumerate(broken):
        write_picture(path, seed)
    assert len(decode_all(dataset, MODALITIES, SIZE, folder=folder).samples) == 4


def test_copies_of_a_file_have_one_digest_wherever_they_lie(
    dataset: Dataset, tmp_path: Path
) -> None:
    original, copy = dataset.samples[0].images[V].path, dataset.samples[3].images[IR].path
    copy.write_bytes(original.read_bytes())
    digests = decode_all(dataset, (V, IR), SIZE, folder=tmp_path / "cache").digests
    assert digests[V][0] == digests[IR][3]
    assert len({*digests[V], *digests[IR]}) == 7


def test_pictures_of_an_archive_are_its_members_also_when_it_is_replaced(
    dataset: Dataset, tmp_path: Path
) -> None:
    place = tmp_path / "data.zip"

    def pack(turn: int) -> Dataset:
        with zipfile.ZipFile(place, "w") as archive:
            for row, sample in enumerate(dataset.samples):
                other = dataset.samples[(row + turn) % len(dataset.samples)]
                archive.write(other.images[V].path, f"{sample.id}.png")
        os.utime(place, ns=(turn, turn))
        packed = (replace(s, images={V: ImageFile(place, f"{s.id}.png")}) for s in dataset.samples)
        return replace(dataset, samples=tuple(packed))

    plain = decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")
    for turn in (0, 1):
        store = decode_all(pack(turn), (V,), SIZE, folder=tmp_path / "cache")
        np.testing.assert_array_equal(store.pictures[V], np.roll(plain.pictures[V], -turn, axis=0))
        assert store.digests[V] == (*plain.digests[V][turn:], *plain.digests[V][:turn])


def test_the_list_of_an_archive_is_read_once(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for sample in dataset.samples:
            archive.write(sample.images[V].path, f"{sample.id}.png")
    packed = (replace(s, images={V: ImageFile(place, f"{s.id}.png")}) for s in dataset.samples)
    n_opened: list[Path] = []

    class Counted(zipfile.ZipFile):
        def __init__(self, path: Path) -> None:
            n_opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(zipfile, "ZipFile", Counted)
    decode_all(replace(dataset, samples=tuple(packed)), (V,), SIZE, folder=tmp_path / "cache")
    # Each thread may find it not yet open.
    assert len(n_opened) <= min(len(dataset.samples) - 1, os.cpu_count() or 1)


def test_samples_that_lack_a_modality_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    first, *others = dataset.samples
    poor = replace(first, images={V: first.images[V]})
    dataset = replace(dataset, samples=(poor, *others))
    both = decode_all(dataset, (V, IR), SIZE, folder=tmp_path)
    assert [s.id for s in both.samples] == ["face1", "face2", "face3"]
    assert len(both.pictures[V]) == len(both.pictures[IR]) == 3
    assert len(decode_all(dataset, (V,), SIZE, folder=tmp_path).samples) == 4


def fingerprint(dataset: Dataset, folder: Path, modalities: tuple[Modality, ...] = (V, IR)) -> str:
    return decode_all(dataset, modalities, SIZE, folder=folder).fingerprint


def test_fingerprint_names_content_not_place(dataset: Dataset, tmp_path: Path) -> None:
    elsewhere = make_dataset(tmp_path / "moved" / "away")
    assert fingerprint(dataset, tmp_path / "a") == fingerprint(elsewhere, tmp_path / "b")


@pytest.mark.parametrize("change", [{"expression": "sad"}, {"subject": "me"}, {"id": "face9"}])
def test_fingerprint_changes_with_a_label_a_subject_an_id(
    dataset: Dataset, tmp_path: Path, change: dict[str, str]
) -> None:
    first, second, *others = dataset.samples
    changed = replace(dataset, samples=(first, replace(second, **change), *others))
    assert fingerprint(dataset, tmp_path) != fingerprint(changed, tmp_path)


def test_fingerprint_changes_with_one_pixel_and_with_the_modalities(
    dataset: Dataset, tmp_path: Path
) -> None:
    before = fingerprint(dataset, tmp_path)
    assert before != fingerprint(dataset, tmp_path, (V, M))
    path = dataset.samples[0].images[IR].path
    with Image.open(path) as picture:
        pixels = np.array(picture)
    pixels[20, 20] = 255 - pixels[20, 20]
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(1, 1))
    assert before != fingerprint(dataset, tmp_path)


def find_entry(folder: Path) -> Path:
    (path,) = folder.glob("*.npy")
    return path


def cut(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


def zero_last_row(path: Path) -> None:
    rows = np.load(path, mmap_mode="r+")
    rows[-1] = 0
    rows.flush()


def change_a_byte(path: Path) -> None:
    rows = np.load(path, mmap_mode="r+")
    rows[1, 2, 3, 1] ^= 1
    rows.flush()


def forget_samples(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def empty_header(path: Path) -> None:
    path.write_bytes(b"")


def cut_what_is_known(path: Path) -> None:
    known = path.with_suffix(".json")
    known.write_text(known.read_text()[:-9])


def know_less(path: Path) -> None:
    known = json.loads(path.with_suffix(".json").read_text())
    known["digests"].pop()
    path.with_suffix(".json").write_text(json.dumps(known))


def know_as_in_format_2(path: Path) -> None:
    known = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(known["digests"]))


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lengthen,
        zero_last_row,
        change_a_byte,
        forget_samples,
        empty_header,
        cut_what_is_known,
        know_less,
        know_as_in_format_2,
    ],
)
def test_a_damaged_entry_is_noticed_made_again_and_said(
    dataset: Dataset, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    first = decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")
    assert first.notes == ()
    wanted = np.array(first.pictures[V])
    path = find_entry(tmp_path / "cache")
    damage(path)
    again = decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")
    np.testing.assert_array_equal(again.pictures[V], wanted)
    assert again.digests == first.digests
    (note,) = again.notes
    assert str(path) in note
    assert "visible" in note
    assert decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache").notes == ()


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_half_an_entry_is_no_entry(dataset: Dataset, tmp_path: Path, suffix: str) -> None:
    store = decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")
    find_entry(tmp_path / "cache").with_suffix(suffix).unlink()
    again = decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")
    np.testing.assert_array_equal(again.pictures[V], store.pictures[V])


@pytest.mark.parametrize("rows", [500, 5000, 123_457])
def test_of_many_rows_the_last_and_a_spread_are_looked_at(tmp_path: Path, rows: int) -> None:
    path = tmp_path / f"{'a' * 32}.npy"
    shape = (rows, 1, 1, 3)
    np.save(path, np.zeros(shape, np.uint8))
    checksums = [cache.zlib.crc32(bytes(3))] * rows

    def write(wrong: set[int]) -> None:
        listed = [0 if row in wrong else c for row, c in enumerate(checksums)]
        known = {"digests": [""] * rows, "checksums": listed}
        path.with_suffix(".json").write_text(json.dumps(known))

    for wrong in ({rows - 1}, {0}, set(range(rows // 3, rows // 3 + rows // 400 + 2))):
        write(wrong)
        assert isinstance(cache._open(path, shape), str)
    write(set())
    assert not isinstance(cache._open(path, shape), str | None)


def test_another_format_or_decoder_is_another_entry(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    for count, change in enumerate(
        [
            lambda: None,
            lambda: monkeypatch.setattr(cache, "FORMAT", "of tomorrow"),
            lambda: monkeypatch.setattr(cache.cv2, "__version__", "of tomorrow"),
            lambda: monkeypatch.setattr(cache.PIL, "__version__", "of tomorrow"),
        ],
        start=1,
    ):
        change()
        decode_all(dataset, (V,), SIZE, folder=folder)
        assert len(list(folder.glob("*.npy"))) == count


def test_a_file_of_another_size_but_the_same_time_is_decoded_again(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = dataset.samples[0].images[V].path
    then = path.stat().st_mtime_ns
    before = fingerprint(dataset, tmp_path / "cache")
    write_picture(path, seed=5, size=(60, 60))
    os.utime(path, ns=(then, then))
    assert fingerprint(dataset, tmp_path / "cache") != before


def test_paths_that_lead_to_the_same_files_share_an_entry(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")
    forbid_opening(monkeypatch)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for root in (Path("data"), Path("link"), tmp_path / "data" / ".." / "link"):
        moved = tuple(
            replace(s, images={V: ImageFile(root / s.images[V].path.relative_to(dataset.root))})
            for s in dataset.samples
        )
        decode_all(replace(dataset, samples=moved), (V,), SIZE, folder=Path("cache"))


def test_modalities_of_the_same_files_share_an_entry(dataset: Dataset, tmp_path: Path) -> None:
    same = tuple(replace(s, images=dict.fromkeys((V, IR), s.images[V])) for s in dataset.samples)
    told: list[tuple[int, int]] = []
    store = decode_all(
        replace(dataset, samples=same),
        (V, IR),
        SIZE,
        folder=tmp_path / "cache",
        advance=lambda *d: told.append(d),
    )
    np.testing.assert_array_equal(store.pictures[V], store.pictures[IR])
    assert find_entry(tmp_path / "cache").exists()
    assert told[-1] == (8, 8)


def test_who_comes_second_waits_and_shares(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, waits = threading.Event(), threading.Event(), threading.Event()
    read = cache.read_bytes
    n_read: list[ImageFile] = []

    def read_slowly(file: ImageFile) -> bytes:
        n_read.append(file)
        begun.set()
        assert go_on.wait(20)
        return read(file)

    monkeypatch.setattr(cache, "read_bytes", read_slowly)
    stores: list[cache.ImageStore] = []
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        waits.set()

    def work(advance: cache.Advance | None) -> None:
        stores.append(decode_all(dataset, (V,), SIZE, folder=tmp_path / "c", advance=advance))

    first = threading.Thread(target=work, args=(None,))
    first.start()
    assert begun.wait(20)
    second = threading.Thread(target=work, args=(tell,))
    second.start()
    assert waits.wait(20)
    go_on.set()
    first.join(20)
    second.join(20)
    assert told == [(0, 4), (4, 4)]
    assert len(n_read) == 4
    np.testing.assert_array_equal(stores[0].pictures[V], stores[1].pictures[V])


@pytest.mark.parametrize("memory", [0, 2**40])
def test_gathered_rows_are_those_of_the_map_also_when_it_was_removed(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(cache, "_measure_memory", lambda: memory)
    store = decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")
    in_memory = replace(store, pictures={V: np.array(store.pictures[V])})
    for rows in (np.array([3, 0, 3, 1]), np.array([-1, 2]), np.array([], dtype=np.int64)):
        wanted = np.array(store.pictures[V])[rows]
        np.testing.assert_array_equal(store.gather(V, rows), wanted)
        np.testing.assert_array_equal(in_memory.gather(V, rows), wanted)
    copy = store.gather(V, np.array([2]))
    copy[:] = 0
    assert store.pictures[V][2].any()
    with pytest.raises(IndexError):
        store.gather(V, np.array([4]))
    wanted = np.array(store.pictures[V])
    assert remove_entry(find_entry(tmp_path / "cache"))
    np.testing.assert_array_equal(store.gather(V, np.arange(4)), wanted)


def test_entries_used_longest_ago_give_way(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    limit_gb = 2.5 * cache._estimate_nbytes((4, SIZE, SIZE, 3)) / 1e9

    def decode(modality: Modality) -> set[str]:
        decode_all(dataset, (modality,), SIZE, folder=folder, limit_gb=limit_gb)
        return {path.stem for path in folder.glob("*.npy")}

    (of_v,) = decode(V)
    (of_ir,) = decode(IR) - {of_v}
    assert decode(V) == {of_v, of_ir}  # used again
    (of_m,) = decode(M) - {of_v, of_ir}
    assert decode(V) == {of_v, of_m}
    assert decode(IR) == {of_v, of_ir}


def test_what_is_in_use_stays_and_is_counted(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    limit_gb = 2.5 * cache._estimate_nbytes((4, SIZE, SIZE, 3)) / 1e9
    store = decode_all(dataset, (V, IR), SIZE, folder=folder, limit_gb=limit_gb)
    with pytest.raises(ConfigError, match=r"beside the .* in use.*--cache-limit"):
        decode_all(dataset, (M,), SIZE, folder=folder, limit_gb=limit_gb)
    decode_all(dataset, (M,), SIZE, folder=folder, limit_gb=0)
    forbid_opening(monkeypatch)
    again = decode_all(dataset, (V, IR), SIZE, folder=folder, limit_gb=limit_gb)
    assert again.fingerprint == store.fingerprint


def test_more_than_the_limit_is_refused_before_decoding(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    decode_all(dataset, (M,), SIZE, folder=folder)
    forbid_opening(monkeypatch)
    one = cache._estimate_nbytes((4, SIZE, SIZE, 3)) / 1e9
    with pytest.raises(
        ConfigError, match=r"4 samples \(visible, infrared, 32 px\).*--cache-limit 1"
    ):
        decode_all(dataset, (V, IR), SIZE, folder=folder, limit_gb=1.5 * one)
    assert find_entry(folder).exists()


def test_what_lies_there_above_a_lower_limit_goes_though_nothing_is_decoded(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    one = cache._estimate_nbytes((4, SIZE, SIZE, 3)) / 1e9
    paths = [
        max(folder.glob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
        for modality in (V, M, IR)
        if decode_all(dataset, (modality,), SIZE, folder=folder)
    ]
    forbid_opening(monkeypatch)
    assert decode_all(dataset, (V,), SIZE, folder=folder, limit_gb=3.5 * one).notes == ()
    (note,) = decode_all(dataset, (V,), SIZE, folder=folder, limit_gb=2.5 * one).notes
    assert re.search(r"Removed from the cache in .*--cache-limit.*the 1 entry used longest", note)
    assert [path.exists() for path in paths] == [True, False, True]
    with pytest.raises(ConfigError, match="--cache-limit 1"):
        decode_all(dataset, (V,), SIZE, folder=folder, limit_gb=0.5 * one)
    assert [path.exists() for path in paths] == [True, False, True]


def test_a_disk_without_room_is_refused_before_decoding(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_opening(monkeypatch)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1000))
    with pytest.raises(ConfigError, match=r"has 0\.0 MB free.*--cache"):
        decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")


def test_a_disk_that_fills_up_gets_a_sentence_and_nothing_stays(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "write_text", fail)
    with pytest.raises(ConfigError, match=r"disk of .* was full.*--cache"):
        decode_all(dataset, (V,), SIZE, folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("shape", [(40, 48), (10, 12), (40, 20), (32, 32)])
def test_resize_squeezes_and_keeps_the_mean(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), (10, 100, 200), np.uint8)
    picture[: shape[0] // 2] += 40
    square = cache.resize(picture, SIZE)
    assert square.shape == (SIZE, SIZE, 3)
    np.testing.assert_allclose(square.mean((0, 1)), picture.mean((0, 1)), atol=1)
