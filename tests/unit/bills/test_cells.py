"""Cells as people write them: numbers stay exact, dates are never guessed twice, nulls are nulls, tags survive."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.bills.cells import (
    NULL_AS_TEXT,
    REMEMBERED,
    CellError,
    Column,
    NotPlain,
    PlainNumbers,
    Style,
    chosen_from,
    decimals,
    read_json,
    read_text,
    times,
)

POINT, COMMA = Style(), Style(decimal_comma=True)
AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=9)


@given(AMOUNTS)
def test_a_plain_number_is_itself(amount: Decimal) -> None:
    assert decimals(POINT)(str(amount)) == (amount, None)
    assert decimals(POINT)(format(amount, "f")) == (amount, None)


@given(AMOUNTS)
def test_thousands_separators_and_currency_signs_change_nothing(amount: Decimal) -> None:
    assert decimals(POINT)(f"${amount:,f} ")[0] == amount
    assert decimals(POINT)(f"{amount:,f} USD")[0] == amount
    assert decimals(POINT)(f"({-amount:,f})" if amount < 0 else f"{amount:,f}")[0] == amount


@given(AMOUNTS)
def test_a_decimal_comma_where_the_file_has_one(amount: Decimal) -> None:
    written = f"{amount:,f}".translate(str.maketrans(",.", ".,"))
    assert decimals(COMMA)(written)[0] == amount


@pytest.mark.parametrize(
    ("text", "value", "mended"),
    [
        ("", None, None),
        ("NULL", None, NULL_AS_TEXT),
        ("NaN", None, NULL_AS_TEXT),
        ("1.0E-6", Decimal("0.000001"), None),
        ("$10,000.00 ", Decimal(10000), "a number with thousands separators"),
        ("0,5", Decimal("0.5"), "a number with a decimal comma"),
        ("1,234", Decimal(1234), "a number with thousands separators"),
        ("12.34-", Decimal("-12.34"), "a number with its minus at the end"),
        ("(12.34)", Decimal("-12.34"), "a number in brackets, read as negative"),
        ("1 234.5", Decimal("1234.5"), "a number with blanks or a currency sign"),
    ],
)
def test_numbers_as_bills_have_them(text: str, value: Decimal | None, mended: str | None) -> None:
    assert decimals(POINT)(text) == (value, mended)


@pytest.mark.parametrize("text", ["twelve", "1.2.3", "1,23,4", "1_000", "Infinity", "1e999", "-", "0x10", "1" * 100, "12 apples"])
def test_what_is_no_number_is_never_one(text: str) -> None:
    with pytest.raises(CellError):
        decimals(POINT)(text)


def test_in_a_file_with_decimal_commas_a_point_is_no_decimal_point() -> None:
    assert decimals(COMMA)("1.234")[0] == 1234
    with pytest.raises(CellError):
        decimals(COMMA)("1.5")


@given(st.floats(min_value=1e-30, max_value=1e12) | st.floats(min_value=-1e12, max_value=-1e-30) | st.just(0.0))
def test_binary_floats_of_parquet_are_the_shortest_decimal(value: float) -> None:
    read, _ = decimals(POINT)(value)
    assert float(read) == value


@pytest.mark.parametrize(
    ("text", "style", "expected"),
    [
        ("2026-09-01T00:00:00Z", Style(), (9, 1, 0)),
        ("2026-09-01 00:00:00", Style(), (9, 1, 0)),
        ("2026-09-01T02:00:00+02:00", Style(), (9, 1, 0)),
        ("2026-09-01T00:00:00.000Z", Style(), (9, 1, 0)),
        ("2026-09-01 05:00:00 UTC", Style(), (9, 1, 5)),
        ("09/01/2026", Style(), (9, 1, 0)),
        ("9/1/26", Style(), (9, 1, 0)),
        ("1/9/2026 13:30", Style(day_first=True), (9, 1, 13)),
        ("01.09.2026", Style(day_first=True), (9, 1, 0)),
        ("20260901", Style(), (9, 1, 0)),
        ("2026-09-01", Style(), (9, 1, 0)),
    ],
)
def test_dates(text: str, style: Style, expected: tuple[int, int, int]) -> None:
    moment, _ = times(style)(text)
    assert (moment.month, moment.day, moment.hour) == expected
    assert moment.tzinfo is UTC and moment.year == 2026


@pytest.mark.parametrize("text", ["13/09/2026", "someday", "2026-13-01", "0/0/2026", "2026-09-31T00:00:00Z", "31/02/2026"])
def test_dates_that_are_none(text: str) -> None:
    with pytest.raises(CellError):
        times(Style())(text)


def test_only_dates_that_the_format_does_not_have_are_faults() -> None:
    assert times(Style(plain_dates=True))("9/2/2026")[1] is None
    assert times(Style())("9/2/2026")[1] == "dates as MM/DD/YYYY"
    assert times(Style())(datetime(2026, 9, 2, tzinfo=UTC))[1] is None


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('{"team": "a"}', {"team": "a"}),
        ('"team": "a","env": ""', {"team": "a", "env": ""}),
        ("team:a;env:b", {"team": "a", "env": "b"}),
        ('[{"key": "team", "value": "a"}]', {"team": "a"}),
        ('[["team", "a"]]', {"team": "a"}),
        ('{"n": 1.10}', {"n": Decimal("1.10")}),
        ("{}", {}),
        ("", None),
        ("NULL", None),
    ],
)
def test_tags_in_every_shape(cell: str, expected: object) -> None:
    assert read_json(cell)[0] == expected


def test_tags_that_nobody_can_read_are_said_to_be() -> None:
    column = Column("Tags", read_json)
    assert column["just words"] is None
    assert column.mended["just words"] == "tags that cannot be read, taken as unknown"


def test_listed_values_are_mended_and_others_kept() -> None:
    read = chosen_from(("Usage-Based", "One-Time"))
    assert read("Usage-based") == ("Usage-Based", "spelling of a listed value")
    assert read("usage based")[0] == "Usage-Based"
    assert read("Sometimes") == ("Sometimes", "a value that FOCUS does not list, kept")


def test_a_needed_cell_that_cannot_be_read_names_its_column() -> None:
    with pytest.raises(CellError, match="BilledCost is no number: `twelve`"):
        Column("BilledCost", decimals(POINT), needed=True)["twelve"]


@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(["NULL", " a ", "", "n/a", "long enough text"])), max_size=30))
def test_remembering_changes_no_value(cells: list[str]) -> None:
    column = Column("x", read_text)
    for cell in cells + cells:
        assert (column[cell], column.mended.get(cell)) == read_text(cell)


def test_memory_is_bounded() -> None:
    column, plain = Column("x", decimals(POINT)), PlainNumbers()
    for number in range(REMEMBERED * 2):
        assert column[f"${number}"] == plain[str(number)] == number
        assert column.mended[f"${number}"]
    assert max(len(column), len(column.mended), len(plain)) <= REMEMBERED


@pytest.mark.parametrize("cell", ["1,5", "NaN", " 1", "1_0", None, 1.5, "1e5", "٣"])
def test_only_plain_numbers_take_the_short_way(cell: Any) -> None:
    with pytest.raises(NotPlain):
        PlainNumbers()[cell]
