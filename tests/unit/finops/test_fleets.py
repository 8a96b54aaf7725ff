"""Rent against use: exact rents over dated prices, splits that lose nothing, and reasons wherever a figure is unknown."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.config.load import parse
from penstock.domain.prices.schedule import midnight_ns
from penstock.finops.fleets import FleetUse, fleet_use, fleets_json
from penstock.finops.window import Window
from tests.ledger_entries import record
from tests.unit.finops.ledgers import Ledger

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


def window(since: int, until: int) -> Window:
    return Window(since, until, "UTC", "")


def served(id: str, at: int, fleet: str | None = "f", cost: int | None = USD, **more: Any) -> Any:
    return record(id, admitted_ns=at, fleet=fleet, cost=cost, cost_basis="unknown" if cost is None else "estimated", **more)


def uses(config: str, records: list[Any], since: int = 0, until: int = 10 * DAY, now: int = 10 * DAY) -> dict[str, FleetUse]:
    return {use.name: use for use in fleet_use(parse(BASE + config, {}), Ledger(records), window(since, until), now)}


FLEET = '[fleets.f]\nupstream = "a"\ngpu = "L40S"\ncount = 2\nprice = "0.79 USD/gpu-hour"\n'


def test_rent_is_count_by_price_by_hours_from_the_first_record_on() -> None:
    use = uses(FLEET, [served("1", 2 * DAY), served("2", 9 * DAY)])["f"]
    assert (use.since_ns, use.until_ns) == (2 * DAY, 10 * DAY)
    assert use.gpu_hours == 2 * 8 * 24
    assert use.rent == round(Fraction("0.79") * 2 * 8 * 24 * USD)
    assert (use.used, use.requests) == (2 * USD, 2)
    assert use.idle == use.rent - 2 * USD
    assert use.utilization == Fraction(2 * USD, use.rent)
    assert "estimated" in use.note


def test_the_window_ends_now_and_begins_where_it_was_asked() -> None:
    use = uses(FLEET, [served("1", DAY)], since=3 * DAY, until=30 * DAY, now=4 * DAY)["f"]
    assert (use.since_ns, use.until_ns, use.requests, use.used) == (3 * DAY, 4 * DAY, 0, 0)


def test_dated_prices_count_each_for_its_days() -> None:
    price = 'price = [{ from = "2026-12-01", price = "1 USD/gpu-hour" }, { from = "2026-12-03", price = "3 USD/gpu-hour" }]'
    config = f'[fleets.f]\nupstream = "a"\ngpu = "L4"\n{price}\n'
    use = uses(config, [served("1", DECEMBER - 9 * DAY)], until=DECEMBER + 3 * DAY, now=DECEMBER + 5 * DAY)["f"]
    assert use.since_ns == DECEMBER, "no rent before the price begins"
    assert use.rent == (2 * 24 * 1 + 1 * 24 * 3) * USD
    assert use.requests == 0, "nor use: both are of the same hours"


def test_a_fleet_that_nobody_uses_is_idle_altogether() -> None:
    use = uses(FLEET, [served("1", 0, fleet=None)])["f"]
    assert (use.used, use.idle) == (0, use.rent)
    assert use.utilization == 0
    assert use.effective_usd_per_gpu_hour is None
    assert "all of it is idle" in use.note


def test_replays_from_the_cache_are_not_its_work() -> None:
    assert uses(FLEET, [served("1", 0, cache="exact", cost=0), served("2", 0)])["f"].requests == 1


def test_an_hour_at_work_costs_more_than_an_hour() -> None:
    use = uses('[fleets.f]\nupstream = "a"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\n', [served("1", 0, cost=60 * USD)])["f"]
    assert use.utilization == Fraction(1, 4)
    assert use.effective_usd_per_gpu_hour == Decimal("4.0000")


def test_reasons_for_what_is_unknown() -> None:
    records = [served("1", 0)]
    bare = '[fleets.f]\nupstream = "a"\ngpu = "L4"\n'
    assert "no price per hour" in uses(bare, records)["f"].note
    assert uses(bare, records)["f"].rent is None
    assert "`runs`" in uses(FLEET + 'runs = "prometheus"\n', records)["f"].note
    assert "empty" in uses(FLEET, [])["f"].note
    late = '[fleets.f]\ngpu = "L4"\nprice = [{ from = "2026-12-01", price = "1 USD/gpu-hour" }]\n'
    assert "2026-12-01" in uses(late, records)["f"].note
    unpriced = uses(FLEET, [served("1", 0, cost=None)])["f"]
    assert (unpriced.used, unpriced.idle, unpriced.utilization) == (None, None, None)
    assert "no price" in unpriced.note
    some = uses(FLEET, [served("1", 0, cost=None), served("2", 0)])["f"]
    assert some.used == USD
    assert "1 of its requests" in some.note


def test_more_work_than_planned_is_said() -> None:
    use = uses(FLEET, [served("1", 9 * DAY, cost=1000 * USD)], since=9 * DAY)["f"]
    assert use.idle is not None and use.idle < 0
    assert "planned" in use.note


@given(st.integers(0, 10**15), st.integers(1, 9), st.integers(1, 9))
def test_fleets_behind_one_upstream_share_its_cost_to_the_last_nano_usd(cost: int, one: int, other: int) -> None:
    fleet = '[fleets.{}]\nupstream = "a"\ngpu = "L4"\ncount = {}\nprice = "0.7 USD/hour"\n'
    config = fleet.format("f", one) + fleet.format("g", other)
    found = uses(config, [served("1", 0, cost=cost)])
    f, g = found["f"], found["g"]
    assert f.used is not None and g.used is not None
    assert f.used + g.used == cost
    assert abs(f.used * other - g.used * one) <= max(one, other), "in proportion to the rents"
    assert "split by rent" in g.note


def test_each_upstream_has_its_own() -> None:
    config = FLEET + '[fleets.g]\nupstream = "b"\ngpu = "L4"\nprice = "1 USD/hour"\n[fleets.train]\ngpu = "H100"\nprice = "2 USD/hour"\n'
    found = uses(config, [served("1", 0), served("2", 0, fleet="g", cost=3 * USD)])
    assert [found[name].used for name in ("f", "g", "train")] == [USD, 3 * USD, 0]
    assert list(found) == ["f", "g", "train"]


def test_the_json_says_unknown_as_null() -> None:
    bare = '[fleets.f]\nupstream = "a"\ngpu = "A100"\nmig = "2g.20gb"\n'
    row = fleets_json(list(uses(bare, [served("1", 0)]).values()))[0]
    assert (row["rent_usd"], row["idle_usd"], row["utilization"]) == (None, None, None)
    assert (row["gpu"], row["used_usd"], row["used_basis"]) == ("A100 2g.20gb", None, "unknown")
