"""A trained model in use: `load` it, give it pictures, get labels. Only a run needs torch.

>>> from ferfusion import load                                     # doctest: +SKIP
>>> model = load("bundle")                                         # doctest: +SKIP
>>> answer = model.predict(visible="face.jpg", infrared="heat.jpg")  # doctest: +SKIP
>>> answer.label, answer.confidence, answer.abstained              # doctest: +SKIP
('happy', 0.83, False)
"""

import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from jaxtyping import Float

from ferfusion.errors import CheckpointError, ConfigError, DataError
from ferfusion.evaluation.coverage import AnswerRule
from ferfusion.evaluation.run_folder import CHECKPOINT, RUN
from ferfusion.inference.bundle import is_bundle, open_bundle
from ferfusion.inference.engines import Engine, EngineChoice
from ferfusion.inference.model_facts import ModelFacts
from ferfusion.inference.pictures import Picture
from ferfusion.inference.prediction import predict_each, predict_one
from ferfusion.inference.runner import Runner, open_graph
from ferfusion.modality import Modality, parse_modalities

T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """What a model says about one face.

    Attributes:
        label: The most probable class, also where the model would rather not say.
        probabilities: One a class, calibrated on validation, in the model's order; they sum to 1.
        abstained: Whether the model would rather not say: it is less sure than of the tenth of the
            validation faces that it was least sure of (or as `load` or the export was told).
    """

    label: str
    probabilities: Mapping[str, float]
    abstained: bool

    @property
    def confidence(self) -> float:
        """The probability of the label."""
        return self.probabilities[self.label]


@dataclass(frozen=True)
class Unusable:
    """A sample of a stream that can't be used, and why, in one sentence."""

    reason: str


class Predictor:
    """A model that is ready to be asked, from any thread.

    Attributes:
        facts: Labels, modalities, size, precision.
        rule: When it would rather not say; None: it always answers.
        name: Where it was loaded from.
    """

    def __init__(
        self, open_runner: Callable[[bool], Runner], rule: AnswerRule | None, name: str
    ) -> None:
        """Opens the model.

        Args:
            open_runner: Opens it, for single questions (False) or for many at once (True).
            rule: When it would rather not say.
            name: For people.
        """
        self._open_runner = open_runner
        self.runner = open_runner(False)
        self.rule = rule
        self.name = name

    def __repr__(self) -> str:
        """Says what it looks at, as in `<Predictor early fusion of visible, infrared: B>`."""
        kind = "model" if self.facts.fusion == "single" else f"{self.facts.fusion} fusion"
        return f"<Predictor {kind} of {', '.join(self.modalities)}: {self.name}>"

    @property
    def facts(self) -> ModelFacts:
        """What the model takes and gives."""
        return self.runner.facts

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.facts.labels

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Which pictures it looks at."""
        return self.facts.modalities

    def predict(
        self,
        *,
        visible: Picture | None = None,
        infrared: Picture | None = None,
        msx: Picture | None = None,
    ) -> Prediction:
        """Answers about one face.

        Args:
            visible: A path, the bytes of a file, an open file, a Pillow picture or a NumPy array
                (RGB, uint8). As all: cut to the face as the training pictures were.
            infrared: Likewise. A model of temperatures takes a file with degrees, or an array of
                degrees Celsius.
            msx: Likewise.

        Raises:
            ConfigError: A modality is missing, or one is given that the model doesn't look at.
            DataError: A picture can't be used; says which and why.
        """
        pictures = self._check({"visible": visible, "infrared": infrared, "msx": msx})
        return self.interpret(predict_one(self.runner, pictures))

    def predict_stream(
        self,
        samples: Iterable[Mapping[str, Picture]],
        *,
        batch_size: int = 8,
        workers: int | None = None,
    ) -> Generator[Prediction | Unusable, None, None]:
        """Answers about any number of faces, in their order, many at once and in flat memory.

        Args:
            samples: Each with the pictures that the model looks at, by modality, as
                `{"visible": "1.jpg", "infrared": "1_ir.jpg"}`. May be endless.
            batch_size: How many are asked about together.
            workers: Threads; None means one a processor.

        Returns:
            A prediction for each, or why there is none.

        Raises:
            ConfigError: These are no samples, or one has a modality that the model doesn't look at.
        """
        if isinstance(samples, Mapping):
            raise ConfigError(
                "predict_stream takes any number of samples, and this is one: give "
                "[{'visible': ..., 'infrared': ...}, ...], or ask `predict` about one."
            )

        def check(given: Mapping[str, Picture]) -> dict[Modality, Picture]:
            return self._check(given, may_lack=True)

        answers = self.predict_each(samples, check, batch_size=batch_size, workers=workers)
        with closing(answers):
            for _, answer in answers:
                yield answer

    def predict_each(
        self,
        items: Iterable[T],
        pictures_of: Callable[[T], Mapping[Modality, Picture]],
        *,
        batch_size: int = 8,
        workers: int | None = None,
    ) -> Generator[tuple[T, Prediction | Unusable], None, None]:
        """Does what `predict_stream` does for things that have pictures, and gives them back.

        Args:
            items: May be endless.
            pictures_of: Gives the pictures of one of them, those that the model looks at and
                perhaps others. Called in a worker's thread. A `DataError` that it raises is why
                there is no answer.
            batch_size: See `predict_stream`.
            workers: Likewise.

        Raises:
            ConfigError: One lacks a modality.
        """
        answers = predict_each(
            self._stream_runner, items, pictures_of, batch_size=batch_size, workers=workers
        )
        with closing(answers):
            for item, probs in answers:
                if isinstance(probs, DataError):
                    yield item, Unusable(str(probs))
                else:
                    yield item, self.interpret(probs)

    def interpret(self, probs: Float[np.ndarray, " classes"]) -> Prediction:
        """Makes a prediction of the probabilities that the runner gave."""
        label = self.labels[int(probs.argmax())]
        table = {name: float(p) for name, p in zip(self.labels, probs, strict=True)}
        least = 0.0 if self.rule is None else self.rule.least_confidence
        return Prediction(label, table, abstained=table[label] < least)

    @cached_property
    def _stream_runner(self) -> Runner:
        return self._open_runner(True)

    def _check(self, given: object, *, may_lack: bool = False) -> dict[Modality, Picture]:
        if not isinstance(given, Mapping):
            raise ConfigError(
                "A sample of a stream is a table of its pictures by modality, as "
                f"{{'visible': '1.jpg'}}, not of the type {type(given).__name__}."
            )
        pictures = {parse_modalities([name])[0]: picture for name, picture in given.items()}
        pictures = {modality: p for modality, p in pictures.items() if p is not None}
        wanted = self.modalities
        if set(pictures) == set(wanted):
            return pictures
        missing = [m for m in wanted if m not in pictures]
        strange = [m for m in pictures if m not in wanted]
        if may_lack and not strange:
            raise DataError(f"there is no {' and no '.join(missing)} picture")
        parts = ["missing: " + ", ".join(missing)] if missing else []
        parts += [f"not looked at: {', '.join(strange)}"] if strange else []
        raise ConfigError(
            f"This model looks at {' and '.join(wanted)} ({'; '.join(parts)}). Give one picture "
            "of each that it looks at, and no other."
        )


def load(
    path: str | os.PathLike[str],
    *,
    engine: EngineChoice = "onnxruntime",
    device: str = "cpu",
    threads: int | None = None,
    least_confidence: float | None = None,
    keeps_memory: bool = True,
) -> Predictor:
    """Loads a trained model: a bundle that was exported, or the folder of a run.

    Args:
        path: A bundle (folder or .zip), an exported .onnx file, or the folder of a run, which
            needs PyTorch.
        engine: What calculates a bundle: `onnxruntime`, `openvino`, or `fastest`: whichever of
            those installed answers a question sooner here, which takes a second to find out.
        device: Where a run is calculated, as torch names it.
        threads: That work on one question to a bundle; None means one a processor.
        least_confidence: The model would rather not say where it is less sure than this, from 0
            (it always answers) to 1. None means as the bundle says, or for a run, as validation
            says: the tenth that it was least sure of stays without an answer.
        keeps_memory: Of a bundle, as in `open_graph`. Say False where this process reads videos
            with OpenCV: its decoder's threads would let memory grow by 1 kB a frame, without end.

    Raises:
        CheckpointError: There is no model, or it is damaged.
        ConfigError: A package is missing, or a number makes no sense.
    """
    place = Path(path)
    if least_confidence is not None and not 0 <= least_confidence <= 1:
        raise ConfigError(f"least_confidence is a probability from 0 to 1, not {least_confidence}.")
    told = None if least_confidence is None else AnswerRule(least_confidence, 1.0, 0)
    if is_bundle(place):
        bundle = open_bundle(place)
        return Predictor(
            _graph_opener(bundle.graph, engine, threads, keeps_memory),
            told or bundle.rule,
            str(place),
        )
    if place.suffix.lower() == ".onnx":
        return Predictor(_graph_opener(place, engine, threads, keeps_memory), told, str(place))
    if not place.exists():
        raise CheckpointError(f"There is no model {place.absolute()}. Check the path.")
    if not (place / RUN).is_file() and not (place / CHECKPOINT).is_file():
        raise CheckpointError(
            f"{place} is no bundle and no run (it holds no trained model): give the folder or .zip "
            "that `ferfusion export` wrote, an .onnx file, or the folder of a run: the --out of "
            "`ferfusion train`, or DIR/runs/MODEL of a study."
        )
    try:
        from ferfusion.inference.manners import read_manners
        from ferfusion.inference.torch_engine import open_checkpoint
    except ImportError as error:
        raise ConfigError(
            f"{place} is the folder of a run, which needs PyTorch: pip install "
            "'ferfusion[train]'. A bundle that `ferfusion export` writes needs none."
        ) from error
    temperature, rule = read_manners(place)
    runner = open_checkpoint(place, temperature=temperature, device=device)
    return Predictor(lambda _: runner, told or rule, str(place))


def _graph_opener(
    source: Path | bytes, engine: EngineChoice, threads: int | None, keeps_memory: bool
) -> Callable[[bool], Runner]:
    chosen: EngineChoice = engine

    def open_runner(is_for_many: bool) -> Runner:
        nonlocal chosen
        # Many questions share the processors best with a thread for each.
        runner = open_graph(
            source,
            engine=chosen,
            threads=1 if is_for_many else threads,
            keeps_memory=keeps_memory,
        )
        chosen = cast("Engine", runner.engine)  # if it was to be found out, once is enough
        return runner

    return open_runner
