"""How much of its month a bill covers, in words: the ledger may begin within it, and a draft's month runs on."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from penstock.finops.bills.document import Bill


def covers(bill: Bill) -> str | None:
    """`covers 22 to 31 October 2026: the ledger begins on 22 October at 09:14`; None of a bill that covers its whole month."""
    since, until, first, end = (_local(bill, each) for each in (bill.since, bill.until, bill.covered_since, bill.covered_until))
    if (first, end) == (since, until):
        return None
    if first >= end:
        return f"covers recorded costs alone: no request from before the end of {since:%B %Y} is on record"
    last = end - timedelta(microseconds=1)
    days = f"{last:%-d %B %Y} alone" if first.date() == last.date() else f"{first:%-d} to {last:%-d %B %Y}"
    begins = f"the ledger begins on {first:%-d %B} at {first:%H:%M}" if first > since else ""
    runs_on = "the month is not over" if end < until else ""
    return f"covers {days}: {' and '.join(filter(None, (begins, runs_on)))}"


def reaches_back(bill: Bill) -> bool:
    """Whether the ledger had begun when the month did: only then is all of a month that is over on the bill."""
    return _local(bill, bill.covered_since) <= _local(bill, bill.since)


def _local(bill: Bill, instant: str) -> datetime:
    """An instant in the bill's zone, to the microsecond."""
    return datetime.fromisoformat(instant).astimezone(ZoneInfo(bill.timezone))
