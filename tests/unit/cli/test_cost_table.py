"""The cost table: fits the terminal, plain elsewhere, money that can be read, nothing that a client could smuggle in."""

import io
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.cost_table import money, percent, print_report, printable
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.costs import CostReport, cost_report
from tests.unit.finops.ledgers import EVER, Ledger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(*tags: dict[str, str], by: tuple[str, ...] = ("team",), **fields: Any) -> CostReport:
    given: dict[str, Any] = {"cost": 1_234_567, "counterfactual": 9_999_999, "tokens": Tokens(1234, 0, 0, 5678, 0)} | fields
    records = [
        UsageRecord(
            id=str(n),
            admitted_ns=n,
            endpoint="chat.completions",
            status=200,
            outcome="ok",
            model="a-rather-long-model-name-" * 2,
            tags=each,
            **given,
        )
        for n, each in enumerate(tags)
    ]
    return cost_report(Ledger(records), [], msgspec.structs.replace(EVER, by=by), label="last 30d")


def drawn(found: CostReport, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    file = Terminal()
    print_report(found, file)
    return re.sub(r"\x1b\[\d+m", "", file.getvalue()).splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("by", [("team",), ("team", "model"), ()])
def test_the_table_fits_the_terminal_and_cuts_no_figure(width: int, by: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(report({"team": "search"}, {"team": "support"}, by=by), width, monkeypatch)
    assert max(map(len, lines)) <= width
    total = next(line for line in lines if line.startswith("total"))
    assert " 0.00247 " in total
    assert "…" not in total
    if width >= 120:
        assert "baseline USD" in lines[0]


def test_where_it_is_no_terminal_lines_are_plain_and_whole() -> None:
    file = io.StringIO()
    print_report(report({"team": "search"}, by=("team", "model")), file)
    lines = file.getvalue().splitlines()
    assert lines[0].split("  ")[0] == "team"
    assert lines[1].split() == [
        "search",
        "a-rather-long-model-name-" * 2,
        "1",
        "0",
        "0",
        "0",
        "1234",
        "5678",
        "0.001235",
        "0.010000",
        "0.008765",
        "0.0001786",
    ]
    assert file.getvalue().isascii()
    assert any(line.startswith("coverage: 100 % of 1 requests priced") for line in lines)
    assert any(line.startswith("CP1KT = ") for line in lines)


def test_unknown_and_partly_known_costs_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    unpriced = report({"team": "search"}, cost=None, counterfactual=None)
    text = "\n".join(drawn(unpriced, 200, monkeypatch))
    assert "unknown" in text
    assert "0 % of 1 requests priced; unpriced: a-rather-long-model-name-" in text


@given(st.text())
def test_values_cannot_move_the_cursor_or_break_the_line(value: str) -> None:
    shown = printable(value)
    assert shown.isprintable()
    assert len(shown) == len(value)


def test_a_value_that_looks_like_markup_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(drawn(report({"team": "[red]:boom:[/nope]"}, {"team": "\x1b[2J"}), 120, monkeypatch))
    assert "[red]:boom:[/nope]" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("amounts", "shown"),
    [
        (["12.3449", "0.001", None], ["12.34", "<0.01", "unknown"]),
        (["1234567.891", "0"], ["1,234,567.89", "0.00"]),
        (["0.000123456"], ["0.0001235"]),
        (["0.000000001"], ["0.000000001"]),
        (["-3.5", "-0.0001"], ["-3.500", ">-0.001"]),
        ([], []),
    ],
)
def test_money_of_a_column(amounts: list[str | None], shown: list[str]) -> None:
    assert money([None if amount is None else Decimal(amount) for amount in amounts]) == shown


def test_a_percentage_is_whole_only_when_it_is() -> None:
    assert (percent(9999, 10000), percent(10, 10), percent(0, 3)) == ("99.9 %", "100 %", "0 %")
