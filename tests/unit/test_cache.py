import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferfusion.data import cache
from ferfusion.data.cache import decode_all
from ferfusion.data.dataset import Dataset
from ferfusion.errors import BrokenFilesError
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

    monkeypatch.setattr(cache, "read_image", fail)
    monkeypatch.setattr(cache, "fingerprint_image", fail)


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


def test_cache_follows_xdg_cache_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_cache_folder() == tmp_path / "ferfusion"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_cache_folder() == Path.home() / ".cache" / "ferfusion"


@pytest.mark.parametrize("shape", [(40, 48), (10, 12), (40, 20), (32, 32)])
def test_resize_squeezes_and_keeps_the_mean(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), (10, 100, 200), np.uint8)
    picture[: shape[0] // 2] += 40
    square = cache.resize(picture, SIZE)
    assert square.shape == (SIZE, SIZE, 3)
    np.testing.assert_allclose(square.mean((0, 1)), picture.mean((0, 1)), atol=1)
