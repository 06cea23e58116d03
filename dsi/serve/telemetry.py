"""What a server tells of itself: a line of log a request, and metrics in the text format of Prometheus."""

import sys
from collections.abc import Callable, Set
from datetime import UTC, datetime
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dsi.runtime.printable import printable
from dsi.serve.guard import Application, Message, Receive, Scope, Send

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
OTHER = "other"
"""The path of requests for what there is not, in metrics."""


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("dsi_requests", "Requests answered", ("path", "status"), registry=self.registry)
        self.seconds = Histogram(
            "dsi_request_seconds", "Time to answer", ("path",), buckets=SECONDS, registry=self.registry
        )
        self.batches = Histogram(
            "dsi_batch_size", "Searches answered together", buckets=BATCHES, registry=self.registry
        )
        self.search_seconds = Histogram(
            "dsi_batch_seconds", "Time to search for a batch", buckets=SECONDS, registry=self.registry
        )

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Have a gauge that is asked for its value."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All metrics."""
        return generate_latest(self.registry)


class Telemetry:
    """A layer around the application that notes every request.

    Args:
        paths: those that there are, by which requests that are refused are counted, too.
        log_queries: whether the log has the texts of queries.
    """

    def __init__(self, application: Application, metrics: Metrics, paths: Set[str], log_queries: bool) -> None:
        self._application, self._metrics, self._log_queries, self._paths = application, metrics, log_queries, paths
        self.is_stopping = False
        """Whether every client is to be told that its connection ends with the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began, status = perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.is_stopping:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        try:
            await self._application(scope, receive, sent)
        finally:
            self._note(scope, status, perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", None) or (scope["path"] if scope["path"] in self._paths else OTHER)
        self._metrics.requests.labels(path, status).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        now, client = datetime.now(UTC).isoformat(timespec="milliseconds"), (scope.get("client") or ("-",))[0]
        asked = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
        line = f"{now} {client} {scope['method']} {asked} {status} {1000 * seconds:.1f} ms"
        if self._log_queries and (query := scope.get("state", {}).get("query")) is not None:
            line += f" {query!r}"
        print(printable(line), file=sys.stderr, flush=True)
