"""How the requests are being served: how long answers take, what is in flight, where it goes, what the cache answers."""

import msgspec

from penstock.domain.ledger.latency import Latency
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.finops.ledger import Ledger
from penstock.finops.metrics import Gauges
from penstock.ports.metrics import CIRCUIT_OPEN, IN_FLIGHT, OUTSTANDING

NO_QUEUE = "no engine is asked for its queue yet; calls outstanding at each upstream are the nearest figure"
NO_WORKER = "no worker has reported within the last seconds"


class UpstreamState(msgspec.Struct, frozen=True):
    """One upstream, all workers together."""

    name: str
    replicas: int
    outstanding: int
    """calls that it has not answered yet"""
    open_circuits: int
    """replicas that are left alone for a while because they failed, counted once however many workers leave them alone"""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, approximate (they are read off histograms); None is unknown."""

    answers: int
    """that the times are read off"""
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    duration_p95_s: float | None
    in_flight: int | None
    in_flight_note: str
    queue_depth: int | None
    queue_note: str
    upstreams: tuple[UpstreamState, ...]
    routes: tuple[tuple[str | None, int], ...]
    """route (tiers tried in order) and its answered requests, most first; None: no route, or a replay from the cache"""
    cache_hits: int
    cache_share: float | None


def serving(ledger: Ledger, query: CostQuery, gauges: Gauges) -> Serving:
    """The figures of a window and its filters; the query's own keys are not looked at. Gauges are of now."""
    by_route = ledger.sums(msgspec.structs.replace(query, by=("route",)))
    total, latency = Sums(), Latency()
    for _, sums in by_route:
        total.add(sums)
    for _, part in ledger.latencies(msgspec.structs.replace(query, by=())):
        latency.add(part)
    in_flight = [value for _, value in gauges.get(IN_FLIGHT.name, ())]
    routes = sorted(((keys[0], sums.requests) for keys, sums in by_route if sums.requests), key=lambda pair: (-pair[1], pair[0] or ""))
    return Serving(
        answers=latency.duration.total,
        first_token_p50_s=latency.first_token.quantile(0.5),
        first_token_p95_s=latency.first_token.quantile(0.95),
        duration_p95_s=latency.duration.quantile(0.95),
        in_flight=int(sum(in_flight)) if in_flight else None,
        in_flight_note="" if in_flight else NO_WORKER,
        queue_depth=None,
        queue_note=NO_QUEUE,
        upstreams=upstream_states(gauges),
        routes=tuple(routes),
        cache_hits=total.cache_hits,
        cache_share=total.cache_hits / total.requests if total.requests else None,
    )


def upstream_states(gauges: Gauges) -> tuple[UpstreamState, ...]:
    """What the workers last said of each upstream, by name."""
    outstanding: dict[str, int] = {}
    replicas: dict[str, set[str]] = {}
    cut: dict[str, set[str]] = {}
    for (upstream, replica), value in gauges.get(OUTSTANDING.name, ()):
        outstanding[upstream] = outstanding.get(upstream, 0) + int(value)
        replicas.setdefault(upstream, set()).add(replica)
    for (upstream, replica), value in gauges.get(CIRCUIT_OPEN.name, ()):
        if value:
            cut.setdefault(upstream, set()).add(replica)
    return tuple(UpstreamState(name, len(replicas[name]), outstanding[name], len(cut.get(name, ()))) for name in sorted(replicas))
