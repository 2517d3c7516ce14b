"""The API and the page of a model, as an application that any ASGI server runs."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp

from ferfusion.errors import DataError, TooManyPixelsError
from ferfusion.inference.predictor import Predictor
from ferfusion.modality import Modality
from ferfusion.serving import metrics
from ferfusion.serving.answers import Answer, Explanation, Health, Model, Problem, describe_form
from ferfusion.serving.examples import Example, draw_example
from ferfusion.serving.guard import OPEN_FOLDER, Guard, answer_error
from ferfusion.serving.limits import Limits
from ferfusion.serving.service import CutFace, Service

FindFace = Annotated[
    bool,
    Query(
        description="The pictures show more than the face: it is looked for, infrared is laid on "
        "visible, and all are cut as those that trained the model. Only where `/model` says "
        "`finds_faces`."
    ),
]

_PAGE = Path(__file__).parent / "page"
_COUNTED = ("/", "/predict", "/explain", "/health", "/metrics", "/model", "/docs", "/openapi.json")
_A_DAY = {"cache-control": "private, max-age=86400"}

_MISSING, _UNUSABLE = HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY
_SENTENCES: dict[int, str] = {
    _MISSING: "There is nothing at this address. What there is stands at /docs.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address isn't asked in this way. How it is asked stands "
    "at /docs.",
}
_OUR_FAULT = "Something went wrong here, and it isn't your fault. The server's log says what."


def create_app(
    model: Predictor,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Iterable[str] = (),
    cut: CutFace | None = None,
) -> ASGIApp:
    """Makes the application.

    Args:
        model: What it asks.
        limits: What it takes on; None for the usual.
        token: What one has to know to ask it; None where everybody may.
        hosts: Names by which it may be called, besides localhost and addresses.
        cut: Cuts faces out of whole pictures, for those who ask for it; None where nobody can.
    """
    limits = limits or Limits()
    limits.check()
    service = Service(model, limits, cut)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="ferfusion",
        description="Posed facial expressions from visible, infrared and MSX pictures.",
        version="1",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_answers(app, service)
    _add_pages(app)
    _add_errors(app)
    return Guard(
        app,
        limits=limits,
        token=token,
        hosts=hosts,
        count=service.metrics.count_request,
        paths=_COUNTED,
    )


def _add_answers(app: FastAPI, service: Service) -> None:
    may_fail = _problems(400, 401, 403, 413, 415, 422, 429, 500, 503, 504)
    locked = _problems(400, 401, 429)
    form = describe_form(service.model.modalities)

    @app.post("/predict", response_model=Answer, responses=may_fail, openapi_extra=form)
    async def predict(request: Request, find_face: FindFace = False) -> Any:
        """What the model says of one sample: a file for each modality that it looks at."""
        return JSONResponse(await service.predict(request, find_face=find_face))

    @app.post("/explain", response_model=Explanation, responses=may_fail, openapi_extra=form)
    async def explain(request: Request, find_face: FindFace = False) -> Any:
        """The same with heat maps, the pair laid on each other, and what each modality changes."""
        return JSONResponse(await service.explain(request, find_face=find_face))

    @app.get("/model", response_model=Model, responses=locked)
    async def tell_model() -> Any:
        """What the model looks at, how good it was on its test part, and what it isn't for."""
        told = service.about.to_json()
        more = {"finds_faces": service.finds_faces, "limits": _tell_limits(service.limits)}
        return JSONResponse({**told, **more})

    @app.head("/health", include_in_schema=False)
    @app.get("/health", response_model=Health, responses=_problems(400, 429))
    async def tell_health() -> Any:
        """Whether the server is up; it is when this answers."""
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", response_class=Response, responses=locked)
    async def tell_metrics() -> Response:
        """Counts of requests, seconds and batches, in the text format of Prometheus."""
        return Response(service.metrics.to_text(), media_type=metrics.CONTENT_TYPE)

    @app.get(
        "/examples/{name}/{modality}",
        response_class=Response,
        responses={**locked, **_problems(404)},
    )
    def draw(name: Example, modality: Modality) -> Response:
        """A drawn face to try the model with: nobody's."""
        is_grid = service.model.facts.heat_of(modality) is not None
        data = draw_example(name, modality, in_degrees=is_grid)
        kind = "application/octet-stream" if is_grid else "image/png"
        return Response(data, media_type=kind, headers=_A_DAY)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Says for OpenAPI how else an answer may end."""
    return {status: {"model": Problem} for status in statuses}


def _tell_limits(limits: Limits) -> dict[str, float]:
    return {"max_mb": limits.max_mb, "max_megapixels": limits.max_megapixels}


def _add_pages(app: FastAPI) -> None:
    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def show_page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> FileResponse:
        return FileResponse(_PAGE / "docs.html")

    app.mount(OPEN_FOLDER, StaticFiles(directory=_PAGE), name="page")


def _add_errors(app: FastAPI) -> None:
    """Makes every error one sentence of JSON, and none a traceback."""

    @app.exception_handler(AnyHTTPException)
    async def refuse(_: Request, error: AnyHTTPException) -> Response:
        # What we raise ourselves has its sentence; what Starlette raises has a word or two.
        detail = error.detail
        if not isinstance(error, HTTPException):
            detail = _SENTENCES.get(error.status_code, f"{detail.rstrip('.')}.")
        return answer_error(HTTPException(error.status_code, detail, dict(error.headers or {})))

    @app.exception_handler(RequestValidationError)
    async def refuse_value(_: Request, error: RequestValidationError) -> Response:
        if any(each["loc"][0] == "path" for each in error.errors()):
            return answer_error(HTTPException(_MISSING, _SENTENCES[_MISSING]))
        where = ", ".join(str(each["loc"][-1]) for each in error.errors())
        sentence = f"A part of this address can't be understood ({where}). See /docs."
        return answer_error(HTTPException(_UNUSABLE, sentence))

    @app.exception_handler(DataError)
    async def refuse_picture(_: Request, error: DataError) -> Response:
        is_large = isinstance(error, TooManyPixelsError)
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_large else _UNUSABLE
        return answer_error(HTTPException(status, str(error)))

    @app.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> Response:
        # The traceback goes to the log, by whoever runs the application.
        return answer_error(HTTPException(HTTPStatus.INTERNAL_SERVER_ERROR, _OUR_FAULT))
