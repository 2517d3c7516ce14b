"""`ferfusion predict` on pictures: one sample, two folders, a table, a data set."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ferfusion.cli.answer_table import Tally, print_answer, print_lines
from ferfusion.cli.predict_request import Kind, Request, choose_seen
from ferfusion.data.dataset import UNLABELLED
from ferfusion.data.opening import open_dataset
from ferfusion.data.pairing import split_marker
from ferfusion.data.side_by_side import pair_folders
from ferfusion.data.table import read_unlabelled_table
from ferfusion.data.temperatures import use_temperatures
from ferfusion.errors import ConfigError, DataError
from ferfusion.imaging.faces.detector import FaceDetector
from ferfusion.imaging.faces.weights import fetch_weights
from ferfusion.inference.answer_lines import Columns, Line, choose_format, writing_lines
from ferfusion.inference.pictures import Picture, make_msx
from ferfusion.inference.predictor import Predictor, Unusable
from ferfusion.modality import MODALITIES, Modality
from ferfusion.preparation.folder import one_thread
from ferfusion.preparation.reading import open_to_prepare
from ferfusion.preparation.recipe import Preparation
from ferfusion.preparation.sample import prepare_sample
from ferfusion.sample import ImageFile, Sample

_SHOWN = 10

PicturesOf = Callable[[Sample], Mapping[Modality, Picture]]


def run_pictures(
    model: Predictor,
    request: Request,
    preparation: Preparation,
    kind: Kind | None,
    console: Console,
) -> bool:
    """Answers about every sample; gives whether there was an answer at all."""
    finds_face = bool(request.finds_face)
    samples, is_made = _list_samples(model, request, kind, finds_face, console)
    if is_made:
        console.print("MSX-style pictures are made of visible and infrared.")
    pictures_of = (
        _face_cutter(model, preparation) if finds_face else lambda sample: _as_is(model, sample)
    )
    if kind is Kind.PICTURE:
        return _answer_one(model, samples[0], pictures_of, request, console)
    with one_thread():
        return _answer_all(model, samples, pictures_of, request, console)


def _list_samples(
    model: Predictor, request: Request, kind: Kind | None, finds_face: bool, console: Console
) -> tuple[list[Sample], bool]:
    """Gives the samples, and whether MSX-style pictures are made for any of them."""
    wants_degrees = finds_face or model.facts.heat is not None
    if request.data is not None:
        samples, alone = _read_data(request.data, model, wants_degrees, console)
        useful = {*model.modalities, Modality.VISIBLE, Modality.INFRARED}
        makes = Modality.MSX in model.modalities and any(
            {Modality.VISIBLE, Modality.INFRARED} <= s.images.keys()
            and Modality.MSX not in s.images
            for s in samples
        )
        # Of a camera's file the face finder takes the photo, too.
        brought = {Modality.MSX} if makes else set[Modality]()
        brought |= {Modality.VISIBLE, Modality.MSX} if finds_face else set()
        _refuse_lack(request.data, samples, set(model.modalities) - brought, model)
        if not (makes or finds_face):
            useful = set(model.modalities)
    else:
        given = {m: Path(source) for m, source in request.sources.items()}
        seen, makes = choose_seen(set(given), model.modalities, finds_face=finds_face)
        useful, alone = set(seen), []
        if kind is Kind.FOLDER:
            folders = {m: given[m] for m in seen}
            samples, files = pair_folders(folders, prefers_degrees=wants_degrees)
            alone = [f"{file} has no partner of its name" for file in files]
        else:
            name = split_marker(given[seen[0]].stem)[1]
            images = {m: ImageFile(given[m]) for m in seen}
            samples = [Sample(name, UNLABELLED, None, images)]
    if alone:
        console.print(f"[yellow]Left over: {len(alone)}[/yellow]")
        for words in alone[:_SHOWN]:
            console.print(f"  {words}", markup=False)
        if len(alone) > _SHOWN:
            console.print(f"  and {len(alone) - _SHOWN} more")
    return [
        Sample(
            s.id.removeprefix(f"{UNLABELLED}/"),
            s.expression,
            s.subject,
            {m: s.images[m] for m in MODALITIES if m in s.images and m in useful},
        )
        for s in samples
    ], makes


def _refuse_lack(
    data: Path, samples: Sequence[Sample], needed: set[Modality], model: Predictor
) -> None:
    """Refuses data in which no sample at all has what the model looks at."""
    lacking = [m for m in MODALITIES if m in needed and not any(m in s.images for s in samples)]
    if lacking:
        raise ConfigError(
            f"This model looks at {' and '.join(model.modalities)}, and no sample of {data} names "
            f"its {' and '.join(lacking)} picture: give data that does, or another model."
        )


def _read_data(
    path: Path, model: Predictor, wants_degrees: bool, console: Console
) -> tuple[list[Sample], list[str]]:
    if path.suffix.lower() == ".csv":
        return read_unlabelled_table(path), []
    dataset, why = open_to_prepare(path, None)
    if why:
        console.print(f"{why} Nothing is said about what is right.", markup=False)
    elif not wants_degrees:
        dataset = open_dataset(path)
    elif model.facts.heat is not None:
        dataset = use_temperatures(open_dataset(path))
    alone = [f"{leftover.file} {leftover.why}" for leftover in dataset.leftovers]
    return list(dataset.samples), alone


def _as_is(model: Predictor, sample: Sample) -> Mapping[Modality, Picture]:
    """Gives a sample's pictures as they are; a missing MSX-style one is made."""
    pictures: dict[Modality, Picture] = dict(sample.images)
    if Modality.MSX in model.modalities and Modality.MSX not in pictures:
        pair = (sample.images.get(m) for m in (Modality.VISIBLE, Modality.INFRARED))
        visible, infrared = pair
        if visible is not None and infrared is not None:
            pictures[Modality.MSX] = make_msx(visible, infrared)
    return _pick(model, pictures)


def _face_cutter(model: Predictor, preparation: Preparation) -> PicturesOf:
    """Gives what finds and cuts the face of a sample as `ferfusion prepare` does."""
    weights = fetch_weights()
    of_thread = threading.local()

    def cut(sample: Sample) -> Mapping[Modality, Picture]:
        if not hasattr(of_thread, "detector"):
            of_thread.detector = FaceDetector(weights)
        _pick_any(sample)
        prepared = prepare_sample(sample, preparation, of_thread.detector)
        if not prepared.record.kept:
            raise DataError(prepared.record.reason)
        pictures: dict[Modality, Picture] = dict(prepared.pictures)
        if model.facts.heat is not None and prepared.temperature_c is not None:
            pictures[Modality.INFRARED] = prepared.temperature_c
        return _pick(model, pictures)

    return cut


def _pick(model: Predictor, pictures: Mapping[Modality, Picture]) -> Mapping[Modality, Picture]:
    missing = [m for m in model.modalities if m not in pictures]
    if missing:
        raise DataError(f"there is no {' and no '.join(missing)} picture")
    return {m: pictures[m] for m in model.modalities}


def _pick_any(sample: Sample) -> None:
    if not sample.images:
        raise DataError("there is no picture that the model looks at")


def _answer_one(
    model: Predictor,
    sample: Sample,
    pictures_of: PicturesOf,
    request: Request,
    console: Console,
) -> bool:
    try:
        pictures = pictures_of(sample)
        answer = model.predict(**{str(m): picture for m, picture in pictures.items()})
    except DataError as error:
        answer = Unusable(_name_files(sample, str(error), is_cut=bool(request.finds_face)))
        console.print(f"No answer: {answer.reason}", style="yellow", markup=False)
    line = Line({"sample_id": sample.id}, answer)
    columns = Columns(("sample_id",), model.labels)
    if request.out is not None or request.is_for_programs:
        form = choose_format(request.out, request.form)
        with writing_lines(request.out, form, columns, grows=False) as write:
            write(line)
    if isinstance(answer, Unusable):
        return False
    if request.out is not None or not request.is_for_programs:
        print_answer(answer, model.rule, Console(highlight=False))
    return True


def _name_files(sample: Sample, reason: str, *, is_cut: bool) -> str:
    """Gives a reason that names a file at least."""
    named = [str(file) for file in sample.images.values()]
    if any(name in reason for name in named):
        return reason
    advice = ". Give a picture with one face, or say --as-is if it shows just the face."
    return f"{' and '.join(named)}: {reason}{advice if is_cut else ''}"


def _answer_all(
    model: Predictor,
    samples: Sequence[Sample],
    pictures_of: PicturesOf,
    request: Request,
    console: Console,
) -> bool:
    tally, shown = Tally(model.labels), list[Line]()
    knows = any(sample.expression != UNLABELLED for sample in samples)
    columns = Columns(("sample_id",), model.labels, has_expressions=knows)
    writes = request.out is not None or request.is_for_programs
    begun_s = time.monotonic()
    with ExitStack() as stack:
        answers = stack.enter_context(closing(model.predict_each(samples, pictures_of)))
        write = (
            stack.enter_context(
                writing_lines(
                    request.out, choose_format(request.out, request.form), columns, grows=False
                )
            )
            if writes
            else shown.append
        )
        steps = track(
            answers, "asking", len(samples), console=console, disable=not console.is_terminal
        )
        for sample, answer in steps:
            said = sample.expression if sample.expression != UNLABELLED else None
            line = Line({"sample_id": sample.id}, answer, expression=said)
            tally.add(line)
            write(line)
    if not writes:
        print_lines(shown, Console(highlight=False))
    tally.print(console, "samples", time.monotonic() - begun_s)
    if request.out is not None:
        console.print(f"Written: {request.out}", markup=False)
    return tally.n_answered > 0
