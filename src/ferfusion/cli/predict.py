"""`ferfusion predict`: a trained model on pictures, folders, data sets, videos and cameras."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ferfusion.cli.groups import tell_engine
from ferfusion.cli.like_training import find_preparation
from ferfusion.cli.predict_request import Kind, Request, find_kind, tell_kind
from ferfusion.errors import ConfigError
from ferfusion.inference.bundle import is_bundle
from ferfusion.inference.engines import EngineChoice
from ferfusion.inference.predictor import Predictor, load


def run_predict(
    model: Path, request: Request, *, engine: EngineChoice, least_confidence: float | None
) -> bool:
    """Answers, and says on the standard error what was done.

    Returns:
        Whether anything was answered.

    Raises:
        FerfusionError: Something makes no sense, is missing or can't be read.
    """
    request.check()
    # Before the model, which may take seconds to load.
    preparation = find_preparation(model, request.like)
    kind = _find_kind(request)
    is_video = request.is_live or kind is Kind.VIDEO
    predictor = load(
        model,
        engine=engine,
        device=_choose_device(model),
        least_confidence=least_confidence,
        keeps_memory=not is_video,
    )
    tell_engine(engine, predictor.runner.engine)
    request = _name_source(request, kind, predictor)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    _warn_of_same(request, console)
    if is_video:
        _refuse_heat(predictor)
        from ferfusion.cli.predict_frames import run_cameras, run_videos

        run = run_cameras if request.is_live else run_videos
        return run(predictor, request, preparation, console)
    request.refuse_for_pictures()
    from ferfusion.cli.predict_pictures import run_pictures

    return run_pictures(predictor, request, preparation, kind, console)


def _find_kind(request: Request) -> Kind | None:
    if request.is_live:
        return None
    if request.data is None:
        return find_kind(request.sources)
    # A table is read as one, not as a grid of temperatures.
    return Kind.FOLDER if request.data.suffix.lower() == ".csv" else tell_kind(request.data)


def _name_source(request: Request, kind: Kind | None, model: Predictor) -> Request:
    """Takes a picture or video in the place of DATA for what a model of one modality looks at."""
    if request.data is None or kind is Kind.FOLDER:
        return request
    modality, *others = model.modalities
    if others:
        raise ConfigError(
            f"{request.data} is one file, and this model looks at {' and '.join(model.modalities)}:"
            f" give {' and '.join(f'--{m} FILE' for m in model.modalities)}."
        )
    return replace(request, data=None, sources={modality: str(request.data)})


def _warn_of_same(request: Request, console: Console) -> None:
    """Warns only: one file of a thermal camera may hold both pictures."""
    if len(set(request.sources.values())) < len(request.sources):
        console.print(
            "[yellow]Careful:[/yellow] the same source is given for "
            f"{' and '.join(request.sources)}. If that is a slip, the answers are worth nothing."
        )


def _refuse_heat(model: Predictor) -> None:
    if model.facts.heat is not None:
        raise ConfigError(
            "This model looks at temperatures, and frames of videos and cameras hold colours: use "
            "a model that was trained on infrared pictures, or give files with temperatures."
        )


def _choose_device(model: Path) -> str:
    """Gives the best device for a run; a bundle runs on the processor."""
    if is_bundle(model) or not (model / "run.json").exists():
        return "cpu"
    try:
        from ferfusion.training.machine import choose_device
    except ImportError:
        return "cpu"  # `load` says what is missing
    return choose_device("auto")
