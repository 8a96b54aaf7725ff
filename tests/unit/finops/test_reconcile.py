"""The ledger's side of a reconciliation: the same figures as the statement, whatever is in the ledger; and how options are read."""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.reconcile_table import print_reconciliation
from penstock.config.caching import Cache, SemanticCache
from penstock.domain.bills.comparing import Tolerance
from penstock.domain.bills.focus import FocusRow
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.units import usd
from penstock.finops.bills.reconcile import Question, ReconcileError, Reconciliation, keys, ledger_lines, reconcile, subjects, tolerance
from penstock.finops.bills.reconcile_report import reconcile_csv, reconcile_json, text
from penstock.finops.statement import statement
from penstock.ports.bill_source import ReadReport
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, OCTOBER, books_of, records_of, settings_of

DAY_NS = 86_400 * 10**9


class Screen(io.StringIO):
    """A terminal that keeps what it shows."""

    def isatty(self) -> bool:
        return True


def table_of(found: Reconciliation) -> str:
    file = io.StringIO()
    print_reconciliation(found, file)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


class Pages:
    """A `BillSource` over rows that are there."""

    def __init__(self, rows: list[FocusRow], *, refused: int = 0) -> None:
        self._rows = rows
        self.report = ReadReport(path="bill", refused=refused)

    def rows(self) -> Iterator[FocusRow]:
        return iter(self._rows)

    def progress(self) -> tuple[int, int]:
        return 0, 0


def charge(cost: str, day: int = 1, **fields: object) -> FocusRow:
    start = datetime(2026, 10, day, tzinfo=UTC)
    return FocusRow(
        effective_cost=Decimal(cost), billed_cost=Decimal(cost), billing_currency="USD", charge_category="Usage", provider_name="OpenAI",
        service_name="OpenAI API", charge_period_start=start, charge_period_end=start + timedelta(days=1),
        sku_price_details={"ModelId": "gpt-4o"}, **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def record(id: str, cost: int | None, day: int = 1, **fields: object) -> UsageRecord:
    given = {"endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "large", "upstream": "openai"}
    at = OCTOBER + (day - 1) * DAY_NS
    return UsageRecord(id=id, admitted_ns=at, cost=cost, **{"tokens": Tokens(1000, 0, 0, 10, 0), **given, **fields})  # type: ignore[arg-type]


@given(st.lists(records_of(), max_size=8), st.integers(0, 40), st.integers(1, 30))
def test_the_ledger_is_compared_with_what_the_statement_says(records: list[UsageRecord], first: int, days: int) -> None:
    books = books_of(records)
    since, until = OCTOBER + first * DAY_NS, OCTOBER + (first + days) * DAY_NS
    lines = list(ledger_lines(books, list(subjects(books)), since, until))
    stated = statement(books, CostQuery(since_ns=since, until_ns=until)).lines()
    compared = sum(amount for line, amount in stated.items() if line != "recorded")
    assert sum((line.cost or Decimal(0) for line in lines), Decimal(0)) == usd(compared)


def test_models_that_left_the_config_are_still_compared() -> None:
    books = books_of([record("a", 5, model="gone", upstream="left")])
    assert ("left", "gone") in {(subject.service, subject.model) for subject in subjects(books)}


def test_own_hardware_is_no_api() -> None:
    books = books_of([record("a", 5, model="small", upstream="local", fleet="l40s")])
    kinds = {subject.kind for subject in subjects(books) if subject.service == "local"}
    assert kinds == set()


def test_the_window_is_what_the_charges_cover() -> None:
    found = reconcile(books_of([record("a", 2_000_000_000, day=3)]), [Pages([charge("2", day=3)])], Question(by=("model",)))
    assert (found.since_ns, found.until_ns) == (OCTOBER + 2 * DAY_NS, OCTOBER + 3 * DAY_NS)
    assert [(group.model, group.status) for group in found.groups] == [("large", "matched")]
    assert found.complete and not found.differences


def test_without_a_matching_charge_nothing_is_compared() -> None:
    found = reconcile(books_of([record("a", 2)]), [Pages([])], Question())
    assert (found.groups, found.complete) == ((), False)
    assert reconcile_json(found)["window"] is None


def test_refused_rows_make_it_incomplete() -> None:
    books = books_of([record("a", 2_000_000_000)])
    found = reconcile(books, [Pages([charge("2")], refused=1)], Question())
    assert (found.complete, found.gap) == (False, "1 row was refused")
    shown = reconcile_json(found)
    assert not found.differences
    assert (shown["complete"], shown["equal"], shown["incomplete_because"]) == (False, None, "1 row was refused")
    assert reconcile_json(reconcile(books, [Pages([charge("2")])], Question()))["equal"] is True
    cut = Pages([charge("2")], refused=2)
    cut.report.broken = "the gz file is cut off"
    assert reconcile(books, [cut], Question()).gap == "1 file is not whole, and 2 rows refused"
    assert reconcile(books_of([]), [Pages([charge("2")])], Question()).gap.startswith("the ledger is empty")


def test_the_head_of_the_table_says_what_exit_4_says() -> None:
    books = books_of([record("a", 2_000_000_000)])
    shown = table_of(reconcile(books, [Pages([charge("2")], refused=1)], Question(by=("model",)))).splitlines()
    assert shown[0] == "incomplete: 1 row was refused"
    assert shown[1] == "billed 2.00 USD, booked 2.00 USD (0.00): what was read agrees"
    whole = table_of(reconcile(books, [Pages([charge("2")])], Question(by=("model",)))).splitlines()
    assert whole[0] == "billed 2.00 USD, booked 2.00 USD (0.00): agrees"
    assert "1 line agrees: 2.00 USD" in whole


def test_what_was_bought_is_printed_with_what_was_invoiced() -> None:
    bought = msgspec.structs.replace(charge("0"), billed_cost=Decimal(15000), charge_category="Purchase", service_name="EC2")
    found = reconcile(books_of([record("a", 2_000_000_000)]), [Pages([charge("2"), bought])], Question())
    assert "apart, purchases and commitments: 0.00 USD (EC2 0.00), 1 charge, billed 15,000.00 USD" in table_of(found)
    [apart] = reconcile_json(found)["apart"]
    assert (apart["charges"], apart["cost_usd"], apart["billed_usd"]) == (1, "0.00", "15000.00")


def test_the_table_stays_readable_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    found = reconcile(books_of([record("a", 1_500_000_000)]), [Pages([charge("2.25")])], Question())
    screen = Screen()
    print_reconciliation(found, screen)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in screen.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    at = next(number for number, line in enumerate(lines) if "rate differs" in line)
    assert lines[at].split() == ["2.25", "1.50", "0.75", "rate", "differs", "openai", "large", "2026-10-01"]
    why = lines[at + 1 : lines.index("", at)]
    assert all(line.startswith("    ") for line in why)
    assert " ".join(line.strip() for line in why) == found.differences[0].what


def test_charges_without_a_currency_are_noted() -> None:
    rows = [msgspec.structs.replace(charge("2"), billing_currency=None)]
    found = reconcile(books_of([record("a", 2_000_000_000)]), [Pages(rows)], Question())
    assert "1 charge without a currency: taken as USD" in found.notes


def test_the_gpu_hours_of_our_own_export_are_no_instance_hours() -> None:
    row = FocusRow(
        effective_cost=Decimal(5), billed_cost=Decimal(5), billing_currency="USD", charge_category="Usage", provider_name="penstock",
        service_name="Self-hosted inference", charge_period_start=datetime(2026, 10, 1, tzinfo=UTC), sku_id="L40S/output-tokens",
        charge_period_end=datetime(2026, 10, 2, tzinfo=UTC), pricing_quantity=Decimal(6), pricing_unit="GPU-Hours",
        consumed_quantity=Decimal(9_000), consumed_unit="Tokens",
    )  # fmt: skip
    found = reconcile(books_of([record("a", None, model="small", upstream="local", fleet="l40s")]), [Pages([row])], Question())
    [group] = [group for group in found.groups if group.service == "L40S"]
    assert {meter: billed for meter, billed, _ in group.quantities} == {"GPU-Hours": Decimal(6)}


def test_unpriced_requests_are_no_zero() -> None:
    found = reconcile(books_of([record("a", None)]), [Pages([charge("2")])], Question(by=("model",)))
    [group] = found.groups
    assert (group.status, group.billed, group.booked) == ("rate differs", Decimal(2), None)
    assert reconcile_json(found)["rows"][0]["booked_usd"] is None


def test_notes_say_what_limits_the_comparison() -> None:
    rows = [charge("2", day=1, invoice_id=None), charge("2", day=3)]
    found = reconcile(books_of([record("a", 1, day=3)], now_ns=OCTOBER + 2 * DAY_NS + 1), [Pages(rows)], Question())
    assert "the ledger begins on 2026-10-03: what was billed before has nothing to stand against" in found.notes
    assert "the window is not over: what is still to come is on neither side" in found.notes


def test_watchers_hear_of_every_file() -> None:
    heard: list[object] = []
    sources = [Pages([charge("1")]), Pages([charge("1")])]
    found = reconcile(books_of([record("a", 1)]), sources, Question(), heard.append)
    assert set(map(id, heard)) == set(map(id, sources))
    assert {currency: (amount.charges, amount.cost) for currency, amount in found.repeated.items()} == {"USD": (1, Decimal(1))}


def test_csv_and_json_have_the_same_groups() -> None:
    found = reconcile(books_of([record("a", 1_500_000_000)]), [Pages([charge("2.25")])], Question(since_ns=OCTOBER, until_ns=NOVEMBER))
    table = reconcile_csv(found).splitlines()
    shown = reconcile_json(found)
    assert len(table) - 1 == len(shown["rows"]) == len(found.groups)
    assert "openai,large,2026-10-01,rate differs,2.25,1.50,0.75,1," in table[1]
    assert shown["total"] == {"billed_usd": "2.25", "booked_usd": "1.50", "difference_usd": "0.75"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, Tolerance()),
        ("0.5%", Tolerance(Decimal("0.005"))),
        ("0.10 USD", Tolerance(Decimal(0), Decimal("0.10"))),
        ("1%, 2", Tolerance(Decimal("0.01"), Decimal(2))),
        ("0", Tolerance(Decimal(0))),
    ],
)
def test_tolerances(written: str | None, read: Tolerance) -> None:
    assert tolerance(written) == read


@pytest.mark.parametrize("written", ["little", "100%", "-1", "nan", "1%%", "inf USD"])
def test_what_is_no_tolerance(written: str) -> None:
    with pytest.raises(ReconcileError) as caught:
        tolerance(written)
    assert caught.value.hint


def test_keys_come_in_one_order() -> None:
    assert keys(["day,service"]) == ("service", "day")
    assert keys(None) == ("service", "model", "day")
    with pytest.raises(ReconcileError, match="`--by team` is not a key of a bill"):
        keys(["team"])


@pytest.mark.parametrize(
    ("amount", "shown"), [("0", "0.00"), ("12.5", "12.50"), ("1E-9", "0.000000001"), ("100", "100.00"), ("-0.75", "-0.75")]
)
def test_money_is_a_decimal_text(amount: str, shown: str) -> None:
    assert text(Decimal(amount)) == shown
    assert text(None) is None


def test_december_is_not_there_yet() -> None:
    assert list(ledger_lines(books_of([]), (), DECEMBER, DECEMBER + DAY_NS)) == []


def test_an_embedding_stands_against_the_bill_of_whoever_made_it() -> None:
    """Half of the answers were replayed, a quarter came from own hardware, and the embedder has users of its own."""
    asked = [record(f"a{n}", 5_000_000 + 20_000, embedding_cost=20_000, counterfactual=5_000_000) for n in range(10)]
    hits = [record(f"h{n}", 20_000, embedding_cost=20_000, counterfactual=5_000_000, cache="semantic", tokens=NO_TOKENS) for n in range(20)]
    own: dict[str, Any] = {"model": "small", "upstream": "local", "fleet": "l40s", "provisional": 3_000}
    mine = [record(f"o{n}", 3_000 + 20_000, embedding_cost=20_000, counterfactual=3_000, **own) for n in range(10)]
    direct = record("direct", 1_000_000, endpoint="embeddings", model="embed", upstream="azure")
    books = books_of([*asked, *hits, *mine, direct])
    lines = list(ledger_lines(books, list(subjects(books)), OCTOBER, OCTOBER + DAY_NS))
    booked: dict[str, Decimal] = {}
    for line in lines:
        booked[line.subject.service] = booked.get(line.subject.service, Decimal(0)) + (line.cost or Decimal(0))
    assert booked["openai"] == Decimal("0.05")
    assert booked["azure"] == Decimal("0.001") + 40 * Decimal("0.00002")
    assert "local" not in booked, "nobody bills what own hardware did, or what was looked up for it"


def test_what_own_hardware_embeds_is_on_no_bill() -> None:
    configured = msgspec.structs.replace(settings_of(), cache=Cache(semantic=SemanticCache(embedder="small")))
    given: dict[str, Any] = {"embedding_cost": 20_000, "counterfactual": 5_000_000, "provisional": 20_000}
    books = books_of([record("a", 5_020_000, **given)], configured=configured)
    (line,) = (line for line in ledger_lines(books, list(subjects(books)), OCTOBER, OCTOBER + DAY_NS) if line.subject.kind == "api")
    assert (line.subject.service, line.cost) == ("openai", Decimal("0.005"))
