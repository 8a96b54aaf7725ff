"""Fleets and other costs of the config, compiled: what is written is what is paid."""

from datetime import date
from fractions import Fraction

import pytest

from penstock.config.fleets import fleet_plan, holding, holdings, other_prices, pools
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.domain.prices.hardware import HOUR_NS, Committed, Holding, OtherPrice, begins_ns, rent
from penstock.domain.prices.schedule import ALWAYS, midnight_ns
from penstock.domain.units import UnitError

MAY = midnight_ns(date(2026, 5, 1))
YEAR_NS = 8_760 * HOUR_NS


def settings_of(extra: str) -> Settings:
    return parse("version = 1\n[upstreams.a]\n" + extra, {})


def held(extra: str, name: str = "f") -> Holding:
    return holdings(settings_of(f'[fleets.{name}]\ngpu = "H100"\n{extra}'))[name]


def test_whole_gpus() -> None:
    found = held('count = 4\nprice = "2 USD/gpu-hour"\nplanned_tokens_per_second = 1000')
    assert (found.kind, found.share, found.count, found.by_card, found.committed) == ("on-demand", Fraction(1), 4, False, None)
    assert found.usd_per_hour == ((ALWAYS, Fraction(2)),)
    assert found.planned == 250, "tokens per second of one unit"
    assert found.steps == ((ALWAYS, 4),)
    assert held("").usd_per_hour == ()
    assert held("").planned is None
    assert held("count = 0\nplanned_tokens_per_second = 1000").planned is None


def test_dated_prices_are_in_order() -> None:
    found = held('price = [{ from = "2026-05-01", price = "48 USD/day" }, { from = "2026-01-01", price = "730 USD/month" }]')
    assert found.usd_per_hour == ((midnight_ns(date(2026, 1, 1)), Fraction(1)), (MAY, Fraction(2)))
    assert begins_ns(found) == midnight_ns(date(2026, 1, 1))


def test_a_slice_costs_its_share_of_a_price_per_gpu_hour_and_a_price_per_hour_is_its_own() -> None:
    by_card = held('mig = "3g.40gb"\nprice = "7 USD/gpu-hour"\ncards = 2\ncard = "c"')
    assert (by_card.share, by_card.usd_per_hour, by_card.by_card) == (Fraction(3, 7), ((ALWAYS, Fraction(3)),), True)
    assert (by_card.cards, by_card.card) == (2, "c")
    own = held('mig = "3g.40gb"\nprice = "7 USD/hour"')
    assert (own.usd_per_hour, own.by_card) == (((ALWAYS, Fraction(7)),), False)
    reserved = held('mig = "3g.40gb"\nprice = "7 USD/gpu-hour"\ncommitment = { kind = "reserved", term = "1y", hourly = "2" }')
    assert (reserved.by_card, reserved.committed) == (False, Committed(1, Fraction(2)))


def test_reservations() -> None:
    found = held(
        'count = 3\ncommitment = { kind = "reserved", term = "3y", upfront = "26280 USD", hourly = "0.5 USD", start = "2026-05-01" }'
    )
    assert found.committed == Committed(3, Fraction(3, 2), MAY, MAY + 3 * YEAR_NS)
    upfront = held('commitment = { kind = "reserved", term = "12mo", upfront = "8760", count = 2 }')
    assert upfront.committed == Committed(2, Fraction(1), ALWAYS, None), "without a first day it has always held"
    assert begins_ns(found) == MAY


def test_owned_hardware() -> None:
    found = held(
        'count = 8\nprice = "0.12 USD/hour"\ncommitment = { kind = "owned", capex = "35040 USD", years = 4, start = "2026-05-01" }'
    )
    assert found.committed == Committed(8, Fraction(1), MAY, MAY + 4 * YEAR_NS)
    paid = rent(found, found.steps, MAY, MAY + 4 * YEAR_NS)
    assert paid is not None
    assert paid.running == 8 * (35_040 * 10**9 + 35_040 * 120_000_000), "the whole purchase price, and power"


@pytest.mark.parametrize(
    "extra",
    [
        'commitment = { kind = "owned", capex = "1" }',
        'commitment = { kind = "reserved", term = "1y" }',
        'commitment = { kind = "reserved", hourly = "1" }',
        'commitment = { kind = "reserved", term = "1y", hourly = "x" }',
        'commitment = { kind = "owned", capex = "1", years = 1, start = "x" }',
        'mig = "x"',
        'price = "1 USD/week"',
    ],
)
def test_what_cannot_be_read_is_an_error(extra: str) -> None:
    with pytest.raises(UnitError):
        held(extra)


def test_the_plan_of_provisional_prices_knows_slices_and_commitments() -> None:
    fleets = settings_of(
        '[fleets.s]\ngpu = "H100"\nmig = "1g.10gb"\nprice = "7 USD/gpu-hour"\ncount = 7\nplanned_tokens_per_second = 70\n'
        '[fleets.o]\ngpu = "H100"\ncommitment = { kind = "owned", capex = "35040", years = 4 }\n'
    ).fleets
    slices = fleet_plan("s", fleets["s"])
    assert (slices.usd_per_hour, slices.count, slices.tokens_per_second) == (((ALWAYS, Fraction(1)),), 7, Fraction(70))
    assert fleet_plan("o", fleets["o"]).usd_per_hour == ((ALWAYS, Fraction(1)),)


def test_pools_are_the_fleets_behind_one_upstream() -> None:
    found = pools(
        settings_of(
            '[upstreams.b]\n[fleets.x]\ngpu = "L4"\nupstream = "a"\n[fleets.t]\ngpu = "L4"\n'
            '[fleets.y]\ngpu = "L4"\nupstream = "b"\n[fleets.z]\ngpu = "L4"\nupstream = "a"\n[fleets.u]\ngpu = "L4"\n'
        )
    )
    assert [(pool.upstream, pool.fleets) for pool in found] == [("a", ("x", "z")), (None, ("t",)), ("b", ("y",)), (None, ("u",))]


def test_other_costs() -> None:
    costs = settings_of(
        '[costs.c]\nprice = "12 USD/month"\n'
        '[costs.d]\nprice = [{ from = "2026-05-01", price = "1 USD/day" }, { from = "2026-01-01", price = "0.5 USD/hour" }]\n'
        '[costs.e]\nprice = "1 USD/gpu-hour"\n'
    ).costs
    assert other_prices(costs["c"]) == (OtherPrice(ALWAYS, Fraction(12), "month"),)
    dated = OtherPrice(midnight_ns(date(2026, 1, 1)), Fraction(1, 2), "hour")
    assert other_prices(costs["d"]) == (dated, OtherPrice(MAY, Fraction(1), "day"))
    with pytest.raises(UnitError, match="per hour, day, month"):
        other_prices(costs["e"])


def test_a_holding_has_the_name_of_its_fleet() -> None:
    fleet = settings_of('[fleets.f]\ngpu = "L4"\ncommitment = "spot"').fleets["f"]
    assert (holding("f", fleet).name, holding("f", fleet).kind) == ("f", "spot")
