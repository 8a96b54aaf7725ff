"""The bill as one HTML file: complete in itself, nothing of the bill left out, nothing of what clients sent taken for markup."""

import re

import msgspec
import pytest

from penstock.console.reports.bill import bill_html
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.bills.bill import bill as draft_of
from penstock.finops.bills.document import Bearer, Bill, Charge, Correction, LineTotal, Money, Pot
from tests.unit.finops.bill_books import OCTOBER, books_of
from tests.unit.finops.test_bill_focus import bill_of

USD = 10**9


@pytest.fixture
def bill() -> Bill:
    charges = [
        Charge(
            line="api",
            meter="Input Tokens",
            keys=("<script>alert(1)</script>", None),
            usd=Money(4 * USD + 1),
            quantity="9",
            unit="Tokens",
            model="large",
        ),
        Charge(line="api", meter="Output Tokens", keys=(None, None), usd=Money(2 * USD), quantity="9", unit="Tokens", model="large"),
        Charge(line="idle", meter="Idle GPU Time", keys=(None, None), usd=Money(USD), fleet="demand"),
        Charge(line="other", meter="Other Costs", keys=None, usd=Money(3 * USD), name="weights"),
    ]
    late = Correction(
        month="2026-09",
        since="2026-09-01T00:00:00Z",
        until="2026-10-01T00:00:00Z",
        number=1,
        line="api",
        usd=Money(-USD),
        keys={"team": "search", "feature": None},
    )
    return msgspec.structs.replace(
        bill_of(charges, [late], number=7),
        inputs_sha256="ab" * 32,
        lines=(
            LineTotal(line="api", usd=Money(6 * USD + 1), meaning="billed by providers"),
            LineTotal(line="idle", usd=Money(USD), meaning="not at work"),
            LineTotal(line="other", usd=Money(3 * USD), meaning="neither"),
            LineTotal(line="corrections", usd=Money(-USD), meaning="later"),
        ),
        bearers=(
            bearer(("<script>alert(1)</script>", None), 4 * USD + 1, 0, unpriced=3),
            bearer((None, None), 2 * USD, USD),
        ),
        pots=(
            Pot(line="idle", name="demand", usd=Money(USD), shared_usd=Money(USD), rest_usd=Money(0)),
            Pot(line="other", name="weights", usd=Money(3 * USD), shared_usd=Money(0), rest_usd=Money(3 * USD)),
        ),
        unknown=("3 requests have no price",),
    )


def bearer(keys: tuple[str | None, ...], usage: int, shared: int, unpriced: int = 0) -> Bearer:
    return Bearer(
        keys=keys, requests=5, unpriced=unpriced, input_tokens=9, output_tokens=9, usage_usd=Money(usage), shared_usd=Money(shared),
        total_usd=Money(usage + shared),
    )  # fmt: skip


def test_it_asks_for_nothing_from_anywhere(bill: Bill) -> None:
    html = bill_html(bill)
    assert re.findall(r"https?://|url\(|@import|\bsrc=|<script|<iframe", html) == []
    assert re.findall(r'href="([^"]*)"', html) == ["data:,"]
    assert "default-src 'none'" in html


def test_it_says_every_part_and_the_exact_sum(bill: Bill) -> None:
    html = bill_html(bill)
    assert "9.000000001" in html
    assert "bill 7, frozen" in html
    assert "ab" * 32 in html
    for told in ("Untagged: no team, no feature", "3 requests have no price", "3 requests without a price", "Other costs: weights"):
        assert told in html
    assert "1 October 2026 to 31 October 2026, UTC" in html
    assert "September 2026" in html
    assert "search, no feature" in html


def test_names_that_clients_chose_are_text(bill: Bill) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, no feature" in bill_html(bill)


def test_a_draft_says_so(bill: Bill) -> None:
    html = bill_html(msgspec.structs.replace(bill, number=None, inputs_sha256=None))
    assert "draft: may still change" in html
    assert "frozen" not in html


def test_a_bill_of_nothing_is_still_a_bill() -> None:
    assert "Nothing was spent, as far as the ledger knows." in bill_html(bill_of([]))


def test_it_is_made_for_paper(bill: Bill) -> None:
    html = bill_html(bill)
    assert "@media print" in html
    assert "table-header-group" in html
    assert "color-scheme: light" in html


def test_only_figures_on_the_page_are_defined() -> None:
    record = UsageRecord(
        id="a", admitted_ns=OCTOBER, endpoint="e", status=200, outcome="ok", model="large", upstream="openai", cost=6_000_000,
        tokens=Tokens(1000, 0, 0, 1000, 0),
    )  # fmt: skip
    made = draft_of(books_of([record]), "2026-10")
    titles = re.findall(r"<dt>([^<]+)</dt><dd>", bill_html(made))[3:]
    assert titles == ["Usage", "Shared", "Total", "Cost per 1,000 tokens, by usage", "Cost per 1,000 tokens, by total", "Idle hardware"]
    assert set(made.definitions) <= {"idle", *Bearer.__struct_fields__}
    silent = draft_of(books_of([msgspec.structs.replace(record, tokens=Tokens())]), "2026-10")
    assert "by usage</dt>" not in bill_html(silent)
    nobody = msgspec.structs.replace(silent, bearers=())
    assert re.findall(r"<dt>([^<]+)</dt><dd>", bill_html(nobody))[3:] == ["Idle hardware"]


def test_the_sentence_is_no_finer_than_the_tables(bill: Bill) -> None:
    lines = (LineTotal(line="api", usd=Money(20 * USD), meaning=""), LineTotal(line="other", usd=Money(13 * USD // 100), meaning=""))
    html = bill_html(msgspec.structs.replace(bill, lines=lines, total_usd=Money(2013 * USD // 100)))
    assert "$20.13 in October 2026: $20.00 for requests billed by providers" in html
    assert "$0.13 for other costs" in html
    assert "$0.130" not in html


def test_a_part_of_a_month_says_so_beside_the_total(bill: Bill) -> None:
    part = msgspec.structs.replace(bill, covered_since="2026-10-22T09:00:00Z")
    told = "This bill covers 22 to 31 October 2026: the ledger begins on 22 October at 09:00."
    assert re.search(r'<p class="said">[^<]*</p>\s*<p class="covers">' + re.escape(told), bill_html(part))
    assert "This bill covers" not in bill_html(bill)
