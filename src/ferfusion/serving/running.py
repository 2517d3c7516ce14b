"""Runs an application at an address, with clients that may be slow or hostile."""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ferfusion.errors import ConfigError
from ferfusion.serving.limits import Limits

_SHORTEST_TOKEN = 16
_GRACE_S = 5.0
"""Above the longest request, before what is in flight is broken off."""


def run_app(
    app: ASGIApp,
    listener: socket.socket,
    limits: Limits,
    *,
    proxies: tuple[str, ...] = (),
    tell_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGTERM or Ctrl-C; what is in flight then is finished first.

    Args:
        app: What answers.
        listener: Of `listen`.
        limits: Those of connections and time are kept here.
        proxies: Addresses that are believed about whom they ask for.
        tell_ready: Called when requests are answered.
    """
    # It would write down what is odd about the files that people send.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        http=_make_protocol(limits.head_s),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        limit_concurrency=limits.connections,
        timeout_keep_alive=round(limits.head_s) or 1,
        timeout_graceful_shutdown=round(limits.seconds + _GRACE_S),
    )
    server = uvicorn.Server(config)

    async def serve() -> None:
        telling = asyncio.create_task(_tell_when(server, tell_ready))
        await server.serve(sockets=[listener])
        telling.cancel()

    # uvicorn ends gracefully, and then raises the signal once more for whoever started it.
    with _ending_quietly(), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


def listen(host: str, port: int) -> socket.socket:
    """Takes an address, at which nobody is heard yet.

    Raises:
        ConfigError: It isn't free, or isn't this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # Nobody is let in before there is an answer: uvicorn listens, once all is loaded.
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = "another program is using it. Stop that, or give another --port (0: any free one)"
        elif error.errno == errno.EACCES:
            why = "ports below 1024 are for administrators. Give another --port"
        else:
            why = f"{(error.strerror or str(error)).rstrip('.')}. Check --host"
        raise ConfigError(f"Port {port} of {host} can't be served: {why}.") from error


def is_loopback(host: str) -> bool:
    """Says whether only this machine can reach an address.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def choose_token(given: str | None, host: str) -> tuple[str | None, bool]:
    """Gives the token to ask for, if any, and whether it was made up just now.

    Raises:
        ConfigError: The one that is given is too short, or can't stand in a header.
    """
    if given is None:
        return (None, False) if is_loopback(host) else (secrets.token_urlsafe(24), True)
    if len(given) < _SHORTEST_TOKEN or not (given.isascii() and given.isprintable()):
        raise ConfigError(
            f"A token has at least {_SHORTEST_TOKEN} letters, digits and signs of ASCII. Leave it "
            "out and one is made."
        )
    return given, False


def _make_protocol(head_s: float) -> type[H11Protocol]:
    class Impatient(H11Protocol):
        """Closes a connection on which no request begins for a while.

        uvicorn itself waits forever for the first one, and for the rest of a head that has begun.
        So it ends both connections that send nothing, or a byte now and then, and uploads that go
        on after they were refused.
        """

        waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().connection_made(transport)
            self.await_request()

        def handle_events(self) -> None:
            super().handle_events()
            if self.cycle and not self.cycle.response_complete:
                self.stop_waiting()

        def on_response_complete(self) -> None:
            self.await_request()
            super().on_response_complete()  # which may find the next request

        def connection_lost(self, exc: Exception | None) -> None:
            self.stop_waiting()
            super().connection_lost(exc)

        def await_request(self) -> None:
            self.stop_waiting()
            self.waiting = self.loop.call_later(head_s, self.transport.close)

        def stop_waiting(self) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

    return Impatient


async def _tell_when(server: uvicorn.Server, tell_ready: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    tell_ready()


@contextlib.contextmanager
def _ending_quietly() -> Iterator[None]:
    """Makes SIGTERM an ordinary end while it lasts: code 0, as whoever sent it wanted it."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
