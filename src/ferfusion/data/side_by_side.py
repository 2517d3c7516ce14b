"""Folders of pictures, one for each modality, paired by the names in them."""

from collections.abc import Mapping
from pathlib import Path

from ferfusion.data.dataset import UNLABELLED
from ferfusion.data.listing import list_pictures
from ferfusion.data.pairing import split_marker
from ferfusion.data.temperatures import find_degrees
from ferfusion.errors import DataError
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile, Sample


def pair_folders(
    folders: Mapping[Modality, Path], *, prefers_degrees: bool
) -> tuple[list[Sample], list[ImageFile]]:
    """Gives a sample of each name that all folders have, and the pictures that are in none.

    Names may differ in case, suffix, and the word for their modality (`001_vis.jpg`, `001_IR.png`).
    The infrared folder may hold grids of degrees.

    Args:
        folders: One a modality, at least one.
        prefers_degrees: Whether degrees are taken where they lie beside an infrared picture.

    Raises:
        DataError: No name is in all folders, or two pictures of a folder have the same one.
    """
    sides = {m: _list_by_name(folder, m, prefers_degrees) for m, folder in folders.items()}
    for modality, side in sides.items():
        if not side:
            raise DataError(f"{folders[modality]} holds no picture: give another folder.")
    names = sorted(set.intersection(*(set(side) for side in sides.values())))
    if not names:
        shown = " and ".join(f"'{next(iter(side))}'" for side in sides.values())
        places = ", ".join(str(folder) for folder in folders.values())
        raise DataError(
            f"No name of a picture is in all of {places} (such as {shown}): give the pictures of "
            "one moment the same name."
        )
    samples = [
        Sample(name, UNLABELLED, None, {m: side[name] for m, side in sides.items()})
        for name in names
    ]
    alone = [side[n] for side in sides.values() for n in sorted(side.keys() - set(names))]
    return samples, alone


def _list_by_name(folder: Path, modality: Modality, prefers_degrees: bool) -> dict[str, ImageFile]:
    with_grids = modality is Modality.INFRARED
    pictures, _ = list_pictures(folder, with_grids=with_grids)
    named: dict[str, ImageFile] = {}
    for picture in pictures:
        stem = split_marker(picture.inside.stem)[1].casefold()
        name = str(picture.inside.with_name(stem))
        file = picture.file
        if with_grids and prefers_degrees:
            # Degrees say more than the picture they lie beside.
            file = find_degrees(file) or file
        known = named.setdefault(name, file)
        if known == file:
            continue
        if prefers_degrees or known.is_grid == file.is_grid:
            raise DataError(f"{file} and {known} have the same name: rename one of them.")
        named[name] = file if known.is_grid else known
    return named
