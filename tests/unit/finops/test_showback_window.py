"""The windows of a review: whole weeks and months of the zone, each against the one before, whatever the clock does between them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.finops.showback.window import last_month, last_week, review_of
from penstock.finops.window import Window, window

ZONES = ("UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu")
SECOND = 10**9
MOMENTS = st.integers(2 * 366 * 86_400, 130 * 366 * 86_400).map(lambda second: second * SECOND)
NOW = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * SECOND


def local(instant_ns: int, zone: str) -> datetime:
    return datetime.fromtimestamp(instant_ns // SECOND, ZoneInfo(zone))


@given(now_ns=MOMENTS, zone=st.sampled_from(ZONES))
def test_a_week_is_the_last_whole_one_from_monday_on(now_ns: int, zone: str) -> None:
    review = last_week(now_ns, zone)
    assert review.before.until_ns == review.now.since_ns < review.now.until_ns <= now_ns
    for each in (review.now, review.before):
        begin, end = local(each.since_ns, zone), local(each.until_ns, zone)
        assert (begin.weekday(), end.weekday(), (end.date() - begin.date()).days) == (0, 0, 7)
    assert now_ns - review.now.until_ns < 8 * 86_400 * SECOND


@given(now_ns=MOMENTS, zone=st.sampled_from(ZONES))
def test_a_month_is_the_last_whole_one(now_ns: int, zone: str) -> None:
    review = last_month(now_ns, zone)
    assert review.before.until_ns == review.now.since_ns < review.now.until_ns <= now_ns
    today = local(now_ns, zone)
    assert local(review.now.until_ns, zone).date() == today.date().replace(day=1)
    assert local(review.now.since_ns, zone).day == local(review.before.since_ns, zone).day == 1


def test_labels_name_the_week_and_the_month() -> None:
    assert (last_week(NOW, "UTC").now.label, last_month(NOW, "UTC").now.label) == ("2026-W46", "2026-10")
    assert last_month(NOW, "UTC").before.label == "2026-09"


def test_a_whole_month_is_compared_with_the_month_before_it() -> None:
    asked = window("2026-10", None, now_ns=NOW, timezone="Europe/Berlin")
    assert review_of(asked, NOW) == last_month(NOW, "Europe/Berlin")


@pytest.mark.parametrize("text", ["2026-11", "2026-11-14", "30d"])
def test_any_other_window_is_compared_with_as_long_before_it(text: str) -> None:
    asked = window(text, None, now_ns=NOW, timezone="UTC")
    review = review_of(asked, NOW)
    assert (review.kind, review.now.since_ns, review.now.until_ns) == ("window", asked.since_ns, NOW)
    assert review.before.until_ns == review.now.since_ns
    assert review.now.since_ns - review.before.since_ns == NOW - review.now.since_ns


def test_a_window_that_reaches_back_to_the_epoch_has_no_time_before() -> None:
    review = review_of(Window(5, 100, "UTC", "all"), NOW)
    assert (review.before.since_ns, review.before.until_ns) == (0, 5)
