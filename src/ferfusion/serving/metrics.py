"""What a server counts, in the text format of Prometheus; nothing about pictures or answers."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from ferfusion.serving.limits import Places

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counts of one server."""

    def __init__(self, places: Places) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ferfusion_requests", "Requests, by what was asked and how it ended.",
            ("path", "status"), registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "ferfusion_request_seconds", "From the head of a request to the end of its answer.",
            ("path",), buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._sizes = Histogram(
            "ferfusion_batch_size", "Samples that the model was asked about together.",
            buckets=(1, 2, 4, 8, 16), registry=self._registry,
        )  # fmt: skip
        taken = Gauge(
            "ferfusion_places_taken", "Requests with pictures that are in the house.",
            registry=self._registry,
        )  # fmt: skip
        taken.set_function(lambda: places.taken)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Counts a request.

        Args:
            path: One of few: what isn't served has one name for all.
            status: Of the answer.
            seconds: It took.
        """
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_batch(self, size: int) -> None:
        """Counts a question to the model about so many samples."""
        self._sizes.observe(size)

    def to_text(self) -> bytes:
        """Gives everything, as Prometheus reads it."""
        return generate_latest(self._registry)
