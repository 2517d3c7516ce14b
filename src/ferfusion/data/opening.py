"""From a path to a data set: chooses the reader and names the subjects."""

from pathlib import Path

from ferfusion.data.dataset import Dataset
from ferfusion.data.folder import LAYOUTS, read_folder
from ferfusion.data.nvie import is_nvie, read_nvie
from ferfusion.data.subjects import name_subjects
from ferfusion.data.table import read_table
from ferfusion.data.tufts import is_tufts, read_tufts
from ferfusion.data.viri import is_viri, read_viri
from ferfusion.errors import DataError


def open_dataset(path: Path, *, subject_pattern: str | None = None) -> Dataset:
    """Understands what lies at a path; no picture is opened yet.

    A `.csv` is read as a table. A folder that holds anything named `VIRI-<Class>-<Modality>` is
    read as VIRI. A folder that holds anything named `NVIE-<class>-<Modality>` or an
    `intensities.csv`, and a `.csv` with columns of intensities, is read as NVIE. A folder that
    holds anything named `TD_<RGB|IR>_E_Set<n>` is read as the Tufts Face Database. Any other
    folder is a tree whose names say what the pictures show.

    Args:
        path: A folder or a CSV table.
        subject_pattern: Finds the subject in each path; see `subjects.name_subjects`.

    Raises:
        DataError: Nothing is there, it can't be understood, or it has fewer than two classes.
        ConfigError: The subject pattern makes no sense.
    """
    try:
        is_there = path.exists()
    except OSError as error:
        raise DataError(
            f"{path} can't be reached ({error.strerror}). Check the path and its permissions."
        ) from error
    if not is_there:
        raise DataError(f"There is nothing at {path.absolute()}. Check the spelling of the path.")
    if not path.is_dir() and not path.is_file():
        raise DataError(
            f"{path} is a device or a pipe, which can be read once at best. Save it to a file."
        )
    if path.is_dir():
        readers = ((is_viri, read_viri), (is_nvie, read_nvie), (is_tufts, read_tufts))
        read = next((read for fits, read in readers if fits(path)), read_folder)
        dataset = read(path)
    elif path.suffix.lower() == ".csv":
        dataset = read_nvie(path) if is_nvie(path) else read_table(path)
    elif path.suffix.lower() == ".zip":
        raise DataError(
            f"{path} is one archive. Unpack it and give the folder; archives of VIRI and NVIE stay "
            "packed, give the folder that holds them."
        )
    else:
        raise DataError(
            f"{path} is neither a folder nor a CSV table. Give the folder of your data."
        )
    if len(dataset.labels) < 2:
        found = f"only one ({dataset.labels[0]})" if dataset.labels else "none"
        raise DataError(
            f"Telling expressions apart takes two classes at least, but {path} has {found}. Give "
            f"the folder above, if it holds the others.\n{LAYOUTS}"
        )
    return name_subjects(dataset, subject_pattern)
