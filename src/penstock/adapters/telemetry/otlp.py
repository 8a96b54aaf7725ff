"""Spans to an OTLP/HTTP receiver, by a thread of their own: the intake hands records over and goes on.

The queue is bounded. The exporter tries a batch again for what may pass (10 s in all, `OTEL_EXPORTER_OTLP_TIMEOUT`); what it
gives up is dropped and counted, and told of once until a batch goes through again. Compression, certificates and further
headers follow the standard `OTEL_EXPORTER_OTLP_*` variables, the service's name `OTEL_SERVICE_NAME`.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from penstock import __version__
from penstock.adapters.telemetry.spans import spans_of
from penstock.domain.ledger.record import UsageRecord

QUEUE = 20_000
"""records that may wait: some 30 s of a busy host"""
BATCH = 512
GATHER_S = 1.0
"""a batch that is not full waits this long for more"""
_PATH = "/v1/traces"


def exporter(address: str, headers: Mapping[str, str]) -> OTLPSpanExporter:
    """The exporter for a base address, or for the whole one of the traces."""
    base = address.rstrip("/")
    return OTLPSpanExporter(endpoint=base if base.endswith(_PATH) else base + _PATH, headers=dict(headers))


class OtlpTraces:
    """The queue and its thread, which begins with the first record."""

    def __init__(
        self,
        exporter: SpanExporter,
        providers: Mapping[str, str],
        log: Callable[[str], None],
        *,
        queue: int = QUEUE,
        gather_s: float = GATHER_S,
    ) -> None:
        self.sent = 0
        self.dropped = 0
        self._exporter = exporter
        self._providers = dict(providers)
        self._log = log
        self._most = queue
        self._gather_s = gather_s
        self._resource = Resource.create({"service.name": "penstock", "service.version": __version__})
        self._scope = InstrumentationScope("penstock", __version__)
        self._waiting: deque[UsageRecord] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._told = False
        self._thread: threading.Thread | None = None
        self._quiet = _Reasons()

    def take(self, records: Sequence[UsageRecord]) -> None:
        """See `Traces`."""
        with self._change:
            room = max(0, self._most - len(self._waiting))
            self._waiting.extend(records[:room])
            self._change.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
            self._thread.start()
        self._drop(len(records) - room, "the receiver is too slow: the queue is full")

    def close(self, within_s: float = 5.0) -> None:
        """See `Traces`."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(within_s)
        self._exporter.shutdown()
        with self._change:
            left = len(self._waiting)
            self._waiting.clear()
        self._drop(left, "Penstock ended before they were sent")
        self._quiet.end()

    def _run(self) -> None:
        while True:
            batch = self._next()
            if not batch:
                return
            self._send(batch)

    def _next(self) -> list[UsageRecord]:
        """Waits for a batch; empty at the end."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closing)
            until = time.monotonic() + self._gather_s
            self._change.wait_for(lambda: len(self._waiting) >= BATCH or self._closing, until - time.monotonic())
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _send(self, batch: Sequence[UsageRecord]) -> None:
        recorded = [spans for record in batch if (spans := spans_of(record, self._providers, self._resource, self._scope))]
        if not recorded:
            return
        self._quiet.last = ""
        try:
            result = self._exporter.export([span for spans in recorded for span in spans])
        except Exception as error:  # a thread that dies here would drop everything, unheard
            self._drop(len(recorded), f"{type(error).__name__}: {error}")
            return
        if result is not SpanExportResult.SUCCESS:
            self._drop(len(recorded), self._quiet.last or "the receiver did not take them")
            return
        with self._change:
            self.sent += len(recorded)
            again, self._told = self._told, False
        if again:
            self._log("traces are sent again")

    def _drop(self, count: int, reason: str) -> None:
        if count <= 0:
            return
        with self._change:
            self.dropped += count
            told, self._told = self._told, True
        if not told:
            hint = "check [telemetry] traces and its receiver; the ledger lacks nothing, penstock_traces_dropped_total counts on"
            self._log(f"warning: traces of {count} requests were dropped: {reason}\nhint: {hint}")


class _Reasons(logging.Handler):
    """Hears what the exporter logs, so that its reason is told by us, once, and not by it at every batch."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""
        self._logger = logging.getLogger("opentelemetry.exporter")
        self._before = self._logger.propagate
        self._logger.propagate = False
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()

    def end(self) -> None:
        """Leaves logging as it was."""
        self._logger.removeHandler(self)
        self._logger.propagate = self._before
