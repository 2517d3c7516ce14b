"""What a server does for a request: reads its pictures, asks the model, gives plain values."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
from fastapi import HTTPException, Request
from jaxtyping import UInt8

from ferfusion.data.cache import resize
from ferfusion.imaging.faces.detector import Face
from ferfusion.imaging.files import measure_image
from ferfusion.inference.engines import count_processors
from ferfusion.inference.pictures import make_msx, read_whole
from ferfusion.inference.predictor import Predictor
from ferfusion.modality import Modality
from ferfusion.serving.about import describe_model
from ferfusion.serving.batching import Batcher
from ferfusion.serving.explaining import explain, tell_prediction
from ferfusion.serving.limits import Limits, Places
from ferfusion.serving.metrics import Metrics
from ferfusion.serving.uploads import read_uploads

T = TypeVar("T")

Pictures = Mapping[Modality, UInt8[np.ndarray, "_ _ 3"]]
CutFace = Callable[[Pictures], tuple[Pictures, Face]]
"""Cuts the face out of the pictures of one moment, as those that trained the model were cut, and
says where it was. Called by any thread. Raises a `DataError` where none can be used."""

_NO_FACES = (
    "This server doesn't look for faces. Send pictures of just the face, or have it started with "
    "--find-face."
)
_PAIR = (Modality.VISIBLE, Modality.INFRARED)
_MSX_MADE = " Without an MSX picture send visible and infrared; it is made of these."
_MAP_SHARE = 1 / 3
"""Of a request's time, for the heat maps of an explanation."""


class Service:
    """A model with its threads, its places and its counts."""

    def __init__(self, model: Predictor, limits: Limits, cut: CutFace | None = None) -> None:
        self.model = model
        self.limits = limits
        self._cut = cut
        self.about = describe_model(model)
        self._places = Places(limits.places)
        self._explanations = Places(limits.explanations)
        self.metrics = Metrics(self._places)
        self._readers = ThreadPoolExecutor(count_processors(), "read")
        self._asker = ThreadPoolExecutor(1, "ask")
        self._explainer = ThreadPoolExecutor(1, "explain")
        self._batcher = Batcher(
            model.runner,
            self._asker,
            count_coming=lambda: self._places.taken,
            tell_size=self.metrics.count_batch,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers questions meanwhile."""
        work = asyncio.create_task(self._batcher.work())
        try:
            yield
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            for pool in (self._readers, self._asker, self._explainer):
                pool.shutdown(cancel_futures=True)

    @property
    def finds_faces(self) -> bool:
        """Whether it can cut faces out of whole pictures."""
        return self._cut is not None

    async def predict(self, request: Request, *, find_face: bool = False) -> dict[str, Any]:
        """Answers about the pictures of a request.

        Args:
            request: With a file for each modality.
            find_face: Whether the pictures show more than the face.

        Raises:
            HTTPException: The house is full, or the request can't be answered.
            DataError: A picture can't be used.
        """
        began = time.perf_counter()
        with _taking(self._places):
            pictures, face = await self._read(request, find_face)
            squares = await _call(self._readers, lambda: self._square(pictures))
            probs = await self._batcher.ask(squares)
        return {
            **tell_prediction(self.model.interpret(probs)),
            **_tell_face(face),
            "model": self.about.name,
            "milliseconds": _since(began),
        }

    async def explain(self, request: Request, *, find_face: bool = False) -> dict[str, Any]:
        """Answers about the pictures of a request, and shows what the answer rests on.

        Args:
            request: As `predict`.
            find_face: Likewise.

        Raises:
            HTTPException: As `predict`.
            DataError: Likewise.
        """
        began = time.perf_counter()
        with _taking(self._explanations):
            pictures, face = await self._read(request, find_face)
            seconds = _MAP_SHARE * self.limits.seconds
            shown = await _call(
                self._explainer,
                lambda: explain(self.model, pictures, seconds=seconds, are_laid=face is not None),
            )
        told = {"model": self.about.name, "milliseconds": _since(began)}
        return {**shown, **_tell_face(face), **told}

    async def _read(self, request: Request, find_face: bool) -> tuple[Pictures, Face | None]:
        cut = self._cut
        if find_face and cut is None:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, _NO_FACES)
        files = await read_uploads(request, self.limits.max_bytes)
        wanted = self.model.modalities
        makes_msx = _can_make_msx(files, wanted)
        if not makes_msx and set(files) != set(wanted):
            raise HTTPException(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"This model looks at {' and '.join(wanted)}: send one file in each of these "
                f"fields and no other. Sent: {', '.join(files) or 'nothing'}."
                + (_MSX_MADE if Modality.MSX in wanted else ""),
            )
        jobs = (_call(self._readers, lambda m=m: self._read_one(m, files[m])) for m in files)
        pictures = dict(zip(files, await asyncio.gather(*jobs), strict=True))
        face = None
        if find_face and cut is not None:
            pictures, face = await _call(self._readers, lambda: cut(pictures))
        if makes_msx:
            msx = await _call(self._readers, lambda: make_msx(*(pictures[m] for m in _PAIR)))
            pictures = {**pictures, Modality.MSX: msx}
        return {m: pictures[m] for m in wanted}, face

    def _square(self, pictures: Pictures) -> Pictures:
        return {m: resize(picture, self.model.facts.size_px) for m, picture in pictures.items()}

    def _read_one(self, modality: Modality, data: bytes) -> UInt8[np.ndarray, "_ _ 3"]:
        name, heat = f"The {modality} picture", self.model.facts.heat_of(modality)
        # Files with temperatures have limits of their own, far below.
        if heat is None:
            width, height = measure_image(name, data)
            if width * height > self.limits.max_megapixels * 1e6:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"{name} has {width * height / 1e6:.4g} megapixels, and "
                    f"{self.limits.max_megapixels:g} are allowed. Save it smaller.",
                )
        return read_whole(data, name=name, heat=heat)


@contextmanager
def _taking(places: Places) -> Iterator[None]:
    with places.take() as is_free:
        if not is_free:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Too many are asking at this moment. Come back in a second.",
                {"retry-after": "1"},
            )
        yield


def _can_make_msx(files: Collection[Modality], wanted: Collection[Modality]) -> bool:
    """Says whether an MSX-style picture is to be made of the other two."""
    lacks = Modality.MSX in wanted and Modality.MSX not in files
    return lacks and set(files) == set(_PAIR)


def _tell_face(face: Face | None) -> dict[str, Any]:
    if face is None:
        return {"face": None}
    box = {"left": face.left, "top": face.top, "width": face.width, "height": face.height}
    return {"face": {side: round(value, 1) for side, value in box.items()}}


async def _call(executor: Executor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, work)


def _since(began: float) -> float:
    return round(1000 * (time.perf_counter() - began), 2)
