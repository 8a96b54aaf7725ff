"""Filters over charges: columns in any spelling, custom columns, tags; and when two filters cannot take the same charge."""

from datetime import UTC, datetime

import pytest

from penstock.domain.bills.focus import FocusRow
from penstock.domain.bills.selecting import Selection, selector

ROW = FocusRow(
    service_name="Amazon S3",
    sub_account_id="1111",
    charge_period_start=datetime(2026, 10, 1, tzinfo=UTC),
    tags={"Cost-Center": "a1", "team": " search ", "empty": "", "number": 7, "nothing": None},
    x={"x_Operation": "Put"},
)


def only(**where: str) -> Selection:
    return Selection(tuple((selector(name), (value,)) for name, value in where.items()))


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("ServiceName", "Amazon S3", True),
        ("service_name", "Amazon S3", True),
        ("ServiceName", "amazon s3", False),
        ("RegionId", "us-east-1", False),
        ("ChargePeriodStart", "2026-10-01T00:00:00Z", True),
        ("x_Operation", "Put", True),
        ("x_Other", "Put", False),
        ("team", "search", True),
        ("tag:Team", "search", True),
        ("cost_center", "a1", True),
        ("number", "7", True),
        ("nothing", "None", False),
        ("empty", "", False),
    ],
)
def test_a_filter_names_a_column_or_a_tag(name: str, value: str, taken: bool) -> None:
    assert only(**{name: value}).takes(ROW) is taken


def test_all_columns_have_to_pass_and_any_of_their_values() -> None:
    both = Selection((("ServiceName", ("Amazon EC2", "Amazon S3")), ("SubAccountId", ("1111",))))
    assert both.takes(ROW)
    assert not Selection((*both.where, ("team", ("other",)))).takes(ROW)
    assert Selection().takes(FocusRow())


def test_the_tags_asked_for_by_their_one_spelling() -> None:
    assert Selection(tags=("cost_center", "empty", "missing", "number", "team")).tags_of(ROW) == {
        "cost_center": "a1", "number": "7", "team": "search",
    }  # fmt: skip
    assert Selection().tags_of(ROW) == {}


def test_filters_exclude_each_other_when_one_column_has_no_value_in_common() -> None:
    one, other = only(team="a", ServiceName="s3"), only(team="b", ServiceName="s3")
    assert one.excludes(other) and other.excludes(one)
    assert not one.excludes(one)
    assert not one.excludes(only(SubAccountId="1"))
    assert not one.excludes(Selection())
    assert not Selection((("team", ("a", "b")),)).excludes(one)
