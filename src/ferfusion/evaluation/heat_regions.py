"""How the heat of maps is spread over the regions of a face."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from ferfusion.evaluation.statistics import Interval, bootstrap_by_subject
from ferfusion.modality import Modality

_MOUTH = 0.1
"""About how high eyes and mouth are, as part of the picture's side."""
_LEAST_AREA = 0.002
"""A region with less of the picture is mostly cut off, and its density a matter of luck."""


@dataclass(frozen=True)
class RegionTotal:
    """The heat in one region of one modality, averaged over samples.

    Attributes:
        explained: The class; None for all samples together.
        modality: Whose maps.
        region: Which.
        n: Samples with any heat in this modality.
        share: Of the modality's heat that lies in the region.
        share_interval: 95 %, drawn by subject.
        area: Which part of the picture the region is.
        density: Share by area: 1 is what a map without any preference has.
        density_interval: 95 %, drawn by subject.
    """

    explained: str | None
    modality: Modality
    region: str
    n: int
    share: float
    share_interval: Interval
    area: float
    density: float
    density_interval: Interval


def list_explained(
    explained: Int[np.ndarray, " samples"], classes: Sequence[str]
) -> list[tuple[int, str]]:
    """Lists the classes that are explained; none where it is one, which says what all say.

    >>> list_explained(np.array([2, 0, 2]), ("angry", "happy", "sad"))
    [(0, 'angry'), (2, 'sad')]
    >>> list_explained(np.array([2, 2]), ("angry", "happy", "sad"))
    []
    """
    places = [int(place) for place in np.unique(explained)]
    return [(place, classes[place]) for place in places] if len(places) > 1 else []


def measure_shares(
    maps: Float[np.ndarray, "samples size size"],
    layouts: UInt8[np.ndarray, "samples size size"],
    n_regions: int,
) -> tuple[Float[np.ndarray, "samples regions"], Float[np.ndarray, "samples regions"]]:
    """Gives each region's share of a map's heat, and of the picture.

    Args:
        maps: Not negative.
        layouts: Which region each pixel belongs to.
        n_regions: How many there are.

    Returns:
        Shares of the heat, NaN for maps without heat, and shares of the area; both sum to 1.
    """
    samples = len(maps)
    places = layouts.reshape(samples, -1).astype(np.int64)
    numbered = places + n_regions * np.arange(samples)[:, None]
    size = samples * n_regions
    heat = np.bincount(numbered.ravel(), maps.reshape(-1), size).reshape(samples, n_regions)
    area = np.bincount(numbered.ravel(), minlength=size).reshape(samples, n_regions)
    total = heat.sum(axis=1, keepdims=True)
    shares = np.divide(heat, total, out=np.full_like(heat, np.nan), where=total > 0)
    return shares, area / np.maximum(area.sum(axis=1, keepdims=True), 1)


def tell_grain(grain: float) -> str:
    """Warns where maps are too coarse to tell regions of a face apart.

    Args:
        grain: Width of the smallest thing they show, as part of the picture's width.
    """
    if grain <= _MOUTH:
        return ""
    return (
        f"These maps can't show anything smaller than {grain:.0%} of the picture's width, and "
        "eyes, nose and mouth are about as large or smaller: heat on one of them lies on its "
        "neighbours, too. Don't read single regions from this table; --method "
        "integrated-gradients is finer."
    )


def total_regions(
    maps: Mapping[Modality, Float[np.ndarray, "samples size size"]],
    layouts: UInt8[np.ndarray, "samples size size"],
    regions: Sequence[str],
    explained: Int[np.ndarray, " samples"],
    subjects: Sequence[str | None],
    classes: Sequence[str],
) -> list[RegionTotal]:
    """Averages shares and densities over all samples, and over those of each explained class.

    Every sample counts alike, however strong its map. Samples without heat in a modality have no
    share there and are left out, as `n` says.
    """
    found: list[RegionTotal] = []
    for modality, heat in maps.items():
        shares, areas = measure_shares(heat, layouts, len(regions))
        for place, name in ((None, None), *list_explained(explained, classes)):
            is_meant = np.ones(len(explained), bool) if place is None else explained == place
            rows = np.nonzero(is_meant & np.isfinite(shares[:, 0]))[0]
            if not len(rows):
                continue
            for number, region in enumerate(regions):
                seen = rows[areas[rows, number] >= _LEAST_AREA]
                if not len(seen):
                    continue
                share, area = shares[seen, number], areas[seen, number]
                people = [subjects[int(row)] for row in seen]
                found.append(
                    RegionTotal(
                        name, modality, region, len(seen),
                        float(share.mean()), bootstrap_by_subject(share, people, seed=0),
                        float(area.mean()),
                        float((share / area).mean()),
                        bootstrap_by_subject(share / area, people, seed=0),
                    )
                )  # fmt: skip
    return found
