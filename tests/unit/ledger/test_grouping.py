"""Grouping and filtering of single records."""

import pytest

from penstock.domain.ledger.grouping import key_of, keys_of, matches
from penstock.domain.ledger.measures import DIMENSIONS, CostQuery
from penstock.domain.ledger.record import UsageRecord

RECORD = UsageRecord(
    id="r",
    admitted_ns=1_795_243_561_999_999_999,  # 2026-11-21T06:46:01.999999999Z
    endpoint="chat.completions",
    status=200,
    outcome="ok",
    model="m",
    tags={"team": "search", "model": "a tag cannot hide a field", "empty": ""},
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "m"),
        ("status", "200"),
        ("tier", None),
        ("team", "search"),
        ("empty", ""),
        ("feature", None),
        ("day", "2026-11-21"),
        ("hour", "2026-11-21T06"),
    ],
)
def test_value_of_a_key(key: str, value: str | None) -> None:
    assert key_of(RECORD, key) == value


def test_every_dimension_is_a_field() -> None:
    assert len(keys_of(RECORD, DIMENSIONS)) == len(DIMENSIONS)


def test_the_window_holds_its_start_and_not_its_end() -> None:
    at = RECORD.admitted_ns
    assert matches(RECORD, CostQuery(since_ns=at, until_ns=at + 1))
    assert not matches(RECORD, CostQuery(since_ns=at - 1, until_ns=at))


@pytest.mark.parametrize(
    ("where", "expected"),
    [((("team", "search"), ("model", "m")), True), ((("team", "search"), ("tier", "None")), False), ((("feature", ""),), False)],
)
def test_filters_hold_together_and_an_unknown_passes_none(where: tuple[tuple[str, str], ...], expected: bool) -> None:
    assert matches(RECORD, CostQuery(since_ns=0, until_ns=2**63 - 1, where=where)) is expected
