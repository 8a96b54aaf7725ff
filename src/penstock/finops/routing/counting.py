"""How many requests each stratum of each route has had lately: what a share of a stratum that is opened would come to.

Counts fade with `MEAN_NS`. Every controller counts what its own journal brings and keeps it as a document of its own, so that a restart
forgets little; the one that leads adds those of all hosts up. What a crash loses is some of the last minute: an estimate stays one.
"""

import math
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Final

import msgspec

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judged
from penstock.domain.prices.schedule import HOUR_NS
from penstock.ports.documents import Document, Documents

KIND: Final = "routing-counts"
MEAN_NS: Final = 7 * 24 * HOUR_NS
"""a request counts e^-1 of itself after this time"""
KEEP_NS: Final = 60 * 10**9
"""between two times that counts are written down"""
GONE: Final = 0.01
"""requests below which a count is forgotten"""
MOST_TAGS: Final = 1000
"""of a route; those beyond it are left out until others have faded"""
FAR_NS: Final = 8 * MEAN_NS
"""a document that nobody has renewed for so long says nothing any more"""

Key = tuple[str, str, str]
"""tag, stage (`gate:a+b`, `cascade:a`, `direct:a`), stratum"""


class Counted(msgspec.Struct, frozen=True):
    """The body of a document: the counts of one route on one host, as of `at_ns`."""

    route: str
    host: str
    at_ns: int
    counts: tuple[tuple[str, str, str, float], ...]


def stage_key(judged: Judged) -> str:
    """A stage by its kind and tiers."""
    return f"{judged.kind}:{'+'.join(judged.tiers)}"


def faded(count: float, ns: int) -> float:
    """What is left of a count after a time; a clock that has jumped back fades nothing."""
    return count * math.exp(-max(0, ns) / MEAN_NS)


class Counting:
    """Hears of every record of this host (`observe`), and keeps what it counted (`step`, a chore). Safe in threads."""

    def __init__(self, documents: Documents, host: str, routes: Sequence[str]) -> None:
        """`routes`: those of the config that keep evidence."""
        self._documents, self._host, self._routes = documents, host, tuple(routes)
        self._counts: dict[str, dict[Key, tuple[float, int]]] = {}
        """route -> key -> (count, as of)"""
        self._lock = Lock()
        self._restored = False
        self._kept_ns = 0
        self._changed: set[str] = set()

    def observe(self, records: Sequence[UsageRecord]) -> None:
        """Counts every judged stage that a request went through."""
        with self._lock:
            for record in records:
                decision = record.route_decision
                if record.purpose is None and decision is not None and decision.tag is not None and record.requested_model in self._routes:
                    for judged in decision.stages:
                        self._add(record.requested_model, (decision.tag, stage_key(judged), judged.stratum), 1.0, record.admitted_ns)

    def step(self, now_ns: int) -> int:
        """Writes down what has changed, every `KEEP_NS`. Raises `StoreError`."""
        self._restore()
        if 0 <= now_ns - self._kept_ns < KEEP_NS:
            return 0
        with self._lock:
            changed, self._changed = self._changed, set()
            bodies = [self._counted(route, now_ns) for route in sorted(changed)]
        try:
            for body in bodies:
                self._documents.put(Document(KIND, f"{body.route}/{body.host}", now_ns, msgspec.json.encode(body).decode()))
        except BaseException:
            with self._lock:
                self._changed |= changed
            raise
        self._kept_ns = now_ns
        return 0

    def of(self, route: str, now_ns: int) -> dict[Key, float]:
        """Requests of a route lately, over all hosts: our own as they stand, those of others as they were written down.
        Raises `StoreError`."""
        self._restore()
        with self._lock:
            total = {key: faded(count, now_ns - at_ns) for key, (count, at_ns) in self._counts.get(route, {}).items()}
        for other in _read(self._documents, now_ns):
            if other.route == route and other.host != self._host:
                for tag, stage, stratum, count in other.counts:
                    key = (tag, stage, stratum)
                    total[key] = total.get(key, 0.0) + faded(count, now_ns - other.at_ns)
        return {key: count for key, count in total.items() if count >= GONE}

    def _restore(self) -> None:
        """What this host had counted before its start is added once."""
        if self._restored:
            return
        found = [self._documents.get(KIND, f"{route}/{self._host}") for route in self._routes]
        with self._lock:
            for document in found:
                if document is not None:
                    body = msgspec.json.decode(document.body, type=Counted)
                    for tag, stage, stratum, count in body.counts:
                        self._add(body.route, (tag, stage, stratum), count, body.at_ns)
            self._restored = True

    def _add(self, route: str, key: Key, count: float, at_ns: int) -> None:
        counts = self._counts.setdefault(route, {})
        before, since = counts.get(key, (0.0, at_ns))
        now = max(since, at_ns)
        counts[key] = (faded(before, now - since) + faded(count, now - at_ns), now)
        self._changed.add(route)

    def _counted(self, route: str, now_ns: int) -> Counted:
        """The counts of a route, with what has faded, and tags beyond the most, left out from now on."""
        counts = {key: (left, at) for key, (count, at) in self._counts[route].items() if (left := faded(count, now_ns - at)) >= GONE}
        kept = _largest({key: count for key, (count, _) in counts.items()})
        self._counts[route] = {key: (count, max(now_ns, at)) for key, (count, at) in counts.items() if key[0] in kept}
        return Counted(route, self._host, now_ns, tuple((*key, count) for key, (count, _) in self._counts[route].items()))


def _largest(counts: Mapping[Key, float]) -> set[str]:
    """The tags with most requests, as many as are kept."""
    tags: dict[str, float] = {}
    for (tag, _, _), count in counts.items():
        tags[tag] = tags.get(tag, 0.0) + count
    return set(sorted(tags, key=lambda tag: -tags[tag])[:MOST_TAGS])


def _read(documents: Documents, now_ns: int) -> list[Counted]:
    return [msgspec.json.decode(document.body, type=Counted) for document in documents.since(KIND, max(0, now_ns - FAR_NS))]
