"""Which samples show the same photograph: same files, near-duplicates, changed copies, partners.

A link says that two samples hold the same moment. It doesn't look at any split; `leaks.py` does.

How well it works at 128 pixels. Each sample stood beside one copy of it, made by the paper's
26-fold augmentation, encoded as JPEG and claimed to be somebody else:

    stand-in, 566 samples:    564 of 566 copies found; visible 561, infrared 557, MSX 558
    drawn faces, 2 x 200:     398 of 400 copies found; visible 369, infrared 362, MSX 389
    wrong links in all three sets, and in the stand-in set alone: none

The most alike of different photographs, always of one person, on the stand-in and on drawn faces:
visible 0.69 and 0.85, infrared 0.89 and 0.90, MSX 0.83 and 0.82. Of true copies 99.5 % had 0.87,
0.91 and 0.90 or more on the stand-in set.

Visible pictures in the dark are the hardest, because their noise is not copied by a strong JPEG.
Copies with a box painted over are found less surely (23 of 25 drawn ones, changed strongly).
Below 96 pixels the finest structures are missing: the thresholds rise, and strongly changed copies
of visible pictures are missed. Below 48 pixels only copies of files are found.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ferfusion.data.cache import Advance, decode_all, default_cache_folder
from ferfusion.data.dataset import Dataset
from ferfusion.data.links import Evidence, Kind, Link, LinkCollector, read_links, write_links
from ferfusion.data.pairing import split_marker
from ferfusion.errors import ImageError
from ferfusion.imaging.candidates import Candidate, find_candidates
from ferfusion.imaging.files import read_image_size
from ferfusion.imaging.shared_edges import find_partners
from ferfusion.imaging.similarity import Agreement, Look, compare, describe
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile, Sample

VERSION = "2"  # part of the key of what is kept: raise it when another link may come out
AUDIT_PX = 128
LEAST_PX = 48
"""Smaller pictures are too coarse to tell a copy from a look-alike."""

_SIZES = (48, 64, 96, 128)
_SAME = {
    Modality.VISIBLE: (0.950, 0.940, 0.900, 0.880),
    Modality.INFRARED: (0.980, 0.975, 0.945, 0.905),
    Modality.MSX: (0.955, 0.945, 0.890, 0.855),
}
"""Fine correlation from which two pictures are one, at each of the sizes."""

# One modality alone is believed from 40 % of the way up to 1; below, another must not deny it.
_SURE, _LENIENT = 0.4, 0.04

# Of the pictures whose partner is there, 56 and 91 % (visible, stand-in and drawn) and 95 and 67 %
# (infrared) got it; none got a wrong one, neither there nor where every partner was taken away.
_PARTNERS = {Modality.VISIBLE: 0.40, Modality.INFRARED: 0.65}
_HARDLY_MOVED = 0.04  # mean way of the corners, as a share of the side
_BATCH = 256
_FLAT = 2.0  # grey levels of deviation below which a picture shows nothing


@dataclass(frozen=True)
class PictureAudit:
    """What was found in the pictures of a data set.

    Attributes:
        links: Sorted by ids.
        n_pictures: How many pictures of each modality were looked at.
        size_px: At which size.
    """

    links: tuple[Link, ...]
    n_pictures: Mapping[Modality, int]
    size_px: int

    @property
    def looked_at(self) -> str:
        """One sentence or two on what was looked at and how."""
        counts = ", ".join(f"{n} {modality}" for modality, n in self.n_pictures.items())
        if self.size_px < LEAST_PX:
            return (
                f"{counts} pictures, compared as files only: at {self.size_px} pixels a copy can't "
                "be told from a look-alike."
            )
        return (
            f"{counts} pictures, compared as files, by perceptual hash and by aligned keypoints "
            f"at {self.size_px} pixels. Visible and infrared pictures are only matched by name."
        )


def audit_pictures(
    dataset: Dataset, *, folder: Path | None = None, advance: Advance | None = None
) -> PictureAudit:
    """Finds the samples that show the same moment.

    Every modality is searched by itself. Across modalities, a visible or infrared picture is
    looked for among the MSX pictures of other samples, and by name, where samples lack modalities.
    A visible picture whose infrared one has another name is therefore not found.

    What is found is kept in the cache beside the decoded pictures, so the next audit of the same
    data costs nothing.

    Args:
        dataset: All samples count, also those that lack modalities.
        folder: The cache; None is `default_cache_folder()`.
        advance: Told of progress.

    Raises:
        BrokenFilesError: Lists every picture that can't be used.
    """
    size_px = _choose_size(dataset)
    stores = {
        m: decode_all(dataset.complete_in((m,)), (m,), size_px, folder=folder, advance=advance)
        for m in dataset.modalities
    }
    counts = {m: len(store.samples) for m, store in stores.items()}
    names = "".join(f"{m} {store.fingerprint}\n" for m, store in stores.items())
    key = hashlib.sha256(f"audit {VERSION} {size_px}\n{names}{_name_files(dataset)}".encode())
    kept = (folder or default_cache_folder()) / f"{key.hexdigest()[:32]}-audit.json"
    if kept.exists():
        return PictureAudit(read_links(kept), counts, size_px)

    ids = {m: [sample.id for sample in store.samples] for m, store in stores.items()}
    pictures = {m: store.pictures[m] for m, store in stores.items()}
    found = LinkCollector()
    _find_same_files(
        {m: (ids[m], store.digests[m], pictures[m]) for m, store in stores.items()}, found
    )
    if size_px >= LEAST_PX:
        done, total = 0, 3 * sum(counts.values())
        for modality in stores:
            tell = _shift(advance, done, total)
            _find_copies(pictures[modality], ids[modality], modality, found, tell)
            done += 3 * counts[modality]
        _drop_contradicted(pictures, ids, found)
        _find_partners({sample.id: sample for sample in dataset.samples}, ids, pictures, found)
    _find_by_name(dataset.samples, found)
    links = found.links()
    write_links(links, kept)
    return PictureAudit(links, counts, size_px)


def _choose_size(dataset: Dataset) -> int:
    """Gives 128, or less where pictures are smaller: what was enlarged has nothing fine."""
    files = [file for sample in dataset.samples for file in sample.images.values()]
    sides = []
    for file in files[:: max(1, len(files) // 24)]:
        try:
            sides.append(min(read_image_size(file)))
        except ImageError:  # decoding will name it, with all others that can't be used
            continue
    return max(16, min(AUDIT_PX, int(np.median(sides)))) if sides else AUDIT_PX


def _shift(advance: Advance | None, done: int, total: int) -> Callable[[int], None]:
    return lambda more: None if advance is None else advance(done + more, total)


def _find_same_files(
    stores: Mapping[Modality, tuple[Sequence[str], Sequence[str], np.ndarray]],
    found: LinkCollector,
) -> None:
    """Links samples that hold the same bytes, in whatever modality."""
    holders: dict[str, list[tuple[str, Modality]]] = defaultdict(list)
    for modality, (ids, digests, pictures) in stores.items():
        for row, (sample_id, digest) in enumerate(zip(ids, digests, strict=True)):
            if digest in holders or not _is_flat(pictures[row]):
                holders[digest].append((sample_id, modality))
    for shared in holders.values():
        for (first, of_first), (second, of_second) in pairwise(shared):
            if first != second:
                says = "the same file, byte for byte"
                found.add(first, second, "same file", Evidence(of_first, of_second, says))


def _is_flat(picture: UInt8[np.ndarray, "size size 3"]) -> bool:
    return float(np.std(picture, axis=(0, 1)).max()) < _FLAT


def _find_copies(
    pictures: UInt8[np.ndarray, "samples size size 3"],
    ids: Sequence[str],
    modality: Modality,
    found: LinkCollector,
    advance: Callable[[int], None],
) -> None:
    """Links samples whose pictures of one modality are the same photograph."""
    n, least = len(ids), _least(modality, pictures.shape[1])
    # OpenCV lets go of the interpreter lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks: list[Look] = []
        for look in pool.map(describe, pictures):
            looks.append(look)
            advance(len(looks))
        candidates = find_candidates(looks)
        for start in range(0, len(candidates), _BATCH):
            batch = [
                candidate
                for candidate in candidates[start : start + _BATCH]
                if found.teaches(ids[candidate.first], ids[candidate.second], modality)
            ]
            agreements = pool.map(lambda candidate: _compare(looks, candidate), batch)
            for candidate, agreement in zip(batch, agreements, strict=True):
                if agreement is not None and agreement.fine >= least:
                    kind, evidence = _describe_copy(modality, candidate, agreement)
                    found.add(ids[candidate.first], ids[candidate.second], kind, evidence)
            advance(n + round(2 * n * min(1.0, (start + _BATCH) / len(candidates))))
    advance(3 * n)


def _drop_contradicted(
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]],
    ids: Mapping[Modality, Sequence[str]],
    found: LinkCollector,
) -> None:
    """Drops what one modality barely says and all others of the two samples deny.

    Two heat pictures of one person, both shrunk, may look like one: their visible pictures don't.
    """
    row_of = {m: {sample_id: row for row, sample_id in enumerate(ids[m])} for m in ids}
    for (first, second), why in list(found.evidence.items()):
        (_, evidence), *more = why
        if more or evidence.correlation is None:
            continue
        least = _least(evidence.first, pictures[evidence.first].shape[1])
        others = [
            m for m in ids if m is not evidence.first and first in row_of[m] and second in row_of[m]
        ]
        if evidence.correlation >= least + _SURE * (1 - least) or not others:
            continue
        if not any(
            _is_alike(
                pictures[m][row_of[m][first]],
                pictures[m][row_of[m][second]],
                _least(m, pictures[m].shape[1]) - _LENIENT,
            )
            for m in others
        ):
            del found.evidence[first, second]


def _is_alike(
    first: UInt8[np.ndarray, "size size 3"], second: UInt8[np.ndarray, "size size 3"], least: float
) -> bool:
    one, other = describe(first), describe(second)
    agreed = (compare(one, other, mirrored=mirrored) for mirrored in (False, True))
    return any(agreement.fine >= least for agreement in agreed if agreement is not None)


def _least(modality: Modality, size_px: int) -> float:
    return float(np.interp(size_px, _SIZES, _SAME[modality]))


def _compare(looks: Sequence[Look], candidate: Candidate) -> Agreement | None:
    first, second = looks[candidate.first], looks[candidate.second]
    return compare(first, second, mirrored=candidate.mirrored)


def _describe_copy(
    modality: Modality, candidate: Candidate, agreement: Agreement
) -> tuple[Kind, Evidence]:
    changes = []
    if agreement.mirrored:
        changes.append("mirrored")
    if abs(agreement.turned_deg) >= 2:
        changes.append(f"turned by {abs(agreement.turned_deg):.0f} degrees")
    if not 0.95 < agreement.zoom < 1.05:
        changes.append(f"content {agreement.zoom:.2f} times as large")
    is_near = not agreement.mirrored and agreement.moved < _HARDLY_MOVED
    if not changes and not is_near:
        changes.append("moved, cropped or bent")
    says = ", ".join((f"correlation {agreement.fine:.2f} after alignment", *changes))
    evidence = Evidence(
        modality,
        modality,
        says,
        round(agreement.fine, 4),
        agreement.keypoints,
        candidate.hash_distance,
    )
    return ("near-duplicate" if is_near else "changed copy"), evidence


def _find_partners(
    known: Mapping[str, Sample],
    ids: Mapping[Modality, Sequence[str]],
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]],
    found: LinkCollector,
) -> None:
    """Links a visible or infrared picture to the MSX picture of another sample made of it."""
    for modality, least in _PARTNERS.items():
        if modality not in ids or Modality.MSX not in ids:
            continue
        rows, others = (
            [r for r, i in enumerate(ids[has]) if lacks not in known[i].images]
            for has, lacks in ((modality, Modality.MSX), (Modality.MSX, modality))
        )
        ours = [pictures[modality][row] for row in rows]
        theirs = [pictures[Modality.MSX][row] for row in others]
        for row, other, correlation in find_partners(ours, theirs, least):
            first, second = ids[modality][rows[row]], ids[Modality.MSX][others[other]]
            says = f"the MSX picture has the structures of the {modality} one ({correlation:.2f})"
            evidence = Evidence(modality, Modality.MSX, says, round(correlation, 4))
            found.add(first, second, "across modalities", evidence)


def _find_by_name(samples: Iterable[Sample], found: LinkCollector) -> None:
    """Links samples of one expression and subject that lack each other's modality, by file name.

    A name that several pictures of one modality have says nothing.
    """
    named: dict[tuple[str, str | None, str], list[tuple[str, Modality]]] = defaultdict(list)
    for sample in samples:
        for modality, file in sample.images.items():
            bare = _bare_stem(file)
            named[sample.expression, sample.subject, bare].append((sample.id, modality))
    for (_, _, bare), holders in named.items():
        modalities = [modality for _, modality in holders]
        if not bare or len(set(modalities)) < len(modalities):
            continue
        for (first, of_first), (second, of_second) in pairwise(holders):
            if first != second:
                says = f"both files are called '{bare}', of one expression"
                found.add(first, second, "across modalities", Evidence(of_first, of_second, says))


def _bare_stem(file: ImageFile) -> str:
    name = (file.member or file.path.name).rpartition("/")[2]
    return split_marker(name.rpartition(".")[0] or name)[1].casefold()


def _name_files(dataset: Dataset) -> str:
    """Names all that the links by name depend on."""
    return "".join(
        f"{s.id} {m} {_bare_stem(file)}\n" for s in dataset.samples for m, file in s.images.items()
    )
