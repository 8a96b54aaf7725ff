"""The controller: takes the journal into the store, counts for `/metrics`, and says when the ledger is complete.

It may die and come back at any time: what it has taken in stands in the store, what it has not stands on the journal.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import orjson

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.routing.proving.policy import RoutePolicy
from penstock.finops.chores import Chores
from penstock.finops.intake import Intaker
from penstock.finops.live import Tail
from penstock.finops.metrics import Gauges, MetricsAggregator
from penstock.ports.directives import Directive
from penstock.ports.journal import Chunk, JournalError, JournalReader
from penstock.ports.traces import Traces
from penstock.ports.usage_store import StoreError, UsageStore
from penstock.wire.message import Request
from penstock.wire.responder import Responder
from penstock.wire.server import serve

IDLE_S = 0.5
"""between passes: a delivery of many records costs the store far less than many small ones"""
FULL_PASS = 5000
CHORES_S = 1.0
DIRECTIVES_S = 2.0
LONGEST_PAUSE_S = 10.0
WORKER_SILENT_S = 5.0
_JSON = [(b"content-type", b"application/json")]
_PROMETHEUS = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
Pages = Callable[[Request, Responder], Awaitable[None]]
Refused = tuple[int, str, str]
"""a status (401, 403), what is wrong and what would help"""

_BY_REPLICA = {"upstream_outstanding": "penstock_upstream_outstanding", "circuit_open": "penstock_circuit_open"}
_BY_SLA = {"queue": "penstock_queue_waiting", "shed": "penstock_shed_total"}


class _Journal:
    """The journal as the intake reads it: what cannot be read is told of once and waits, while the rest is taken in."""

    def __init__(self, reader: JournalReader, log: Callable[[str], None]) -> None:
        self._reader, self._log = reader, log
        self._told: dict[str, str] = {}

    @property
    def whole(self) -> bool:
        """The last read reached every segment."""
        return "read" not in self._told

    def read(self, offsets: dict[str, int], limit: int = 5000) -> Iterator[Chunk]:
        try:
            yield from self._reader.read(offsets, limit)
        except JournalError as problem:
            self.tell("read", problem)
        else:
            self._told.pop("read", None)

    def discard(self, segment: str) -> None:
        self._reader.discard(segment)
        self._told.pop("discard", None)

    def tell(self, act: str, problem: JournalError) -> None:
        if self._told.get(act) != str(problem):
            self._log(f"error: {problem}\nhint: {problem.hint}")
        self._told[act] = str(problem)


class Controller:
    """The running controller of one host."""

    def __init__(
        self,
        reader: JournalReader,
        store: UsageStore,
        metrics: MetricsAggregator,
        log: Callable[[str], None],
        *,
        traces: Traces | None = None,
        also: Callable[[], Gauges] = dict,
        tail: Tail | None = None,
        chores: Chores | None = None,
        directives: Callable[[int], Sequence[Directive]] | None = None,
        policies: Callable[[], Sequence[RoutePolicy]] | None = None,
        refuse_metrics: Callable[[Request], Refused | None] = lambda request: None,
        observers: Sequence[Callable[[Sequence[UsageRecord]], None]] = (),
    ) -> None:
        """`traces`, `tail` and `observers` get every record once; `chores` are done beside the intake; `also` is read at every scrape,
        beside what the workers say; `directives` tells those that stand at an instant, for the workers, and `policies` which ways are
        open on routes: both may raise `StoreError`; `refuse_metrics` says who may not read `/metrics`."""
        self._new: list[UsageRecord] = []
        self._journal = _Journal(reader, log)
        self._intaker = Intaker(self._journal, store, self._new.extend)
        self._metrics = metrics
        self._traces, self._also, self._tail = traces, also, tail
        self._chores = chores if chores is not None else Chores((), log)
        self._directives, self._policies = directives, policies
        self._refuse_metrics, self._observers = refuse_metrics, observers
        self.delivered = False
        """it has ended, and all that stood on the journal is in the store"""
        self.passes = 0
        """how often all that stood on the journal has been taken in"""
        self.may_be_ready: Callable[[], bool] = lambda: True
        """what else must be true before this host takes requests"""
        self._standing: dict[str, Any] = {}
        """what workers are told beside readiness, as JSON, as last read: `directives`, `routing`; what was not read yet is absent"""
        self.pages: Pages | None = None
        """answers every address that is not the controller's own; set before `run`, for pages look at the gauges"""
        self._log = log
        self._store_up = False
        self._ready = False
        self._workers: dict[str, tuple[float, Mapping[str, Any]]] = {}

    async def run(self, unix_path: str, stop: asyncio.Event) -> None:
        """Serves its pages on a local socket and takes in until `stop`; then takes in what is left."""
        server = await serve(self._answer, unix_path=unix_path)
        chores = asyncio.gather(self._do_chores_until(stop), self._read_standing_until(stop))
        try:
            await self._take_in_until(stop)
        finally:
            await server.drain(1.0)
            await chores

    async def _take_in_until(self, stop: asyncio.Event) -> None:
        pause = IDLE_S
        while True:
            stopping = stop.is_set()
            try:
                taken = await asyncio.to_thread(self._step)
                self._metrics.observe(self._new)
                if self._traces is not None:
                    self._traces.take(self._new)
                if self._tail is not None:
                    self._tail.publish(self._new)
                for observe in self._observers:
                    observe(self._new)
                self._new.clear()
            except StoreError as error:
                if self._store_up or pause == IDLE_S:
                    self._log(f"error: the store takes nothing in, the journal keeps it: {error}\nhint: {error.hint}")
                self._store_up = False
                if stopping:
                    return
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                if not self._store_up and pause > IDLE_S:
                    self._log("the store takes in again")
                self._store_up, pause = True, IDLE_S
                whole = self._intaker.caught_up and self._journal.whole
                self.passes += whole
                self._ready = self._ready or (whole and self.may_be_ready())
                if taken >= FULL_PASS:
                    continue
                if stopping and not taken:
                    self.delivered = whole
                    return
            await _sleep_or_stop(stop, pause)

    async def _do_chores_until(self, stop: asyncio.Event) -> None:
        """Beside the intake, for a day that is sealed takes longer than a client may wait to see its record."""
        while not stop.is_set():
            busy = self._intaker.caught_up and await asyncio.to_thread(self._chores.turn, time.time_ns())
            if not busy:
                await _sleep_or_stop(stop, CHORES_S)

    async def _read_standing_until(self, stop: asyncio.Event) -> None:
        """Another host may have begun or ended a directive, or proven a route. While the store is away, workers keep what they know: a
        directive ends by itself, and a policy that is not renewed is not gone by."""
        while (self._directives is not None or self._policies is not None) and not stop.is_set():
            with suppress(StoreError):  # the intake and the chores say that the store is away
                await asyncio.to_thread(self._read_standing)
            await _sleep_or_stop(stop, DIRECTIVES_S)

    def _read_standing(self) -> None:
        told: dict[str, Any] = {}
        if self._directives is not None:
            told["directives"] = orjson.Fragment(msgspec.json.encode(self._directives(time.time_ns())))
        if self._policies is not None:
            told["routing"] = orjson.Fragment(msgspec.json.encode(self._policies()))
        self._standing = told

    def _step(self) -> int:
        try:
            return self._intaker.step()
        except JournalError as problem:  # only a discard is left to raise it: by then all is taken in, and the segment keeps its offset
            self._journal.tell("discard", problem)
            return 0

    async def _answer(self, request: Request, responder: Responder) -> None:
        path = request.path
        if path == "/-/worker" and request.method == "POST":
            gauges = orjson.loads(request.body)
            self._workers = self._speaking() | {gauges["worker"]: (time.monotonic(), gauges)}
            responder.send(200, _JSON, orjson.dumps({"ready": self._ready, **self._standing}))
        elif path == "/metrics":
            refused = self._refuse_metrics(request)
            if refused is None:
                responder.send(200, _PROMETHEUS, self._metrics.render(self.gauges()))
            else:
                _refuse(responder, *refused)
        elif path == "/readyz":
            state = "ready" if self._ready else "taking in the journal"
            responder.send(200 if self._ready else 503, _JSON, orjson.dumps({"status": state}))
        elif self.pages is not None:
            await self.pages(request, responder)
        else:
            message = f"there is no page {path[:200]}"
            responder.send(
                404, _JSON, orjson.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}})
            )

    def gauges(self) -> dict[str, list[tuple[tuple[str, ...], float]]]:
        """What the workers last said of themselves; pages ask from threads of their own."""
        gauges: dict[str, list[tuple[tuple[str, ...], float]]] = {
            "penstock_store_up": [((), float(self._store_up))],
            "penstock_journal_lag_entries": [((), float(self._intaker.lag))],
            **{name: list(samples) for name, samples in self._also().items()},
        }
        for name, (_, worker) in self._speaking().items():
            cache, semantic = worker["cache"], worker["semantic"]
            for metric, labels, value in (
                ("penstock_requests_in_flight", (), worker["requests_in_flight"]),
                ("penstock_journal_failures_total", (name,), worker["journal_failures"]),
                ("penstock_unmetered_requests_total", (name,), worker["unmetered_requests"]),
                ("penstock_worker_rss_bytes", (name,), worker["rss_bytes"]),
                ("penstock_reservation_exceeded_total", (), worker["reservations_exceeded"]),
                ("penstock_cache_entries", (), cache.get("entries")),  # none of a cache that hosts share
                ("penstock_cache_bytes", (), cache.get("bytes")),
                ("penstock_semantic_cache_waiting", (), semantic.get("waiting")),
                ("penstock_semantic_cache_dropped_total", (name,), semantic.get("dropped")),
            ):
                if value is not None:
                    gauges.setdefault(metric, []).append((labels, float(value)))
            for key, metric in _BY_REPLICA.items():
                gauges.setdefault(metric, []).extend(((upstream, replica), float(value)) for upstream, replica, value in worker[key])
            for key, metric in _BY_SLA.items():
                gauges.setdefault(metric, []).extend(((sla,), float(value)) for sla, value in worker[key].items())
            for route, outcome, count in worker.get("shadows", ()):
                gauges.setdefault("penstock_route_shadow_total", []).append(((route, outcome), float(count)))
        gauges["penstock_refused_budget_total"] = [((budget,), float(count)) for budget, count in self.refused().items()]
        if books := [bool(worker["book_up"]) for _, worker in self._speaking().values()]:
            gauges["penstock_book_up"] = [((), float(all(books)))]
        if stores := [bool(worker["semantic"]["store_up"]) for _, worker in self._speaking().values() if worker["semantic"]]:
            gauges["penstock_semantic_cache_store_up"] = [((), float(all(stores)))]
        return gauges

    def refused(self) -> dict[str, int]:
        """Requests that the workers of this host have refused, by budget."""
        refused: dict[str, int] = {}
        for _, worker in self._speaking().values():
            for budget, count in worker["refused_budget"].items():
                refused[budget] = refused.get(budget, 0) + count
        return refused

    def _speaking(self) -> dict[str, tuple[float, Mapping[str, Any]]]:
        """The workers that have not fallen silent. The dictionary itself is never changed, only replaced."""
        since = time.monotonic() - WORKER_SILENT_S
        return {name: heard for name, heard in self._workers.items() if heard[0] > since}


def _refuse(responder: Responder, status: int, message: str, hint: str) -> None:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None, "hint": hint}
    challenge = [(b"www-authenticate", b'Bearer realm="Penstock metrics"')] if status == 401 else []
    responder.send(status, [*_JSON, *challenge], orjson.dumps({"error": error}))


async def _sleep_or_stop(stop: asyncio.Event, seconds: float) -> None:
    if stop.is_set():
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
