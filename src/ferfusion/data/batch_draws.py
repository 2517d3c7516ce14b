"""The draws of `augmentation.draw` for many pictures at once: the same numbers, much faster.

A GPU trains on 15,000 pictures a second; drawing each by itself would take all of that second.
numpy promises that seeds keep their streams, so the streams are computed here side by side: numpy's
SeedSequence and PCG64, with one array element for each picture.

Source:
    M. O'Neill 2014, "PCG" (HMC-CS-2014-0905), and 2015, "Developing a seed_seq alternative", as in
    numpy's `bit_generator.pyx` and `pcg64.h`.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt32, UInt64

from ferfusion.data.augmentation import PAPER_KINDS, Policy
from ferfusion.modality import Modality

Matrices = Float[np.ndarray, "pictures 3 3"]

NO_FILL = -1
"""In place of a grey value: the edge is repeated."""

_N_DOUBLES = {"sound": 15, "paper": 8}
"""The most numbers that one draw takes from its stream."""


@dataclass(frozen=True)
class Draws:
    """What happens to many pictures; each row is a `Draw`.

    Attributes:
        matrix: As of `Draw`.
        fill: As of `Draw`, or `NO_FILL`.
        gain: As of `Draw`.
        gamma: As of `Draw`.
        erased: As of `Draw`; all 0 where nothing is erased.
    """

    matrix: Matrices
    fill: Int[np.ndarray, " pictures"]
    gain: Float[np.ndarray, " pictures"]
    gamma: Float[np.ndarray, " pictures"]
    erased: Float[np.ndarray, "pictures 4"]


def hash_ids(ids: tuple[str, ...]) -> UInt32[np.ndarray, " samples"]:
    """Gives the number that stands for each sample in the seed of its draws."""
    return np.array([zlib.crc32(i.encode()) for i in ids], dtype=np.uint32)


def draw_many(
    policy: Policy,
    *,
    seed: int,
    epoch: int,
    hashes: UInt32[np.ndarray, " pictures"],
    copies: Int[np.ndarray, " pictures"],
    only: Modality | None = None,
    identical_flips: bool = False,
) -> Draws:
    """Draws what `augmentation.draw` draws for each picture.

    Args:
        policy: As of `draw`.
        seed: Of the run.
        epoch: From 0.
        hashes: Of the samples' ids.
        copies: Which copy of each.
        only: As of `draw`.
        identical_flips: As of `draw`.
    """
    n = len(hashes)
    if policy == "none":
        return _still(np.broadcast_to(np.eye(3), (n, 3, 3)).copy())
    same = [np.full(n, word, np.uint32) for number in (seed, epoch) for word in _split(number)]
    key = [*same, hashes, copies.astype(np.uint32)]
    if only is not None:
        key.append(np.full(n, zlib.crc32(only.encode()), np.uint32))
    doubles = stream(np.stack(key), _N_DOUBLES[policy])
    if policy == "sound":
        return _draw_sound(doubles)
    return _draw_paper(copies, doubles, identical_flips=identical_flips)


def _still(matrix: Matrices) -> Draws:
    n = len(matrix)
    return Draws(matrix, np.full(n, NO_FILL), np.ones(n), np.ones(n), np.zeros((n, 4)))


# ------------------------------------------------------------------------------- the two policies


def _draw_sound(doubles: Float[np.ndarray, "pictures numbers"]) -> Draws:
    flip, zoom, angle, shear, shift_x, shift_y, tilt_x, tilt_y, chance = doubles.T[:9]
    drawn = _still(np.zeros((len(doubles), 3, 3)))
    flips = np.where(flip < 0.5, -1.0, 1.0)
    scale = np.exp(_uniform(zoom, math.log(0.88), math.log(1.16)))
    shape = (
        _rotate(_uniform(angle, -12, 12))
        @ _fill_in({(0, 1): _uniform(shear, -0.06, 0.06)})
        @ _fill_in({(0, 0): scale * flips, (1, 1): scale})
    )
    shift = _fill_in(
        {(0, 2): _uniform(shift_x, -0.06, 0.06), (1, 2): _uniform(shift_y, -0.06, 0.06)}
    )
    tilt = _fill_in({(2, 0): _uniform(tilt_x, -0.12, 0.12), (2, 1): _uniform(tilt_y, -0.12, 0.12)})
    drawn.matrix[:] = _about_centre(shift @ tilt @ shape)
    # Only a box takes four more numbers, so what follows lies at one of two places.
    is_erased = chance < 0.25
    width, height = _uniform(doubles[:, 9:11], 0.1, 0.28).T
    left, top = doubles[:, 11] * (1 - width), doubles[:, 12] * (1 - height)
    box = np.stack([left, top, left + width, top + height], axis=1)
    drawn.erased[is_erased] = box[is_erased]
    light = np.where(is_erased[:, None], doubles[:, 13:15], doubles[:, 9:11])
    drawn.gain[:], drawn.gamma[:] = np.exp(_uniform(light, -0.3, 0.3)).T
    return drawn


def _draw_paper(
    copies: Int[np.ndarray, " pictures"],
    doubles: Float[np.ndarray, "pictures numbers"],
    *,
    identical_flips: bool,
) -> Draws:
    kinds = np.array([_kind_of(copy, identical_flips) for copy in range(len(PAPER_KINDS))])[copies]
    drawn = _still(np.broadcast_to(np.eye(3), (len(copies), 3, 3)).copy())
    for kind, (make, fill) in _PAPER.items():
        rows = np.flatnonzero(kinds[:, 0] == kind)
        if len(rows):
            drawn.matrix[rows] = make(doubles[rows])
            drawn.fill[rows] = fill
    flipped = np.flatnonzero(kinds[:, 1] == "flip")
    drawn.matrix[flipped] = drawn.matrix[flipped] @ np.array([[-1.0, 0, 1], [0, 1, 0], [0, 0, 1]])
    return drawn


def _kind_of(copy: int, identical_flips: bool) -> tuple[str, str]:
    """Names what happens to a copy, and whether it is a mirror image before that."""
    kind = PAPER_KINDS[copy]
    if kind != "flip":
        return kind, ""
    nth = 0 if identical_flips else PAPER_KINDS[:copy].count(kind)
    return ("original", "rotation", "zoom", "distortion", "shear")[nth], "flip"


def _rotation(doubles: Float[np.ndarray, "pictures numbers"]) -> Matrices:
    return _about_centre(_rotate(_uniform(doubles[:, 0], -20, 20)))


def _zoom(doubles: Float[np.ndarray, "pictures numbers"]) -> Matrices:
    side = _uniform(doubles[:, 0], 1.0, 1.5)
    left, top = doubles[:, 1] * (side - 1), doubles[:, 2] * (side - 1)
    laid = _fill_in({(0, 2): left, (1, 2): top, (2, 2): side})
    return laid / side[:, None, None]


def _distortion(doubles: Float[np.ndarray, "pictures numbers"]) -> Matrices:
    """Finds the perspective that moves the corners of the unit square inward."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    inward = _uniform(doubles[:, :8], 0, 0.25).astype(np.float32).reshape(-1, 4, 2)
    moved = (corners + inward * np.sign(0.5 - corners)).astype(np.float64)
    # For each corner (x, y) -> (u, v) two equations in the eight unknowns of the matrix.
    equations = np.zeros((len(doubles), 8, 8))
    x, y = corners.T
    equations[:, :4, 0], equations[:, :4, 1], equations[:, :4, 2] = x, y, 1
    equations[:, 4:, 3], equations[:, 4:, 4], equations[:, 4:, 5] = x, y, 1
    for half, axis in ((slice(0, 4), 0), (slice(4, 8), 1)):
        equations[:, half, 6] = -x * moved[:, :, axis]
        equations[:, half, 7] = -y * moved[:, :, axis]
    wanted = np.concatenate([moved[:, :, 0], moved[:, :, 1]], axis=1)
    found = np.linalg.solve(equations, wanted[:, :, None])[:, :, 0]
    return np.concatenate([found, np.ones((len(found), 1))], axis=1).reshape(-1, 3, 3)


def _shear(doubles: Float[np.ndarray, "pictures numbers"]) -> Matrices:
    rotated = _rotate(_uniform(doubles[:, 0], -20, 20))
    return _about_centre(rotated @ _fill_in({(0, 1): _uniform(doubles[:, 1], -0.2, 0.2)}))


_PAPER: dict[str, tuple[Callable[[Float[np.ndarray, "pictures numbers"]], Matrices], int]] = {
    "rotation": (_rotation, 0),
    "zoom": (_zoom, 123),
    "distortion": (_distortion, 0),
    "shear": (_shear, 0),
}


def _uniform(
    doubles: Float[np.ndarray, "..."], low: float, high: float
) -> Float[np.ndarray, "..."]:
    return low + (high - low) * doubles


def _rotate(angle_deg: Float[np.ndarray, " pictures"]) -> Matrices:
    angle = np.radians(angle_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    return _fill_in({(0, 0): cos, (0, 1): -sin, (1, 0): sin, (1, 1): cos})


def _fill_in(entries: dict[tuple[int, int], Float[np.ndarray, " pictures"]]) -> Matrices:
    """Gives identity matrices with other numbers at some places."""
    matrices = np.zeros((len(next(iter(entries.values()))), 3, 3))
    matrices[:, [0, 1, 2], [0, 1, 2]] = 1
    for (row, column), values in entries.items():
        matrices[:, row, column] = values
    return matrices


def _about_centre(matrices: Matrices) -> Matrices:
    to_centre = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    back = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return back @ matrices @ to_centre


# ---------------------------------------------------------------------------- numpy's own streams


def stream(
    key: UInt32[np.ndarray, "words pictures"], length: int
) -> Float[np.ndarray, "pictures length"]:
    """Gives the first numbers between 0 and 1 of `np.random.default_rng(words)` for each picture.

    >>> key = np.array([[3, 3], [0, 1], [7, 7], [0, 0]], np.uint32)
    >>> bool((stream(key, 5)[1] == np.random.default_rng([3, 1, 7, 0]).random(5)).all())
    True
    """
    words = _mix(key)
    state = (words[0], words[1])
    inc = ((words[2] << _U64(1)) | (words[3] >> _U64(63)), (words[3] << _U64(1)) | _U64(1))
    state = _step(_add(state, inc), inc)
    doubles = np.empty((length, key.shape[1]))
    for place in range(length):
        state = _step(state, inc)
        high, low = state
        turn = high >> _U64(58)
        mixed = high ^ low
        number = (mixed >> turn) | (mixed << ((_U64(64) - turn) & _U64(63)))
        doubles[place] = (number >> _U64(11)) * 2.0**-53
    return doubles.T


_U64 = np.uint64
_MASK = 0xFFFFFFFF
_Wide = tuple[UInt64[np.ndarray, " pictures"], UInt64[np.ndarray, " pictures"]]
"""A number of 128 bits: high and low half."""

_STEP_HIGH, _STEP_LOW = 0x2360ED051FC65DA4, 0x4385DF649FCCF645


def _split(number: int) -> list[int]:
    """Takes a number apart into 32-bit words, lowest first, as SeedSequence does."""
    words = [number & _MASK]
    while number := number >> 32:
        words.append(number & _MASK)
    return words


class _Hash:
    """SeedSequence's hash, whose constant changes with each use."""

    def __init__(self, constant: int, factor: int) -> None:
        self.constant, self.factor = constant, factor

    def __call__(self, value: UInt32[np.ndarray, " pictures"]) -> UInt32[np.ndarray, " pictures"]:
        value = value ^ np.uint32(self.constant)
        self.constant = self.constant * self.factor & _MASK
        value = value * np.uint32(self.constant)
        return value ^ (value >> np.uint32(16))


def _mix(key: UInt32[np.ndarray, "words pictures"]) -> list[UInt64[np.ndarray, " pictures"]]:
    """Gives the four 64-bit words that SeedSequence makes of a key."""
    scramble = _Hash(0x43B0D7E5, 0x931E8875)
    nothing = np.zeros(key.shape[1], np.uint32)
    pool = [scramble(key[i] if i < len(key) else nothing) for i in range(4)]

    def blend(place: int, value: UInt32[np.ndarray, " pictures"]) -> None:
        mixed = np.uint32(0xCA01F9DD) * pool[place] - np.uint32(0x4973F715) * scramble(value)
        pool[place] = mixed ^ (mixed >> np.uint32(16))

    for source in range(4):
        for place in range(4):
            if source != place:
                blend(place, pool[source])
    for value in key[4:]:
        for place in range(4):
            blend(place, value)
    give = _Hash(0x8B51F9DD, 0x58F38DED)
    words = [give(pool[i % 4]).astype(np.uint64) for i in range(8)]
    return [words[i] | (words[i + 1] << _U64(32)) for i in range(0, 8, 2)]


def _add(one: _Wide, other: _Wide) -> _Wide:
    low = one[1] + other[1]
    return one[0] + other[0] + (low < one[1]), low


def _step(state: _Wide, inc: _Wide) -> _Wide:
    """Multiplies by PCG's constant and adds the increment, all of 128 bits."""
    high, low = state
    a0, a1 = low & _U64(_MASK), low >> _U64(32)
    b0, b1 = _U64(_STEP_LOW & _MASK), _U64(_STEP_LOW >> 32)
    cross = a1 * b0 + (a0 * b0 >> _U64(32))
    middle = (cross & _U64(_MASK)) + a0 * b1
    carried = a1 * b1 + (cross >> _U64(32)) + (middle >> _U64(32))
    product = carried + high * _U64(_STEP_LOW) + low * _U64(_STEP_HIGH), low * _U64(_STEP_LOW)
    return _add(product, inc)
