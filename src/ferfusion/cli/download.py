"""`ferfusion download`: public archives, checked; and who holds what isn't public."""

import datetime
import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ferfusion.atomic import write_text
from ferfusion.cli.reading import list_problems, print_problems, print_reading
from ferfusion.data.listing import PICTURE_SUFFIXES
from ferfusion.data.opening import open_dataset
from ferfusion.data.published_archives import (
    HELD,
    PUBLISHED,
    PublishedArchive,
    PublishedData,
    choose_archives,
)
from ferfusion.errors import ConfigError, DataError, DownloadError, unknown_name
from ferfusion.fetching import Checksum, Listener, fetch
from ferfusion.unpacking import unpack_zip


def list_data() -> None:
    """Prints what can be downloaded, and what its owners give out themselves."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]Public, downloaded and checked by ferfusion[/bold]")
    for key, data in PUBLISHED.items():
        console.print(f"  ferfusion download {key:<14} {data.name}: {data.what}")
    console.print("\n[bold]Given out by its owners; ferfusion downloads none of it[/bold]")
    for key, held in HELD.items():
        console.print(f"  {key:<14} {held.name}: {held.what}. See {held.page}")


def run_download(
    name: str,
    out: Path | None,
    *,
    only: tuple[str, ...],
    is_packed: bool,
    overwrite: bool,
    base_url: str | None,
) -> None:
    """Fetches, checks and unpacks a data set, and says what its reader understands of it.

    Archives go to OUT/archives and are unpacked to OUT/pictures. What is there already is left.

    Raises:
        ConfigError: Nothing has that name.
        DownloadError: An archive can't be had, or another file is in its place, or the data set
            is one that its owners give out themselves.
        ArchiveError: An archive can't be unpacked.
    """
    key = name.lower()
    if key in HELD:
        held = HELD[key]
        raise DownloadError(
            f"{held.name} ({held.what}) isn't downloaded by ferfusion. {held.how} What is in it "
            f"and how to read it stands in {held.page}."
        )
    if key not in PUBLISHED:
        raise ConfigError(unknown_name("data set", name, [*PUBLISHED, *HELD]))
    data, out = PUBLISHED[key], out or Path(key)
    chosen = choose_archives(data.archives, only)
    console = Console(highlight=False, soft_wrap=True)
    base_url = (base_url or data.base_url).rstrip("/") + "/"
    _print_source(data, base_url, console)
    archives, pictures = out / "archives", out / "pictures"
    replaced = _find_others(chosen, archives)
    if replaced and not overwrite:
        names = ", ".join(str(path) for path in replaced)
        raise DownloadError(
            f"{names}: there already, and not as published, so nothing was downloaded. Move away "
            "what is yours, or add --overwrite to replace it."
        )
    _fetch_all(chosen, data, base_url, archives, overwrite, console)
    write_text(out / "SOURCE.txt", _describe_source(data, base_url))
    if not is_packed:
        _unpack_all(chosen, archives, pictures, console)
    _say_what_was_understood(archives if is_packed else pictures, out, data, console)


def _print_source(data: PublishedData, base_url: str, console: Console) -> None:
    console.print(f"[bold]{data.name}[/bold]: {data.what}")
    console.print(f"  source   {data.source}")
    if base_url != data.base_url:
        console.print(f"  mirror   {escape(base_url)}")
    console.print(f"  cite     {data.citation}.")
    console.print(f"  terms    {data.terms}.")
    console.print(f"  lacking  {data.lacks}.")
    console.print(f"  more     {data.page}\n")


def _describe_source(data: PublishedData, base_url: str) -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"{data.name}: {data.what}.\n\n"
        f"Source: {data.source}\nDownloaded from {base_url} and checked on {today}.\n"
        f"Cite: {data.citation}.\nTerms: {data.terms}.\nLacking: {data.lacks}.\n"
    )


def _checksum_of(archive: PublishedArchive) -> Checksum:
    return Checksum(git_blob=archive.git_blob)


def _find_others(chosen: tuple[PublishedArchive, ...], archives: Path) -> list[Path]:
    """Lists what lies in an archive's place and isn't that archive."""
    places = {archives / archive.name: _checksum_of(archive) for archive in chosen}
    return [path for path, sum_ in places.items() if path.exists() and not sum_.fits(path)]


def _fetch_all(
    chosen: tuple[PublishedArchive, ...],
    data: PublishedData,
    base_url: str,
    archives: Path,
    overwrite: bool,
    console: Console,
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=28), DownloadColumn())
    with Progress(
        *columns, TransferSpeedColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        for number, archive in enumerate(chosen, 1):
            bar = bars.add_task(archive.name, total=None)
            listener = Listener(
                on_progress=lambda have, total, bar=bar: bars.update(
                    bar, completed=have, total=total
                ),
                on_pause=lambda why, pause_s: console.print(
                    f"  {escape(why)}; trying again in {pause_s:g} s", style="yellow"
                ),
                on_wait=lambda: console.print("  another process is downloading it; waiting"),
            )
            path = archives / archive.name
            is_new = fetch(
                base_url + archive.name,
                path,
                checksum=_checksum_of(archive),
                size_limit=data.largest_mib * 2**20,
                overwrite=overwrite,
                listener=listener,
            )
            bars.remove_task(bar)
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            how = "downloaded, as published" if is_new else "was there, as published"
            console.print(f"  {number}/{len(chosen)}  {archive.name}  {size}  [dim]{how}[/dim]")


def _unpack_all(
    chosen: tuple[PublishedArchive, ...], archives: Path, pictures: Path, console: Console
) -> None:
    for archive in chosen:
        path = archives / archive.name
        folder = pictures / path.stem
        unpacked = unpack_zip(path, folder, suffixes=PICTURE_SUFFIXES)
        if unpacked is None:
            console.print(
                f"  {escape(str(folder))} was there [dim](remove it to have it unpacked anew)[/dim]"
            )
            continue
        console.print(f"  {escape(str(folder))}  {unpacked.files} pictures")
        if unpacked.left:
            some = ", ".join(unpacked.left[:3]) + (", ..." if len(unpacked.left) > 3 else "")
            console.print(
                f"    left in the archive, being no pictures: {len(unpacked.left)} ({escape(some)})"
            )


def _say_what_was_understood(place: Path, out: Path, data: PublishedData, console: Console) -> None:
    console.print()
    try:
        dataset = open_dataset(place)
    except DataError as error:
        # The archives are here and whole all the same.
        console.print(
            f"[yellow]They can't be read as a data set yet.[/yellow] {escape(str(error))}"
        )
        return
    print_reading(dataset, console)
    print_problems(list_problems(dataset), out, console)
    console.print(f"\nPlease cite {data.citation}.")
    console.print(escape("Next: " + shlex.join(("ferfusion", "inspect", str(place)))))
