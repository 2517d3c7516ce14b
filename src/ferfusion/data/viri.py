"""VIRI as its authors publish it."""

import re
from itertools import takewhile
from pathlib import Path

from ferfusion.data.dataset import Dataset, Leftover
from ferfusion.data.listing import PICTURE_SUFFIXES, Picture, find_damaged_archives, list_pictures
from ferfusion.data.pairing import Candidate, pair
from ferfusion.errors import DataError
from ferfusion.expression import canonical_expression, order_labels
from ferfusion.modality import Modality, find_modality
from ferfusion.sample import ImageFile

_NAME = re.compile(r"VIRI[-_ ](?P<expression>.+)[-_ ](?P<modality>[a-z]+)(\.zip)?", re.IGNORECASE)


def is_viri(folder: Path) -> bool:
    """Whether a folder holds at least one archive or folder named as VIRI's are."""
    return any(_parse_name(child) for child in folder.glob("*"))


def read_viri(folder: Path) -> Dataset:
    """Reads VIRI: visible, thermal infrared and MSX pictures of five posed expressions.

    The folder holds archives or folders, or a mixture of both, named
    `VIRI-<Angry|Happy|Neutral|Sad|Surprise>-<Vis|Ir|MSX>`. Archives are read in place. Where both
    an archive and a folder of one name are there, the folder is read. The authors publish no MSX
    pictures and no subjects; either may be added by the user.

    566 samples of 110 subjects, 500 x 500 pixels, JPEG: 111 angry, 114 happy, 114 neutral, 114
    sad, 113 surprised. Cite Siddiqui, Dhakal, Yang and Javaid, MTI 6(6):47, 2022.

    Raises:
        DataError: An archive is damaged.

    Source:
        Naseem et al. 2024, section III-A; github.com/naseemmuhammadtahir/VIRI-raw-data.

    Deviation:
        The authors pair by the order of the listing. Here pictures are paired by name.
    """
    places: dict[tuple[str, Modality], Path] = {}
    leftovers: list[Leftover] = []
    # Folders first, so that an archive beside its unpacked folder is the one left over.
    for child in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        meaning = _parse_name(child)
        if meaning is None:
            leftovers += _list_stranger(child)
        elif meaning in places:
            why = f"holds the same class and modality as {places[meaning].name}, which is read"
            leftovers.append(Leftover(ImageFile(child), why))
        else:
            places[meaning] = child

    damaged = find_damaged_archives(place for place in places.values() if place.is_file())
    if damaged:
        raise DataError("\n".join(damaged))
    candidates: list[Candidate] = []
    for (expression, modality), place in places.items():
        pictures, others = list_pictures(place)
        leftovers += others
        candidates += name_candidates(pictures, expression, modality)
    pairing = pair(candidates)
    archives = sum(place.is_file() for place in places.values())
    return Dataset(
        root=folder,
        reader=f"VIRI as published ({archives} archives, {len(places) - archives} folders)",
        pairing=pairing.sentence,
        subjects_from=None,
        labels=order_labels(sample.expression for sample in pairing.samples),
        samples=pairing.samples,
        leftovers=(*pairing.leftovers, *leftovers),
    )


def _parse_name(path: Path) -> tuple[str, Modality] | None:
    match = _NAME.fullmatch(path.name)
    modality = find_modality(match["modality"]) if match else None
    if match is None or modality is None:
        return None
    return canonical_expression(match["expression"]), modality


def name_candidates(
    pictures: list[Picture], expression: str, modality: Modality
) -> list[Candidate]:
    """Drops the folders that all pictures of an archive lie in; deeper ones tell them apart."""
    folders = [picture.inside.parent.parts for picture in pictures]
    levels = zip(*folders, strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))
    return [
        Candidate(
            file=picture.file,
            expression=expression,
            modality=modality,
            folders=picture.inside.parent.parts[shared:],
            stem=picture.inside.stem,
        )
        for picture in pictures
    ]


def _list_stranger(child: Path) -> list[Leftover]:
    """Says so of an archive, folder or picture that has another name than VIRI's."""
    if child.is_dir():
        pictures, _ = list_pictures(child)
        count = len(pictures)
    else:
        count = int(child.suffix.lower() == ".zip" or child.suffix.lower() in PICTURE_SUFFIXES)
    if child.name.startswith((".", "__MACOSX")) or not count:
        return []
    why = "is not named as VIRI's archives and folders are (VIRI-<Class>-<Vis|Ir|MSX>)"
    return [Leftover(ImageFile(child), why)]
