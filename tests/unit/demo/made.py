"""A small history of the firm, made once for the tests that look at it."""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from penstock import bootstrap
from penstock.config.load import load
from penstock.demo import scenery
from penstock.demo.history import History, Plan
from penstock.demo.seeding import Task
from penstock.domain.ledger.record import UsageRecord

UNTIL_NS = 1_795_261_500_123_456_789
"""2026-11-21, a Saturday, 11:45 UTC"""
REQUESTS = 15_000


def task(seed: int = 7, requests: int = REQUESTS, until_ns: int = UNTIL_NS) -> Task:
    """What the demo's own config and prices make of a plan."""
    with tempfile.TemporaryDirectory() as directory:
        settings = load(scenery.write(Path(directory), "127.0.0.1:4100", seed, until_ns, requests), {})
        return Task(Plan(seed, until_ns, requests), settings, bootstrap.price_book(settings))


@cache
def history(seed: int = 7, requests: int = REQUESTS) -> tuple[UsageRecord, ...]:
    """All records of a history."""
    made = task(seed, requests)
    return tuple(record for hour in History(made.plan, made.settings, made.book).hours() for record in hour)


def cost(wanted: Callable[[UsageRecord], bool]) -> int:
    """Nano-USD of what is wanted."""
    return sum(record.cost or 0 for record in history() if wanted(record))
