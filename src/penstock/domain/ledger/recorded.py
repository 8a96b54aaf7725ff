"""Recorded costs in reports: what of them falls into a window, and what group they belong to."""

from penstock.domain.ledger.entries import Entry
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import DIMENSIONS

WORKLOAD = {"training_run": "training"}
"""what `workload_type` is of entries that do not say"""


def accrued_cost(entry: Entry, since_ns: int, until_ns: int) -> int:
    """Nano-USD of an entry within [since, until): spread evenly over its time, so that adjacent windows add up to all of it.

    An entry of one instant belongs to the window that holds it. What is unknown of it is left out.
    """
    cost = (entry.gpu_cost or 0) + entry.storage_cost + entry.transfer_cost + entry.engineering_cost + entry.other_cost
    length = entry.until_ns - entry.since_ns
    if length <= 0:
        return cost if since_ns <= entry.since_ns < until_ns else 0
    begin = min(max(since_ns, entry.since_ns), entry.until_ns) - entry.since_ns
    end = min(max(until_ns, entry.since_ns), entry.until_ns) - entry.since_ns
    return cost * end // length - cost * begin // length if end > begin else 0


def key_of_entry(entry: Entry, key: str) -> str | None:
    """An entry's value of a grouping key: its tags, its fleet; times and what only requests have are None."""
    if key == "fleet":
        return entry.fleet
    if key == "workload_type":
        return entry.tags.get(key) or WORKLOAD.get(entry.kind)
    if key in PERIODS or (key in DIMENSIONS and key not in entry.tags):
        return None
    return entry.tags.get(key)
