"""One question to a server and its answer: which addresses may be asked, and what a failure means.

Failures come as one of two: a `BrokenOffError` may go better next time, a `DownloadError` won't.
"""

import email.utils
import ipaddress
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from socket import gaierror
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from ferfusion.errors import DownloadError

_TRY_LATER = (408, 425, 429)


class BrokenOffError(Exception):
    """Something that may go better next time; `pause_s` is how long the server asks to wait.

    `is_stale` says that what was received before is of no use any more.
    """

    def __init__(self, why: str, *, pause_s: float = 0.0, is_stale: bool = False) -> None:
        super().__init__(why)
        self.pause_s = pause_s
        self.is_stale = is_stale


def check_address(url: str) -> None:
    """Lets https pass, and http to this machine.

    Raises:
        DownloadError: It is something else.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        is_web = parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(url))
        is_allowed = bool(host) and is_web and parts.port != 0
    except ValueError:
        is_allowed = False
    if not is_allowed or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise DownloadError(f"Nothing is downloaded from {url!r}: give an address with https://.")


@dataclass(frozen=True)
class Answer:
    """A server's answer with a file in it, or with the rest of one.

    Attributes:
        is_rest: Whether it begins where the asker's own bytes end; else it is all of the file.
        length: In bytes, as announced; None where the server doesn't say.
        version: What the server calls this version of the file: a strong ETag, else the date of
            its last change; None where it says neither.
    """

    is_rest: bool
    length: int | None
    version: str | None
    _response: HTTPResponse
    _timeout_s: float

    def read(self, limit: int) -> bytes:
        """Gives what has come, at most `limit` bytes; nothing at the end.

        Raises:
            BrokenOffError: The connection is gone, or the server has fallen silent.
            DownloadError: It is no use to try again.
        """
        try:
            # `read` would wait for all of them, and lose what is there if the rest never comes.
            return self._response.read1(limit)
        except (OSError, HTTPException) as error:
            raise _explain_break(self._response.url, error, self._timeout_s) from error


@contextmanager
def ask(url: str, *, have: int, version: str | None, timeout_s: float) -> Iterator[Answer]:
    """Gives the answer with the file, or with the rest of it.

    Args:
        url: One that `check_address` lets pass.
        have: Bytes of the file that needn't come again.
        version: Which version of the file they are of; None: ask for all.
        timeout_s: How long the server may be silent.

    Raises:
        BrokenOffError: It may go better next time.
        DownloadError: It won't.
    """
    headers = {"User-Agent": "ferfusion", "Accept-Encoding": "identity"}
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    with _open(url, headers, timeout_s) as response:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise DownloadError(f"{url} sends its file packed in a way nobody asked for.")
        found = _read_version(response.headers)
        is_rest = response.status == HTTPStatus.PARTIAL_CONTENT
        if is_rest:
            _check_range(response, have if version else 0)
            if found not in (None, version):
                raise BrokenOffError("the file on the server has changed", is_stale=True)
        elif response.status != HTTPStatus.OK:
            raise DownloadError(f"{url} answers {response.status}, and sends no file.")
        yield Answer(is_rest, response.length, found, response, timeout_s)


def _open(url: str, headers: dict[str, str], timeout_s: float) -> HTTPResponse:
    # A proxy has no business between a machine and itself.
    proxies = [ProxyHandler({})] if _is_this_machine(url) else []
    try:
        return build_opener(_SameScheme(), *proxies).open(
            Request(url, headers=headers), timeout=timeout_s
        )
    except HTTPError as error:
        with error:
            raise _explain_status(url, error) from error
    except (OSError, HTTPException) as error:
        raise _explain_break(url, error, timeout_s) from error


def _read_version(headers: HTTPMessage) -> str | None:
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


class _SameScheme(HTTPRedirectHandler):
    """Follows to other places, but never from https to http, or to a file of this machine."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Refuses what the first address wouldn't have been allowed to be either."""
        try:
            check_address(newurl)
            is_same = urlsplit(newurl).scheme == urlsplit(req.full_url).scheme
        except DownloadError:
            is_same = False
        if not is_same:
            fp.close()
            raise DownloadError(
                f"{req.full_url} sends on to {newurl}, which isn't followed. Look in a browser "
                "where the file is now."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        """Refuses what is no address at all."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError as error:
            fp.close()
            raise DownloadError(
                f"{req.full_url} sends on to what is no address ({error}). Look in a browser where "
                "the file is now."
            ) from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_range(response: HTTPResponse, have: int) -> None:
    said = re.fullmatch(
        r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", response.headers.get("Content-Range", "")
    )
    if said is None or not have or int(said[1]) != have or int(said[2]) < have:
        raise BrokenOffError(
            "the server sends another part of the file than it was asked for", is_stale=True
        )


def _explain_status(url: str, error: HTTPError) -> BrokenOffError | DownloadError:
    answers = f"the server answers {error.code} ({error.reason})"
    if error.code in _TRY_LATER or error.code >= 500:
        return BrokenOffError(answers, pause_s=_read_pause(error.headers.get("Retry-After")))
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return BrokenOffError("the file on the server is shorter than before", is_stale=True)
    if 300 <= error.code < 400:
        answers = "it sends from one address to the next without end, or to no web page"
    return DownloadError(
        f"Nothing can be downloaded from {url}: {answers}. Look at it in a browser: the file may "
        "have moved."
    )


def _read_pause(said: str | None) -> float:
    """Reads Retry-After: seconds, or a date."""
    if said is None:
        return 0.0
    if re.fullmatch(r"\d{1,9}", said.strip(), re.ASCII):
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _explain_break(
    url: str, error: OSError | HTTPException, timeout_s: float
) -> BrokenOffError | DownloadError:
    reason = error.reason if isinstance(error, URLError) else error
    host = urlsplit(url).hostname
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(
            f"{host} can't prove that it is {host} ({reason.verify_message}), so nothing is "
            "downloaded from it. Check this machine's clock and its certificates."
        )
    if isinstance(reason, gaierror):
        return BrokenOffError(f"{host} can't be found; perhaps this machine has no internet")
    if isinstance(reason, TimeoutError):
        return BrokenOffError(f"the server was silent for {timeout_s:g} s")
    if isinstance(reason, IncompleteRead):
        return BrokenOffError("the connection broke off")
    if isinstance(reason, OSError):
        return BrokenOffError(f"there is no connection to {host} ({reason.strerror or reason})")
    return BrokenOffError(f"the server doesn't answer as servers do ({type(reason).__name__})")
