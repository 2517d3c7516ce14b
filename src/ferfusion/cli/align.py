"""`ferfusion align` and `ferfusion msx`: pictures laid on each other."""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from ferfusion.atomic import replacing, write_text
from ferfusion.errors import ConfigError, DataError
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.msx import blend_msx
from ferfusion.imaging.palette import find_palette, show_heat
from ferfusion.imaging.registration.motion import Motion, lay_on
from ferfusion.imaging.registration.refine import MotionKind
from ferfusion.imaging.registration.register import Registration
from ferfusion.modality import Modality
from ferfusion.preparation.alignment import (
    Aligned,
    align_pairs,
    pair_files,
    read_pair,
    write_alignment,
)
from ferfusion.preparation.placing import CAMERA, register_infrared
from ferfusion.preparation.recipe import Preparation
from ferfusion.sample import ImageFile

SHOWN = 24
"""Pairs on the sheet: the least sure ones."""

_CELL_PX = 192


def run_align(
    visible: Path,
    infrared: Path,
    out: Path,
    *,
    kind: MotionKind,
    infrared_covers: float | None,
    overwrites: bool,
) -> bool:
    """Writes alignment.csv, infrared pictures as they lie on the visible ones, and a sheet.

    Args:
        visible: A picture or a folder.
        infrared: Likewise.
        out: Folder of what is written.
        kind: Which motions are allowed.
        infrared_covers: See `Preparation`.
        overwrites: Whether an alignment that is there is replaced.

    Returns:
        Whether every pair passed.

    Raises:
        DataError: No two pictures belong together, or none can be read.
        ConfigError: There is an alignment at `out` already.
    """
    preparation = Preparation(infrared_covers=infrared_covers)
    preparation.check()
    table = out / "alignment.csv"
    if table.exists() and not overwrites:
        raise ConfigError(f"{table} is there already: give --out another folder, or --overwrite.")
    console = Console(highlight=False, soft_wrap=True)
    pairs, alone = pair_files(visible, infrared)
    found: list[tuple[str, Registration]] = []
    broken: list[str] = []
    shown: list[tuple[float, str, list[np.ndarray | None]]] = []
    by_camera = 0
    steps = track(
        align_pairs(pairs, kind, preparation), "aligning", len(pairs), console=console,
        disable=not console.is_terminal,
    )  # fmt: skip
    for aligned in steps:
        if aligned.registration is None:
            broken.append(aligned.reason)
            continue
        found.append((aligned.name, aligned.registration))
        by_camera += aligned.by == CAMERA
        _save(aligned.infrared, out / f"{aligned.name}.infrared.png")
        shown.append((aligned.registration.quality, *_show(aligned)))
        shown.sort(key=lambda item: item[0])
        del shown[SHOWN:]
    if not found:
        raise DataError("No pair could be read:\n  " + "\n  ".join(broken))
    write_text(table, write_alignment(found, kind))
    sheet = draw_contact_sheet(
        [row for _, _, row in shown], [title for _, title, _ in shown],
        ["visible", "infrared, laid on it", "edges of visible over infrared"], cell_px=_CELL_PX,
    )  # fmt: skip
    _save(sheet, out / "sheet.png")
    passed = sum(registration.passed for _, registration in found)
    console.print(f"{passed} of {len(found)} pairs pass; each one's motion is in {table}")
    failed = [name for name, registration in found if not registration.passed]
    if failed:
        more = f" and {len(failed) - 10} more" if len(failed) > 10 else ""
        console.print(
            f"[yellow]Look at these before you use them: {', '.join(failed[:10])}{more}[/yellow]"
        )
        if preparation.infrared_covers is None and 2 * len(failed) > len(found) > 1:
            console.print(
                "[yellow]Most fail. If infrared shows less than the visible pictures, say how much "
                "of their width, as in --infrared-covers 0.7; even "
                "passing pairs may be wrong.[/yellow]"
            )
    if by_camera:
        console.print(
            f"{by_camera} of these lie where the camera's file says, which is right for one "
            "distance only."
        )
    for what, names in (("Without a partner", alone), ("Unusable", broken)):
        if names:
            console.print(f"[yellow]{what}: {len(names)}[/yellow]")
            for name in names[:10]:
                console.print(f"  {name}")
    console.print(f"Look at {out / 'sheet.png'}: the pairs least sure come first.")
    return not failed and not broken


@dataclass(frozen=True)
class Overlay:
    """How an MSX-style picture is made.

    Attributes:
        gain: How strong the outlines are.
        detail_px: How fine; None for the usual share of the width.
        palette: Of temperatures; colours stay as they are.
        span_c: Of temperatures: those of the first and the last colour; None for the picture's own.
        aligns: Whether infrared is laid on visible first.
        infrared_covers: See `Preparation`.
    """

    gain: float
    detail_px: float | None
    palette: str
    span_c: tuple[float, float] | None
    aligns: bool
    infrared_covers: float | None = None

    def check(self) -> None:
        """Refuses what makes no sense.

        Raises:
            ConfigError: A value makes no sense.
        """
        if not 0 <= self.gain < math.inf:
            raise ConfigError(f"--gain is {self.gain:g}, but it must be a number, 0 or more.")
        if self.detail_px is not None and not 0 < self.detail_px < math.inf:
            raise ConfigError(f"--detail is {self.detail_px:g} pixels, but it must be above 0.")
        find_palette(self.palette)


def run_msx(
    visible: Path, infrared: Path, out: Path, overlay: Overlay, *, overwrites: bool
) -> None:
    """Writes one MSX-style picture.

    Raises:
        ConfigError: `out` is there already, or an option makes no sense.
        DataError: A picture is unusable.
    """
    overlay.check()
    find_format(out)
    if out.exists() and not overwrites:
        raise ConfigError(f"{out} is there already: give --out another name, or --overwrite.")
    preparation = Preparation(infrared_covers=overlay.infrared_covers)
    preparation.check()
    shot = read_pair(ImageFile(visible), ImageFile(infrared), preparation)
    seen, heat = shot.pictures[Modality.VISIBLE], shot.pictures[Modality.INFRARED]
    degrees = shot.temperature_c
    if degrees is not None:
        heat = show_heat(degrees, overlay.span_c, overlay.palette)
    height, width = seen.shape[:2]
    console = Console(highlight=False, soft_wrap=True)
    if degrees is None and overlay.span_c is not None:
        console.print(
            f"[yellow]{escape(str(infrared))} holds no degrees, so --span changes nothing: it is "
            "shown in its colours or, of 16 bits, as a mere pattern.[/yellow]"
        )
    motion = shot.placement or Motion()
    if overlay.aligns:
        found, by = register_infrared(shot, preparation)
        motion = found.motion
        if by == CAMERA:
            console.print(
                f"[yellow]The pictures don't line up for certain (quality {found.quality:.2f}), so "
                "infrared lies where the camera's file says: look at the result.[/yellow]"
            )
        elif not found.passed:
            console.print(
                f"[yellow]The pictures don't line up for certain (quality {found.quality:.2f}): "
                "look at the result, or say --no-align if they lie on each other already.[/yellow]"
            )
    laid = lay_on(heat, motion, width, height)
    _save(blend_msx(seen, laid, sigma_px=overlay.detail_px, gain=overlay.gain), out)
    console.print(f"Written: {out}")


def _show(aligned: Aligned) -> tuple[str, list[np.ndarray | None]]:
    registration, visible, infrared = aligned.registration, aligned.visible, aligned.infrared
    if registration is None or visible is None or infrared is None:
        return aligned.name, [None, None, None]
    verdict = "passes" if registration.passed else "doesn't pass"
    title = f"{aligned.name}: {registration.quality:.2f}, {verdict}"
    pictures = (visible, infrared, _draw_edges(visible, infrared))
    return title, [_shrink(picture) for picture in pictures]


def _draw_edges(visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY)
    evened = cv2.createCLAHE(3.0, (4, 4)).apply(grey)
    return blend_msx(cv2.merge((evened, evened, evened)), infrared, gain=2.0)


def _shrink(picture: np.ndarray) -> np.ndarray:
    factor = _CELL_PX / max(picture.shape[:2])
    if factor >= 1:
        return picture
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _save(picture: np.ndarray | None, path: Path) -> None:
    if picture is None:
        return
    with replacing(path) as part:
        Image.fromarray(picture).save(part, find_format(path), quality=95)


def find_format(path: Path) -> str:
    """Gives Pillow's name of the format that a suffix stands for.

    Raises:
        ConfigError: It stands for none that is written.
    """
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{path} has no suffix of a picture: use .png or .jpg.")
    return kind
