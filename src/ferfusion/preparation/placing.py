"""Where infrared lies on the visible picture: looked for where camera or owner say, or all over."""

from dataclasses import replace

from ferfusion.imaging.registration.motion import Motion
from ferfusion.imaging.registration.refine import MotionKind
from ferfusion.imaging.registration.register import Registration, register
from ferfusion.imaging.registration.search import Reach
from ferfusion.modality import Modality
from ferfusion.preparation.recipe import Preparation
from ferfusion.preparation.shot import Shot

REGISTRATION, CAMERA = "registration", "camera"

# The two lenses of a camera are fixed; how far their pictures are apart depends on the distance.
_PARALLAX = Reach(shift=0.12, angle_deg=2.0, scale=0.05)


def start_of(preparation: Preparation) -> Motion | None:
    """Gives where infrared is looked for, by how much of the visible width it is said to show."""
    covers = preparation.infrared_covers
    return None if covers is None else Motion(scale=1 / covers)


def register_infrared(
    shot: Shot, preparation: Preparation, kind: MotionKind = "similarity"
) -> tuple[Registration, str]:
    """Finds how infrared lies on the visible picture.

    Where the camera's file says it, that is refined, and believed if the result isn't sure.

    Args:
        shot: With a visible and an infrared picture.
        preparation: Below which quality it isn't sure, and where to begin if no file says it.
        kind: Which motions are allowed.

    Returns:
        The registration, and `camera` where its motion is what the file says; else `registration`.
    """
    visible = shot.pictures[Modality.VISIBLE]
    heat = shot.pictures[Modality.INFRARED] if shot.temperature_c is None else shot.temperature_c
    if shot.placement is None:
        return register(visible, heat, start=start_of(preparation), kind=kind), REGISTRATION
    found = register(visible, heat, start=shot.placement, reach=_PARALLAX, kind=kind)
    if found.quality >= preparation.least_quality:
        return found, REGISTRATION
    return replace(found, motion=shot.placement), CAMERA
