"""`ferfusion prepare`: a folder as cameras leave it -> a data set that a study takes."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ferfusion.data.dataset import Dataset
from ferfusion.data.folder import KNOWN
from ferfusion.errors import DataError
from ferfusion.imaging.camera.kinds import recognise
from ferfusion.imaging.faces.weights import fetch_weights, find_weights
from ferfusion.imaging.file_bytes import read_bytes
from ferfusion.imaging.heat_input import read_picture
from ferfusion.modality import MODALITIES, Modality
from ferfusion.preparation.folder import PAGE, TABLE, Finished, prepare_folder
from ferfusion.preparation.folder import Progress as Step
from ferfusion.preparation.placing import CAMERA
from ferfusion.preparation.reading import UNLABELLED, open_to_prepare
from ferfusion.preparation.recipe import Preparation, Record
from ferfusion.preparation.tables import picture_path
from ferfusion.reporting.preparation_page import PreparationPage, Shown, write_preparation_page
from ferfusion.sample import ImageFile, Sample

SHOWN = 12

_NOBODY = "No sample says whom it shows, so a study may test a face that it trained on."

_WORDS = {
    "size_px": "side of the pictures, in pixels",
    "finds_faces": "cut to the face",
    "margin": "margin around the face, in parts of its longer side",
    "straightens": "eyes made level",
    "least_face_px": "least width of a face, in pixels",
    "aligns": "infrared and MSX laid on visible",
    "least_quality": "least quality of that",
    "infrared_covers": "share of the visible width that infrared shows",
    "makes_msx": "missing MSX-style pictures made",
    "span_c": "colours of temperatures, degrees Celsius",
    "emissivity": "emissivity",
    "scale": "scale of 16-bit files",
}


def run_prepare(
    data: Path,
    out: Path,
    preparation: Preparation,
    *,
    subject_pattern: str | None,
    workers: int | None,
    overwrites: bool,
) -> None:
    """Prepares all samples, says what became of them, and writes the data set with its page.

    Raises:
        DataError: Nothing of it can be used.
    """
    console = Console(highlight=False, soft_wrap=True)
    preparation.check()
    dataset, why = open_to_prepare(data, subject_pattern)
    if why:
        console.print(f"[yellow]{escape(why)} Pictures are prepared without expressions.[/yellow]")
    if not why and not KNOWN & set(dataset.labels):
        console.print(
            f"[yellow]The folders {escape(', '.join(dataset.labels[:6]))} are taken for "
            "expressions, and none of them is a known one. If they aren't any, put all pictures "
            "into one folder.[/yellow]"
        )
    weights: Path | None = None
    if preparation.finds_faces:
        weights = find_weights()
        if weights is None:
            console.print("Fetching the weights of the face detector, once (7 MB) ...")
            weights = fetch_weights()
    bars = Progress(
        TextColumn("preparing"), BarColumn(bar_width=28), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[kept]}", style="cyan"),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    kept = 0
    with bars:
        bar = bars.add_task("", total=len(dataset.samples), kept="")

        def advance(step: Step) -> None:
            nonlocal kept
            kept += step.record.kept
            bars.update(bar, completed=step.done, kept=f"{kept} kept")

        def finish(finished: Finished) -> None:
            if finished.gone:
                console.print(
                    f"[yellow]{finished.gone} samples of the last time are not in {data} any more; "
                    "they leave the data set, too.[/yellow]"
                )
            if finished.fresh < len(finished.records):
                console.print(
                    f"{finished.fresh} samples were prepared now; "
                    f"{len(finished.records) - finished.fresh} are as they were the last time."
                )
            page = _describe(dataset, finished.records, finished.folder, out, preparation)
            write_preparation_page(page, finished.folder / PAGE)

        records = prepare_folder(
            dataset.samples, preparation, weights, out, source=data,
            workers=workers or min(os.cpu_count() or 1, 8), overwrites=overwrites,
            advance=advance, finish=finish,
        )  # fmt: skip
    is_written = any(record.kept for record in records)
    console.print(_tell_finding(records) + (f" The data set is in {out}." if is_written else ""))
    for reason, count in _count_reasons(records):
        console.print(f"  [yellow]kept out: {count}[/yellow]  {escape(reason)}")
    if preparation.span_c and (without := _count_without_degrees(records)):
        console.print(f"[yellow]{without}[/yellow]")
    if not is_written:
        raise DataError(
            f"No sample of {data} could be used, so nothing is written: --whole prepares pictures "
            "without looking for faces, --no-align believes that they lie on each other."
        )
    if not any(record.subject for record in records):
        console.print(f"[yellow]{_NOBODY} `ferfusion subjects` makes a guess to correct.[/yellow]")
    console.print(f"Look at {out / PAGE}: it shows what was done, and your own pictures.")
    if why:
        console.print(f"Next: fill in the column 'expression' of {out / TABLE}, then")
    console.print(f"{'  ' if why else 'Next: '}{_next_line(out, dataset)}")


def _describe(
    dataset: Dataset,
    records: Sequence[Record],
    folder: Path,
    out: Path,
    preparation: Preparation,
) -> PreparationPage:
    kept = [record for record in records if record.kept]
    left_out = [record for record in records if not record.kept]
    by_id = {sample.id: sample for sample in dataset.samples}
    made = sum(record.made_msx for record in kept)
    found_in = Counter(record.face_in for record in kept if record.face_in)
    facts = [f"{dataset.reader}. {dataset.pairing}"]
    if dataset.leftovers:
        facts.append(
            f"{len(dataset.leftovers)} files are in no sample; `ferfusion inspect` lists them."
        )
    if made:
        facts.append(f"{made} MSX pictures are made by this software (MSX-style), not by a camera.")
    elsewhere = {where: n for where, n in found_in.items() if where != str(Modality.VISIBLE)}
    if elsewhere:
        facts.append(
            "Faces that the visible picture didn't show were found elsewhere: "
            + ", ".join(f"{n} in {where}" for where, n in sorted(elsewhere.items()))
            + "."
        )
    if not any(record.subject for record in records):
        facts.append(_NOBODY)
    if preparation.span_c and (without := _count_without_degrees(records)):
        facts.append(without)
    by_camera = sum(record.laid_by == CAMERA for record in kept)
    if by_camera:
        facts.append(
            f"In {by_camera} the registration wasn't sure, and infrared lies where the camera's "
            "file says. That is right for one distance only: look at some."
        )
    edged = [record.beyond_edge for record in kept if record.beyond_edge]
    if edged:
        facts.append(
            f"Of {len(edged)} samples the square reaches beyond a picture's edge, by "
            f"{100 * max(edged):.0f} % of it at most. There the edge is repeated, alike in every "
            "modality; files of degrees hold none there (NaN)."
        )
    if left_out:
        facts.append(
            "What was kept out is mostly what is hard, such as pictures in the dark. Results on "
            "the rest are better than results on all would be."
        )
    least_sure = sorted(kept, key=lambda r: 2.0 if r.quality is None else r.quality)
    doubtful = sorted(left_out, key=lambda r: -(r.quality or 0.0))
    return PreparationPage(
        title=f"{out.name}, prepared from {dataset.root.name}",
        finding=_tell_finding(records),
        facts=tuple(facts),
        columns=("class", "samples", *(str(m) for m in MODALITIES), "people"),
        counts=_count_classes(dataset, kept),
        reasons=tuple(_count_reasons(records)),
        settings=tuple(
            (_WORDS[f.name], _say(getattr(preparation, f.name))) for f in fields(preparation)
        ),
        kept=tuple(_show_kept(record, folder) for record in least_sure[:SHOWN]),
        left_out=tuple(_show_left_out(r, by_id[r.sample_id]) for r in doubtful[:SHOWN]),
        ways_on=_list_ways_on(out, dataset) if kept else (),
    )


def _tell_finding(records: Sequence[Record]) -> str:
    kept = sum(record.kept for record in records)
    whole = sum(len(record.modalities.split()) == len(MODALITIES) for record in records)
    return f"{kept} of {len(records)} samples are kept, {whole} of them in all three modalities."


def _count_without_degrees(records: Sequence[Record]) -> str:
    """Says how many infrared pictures a span of temperatures means nothing to; empty if none."""
    infrared = [r for r in records if str(Modality.INFRARED) in r.modalities.split()]
    count = sum(not record.has_temperatures for record in infrared)
    return (
        f"{count} of {len(infrared)} infrared pictures hold no degrees, so --span changes nothing "
        "in them: they are colours or, in 16-bit files without --scale, a mere pattern."
        if count
        else ""
    )


def _count_reasons(records: Sequence[Record]) -> list[tuple[str, int]]:
    """Counts reasons, the commonest first; numbers and names in them don't tell them apart."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for record in records:
        if not record.kept:
            kind = re.sub(r"\d+|/\S+", "#", record.reason)
            counts[kind] += 1
            first.setdefault(kind, record.reason)
    return [
        (first[kind] if count == 1 else f"{first[kind]} (and the like)", count)
        if "#" in kind
        else (first[kind], count)
        for kind, count in counts.most_common()
    ]


def _count_classes(dataset: Dataset, kept: Sequence[Record]) -> tuple[tuple[str, ...], ...]:
    rows: list[tuple[str, ...]] = []
    for label in (*dataset.labels, None):
        chosen = [r for r in kept if label is None or r.expression == label]
        seen = [sum(str(m) in r.modalities.split() for r in chosen) for m in MODALITIES]
        people = len({r.subject for r in chosen if r.subject})
        name = "all" if label is None else label
        rows.append((name, str(len(chosen)), *(str(n) for n in seen), str(people or "")))
    return tuple(rows)


def _show_kept(record: Record, folder: Path) -> Shown:
    pictures = {
        name: read_picture(ImageFile(folder / picture_path(record, Modality(name))))
        for name in record.modalities.split()
    }
    words = [] if record.quality is None else [f"registration {record.quality:.2f}"]
    if record.face_score is not None:
        words.append(f"face {record.face_score:.2f} in {record.face_in}")
    return Shown(record.sample_id, ", ".join(words), pictures)


def _show_left_out(record: Record, sample: Sample) -> Shown:
    pictures = {}
    for modality, file in sample.images.items():
        try:
            holds = recognise(file.path.name, read_bytes(file)).holds
            # A camera file is infrared, whatever its name says.
            is_heat = holds in ("temperatures", "counts")
            pictures[str(Modality.INFRARED if is_heat else modality)] = read_picture(file)
        except DataError:
            continue
    words = record.reason
    if record.quality is not None:
        words += f" (registration {record.quality:.2f})"
    return Shown(record.sample_id, words, pictures)


def _say(value: object) -> str:
    if value is None:
        return "as they come"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " to ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _list_ways_on(out: Path, dataset: Dataset) -> tuple[tuple[str, str], ...]:
    what = "compare fusions on it"
    if dataset.labels == (UNLABELLED,):
        what = f"fill in the column 'expression' of {TABLE}, then {what}"
    return ((what, _next_line(out, dataset)),)


def _next_line(out: Path, dataset: Dataset) -> str:
    data = out / TABLE if dataset.labels == (UNLABELLED,) else out
    return shlex.join(("ferfusion", "study", str(data), "--out", f"{out.name}-study"))
