"""Any tree of folders in which folder or file names say expression and modality."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ferfusion.data.dataset import Dataset, Leftover
from ferfusion.data.listing import Picture, list_pictures
from ferfusion.data.pairing import Candidate, pair, split_marker
from ferfusion.errors import DataError
from ferfusion.expression import NVIE, VIRI, canonical_expression, order_labels
from ferfusion.modality import Modality

_PREFIX = re.compile(r"^(viri|nvie|\d+)[-_ .]+", re.IGNORECASE)
KNOWN = frozenset((*VIRI, *NVIE, "contempt"))
LAYOUTS = """\
Folders like these are understood:
  DATA/happy/visible/001.jpg   DATA/happy/infrared/001.jpg   expression, then modality
  DATA/visible/happy/001.jpg   DATA/infrared/happy/001.jpg   modality, then expression
  DATA/happy/001_vis.jpg       DATA/happy/001_ir.jpg         modality in the file name
  DATA/happy/001.jpg                                         visible pictures only
  DATA/VIRI-Happy-Vis.zip      DATA/VIRI-Happy-Ir.zip        VIRI as published
  DATA/NVIE-happy-Vis.zip      DATA/NVIE-happy-Ir.zip        NVIE as published
Folders for subjects may stand anywhere among them. Anything else can be listed in a CSV table with
the columns sample_id, subject, expression, visible, infrared, msx."""


@dataclass(frozen=True)
class _Named:
    """A picture, its modality as far as its names say, and its other folders from the top."""

    picture: Picture
    modality: Modality | None
    folders: tuple[str, ...]


def read_folder(root: Path) -> Dataset:
    """Reads pictures from a tree of folders whose names say what they show.

    Modality: the deepest folder, or else the file name, that holds a word for one (visible, rgb,
    ir, thermal, msx ...). Where no name in the whole tree does, every picture is taken as visible.

    Files of numbers (NumPy, CSV grids) are infrared, if a name in their path says so.

    Expression: the level of folders, modality folders not counted, at which known expressions
    occur, whatever number stands before them (01_happy); every folder at that level is a class.
    Where no known expression occurs, the level with the fewest names, but at least two.

    All other folders, such as one for each subject, tell pictures apart.

    Raises:
        DataError: There are no pictures, or no level of folders can be told to be the expression.
    """
    pictures, leftovers = list_pictures(root, with_grids=True)
    if not pictures:
        raise DataError(_tell_empty(root, leftovers))
    named = [_read_names(picture) for picture in pictures]
    named, odd = _take_out_grids(named)
    leftovers += odd
    if not named:
        raise DataError(_tell_empty(root, leftovers))
    if has_no_modality := all(item.modality is None for item in named):
        named = [_Named(item.picture, Modality.VISIBLE, item.folders) for item in named]
    level = _find_expression_level(root, named)

    candidates: list[Candidate] = []
    for item in named:
        if item.modality is None:
            why = "no folder or file name in its path says its modality (visible, infrared, msx)"
            leftovers.append(Leftover(item.picture.file, why))
        elif len(item.folders) <= level:
            why = "is in no folder that names an expression"
            leftovers.append(Leftover(item.picture.file, why))
        else:
            candidates.append(
                Candidate(
                    file=item.picture.file,
                    expression=_name_expression(item.folders[level]),
                    modality=item.modality,
                    folders=(*item.folders[:level], *item.folders[level + 1 :]),
                    stem=item.picture.inside.stem,
                )
            )
    pairing = pair(candidates)
    note = "No name says a modality, so every picture is taken as visible. "
    return Dataset(
        root=root,
        reader="folder tree",
        pairing=(note if has_no_modality else "") + pairing.sentence,
        subjects_from=None,
        labels=order_labels(sample.expression for sample in pairing.samples),
        samples=pairing.samples,
        leftovers=(*pairing.leftovers, *leftovers),
    )


def _read_names(picture: Picture) -> _Named:
    modality: Modality | None = None
    folders: list[str] = []
    for name in picture.inside.parent.parts:
        found, bare = split_marker(name)
        modality = found or modality
        if bare:
            folders.append(bare)
    if modality is None:
        modality, _ = split_marker(picture.inside.stem)
    return _Named(picture, modality, tuple(folders))


def _take_out_grids(named: Sequence[_Named]) -> tuple[list[_Named], list[Leftover]]:
    """Takes out grids of numbers that no name calls infrared: they may be anything."""
    kept = [n for n in named if n.modality is Modality.INFRARED or not n.picture.file.is_grid]
    why = "holds numbers, and no folder or file name in its path says that they are infrared"
    files = {item.picture.file for item in named} - {item.picture.file for item in kept}
    return kept, [Leftover(file, why) for file in sorted(files)]


def _name_expression(folder: str) -> str:
    """Sees through a number or VIRI in front of a known expression, as in 01_happy."""
    bare = canonical_expression(_PREFIX.sub("", folder))
    return bare if bare in KNOWN else canonical_expression(folder)


def _find_expression_level(root: Path, named: Sequence[_Named]) -> int:
    known = Counter(
        level
        for item in named
        for level, name in enumerate(item.folders)
        if _name_expression(name) in KNOWN
    )
    if known:
        # Of two levels with equally many the upper one.
        return max(known, key=lambda level: (known[level], -level))
    depth = min(len(item.folders) for item in named)
    names = [{_name_expression(item.folders[level]) for item in named} for level in range(depth)]
    counts = {level: len(at_level) for level, at_level in enumerate(names) if len(at_level) > 1}
    fewest = [level for level, count in counts.items() if count == min(counts.values())]
    if len(fewest) == 1:
        return fewest[0]
    found = "\n".join(f"  {item.picture.inside}" for item in named[:: max(1, len(named) // 5)][:5])
    raise DataError(
        f"In {root} no level of folders can be told to be the expression: there is no known name "
        f"({', '.join(sorted(KNOWN))}), and "
        + ("two levels have equally many names" if fewest else "no level has two or more names")
        + f". What was found, for example:\n{found}\n{LAYOUTS}"
    )


def _tell_empty(root: Path, leftovers: Sequence[Leftover]) -> str:
    files = [leftover.file.path for leftover in leftovers]
    archives = [str(path.relative_to(root)) for path in files if path.suffix.lower() == ".zip"]
    if archives:
        return (
            f"{root} holds no pictures, but archives ({', '.join(archives[:3])}). Unpack them. "
            "Only VIRI's and NVIE's may stay packed: then give the folder they lie in, and keep "
            "their published names (VIRI-Happy-Vis.zip, NVIE-happy-Vis.zip)."
        )
    return f"There are no pictures in {root}.\n{LAYOUTS}"
