"""Which pairs of many pictures are worth a close look, without looking at every pair closely.

Two cheap ways, each of which finds what the other misses. The perceptual hash knows a picture again
that was encoded anew, lightened or a little shifted, even where it has no keypoints. Its keypoints,
counted as words of a vocabulary, know it again when it was turned, zoomed, sheared or cropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from ferfusion.imaging.similarity import Look, flatten_light, mirror

HASH_BITS = 64
HASH_NEAR = 10
"""Bits by which hashes of one picture may differ."""

_WORDS = 1024
_NEAREST = 10  # pictures that are looked at for each, by keypoints and each way round
_NEAREST_HASHES = 6
_BLOCK = 1024  # rows compared at once, so that memory grows with the pictures, not their square


@dataclass(frozen=True)
class Candidate:
    """Two pictures that may be one: rows, whether mirrored, and how near their hashes are."""

    first: int
    second: int
    mirrored: bool
    hash_distance: int
    likeness: float


def hash_picture(grey: Float[np.ndarray, "size size"]) -> UInt8[np.ndarray, " bits"]:
    """Gives 64 bits that stay nearly the same when a picture is encoded anew or lightened.

    The signs of the lowest frequencies against their median, light evened out first.
    """
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    even = flatten_light(small, np.ones_like(small), 6.0)
    waves = cv2.dct(even)[:8, :8].ravel()
    return (waves > np.median(waves[1:])).astype(np.uint8)


def find_candidates(looks: Sequence[Look]) -> list[Candidate]:
    """Finds the pairs worth a close look, the likeliest first.

    The number of pairs grows with the pictures, not with their square: of each picture the 10
    nearest by keypoints and the 6 nearest by hash, both as it is and mirrored.
    """
    n = len(looks)
    if n < 2:
        return []
    hashes = np.stack([hash_picture(look.grey) for look in looks])
    turned = np.stack([hash_picture(np.ascontiguousarray(look.grey[:, ::-1])) for look in looks])
    signs, turned_signs = (x.astype(np.float32) * 2 - 1 for x in (hashes, turned))
    counts, turned_counts = _count_words(looks)
    found: dict[tuple[int, int, bool], Candidate] = {}
    for mirrored, other_signs, other_counts in (
        (False, signs, counts),
        (True, turned_signs, turned_counts),
    ):
        for start in range(0, n, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, n))
            distances = np.rint((HASH_BITS - signs[rows] @ other_signs.T) / 2).astype(int)
            likeness = counts[rows] @ other_counts.T
            distances[np.arange(len(rows)), rows] = HASH_BITS
            likeness[np.arange(len(rows)), rows] = -1
            for row, distance, like in zip(rows, distances, likeness, strict=True):
                near = _smallest(distance, _NEAREST_HASHES)
                near = near[distance[near] <= HASH_NEAR]
                for other in np.union1d(near, _smallest(-like, _NEAREST)):
                    first, second = sorted((int(row), int(other)))
                    found[first, second, mirrored] = Candidate(
                        first, second, mirrored, int(distance[other]), float(like[other])
                    )
    return sorted(found.values(), key=lambda c: (-c.likeness, c.first, c.second, c.mirrored))


def _smallest(values: np.ndarray, count: int) -> Int[np.ndarray, " found"]:
    if len(values) <= count:
        return np.arange(len(values))
    return np.argpartition(values, count)[:count]


def _count_words(
    looks: Sequence[Look],
) -> tuple[Float[np.ndarray, "pictures words"], Float[np.ndarray, "pictures words"]]:
    """Counts which keypoints of a common vocabulary each picture has: as it is, and mirrored.

    Rare words weigh more, and a word that a picture has often counts little more than once.
    """
    lengths = np.array([len(look.points) for look in looks])
    every = np.concatenate([look.descriptors for look in looks])
    if len(every) < 2:
        nothing = np.zeros((len(looks), 1), np.float32)
        return nothing, nothing
    words = _choose_words(every)
    turned = np.concatenate([mirror(look).descriptors for look in looks])
    owner = np.repeat(np.arange(len(looks)), lengths)
    tables = []
    for descriptors in (every, turned):
        table = np.zeros((len(looks), len(words)), np.float32)
        np.add.at(table, (owner, _nearest_word(descriptors, words)), 1)
        tables.append(np.sqrt(table))
    has = (tables[0] > 0).sum(axis=0)
    rarity = np.log((len(looks) + 1) / (has + 1)).astype(np.float32)
    weighted = [table * rarity for table in tables]
    first, second = (
        table / (np.linalg.norm(table, axis=1, keepdims=True) + 1e-6) for table in weighted
    )
    return first, second


def _choose_words(descriptors: Float[np.ndarray, "all 128"]) -> Float[np.ndarray, "words 128"]:
    """Draws some keypoints and moves each to the mean of those nearest to it, three times."""
    rng = np.random.default_rng(0)
    sample = descriptors[rng.permutation(len(descriptors))[: 20 * _WORDS]]
    words = sample[:_WORDS].copy()
    for _ in range(3):
        nearest = _nearest_word(sample, words)
        sums = np.zeros_like(words)
        np.add.at(sums, nearest, sample)
        has = np.bincount(nearest, minlength=len(words)) > 0
        words[has] = sums[has]
        words /= np.linalg.norm(words, axis=1, keepdims=True) + 1e-6
    return words


def _nearest_word(
    descriptors: Float[np.ndarray, "some 128"], words: Float[np.ndarray, "words 128"]
) -> Int[np.ndarray, " some"]:
    blocks = range(0, len(descriptors), 8 * _BLOCK)
    return np.concatenate(
        [(descriptors[i : i + 8 * _BLOCK] @ words.T).argmax(axis=1) for i in blocks]
    )
