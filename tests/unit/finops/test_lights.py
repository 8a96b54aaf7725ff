"""The lights of fleets from the hours of the ledger: use, what was late by whose objective, and what shrinking saves."""

from fractions import Fraction

import pytest

from penstock.config.hardware import Commitment
from penstock.config.settings import Objective
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.sizing.traffic_light import Light
from penstock.domain.units import Duration
from penstock.finops.books import Books
from penstock.finops.fleets import fleet_use
from penstock.finops.lights import light_json, lights
from penstock.finops.window import Window
from tests.unit.finops.bill_books import NOVEMBER
from tests.unit.finops.test_showback_fleets import FIRST, WINDOW, books, hour, hours


def seen(made: Books, window: Window = WINDOW) -> Light:
    (found,) = lights(made, fleet_use(made, window))
    return found


@pytest.mark.parametrize(("busy", "colour"), [((0.5, 0.7), "green"), ((0.5, 0.95), "yellow"), ((0.0, 0.2), "red"), ((0.0,), "red")])
def test_the_colour_follows_the_use(busy: tuple[float, ...], colour: str) -> None:
    assert seen(books(hours(*busy))).colour == colour


def test_shrinking_saves_the_rent_of_what_would_not_be_missed() -> None:
    """Two units at 1 USD an hour, of which 40 % of one worked: one would do, at 730 hours a month."""
    found = seen(books(hours(0.2)))
    assert (found.spare_units, found.saves) == (1, 730 * 10**9)
    told = light_json(found)
    assert (told["colour"], told["saves_usd_per_month"], told["price_multiplier"]) == ("red", "730.000000000", 5.0)


def test_a_commitment_is_paid_all_the_same() -> None:
    held = Commitment(kind="reserved", term="1y", payment="no-upfront", hourly="1", start="2026-01-01")
    rented = [hour(FIRST + at, 1, Fraction(0), unused=10**9) for at in range(48)]
    found = seen(books(rented, held))
    assert found.colour == "red" and found.saves is None and "lapse" in found.action


def test_late_by_the_objective_is_yellow_however_idle() -> None:
    late = books(hours(0.1), objectives={"default": Objective(first_token=Duration(0.5))}, first_token_us=2_000_000)
    found = seen(late)
    assert found.colour == "yellow" and "target 0.5 s" in found.why[0]
    met = books(hours(0.5), objectives={"default": Objective(first_token=Duration(5.0))}, first_token_us=2_000_000)
    assert seen(met).colour == "green"


def test_an_upper_bound_does_not_show_saturation() -> None:
    assert seen(books(hours(0.95, basis="occupied"))).colour == "green"


def test_too_little_is_known() -> None:
    rented = [hour(FIRST + at, 2, 0.5) for at in range(23)]
    assert seen(books(rented), Window(FIRST * HOUR_NS, (FIRST + 23) * HOUR_NS, "UTC", "a day")).colour == "unknown"
    nothing = seen(books([]), Window(NOVEMBER - 48 * HOUR_NS, NOVEMBER, "UTC", "before the ledger"))
    assert nothing.colour == "unknown" and light_json(nothing)["saves_usd_per_month"] is None
