"""Every dollar once: for any traffic, any window and any rule, the statement's rows and pots are what all bills come to."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores import open_costs, open_store
from penstock.config.fleets import holdings
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS, Entry
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord, WastedWork
from penstock.domain.ledger.recorded import accrued_cost
from penstock.domain.ledger.sharing import Rule
from penstock.domain.prices.hardware import rents
from penstock.finops.allocator import Allocator
from penstock.finops.bills.charges import charges
from penstock.finops.bills.document import Charge
from penstock.finops.bills.embeddings import METER as EMBEDDINGS
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.finops.other_costs import other_cost
from penstock.finops.statement import Statement, statement, whole
from penstock.ports.usage_store import Intake
from tests.ledger_entries import record

T0 = 491_000 * HOUR_NS
SPAN_H = 6
CONFIG = """
version = 1
[upstreams.own]
base_urls = ["http://127.0.0.1:9/v1"]
[upstreams.api]
base_urls = ["http://127.0.0.1:9/v1"]
[upstreams.slices]
base_urls = ["http://127.0.0.1:9/v1"]
[fleets.l40s]
upstream = "own"
gpu = "L40S"
count = 2
price = "0.79 USD/gpu-hour"
planned_tokens_per_second = 100
[fleets.more]
upstream = "own"
gpu = "H100"
price = "3 USD/gpu-hour"
planned_tokens_per_second = 500
commitment = { kind = "reserved", term = "1y", hourly = "1.7", count = 3 }
[fleets.mig]
upstream = "slices"
gpu = "A100-80GB"
mig = "2g.20gb"
count = 2
price = "1.79 USD/gpu-hour"
[fleets.training]
gpu = "H100"
count = 8
price = "2.5 USD/gpu-hour"
[costs.weights]
price = "12 USD/month"
share = { upstream = "own" }
[costs.network]
price = "0.03 USD/hour"
by = "requests"
[models.m]
upstream = "own"
[models.embed]
upstream = "api"
[cache.semantic]
embedder = "embed"
"""
ENTRY = Entry(
    id="run-1", kind="training_run", name="tune", since_ns=T0 + HOUR_NS // 2, until_ns=T0 + 3 * HOUR_NS, recorded_ns=T0,
    tags={"team": "search"}, fleet="training", gpus="6", lost_gpu_hours="2.5", storage_cost=1_234_567, engineering_cost=10**9,
)  # fmt: skip
PLACES = (("own", "l40s"), ("slices", "mig"), ("api", None))
NANO = st.integers(0, 10**10)
TRY = st.tuples(st.sampled_from(["l40s", "mig"]), st.integers(0, 50_000), st.none() | NANO) | st.tuples(st.none(), st.just(0), NANO)
"""a try that brought no answer: fleet (None: at a provider), tokens, and what it is booked at (None: at no price)"""
Tries = list[tuple[str | None, int, int | None]]
Drawn = tuple[int, int, tuple[str, str | None], str, str | None, int, int, int | None, int, Tries]
RECORDS = st.lists(
    st.tuples(
        st.integers(0, SPAN_H * HOUR_NS - 1),
        st.integers(0, 2 * 3600 * 10**6),
        st.sampled_from(PLACES),
        st.sampled_from(["ok", "ok", "error", "client_closed", "refused"]),
        st.sampled_from(["search", "support", None]),
        st.integers(0, 200_000),
        st.integers(0, 20_000),
        st.none() | NANO,
        st.just(0) | st.integers(1, 10**6),
        st.just([]) | st.lists(TRY, max_size=3),
    ),
    min_size=1,
    max_size=25,
)
MOMENT = st.integers(-HOUR_NS, SPAN_H * HOUR_NS)


def records_of(rows: list[Drawn]) -> list[UsageRecord]:
    return [_refused(f"r{number}", row) if row[3] == "refused" else _booked(f"r{number}", row) for number, row in enumerate(rows)]


def _refused(id: str, row: Drawn) -> UsageRecord:
    at, _, (upstream, _), _, team, *_ = row
    return record(id, admitted_ns=T0 + at, upstream=upstream, outcome="refused", tags={} if team is None else {"team": team}, model="m")


def _booked(id: str, row: Drawn) -> UsageRecord:
    """As the gateway books a request."""
    at, took, (upstream, fleet), outcome, team, put_in, out, cost, embedding, tries = row
    tokens, wasted = Tokens(put_in, 0, 0, out, 0), sum(each or 0 for _, _, each in tries)
    own = (cost or 0 if fleet is not None else 0) + sum(each or 0 for place, _, each in tries if place is not None)
    work = tuple(WastedWork(place, Tokens(count, 0, 0, count, 0)) for place, count, _ in tries if place is not None)
    if outcome != "ok" and fleet is not None and work:
        work = (*work, WastedWork(fleet, tokens))
    return record(
        id, admitted_ns=T0 + at, duration_us=took, upstream=upstream, outcome=outcome, fleet=fleet, model="m", tokens=tokens,
        tags={} if team is None else {"team": team}, cost=None if cost is None else cost + wasted + embedding, wasted_cost=wasted,
        provisional=own, wasted_work=work, embedding_cost=embedding, counterfactual=cost,
    )  # fmt: skip


def billed(rows: list[Drawn]) -> dict[str, int]:
    """What providers bill for each request. Of an answer at a provider's price that nobody knows, nothing is known."""
    found = {}
    for number, (_, _, (_, fleet), outcome, _, _, _, cost, embedding, tries) in enumerate(rows):
        if outcome != "refused" and (fleet is not None or cost is not None):
            found[f"r{number}"] = (
                embedding + (cost or 0 if fleet is None else 0) + sum(each or 0 for place, _, each in tries if place is None)
            )
    return found


class Site:
    """A ledger in a folder of its own, some of its hours closed, the newest records still on the journal."""

    def __init__(self, folder: Path, found: list[UsageRecord], *, closed: bool, tail: bool = True) -> None:
        config = folder / "penstock.toml"
        config.write_text(CONFIG)
        self.settings = load(config, {})
        url = f"sqlite:///{folder}/ledger.db"
        self.store = open_store(url)
        self.store.prepare()
        taken = len(found) * 3 // 4 if tail else len(found)
        stored, self.tail = found[:taken], found[taken:]
        self.store.take_in(Intake(records=stored, opened=(), settled=(), offsets={}))
        open_costs(url).put_entry(ENTRY)
        if closed:
            allocator = Allocator(self.settings, self.store, open_costs(url))
            while allocator.step(T0 + 4 * HOUR_NS):
                pass

    def charges(self, since: int, until: int, by: tuple[str, ...]) -> list[Charge]:
        """The lines of a bill."""
        with self.store.snapshot() as snapshot:
            books = Books(self.settings, Ledger(snapshot, self.tail), T0 + SPAN_H * HOUR_NS, lambda fleet: None)
            query = CostQuery(since_ns=since, until_ns=until, by=by)
            return charges(books, query, statement(books, query, "proportional"))

    def statement(self, since: int, until: int, by: tuple[str, ...], rule: Rule, where: tuple[tuple[str, str], ...] = ()) -> Statement:
        with self.store.snapshot() as snapshot:
            books = Books(self.settings, Ledger(snapshot, self.tail), T0 + SPAN_H * HOUR_NS, lambda fleet: None)
            return statement(books, CostQuery(since_ns=since, until_ns=until, by=by, where=where), rule)


def bills(site: Site, found: list[UsageRecord], provided: Mapping[str, int], since: int, until: int) -> int:
    """What providers, landlords and everybody else send for the window, from the config and what happened alone."""
    begin = max(since, min(each.admitted_ns for each in found))
    end = max(begin, min(until, T0 + SPAN_H * HOUR_NS))
    api = sum(provided.get(each.id, 0) for each in found if since <= each.admitted_ns < until)
    held = [(holding, holding.steps) for holding in holdings(site.settings).values()]
    rent = sum(each.total for each in rents(held, begin, end).values() if each is not None)
    other = sum(other_cost(cost, begin, end, "UTC") for cost in site.settings.costs.values())
    return api + rent + other + accrued_cost(ENTRY, since, until)


@given(
    rows=RECORDS, window=st.tuples(MOMENT, MOMENT), rule=st.sampled_from(["separate", "proportional", "even"]), closed=st.booleans(),
    by=st.sampled_from([(), ("team",), ("team", "model"), ("upstream", "user"), ("day", "fleet")]),
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rows_and_pots_are_all_bills(
    rows: list[Drawn],
    window: tuple[int, int],
    rule: Rule,
    closed: bool,
    by: tuple[str, ...],
) -> None:
    found = records_of(rows)
    since, until = (T0 + each for each in sorted(window))
    with TemporaryDirectory() as folder:
        site = Site(Path(folder), found, closed=closed)
        borne = site.statement(since, until, by, rule)
        assert borne.total == bills(site, found, billed(rows), since, until)
        assert sum(borne.lines().values()) == borne.total
        assert len({row.keys for row in borne.rows}) == len(borne.rows)
        assert all(pot.rest >= 0 and pot.shared >= 0 for pot in borne.pots)
        if rule == "separate":
            assert all(pot.kind == "other" or not pot.shared for pot in borne.pots)
        middle = (since + until) // 2
        parts = [site.statement(*part, by, rule).total for part in ((since, middle), (middle, until))]
        assert sum(parts) == borne.total


@given(rows=RECORDS, window=st.tuples(MOMENT, MOMENT), by=st.sampled_from([(), ("team",), ("team", "model")]))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_embeddings_are_charged_once_and_to_whom_they_are_billed_by(
    rows: list[Drawn], window: tuple[int, int], by: tuple[str, ...]
) -> None:
    found = records_of(rows)
    since, until = (T0 + each for each in sorted(window))
    with TemporaryDirectory() as folder:
        site = Site(Path(folder), found, closed=True)
        made = site.charges(since, until, by)
        assert sum(each.usd for each in made) == bills(site, found, billed(rows), since, until)
    embeddings = [each for each in made if each.meter == EMBEDDINGS]
    assert {(each.line, each.upstream, each.model) for each in embeddings} <= {("api", "api", "embed")}
    priced = [each for each in found if since <= each.admitted_ns < until and each.cost is not None]
    assert sum(each.usd for each in embeddings) == sum(each.embedding_cost or 0 for each in priced)
    assert sum(int(each.quantity or 0) for each in embeddings) == sum(bool(each.embedding_cost) for each in priced)
    assert len({each.keys for each in embeddings}) == len(embeddings), "one line for each group"


def site_of(folder: Path) -> Site:
    own = [
        record(
            f"own-{number}", admitted_ns=T0 + number * 60 * 10**9, duration_us=30 * 10**6, upstream="own", fleet="l40s", model="m",
            tags={"team": team}, tokens=Tokens(1_000, 0, 0, 500, 0), cost=5_000_000,
        )
        for number, team in zip(range(40), itertools.cycle(["search", "support", "support"]), strict=False)
    ]  # fmt: skip
    bought = record(
        "api", admitted_ns=T0 + 5, upstream="api", model="big", tags={"team": "search"}, tokens=Tokens(10, 0, 0, 5, 0), cost=7_000
    )
    return Site(folder, [*own, bought], closed=True, tail=False)


def test_a_group_bears_the_same_whoever_looks(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    everybody = {row.keys: row for row in site.statement(T0, T0 + 2 * HOUR_NS, ("team",), "proportional").rows}
    for team in ("search", "support"):
        alone = site.statement(T0, T0 + 2 * HOUR_NS, (), "proportional", (("team", team),))
        assert [row.cost for row in alone.rows] == [everybody[team,].cost]
        assert not alone.pots


def test_idle_goes_where_the_rule_says(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    apart, used, evenly = (site.statement(T0, T0 + HOUR_NS, ("team",), rule) for rule in ("separate", "proportional", "even"))
    assert apart.total == used.total == evenly.total
    bears = [{row.keys[0]: row for row in each.rows} for each in (apart, used, evenly)]
    assert all(row.usage == bears[0][team].usage for each in bears[1:] for team, row in each.items())
    idle = [index for index, pot in enumerate(evenly.pots) if pot.kind == "idle" and pot.name == "l40s"]
    search, support = (dict(bears[2][team].shares)[idle[0]] for team in ("search", "support"))
    assert abs(search - support) <= 1
    search, support = (dict(bears[1][team].shares)[idle[0]] for team in ("search", "support"))
    assert abs(search * 26 - support * 14) <= 10_000, "14 and 26 requests of the same work, whose weights are whole nano-USD"


def test_hardware_nobody_used_stays_on_its_line_whatever_the_rule(tmp_path: Path) -> None:
    pots = {(pot.kind, pot.name): pot for pot in site_of(tmp_path).statement(T0, T0 + HOUR_NS, ("team",), "proportional").pots}
    assert pots["idle", "mig"].rest == pots["idle", "mig"].amount > 0
    assert pots["unallocated", "mig"].rest > 0
    assert pots["unused_commitment", "more"].amount == 2 * 1_700_000_000


def test_what_is_unknown_is_said_and_is_not_zero(tmp_path: Path) -> None:
    site = Site(tmp_path, [record("x", admitted_ns=T0, upstream="api", model="big", tokens=Tokens(1, 0, 0, 1, 0), cost=None)], closed=False)
    borne = site.statement(T0, T0 + HOUR_NS, (), "separate")
    assert any("no price" in clause for clause in borne.unknown)
    assert msgspec.structs.asdict(whole(borne).sums)["priced"] == 0
