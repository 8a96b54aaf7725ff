"""Own hardware in the review: too large, too small, or not known; and what that says of the next contract."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.hardware import Commitment, Fleet
from penstock.config.settings import Objective
from penstock.domain.ledger.entries import HOUR_NS, Entry, FleetHour, WorkBasis
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.units import Duration, Rate
from penstock.finops.books import Books
from penstock.finops.showback.document import FleetReview, Procurement
from penstock.finops.showback.fleets import enough_units, fleet_reviews, look_back, procurement, unit_shares
from penstock.finops.window import Window
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, books_of

RENT = 10**9
WEEKS = 20 * 24
"""hours: enough to judge a commitment on"""
FIRST = DECEMBER // HOUR_NS - WEEKS
WINDOW = Window(FIRST * HOUR_NS, DECEMBER, "UTC", "some weeks")


def hour(
    at: int, units: int = 2, busy: Fraction | float = 0, *, basis: WorkBasis = "planned", unused: int = 0, **fields: object
) -> FleetHour:
    """An hour in which `units` ran and the share `busy` of them worked."""
    ran, worked = units * HOUR_NS, int(units * HOUR_NS * busy)
    used = units * RENT * worked // ran if ran else 0
    plain = {
        "fleet": "own", "hour": at, "since_ns": at * HOUR_NS, "until_ns": (at + 1) * HOUR_NS, "rent": units * RENT + unused, "used": used,
        "idle": units * RENT - used, "unused": unused, "gpu_ns": ran, "work_gpu_ns": worked, "units_ns": ran, "basis": basis,
    }  # fmt: skip
    return msgspec.convert(plain | fields, FleetHour)


def hours(*shares: float, units: int = 2, basis: WorkBasis = "planned") -> list[FleetHour]:
    """Weeks of hours; the shares take turns."""
    return [hour(FIRST + at, units, shares[at % len(shares)], basis=basis) for at in range(WEEKS)]


def books(
    rented: Sequence[FleetHour],
    commitment: Commitment | None = None,
    *,
    objectives: dict[str, Objective] | None = None,
    trains: bool = False,
    entries: Sequence[Entry] = (),
    first_token_us: int = 1_000,
    sla: str | None = None,
) -> Books:
    """Books of one fleet with these hours; one request of a second and some right at the begin."""
    record = UsageRecord(
        id="a", admitted_ns=FIRST * HOUR_NS, endpoint="chat.completions", status=200, outcome="ok", model="small", upstream="local",
        fleet="own", cost=1, first_token_us=first_token_us, duration_us=2_000_000, sla=sla,
    )  # fmt: skip
    made = books_of([record], entries)
    made.ledger.snapshot.costs.hours = list(rented)  # type: ignore[attr-defined]
    fleet = Fleet(gpu="L40S", upstream=None if trains else "local", price=Rate("1 USD/hour"), count=2, commitment=commitment or "on-demand")
    settings = msgspec.structs.replace(made.settings, fleets={"own": fleet}, objectives=objectives or {})
    return msgspec.structs.replace(made, settings=settings)


def reviewed(rented: Sequence[FleetHour], **how: object) -> FleetReview:
    [found] = fleet_reviews(books(rented, **how), WINDOW)  # type: ignore[arg-type]
    return found


def procured(rented: Sequence[FleetHour], commitment: Commitment | None = None, **how: object) -> Procurement:
    [found] = procurement(books(rented, commitment, **how), WINDOW)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("share", "basis", "verdict"),
    [
        (0.1, "planned", (True, False)),
        (0.5, "planned", (False, False)),
        (0.95, "planned", (False, True)),
        (0.1, "occupied", (True, False)),  # an upper bound that is low says enough
        (0.5, "occupied", (None, False)),
        (0.95, "occupied", (None, None)),
    ],
)
def test_a_fleet_is_too_large_or_too_small_as_far_as_its_use_is_known(
    share: float, basis: WorkBasis, verdict: tuple[bool | None, bool | None]
) -> None:
    found = reviewed(hours(share, basis=basis))
    assert (found.over_provisioned, found.constrained) == verdict
    assert found.upper_bound is (basis == "occupied")
    assert (found.units, found.gpu_hours, found.rent_usd) == (2, 2 * WEEKS, 2 * WEEKS * RENT)


def test_a_fleet_can_be_too_large_on_average_and_too_small_at_its_peak() -> None:
    found = reviewed(hours(0, 0, 0, 0, 0, 0, 0, 0, 0, 1))
    assert (found.over_provisioned, found.constrained, found.enough_units) == (True, True, 3)


@pytest.mark.parametrize(("first_token_us", "late"), [(100_000, False), (5_000_000, True)])
def test_answers_that_come_too_late_tell_a_fleet_that_is_too_small(first_token_us: int, late: bool) -> None:
    found = reviewed(hours(0.5), objectives={"default": Objective(first_token=Duration(2))}, first_token_us=first_token_us)
    assert found.constrained is late
    [objective] = found.objectives
    assert (objective.what, objective.within_s, objective.answers, objective.missed) == ("first_token", 2, 1, late)


def test_an_sla_has_its_own_objective_or_the_default_one() -> None:
    given = {"default": Objective(duration=Duration(60)), "critical": Objective(duration=Duration(1))}
    assert [each.missed for each in reviewed(hours(0.5), objectives=given, sla="critical").objectives] == [True]
    assert [each.missed for each in reviewed(hours(0.5), objectives=given, sla="standard").objectives] == [False]
    assert reviewed(hours(0.5), objectives={"critical": Objective(duration=Duration(1))}).objectives == ()


def test_of_a_fleet_whose_rent_is_unknown_nothing_is_told() -> None:
    rented = [*hours(0.1)[:-1], hour(FIRST + WEEKS - 1, rent=None, note="Prometheus did not answer")]
    found = reviewed(rented)
    assert (found.utilization, found.idle_usd, found.over_provisioned, found.constrained, found.enough_units) == (None,) * 5
    assert "Prometheus did not answer" in found.note
    bought = procured(rented)
    assert (bought.advice, bought.steady_units, bought.candidate_units) == ("unknown", None, None)


@given(busy=st.lists(st.integers(0, 400).map(lambda hundredths: Fraction(hundredths, 100)), min_size=1, max_size=60))
def test_enough_units_keep_95_percent_of_the_hours_below_the_mark(busy: list[Fraction]) -> None:
    rented = [hour(at, 4, each / 4) for at, each in enumerate(busy)]
    enough = enough_units(rented)
    assert enough is not None
    within = sum(each <= Fraction(9, 10) * enough for each in busy)
    assert within * 100 >= 95 * len(busy)
    fewer = sum(each <= Fraction(9, 10) * (enough - 1) for each in busy)
    assert enough <= 1 or fewer * 100 < 95 * len(busy)
    assert (enough == 0) == (not any(each.work_gpu_ns for each in rented))


def test_nothing_known_is_no_number_of_units() -> None:
    assert enough_units([]) is None
    assert unit_shares([]) == ()


@given(units=st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_the_shares_of_units_add_up_to_what_ran(units: list[int]) -> None:
    shares = unit_shares([hour(at, count) for at, count in enumerate(units)])
    assert len(shares) == max(units)
    assert sum(shares) * len(units) == sum(units)
    assert list(shares) == sorted(shares, reverse=True)
    assert all(share == Fraction(sum(count > unit for count in units), len(units)) for unit, share in enumerate(shares))


def test_steady_units_that_are_needed_are_candidates() -> None:
    found = procured(hours(0.8))
    assert (found.advice, found.steady_units, found.enough_units, found.candidate_units) == ("commit", 2, 2, 2)
    assert found.breaks_even_discount == 0


def test_a_commitment_breaks_even_where_its_last_unit_ran_enough() -> None:
    rented = [hour(FIRST + at, 2 if at % 4 else 1, 0.8) for at in range(WEEKS)]
    found = procured(rented)
    assert (found.unit_share, found.candidate_units, found.breaks_even_discount) == ((1.0, 0.75), 2, 0.25)
    rarely = procured([hour(FIRST + at, 1 if at % 4 else 2, 0.8) for at in range(WEEKS)])
    assert (rarely.unit_share, rarely.steady_units, rarely.candidate_units) == ((1.0, 0.25), 1, 1)


@pytest.mark.parametrize(
    ("share", "advice"),
    [(0.0, "release"), (0.1, "release"), (0.8, "commit")],
)
def test_what_stands_idle_is_given_back_before_anything_is_committed_to(share: float, advice: str) -> None:
    found = procured(hours(share))
    assert found.advice == advice
    assert (found.candidate_units or 0) <= (found.enough_units or 0)
    alone = procured(hours(share, units=1))
    assert alone.advice == {0.0: "release", 0.1: "keep", 0.8: "commit"}[share]


def test_less_than_two_weeks_are_too_short_to_commit_on() -> None:
    [told] = procurement(books(hours(0.8)), msgspec.structs.replace(WINDOW, since_ns=DECEMBER - 13 * 24 * HOUR_NS))
    assert (told.advice, told.candidate_units, told.breaks_even_discount) == ("unknown", None, None)


def test_what_is_committed_to_already_is_no_candidate() -> None:
    reserved = Commitment(kind="reserved", term="1y", hourly="1", count=1)
    assert (procured(hours(0.8), reserved).committed_units, procured(hours(0.8), reserved).candidate_units) == (1, 1)
    whole = Commitment(kind="reserved", term="1y", hourly="1", count=2)
    assert (procured(hours(0.8), whole).advice, procured(hours(0.8), whole).candidate_units) == ("keep", 0)


def test_a_commitment_that_did_not_run_is_not_renewed() -> None:
    rented = [hour(FIRST + at, 1, 0.8, unused=RENT) for at in range(WEEKS)]
    found = procured(rented, Commitment(kind="reserved", term="1y", hourly="1", count=2))
    assert (found.advice, found.unused_usd, found.candidate_units) == ("let_lapse", WEEKS * RENT, 0)


def test_training_on_demand_could_run_on_spot_and_spot_is_kept() -> None:
    lost = Entry(
        id="run", kind="training_run", name="run", since_ns=FIRST * HOUR_NS, until_ns=(FIRST + 9) * HOUR_NS, recorded_ns=0, fleet="own",
        gpus="1", lost_gpu_hours="2.5",
    )  # fmt: skip
    assert procured(hours(0.8), trains=True).advice == "spot"
    found = procured(hours(0.8), Commitment(kind="spot"), trains=True, entries=[lost])
    assert (found.advice, found.candidate_units, found.lost_gpu_hours, found.serves) == ("keep", None, 2.5, False)


def test_a_fleet_that_trains_may_be_used_to_the_full_and_need_all_of_it_at_once() -> None:
    full = reviewed(hours(1.0), trains=True)
    assert (full.over_provisioned, full.constrained, full.enough_units) == (False, False, 2)
    rented = [hour(FIRST + at, 8, 1 if at < 5 else 0) for at in range(WEEKS)]
    assert reviewed(rented, trains=True).enough_units == 8
    found = procured(rented, trains=True)
    assert (found.advice, found.candidate_units) == ("release", 0)
    assert "between runs" in found.note


def test_procurement_looks_further_back_than_a_week() -> None:
    week = Window(DECEMBER - 7 * 24 * HOUR_NS, DECEMBER, "UTC", "a week")
    assert look_back(week).since_ns == DECEMBER - 30 * 24 * HOUR_NS
    long = Window(NOVEMBER - 90 * 24 * HOUR_NS, DECEMBER, "UTC", "a quarter")
    assert look_back(long) == long


def test_hours_without_anything_running_are_hours_without_work() -> None:
    rented = [hour(at, 4 if at % 10 == 0 else 0, 1 if at % 10 == 0 else 0) for at in range(100)]
    assert enough_units(rented) == ceil(4 / 0.9)
    assert enough_units([hour(at, 0) for at in range(3)]) == 0
