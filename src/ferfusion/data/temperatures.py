"""Temperatures in the place of infrared pictures."""

from dataclasses import replace
from pathlib import Path

from ferfusion.data.dataset import Dataset
from ferfusion.errors import DataError, ImageError
from ferfusion.imaging.camera.kinds import recognise
from ferfusion.imaging.file_bytes import read_bytes
from ferfusion.modality import Modality
from ferfusion.sample import GRID_SUFFIXES, ImageFile, Sample


def use_temperatures(dataset: Dataset) -> Dataset:
    """Gives the data set with files of temperatures as its infrared pictures.

    Such a file is the infrared file itself, if it is radiometric; or what lies beside it, see
    `find_degrees`. A sample that has neither loses its infrared picture.

    Raises:
        DataError: No sample has temperatures.
    """
    samples = tuple(_replace(sample) for sample in dataset.samples)
    if not any(Modality.INFRARED in sample.images for sample in samples):
        raise DataError(
            f"No infrared file of {dataset.root} holds temperatures, and there is no folder "
            "'temperature' beside 'infrared': prepare radiometric files with 'ferfusion prepare', "
            "or say --infrared-as picture."
        )
    return replace(dataset, samples=samples)


def prefer_temperatures(dataset: Dataset) -> Dataset:
    """Gives the data set with files of degrees in the place of infrared pictures that have one."""

    def choose(sample: Sample) -> Sample:
        file = sample.images.get(Modality.INFRARED)
        found = None if file is None else find_degrees(file)
        if found is None:
            return sample
        return replace(sample, images={**sample.images, Modality.INFRARED: found})

    return replace(dataset, samples=tuple(choose(sample) for sample in dataset.samples))


def find_degrees(file: ImageFile) -> ImageFile | None:
    """Gives the file of degrees that lies beside an infrared picture, if there is one.

    For `infrared/happy/001.png` that is `temperature/happy/001.npy`, as `ferfusion prepare` writes
    it, or a grid of the same name in the same folder: `infrared/happy/001.npy`.
    """
    if file.member is not None or file.is_grid:
        return None
    parts = list(file.path.parts)
    grids = [file.path.with_suffix(suffix) for suffix in sorted(GRID_SUFFIXES)]
    if "infrared" in parts:
        # The last one: folders above the data may have any name.
        place = len(parts) - 1 - parts[::-1].index("infrared")
        parts[place] = "temperature"
        grids.insert(0, Path(*parts).with_suffix(".npy"))
    found = (ImageFile(path) for path in grids if path.is_file())
    return next((grid for grid in found if _holds_temperatures(grid)), None)


def _replace(sample: Sample) -> Sample:
    file = sample.images.get(Modality.INFRARED)
    if file is None:
        return sample
    found = find_degrees(file) or (file if _holds_temperatures(file) else None)
    others = {m: f for m, f in sample.images.items() if m is not Modality.INFRARED}
    images = others if found is None else {**sample.images, Modality.INFRARED: found}
    return replace(sample, images=images)


def _holds_temperatures(file: ImageFile) -> bool:
    if file.member is not None:
        return False
    try:
        kind = recognise(file.path.name, read_bytes(file))
    except ImageError:
        return False
    return kind.is_read and kind.holds == "temperatures"
