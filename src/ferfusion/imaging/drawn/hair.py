"""Hair styles: outlines behind and before the head, and strands for texture."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ferfusion.imaging.drawn.canvas import Points, both_sides, ellipse, mirror, smooth
from ferfusion.imaging.drawn.identity import Identity


@dataclass(frozen=True)
class Hair:
    """What covers the head. `strands` run over `front` and `back_strands` over `back`."""

    back: tuple[Points, ...] = ()
    front: tuple[Points, ...] = ()
    strands: tuple[Points, ...] = ()
    back_strands: tuple[Points, ...] = ()
    stubble: float = 0.0
    """How much a close-cropped scalp shows, 0 to 1."""
    is_cloth: bool = False


def shape_hair(person: Identity, chin_y: float) -> Hair:
    """Lays out a person's hair; a headscarf gives way when the jaw drops."""
    hair = _STYLES[person.hair_style](person, chin_y)
    wide = (person.head_width, 1.0)
    flip = -1.0 if person.part_left else 1.0

    def fit(outlines: tuple[Points, ...]) -> tuple[Points, ...]:
        return tuple(outline * wide * (flip, 1.0) for outline in outlines)

    return Hair(
        back=fit(hair.back),
        front=fit(hair.front),
        strands=fit(hair.strands),
        back_strands=fit(hair.back_strands),
        stubble=hair.stubble,
        is_cloth=hair.is_cloth,
    )


def _closed(*points: tuple[float, float]) -> Points:
    return smooth(np.array(points), closed=True)


def _open(*points: tuple[float, float]) -> Points:
    return smooth(np.array(points))


_SKULL = ((-1.0, -0.12), (-1.03, -0.55), (-0.90, -1.02), (-0.52, -1.36), (0.0, -1.46))


def _short(_: Identity, _chin_y: float) -> Hair:
    front = _closed(
        (-0.99, 0.02), (-1.02, -0.55), (-0.90, -1.05), (-0.50, -1.40), (0.0, -1.49),
        (0.50, -1.40), (0.90, -1.05), (1.02, -0.55), (0.99, 0.02), (0.90, -0.12), (0.86, -0.48),
        (0.74, -0.76), (0.42, -0.86), (0.1, -0.83), (-0.25, -0.88), (-0.55, -0.86), (-0.76, -0.74),
        (-0.86, -0.48), (-0.90, -0.12),
    )  # fmt: skip
    strands = tuple(
        _open((x, -0.85), (x * 1.12 + 0.05, -1.1), (x * 1.05 + 0.12, -1.36))
        for x in np.linspace(-0.6, 0.55, 8)
    )
    return Hair(front=(front,), strands=strands)


def _side_part(_: Identity, _chin_y: float) -> Hair:
    front = _closed(
        (-0.99, 0.05), (-1.03, -0.55), (-0.92, -1.02), (-0.58, -1.36), (-0.1, -1.53),
        (0.48, -1.50), (0.92, -1.15), (1.05, -0.62), (0.99, 0.05), (0.90, -0.12), (0.87, -0.45),
        (0.70, -0.66), (0.30, -0.72), (-0.15, -0.88), (-0.48, -1.12), (-0.66, -0.92),
        (-0.82, -0.68), (-0.88, -0.42), (-0.90, -0.12),
    )  # fmt: skip
    strands = tuple(
        _open((-0.47, -1.14 - 0.04 * k), (-0.05, -1.06 - 0.075 * k), (0.45, -0.88 - 0.09 * k),
              (0.84, -0.62 - 0.07 * k))
        for k in range(6)
    )  # fmt: skip
    return Hair(front=(front,), strands=strands)


def _quiff(_: Identity, _chin_y: float) -> Hair:
    front = _closed(
        (-0.98, 0.0), (-1.0, -0.55), (-0.88, -1.08), (-0.66, -1.46), (-0.2, -1.64), (0.35, -1.66),
        (0.74, -1.46), (0.90, -1.05), (1.0, -0.55), (0.98, 0.0), (0.91, -0.12), (0.88, -0.5),
        (0.72, -0.84), (0.40, -0.95), (0.0, -0.90), (-0.4, -0.94), (-0.72, -0.84), (-0.88, -0.5),
        (-0.91, -0.12),
    )  # fmt: skip
    strands = tuple(
        _open((x, -0.92), (x * 1.05 - 0.06, -1.2), (x + 0.06, -1.45), (x + 0.26, -1.56))
        for x in np.linspace(-0.6, 0.5, 8)
    )
    return Hair(front=(front,), strands=strands)


def _buzz(_: Identity, _chin_y: float) -> Hair:
    return Hair(stubble=1.0)


def _bald(_: Identity, _chin_y: float) -> Hair:
    return Hair(stubble=0.0)


def _long(*, wave: float, length: float) -> Hair:
    down = np.linspace(-0.3, length, 9)
    sway = wave * np.sin(np.arange(9) * 1.9)
    edge = [(1.05 + 0.11 * math.sin(k / 9 * math.pi) + sway[k], y) for k, y in enumerate(down)]
    back = smooth(
        both_sides(
            [(0.0, -1.46), (0.58, -1.38), (0.98, -1.0), *edge, (0.66, length + 0.1), (0.0, length)]
        ),
        closed=True,
    )
    # Each side falls from the parting and tapers to a tip on the shoulder.
    tip = (0.80 + sway[-1], length + 0.14)
    inner = [(0.72 + 0.014 * k + 0.8 * sway[-1 - k], y) for k, y in enumerate(down[::-1])][1:-1]
    inner = [(max(x, 0.80) if y < 0.7 else x, y) for x, y in inner]
    right = smooth(
        np.array(
            [(-0.12, -1.36), (0.1, -1.47), (0.6, -1.39), (0.99, -1.0), *edge, tip, *inner,
             (0.84, -0.45), (0.60, -0.82), (0.2, -1.10)]
        ),
        closed=True,
    )  # fmt: skip
    left = smooth(
        np.array(
            [(0.12, -1.38), (-0.1, -1.47), (-0.6, -1.39), (-0.99, -1.0), *mirror(edge),
             (-tip[0], tip[1]), *mirror(inner), (-0.87, -0.45), (-0.70, -0.85), (-0.32, -1.14)]
        ),
        closed=True,
    )  # fmt: skip
    fall = (1, 3, 5, 7, 8)
    strands = tuple(
        smooth(
            np.array(
                [(0.0, -1.36), (0.38 + 0.07 * k, -1.22 - 0.01 * k), (0.74 + 0.06 * k, -0.78),
                 *[(0.85 + 0.055 * k + sway[j] - 0.015 * j, down[j]) for j in fall]]
            )
        ) * (s, 1.0)
        for s in (-1.0, 1.0)
        for k in range(5)
    )  # fmt: skip
    return Hair(back=(back,), front=(right, left), strands=strands)


def _long_straight(_: Identity, _chin_y: float) -> Hair:
    return _long(wave=0.0, length=1.75)


def _long_wavy(_: Identity, _chin_y: float) -> Hair:
    return _long(wave=0.055, length=1.6)


def _bob(_: Identity, _chin_y: float) -> Hair:
    back = _closed(
        (0.0, -1.48), (0.6, -1.38), (1.02, -0.95), (1.14, -0.3), (1.18, 0.35), (1.10, 0.86),
        (0.72, 0.95), (0.0, 0.9), (-0.72, 0.95), (-1.10, 0.86), (-1.18, 0.35), (-1.14, -0.3),
        (-1.02, -0.95), (-0.6, -1.38),
    )  # fmt: skip
    fringe = _closed(
        (0.0, -1.49), (0.6, -1.39), (1.02, -0.95), (1.13, -0.3), (1.16, 0.35), (1.06, 0.84),
        (0.90, 0.72), (0.88, 0.3), (0.86, -0.2), (0.80, -0.62), (0.50, -0.60), (0.2, -0.62),
        (-0.15, -0.60), (-0.5, -0.62), (-0.80, -0.60), (-0.86, -0.2), (-0.88, 0.3), (-0.90, 0.72),
        (-1.06, 0.84), (-1.16, 0.35), (-1.13, -0.3), (-1.02, -0.95), (-0.6, -1.39),
    )  # fmt: skip
    strands = tuple(
        _open((0.25 * x, -1.40), (0.8 * x, -1.1), (x, -0.66)) for x in np.linspace(-0.7, 0.7, 8)
    ) + tuple(
        _open((0.6 * s, -1.2), (0.94 * s, -0.6), (1.0 * s, 0.1), (0.98 * s, 0.7)) for s in (-1, 1)
    )
    return Hair(back=(back,), front=(fringe,), strands=strands)


def _pulled_back() -> tuple[Points, tuple[Points, ...]]:
    front = _closed(
        (-0.97, -0.02), (-1.01, -0.55), (-0.88, -1.06), (-0.48, -1.38), (0.0, -1.45),
        (0.48, -1.38), (0.88, -1.06), (1.01, -0.55), (0.97, -0.02), (0.90, -0.25), (0.83, -0.6),
        (0.62, -0.90), (0.3, -1.02), (0.0, -1.04), (-0.3, -1.02), (-0.62, -0.90), (-0.83, -0.6),
        (-0.90, -0.25),
    )  # fmt: skip
    strands = tuple(
        _open((x, -1.02 + 0.35 * abs(x) ** 2), (x * 0.85, -1.2), (x * 0.4, -1.42))
        for x in (-0.8, -0.6, -0.35, -0.12, 0.12, 0.35, 0.6, 0.8)
    )
    return front, strands


def _bun(_: Identity, _chin_y: float) -> Hair:
    front, strands = _pulled_back()
    bun = ellipse(0.0, -1.56, 0.36, 0.28)
    swirl = tuple(_open((-0.26 + d, -1.52), (0.0, -1.70 + d), (0.26 - d, -1.5)) for d in (0.0, 0.1))
    return Hair(back=(bun,), front=(front,), strands=strands, back_strands=swirl)


def _ponytail(_: Identity, _chin_y: float) -> Hair:
    front, strands = _pulled_back()
    tail = _closed(
        (0.55, -1.15), (1.0, -1.05), (1.28, -0.5), (1.32, 0.2), (1.2, 0.9), (1.02, 1.35),
        (1.0, 0.8), (1.02, 0.2), (0.98, -0.4), (0.8, -0.85),
    )  # fmt: skip
    locks = tuple(
        _open((0.9 + d, -0.95), (1.1 + d, -0.3), (1.12 + d, 0.4), (1.06 + d * 0.5, 1.1))
        for d in (-0.03, 0.06, 0.13)
    )
    return Hair(back=(tail,), front=(front,), strands=strands, back_strands=locks)


def _curls(person: Identity, arc: np.ndarray, radius: float) -> tuple[Points, ...]:
    rng = np.random.default_rng([person.seed, 7])
    return tuple(
        ellipse(x + rng.normal(0, 0.02), y + rng.normal(0, 0.02), radius * rng.uniform(0.85, 1.2))
        for x, y in arc
    )


def _afro(person: Identity, _chin_y: float) -> Hair:
    turn = np.linspace(math.radians(-205), math.radians(25), 19)
    ring = np.stack([1.08 * np.cos(turn), -0.58 + 0.88 * np.sin(turn)], axis=1)
    body = ellipse(0.0, -0.60, 1.14, 0.94)
    line = np.linspace(math.radians(-168), math.radians(-12), 13)
    hairline = np.stack([0.90 * np.cos(line), -0.42 + 0.70 * np.sin(line)], axis=1)
    rng = np.random.default_rng([person.seed, 8])
    angle, far = rng.uniform(-math.pi, 0.0, 30), rng.uniform(0.86, 1.2, 30)
    tufts = tuple(
        ellipse(1.02 * f * math.cos(a), -0.5 + 0.85 * f * math.sin(a), 0.07)[4:18]
        for a, f in zip(angle, far, strict=True)
    )
    cap = _closed(
        (-1.04, -0.30), (-1.06, -0.8), (-0.66, -1.36), (0.0, -1.50), (0.66, -1.36), (1.06, -0.8),
        (1.04, -0.30), (0.90, -0.42), (0.74, -0.82), (0.40, -1.05), (0.0, -1.12), (-0.40, -1.05),
        (-0.74, -0.82), (-0.90, -0.42),
    )  # fmt: skip
    front = (cap, *_curls(person, hairline, 0.15))
    return Hair(back=(body, *_curls(person, ring, 0.20)), front=front, strands=tufts,
                back_strands=tufts)  # fmt: skip


def _curly_long(person: Identity, _chin_y: float) -> Hair:
    right = [(0.35, -1.26), (0.62, -1.18), (0.86, -0.95), (1.0, -0.66), (1.08, -0.32), (1.12, 0.02),
             (1.14, 0.36), (1.12, 0.7), (1.06, 1.02), (0.9, 1.22)]  # fmt: skip
    spots = np.array([(0.0, -1.3), *right, *[(-x, y) for x, y in right]])
    inner = np.array([(0.62, -0.98), (0.80, -0.74), (0.90, -0.46), (1.0, -0.2)])
    top = np.array([(-0.36, -1.08), (-0.1, -1.14), (0.15, -1.12), (0.4, -1.06)])
    body = both_sides(
        [(0.0, -1.4), (0.6, -1.28), (1.0, -0.8), (1.12, 0.0), (1.1, 0.9), (0.8, 1.2), (0.0, 1.0)]
    )
    cap = _closed(
        (0.0, -1.42), (0.55, -1.34), (0.95, -0.95), (1.02, -0.4), (0.9, -0.4), (0.78, -0.8),
        (0.4, -1.04), (0.0, -1.10), (-0.4, -1.04), (-0.78, -0.8), (-0.9, -0.4), (-1.02, -0.4),
        (-0.95, -0.95), (-0.55, -1.34),
    )  # fmt: skip
    front = _curls(person, np.concatenate([inner, mirror(inner), top]), 0.15)
    rng = np.random.default_rng([person.seed, 9])
    tufts = tuple(
        ellipse(x + rng.normal(0, 0.05), y + rng.normal(0, 0.05), 0.10, 0.11)[3:19]
        for x, y in np.concatenate([spots, inner, mirror(inner)])
    )
    return Hair(back=(smooth(body, closed=True), *_curls(person, spots, 0.21)), front=(cap, *front),
                strands=tufts, back_strands=tufts)  # fmt: skip


def _headscarf(_: Identity, chin_y: float) -> Hair:
    outer = both_sides(
        [(0.0, -1.50), (0.52, -1.42), (0.94, -1.08), (1.10, -0.5), (1.10, 0.2), (1.0, 0.8),
         (1.0, 1.2), (1.25, 1.6), (1.3, 2.2), (0.0, 2.2)]
    )  # fmt: skip
    opening = both_sides(
        [(0.0, -0.98), (0.45, -0.93), (0.74, -0.68), (0.84, -0.2), (0.83, 0.3), (0.70, 0.75),
         (0.40, chin_y - 0.1), (0.0, chin_y - 0.01)]
    )  # fmt: skip
    ring_out = smooth(outer, closed=True)
    ring_in = smooth(opening, closed=True)
    start = int(np.argmin(np.hypot(*(ring_out - (0.0, -1.50)).T)))
    front = np.concatenate([np.roll(ring_out, -start, axis=0), ring_out[start : start + 1],
                            ring_in[:1], ring_in[::-1]])  # fmt: skip
    folds = (
        _open((-0.55, -1.25), (0.1, -1.25), (0.7, -1.0), (0.98, -0.4)),
        _open((-0.85, -0.9), (-0.95, -0.2), (-0.88, 0.5), (-0.5, 1.1)),
        _open((0.95, 0.0), (0.9, 0.6), (0.5, 1.2), (-0.3, 1.5)),
        _open((0.98, 0.5), (0.8, 1.1), (0.3, 1.45), (-0.6, 1.75)),
        _open((-0.9, 0.9), (-0.5, 1.35), (0.2, 1.65)),
    )
    return Hair(back=(ring_out,), front=(front,), strands=folds, is_cloth=True)


_STYLES: dict[str, Callable[[Identity, float], Hair]] = {
    "short": _short,
    "side_part": _side_part,
    "quiff": _quiff,
    "buzz": _buzz,
    "bald": _bald,
    "long_straight": _long_straight,
    "long_wavy": _long_wavy,
    "bob": _bob,
    "bun": _bun,
    "ponytail": _ponytail,
    "afro": _afro,
    "curly_long": _curly_long,
    "headscarf": _headscarf,
}
