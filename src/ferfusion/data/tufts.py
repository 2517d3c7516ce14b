"""The Tufts Face Database: its sets of posed expressions, visible and thermal."""

import re
from dataclasses import replace
from pathlib import Path

from ferfusion.data.dataset import Dataset, Leftover
from ferfusion.data.listing import Picture, list_pictures
from ferfusion.data.pairing import Candidate, pair
from ferfusion.errors import DataError
from ferfusion.expression import order_labels
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile

_SET = re.compile(r"TD_(?P<camera>RGB|IR)_E(_Set\d+)?(\.zip)?", re.IGNORECASE)
_PICTURE = re.compile(r"TD_(?P<camera>RGB|IR)_E_(?P<number>\d+)", re.IGNORECASE)
_MODALITIES = {"rgb": Modality.VISIBLE, "ir": Modality.INFRARED}
_EXPRESSIONS = {1: "neutral", 2: "happy", 4: "surprised"}
_NO_EXPRESSION = {3: "closed eyes", 5: "sunglasses"}


def is_tufts(folder: Path) -> bool:
    """Whether a folder holds an archive or folder named as the database's sets of expressions."""
    return any(_SET.fullmatch(child.name) for child in folder.glob("*"))


def read_tufts(folder: Path) -> Dataset:
    """Reads the Tufts Face Database's sets TD_RGB_E (visible) and TD_IR_E (thermal).

    The folder holds archives or folders `TD_<RGB|IR>_E_Set<n>`, or both kinds. In each, a folder
    for every person, named by a number, holds `TD_<RGB|IR>_E_<1..5>.jpg`: 1 neutral, 2 a smile
    (read as happy), 3 eyes closed, 4 an exaggerated shocked face (read as surprised), 5 sunglasses.
    3 and 5 are left over: they are no expressions.

    113 people. Visible pictures are a Nikon D3100's and thermal ones a FLIR Vue Pro's, so a pair
    isn't aligned. Cite Panetta et al., IEEE TPAMI 42(3):509-520, 2020.

    Raises:
        DataError: An archive is damaged, or none of the pictures is named as those are.

    Source:
        Names and folders as in github.com/maxbbraun/tdface-annotations, which lists all thermal
        ones, and as scripts use them that read the visible ones.
    """
    candidates: list[Candidate] = []
    leftovers: list[Leftover] = []
    who: dict[ImageFile, str] = {}
    # Folders first: an archive beside its unpacked folder is passed over.
    read: set[str] = set()
    for place in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        name = place.name.lower().removesuffix(".zip")
        if not _SET.fullmatch(place.name) or (place.is_file() and place.suffix.lower() != ".zip"):
            continue
        if name in read:
            leftovers.append(Leftover(ImageFile(place), "is there unpacked, too, which is read"))
            continue
        read.add(name)
        pictures, others = list_pictures(place)
        leftovers += others
        for picture in pictures:
            found = _understand(picture)
            if isinstance(found, Leftover):
                leftovers.append(found)
            else:
                candidates.append(found)
                who[found.file] = found.folders[0]
    if not candidates:
        raise DataError(
            f"{folder} has sets of the Tufts Face Database by name, but no picture in them has a "
            "name like TD_RGB_E_Set1/23/TD_RGB_E_4.jpg. Unpack the archives anew, or list the "
            "pictures in a CSV table."
        )
    pairing = pair(candidates)
    samples = tuple(
        replace(sample, subject=who[next(iter(sample.images.values()))])
        for sample in pairing.samples
    )
    return Dataset(
        root=folder,
        reader=f"Tufts Face Database, posed expressions ({len(read)} sets)",
        pairing=pairing.sentence,
        subjects_from="the folders that are named by numbers",
        labels=order_labels(sample.expression for sample in samples),
        samples=samples,
        leftovers=(*pairing.leftovers, *leftovers),
    )


def _understand(picture: Picture) -> Candidate | Leftover:
    match = _PICTURE.fullmatch(picture.inside.stem)
    person = picture.inside.parent.name
    if match is None or not re.fullmatch(r"[0-9]{1,4}", person):
        return Leftover(picture.file, "is not named as <person>/TD_<RGB|IR>_E_<1..5>")
    number = int(match["number"])
    if number not in _EXPRESSIONS:
        shown = _NO_EXPRESSION.get(number)
        why = f"shows {shown}, which is no expression" if shown else "has an unknown number"
        return Leftover(picture.file, why)
    return Candidate(
        file=picture.file,
        expression=_EXPRESSIONS[number],
        modality=_MODALITIES[match["camera"].lower()],
        folders=(person,),
        stem=str(number),
    )
