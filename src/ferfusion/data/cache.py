"""Decode every picture once and keep it as bytes: later epochs and later runs cost nothing."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from ferfusion.atomic import replacing, write_text
from ferfusion.data.dataset import Dataset
from ferfusion.errors import BrokenFilesError, ImageError
from ferfusion.imaging.files import fingerprint_image, read_image
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile, Sample

Advance = Callable[[int, int], None]
"""Called with (done, total) while something long runs."""

FORMAT = "2"  # part of every key: raise it when decoding or resizing changes


@dataclass(frozen=True)
class ImageStore:
    """All pictures of some samples, decoded and resized, on disk and mapped into memory.

    Attributes:
        size_px: Side of every picture.
        samples: In the order of the rows.
        pictures: Per modality, one row a sample.
        digests: Per modality and row, a hash of the picture's file: equal for copies of it.
        fingerprint: SHA-256 over ids, labels, subjects and digests: names the data.
    """

    size_px: int
    samples: tuple[Sample, ...]
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]]
    digests: Mapping[Modality, tuple[str, ...]]
    fingerprint: str

    @property
    def nbytes(self) -> int:
        """Bytes that the decoded pictures take."""
        return sum(array.nbytes for array in self.pictures.values())


def default_cache_folder() -> Path:
    """Where decoded pictures are kept unless told otherwise: `$XDG_CACHE_HOME/ferfusion`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferfusion"


def decode_all(
    dataset: Dataset,
    modalities: Sequence[Modality],
    size_px: int,
    *,
    folder: Path | None = None,
    advance: Advance | None = None,
) -> ImageStore:
    """Decodes and resizes the pictures of the samples that have all of these modalities.

    Each modality's pictures are one .npy file in the cache folder, named by what went in (paths,
    sizes and times of the files, the size wanted), so that changed files are decoded again.

    Args:
        dataset: Whose samples.
        modalities: Which pictures; samples lacking one are left out.
        size_px: Side of the square they are resized to.
        folder: The cache; None is `default_cache_folder()`.
        advance: Told of progress.

    Raises:
        BrokenFilesError: Lists every picture that can't be used. Nothing is skipped.
    """
    samples = dataset.complete_in(modalities).samples
    folder = folder or default_cache_folder()
    files = {m: [s.images[m] for s in samples] for m in modalities}
    paths = {m: folder / f"{_key(files[m], size_px)}.npy" for m in modalities}
    missing = [m for m in modalities if not _is_complete(paths[m])]
    total = sum(len(files[m]) for m in missing)
    broken: list[str] = []
    done = 0
    for modality in missing:
        try:
            _decode(files[modality], paths[modality], size_px, done, total, advance)
        except BrokenFilesError as error:
            broken.extend(error.sentences)
        done += len(files[modality])
    if broken:
        raise BrokenFilesError(broken)
    pictures = {m: np.load(paths[m], mmap_mode="r") for m in modalities}
    digests = {m: tuple(json.loads(paths[m].with_suffix(".json").read_text())) for m in modalities}
    return ImageStore(size_px, samples, pictures, digests, _fingerprint(samples, digests))


def _is_complete(path: Path) -> bool:
    return path.exists() and path.with_suffix(".json").exists()


def _decode(
    files: Sequence[ImageFile],
    path: Path,
    size_px: int,
    done: int,
    total: int,
    advance: Advance | None,
) -> None:
    shape = (len(files), size_px, size_px, 3)
    with replacing(path) as part:
        store = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)

        digests = [""] * len(files)

        def decode(row: int) -> str | None:
            try:
                store[row] = resize(read_image(files[row]), size_px)
                digests[row] = fingerprint_image(files[row])
            except ImageError as error:
                return str(error)
            return None

        # Decoding and resizing let go of the interpreter lock, so threads are enough.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            broken: list[str] = []
            for now, sentence in enumerate(pool.map(decode, range(len(files))), start=done + 1):
                if sentence is not None:
                    broken.append(sentence)
                if advance is not None:
                    advance(now, total)
        if broken:
            raise BrokenFilesError(broken)
        store.flush()
        write_text(path.with_suffix(".json"), json.dumps(digests))


def resize(
    picture: UInt8[np.ndarray, "height width 3"], size_px: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Squeezes a picture into a square, averaging where it shrinks."""
    shrinks = picture.shape[0] >= size_px and picture.shape[1] >= size_px
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (size_px, size_px), interpolation=interpolation)


def _key(files: Sequence[ImageFile], size_px: int) -> str:
    digest = hashlib.sha256(f"{FORMAT} {size_px}\n".encode())
    for file in files:
        try:
            state = file.path.stat()
            seen = f"{state.st_size} {state.st_mtime_ns}"
        except OSError:
            seen = "missing"  # read_image will say so, with all the others
        digest.update(f"{file.path.resolve()}!{file.member} {seen}\n".encode())
    return digest.hexdigest()[:32]


def _fingerprint(samples: Sequence[Sample], digests: Mapping[Modality, Sequence[str]]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.id} {sample.expression} {sample.subject}\n".encode())
    for modality, rows in digests.items():
        digest.update(" ".join((modality, *rows, "\n")).encode())
    return digest.hexdigest()
