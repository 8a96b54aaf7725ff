"""A ledger with own fleets, its config, and the allocator of its controller; shared by the tests of allocation."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.adapters.stores import open_costs, open_store
from penstock.config.load import load
from penstock.config.settings import Settings
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS, Allocation, EngineHour, Entry, FleetHour
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.allocating import pieces
from penstock.finops.allocator import Allocator
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.ports.cost_store import CostStore
from penstock.ports.usage_store import Intake, UsageStore
from tests.ledger_entries import record

HOUR = 491_000
T0 = HOUR * HOUR_NS
MINUTE = 60 * 10**9
RENT = 2 * 790_000_000
"""nano-USD an hour of `l40s`"""
CONFIG = """
version = 1
[server]
store = "{url}"
[upstreams.local]
base_urls = ["http://127.0.0.1:9/v1"]
[upstreams.other]
base_urls = ["http://127.0.0.1:9/v1"]
[fleets.l40s]
upstream = "local"
gpu = "L40S"
count = 2
price = "0.79 USD/gpu-hour"
{extra}
[models.m]
upstream = "local"
"""
OTHER = """
[fleets.h100]
upstream = "other"
gpu = "H100"
price = [{ from = "2026-01-05", price = "2.5 USD/gpu-hour" }]
"""
SCALES = '[fleets.scales]\nupstream = "other"\ngpu = "H100"\nprice = "3 USD/gpu-hour"\nruns = "prometheus"\n'
METERS = '[telemetry]\nprometheus = "http://127.0.0.1:9"\n'
ALL = CostQuery(since_ns=-(2**63), until_ns=2**63 - 1)
Pair = tuple[FleetHour, list[Allocation]]


class Site:
    """A ledger, its config, and the allocator of its controller."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.store: UsageStore = open_store(url)
        self.store.prepare()
        self.costs: CostStore = open_costs(url)
        self.settings = self.configured()

    def configured(self, extra: str = "") -> Settings:
        config = self.folder / "penstock.toml"
        config.write_text(CONFIG.format(url=self.url, extra=extra))
        self.settings = load(config, {})
        return self.settings

    def allocator(self, costs: CostStore | None = None, **runs: Sequence[tuple[int, int]]) -> Allocator:
        return Allocator(self.settings, self.store, costs or self.costs, runs.get)

    def take(self, *records: UsageRecord) -> None:
        self.store.take_in(Intake(records, (), (), {}))

    def pieces(self, since: int, until: int, *, pending: Sequence[UsageRecord] = (), now: int | None = None) -> list[Pair]:
        """Everything on the fly."""
        with self.store.snapshot() as snapshot:
            books = Books(self.settings, Ledger(snapshot, pending), until if now is None else now, lambda fleet: None)
            return list(pieces(books, since, until, ()))

    def stored(self) -> list[Pair]:
        """Everything that is closed."""
        with self.store.snapshot() as snapshot:
            hours = snapshot.costs.fleet_hours(0, 10**7)
            ids = {each.id for each in snapshot.records(ALL)} | {each.id for each in snapshot.costs.entries(0, 10**19)}
            shares: dict[tuple[str, int], list[Allocation]] = defaultdict(list)
            for id in sorted(ids):
                for share in snapshot.costs.allocations(id):
                    shares[share.fleet, share.hour].append(share)
        return [(hour, shares[hour.fleet, hour.hour]) for hour in hours]


def call(id: str, minute: float, minutes: float = 1, **fields: Any) -> UsageRecord:
    given: dict[str, Any] = {"fleet": "l40s", "upstream": "local", "model": "m", "tokens": Tokens(100, 0, 0, 50, 0), "tags": {"team": "a"}}
    return record(id, admitted_ns=T0 + int(minute * MINUTE), duration_us=int(minutes * 60_000_000), **given | fields)


TRAFFIC = (
    call("first", 0, 3),
    call("b", 10, 20),
    call("spans", 50, 130),
    call("failed", 70, 5, outcome="stream_broken"),
    call("c", 200, 0.01),
    call("refused", 201, outcome="refused"),
    call("replayed", 202, cache="exact"),
    call("last", 290, 2),
)


def run_to_the_end(allocator: Allocator, now: int) -> int:
    done = 0
    while closed := allocator.step(now):
        done += closed
    return done


def assert_every_dollar_once(pairs: Sequence[Pair]) -> None:
    for hour, shares in pairs:
        assert hour.rent is not None
        assert hour.used + hour.waste + hour.idle + hour.unallocated + hour.unused == hour.rent
        assert sum(share.amount for share in shares) == hour.used
        assert sum(share.wasted for share in shares) == hour.waste
        assert {(share.fleet, share.hour) for share in shares} <= {(hour.fleet, hour.hour)}


def ordered(pairs: Sequence[Pair]) -> list[Pair]:
    return sorted(
        ((hour, sorted(shares, key=lambda share: share.request_id)) for hour, shares in pairs),
        key=lambda pair: (pair[0].hour, pair[0].fleet),
    )


def reading(hour: int, fleet: str = "scales", **fields: Any) -> EngineHour:
    return EngineHour(fleet=fleet, hour=hour, **fields)


def training(**fields: Any) -> Entry:
    given: dict[str, Any] = {"kind": "training_run", "name": "tuning", "fleet": "l40s", "gpus": "1", "recorded_ns": 0}
    return Entry(id="run_1", since_ns=T0 + HOUR_NS, until_ns=T0 + 3 * HOUR_NS, **given | fields)
