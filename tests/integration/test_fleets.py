"""Rent against use, from the hours of a real store: exact rents, splits that lose nothing, and reasons wherever a figure is unknown."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores import open_costs, open_store
from penstock.config.load import parse
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.allocation import utilization
from penstock.domain.ledger.entries import EngineHour, FleetHour
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.schedule import midnight_ns
from penstock.finops.allocator import Allocator
from penstock.finops.books import Books
from penstock.finops.fleets import FleetUse, fleet_use, fleets_json, steps_by
from penstock.finops.ledger import Ledger
from penstock.finops.standing_out import unused
from penstock.finops.window import Window
from penstock.ports.usage_store import Intake
from tests.ledger_entries import record

HOUR = 3600 * 10**9
DAY = 24 * HOUR
USD = 10**9
DECEMBER = midnight_ns(date(2026, 12, 1))
BASE = """
version = 1
[upstreams.a]
base_urls = ["http://127.0.0.1:8000/v1"]
[upstreams.b]
base_urls = ["http://127.0.0.1:8001/v1"]
"""
FLEET = '[fleets.f]\nupstream = "a"\ngpu = "L40S"\ncount = 2\nprice = "0.79 USD/gpu-hour"\nplanned_tokens_per_second = 100\n'
SHARE = round(Fraction(1000, 100) / 3600 * 2 * 790_000_000)
"""what a request of 1,000 tokens bears of `f`"""
MOMENT = st.integers(0, 6 * HOUR)
PARTS = ("used", "waste", "idle", "unused")


def served(id: str, at: int, fleet: str | None = "f", out: int = 1000, seconds: int = 60, **more: Any) -> UsageRecord:
    given: dict[str, Any] = {"admitted_ns": at, "duration_us": seconds * 10**6, "fleet": fleet, "upstream": "a", "cost": USD, "model": "m"}
    return record(id, **given | {"tokens": Tokens(0, 0, 0, out, 0)} | more)


class Site:
    """A ledger in a folder of its own; `closed`: its hours are allocated and stored, as the controller does."""

    def __init__(
        self, folder: Path, config: str, records: list[UsageRecord], *, now: int, closed: bool = True, told: list[EngineHour] | None = None
    ) -> None:
        self.settings, self.now = parse(BASE + config, {}), now
        url = f"sqlite:///{folder}/ledger.db"
        self.store, costs = open_store(url), open_costs(url)
        self.store.prepare()
        self.store.take_in(Intake(records, (), (), {}))
        costs.put_engine_hours(told or [])
        if closed:
            allocator = Allocator(self.settings, self.store, costs)
            while allocator.step(now):
                pass

    def uses(self, since: int, until: int) -> dict[str, FleetUse]:
        with self.store.snapshot() as snapshot:
            books = Books(self.settings, Ledger(snapshot), self.now, lambda fleet: None)
            return {use.name: use for use in fleet_use(books, Window(since, until, "UTC", ""))}


@pytest.fixture(params=[True, False], ids=["closed", "on the fly"])
def uses(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The use of fleets over a window, its hours stored or not."""

    def asked(config: str, records: list[UsageRecord], since: int = 0, until: int = 10 * DAY, now: int = 10 * DAY, **more: Any) -> Any:
        return Site(tmp_path, config, records, now=now, closed=request.param, **more).uses(since, until)

    return asked


def test_rent_is_count_by_price_by_hours_from_the_first_record_on(uses: Any) -> None:
    use = uses(FLEET, [served("1", 2 * DAY), served("2", 9 * DAY)])["f"]
    assert (use.since_ns, use.until_ns) == (2 * DAY, 10 * DAY)
    assert use.gpu_hours == 2 * 8 * 24
    assert use.rent == round(Fraction("0.79") * 2 * 8 * 24 * USD)
    assert (use.used, use.requests, use.basis) == (2 * SHARE, 2, "planned")
    assert sum(getattr(use, part) for part in PARTS) == use.rent
    assert (use.at_rest, use.waste, use.unused) == (use.rent - use.used, 0, 0)
    assert use.utilization == utilization(use.hours) == Fraction(2 * 10, 8 * 24 * 3600)
    assert use.productive_gpu_hours == Fraction(2 * 20, 3600)
    assert "planned_tokens_per_second" in use.note


def test_the_window_ends_now_and_begins_where_it_was_asked(uses: Any) -> None:
    use = uses(FLEET, [served("1", DAY)], since=3 * DAY, until=30 * DAY, now=4 * DAY)["f"]
    assert (use.since_ns, use.until_ns, use.requests, use.used) == (3 * DAY, 4 * DAY, 0, 0)
    assert use.rent == round(Fraction("0.79") * 2 * 24 * USD)


def test_dated_prices_count_each_for_its_days(uses: Any) -> None:
    price = 'price = [{ from = "2026-12-01", price = "1 USD/gpu-hour" }, { from = "2026-12-03", price = "3 USD/gpu-hour" }]'
    config = f'[fleets.f]\nupstream = "a"\ngpu = "L4"\n{price}\n'
    use = uses(config, [served("1", DECEMBER - 2 * DAY)], until=DECEMBER + 3 * DAY, now=DECEMBER + 5 * DAY)["f"]
    assert use.since_ns == DECEMBER, "no rent before the price begins"
    assert use.rent == (2 * 24 * 1 + 1 * 24 * 3) * USD
    assert use.used == 0


def test_a_fleet_that_nobody_uses_is_idle_altogether(uses: Any) -> None:
    found = uses(FLEET, [served("1", 9 * DAY, fleet=None)])
    use = found["f"]
    assert (use.used, use.idle, use.at_rest) == (0, use.rent, use.rent)
    assert (use.utilization, use.utilization_p95) == (0, 0)
    assert use.effective_usd_per_gpu_hour is None
    assert "all of it is idle" in use.note
    assert [each.name for each in unused(tuple(found.values()))] == ["f"]


def test_a_commitment_that_does_not_run_is_at_rest(uses: Any) -> None:
    """Three are committed to, one runs and works all the time: two thirds are paid for nothing, and that is not idle."""
    commitment = 'commitment = { kind = "reserved", term = "1y", hourly = "1.5", count = 3 }'
    config = f'[fleets.f]\nupstream = "a"\ngpu = "L4"\nprice = "2 USD/gpu-hour"\n{commitment}\nplanned_tokens_per_second = 1\n'
    use = uses(config, [served("1", 0, out=7200, seconds=7200)], until=2 * HOUR, now=DAY)["f"]
    assert (use.rent, use.used, use.idle, use.unused) == (9 * USD, 3 * USD, 0, 6 * USD)
    assert (use.at_rest, use.utilization) == (6 * USD, 1)
    assert not unused((use,)) and use.effective_usd_per_gpu_hour == Decimal("4.5000"), "unused commitment is in it"


def test_replays_from_the_cache_are_not_its_work(uses: Any) -> None:
    use = uses(FLEET, [served("1", 9 * DAY, cache="exact", cost=0), served("2", 9 * DAY)])["f"]
    assert (use.requests, use.hours[0].requests) == (1, 1)
    assert use.used == SHARE


def test_an_hour_at_work_costs_more_than_an_hour(uses: Any) -> None:
    config = '[fleets.f]\nupstream = "a"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\nplanned_tokens_per_second = 1\n'
    use = uses(config, [served("1", 0, out=3600, seconds=600)], until=4 * HOUR)["f"]
    assert (use.utilization, use.utilization_p95) == (Fraction(1, 4), 1)
    assert use.effective_usd_per_gpu_hour == Decimal("4.0000")


def test_work_that_brought_no_answer_is_waste_and_not_productive(uses: Any) -> None:
    config = '[fleets.f]\nupstream = "a"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\nplanned_tokens_per_second = 1\n'
    broken = served("2", 60 * 10**9, out=900, seconds=60, outcome="stream_broken")
    use = uses(config, [served("1", 0, out=900, seconds=60), broken], until=HOUR)["f"]
    assert (use.used, use.waste, use.idle) == (USD // 4, USD // 4, USD // 2)
    assert (use.productive_gpu_hours, use.utilization) == (Fraction(1, 4), Fraction(1, 2))
    assert use.effective_usd_per_gpu_hour == Decimal("4.0000")


def test_more_work_than_planned_is_said_and_is_never_more_than_the_rent(uses: Any) -> None:
    use = uses(FLEET, [served("1", 9 * DAY, out=10**7, seconds=1800)], since=9 * DAY, until=9 * DAY + HOUR)["f"]
    assert (use.idle, use.used) == (0, use.rent)
    assert "more than was planned" in use.note


def test_without_a_plan_the_time_under_way_counts_and_is_called_an_upper_bound(uses: Any) -> None:
    config = '[fleets.f]\nupstream = "a"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\n'
    use = uses(config, [served("1", 0, seconds=900)], until=HOUR)["f"]
    assert (use.utilization, use.basis) == (Fraction(1, 4), "occupied")
    assert "upper bound" in use.note


def test_what_engines_and_gpus_told(uses: Any) -> None:
    told = [EngineHour(fleet="f", hour=hour, active=active, energy_j=3600 * 100) for hour, active in ((0, 0.5), (1, 0.25))]
    use = uses(FLEET, [served("1", 0), served("2", HOUR)], until=3 * HOUR, told=told)["f"]
    assert (use.active, use.active_p95, use.basis) == (0.375, 0.5, "engine")
    assert (use.energy_wh, use.utilization) == (200, Fraction(3, 4) / 3)
    row = fleets_json([use])[0]
    assert (row["engine_active"], row["engine_active_p95"], row["energy_wh"], row["utilization"]) == (0.375, 0.5, 200.0, 0.25)


def test_reasons_for_what_is_unknown(tmp_path: Path) -> None:
    def asked(name: str, config: str, records: list[UsageRecord]) -> FleetUse:
        folder = tmp_path / name
        folder.mkdir()
        return Site(folder, config, records, now=10 * DAY).uses(0, 10 * DAY)["f"]

    one = [served("1", 9 * DAY)]
    bare = asked("bare", '[fleets.f]\nupstream = "a"\ngpu = "L4"\n', one)
    assert "no price per hour" in bare.note
    assert (bare.rent, bare.used, bare.idle, bare.at_rest, bare.utilization, bare.productive_gpu_hours) == (None,) * 6
    assert "empty" in asked("empty", FLEET, []).note
    late = '[fleets.f]\ngpu = "L4"\nprice = [{ from = "2026-12-01", price = "1 USD/gpu-hour" }]\n'
    assert "begins after this window" in asked("late", late, one).note
    scaling = asked("scaling", FLEET + 'runs = "prometheus"\n[telemetry]\nprometheus = "http://127.0.0.1:9"\n', one)
    assert scaling.rent is None and "Prometheus" in scaling.note and "unknown in 24 hours" in scaling.note
    unpriced = asked("unpriced", FLEET, [served("1", 9 * DAY, cost=None)])
    assert unpriced.used, "own hardware needs no price of the request: its hour tells"


def test_each_upstream_has_its_own(uses: Any) -> None:
    more = '[fleets.g]\nupstream = "b"\ngpu = "L4"\nprice = "1 USD/hour"\n[fleets.train]\ngpu = "H100"\nprice = "2 USD/hour"\n'
    found = uses(FLEET + more, [served("1", 9 * DAY), served("2", 9 * DAY, fleet="g", upstream="b", seconds=36)])
    assert [found[name].used for name in ("f", "g", "train")] == [SHARE, USD // 100, 0]
    assert list(found) == ["f", "g", "train"]
    assert [each.name for each in unused(tuple(found.values()))] == ["train", "f", "g"], "dearest first"


def test_the_json_says_unknown_as_null(tmp_path: Path) -> None:
    site = Site(tmp_path, '[fleets.f]\nupstream = "a"\ngpu = "A100"\nmig = "2g.20gb"\n', [served("1", 9 * DAY)], now=10 * DAY)
    row = fleets_json(list(site.uses(0, 10 * DAY).values()))[0]
    assert (row["rent_usd"], row["idle_usd"], row["at_rest_usd"], row["utilization"]) == (None,) * 4
    assert (row["gpu"], row["used_usd"], row["used_basis"]) == ("A100 2g.20gb", None, "unknown")


@given(
    rows=st.lists(st.tuples(MOMENT, st.integers(1, 7200), st.sampled_from(["ok", "ok", "error"]), st.integers(0, 10**6)), max_size=12),
    one=st.integers(1, 5), other=st.integers(1, 5), cuts=st.tuples(MOMENT, MOMENT), closed=st.booleans(),
)  # fmt: skip
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_split_of_any_window_loses_nothing(
    rows: list[tuple[int, int, str, int]], one: int, other: int, cuts: tuple[int, int], closed: bool
) -> None:
    fleet = '[fleets.{}]\nupstream = "a"\ngpu = "L4"\ncount = {}\nprice = "0.7 USD/gpu-hour"\nplanned_tokens_per_second = 50\n'
    records = [
        served(str(number), at, out=out, seconds=took, outcome=outcome, fleet="fg"[number % 2])
        for number, (at, took, outcome, out) in enumerate(rows)
    ]
    since, until = sorted(cuts)
    with TemporaryDirectory() as folder:
        begin = served("begin", 0, fleet=None)
        site = Site(Path(folder), fleet.format("f", one) + fleet.format("g", other), [begin, *records], now=6 * HOUR, closed=closed)
        found, whole = site.uses(since, until), site.uses(0, 6 * HOUR)
    for name, count in (("f", one), ("g", other)):
        rent = Fraction(7, 10) * count * USD / HOUR
        if since < until:
            use = found[name]
            assert use.rent == int(rent * until) - int(rent * since), "additive for any cut"
            assert sum(getattr(use, part) for part in PARTS) == use.rent
            steps = steps_by(use, "hour")
            assert sum(step.rent or 0 for step in steps) == use.rent and sum(step.at_rest or 0 for step in steps) == use.at_rest
        assert whole[name].rent == int(rent * 6 * HOUR)
        assert [step.at for step in steps_by(whole[name], "day")] == ["1970-01-01"]


def test_steps_are_of_the_hours_they_name() -> None:
    hours = tuple(
        FleetHour(
            fleet="f", hour=hour, since_ns=hour * HOUR, until_ns=(hour + 1) * HOUR, rent=rent, idle=rent or 0, gpu_ns=HOUR, work_gpu_ns=0
        )
        for hour, rent in ((23, 5), (24, None), (25, 7))
    )
    use = FleetUse(name="f", gpu="L4", count=1, upstream=None, requests=0, since_ns=0, until_ns=DAY, hours=hours, note="")
    assert [(step.at, step.rent) for step in steps_by(use, "day")] == [("1970-01-01", 5), ("1970-01-02", None)]
    assert [(step.at, step.rent, step.utilization) for step in steps_by(use, "hour")] == [
        ("1970-01-01T23", 5, 0), ("1970-01-02T00", None, None), ("1970-01-02T01", 7, 0),
    ]  # fmt: skip
