"""Which samples show the same photograph: same files, near-duplicates, changed copies, partners.

A link says that two samples hold the same moment. It doesn't look at any split; `leaks.py` does.

How well it works at 128 pixels. Each of 100 samples stood beside one copy, claimed to be somebody
else: blurred by 1 or 2 pixels of 128, shifted by 8, halved and enlarged, lightened, JPEG 30,
mirrored, cropped by 10 %, or noisy (all but JPEG 30 saved as JPEG 90). Found, and found before
copies were also looked for in place:

                          visible, infrared   visible alone   infrared alone
    stand-in              100 (was 96)        100 (was 86)    89 (was 89)
    drawn, light mixed    100 (was 62)        100 (was 64)    100 (was 66)
    drawn in dim light    100 (was 46)        99 (was 43)     100 (was 65)

None of these links was wrong. Not found: lightened infrared whose bright end is cut off, alone.
Of 100 copies made by the paper's 26-fold augmentation all were found, stand-in and drawn, with all
three modalities.

Wrong links come of different photographs of one person. The stand-in's reach a fine correlation of
0.69 (visible), 0.89 (infrared) and 0.83 (MSX): none was linked. Drawn ones reach more (0.96
visible). Of 240 samples in which 12 drawn people show each expression four times, none was linked
with two or three modalities (19 pairs were, before two modalities had to agree), none with infrared
alone, and 27 pairs with visible alone. Of 160 such samples of 96 pixels, 2 pairs (was 16).
Two blurred infrared pictures of one person may reach 0.95: see `copies.py`.

Across modalities: where two people of a class had exchanged their infrared pictures, 42 of 50
pairs were found (drawn) and 282 of 282 (stand-in); their visible pictures, 50 of 50 and 227 of 282.
No link was wrong, there or in the sets as they are.

Copies with a box painted over are found less surely (23 of 25 drawn ones, changed strongly).
Below 96 pixels the finest structures are missing: the thresholds rise, and strongly changed copies
of visible pictures are missed. Below 48 pixels only copies of files are found.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ferfusion.data.cache import Advance, decode_all
from ferfusion.data.cache_folder import LIMIT_GB, find_cache_folder
from ferfusion.data.copies import find_copies
from ferfusion.data.dataset import Dataset
from ferfusion.data.links import Evidence, Link, LinkCollector, read_links, write_links
from ferfusion.data.moments import MOST_PICTURES, find_by_name, find_by_structure, name_files
from ferfusion.errors import ImageError
from ferfusion.imaging.files import read_image_size
from ferfusion.modality import Modality

VERSION = "4"  # part of the key of what is kept: raise it when another link may come out
AUDIT_PX = 128
LEAST_PX = 48
"""Smaller pictures are too coarse to tell a copy from a look-alike."""

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
        """A few sentences on what was looked at and how."""
        counts = ", ".join(f"{n} {modality}" for modality, n in self.n_pictures.items())
        if self.size_px < LEAST_PX:
            return (
                f"{counts} pictures, compared as files only: at {self.size_px} pixels a copy can't "
                "be told from a look-alike."
            )
        said = [
            f"{counts} pictures, compared as files, by perceptual hash and by aligned keypoints "
            f"at {self.size_px} pixels."
        ]
        if Modality.MSX in self.n_pictures and len(self.n_pictures) > 1:
            said.append(
                f"MSX pictures are not matched with others by what they show: of more than "
                f"{MOST_PICTURES} in a modality that would take too long."
                if max(self.n_pictures.values()) > MOST_PICTURES
                else "MSX pictures are matched with all others by what they show."
            )
        if {Modality.VISIBLE, Modality.INFRARED} <= set(self.n_pictures):
            said.append("Visible and infrared pictures are only matched by name.")
        return " ".join(said)

    @property
    def blind_to(self) -> str:
        """What no audit of this kind can see, in one sentence."""
        return (
            "Not found are copies changed beyond knowing (such as blurred and turned at once), a "
            "visible and an infrared picture of one moment under different names, and one person "
            "under two names in different photographs."
        )


def audit_pictures(
    dataset: Dataset,
    modalities: Sequence[Modality] | None = None,
    *,
    folder: Path | None = None,
    limit_gb: float = LIMIT_GB,
    advance: Advance | None = None,
) -> PictureAudit:
    """Finds the samples that show the same moment.

    Every modality is searched by itself. Across modalities, a visible or infrared picture is
    looked for among all MSX pictures, and by name. A visible picture whose infrared one stands in
    another sample under another name is therefore not found where there is no MSX picture.

    What is found is kept in the cache beside the decoded pictures, so the next audit of the same
    data costs nothing.

    Args:
        dataset: All samples count, also those that lack modalities.
        modalities: Which pictures; None is all there are.
        folder: The cache; None is `default_cache_folder()`.
        limit_gb: How large it may grow.
        advance: Told of progress.

    Raises:
        BrokenFilesError: Lists every picture that can't be used.
    """
    chosen = tuple(m for m in dataset.modalities if modalities is None or m in modalities)
    size_px = _choose_size(dataset, chosen)
    stores = {
        m: decode_all(
            dataset.complete_in((m,)), (m,), size_px,
            folder=folder, limit_gb=limit_gb, advance=advance,
        )
        for m in chosen
    }  # fmt: skip
    counts = {m: len(store.samples) for m, store in stores.items()}
    names = "".join(f"{m} {store.fingerprint}\n" for m, store in stores.items())
    key = hashlib.sha256(
        f"audit {VERSION} {size_px}\n{names}{name_files(dataset.samples, dataset.root)}".encode()
    )
    kept = find_cache_folder(folder) / f"{key.hexdigest()[:32]}-audit.json"
    if kept.exists():
        return PictureAudit(read_links(kept), counts, size_px)

    ids = {m: [sample.id for sample in store.samples] for m, store in stores.items()}
    pictures = {m: store.pictures[m] for m, store in stores.items()}
    found = LinkCollector()
    _find_same_files(
        {m: (ids[m], store.digests[m], pictures[m]) for m, store in stores.items()}, found
    )
    if size_px >= LEAST_PX:
        find_copies(pictures, ids, found, advance)
        find_by_structure(ids, pictures, found)
    find_by_name(dataset.samples, chosen, dataset.root, found)
    links = found.links()
    write_links(links, kept)
    return PictureAudit(links, counts, size_px)


def _choose_size(dataset: Dataset, modalities: Sequence[Modality]) -> int:
    """Gives 128, or less where pictures are smaller: what was enlarged has nothing fine."""
    pictures = (item for sample in dataset.samples for item in sample.images.items())
    # The size of a grid is known only when it is read, and no camera's grid is too small.
    files = [file for m, file in pictures if m in modalities and not file.is_grid]
    sides = []
    for file in files[:: max(1, len(files) // 24)]:
        try:
            sides.append(min(read_image_size(file)))
        except ImageError:  # decoding will name it, with all others that can't be used
            continue
    return max(16, min(AUDIT_PX, int(np.median(sides)))) if sides else AUDIT_PX


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
