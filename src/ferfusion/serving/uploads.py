"""The pictures of a request: read in memory, within bounds, never to the disk."""

from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus

from fastapi import HTTPException
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ferfusion.modality import MODALITIES, Modality

TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/tiff",
    "image/bmp",
    "application/octet-stream",
)
"""What a part may say that it is. What it really is, its bytes say."""

_FORM = "multipart/form-data"
_MOST_PARTS = len(MODALITIES)


class _InMemory(MultiPartParser):
    spool_max_size = 0  # to Python's SpooledTemporaryFile: never to the disk


async def read_uploads(request: Request, max_bytes: int) -> Mapping[Modality, bytes]:
    """Gives the files of a form by modality.

    Args:
        request: With a body that nobody read.
        max_bytes: Of the body; reading stops there.

    Raises:
        HTTPException: It is too long (413), no form (400, 415), or has other fields than
            modalities, a field twice, or one that is no file (422).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Send pictures as {_FORM}, each in a field named after its modality.",
        )
    refuse_too_long(request.headers.get("content-length"), max_bytes)
    parser = _InMemory(
        request.headers,
        _stop_at(request.stream(), max_bytes),
        max_files=_MOST_PARTS,
        max_fields=_MOST_PARTS,
        max_part_size=1024,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST,
            f"The form can't be read ({error.message.rstrip('.')}). Send one file for each "
            "modality.",
        ) from error
    except ClientDisconnect as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The request was broken off.") from error
    try:
        return {
            _check_name(name, form.getlist(name)): await _read(name, value)
            for name, value in form.multi_items()
        }
    finally:
        await form.close()


def refuse_too_long(said: str | None, max_bytes: int) -> None:
    """Refuses a request by the length that it announces.

    Raises:
        HTTPException: It is too long (413).
    """
    if said is not None and said.isdecimal() and int(said[:20]) > max_bytes:
        raise _too_long(max_bytes)


async def _stop_at(
    stream: AsyncGenerator[bytes, None], max_bytes: int
) -> AsyncGenerator[bytes, None]:
    count = 0
    async for chunk in stream:
        count += len(chunk)
        if count > max_bytes:
            raise _too_long(max_bytes)
        yield chunk


def _too_long(max_bytes: int) -> HTTPException:
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The pictures of a request may have {max_bytes / 1e6:g} MB together. Send smaller ones.",
    )


def _check_name(name: str, values: list[UploadFile | str]) -> Modality:
    if name not in tuple(MODALITIES):
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"There is a field that is no modality. Fields are {', '.join(MODALITIES)}.",
        )
    if len(values) > 1:
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"The field {name} is there more than once."
        )
    return Modality(name)


async def _read(name: str, value: UploadFile | str) -> bytes:
    if isinstance(value, str):
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"The field {name} holds text. Send a picture as a file, with a file name.",
        )
    said = (value.content_type or TYPES[-1]).partition(";")[0].strip().lower()
    if said not in TYPES:
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"The {name} file says that it is of a type that isn't taken. Types are "
            f"{', '.join(TYPES)}.",
        )
    return await value.read()
