"""Temperatures in the place of infrared pictures."""

from dataclasses import replace
from pathlib import Path

from ferfusion.data.dataset import Dataset
from ferfusion.errors import DataError, ImageError
from ferfusion.imaging.camera.kinds import recognise
from ferfusion.imaging.files import read_bytes
from ferfusion.modality import Modality
from ferfusion.sample import ImageFile, Sample


def use_temperatures(dataset: Dataset) -> Dataset:
    """Gives the data set with files of temperatures as its infrared pictures.

    Such a file is the infrared file itself, if it is radiometric; or what `ferfusion prepare` wrote
    beside it: `temperature/happy/001.npy` for `infrared/happy/001.png`. A sample that has neither
    loses its infrared picture.

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


def _replace(sample: Sample) -> Sample:
    file = sample.images.get(Modality.INFRARED)
    if file is None:
        return sample
    found = _find_beside(file) or (file if _holds_temperatures(file) else None)
    others = {m: f for m, f in sample.images.items() if m is not Modality.INFRARED}
    images = others if found is None else {**sample.images, Modality.INFRARED: found}
    return replace(sample, images=images)


def _find_beside(file: ImageFile) -> ImageFile | None:
    parts = list(file.path.parts)
    if file.member is not None or "infrared" not in parts:
        return None
    # The last one: folders above the data may have any name.
    place = len(parts) - 1 - parts[::-1].index("infrared")
    parts[place] = "temperature"
    path = Path(*parts).with_suffix(".npy")
    return ImageFile(path) if path.is_file() else None


def _holds_temperatures(file: ImageFile) -> bool:
    if file.member is not None:
        return False
    try:
        kind = recognise(file.path.name, read_bytes(file))
    except ImageError:
        return False
    return kind.is_read and kind.holds == "temperatures"
