from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ferfusion.data.augmentation import Policy, apply, count_copies, draw
from ferfusion.data.cache import ImageStore
from ferfusion.data.loading import Batch, Loader, index_labels, normalise
from ferfusion.modality import MODALITIES
from ferfusion.preprocessing import Preprocessing

V, IR, M = MODALITIES


@pytest.fixture(scope="module")
def store(make_store: Callable[..., ImageStore]) -> ImageStore:
    return make_store(n=40, size_px=16)


def make_loader(store: ImageStore, *, n: int = 27, batch_size: int = 8, **named) -> Loader:
    rows = np.random.default_rng(1).permutation(40)[:n]
    # Labels that give their row away.
    return Loader(store, rows, rows + 100, (V, IR), batch_size, **named)


def test_in_order_gives_every_row_once_as_it_is(store: ImageStore) -> None:
    loader = make_loader(store, policy="none")
    batches = list(loader.in_order())
    assert np.concatenate([b.rows for b in batches]).tolist() == loader.rows.tolist()
    for batch in batches:
        assert set(batch.pictures) == {V, IR}
        for modality in (V, IR):
            np.testing.assert_array_equal(
                batch.pictures[modality].numpy(), store.pictures[modality][batch.rows]
            )
        assert batch.share == 1


def test_in_order_never_augments(store: ImageStore) -> None:
    loader = make_loader(store, policy="sound")
    (batch, *_) = loader.in_order()
    np.testing.assert_array_equal(batch.pictures[V].numpy(), store.pictures[V][batch.rows])


@pytest.mark.parametrize("policy", ["none", "sound", "paper"])
def test_an_epoch_holds_every_copy_of_every_row_once(store: ImageStore, policy: str) -> None:
    loader = make_loader(store, policy=policy)
    copies = 26 if policy == "paper" else 1
    assert loader.n_items == 27 * copies
    seen = Counter(int(row) for b in loader.shuffled(0) for row in b.rows)
    assert seen == dict.fromkeys(loader.rows.tolist(), copies)


def test_each_copy_of_the_paper_is_drawn_once(store: ImageStore) -> None:
    loader = make_loader(store, n=3, policy="paper", seed=4)
    seen: Counter[tuple[int, bytes]] = Counter()
    for batch in loader.shuffled(5):
        for place, row in enumerate(batch.rows):
            seen[int(row), batch.pictures[IR][place].numpy().tobytes()] += 1
    wanted: Counter[tuple[int, bytes]] = Counter()
    for row in loader.rows:
        for copy in range(26):
            drawn = draw("paper", seed=4, epoch=5, sample_id=store.samples[row].id, copy=copy)
            wanted[int(row), apply(drawn, store.pictures[IR][row], IR).tobytes()] += 1
    assert seen == wanted


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("policy", ["sound", "paper"])
def test_modalities_are_drawn_together_or_apart(
    store: ImageStore, policy: Policy, independent: bool
) -> None:
    loader = make_loader(store, n=3, policy=policy, seed=4, independent=independent)
    plain = make_loader(store, n=3, policy=policy, seed=4)
    seen: Counter[tuple[int, tuple[bytes, ...]]] = Counter()
    for batch, same_rows in zip(loader.shuffled(5), plain.shuffled(5), strict=True):
        np.testing.assert_array_equal(batch.rows, same_rows.rows)
        for place, row in enumerate(batch.rows):
            pair = tuple(batch.pictures[m][place].numpy().tobytes() for m in (V, IR))
            seen[int(row), pair] += 1
    wanted: Counter[tuple[int, tuple[bytes, ...]]] = Counter()
    for row in loader.rows:
        for copy in range(count_copies(policy)):
            known = {"seed": 4, "epoch": 5, "sample_id": store.samples[row].id, "copy": copy}
            pair = tuple(
                apply(
                    draw(policy, **known, only=m if independent else None),
                    store.pictures[m][row],
                    m,
                ).tobytes()
                for m in (V, IR)
            )
            wanted[int(row), pair] += 1
    assert seen == wanted


@pytest.mark.parametrize("identical", [False, True])
def test_flips_repeat_only_when_asked_to(store: ImageStore, identical: bool) -> None:
    loader = make_loader(store, n=1, policy="paper", identical_flips=identical)
    (row,) = loader.rows
    mirrored = store.pictures[V][row][:, ::-1]
    seen = [p.numpy() for batch in loader.shuffled(0) for p in batch.pictures[V]]
    assert sum(np.array_equal(picture, mirrored) for picture in seen) == (5 if identical else 1)
    assert len({p.tobytes() for p in seen}) == (22 if identical else 26)


def test_order_and_draws_follow_from_seed_and_epoch(store: ImageStore) -> None:
    def see(seed: int, epoch: int) -> tuple[list[int], bytes]:
        batches = list(make_loader(store, policy="sound", seed=seed).shuffled(epoch))
        rows = [int(row) for b in batches for row in b.rows]
        return rows, b"".join(b.pictures[V].numpy().tobytes() for b in batches)

    assert see(0, 0) == see(0, 0)
    assert see(0, 0)[0] != see(0, 1)[0]
    assert see(0, 0)[0] != see(1, 0)[0]
    # The pictures of one row differ too, not only their order.
    (one,), (other,) = (
        list(make_loader(store, n=1, policy="sound").shuffled(epoch)) for epoch in (0, 1)
    )
    assert not torch.equal(one.pictures[V], other.pictures[V])


@pytest.mark.parametrize("policy", ["sound", "paper"])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_see_what_one_sees(store: ImageStore, policy: str, world: int) -> None:
    loader = make_loader(store, policy=policy)
    whole = list(loader.shuffled(3))
    parts = [list(loader.shuffled(3, rank=rank, world=world)) for rank in range(world)]
    for number, batch in enumerate(whole):
        mine = [part[number] for part in parts]
        np.testing.assert_array_equal(np.concatenate([b.rows for b in mine]), batch.rows)
        for modality, pictures in batch.pictures.items():
            assert torch.equal(torch.cat([b.pictures[modality] for b in mine]), pictures)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_shares_make_the_mean_of_means_the_mean(store: ImageStore, world: int) -> None:
    loader = make_loader(store, batch_size=7)
    losses = np.random.default_rng(0).random(40)
    for number, batch in enumerate(loader.shuffled(0)):
        mine = [list(loader.shuffled(0, rank=rank, world=world))[number] for rank in range(world)]
        assert len({len(b.rows) for b in mine}) > 1 or len(batch.rows) % world == 0
        mean = np.mean([losses[b.rows].mean() * b.share for b in mine])
        assert mean == pytest.approx(losses[batch.rows].mean())


def test_batch_smaller_than_the_processes_goes_to_each(store: ImageStore) -> None:
    loader = make_loader(store, n=2)
    for rank in range(3):
        (batch,) = loader.shuffled(0, rank=rank, world=3)
        assert sorted(batch.rows) == sorted(loader.rows)
        assert batch.share == 1


@pytest.mark.parametrize("n", [1, 2, 8, 9, 17, 27, 40])
@pytest.mark.parametrize("batch_size", [2, 8, 64])
def test_batches_are_nearly_even_and_never_too_big(
    store: ImageStore, n: int, batch_size: int
) -> None:
    loader = make_loader(store, n=n, batch_size=batch_size)
    for batches in (list(loader.shuffled(0)), list(loader.in_order())):
        sizes = [len(b.rows) for b in batches]
        assert len(sizes) == loader.n_batches
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == n


def test_labels_and_pictures_belong_to_the_rows(store: ImageStore) -> None:
    loader = make_loader(store, policy="none")
    for batch in (*loader.shuffled(0), *loader.shuffled(1, rank=1, world=2), *loader.in_order()):
        assert (batch.labels.numpy() == batch.rows + 100).all()
        for modality, pictures in batch.pictures.items():
            np.testing.assert_array_equal(pictures.numpy(), store.pictures[modality][batch.rows])


def test_loading_never_writes_into_the_store(store: ImageStore) -> None:
    before = store.pictures[V].copy()
    for _ in make_loader(store, policy="sound").shuffled(0):
        pass
    np.testing.assert_array_equal(store.pictures[V], before)


def test_misaligned_batch_is_refused() -> None:
    pictures = torch.zeros(4, 8, 8, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="not aligned"):
        Batch({V: pictures, IR: pictures[:3]}, torch.zeros(4, dtype=torch.int64), np.arange(4))


def test_normalise_scales_by_each_modalitys_mean_and_deviation() -> None:
    preprocessing = Preprocessing(
        8,
        {V: (0.1, 0.2, 0.3), M: (0.5, 0.5, 0.5)},
        {V: (0.2, 0.25, 0.5), M: (1.0, 0.5, 0.1)},
    )
    rng = np.random.default_rng(0)
    arrays = {m: rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8) for m in (V, M)}
    ready = normalise(
        {m: torch.from_numpy(a.copy()) for m, a in arrays.items()},
        preprocessing,
        torch.device("cpu"),
    )
    for modality, array in arrays.items():
        wanted = (array / 255 - preprocessing.mean[modality]) / preprocessing.std[modality]
        assert ready[modality].dtype == torch.float32
        assert ready[modality].is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_allclose(
            ready[modality].permute(0, 2, 3, 1).numpy(), wanted, rtol=1e-5, atol=1e-5
        )


def test_labels_are_places_in_the_class_list() -> None:
    assert index_labels(("sad", "happy"), ["happy", "sad", "happy"]).tolist() == [1, 0, 1]
