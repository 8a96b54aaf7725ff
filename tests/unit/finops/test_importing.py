"""Imported bills: every charge ends in one place, the same charges are the same entries, and what the ledger knows is left out."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.settings import Tags
from penstock.domain.bills.focus import FocusRow
from penstock.domain.bills.selecting import Selection, selector
from penstock.domain.ledger.entries import Close, Entry
from penstock.domain.units import usd
from penstock.finops.bills import importing
from penstock.finops.bills.import_entries import Imported, plan, write
from penstock.finops.bills.import_report import import_json
from penstock.finops.bills.importing import Wanted, gather, nano
from penstock.ports.bill_source import ReadReport
from penstock.ports.documents import Document
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, OCTOBER, books_of, settings_of

DAY = timedelta(days=1)
DAY_NS = 86_400 * 10**9
FIRST = datetime(2026, 10, 1, tzinfo=UTC)
BY_TEAM = Wanted(selection=Selection(tags=("team",)))


class Pages:
    """A `BillSource` over rows that are there."""

    def __init__(self, rows: Sequence[FocusRow], *, refused: int = 0) -> None:
        self._rows = rows
        self.report = ReadReport(path="bill.csv", refused=refused)

    def rows(self) -> Iterator[FocusRow]:
        return iter(self._rows)

    def progress(self) -> tuple[int, int]:
        return 0, 0


class Ledgers:
    """A ledger that imports go to, with the documents beside it."""

    written: Iterator[Entry]

    def __init__(self, closes: Sequence[Close] = (), **tags: Any) -> None:
        self.entries: dict[str, Entry] = {}
        self._documents: dict[str, Document] = {}
        self._closes, self._settings = closes, msgspec.structs.replace(settings_of(), tags=Tags(**tags))

    def put_entry(self, entry: Entry) -> bool:
        assert entry.id not in self.entries
        self.entries[entry.id] = entry
        return True

    def add(self, document: Document) -> bool:
        return self._documents.setdefault(document.id, document) is document

    def get(self, kind: str, id: str) -> Document | None:
        return self._documents.get(id)

    def take(
        self, *files: Sequence[FocusRow], wanted: Wanted = BY_TEAM, correct: bool = False, refused: int = 0, whole: bool = True
    ) -> Imported:
        books = books_of([], tuple(self.entries.values()), self._closes, configured=self._settings)
        sources = [Pages(rows, refused=refused) for rows in files]
        gathered = gather(books, sources, wanted)
        reports = [source.report for source in sources]
        found = plan(books, gathered, wanted, reports, lambda: self, correct=correct)  # type: ignore[arg-type,return-value]
        self.written = write(found, wanted, self, self, DECEMBER)  # type: ignore[arg-type]
        if whole:
            assert list(self.written) == found.entries
        return found

    @property
    def total(self) -> int:
        return sum(entry.other_cost for entry in self.entries.values())


def charge(cost: str, day: int = 1, team: str | None = None, **fields: Any) -> FocusRow:
    start = FIRST + (day - 1) * DAY + timedelta(hours=5)
    told = {
        "effective_cost": Decimal(cost), "billed_cost": Decimal(99), "billing_currency": "USD", "charge_category": "Usage",
        "billing_account_id": "7", "service_provider_name": "AWS", "service_name": "Amazon S3", "charge_period_start": start,
        "charge_period_end": start + timedelta(hours=1), "tags": None if team is None else {"team": team},
    }  # fmt: skip
    return FocusRow(**{**told, **fields})


def states(found: Imported) -> dict[str, int]:
    return {state: count for state, count, _ in found.sums()}


def left_out(found: Imported) -> dict[str, tuple[int, Decimal]]:
    return {reason: (amount.charges, amount.cost) for (reason, _), amount in found.left_out.items()}


def test_charges_of_a_service_a_day_and_a_team_are_one_entry() -> None:
    ledger = Ledgers()
    rows = [charge("1.25", team="a"), charge("0.0000000004", team="a"), charge("2", team="b"), charge("3"), charge("4", day=2, team="a")]
    found = ledger.take(rows)
    assert states(found) == {"new": 4}
    told = {(each.since_ns, each.tags.get("team")): each for each in ledger.entries.values()}
    assert {key: each.other_cost for key, each in told.items()} == {
        (OCTOBER, "a"): 1_250_000_000, (OCTOBER, "b"): 2 * 10**9, (OCTOBER, None): 3 * 10**9, (OCTOBER + DAY_NS, "a"): 4 * 10**9,
    }  # fmt: skip
    assert {(each.name, each.kind, each.until_ns - each.since_ns) for each in told.values()} == {("Amazon S3", "other", DAY_NS)}


CHARGES = st.builds(
    charge,
    st.decimals(-10, 10, places=11).map(str),
    st.integers(1, 3),
    st.sampled_from([None, "a", "b"]),
    service_name=st.sampled_from(["Amazon S3", "Amazon EC2", None]),
    billing_currency=st.sampled_from(["USD", "USD", "EUR", None]),
    charge_category=st.sampled_from(["Usage", "Tax", "Credit"]),
    sku_price_details=st.sampled_from([None, None, {"ModelId": "gpt-4o"}]),
    provider_name=st.sampled_from(["AWS", "OpenAI"]),
)


@given(st.lists(st.lists(CHARGES, max_size=12), min_size=1, max_size=2))
def test_every_charge_ends_in_one_place_and_the_second_import_changes_nothing(files: list[list[FocusRow]]) -> None:
    ledger = Ledgers()
    found = ledger.take(*files)
    placed = sum((amount.cost for amount in [*found.gathered.groups.values(), *found.gathered.left_out.values()]), Decimal(0))
    assert placed == sum((row.effective_cost or Decimal(0) for rows in files for row in rows), Decimal(0))
    grouped = sum((amount.cost for amount in found.gathered.groups.values()), Decimal(0))
    assert abs(usd(ledger.total) - grouped) <= Decimal("0.5e-9") * len(found.gathered.groups), "each entry is rounded once"
    before = dict(ledger.entries)
    again = ledger.take(*reversed(files))
    assert (again.entries, ledger.entries) == ([], before)
    assert {*states(again)} <= {"known"}


def test_what_the_ledger_knows_is_left_out_and_named() -> None:
    weights = charge("5", service_name="Weights")
    rows = [charge("1"), charge("2", sku_price_details={"ModelId": "gpt-4o"}, service_provider_name="OpenAI"), weights]
    found = Ledgers().take(rows)
    assert left_out(found) == {importing.METERED: (1, Decimal(2)), importing.CONFIGURED: (1, Decimal(5))}
    assert usd(sum(entry.other_cost for entry in found.entries)) == 1
    every = Ledgers().take(rows, wanted=Wanted(all=True))
    assert usd(sum(entry.other_cost for entry in every.entries)) == 8
    assert {reason: amount.cost for reason, amount in every.gathered.twice.items()} == {
        importing.METERED: Decimal(2), importing.CONFIGURED: Decimal(5),
    }  # fmt: skip


def test_taxes_and_credits_of_what_the_ledger_knows_are_imported() -> None:
    of_model: dict[str, Any] = {"sku_price_details": {"ModelId": "gpt-4o"}, "service_provider_name": "OpenAI"}
    rows = [charge("0.40", charge_category="Tax", **of_model), charge("-3", charge_category="Credit", **of_model)]
    ledger = Ledgers()
    ledger.take(rows)
    assert ledger.total == -2_600_000_000


def test_a_charge_over_more_than_a_day_keeps_its_time() -> None:
    fee: dict[str, Any] = {"charge_period_start": FIRST, "charge_period_end": FIRST + 31 * DAY}
    ledger = Ledgers()
    ledger.take([charge("31", **fee), charge("1"), charge("2", charge_period_end=None)])
    assert {(each.since_ns, each.until_ns): each.other_cost for each in ledger.entries.values()} == {
        (OCTOBER, NOVEMBER): 31 * 10**9, (OCTOBER, OCTOBER + DAY_NS): 3 * 10**9,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"billing_currency": "EUR"}, importing.FOREIGN),
        ({"effective_cost": None, "billed_cost": None}, importing.WITHOUT_COST),
        ({"charge_period_start": None, "charge_period_end": None}, importing.WITHOUT_TIME),
        ({"charge_period_start": datetime(1960, 1, 1, tzinfo=UTC)}, importing.WITHOUT_TIME),
        ({"charge_period_end": datetime(9999, 1, 1, tzinfo=UTC)}, importing.WITHOUT_TIME),
        ({"effective_cost": Decimal(0)}, importing.FREE),
    ],
)
def test_charges_that_can_be_no_entry_are_told(fields: dict[str, Any], reason: str) -> None:
    found = Ledgers().take([charge("1", **fields)])
    assert (found.entries, [*left_out(found)]) == ([], [reason])


def test_filters_and_windows() -> None:
    rows = [charge("1", service_name="Amazon EC2"), charge("2"), charge("3", day=2), charge("4", day=3)]
    only = Selection(((selector("ServiceName"), ("Amazon S3",)),))
    found = Ledgers().take(rows, wanted=Wanted(selection=only, since_ns=OCTOBER + DAY_NS, until_ns=OCTOBER + 2 * DAY_NS))
    assert [entry.other_cost for entry in found.entries] == [3 * 10**9]
    assert left_out(found) == {importing.UNCHOSEN: (1, Decimal(1)), importing.OUTSIDE: (2, Decimal(6))}


def test_a_restated_bill_is_told_and_only_then_corrected() -> None:
    ledger = Ledgers()
    ledger.take([charge("1.50", team="a"), charge("2", team="b")])
    restated = [charge("1.75", team="a"), charge("2", team="b")]
    found = ledger.take(restated)
    assert (states(found), ledger.total) == ({"known": 1, "restated": 1}, 3_500_000_000)
    assert [(item.recorded, item.billed) for item in found.against["restated"]] == [(1_500_000_000, 1_750_000_000)]
    corrected = ledger.take(restated, correct=True)
    assert (states(corrected), ledger.total) == ({"correction": 1, "known": 1}, 3_750_000_000)
    assert states(ledger.take(restated)) == {"known": 2}
    ledger.take([charge("0", team="a")], correct=True)
    assert sorted(entry.other_cost for entry in ledger.entries.values()) == [-1_750_000_000, 250_000_000, 1_500_000_000, 2 * 10**9]
    assert {entry.tags["team"] for entry in ledger.entries.values() if entry.name.endswith(", corrected")} == {"a"}


def test_the_same_charges_by_another_choice_are_not_counted_twice() -> None:
    ledger = Ledgers()
    rows = [charge("1", team="a"), charge("2", team="b")]
    ledger.take(rows)
    whole = ledger.take(rows, wanted=Wanted())
    assert (states(whole), ledger.total) == ({"overlapping": 1}, 3 * 10**9)
    half = Wanted(selection=Selection((("team", ("a",)),)))
    assert states(ledger.take(rows, wanted=half)) == {"overlapping": 1}
    fresh = Ledgers()
    fresh.take(rows, wanted=half)
    other = Wanted(selection=Selection((("team", ("b",)),)))
    assert (states(fresh.take(rows, wanted=other)), fresh.total) == ({"new": 1}, 3 * 10**9), "no charge can be of both"


def test_tags_of_the_entry_that_the_bill_does_not_have() -> None:
    ledger = Ledgers()
    rows = [charge("1", team="a"), charge("2")]
    ledger.take(rows, wanted=msgspec.structs.replace(BY_TEAM, tags={"team": "platform", "environment": "test"}))
    assert sorted(each.tags["team"] for each in ledger.entries.values()) == ["a", "platform"]
    assert {each.tags["environment"] for each in ledger.entries.values()} == {"test"}
    assert states(ledger.take(rows, correct=True)) == {"retagged": 2}, "the same charges, whatever tags are added to them"


def test_a_closed_month_takes_nothing() -> None:
    close = Close(
        number=1,
        month="2026-10",
        timezone="UTC",
        since_ns=OCTOBER,
        until_ns=NOVEMBER,
        closed_ns=DECEMBER,
        inputs_sha256="",
        total=0,
        bill="",
    )
    ledger = Ledgers(closes=[close])
    found = ledger.take([charge("1"), charge("2", day=32)])
    assert (states(found), ledger.total) == ({"new": 1, "closed": 1}, 2 * 10**9)


def test_nothing_is_written_of_a_file_that_is_not_whole() -> None:
    ledger = Ledgers()
    found = ledger.take([charge("1")], refused=1)
    assert (found.complete, ledger.entries) == (False, {})
    assert import_json(found, dry_run=False)["recorded"] is False


def test_values_of_tags_that_are_not_allowed_are_dropped_and_told() -> None:
    ledger = Ledgers(allowed={"team": ("Search",)}, required=("team",))
    found = ledger.take([charge("1", team="search"), charge("2", team="gold"), charge("3", team="gold", day=2)])
    assert sorted(each.tags.get("team", "") for each in ledger.entries.values()) == ["", "", "Search"]
    assert "2 charges carry a team" in " ".join(found.notes)
    assert "2 entries lack a required tag (team)" in " ".join(found.notes)


def test_what_two_files_have_counts_once() -> None:
    ledger = Ledgers()
    found = ledger.take([charge("1"), charge("1")], [charge("1"), charge("2")])
    assert (ledger.total, left_out(found)) == (4 * 10**9, {importing.REPEATED: (1, Decimal(1))})


def test_an_import_that_was_interrupted_is_made_whole_by_the_next() -> None:
    ledger = Ledgers()
    rows = [charge("1", team="a"), charge("2", team="b"), charge("4", day=2)]
    ledger.take(rows, whole=False)
    assert [next(ledger.written).other_cost, ledger.total] == [10**9, 10**9]
    assert (states(ledger.take(rows)), ledger.total) == ({"new": 2, "known": 1}, 7 * 10**9)


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MOST_ENTRIES", 2)
    with pytest.raises(importing.ImportingError, match="more than 2 entries"):
        Ledgers().take([charge("1", team=team) for team in "abc"])


@pytest.mark.parametrize(
    ("amount", "rounded"), [("0.0000000005", 0), ("0.0000000015", 2), ("-0.0000000015", -2), ("1234567890.1", 1234567890100000000)]
)
def test_amounts_are_rounded_half_to_even(amount: str, rounded: int) -> None:
    assert nano(Decimal(amount)) == rounded
