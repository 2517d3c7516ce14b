"""The three ways a face is seen, in their one fixed order."""

from collections.abc import Container, Iterable
from enum import StrEnum

from ferfusion.errors import ConfigError, unknown_name


class Modality(StrEnum):
    """One kind of picture of a face."""

    VISIBLE = "visible"
    INFRARED = "infrared"
    MSX = "msx"


MODALITIES: tuple[Modality, ...] = tuple(Modality)

# What people call their folders and columns. "Vis" and "Ir" are VIRI's own.
_SYNONYMS = {
    "visible": Modality.VISIBLE,
    "vis": Modality.VISIBLE,
    "vi": Modality.VISIBLE,
    "visual": Modality.VISIBLE,
    "rgb": Modality.VISIBLE,
    "color": Modality.VISIBLE,
    "colour": Modality.VISIBLE,
    "infrared": Modality.INFRARED,
    "ir": Modality.INFRARED,
    "thermal": Modality.INFRARED,
    "lwir": Modality.INFRARED,
    "msx": Modality.MSX,
}


def find_modality(name: str) -> Modality | None:
    """Recognises a modality in a folder or column name, or returns None.

    >>> find_modality("Ir")
    <Modality.INFRARED: 'infrared'>
    """
    return _SYNONYMS.get(name.strip().lower())


def find_ground(modalities: Container[Modality]) -> Modality:
    """Gives the modality that the others are laid on: visible, or what is there in its place.

    >>> find_ground({Modality.INFRARED, Modality.MSX})
    <Modality.MSX: 'msx'>
    """
    order = (Modality.VISIBLE, Modality.MSX, Modality.INFRARED)
    return next(m for m in order if m in modalities)


def parse_modalities(names: Iterable[str]) -> tuple[Modality, ...]:
    """Turns names into modalities, each once, in the fixed order.

    >>> [str(m) for m in parse_modalities(["msx", "vis"])]
    ['visible', 'msx']

    Raises:
        ConfigError: A name is unknown, or there is none.
    """
    found: set[Modality] = set()
    for name in names:
        modality = find_modality(name)
        if modality is None:
            raise ConfigError(unknown_name("modality", name, [*MODALITIES, "thermal", "rgb"]))
        found.add(modality)
    if not found:
        raise ConfigError("No modality was named. Choose from visible, infrared and msx.")
    return tuple(m for m in MODALITIES if m in found)
