"""What a server takes on, and what it refuses: every limit, and the two that need a memory."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ferfusion.errors import ConfigError

_MOST_ADDRESSES = 4096


@dataclass(frozen=True)
class Limits:
    """Every limit of a server.

    Attributes:
        max_mb: Of a request, in megabytes of 1,000,000 bytes.
        max_megapixels: Of a picture.
        places: Requests with pictures that are in the house at once; others are told to come back.
        explanations: Likewise, of those that ask for an explanation, which takes seconds.
        requests_per_s: From one address, on average.
        burst: From one address, at once.
        seconds: For one request, from its first byte to the answer.
        head_s: For the head of a request, and between two requests of a connection.
        connections: At once, of all kinds.
    """

    max_mb: float = 20.0
    max_megapixels: float = 25.0
    places: int = 32
    explanations: int = 2
    requests_per_s: float = 20.0
    burst: int = 60
    seconds: float = 30.0
    head_s: float = 10.0
    connections: int = 400

    def check(self) -> None:
        """Refuses what makes no sense.

        Raises:
            ConfigError: A limit isn't above 0.
        """
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"A server's limits are above 0, but {name} is {value:g}.")

    @property
    def max_bytes(self) -> int:
        """Of a request."""
        return round(self.max_mb * 1e6)


class Places:
    """A number of places that can be taken; nobody waits for one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0

    @contextmanager
    def take(self) -> Iterator[bool]:
        """Takes a place for a while, and says whether there was one."""
        is_free = self.taken < self.count
        self.taken += is_free
        try:
            yield is_free
        finally:
            self.taken -= is_free


class RateLimit:
    """How often each address may ask: so many at once, and then so many a second.

    It remembers the addresses that asked last, and no more of them than fit.
    """

    def __init__(self, per_s: float, burst: int) -> None:
        self.per_s = per_s
        self.burst = burst
        self._states: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, now: float | None = None) -> float:
        """Counts a request. Gives 0 where it may pass, else in how many seconds one may."""
        now = time.monotonic() if now is None else now
        network = _find_network(address)
        left, before = self._states.pop(network, (float(self.burst), now))
        left = min(self.burst, left + (now - before) * self.per_s)
        passes = left >= 1
        self._states[network] = (left - passes, now)
        if len(self._states) > _MOST_ADDRESSES:
            self._states.popitem(last=False)
        return 0.0 if passes else (1 - left) / self.per_s


def _find_network(address: str) -> str:
    """Gives the address, or its network of 2^64 addresses, which in IPv6 one person may have.

    >>> _find_network("192.0.2.7"), _find_network("2001:db8::1:2")
    ('192.0.2.7', '2001:db8::/64')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False))
