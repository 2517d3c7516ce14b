"""`ferfusion camera probe`: what is inside camera files, and what can be done with them."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.markup import escape

from ferfusion.errors import DataError, NoScaleError
from ferfusion.imaging.camera import kinds
from ferfusion.imaging.camera.kinds import Kind
from ferfusion.imaging.camera.opening import open_thermogram, read_kind
from ferfusion.imaging.camera.palette_pictures import PaletteFit, rank_palettes
from ferfusion.imaging.camera.thermogram import CameraSettings, Thermogram
from ferfusion.imaging.camera.triple import make_triple
from ferfusion.imaging.files import decode_image

_UNITS = {
    "emissivity": "emissivity {:g}",
    "distance_m": "distance {:g} m",
    "reflected_c": "reflected {:.1f} °C",
    "atmospheric_c": "air {:.1f} °C",
    "humidity": "humidity {:.0%}",
}


@dataclass(frozen=True)
class Finding:
    """What was found in one file.

    Attributes:
        path: The file.
        kind: Of it; None if even that can't be said.
        thermogram: If there are temperatures that can be read.
        palettes: Of a picture: how well palettes fit, the best first.
        size_px: Of a picture, width and height.
        problem: What is wrong with the file, if anything is.
    """

    path: Path
    kind: Kind | None
    thermogram: Thermogram | None = None
    palettes: tuple[PaletteFit, ...] = ()
    size_px: tuple[int, int] | None = None
    problem: str | None = None


def list_files(paths: Sequence[Path], *, but: Path | None = None) -> Iterator[tuple[Path, bool]]:
    """Lists files, and those in folders with all below them, each once.

    Args:
        paths: Files and folders.
        but: A folder that is left out.

    Yields:
        A file, and whether it was named itself.
    """
    named = {path.resolve() for path in paths if not path.is_dir()}
    left_out = but.resolve() if but else None
    seen: set[Path] = set()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            whole = file.resolve()
            if whole not in named:
                is_hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
                if is_hidden or left_out in whole.parents or not whole.is_file():
                    continue
            if whole not in seen:
                seen.add(whole)
                yield file, whole in named


def run_probe(paths: Sequence[Path], *, as_json: bool) -> None:
    """Prints what is in each file.

    Raises:
        DataError: A file is damaged, or of no known kind; after all others were printed.
    """
    console = Console(highlight=False, soft_wrap=True)
    problems, others, found = [], [], []
    files = list(list_files(paths))
    if not files:
        raise DataError(f"There are no files in {', '.join(map(str, paths))}.")
    for path, is_named in files:
        finding = look_into(path)
        if finding.kind == kinds.UNKNOWN and not is_named:
            others.append(path)
            continue
        if finding.problem:
            problems.append(finding.problem)
        if as_json:
            found.append(describe(finding))
        elif finding.kind:
            _print(finding, console)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    if others:
        known = "as they are of no kind that cameras write"
        click.echo(f"Passed over, {known}: {name_some(others)}", err=as_json)
    if problems:
        raise DataError(list_problems(problems, "can't be used"))


def look_into(path: Path) -> Finding:
    """Finds out what is in one file; what is wrong with it becomes a sentence."""
    kind = None
    try:
        kind, data = read_kind(path)
        if kind == kinds.UNKNOWN or (kind.is_read and kind.holds == "temperatures"):
            return Finding(path, kind, open_thermogram(path))
        if kind.has_picture:
            picture = decode_image(str(path), data)
            size = (picture.shape[1], picture.shape[0])
            return Finding(path, kind, palettes=rank_palettes(picture), size_px=size)
        if kind == kinds.LEVELS:
            open_thermogram(path)
    except NoScaleError as error:
        says = "It " + str(error).removeprefix(f"{path} ")
        return Finding(path, replace(kind or kinds.LEVELS, holds="counts", says=says, way=""))
    except DataError as error:
        return Finding(path, kind, problem=str(error))
    return Finding(path, kind)


def describe(finding: Finding) -> dict[str, Any]:
    """Gives a finding as plain values, for programs."""
    kind, thermogram = finding.kind, finding.thermogram
    known: dict[str, Any] = {"file": str(finding.path), "problem": finding.problem}
    if kind:
        known |= {"kind": kind.name, "holds": kind.holds, "is_read": kind.is_read}
        known |= {"says": kind.says, "way": kind.way or None}
    if finding.palettes:
        known["palettes"] = [asdict(fit) for fit in finding.palettes]
    if thermogram:
        known["temperature"] = summarise(thermogram)
        photo = thermogram.photo
        known["photo_px"] = None if photo is None else [photo.shape[1], photo.shape[0]]
        known["camera"] = thermogram.camera
        known["settings"] = asdict(thermogram.settings)
        known["placement"] = thermogram.placement and asdict(thermogram.placement)
        known["warnings"] = list(thermogram.warnings)
    return known


def summarise(thermogram: Thermogram) -> dict[str, float]:
    """Gives size and range of the temperatures."""
    temperature_c = thermogram.temperature_c
    rows, columns = temperature_c.shape
    return {
        "rows": rows,
        "columns": columns,
        "min_c": round(float(np.nanmin(temperature_c)), 3),
        "mean_c": round(float(np.nanmean(temperature_c, dtype=np.float64)), 3),
        "max_c": round(float(np.nanmax(temperature_c)), 3),
    }


def name_some(paths: Sequence[Path]) -> str:
    """Counts files and names the first."""
    more = f" and {len(paths) - 10} more" if len(paths) > 10 else ""
    return f"{len(paths)} ({', '.join(map(str, paths[:10]))}{more})"


def list_problems(problems: Sequence[str], what: str) -> str:
    """Puts sentences about files below one that counts them."""
    count = "1 file" if len(problems) == 1 else f"{len(problems)} files"
    return "\n  ".join((f"{count} {what}:", *problems))


def print_doubts(doubts: Iterable[str]) -> None:
    """Prints each doubt once, with the number of files that gave rise to it."""
    for doubt, count in Counter(doubts).most_common():
        files = "1 file" if count == 1 else f"{count} files"
        click.secho(f"{files}: {doubt}", fg="yellow")


def say_settings(settings: CameraSettings) -> str:
    """Names all settings that are known, with their units."""
    return ", ".join(_UNITS[name].format(value) for name, value in settings.known().items())


def _print(finding: Finding, console: Console) -> None:
    kind, thermogram = finding.kind, finding.thermogram
    if kind is None:
        return
    camera = f", {escape(thermogram.camera)}" if thermogram and thermogram.camera else ""
    console.print(f"[bold]{escape(str(finding.path))}[/bold]: {kind.name}{camera}")
    lines: list[tuple[str, str]] = []
    if thermogram:
        lines = _describe_temperatures(thermogram)
    elif finding.problem:
        lines = [("problem", "[red]see below[/red]")]
    else:
        lines = [(f"{kind.holds}", escape(kind.says))]
        if finding.size_px:
            lines.append(("size", "{} x {} pixels".format(*finding.size_px)))
        if finding.palettes:
            lines.append(("palette", escape(finding.palettes[0].say())))
        if kind.way:
            lines.append(("what to do", escape(kind.way)))
    for title, text in lines:
        console.print(f"  {title:<15}{text}")


def _describe_temperatures(thermogram: Thermogram) -> list[tuple[str, str]]:
    size = "{rows} rows, {columns} columns".format(**summarise(thermogram))
    degrees = "{min_c:.1f} to {max_c:.1f} °C, mean {mean_c:.1f}".format(**summarise(thermogram))
    lines = [("temperatures", f"{size}, {degrees}")]
    if thermogram.photo is not None:
        height, width = thermogram.photo.shape[:2]
        crop = make_triple(thermogram).crop_px
        where = "; where infrared lies on it isn't said"
        if crop:
            where = f"; infrared lies on {crop[2]} x {crop[3]} of it, by the camera's own data"
        lines.append(("photo", f"{width} x {height} pixels{where}"))
    if thermogram.settings.known():
        lines.append(("settings", say_settings(thermogram.settings)))
    lines += [("", f"[yellow]{escape(doubt)}[/yellow]") for doubt in thermogram.warnings]
    return lines
