"""Rents and costs over time: exact, and the same however a window is cut."""

from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.hardware import (
    HOUR_NS,
    Committed,
    Dated,
    Holding,
    OtherPrice,
    Rent,
    Steps,
    accrued,
    begins_ns,
    parse_amount,
    parse_intervals,
    parse_term,
    planned_rates,
    ran_ns,
    rent,
    rent_gap,
    rent_gaps,
    rents,
)
from penstock.domain.prices.schedule import ALWAYS, midnight_ns
from penstock.domain.prices.slices import slice_share

T0 = midnight_ns(date(2026, 10, 1))
USD = 10**9


def at(hours: float) -> int:
    return T0 + int(hours * HOUR_NS)


def always(usd: str) -> Dated:
    return ((ALWAYS, Fraction(usd)),)


def gpu(**changes: object) -> Holding:
    return msgspec.structs.replace(Holding(name="f", gpu="L40S", count=2, usd_per_hour=always("0.79")), **changes)


def sliced(name: str, mig: str, count: int, **changes: object) -> Holding:
    share = slice_share("H100", mig)
    held = Holding(name=name, gpu="H100", mig=mig, share=share, count=count, usd_per_hour=((ALWAYS, 7 * share),), by_card=True)
    return msgspec.structs.replace(held, **changes)


# --- on demand ---------------------------------------------------------------------------------------------------------------


def test_running_units_are_paid_by_the_hour() -> None:
    paid = rent(gpu(), gpu().steps, at(0), at(10))
    assert paid == Rent(running=15_800_000_000, gpu_ns=20 * HOUR_NS, units_ns=20 * HOUR_NS)
    assert paid.total == 15_800_000_000


def test_scale_to_zero_costs_nothing_and_needs_no_price() -> None:
    steps = ((at(0), 0), (at(2), 3), (at(3), 0))
    assert rent(gpu(), steps, at(0), at(8)) == Rent(running=2_370_000_000, gpu_ns=3 * HOUR_NS, units_ns=3 * HOUR_NS)
    assert rent(gpu(usd_per_hour=()), ((at(0), 0),), at(0), at(8)) == Rent()
    assert rent(gpu(), (), at(0), at(1)) == Rent(), "before the first step nothing runs"


def test_a_price_changes_mid_window() -> None:
    held = gpu(count=1, usd_per_hour=((at(0), Fraction(1)), (at(1.5), Fraction(3))))
    assert rent(held, held.steps, at(1), at(2)) == Rent(running=2 * USD, gpu_ns=HOUR_NS, units_ns=HOUR_NS)


def test_unknown_rents_say_why() -> None:
    dated = gpu(usd_per_hour=((at(5), Fraction(1)),))
    assert rent(dated, dated.steps, at(4), at(6)) is None
    assert rent_gap(dated, dated.steps, at(4), at(6)) == "its price begins on 2026-10-01"
    assert rent_gap(dated, dated.steps, at(5), at(6)) is None
    assert rent_gap(gpu(usd_per_hour=()), gpu().steps, at(0), at(1)) == "it has no price per hour"
    assert rent_gap(gpu(), None, at(0), at(1)) == "when its units ran is not known"
    assert begins_ns(dated) == at(5)
    assert begins_ns(gpu()) == ALWAYS
    assert begins_ns(gpu(usd_per_hour=())) is None


# --- commitments -------------------------------------------------------------------------------------------------------------


def test_a_reservation_is_paid_running_or_not() -> None:
    held = gpu(kind="reserved", committed=Committed(4, Fraction("0.5")))
    assert rent(held, ((at(0), 3),), at(0), at(2)) == Rent(3 * USD, 1 * USD, 0, 6 * HOUR_NS, 6 * HOUR_NS)
    beyond = rent(held, ((at(0), 5),), at(0), at(1))
    assert beyond is not None and (beyond.running, beyond.unused) == (2_790_000_000, 0), "the fifth one at the price"
    without = msgspec.structs.replace(held, usd_per_hour=())
    assert rent(without, ((at(0), 4),), at(0), at(1)) is not None
    assert rent_gap(without, ((at(0), 5),), at(0), at(1)) == "5 units ran and 4 are reserved, and there is no price for the others"


def test_before_and_after_its_term_a_reservation_is_not_paid() -> None:
    held = gpu(kind="reserved", committed=Committed(2, Fraction("0.5"), at(1), at(3)))
    paid = [rent(held, ((at(0), 1),), at(hour), at(hour + 1)) for hour in range(4)]
    assert [(each.running, each.unused) for each in paid if each] == [
        (790_000_000, 0),
        (500_000_000, 500_000_000),
        (500_000_000, 500_000_000),
        (790_000_000, 0),
    ]
    assert rent_gap(msgspec.structs.replace(held, usd_per_hour=()), held.steps, at(0), at(1)) == (
        "it has no price per hour outside of its commitment"
    )


def test_owned_hardware_is_written_off_and_powered() -> None:
    held = gpu(kind="owned", usd_per_hour=always("0.10"), committed=Committed(2, Fraction(1), at(1), at(2)))
    paid = [rent(held, ((at(0), 1),), at(hour), at(hour + 1)) for hour in range(3)]
    assert [(each.running, each.unused) for each in paid if each] == [(100_000_000, 0), (1_100_000_000, 1_000_000_000), (100_000_000, 0)]
    without_power = msgspec.structs.replace(held, usd_per_hour=())
    assert rent(without_power, held.steps, at(2), at(3)) == Rent(gpu_ns=2 * HOUR_NS, units_ns=2 * HOUR_NS), "written off: ours, for nothing"
    assert rent_gap(held, ((at(0), 3),), at(1), at(2)) == "3 units ran and 2 are owned, so what the others cost is not known"


def test_the_power_of_owned_hardware_is_unknown_before_its_price() -> None:
    held = gpu(kind="owned", usd_per_hour=((at(2), Fraction("0.10")),), committed=Committed(2, Fraction(1)))
    assert rent(held, held.steps, at(1), at(2)) is None
    assert rent_gap(held, held.steps, at(1), at(3)) == "its price begins on 2026-10-01"
    stands_still = rent(held, ((at(2), 2),), at(1), at(2))
    assert stands_still is not None
    assert (stands_still.running, stands_still.unused) == (0, 2 * USD), "what does not run needs no power"
    powered = rent(held, held.steps, at(2), at(3))
    assert powered is not None
    assert powered.running == 2_200_000_000


def test_the_planned_rate_of_a_unit_follows_the_commitment() -> None:
    assert planned_rates(gpu()) == always("0.79")
    held = gpu(kind="reserved", committed=Committed(1, Fraction("0.5"), at(1), at(3)))
    mixed = (Fraction("0.79") + Fraction("0.5")) / 2
    assert planned_rates(held) == ((ALWAYS, Fraction("0.79")), (at(1), mixed), (at(3), Fraction("0.79")))
    assert planned_rates(gpu(kind="reserved", usd_per_hour=(), committed=Committed(2, Fraction(1), at(1), at(3)))) == (
        (at(1), Fraction(1)),
    )


# --- slices ------------------------------------------------------------------------------------------------------------------


def test_the_rest_of_a_card_is_unallocated() -> None:
    held = sliced("f", "2g.20gb", 3)
    paid = rent(held, held.steps, at(0), at(1))
    assert paid is not None
    assert (paid.running, paid.unallocated) == (6 * USD, 1 * USD), "7 USD of the card, 6/7 of it covered"
    assert (paid.gpu_ns, paid.units_ns) == (3 * 2 * HOUR_NS // 7, 3 * HOUR_NS)


def test_a_price_of_the_slice_leaves_nothing_unallocated() -> None:
    held = sliced("f", "2g.20gb", 3, by_card=False)
    paid = rent(held, held.steps, at(0), at(1))
    assert paid is not None and (paid.running, paid.unallocated) == (6 * USD, 0)


def test_fleets_on_one_card_share_its_rest_on_the_first_by_name() -> None:
    a, b = sliced("a", "3g.40gb", 1, card="c"), sliced("b", "2g.20gb", 1, card="c")
    found = rents([(b, b.steps), (a, a.steps)], at(0), at(1))
    assert {name: (each.running, each.unallocated) for name, each in found.items() if each} == {"a": (3 * USD, 2 * USD), "b": (2 * USD, 0)}
    alone = rents([(msgspec.structs.replace(held, card=None), held.steps) for held in (a, b)], at(0), at(1))
    assert [each.unallocated for each in alone.values() if each] == [4 * USD, 5 * USD], "two cards"


def test_cards_come_and_go_with_the_slices_unless_they_are_fixed() -> None:
    steps = ((at(0), 0), (at(1), 1), (at(2), 4))
    paid = [rent(sliced("f", "2g.20gb", 3), steps, at(hour), at(hour + 1)) for hour in range(3)]
    assert [each.unallocated for each in paid if each] == [0, 5 * USD, 6 * USD], "no card, one, two"
    fixed = [rent(sliced("f", "2g.20gb", 3, cards=1), steps, at(hour), at(hour + 1)) for hour in range(3)]
    assert [each.unallocated for each in fixed if each] == [7 * USD, 5 * USD, 0], "never below 0"


def test_an_unknown_neighbour_makes_the_rest_unknown() -> None:
    a, b = sliced("a", "3g.40gb", 1, card="c"), sliced("b", "2g.20gb", 1, card="c")
    assert rents([(a, a.steps), (b, None)], at(0), at(1)) == {"a": None, "b": None}
    assert rent_gaps([(a, a.steps), (b, None)], at(0), at(1)) == {
        "a": "when the slices of `b` ran is not known, and they lie on its cards",
        "b": "when its units ran is not known",
    }
    assert rents([(a, None), (b, b.steps)], at(0), at(1))["b"] is not None


# --- the law of cuts ---------------------------------------------------------------------------------------------------------

instants = st.integers(at(0), at(100))
money = st.fractions(0, 20, max_denominator=10_000)


KINDS: tuple[Literal["on-demand", "spot", "reserved", "owned"], ...] = ("on-demand", "spot", "reserved", "owned")


@st.composite
def fleets(draw: st.DrawFn) -> list[tuple[Holding, Steps]]:
    """Up to three fleets of any kind, some of them slices on one card."""
    found: list[tuple[Holding, Steps]] = []
    for name in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        mig = draw(st.sampled_from([None, "1g.10gb", "3g.40gb"]))
        share = slice_share("H100", mig)
        starts = sorted(draw(st.sets(instants, max_size=3)))
        dated = ((ALWAYS, draw(money)), *((start, draw(money)) for start in starts))
        kind = draw(st.sampled_from(KINDS))
        committed = None
        if kind in ("reserved", "owned"):
            since = draw(st.one_of(st.just(ALWAYS), instants))
            committed = Committed(draw(st.integers(1, 4)), draw(money), since, draw(st.one_of(st.none(), st.integers(at(10), at(120)))))
        steps = tuple((start, draw(st.integers(0, 4))) for start in sorted({ALWAYS, *draw(st.sets(instants, max_size=4))}))
        found.append(
            (
                Holding(
                    name=name,
                    gpu="H100",
                    kind=kind,
                    mig=mig,
                    share=share,
                    usd_per_hour=dated,
                    committed=committed,
                    by_card=mig is not None and committed is None,
                    cards=draw(st.sampled_from([None, 1, 3])),
                    card=draw(st.sampled_from([None, "c"])),
                ),
                steps,
            )
        )
    return found


@given(fleets(), st.lists(instants, min_size=3, max_size=6, unique=True))
def test_any_cut_of_a_window_adds_up(group: list[tuple[Holding, Steps]], cuts: list[int]) -> None:
    marks = sorted(cuts)
    whole = rents(group, marks[0], marks[-1])
    parts = [rents(group, begin, end) for begin, end in pairwise(marks)]
    for name, paid in whole.items():
        if paid is None:
            assert any(part[name] is None for part in parts)
            continue
        for field in Rent.__struct_fields__:
            assert getattr(paid, field) == sum(getattr(part[name], field) for part in parts), field
            assert getattr(paid, field) >= 0
        assert paid.total == paid.running + paid.unused + paid.unallocated


@given(st.fractions(0, 50, max_denominator=1000), st.integers(0, 9), st.integers(0, 400), st.integers(1, 400))
def test_a_rent_is_price_times_units_times_hours(price: Fraction, units: int, begin: int, length: int) -> None:
    held = gpu(usd_per_hour=((ALWAYS, price),))
    paid = rent(held, ((ALWAYS, units),), at(begin), at(begin + length))
    assert paid is not None
    assert abs(paid.running - price * units * length * USD) < 1


# --- other costs -------------------------------------------------------------------------------------------------------------


def months(zone: str, first: tuple[int, int], count: int) -> list[int]:
    begins = [(first[0] + (first[1] - 1 + n) // 12, (first[1] - 1 + n) % 12 + 1) for n in range(count)]
    return [int(datetime(year, month, 1, tzinfo=ZoneInfo(zone)).timestamp()) * 10**9 for year, month in begins]


@given(
    st.sampled_from(["UTC", "Europe/Prague", "America/New_York"]),
    st.integers(0, 23),
    st.lists(st.fractions(0, 1, max_denominator=10**6), max_size=5),
    st.decimals(0, 5000, places=2),
)
def test_a_calendar_month_costs_exactly_its_price_however_it_is_cut(zone: str, month: int, cuts: list[Fraction], usd: object) -> None:
    bounds = months(zone, (2025, 1), 25)
    begin, end = bounds[month], bounds[month + 1]
    price = [OtherPrice(ALWAYS, Fraction(str(usd)), "month")]
    marks = [begin, *sorted(begin + int(cut * (end - begin)) for cut in cuts), end]
    assert sum(accrued(price, since, until, bounds) for since, until in pairwise(marks)) == Fraction(str(usd)) * USD


@given(st.lists(st.integers(0, 70 * 24 * 3600), min_size=3, max_size=6, unique=True), st.data())
def test_any_cut_of_dated_costs_adds_up(seconds: list[int], data: st.DataObject) -> None:
    bounds = months("UTC", (2026, 10), 4)
    marks = [T0 + second * 10**9 for second in sorted(seconds)]
    starts = sorted(data.draw(st.sets(st.integers(T0, T0 + 80 * 24 * HOUR_NS), min_size=1, max_size=3)))
    prices = [OtherPrice(start, data.draw(money), data.draw(st.sampled_from(["hour", "day", "month"]))) for start in starts]
    parts = [accrued(prices, begin, end, bounds) for begin, end in pairwise(marks)]
    assert sum(parts) == accrued(prices, marks[0], marks[-1], bounds)
    assert min(parts) >= 0


def test_costs_by_hour_and_day_and_before_they_begin() -> None:
    bounds = months("UTC", (2026, 10), 2)
    assert accrued([OtherPrice(ALWAYS, Fraction("0.25"), "hour")], at(0), at(4), bounds) == USD
    assert accrued([OtherPrice(ALWAYS, Fraction(24), "day")], at(0), at(4), bounds) == 4 * USD
    assert accrued([OtherPrice(at(3), Fraction(24), "day")], at(0), at(4), bounds) == USD
    assert accrued([], at(0), at(4), bounds) == 0
    assert accrued([OtherPrice(ALWAYS, Fraction(1), "month")], at(4), at(4), []) == 0


def test_months_must_reach_over_the_window() -> None:
    with pytest.raises(ValueError, match="reach"):
        accrued([OtherPrice(ALWAYS, Fraction(1), "month")], at(0), at(24 * 40), months("UTC", (2026, 10), 2))
    with pytest.raises(ValueError, match="reach"):
        accrued([OtherPrice(ALWAYS, Fraction(1), "month")], at(-1), at(1), months("UTC", (2026, 10), 2))


# --- text --------------------------------------------------------------------------------------------------------------------


def test_intervals_become_steps() -> None:
    rows = [
        ["start", "end", "count"],
        ["2026-10-01T00:00:00Z", "2026-10-01T04:00:00Z", "2"],
        [],
        ["2026-10-01T02:00:00+00:00", "2026-10-01T03:00:00", " 1 "],
        ["2026-10-01T04:00:00Z", "", "1"],
    ]
    assert parse_intervals(rows) == ((at(0), 2), (at(2), 3), (at(3), 2), (at(4), 1))
    assert parse_intervals([["2026-10-01T02:00:00+02:00", "2026-10-01T01:00:00Z", "1"]]) == ((at(0), 1), (at(1), None))
    assert parse_intervals([]) == ()


def test_intervals_that_meet_are_one() -> None:
    assert parse_intervals([["2026-10-01", "2026-10-02", "1"], ["2026-10-02", "2026-10-03", "1"]]) == ((at(0), 1), (at(48), None))


def test_after_the_last_interval_nothing_is_known() -> None:
    steps = parse_intervals([["2026-10-01T00:00Z", "2026-10-01T04:00Z", "2"], ["2026-10-01T06:00Z", "2026-10-01T08:00Z", "0"]])
    assert steps == ((at(0), 2), (at(4), 0), (at(8), None))
    assert [ran_ns(steps, at(hour), at(hour + 2)) for hour in (-2, 2, 6, 7)] == [0, 4 * HOUR_NS, 0, None]
    assert rent(gpu(), steps, at(3), at(8)) is not None
    assert rent(gpu(), steps, at(7), at(9)) is None
    assert rent_gap(gpu(), steps, at(7), at(9)) == "when its units ran is not known at 2026-10-01T08:00Z"
    ended = parse_intervals([["2026-10-01T00:00Z", "2026-10-01T04:00Z", "2"], ["2026-10-01T04:00Z", "", "0"]])
    assert ended == ((at(0), 2), (at(4), 0)), "an open interval of none says that none runs any more"


def test_the_rest_of_cards_is_unknown_while_a_slice_is() -> None:
    a, b = sliced("a", "1g.10gb", 1, card="c", cards=1), sliced("b", "2g.20gb", 1, card="c")
    found = rents([(a, a.steps), (b, ((at(0), 1), (at(2), None)))], at(1), at(3))
    assert found == {"a": None, "b": None}


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 100), st.integers(0, 5)), max_size=8))
def test_unit_hours_of_intervals_are_kept(spans: list[tuple[int, int, int]]) -> None:
    def iso(hour: int) -> str:
        return datetime.fromtimestamp(at(hour) // 10**9, UTC).isoformat()

    steps = parse_intervals([[iso(begin), iso(begin + length), str(units)] for begin, length, units in spans])
    paid = rent(gpu(usd_per_hour=always("1")), steps, at(0), max((at(begin + length) for begin, length, _ in spans), default=at(1)))
    assert paid is not None
    assert paid.running == USD * sum(length * units for _, length, units in spans)
    assert paid.units_ns == HOUR_NS * sum(length * units for _, length, units in spans)
    assert all(units is None or units >= 0 for _, units in steps)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (["2026-10-01", "2026-10-02"], r"row 1 \(`2026-10-01,2026-10-02`\) has 2 fields"),
        (["soon", "2026-10-02", "1"], "the start of row 1"),
        (["", "2026-10-02", "1"], "the start of row 1"),
        (["2026-10-01", "later", "1"], "the end of row 1"),
        (["2026-10-02", "2026-10-01", "1"], "ends before it begins"),
        (["2026-10-01", "2026-10-01", "1"], "ends before it begins"),
        (["2026-10-01", "2026-10-02", "1.5"], "the count of row 1"),
        (["2026-10-01", "2026-10-02", "-1"], "the count of row 1"),
        (["2026-10-01", "2026-10-02", "²"], "the count of row 1"),
    ],
)
def test_bad_rows_are_named(row: list[str], words: str) -> None:
    with pytest.raises(PriceError, match=words):
        parse_intervals([row])


def test_terms_and_amounts() -> None:
    assert [parse_term(text) for text in ("1y", "3y", "12mo", "1mo")] == [8760, 26280, 8760, 730]
    assert parse_amount("30000 USD", "capex") == parse_amount("30000", "capex") == 30_000
    assert parse_amount(" 0.35USD ", "hourly") == Fraction(35, 100)
    for text in ("0y", "1 week", "y", ""):
        with pytest.raises(PriceError, match="is not a term"):
            parse_term(text)
    for text in ("a lot", "-1", "1e9", "5 EUR", ""):
        with pytest.raises(PriceError, match="capex"):
            parse_amount(text, "capex")
