"""Bills: every dollar of a month once, in every split and format; frozen months and the corrections that follow them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.stores.cubes import CUBED
from penstock.config.hardware import OtherCost
from penstock.config.settings import Server, Settings
from penstock.domain.bills.subjects import Matcher
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS, Close, Entry
from penstock.domain.ledger.grouping import keys_of
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.units import usd
from penstock.finops.bills.bill import FrozenError, bill, month_window
from penstock.finops.bills.charges import SOURCES
from penstock.finops.bills.closing import freeze, inputs_sha256, not_known
from penstock.finops.bills.corrections import following
from penstock.finops.bills.covering import covers
from penstock.finops.bills.document import Bill, BillingError, bill_bytes, read_bill
from penstock.finops.bills.focus import focus_rows
from penstock.finops.bills.reconcile import subjects
from penstock.finops.bills.sheet import bill_csv
from penstock.finops.books import Books
from penstock.finops.statement import statement
from tests.unit.finops.bill_books import CHEAPER, DECEMBER, NOVEMBER, OCTOBER, PRICE, books_of, records_of, runs, settings_of

RULES = ("separate", "proportional", "even")
ledgers = st.lists(records_of(), min_size=1, max_size=10, unique_by=lambda record: record.id)


def stated(books: Books, since_ns: int, until_ns: int) -> int:
    """What the ledger comes to between two instants."""
    return statement(books, CostQuery(since_ns=since_ns, until_ns=until_ns, by=("model",)), "separate").total


def closed(books: Books, month: str) -> Close:
    span = month_window(month, books.settings, books.now_ns)
    return freeze(books, span, list(books.ledger.snapshot.costs.closes()))[0]


@settings(max_examples=60, deadline=None)
@given(records=ledgers, entries=st.lists(runs, max_size=2), idle=st.sampled_from(RULES))
def test_every_split_of_a_bill_is_what_the_ledger_comes_to(records: list[UsageRecord], entries: list[Entry], idle: str) -> None:
    books = books_of(records, entries, idle=idle)
    made = bill(books, "2026-10")
    total = stated(books, OCTOBER, NOVEMBER)
    assert made.total_usd == total == sum(charge.usd for charge in made.charges) == sum(line.usd for line in made.lines)
    assert total == sum(each.total_usd for each in made.bearers) + sum(pot.rest_usd for pot in made.pots)
    cells = [line.split(",")[-1] for line in bill_csv(made).splitlines()[1:]]
    assert sum(map(Decimal, cells), Decimal(0)) == usd(total)
    for version in ("1.4", "1.2"):
        assert sum((row.billed_cost or Decimal(0) for row in focus_rows(made, version)), Decimal(0)) == usd(total)
    assert made.inputs_sha256 is None
    assert made.draft


@settings(max_examples=60, deadline=None)
@given(records=ledgers, idle=st.sampled_from(RULES))
def test_each_group_bears_its_charges(records: list[UsageRecord], idle: str) -> None:
    books = books_of(records, idle=idle)
    made = bill(books, "2026-10")
    for each in made.bearers:
        borne = [charge for charge in made.charges if charge.keys == each.keys]
        assert sum(charge.usd for charge in borne) == each.total_usd == each.usage_usd + each.shared_usd
        tokens = [charge for charge in borne if charge.unit == "Tokens" and charge.line == "api"]
        billed = [
            record for record in records if record.fleet is None and record.cost is not None and keys_of(record, made.by) == each.keys
        ]
        counted = sum(record.tokens.total for record in billed if OCTOBER <= record.admitted_ns < NOVEMBER)
        assert sum(int(charge.quantity or 0) for charge in tokens) == counted


@settings(max_examples=40, deadline=None)
@given(records=ledgers, late=st.lists(records_of(OCTOBER, NOVEMBER), max_size=4), idle=st.sampled_from(RULES))
def test_all_bills_together_are_the_ledger_whatever_arrives_late(records: list[UsageRecord], late: list[UsageRecord], idle: str) -> None:
    first = closed(books_of(records, idle=idle), "2026-10")
    books = books_of([*records, *late], closes=[first], idle=idle)
    second = bill(books, "2026-11")
    costs = statement(books, CostQuery(since_ns=OCTOBER, until_ns=NOVEMBER), "separate").lines()["other"]
    frozen_costs = sum(line.usd for line in read_bill(first.bill).lines if line.line == "other")
    assert first.total + second.total_usd == stated(books, OCTOBER, DECEMBER) - costs + frozen_costs
    assert {each.month for each in second.corrections} <= {"2026-10"}
    frozen = closed(books, "2026-11")
    after = books_of([*records, *late], closes=[first, frozen], idle=idle, now_ns=DECEMBER + 10**9)
    assert frozen.total == second.total_usd
    assert bill(after, "2026-12").corrections == ()  # what November's bill corrected is not corrected again


def test_a_correction_goes_to_the_first_open_month_alone() -> None:
    record = one("a", OCTOBER, 5)
    first = closed(books_of([record]), "2026-10")
    books = books_of([record, one("late", OCTOBER, 3)], closes=[first], now_ns=DECEMBER + 10**9)
    [correction] = bill(books, "2026-11").corrections
    assert (correction.since, correction.until) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert (correction.month, correction.number, correction.line, correction.usd) == ("2026-10", 1, "api", 3)
    assert correction.keys == {"team": "search", "feature": None}
    assert bill(books, "2026-12").corrections == ()


def one(id: str, admitted_ns: int, cost: int | None) -> UsageRecord:
    return UsageRecord(
        id=id, admitted_ns=admitted_ns, endpoint="chat.completions", status=200, outcome="ok", model="large", upstream="openai",
        tags={"team": "search"}, cost=cost,
    )  # fmt: skip


def test_a_closed_month_is_billed_as_it_was_frozen() -> None:
    close = closed(books_of([one("a", OCTOBER, 5)]), "2026-10")
    later = books_of([one("a", OCTOBER, 5), one("late", OCTOBER, 3)], closes=[close], now_ns=DECEMBER + 10**9)
    frozen = bill(later, "2026-10")
    assert bill_bytes(frozen).decode() == close.bill
    assert (frozen.number, frozen.inputs_sha256, frozen.total_usd) == (1, close.inputs_sha256, close.total)
    with pytest.raises(FrozenError, match="2026-10 is closed: bill 1 is split by team, feature, idle separate"):
        bill(later, "2026-10", by=("model",))
    with pytest.raises(FrozenError):
        bill(later, "2026-10", rule="even")
    assert bill(later, "2026-10", by=("team", "feature"), rule="separate") == frozen


def test_numbers_count_closes() -> None:
    records = [one("a", OCTOBER, 5)]
    first = closed(books_of(records), "2026-10")
    second = closed(books_of(records, closes=[first]), "2026-11")
    assert (first.number, second.number) == (1, 2)


@given(records=ledgers, order=st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_digest_is_of_what_is_there_not_of_how_it_came(records: list[UsageRecord], order: object) -> None:
    shuffled = list(records)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert digest(records) == digest(shuffled)


def digest(records: Sequence[UsageRecord], idle: str = "separate") -> str:
    books = books_of(records, idle=idle)
    return inputs_sha256(books, month_window("2026-10", books.settings, books.now_ns))


def test_the_digest_tells_every_change_of_the_month_and_of_nothing_else() -> None:
    base = [one("a", OCTOBER, 5), one("b", OCTOBER + 1, 6)]
    changed = [
        digest([one("a", OCTOBER, 6), base[1]]),
        digest([one("c", OCTOBER, 5), base[1]]),
        digest(base[:1]),
        digest(base, idle="even"),
    ]
    assert len({digest(base), *changed}) == 5
    assert digest([*base, one("later", NOVEMBER, 9)]) == digest(base)


def test_unpriced_requests_are_told_and_are_no_zero() -> None:
    made = bill(books_of([one("a", OCTOBER, None)]), "2026-10")
    assert made.unknown == ("1 request has no price",)
    assert [charge for charge in made.charges if charge.line == "api"] == []
    assert made.bearers[0].unpriced == 1


def test_cost_per_1000_tokens_stands_on_both_bases() -> None:
    record = UsageRecord(
        id="a", admitted_ns=OCTOBER, endpoint="e", status=200, outcome="ok", model="large", upstream="openai", cost=6_000_000,
        tokens=Tokens(1000, 0, 0, 1000, 0),
    )  # fmt: skip
    [each] = bill(books_of([record]), "2026-10").bearers
    assert each.cp1kt_usage_usd == "0.003000000"
    assert each.cp1kt_allocated_usd == f"{usd(each.total_usd) / 2:.9f}"


def test_untagged_spend_is_a_row() -> None:
    record = UsageRecord(id="a", admitted_ns=OCTOBER, endpoint="e", status=200, outcome="ok", model="large", upstream="openai", cost=5)
    made = bill(books_of([record]), "2026-10")
    assert (None, None) in [each.keys for each in made.bearers]
    assert made.coverage.untagged_usd >= 5


@pytest.mark.parametrize(
    ("month", "message"),
    [
        ("October", "is not a month"),
        ("2026-13", "^`2026-13` is not a month$"),
        ("0000-01", "^`0000-01` is not a month$"),
        ("2027-01", "has not begun"),
        ("30d", "is not a month"),
    ],
)
def test_what_is_no_month_that_has_begun_is_refused(month: str, message: str) -> None:
    with pytest.raises(BillingError, match=message):
        bill(books_of([]), month)


def test_a_frozen_bill_reads_back_the_same() -> None:
    close = closed(books_of([one("a", OCTOBER, 5)]), "2026-10")
    frozen = read_bill(close.bill)
    assert isinstance(frozen, Bill)
    assert bill_bytes(frozen).decode() == close.bill


def test_months_follow_each_other() -> None:
    assert [following(month) for month in ("2026-09", "2026-12", "1999-01")] == ["2026-10", "2027-01", "1999-02"]


def test_a_price_change_within_a_month_keeps_each_rate_apart() -> None:
    """Two versions of one entry, the same tokens: each charge stands at the rate that its requests were booked by."""
    tokens = Tokens(1_000_000, 2_000_000, 0, 400_000, 100_000)
    records = [
        UsageRecord(
            id=rates.version, admitted_ns=OCTOBER, endpoint="e", status=200, outcome="ok", model="large", upstream="openai",
            tokens=tokens, cost=rates.cost(tokens), price_id=rates.id, price_version=rates.version,
        )
        for rates in (PRICE, CHEAPER)
    ]  # fmt: skip
    made = bill(books_of(records), "2026-10")
    charged = {
        (charge.price_version, charge.meter): (charge.quantity, charge.list_price, charge.usd) for charge in made.charges if charge.price_id
    }
    usd_ = 10**9
    assert charged == {
        ("2026", "Input Tokens"): ("1000000", "3", 3 * usd_),
        ("2026", "Cache Read Input Tokens"): ("2000000", "0.3", 6 * usd_ // 10),
        ("2026", "Output Tokens"): ("500000", "15", 75 * usd_ // 10),
        ("2026-10-15", "Input Tokens"): ("1000000", "2", 2 * usd_),
        ("2026-10-15", "Cache Read Input Tokens"): ("2000000", "0.2", 4 * usd_ // 10),
        ("2026-10-15", "Output Tokens"): ("500000", "8", 4 * usd_),
    }
    rows = [row for row in focus_rows(made) if row.sku_price_id and "book:large" in row.sku_price_id]
    assert len({row.sku_price_id for row in rows}) == len(rows) == 6
    assert {(row.x or {})["x_PriceVersion"] for row in rows} == {"2026", "2026-10-15"}


def test_a_bill_asks_for_sums_that_stores_keep() -> None:
    assert set(SOURCES) <= set(CUBED)


def zoned(timezone: str) -> Settings:
    return msgspec.structs.replace(settings_of(), server=Server(timezone=timezone))


@pytest.mark.parametrize("month", ["2026-11", "2026-12"])
def test_months_do_not_follow_on_one_that_was_closed_in_another_zone(month: str) -> None:
    records = [one("a", OCTOBER - 24 * HOUR_NS, 5), one("edge", NOVEMBER - 1, 7)]
    close = closed(books_of(records), "2026-10")
    later = books_of(records, closes=[close], now_ns=DECEMBER + 10**9, configured=zoned("Europe/Berlin"))
    with pytest.raises(BillingError, match="2026-10 was closed in UTC") as told:
        bill(later, month)
    assert told.value.hint == 'set `[server] timezone` back to "UTC", the zone of all bills from the first close on'
    assert bill_bytes(bill(later, "2026-10")).decode() == close.bill
    same = books_of(records, closes=[close], now_ns=DECEMBER + 10**9, configured=zoned("Etc/UTC"))
    assert bill(same, month).corrections == ()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_editing_the_config_corrects_nothing(zone: str) -> None:
    """Kolkata's months begin half an hour into an hour of UTC: that piece is worked out anew each time, by the config."""
    records = [one("a", OCTOBER - 24 * HOUR_NS, 5), served("b", OCTOBER - 24 * HOUR_NS), served("c", OCTOBER + HOUR_NS)]
    before = zoned(zone)
    close = closed(books_of(records, configured=before), "2026-10")
    assert bool(read_bill(close.bill).pieces) == (zone != "UTC")
    [fleet] = before.fleets.values()
    edits: list[dict[str, Any]] = [
        {"costs": {}},
        {"costs": {"weights": OtherCost(price="99 USD/month")}},
        {"fleets": {}},
        {"fleets": {"l40s": msgspec.structs.replace(fleet, price="7 USD/hour")}},
        {"fleets": {"l40s": fleet, "new": msgspec.structs.replace(fleet, upstream=None)}},
    ]
    for edit in edits:
        edited = msgspec.structs.replace(before, **edit)
        after = books_of([*records, one("late", OCTOBER + 5, 3)], closes=[close], now_ns=DECEMBER + 10**9, configured=edited)
        assert [(each.line, each.usd) for each in bill(after, "2026-11").corrections] == [("api", 3)], edit


def served(id: str, admitted_ns: int) -> UsageRecord:
    return msgspec.structs.replace(one(id, admitted_ns, 9), model="small", upstream="local", fleet="l40s", duration_us=1_000)


@settings(max_examples=30, deadline=None)
@given(records=ledgers)
def test_our_own_bill_is_recognised_charge_by_charge(records: list[UsageRecord]) -> None:
    books = books_of(records)
    matcher = Matcher(subjects(books))
    for row in focus_rows(bill(books, "2026-10")):
        assert matcher.subject_of(row) is not None, row.charge_description
        assert row.resource_id is not None


def test_other_costs_go_by_their_names_and_services() -> None:
    costs = {"weights": OtherCost(price="12 USD/month", service="Amazon S3"), "egress": OtherCost(price="3 USD/month")}
    configured = msgspec.structs.replace(settings_of(), costs=costs)
    made = bill(books_of([one("a", OCTOBER, 5), served("b", OCTOBER)], configured=configured), "2026-10")
    rows = list(focus_rows(made))
    others = {(row.service_name, row.resource_id, row.resource_name, row.sku_id) for row in rows if (row.x or {})["x_Line"] == "other"}
    assert others == {("Amazon S3", "weights", "weights", "weights/other-costs"), ("egress", "egress", "egress", "egress/other-costs")}
    work = {row.sku_id for row in rows if (row.x or {})["x_Line"] == "gpu_work"}
    assert work == {"L40S/small/input-tokens", "L40S/small/output-tokens"}


@pytest.mark.parametrize(
    ("admitted_ns", "now_ns", "told"),
    [
        (OCTOBER - 1, DECEMBER, None),
        (OCTOBER, DECEMBER, None),
        (OCTOBER + 21 * 24 * HOUR_NS + 9 * HOUR_NS, DECEMBER, "covers 22 to 31 October 2026: the ledger begins on 22 October at 09:00"),
        (NOVEMBER - HOUR_NS, DECEMBER, "covers 31 October 2026 alone: the ledger begins on 31 October at 23:00"),
        (OCTOBER, OCTOBER + 36 * HOUR_NS, "covers 1 to 2 October 2026: the month is not over"),
        (NOVEMBER, DECEMBER, "covers recorded costs alone: no request from before the end of October 2026 is on record"),
    ],
)
def test_a_bill_says_how_much_of_its_month_it_covers(admitted_ns: int, now_ns: int, told: str | None) -> None:
    made = bill(books_of([one("a", admitted_ns, 5)], now_ns=now_ns), "2026-10")
    assert covers(made) == told
    beside = not_known(made)
    if admitted_ns <= OCTOBER:
        assert beside == []
    elif admitted_ns >= NOVEMBER:
        assert [(each.what, each.always) for each in beside] == [("nothing of 2026-10 or before is on record", True)]
    else:
        assert (beside[0].what, beside[0].always) == (f"its bill {told}", False)


def test_recorded_costs_of_a_month_before_the_ledger_can_be_allowed() -> None:
    run = Entry(id="r", kind="other", name="data", since_ns=OCTOBER + 1, until_ns=OCTOBER + 1, recorded_ns=DECEMBER, other_cost=5)
    [told] = not_known(bill(books_of([], [run]), "2026-10"))
    assert (told.what, told.always) == (f"its bill {covers(bill(books_of([], [run]), '2026-10'))}", False)


def test_a_model_that_only_shadows_stands_on_the_bill_with_its_calls() -> None:
    tokens = Tokens(1_000, 0, 0, 100, 0)
    cost = PRICE.cost(tokens)
    assert cost is not None
    shadows = [
        UsageRecord(
            id=f"s{n}", admitted_ns=OCTOBER + n * HOUR_NS, endpoint="chat.completions", status=200, outcome="ok", model="large",
            upstream="openai", tokens=tokens, cost=cost, price_id="book:large", price_version="2026", purpose="shadow", parent="r",
        )
        for n in range(2)
    ]  # fmt: skip
    unpriced = msgspec.structs.replace(shadows[0], id="u", cost=None, price_id=None)
    books = books_of([*shadows, unpriced])
    made = bill(books, "2026-10")
    billed = [charge for charge in made.charges if charge.line == "api"]
    assert sum(int(charge.usd) for charge in billed) == 2 * cost
    assert {charge.meter: charge.quantity for charge in billed} == {"Input Tokens": "2000", "Output Tokens": "200"}
    assert "1 call beside a request has no price" in made.unknown
    [bearer] = [each for each in made.bearers if int(each.usage_usd)]
    assert (bearer.requests, bearer.unpriced) == (0, 1)
    assert (made.coverage.requests, made.coverage.known_lines, made.coverage.lines) == (0, 2, 3)
    without = bill_bytes(bill(books_of([one("a", OCTOBER, 5)]), "2026-10"))
    assert b"asides" not in without, "a bill that was frozen before there were any stays as it is"
