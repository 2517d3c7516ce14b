"""`ferfusion align` and `ferfusion msx`: pictures laid on each other."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from ferfusion.atomic import replacing, write_text
from ferfusion.errors import ConfigError, DataError
from ferfusion.imaging.contact_sheet import draw_contact_sheet
from ferfusion.imaging.files import read_image
from ferfusion.imaging.msx import DETAIL_SHARE, blend_msx
from ferfusion.imaging.registration.motion import Motion, lay_on
from ferfusion.imaging.registration.refine import MotionKind
from ferfusion.imaging.registration.register import Registration, register
from ferfusion.preparation.alignment import Aligned, align_pairs, pair_files, write_alignment
from ferfusion.sample import ImageFile

SHOWN = 24
"""Pairs on the sheet: the least sure ones."""

_CELL_PX = 192


def run_align(
    visible: Path, infrared: Path, out: Path, *, kind: MotionKind, overwrites: bool
) -> bool:
    """Writes alignment.csv, infrared pictures as they lie on the visible ones, and a sheet.

    Returns:
        Whether every pair passed.

    Raises:
        DataError: No two pictures belong together, or none can be read.
        ConfigError: There is an alignment at `out` already.
    """
    table = out / "alignment.csv"
    if table.exists() and not overwrites:
        raise ConfigError(f"{table} is there already: give --out another folder, or --overwrite.")
    console = Console(highlight=False, soft_wrap=True)
    pairs, alone = pair_files(visible, infrared)
    out.mkdir(parents=True, exist_ok=True)
    found: list[tuple[str, Registration]] = []
    broken: list[str] = []
    shown: list[tuple[float, str, list[np.ndarray | None]]] = []
    steps = track(
        align_pairs(pairs, kind), "aligning", len(pairs), console=console,
        disable=not console.is_terminal,
    )  # fmt: skip
    for aligned in steps:
        if aligned.registration is None:
            broken.append(aligned.reason)
            continue
        found.append((aligned.name, aligned.registration))
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
    for what, names in (("Without a partner", alone), ("Unusable", broken)):
        if names:
            console.print(f"[yellow]{what}: {len(names)}[/yellow]")
            for name in names[:10]:
                console.print(f"  {name}")
    console.print(f"Look at {out / 'sheet.png'}: the pairs least sure come first.")
    return not failed and not broken


def run_msx(
    visible: Path, infrared: Path, out: Path, *, gain: float, detail: float | None,
    aligns: bool, overwrites: bool,
) -> None:  # fmt: skip
    """Writes one MSX-style picture.

    Args:
        visible: File of the visible picture.
        infrared: File of the infrared one.
        out: File of the new one.
        gain: How strong the outlines are.
        detail: How fine, in pixels; None for the usual share of the width.
        aligns: Whether infrared is laid on visible first.
        overwrites: Whether `out` may be there already.

    Raises:
        ConfigError: `out` is there already, or an option makes no sense.
    """
    if out.exists() and not overwrites:
        raise ConfigError(f"{out} is there already: give --out another name, or --overwrite.")
    if gain < 0:
        raise ConfigError(f"--gain is {gain}, but it must be 0 or more.")
    if detail is not None and detail <= 0:
        raise ConfigError(f"--detail is {detail} pixels, but it must be above 0.")
    seen, heat = read_image(ImageFile(visible)), read_image(ImageFile(infrared))
    height, width = seen.shape[:2]
    console = Console(highlight=False, soft_wrap=True)
    motion = Motion()
    if aligns:
        found = register(seen, heat)
        motion = found.motion
        if not found.passed:
            console.print(
                f"[yellow]The pictures don't line up for certain (quality {found.quality:.2f}): "
                "look at the result, or say --no-align if they lie on each other already.[/yellow]"
            )
    laid = lay_on(heat, motion, width, height)
    detail = DETAIL_SHARE * width if detail is None else detail
    _save(blend_msx(seen, laid, sigma_px=detail, gain=gain), out)
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
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{path} has no suffix of a picture: use .png or .jpg.")
    with replacing(path) as part:
        Image.fromarray(picture).save(part, kind, quality=95)
