"""Decode every picture once and keep it as bytes: later epochs and later runs cost nothing."""

import hashlib
import json
import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PIL
from jaxtyping import Int, Shaped, UInt8

from ferfusion.atomic import replacing, write_text
from ferfusion.data.cache_folder import (
    LIMIT_GB,
    find_cache_folder,
    hold_entry,
    is_there,
    make_room,
    note_mapped,
)
from ferfusion.data.dataset import Dataset
from ferfusion.errors import (
    BrokenFilesError,
    ConfigError,
    DataError,
    ImageError,
    ThermogramError,
    is_disk_full,
)
from ferfusion.imaging.file_bytes import fingerprint_bytes, read_bytes
from ferfusion.imaging.files import decode_image
from ferfusion.imaging.heat_input import read_picture
from ferfusion.memory import keep_freed_memory
from ferfusion.modality import Modality
from ferfusion.preprocessing import HeatInput
from ferfusion.sample import ImageFile, Sample

Advance = Callable[[int, int], None]
"""Called with (done, total) while something long runs."""

Shape = tuple[int, int, int, int]
"""Of an entry: samples, size, size, 3."""

FORMAT = "6"
"""Part of every key: raise it when decoding, rendering, resizing or what is kept changes."""

_LOOKED_AT = 500  # rows whose checksum is compared when an entry is opened: 17 ms at 224 px
_AHEAD = 64  # pictures decoded but not yet written, at most


@dataclass(frozen=True)
class ImageStore:
    """All pictures of some samples, decoded and resized, on disk and mapped into memory.

    Attributes:
        size_px: Side of every picture.
        samples: In the order of the rows.
        pictures: Per modality, one row a sample.
        digests: Per modality and row, a hash of the picture's file: equal for copies of it.
        fingerprint: SHA-256 over ids, labels, subjects and digests: names the data.
        notes: Sentences on what was wrong with the cache and was mended.
    """

    size_px: int
    samples: tuple[Sample, ...]
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]]
    digests: Mapping[Modality, tuple[str, ...]]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes that the decoded pictures take."""
        return sum(array.nbytes for array in self.pictures.values())

    def gather(
        self, modality: Modality, rows: Int[np.ndarray, " rows"]
    ) -> UInt8[np.ndarray, "rows size size 3"]:
        """Copies some rows, as `pictures[modality][rows]` does; reads the file if that is faster.

        A map that doesn't fit into memory is slow: 735 rows of 224 px a second of a map of 30 GB on
        a machine with 25 GB, where reading gave 1,900 to 6,000. One that fits is faster: 0.03
        against 0.05 ms a row.
        """
        mapped = self.pictures[modality]
        fits = self.nbytes < _measure_memory() / 2
        if fits or not isinstance(mapped, np.memmap) or mapped.filename is None:
            return mapped[rows]
        rows = np.arange(len(mapped))[rows]  # negative ones, and those that aren't there
        try:
            with open(mapped.filename, "rb", buffering=0) as stream:  # noqa: PTH123
                copy = np.empty((len(rows), *mapped.shape[1:]), np.uint8)
                for place, row in enumerate(rows):
                    stream.seek(mapped.offset + int(row) * copy[place].nbytes)
                    if stream.readinto(copy[place].data) != copy[place].nbytes:
                        return mapped[rows]
                return copy
        except FileNotFoundError:  # another process removed it; what is mapped stays
            return mapped[rows]


@dataclass(frozen=True)
class _Opened:
    pictures: UInt8[np.ndarray, "samples size size 3"]
    digests: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    picture: UInt8[np.ndarray, "size size 3"]
    digest: str
    checksum: int


def decode_all(
    dataset: Dataset,
    modalities: Sequence[Modality],
    size_px: int,
    *,
    heat: HeatInput | None = None,
    folder: Path | None = None,
    limit_gb: float = LIMIT_GB,
    advance: Advance | None = None,
) -> ImageStore:
    """Decodes and resizes the pictures of the samples that have all of these modalities.

    Each modality's pictures are one entry of the cache, named by what went in (paths, sizes and
    times of the files, the size wanted, the versions of what decodes), so that what changed is
    decoded again. If another process decodes the same pictures now, this one waits and shares them.

    Args:
        dataset: Whose samples.
        modalities: Which pictures; samples lacking one are left out.
        size_px: Side of the square they are resized to.
        heat: How infrared files of temperatures become pictures; None where they are pictures.
        folder: The cache; None is `default_cache_folder()`.
        limit_gb: How large it may grow; entries used longest ago give way. 0 is without limit.
        advance: Told of progress.

    Raises:
        BrokenFilesError: Lists every picture that can't be used. Nothing is skipped.
        ConfigError: The pictures don't fit into the cache or on its disk.
        DataError: What was written can't be read back.
    """
    samples = dataset.complete_in(modalities).samples
    folder = find_cache_folder(folder)
    shape = (len(samples), size_px, size_px, 3)
    files = {m: [s.images[m] for s in samples] for m in modalities}
    heats = {m: heat if m is Modality.INFRARED else None for m in modalities}
    names = _name_entries(folder, files.values(), size_px, heats.values())
    paths = dict(zip(modalities, names, strict=True))
    found = {m: _open(paths[m], shape) for m in modalities}
    missing = [m for m in modalities if not isinstance(found[m], _Opened)]
    wanted = {path: _estimate_nbytes(shape) for path in paths.values()}
    what = f"The decoded pictures of {len(samples)} samples ({', '.join(modalities)}, {size_px} px)"
    opened = {m: one for m, one in found.items() if isinstance(one, _Opened)}
    broken: list[str] = []
    notes: list[str] = []
    # Also where nothing is missing: what lies there may be more than it may be now.
    if removed := make_room(folder, wanted, limit_gb, what):
        notes.append(removed)
    if missing:
        keep_freed_memory()
    for place, modality in enumerate(missing):
        path = paths[modality]
        tell = _shift(advance, place * len(samples), len(missing) * len(samples))
        with hold_entry(path, on_wait=lambda tell=tell: tell(0)):
            # Another process, or another modality with the same files, may have made it meanwhile.
            now = _open(path, shape)
            if isinstance(now, _Opened):
                tell(len(samples))
            else:
                if now is not None:
                    notes.append(f"Decoded the {modality} pictures again: {now}.")
                try:
                    _decode(files[modality], path, shape, tell, heats[modality])
                except BrokenFilesError as error:
                    broken.extend(error.sentences)
                    continue
                now = _open(path, shape)
        if not isinstance(now, _Opened):
            raise DataError(
                f"{path} was written just now and can't be read back ({now or 'it is gone'}): "
                "check the disk, or name another folder with --cache."
            )
        opened[modality] = now
    if broken:
        raise BrokenFilesError(broken)
    pictures = {m: opened[m].pictures for m in modalities}
    digests = {m: opened[m].digests for m in modalities}
    fingerprint = _fingerprint(samples, digests, heat)
    return ImageStore(size_px, samples, pictures, digests, fingerprint, tuple(notes))


def resize(
    picture: UInt8[np.ndarray, "height width 3"], size_px: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Squeezes a picture into a square, averaging where it shrinks, linearly where a side grows."""
    size = (size_px, size_px)
    if picture.shape[0] >= size_px and picture.shape[1] >= size_px:
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    # Of bytes OpenCV would calculate with 11 bits, and an exported graph would be a level off.
    return np.rint(cv2.resize(picture.astype(np.float32), size)).astype(np.uint8)


def _shift(advance: Advance | None, start: int, total: int) -> Callable[[int], None]:
    return lambda more: None if advance is None else advance(start + more, total)


@cache
def _measure_memory() -> int:
    """Gives the machine's memory in bytes, or 0 where the system doesn't say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _estimate_nbytes(shape: Shape) -> int:
    return math.prod(shape) + 48 * shape[0] + 1024


def _open(path: Path, shape: Shape) -> "_Opened | str | None":
    """Maps an entry. Gives None if it isn't there, and what is wrong with it if it is damaged."""
    if not is_there(path):
        return None
    try:
        known = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        digests, checksums = known["digests"], known["checksums"]
        # An empty file can't be mapped.
        pictures = np.load(path, mmap_mode="r" if shape[0] else None)
    except FileNotFoundError:  # removed by another process just now
        return None
    except (ValueError, EOFError, KeyError, TypeError) as error:
        return f"{path} was cut short or is not what it was ({error})"
    if isinstance(pictures, np.memmap) and path.stat().st_size != pictures.offset + pictures.nbytes:
        return f"{path} is longer than it was"
    is_other = pictures.shape != shape or pictures.dtype != np.uint8
    if is_other or not len(digests) == len(checksums) == shape[0]:
        return f"{path} has another shape than its pictures should have"
    damaged = find_damaged_row(pictures, checksums)
    if damaged is not None:
        return f"row {damaged} of {path} is not what was written"
    note_mapped(path, pictures)
    return _Opened(pictures, tuple(digests))


def find_damaged_row(array: Shaped[np.ndarray, "rows ..."], checksums: Sequence[int]) -> int | None:
    """Names a row that isn't what was written; None if none of those looked at is.

    Evenly spread, the last one among them: what is missing is mostly the end.
    """
    for row in np.linspace(0, len(array) - 1, min(len(array), _LOOKED_AT)).astype(int):
        if zlib.crc32(array[row].tobytes()) != checksums[row]:
            return int(row)
    return None


def _decode(
    files: Sequence[ImageFile],
    path: Path,
    shape: Shape,
    advance: Callable[[int], None],
    heat: HeatInput | None,
) -> None:
    """Writes an entry, row after row, so that memory stays flat however many there are.

    Raises:
        BrokenFilesError: Lists every picture that can't be used.
        ConfigError: The disk is full.
    """
    size_px = shape[1]

    def decode(file: ImageFile) -> "_Row | str":
        try:
            data = read_bytes(file)
            is_plain = heat is None and not file.is_grid
            seen = decode_image(file, data) if is_plain else read_picture(file, heat)
            picture = resize(seen, size_px)
        except (ImageError, ThermogramError) as error:
            return str(error)
        return _Row(picture, fingerprint_bytes(data), zlib.crc32(picture.tobytes()))

    digests: list[str] = []
    checksums: list[int] = []
    broken: list[str] = []
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    try:
        with replacing(path) as part:
            with part.open("wb") as stream, ThreadPoolExecutor(os.cpu_count()) as pool:
                np.lib.format.write_array_header_1_0(stream, header)
                stream.truncate(stream.tell() + math.prod(shape))  # others count it from now on
                # Decoding and resizing let go of the interpreter lock, so threads are enough.
                for done, row in enumerate(_map_ahead(pool, decode, files), start=1):
                    if isinstance(row, str):
                        broken.append(row)
                    elif not broken:
                        stream.write(row.picture.data)
                        digests.append(row.digest)
                        checksums.append(row.checksum)
                    advance(done)
            if broken:
                raise BrokenFilesError(broken)
            known = json.dumps({"digests": digests, "checksums": checksums})
            write_text(path.with_suffix(".json"), known)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise ConfigError(
            f"The disk of {path.parent} was full before all pictures were decoded. Make room, or "
            "name a folder on another disk with --cache."
        ) from error


def _map_ahead(
    pool: ThreadPoolExecutor, work: Callable[[ImageFile], "_Row | str"], files: Sequence[ImageFile]
) -> Iterator["_Row | str"]:
    """Does what `pool.map` does, which would hold all rows in memory if the disk is slow."""
    waiting: deque[Future[_Row | str]] = deque()
    for file in files:
        waiting.append(pool.submit(work, file))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _name_entries(
    folder: Path,
    columns: Iterable[Sequence[ImageFile]],
    size_px: int,
    heats: Iterable[HeatInput | None],
) -> Iterator[Path]:
    """Names the entry of each column of files by all that decides its bytes."""
    # Plain strings: 3.5 s for 100,000 samples of three modalities; with pathlib it was 5.3 s.
    seen: dict[str, str] = {}
    real_folders: dict[str, str] = {}

    def look(path: str) -> str:
        folder, name = os.path.split(path)
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(folder or os.curdir)
        try:
            state = os.stat(path)  # noqa: PTH116
            version = f"{state.st_size} {state.st_mtime_ns}"
        except OSError:
            version = "missing"  # read_bytes will say so, with all the others
        return f"{real_folders[folder]}/{name} {version}"

    versions = f"{FORMAT} {size_px} {cv2.__version__} {PIL.__version__}\n"
    for files, heat in zip(columns, heats, strict=True):
        digest = hashlib.sha256(versions.encode())
        if heat is not None:
            digest.update(f"{heat}\n".encode())
        for file in files:
            # The members of an archive share its path.
            path = os.fspath(file.path)
            if path not in seen:
                seen[path] = look(path)
            digest.update(f"{seen[path]}!{file.member}\n".encode())
        yield folder / f"{digest.hexdigest()[:32]}.npy"


def _fingerprint(
    samples: Sequence[Sample],
    digests: Mapping[Modality, Sequence[str]],
    heat: HeatInput | None,
) -> str:
    digest = hashlib.sha256()
    if heat is not None:
        digest.update(f"{heat}\n".encode())
    for sample in samples:
        digest.update(f"{sample.id} {sample.expression} {sample.subject}\n".encode())
    for modality, rows in digests.items():
        digest.update(" ".join((modality, *rows, "\n")).encode())
    return digest.hexdigest()
