"""What every request passes before anything looks at it: who may ask, from where, how often."""

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ferfusion.serving.limits import Limits, RateLimit
from ferfusion.serving.uploads import refuse_too_long

OPEN_PATHS = ("/", "/docs", "/health", "/openapi.json")
"""What may be asked for without a token, and all below `OPEN_FOLDER`."""
OPEN_FOLDER = "/page/"

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": (
        "camera=(self), microphone=(), geolocation=(), display-capture=(), payment=(), usb=()"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""What stands on every answer, errors too."""

_NEVER_KEPT = "no-store"


class Guard:
    """Stands before an application.

    Every answer gets `HEADERS`; what is refused gets one sentence as JSON. A request that takes
    too long is given up.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        token: str | None,
        hosts: Iterable[str],
        count: Callable[[str, int, float], None],
        paths: Iterable[str],
    ) -> None:
        """Makes one.

        Args:
            app: What it stands before.
            limits: What a request may take.
            token: What has to be known to ask; None where everybody may.
            hosts: Names by which the server may be called, besides localhost and addresses.
            count: Told of path, status and seconds of every request.
            paths: Those that are counted by name.
        """
        self._app = app
        self._limits = limits
        self._token = token
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._count = count
        self._paths = frozenset(paths)
        self._rate = RateLimit(limits.requests_per_s, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or has the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", _NEVER_KEPT)
            await send(message)

        try:
            self._check(scope)
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, receive, send_guarded)
        except HTTPException as refusal:
            await answer_error(refusal)(scope, receive, send_guarded)
        except TimeoutError:
            # An answer that has begun is broken off instead.
            if not status:
                slow = HTTPException(
                    HTTPStatus.GATEWAY_TIMEOUT,
                    f"This took longer than {self._limits.seconds:g} seconds and was given up.",
                )
                await answer_error(slow)(scope, receive, send_guarded)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._count(path, status or 500, time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        """Refuses what a look at the head of a request is enough for; the cheapest first."""
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_rate(scope)
        self._check_token(scope, headers)
        if scope["method"] == "POST":
            _check_origin(headers)
            refuse_too_long(headers.get("content-length"), self._limits.max_bytes)

    def _check_host(self, headers: Headers) -> None:
        """Refuses names that aren't ours: a page elsewhere could have its name point here."""
        name = _read_host(headers.get("host", ""))
        if name is None or not (name in self._hosts or _is_address(name)):
            raise HTTPException(
                HTTPStatus.BAD_REQUEST,
                "The server isn't known by this name. Call it by its address, or start it with "
                "--allow-host NAME.",
            )

    def _check_rate(self, scope: Scope) -> None:
        client = scope.get("client")
        wait_s = self._rate.wait_s(client[0] if client else "")
        if wait_s > 0:
            raise HTTPException(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"You ask more often than {self._limits.requests_per_s:g} times a second. Come "
                "back a little later.",
                {"retry-after": str(max(1, round(wait_s)))},
            )

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if self._token is None or path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Compared in a time that says nothing of how much of it is right.
        is_right = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                "This server asks for its token: send it as Authorization: Bearer TOKEN.",
                {"www-authenticate": "Bearer"},
            )


def answer_error(error: HTTPException) -> JSONResponse:
    """Gives the answer that says what is wrong, in one sentence."""
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _check_origin(headers: Headers) -> None:
    """Refuses what another page sends through somebody's browser."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or origin.partition("://")[2] == headers.get("host")
    if not is_ours:
        raise HTTPException(
            HTTPStatus.FORBIDDEN, "Pages of other sites may not send pictures to this server."
        )


def _read_host(said: str) -> str | None:
    try:
        return urlsplit(f"//{said}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
