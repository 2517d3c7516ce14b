"""Which samples hold one moment in different modalities: told by file names, and by MSX pictures.

Visible and infrared pictures are not matched by what they show. Tried with the directed edges of
200 drawn faces at 128 pixels, the right infrared picture agreed best for 81 %; with a margin of
0.15 that let no wrong one through, 10 to 15 % were left. The stand-in's infrared is computed from
its visible pictures, so it can't tell what cameras would give.
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ferfusion.data.links import Evidence, LinkCollector
from ferfusion.data.pairing import split_marker
from ferfusion.imaging.shared_edges import find_partners
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile, Sample

# Of the pictures whose partner is there, 56 and 91 % (visible, stand-in and drawn) and 95 and 67 %
# (infrared) got it; none got a wrong one, neither there nor where every partner was taken away.
_PARTNERS = {Modality.VISIBLE: 0.40, Modality.INFRARED: 0.65}

MOST_PICTURES = 20_000
"""Of a modality, to be held against MSX pictures: the work grows with its square."""

# What cameras and people call any picture: with a counter behind it, it names no moment.
_COUNTERS = frozenset({
    "capture", "dc", "dsc", "dscn", "face", "file", "flir", "frame", "im", "image", "img",
    "no", "nr", "number", "p", "photo", "pic", "pict", "picture", "s", "sample", "scan",
    "shot", "subj", "subject",
})  # fmt: skip
_LONG_NUMBER = 6  # digits, as in a date or a time
_MOST = 0.8  # of the names that stand in two modalities, that must lie in one sample


@dataclass(frozen=True)
class _Picture:
    sample: Sample
    modality: Modality
    folder: str
    bare: str


def find_by_structure(
    ids: Mapping[Modality, Sequence[str]],
    pictures: Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]],
    found: LinkCollector,
) -> None:
    """Links a visible or infrared picture to the MSX picture of another sample made of it.

    All are held against all: a sample's own MSX picture is a rival as any other, and wins where
    the sample is whole. Of more than `MOST_PICTURES` in a modality nothing is looked for.
    """
    for modality, least in _PARTNERS.items():
        if modality not in ids or Modality.MSX not in ids:
            continue
        names, others = ids[modality], ids[Modality.MSX]
        if max(len(names), len(others)) > MOST_PICTURES:
            continue
        partners = find_partners(pictures[modality], pictures[Modality.MSX], least)
        for row, other, correlation in partners:
            if names[row] == others[other]:
                continue
            says = f"the MSX picture has the structures of the {modality} one ({correlation:.2f})"
            evidence = Evidence(modality, Modality.MSX, says, round(correlation, 4))
            found.add(names[row], others[other], "across modalities", evidence)


def find_by_name(
    samples: Sequence[Sample], modalities: Sequence[Modality], root: Path, found: LinkCollector
) -> None:
    """Links samples that hold one moment by the names of their files, and not by their rows.

    The word for the modality is taken out of names first. A name says something where each
    modality has it once: within one expression and subject; within one folder, the word for the
    modality taken out; or in all of the data, if the name is more than a counter, or if most names
    that two modalities share are known to be of one sample.

    A sample whose own pictures bear two names may be right: two cameras may count differently. It
    is doubted if two of these hold: another sample has the same two names the other way round; the
    name is more than a counter; most names shared so are of one sample.
    """
    pictures = [
        _Picture(sample, m, _bare_folder(file, root), bare)
        for sample in samples
        for m, file in sample.images.items()
        if m in modalities and (bare := bare_stem(file))
    ]
    anywhere = _pair_up([((p.bare,), p) for p in pictures])
    is_telling = _are_known(anywhere)
    ways = (
        (
            "of one expression",
            _pair_up([((p.sample.expression, p.sample.subject, p.bare), p) for p in pictures]),
        ),
        ("in the same folder", _pair_up([((p.folder, p.bare), p) for p in pictures])),
        (
            "and no others are",
            [(a, b) for a, b in anywhere if is_telling or _names_a_moment(a)],
        ),
    )
    linked: set[tuple[str, str]] = set()
    for how, pairs in ways:
        are_known = _are_known(pairs)
        for a, b in pairs:
            ids = (a.sample.id, b.sample.id)
            if ids not in linked and _are_torn(a, b, are_known=are_known):
                linked.add(ids)
                says = f"both files are called '{a.bare}', {how}"
                found.add(*ids, "across modalities", Evidence(a.modality, b.modality, says))


def _are_known(pairs: Sequence[tuple[_Picture, _Picture]]) -> bool:
    """Whether most pictures that share a name are known to be of one sample."""
    return sum(a.sample.id == b.sample.id for a, b in pairs) >= _MOST * max(1, len(pairs))


def _are_torn(a: _Picture, b: _Picture, *, are_known: bool) -> bool:
    """Whether two pictures of one name are taken for one moment that two samples hold."""
    # Names of what each sample has in the place of the other's picture.
    instead = [
        bare_stem(one.sample.images[other.modality])
        for one, other in ((a, b), (b, a))
        if other.modality in one.sample.images
    ]
    if not instead or a.bare in instead:
        return not instead
    are_exchanged = len(instead) == 2 and instead[0] == instead[1]
    return are_exchanged + _names_a_moment(a) + are_known >= 2


def _pair_up(
    named: Sequence[tuple[Hashable, _Picture]],
) -> list[tuple[_Picture, _Picture]]:
    """Gives the pairs of pictures that share a name which no modality has twice."""
    holders: dict[Hashable, list[_Picture]] = defaultdict(list)
    for name, picture in named:
        holders[name].append(picture)
    return [
        pair
        for of_name in holders.values()
        if len({p.modality for p in of_name}) == len(of_name)
        for pair in combinations(of_name, 2)
    ]


def _names_a_moment(picture: _Picture) -> bool:
    """Whether a name is more than a class, a word for any picture, and a counter."""
    words = set(re.findall(r"[a-z]+", picture.bare)) - _COUNTERS
    words -= set(re.findall(r"[a-z]+", picture.sample.expression.casefold()))
    numbers = re.findall(r"\d+", picture.bare)
    return any(len(n) >= _LONG_NUMBER for n in numbers) or (bool(words) and bool(numbers))


def bare_stem(file: ImageFile) -> str:
    """Gives a file's name without suffix and without the word for its modality, in lower case."""
    name = (file.member or file.path.name).rpartition("/")[2]
    return split_marker(name.rpartition(".")[0] or name)[1].casefold()


def name_files(samples: Sequence[Sample], root: Path) -> str:
    """Names all that the links by name depend on, to tell whether any of it changed."""
    return "".join(
        f"{s.id} {m} {_bare_folder(file, root)} {bare_stem(file)}\n"
        for s in samples
        for m, file in s.images.items()
    )


def _bare_folder(file: ImageFile, root: Path) -> str:
    """Gives the folders of a file inside the data without the word for the modality.

    An archive counts as a folder.
    """
    base = root if root.is_dir() else root.parent
    path = file.path if file.member is None else file.path.with_suffix("") / file.member
    parts = path.relative_to(base).parts if path.is_relative_to(base) else path.parts
    return "/".join(_bare_part(part) for part in parts[:-1]).casefold()


def _bare_part(name: str) -> str:
    modality, bare = split_marker(name)
    return name if modality is None else bare
