"""Windows: rolling, months in a zone, dates, instants, and clear refusals."""

import pytest

from penstock.finops.window import WindowError, iso, window

NOW = 1_795_243_561_123_456_789  # 2026-11-21T06:46:01.123456789Z
DAY = 86_400 * 10**9


def span(since: str | None, until: str | None = None, timezone: str = "UTC") -> tuple[str, str]:
    found = window(since, until, now_ns=NOW, timezone=timezone)
    return iso(found.since_ns), iso(found.until_ns)


def test_default_is_the_last_30_days_to_the_nanosecond() -> None:
    found = window(None, None, now_ns=NOW)
    assert (found.since_ns, found.until_ns, found.label) == (NOW - 30 * DAY, NOW, "last 30d")


@pytest.mark.parametrize(("text", "back"), [("30d", 30 * DAY), ("24h", DAY), ("90m", 5400 * 10**9), ("1.5h", 5400 * 10**9)])
def test_rolling_counts_back_from_now(text: str, back: int) -> None:
    assert window(text, None, now_ns=NOW).since_ns == NOW - back


def test_a_month_is_whole_even_when_it_is_not_over() -> None:
    assert span("2026-10") == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert span("2026-12") == ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")


def test_a_month_lies_in_the_zone_of_the_report_across_a_clock_change() -> None:
    assert span("2026-10", timezone="Europe/Berlin") == ("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z")


def test_dates_start_a_day_in_the_zone_and_until_is_exclusive() -> None:
    assert span("2026-10-01", "2026-10-02", "America/New_York") == ("2026-10-01T04:00:00Z", "2026-10-02T04:00:00Z")


def test_until_as_a_month_is_its_start() -> None:
    assert span("2026-09-15", "2026-10") == ("2026-09-15T00:00:00Z", "2026-10-01T00:00:00Z")


def test_instants_with_and_without_an_offset() -> None:
    assert span("2026-10-01T12:00:00Z", "2026-10-01T12:00:00.25-01:00") == ("2026-10-01T12:00:00Z", "2026-10-01T13:00:00.25Z")
    assert span("2026-10-01T12:00", timezone="Asia/Tokyo")[0] == "2026-10-01T03:00:00Z"


def test_a_rolling_start_counts_from_now_even_with_an_end() -> None:
    found = window("7d", "1d", now_ns=NOW)
    assert (found.since_ns, found.until_ns) == (NOW - 7 * DAY, NOW - DAY)


def test_an_end_alone_has_30_days_before_it() -> None:
    assert span(None, "2026-10-31") == ("2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z")


def test_a_very_long_window_begins_with_the_epoch() -> None:
    assert window("999999d", None, now_ns=NOW).since_ns == 0


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "30", "30 days", "2026", "2026-13", "2026-02-30", "2026-10-01T25:00", "9999-01-01", "1969-12-31", "1e400d", "-3d"],
)
def test_what_cannot_be_read_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(WindowError) as caught:
        window(text, "2200-01-01", now_ns=NOW)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("since", "until"), [("2026-10-02", "2026-10-02"), ("2026-10-02", "2026-10-01"), ("0d", None), ("2027-01-01", None)]
)
def test_an_empty_window_is_refused(since: str, until: str | None) -> None:
    with pytest.raises(WindowError, match="the window is empty"):
        window(since, until, now_ns=NOW)
