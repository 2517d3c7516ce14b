"""`ferfusion camera extract`: temperatures, photos and aligned pictures out of camera files."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import click
import numpy as np
from PIL import Image

from ferfusion.atomic import replacing, write_text
from ferfusion.cli.camera import list_files, list_problems, name_some, print_doubts, summarise
from ferfusion.data.listing import BESIDE_EXTRACTED
from ferfusion.data.table import read_rows
from ferfusion.errors import ConfigError, DataError, ResultsError
from ferfusion.imaging.camera import kinds
from ferfusion.imaging.camera.grids import Scale, parse_scale
from ferfusion.imaging.camera.opening import open_thermogram, read_kind
from ferfusion.imaging.camera.thermogram import CameraSettings, Thermogram
from ferfusion.imaging.camera.triple import Triple, make_triple
from ferfusion.imaging.palette import find_palette
from ferfusion.preprocessing import parse_span

ENDINGS = (
    *BESIDE_EXTRACTED,
    *(".visible.png", ".infrared.png", ".msx.png"),
)
TABLE = "extract.csv"
COLUMNS = (
    *("file", "stem", "kind", "camera", "rows", "columns", "min_c", "mean_c", "max_c"),
    *("emissivity", "distance_m", "reflected_c", "atmospheric_c", "humidity"),
    *("scale", "dx_px", "dy_px", "crop_left_px", "crop_top_px", "crop_width_px", "crop_height_px"),
    *("span_low_c", "span_high_c", "warnings", "problem"),
)


@dataclass(frozen=True)
class Extraction:
    """How files are read and what is made of them.

    Attributes:
        scale: See `open_thermogram`.
        overrides: Likewise.
        picture_palette: Likewise, `palette`.
        value_range_c: Likewise.
        palette: Of the infrared pictures that are written.
        span_c: See `make_triple`.
        overwrites: Whether files that are there already are replaced.
    """

    scale: Scale | None = None
    overrides: CameraSettings = field(default_factory=CameraSettings)
    picture_palette: str | None = None
    value_range_c: tuple[float, float] | None = None
    palette: str = "iron"
    span_c: tuple[float, float] | None = None
    overwrites: bool = False


def parse_extraction(
    *,
    scale: str | None,
    settings: tuple[float | None, ...],
    value_range: str | None,
    picture_palette: str | None,
    palette: str,
    span: str | None,
    overwrites: bool,
) -> Extraction:
    """Understands the options as they were typed.

    Args:
        scale: See `parse_scale`.
        settings: In the order of `CameraSettings`.
        value_range: LOW,HIGH in degrees Celsius.
        picture_palette: A palette's name or a file.
        palette: Its name.
        span: LOW,HIGH likewise.
        overwrites: As it is.

    Raises:
        ConfigError: One makes no sense.
    """
    overrides = CameraSettings(*settings)
    overrides.check()
    find_palette(palette)
    if picture_palette and not Path(picture_palette).is_file():
        find_palette(picture_palette)
    if picture_palette and not value_range:
        raise ConfigError(
            f"--picture-palette {picture_palette} says how palette pictures are read, which takes "
            "the temperatures of their first and last colour, too: add --range LOW,HIGH."
        )
    return Extraction(
        scale=parse_scale(scale) if scale else None,
        overrides=overrides,
        picture_palette=picture_palette,
        value_range_c=parse_span("--range ", value_range) if value_range else None,
        palette=palette,
        span_c=parse_span("--span ", span) if span else None,
        overwrites=overwrites,
    )


def run_extract(paths: Sequence[Path], out: Path, extraction: Extraction) -> None:
    """Writes what is in each file, and a table of all.

    Files in folders that hold no temperatures are left out; a file that was named and holds none,
    or any that is damaged, is a problem. Problems don't keep the others from being written.

    Raises:
        ResultsError: Something would be overwritten.
        DataError: There were problems, or there is nothing to extract.
    """
    files, left_out = _choose(paths, out, extraction)
    if not files:
        raise DataError(
            f"There are no camera files with temperatures in {', '.join(map(str, paths))}; "
            "'ferfusion camera probe' says what is there."
        )
    stems = name_stems(files)
    if not extraction.overwrites:
        _refuse_to_overwrite(out, stems)
    others = _keep_rows(out / TABLE, files, stems)
    rows, problems, doubts = [], [], []
    for path, stem in zip(files, stems, strict=True):
        try:
            thermogram = open_thermogram(
                path,
                scale=extraction.scale,
                overrides=extraction.overrides,
                palette=extraction.picture_palette,
                value_range_c=extraction.value_range_c,
            )
        except DataError as error:
            problems.append(str(error))
            rows.append({"file": str(path), "problem": str(error)})
            continue
        triple = make_triple(thermogram, palette=extraction.palette, span_c=extraction.span_c)
        _write(out, stem, thermogram, triple)
        rows.append(_describe(path, stem, thermogram, triple))
        doubts += thermogram.warnings
        facts = "{rows} x {columns}, {min_c:.1f} to {max_c:.1f} °C".format(**summarise(thermogram))
        click.echo(f"{path}: {facts} -> {out / stem}.*")
    print_doubts(doubts)
    if left_out:
        click.echo(f"Passed over, as they hold no temperatures: {name_some(left_out)}")
    rest = len(rows) - len(problems)
    if rest:
        _write_table(out / TABLE, [*others, *rows])
        click.echo(f"Table: {out / TABLE}")
    if problems:
        raise DataError(list_problems(problems, f"gave nothing ({rest} others are written)"))


def name_stems(files: Sequence[Path]) -> list[str]:
    """Gives each file a name for what comes out of it, no two alike.

    That is its stem. Where stems are alike, also on a disk that doesn't tell capitals, the suffix
    is added; where that doesn't help, as many of the folders above as it takes.

    >>> name_stems([Path("a/x.jpg"), Path("a/x.tiff"), Path("a/y.jpg")])
    ['x-jpg', 'x-tiff', 'y']
    >>> name_stems([Path("a/x.jpg"), Path("b/x.jpg")])
    ['a-x', 'b-x']
    """
    folders = [file.resolve().parent.parts[1:] for file in files]
    names = [file.stem for file in files]
    for depth in range(max(map(len, folders), default=0) + 1):
        for has_suffix in (False, True):
            counts = Counter(name.casefold() for name in names)
            for place, file in enumerate(files):
                if counts[names[place].casefold()] > 1:
                    above = folders[place][-depth:] if depth else ()
                    suffix = file.suffix[1:].split() if has_suffix else ()
                    names[place] = "-".join((*above, file.stem, *suffix))
    counts = Counter(name.casefold() for name in names)
    return [
        name if counts[name.casefold()] == 1 else f"{name}-{number}"
        for number, name in enumerate(names, start=1)
    ]


def _choose(
    paths: Sequence[Path], out: Path, extraction: Extraction
) -> tuple[list[Path], list[Path]]:
    """Lists the files that were named, and those in folders that hold temperatures."""
    files, left_out = [], []
    for path, is_named in list_files(paths, but=out):
        if is_named or _may_give(path, extraction):
            files.append(path)
        else:
            left_out.append(path)
    return files, left_out


def _may_give(path: Path, extraction: Extraction) -> bool:
    try:
        kind, _ = read_kind(path)
    except DataError:
        return True  # it will be listed as a problem
    if kind == kinds.UNKNOWN:
        return False
    return kind.holds != "colours" or (extraction.value_range_c is not None and kind.has_picture)


def _refuse_to_overwrite(out: Path, stems: Sequence[str]) -> None:
    wanted = [out / TABLE, *(out / (stem + ending) for stem in stems for ending in ENDINGS)]
    there = [path for path in wanted if path.exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ResultsError(
            f"{there[0]}{more} would be overwritten: choose another --out, or allow it with "
            "--overwrite."
        )


def _write(out: Path, stem: str, thermogram: Thermogram, triple: Triple) -> None:
    temperature_c = thermogram.temperature_c

    def save(ending: str, write: Callable[[BinaryIO], None]) -> None:
        path = out / (stem + ending)
        try:
            with replacing(path) as part, part.open("wb") as stream:
                write(stream)
        except OSError as error:
            raise ResultsError(
                f"{path} can't be written ({error.strerror or error}): make room, or choose "
                "another --out."
            ) from error

    save(".temperature.npy", lambda stream: np.save(stream, temperature_c, allow_pickle=False))
    save(".temperature.tiff", lambda stream: Image.fromarray(temperature_c).save(stream, "TIFF"))
    pictures = {
        ".photo.png": thermogram.photo,
        ".visible.png": triple.visible,
        ".infrared.png": triple.infrared,
        ".msx.png": triple.msx,
    }
    for ending, picture in pictures.items():
        if picture is not None:
            save(ending, lambda stream, p=picture: Image.fromarray(p).save(stream, "PNG"))
        else:
            # Of an earlier extraction, which `--overwrite` replaces.
            (out / (stem + ending)).unlink(missing_ok=True)


def _describe(path: Path, stem: str, thermogram: Thermogram, triple: Triple) -> dict[str, object]:
    row: dict[str, object] = {
        "file": str(path),
        "stem": stem,
        "kind": thermogram.kind.name,
        "camera": thermogram.camera or "",
        **summarise(thermogram),
        **thermogram.settings.known(),
        "span_low_c": round(triple.span_c[0], 3),
        "span_high_c": round(triple.span_c[1], 3),
        "warnings": " ".join(thermogram.warnings),
    }
    placement = thermogram.placement
    if placement:
        row |= {"scale": round(placement.scale, 5)}
        row |= {"dx_px": round(placement.dx_px, 3), "dy_px": round(placement.dy_px, 3)}
    if triple.crop_px:
        names = ("crop_left_px", "crop_top_px", "crop_width_px", "crop_height_px")
        row |= dict(zip(names, triple.crop_px, strict=True))
    return row


def _keep_rows(path: Path, files: Sequence[Path], stems: Sequence[str]) -> list[dict[str, object]]:
    """Gives the lines of an earlier table about other files, whose pictures are still there."""
    if not path.exists():
        return []
    named = {file.resolve() for file in files}
    columns, lines = read_rows(path)
    if columns != COLUMNS:
        raise ResultsError(f"{path} is no table of 'camera extract': choose another --out.")
    return [
        dict(line)
        for _, line in lines
        if Path(line["file"]).resolve() not in named and line["stem"] not in stems
    ]


def _write_table(path: Path, rows: Sequence[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
