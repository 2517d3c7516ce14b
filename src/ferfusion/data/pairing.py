"""Which pictures show the same moment: decided by name, never by the order of a listing."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferfusion.data.dataset import Leftover
from ferfusion.modality import MODALITIES, Modality, find_modality
from ferfusion.sample import ImageFile, Sample

# Runs of capitals, words, digits, and what separates them: AngryVis-12 is Angry Vis - 12.
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^A-Za-z\d]+")
_SEPARATORS = " -_.()[]"


@dataclass(frozen=True)
class Candidate:
    """A picture whose expression and modality are known, and the names that tell it apart.

    Attributes:
        file: Where it is.
        expression: Canonical name of the class.
        modality: What kind of picture it is.
        folders: Folders in its path that name neither expression nor modality, such as a subject.
        stem: File name without suffix.
    """

    file: ImageFile
    expression: str
    modality: Modality
    folders: tuple[str, ...]
    stem: str


@dataclass(frozen=True)
class Pairing:
    """Samples, the pictures that are in none, and one or two sentences on how it was done."""

    samples: tuple[Sample, ...]
    leftovers: tuple[Leftover, ...]
    sentence: str


_Groups = Mapping[tuple[str, str], Mapping[Modality, Sequence[Candidate]]]


def split_marker(name: str) -> tuple[Modality | None, str]:
    """Finds the word for a modality in a file or folder name, and the name without it.

    >>> split_marker("IMG_001_Vis")
    (<Modality.VISIBLE: 'visible'>, 'IMG_001')
    >>> split_marker("FLIR0001")
    (None, 'FLIR0001')

    Returns:
        No modality and the whole name if it holds words for none, or for more than one.
    """
    pieces = _PIECES.findall(name)
    found = {modality for piece in pieces if (modality := find_modality(piece)) is not None}
    if len(found) != 1:
        return None, name
    # The separators beside the word go with it; the rest of the name stays as it is.
    kept: list[str] = [""]
    for piece in pieces:
        if find_modality(piece) is None:
            kept[-1] += piece
        else:
            kept.append("")
    bare = "_".join(part for run in kept if (part := run.strip(_SEPARATORS)))
    return found.pop(), bare


def pair(candidates: Sequence[Candidate]) -> Pairing:
    """Puts the pictures of each moment together into samples.

    Two pictures belong together if they have the same expression, the same extra folders and the
    same file name, whatever its case and suffix. If more pictures find a partner when the word for
    their own modality is taken out of the file names (IMG_001_Vis and IMG_001_IR), that rule is
    used for all. Where two pictures of one modality claim the same place, both are leftovers; but
    a grid of degrees beside a picture of its own name gives way, as it belongs to that picture
    (`temperatures.find_degrees`). A picture without a partner is a sample that lacks the other
    modalities.

    Returns:
        Samples sorted by id. An id is `expression/key`, the key in lower case: the extra folders
        and the file name as compared.
    """
    candidates, n_given_way = _drop_grids_beside(candidates)
    by_name = _group(candidates, _whole_key)
    by_bare_name = _group(candidates, _bare_key)
    without_marker = _count_partnered(by_bare_name) > _count_partnered(by_name)
    groups = by_bare_name if without_marker else by_name

    samples: list[Sample] = []
    leftovers: list[Leftover] = []
    for (expression, key), claims in groups.items():
        images = {m: claims[m][0].file for m in MODALITIES if len(claims.get(m, ())) == 1}
        if images:
            samples.append(Sample(f"{expression}/{key}", expression, None, images))
        for rivals in claims.values():
            if len(rivals) > 1:
                leftovers += [_name_rivals(claim, rivals) for claim in rivals]
    samples.sort(key=lambda sample: sample.id)
    leftovers.sort(key=lambda leftover: leftover.file.path)
    sentence = _tell(candidates, samples, groups, without_marker)
    if n_given_way:
        sentence += (
            f" {n_given_way} infrared pictures have degrees beside them, in a file of their name: "
            "`prepare` and --infrared-as take those, all else the picture."
        )
    return Pairing(tuple(samples), tuple(leftovers), sentence)


def _drop_grids_beside(candidates: Sequence[Candidate]) -> tuple[list[Candidate], int]:
    """Leaves out each grid that alone lies beside a picture of its own name and modality."""
    beside: dict[tuple[Path, Modality], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        beside[candidate.file.path.with_suffix(""), candidate.modality].append(candidate)
    given_way = {
        claim.file
        for claims in beside.values()
        if len(claims) == 2 and sum(claim.file.is_grid for claim in claims) == 1
        for claim in claims
        if claim.file.is_grid
    }
    return [c for c in candidates if c.file not in given_way], len(given_way)


def _whole_key(candidate: Candidate) -> str:
    return "/".join((*candidate.folders, candidate.stem)).casefold()


def _bare_key(candidate: Candidate) -> str:
    modality, bare = split_marker(candidate.stem)
    names = (*candidate.folders, bare) if bare else candidate.folders
    if modality is not candidate.modality or not names:
        return _whole_key(candidate)
    return "/".join(names).casefold()


def _group(candidates: Sequence[Candidate], key_of: Callable[[Candidate], str]) -> _Groups:
    groups: dict[tuple[str, str], dict[Modality, list[Candidate]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for candidate in candidates:
        groups[candidate.expression, key_of(candidate)][candidate.modality].append(candidate)
    return groups


def _count_partnered(groups: _Groups) -> int:
    """Counts pictures that share a sample with another modality."""
    sizes = [sum(len(rivals) == 1 for rivals in claims.values()) for claims in groups.values()]
    return sum(size for size in sizes if size > 1)


def _name_rivals(claim: Candidate, rivals: Sequence[Candidate]) -> Leftover:
    others = ", ".join(str(rival.file) for rival in rivals if rival.file != claim.file)
    return Leftover(
        claim.file,
        f"has the same name, expression ({claim.expression}) and modality ({claim.modality}) as "
        f"{others}; rename or remove all but one",
    )


def _tell(
    candidates: Sequence[Candidate], samples: Sequence[Sample], groups: _Groups, bare: bool
) -> str:
    present = [m for m in MODALITIES if any(c.modality is m for c in candidates)]
    if len(present) < 2:
        return f"Nothing to pair: all pictures are {', '.join(present) or 'missing'}."
    if not _count_partnered(groups):
        examples = [next(c for c in candidates if c.modality is m) for m in present]
        shown = " and ".join(f"'{_whole_key(c)}' ({c.modality})" for c in examples)
        return (
            f"Nothing could be paired: no two modalities share a file name, as in {shown}. Rename "
            "the files so that the pictures of one moment have the same name, or list them in a "
            "CSV table."
        )
    complete = sum(len(sample.images) == len(present) for sample in samples)
    count = f"{complete} of {len(samples)} samples have {', '.join(present)}."
    if not bare:
        return f"By the same file name in each modality; {count}"
    example = next(
        claims for claims in groups.values() if sum(len(r) == 1 for r in claims.values()) > 1
    )
    shown = " and ".join(f"'{example[m][0].stem}'" for m in MODALITIES if m in example)
    return (
        f"By file name without the word for the modality, so that {shown} belong together; {count}"
    )
