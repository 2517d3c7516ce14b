"""What there is to prepare: a data set, or pictures of which nobody said what they show."""

from pathlib import Path

from ferfusion.data.dataset import UNLABELLED, Dataset
from ferfusion.data.listing import Picture, list_pictures
from ferfusion.data.opening import open_dataset
from ferfusion.data.pairing import Candidate, pair, split_marker
from ferfusion.data.subjects import name_subjects
from ferfusion.data.temperatures import prefer_temperatures
from ferfusion.errors import DataError
from ferfusion.modality import Modality


def open_to_prepare(path: Path, subject_pattern: str | None) -> tuple[Dataset, str | None]:
    """Reads a data set; failing that, the pictures in a folder, without expressions.

    Returns:
        The data set, and why it has no expressions, or None where it has.

    Raises:
        DataError: There are no pictures.
    """
    try:
        dataset = open_dataset(path, subject_pattern=subject_pattern)
        return prefer_temperatures(dataset), None
    except DataError as error:
        if not path.is_dir():
            raise
        why = str(error).split("\n")[0].split(". ")[0] + "."
        pictures, leftovers = list_pictures(path, with_grids=True)
        if not pictures:
            raise
    candidates = [
        Candidate(
            file=picture.file,
            expression=UNLABELLED,
            modality=split_marker(picture.inside.stem)[0] or _take_for(picture),
            folders=tuple(picture.inside.parent.parts),
            stem=picture.inside.stem,
        )
        for picture in pictures
    ]
    pairing = pair(candidates)
    dataset = Dataset(
        root=path,
        reader="Pictures without expressions",
        pairing="Those of one name belong together; a camera's file brings its own photo.",
        subjects_from=None,
        labels=(UNLABELLED,),
        samples=pairing.samples,
        leftovers=(*pairing.leftovers, *leftovers),
    )
    return prefer_temperatures(name_subjects(dataset, subject_pattern)), why


def _take_for(picture: Picture) -> Modality:
    return Modality.INFRARED if picture.file.is_grid else Modality.VISIBLE
