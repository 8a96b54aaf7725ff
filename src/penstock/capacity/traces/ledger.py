"""The ledger as a trace: what engines were asked, as it came, and what caching and routing made of it meanwhile."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec
import numpy as np

from penstock.domain.ledger.record import REPLAYED, UsageRecord, is_aside
from penstock.domain.simulation.checking import checked
from penstock.domain.simulation.trace import Trace, TraceError

MOST: Final = 2_000_000
"""records that are read, the newest ones"""
_LEFT: Final = {
    "failed": "without an answer: what engines did for it is not known",
    "untold": "without token counts",
    "embeddings": "without output tokens, such as embeddings: no engine decodes for it",
}


class Measured(msgspec.Struct, frozen=True):
    """What became of requests in the window, asides and refusals not counted."""

    requests: int
    """answered by a model or by the cache"""
    hits: int
    """by the cache"""
    tiers: dict[str, int]
    """tier -> requests that it answered; those of no tier are under `none`"""
    asides: int
    """calls made beside requests (drafts, votes, shadows ...): they are work of engines, so they are in the trace"""

    @property
    def hit_rate(self) -> float | None:
        """None without a request."""
        return self.hits / self.requests if self.requests else None

    @property
    def shares(self) -> dict[str, float]:
        """Of each tier, of the requests that models answered; most first."""
        total = sum(self.tiers.values())
        return {tier: count / total for tier, count in sorted(self.tiers.items(), key=lambda each: (-each[1], each[0]))}


class LedgerTrace(NamedTuple):
    """A trace of the ledger."""

    trace: Trace
    """of what engines were asked; second 0 is the first arrival, whatever answered it"""
    measured: Measured
    notes: tuple[str, ...]
    begin_ns: int
    """unix nanoseconds of second 0"""


class _Columns:
    """What is kept of a record, as the records are passed."""

    def __init__(self) -> None:
        self.arrival_ns, self.input, self.output = array("q"), array("q"), array("q")
        self.read = self.reused = self.hits = self.asides = 0
        self.begin_ns: int | None = None
        self.tiers: Counter[str] = Counter()
        self.left: Counter[str] = Counter()

    def take(self, record: UsageRecord) -> None:
        if record.outcome == "refused":
            return
        self.begin_ns = record.admitted_ns if self.begin_ns is None else min(self.begin_ns, record.admitted_ns)
        if record.cache in REPLAYED and not is_aside(record):
            self.hits += 1
        elif reason := _left(record):
            self.left[reason] += 1
        else:
            self._asked(record)

    def _asked(self, record: UsageRecord) -> None:
        self.arrival_ns.append(record.admitted_ns)
        self.input.append(record.tokens.input)
        self.output.append(record.tokens.output)
        self.reused += record.tokens.cache_read
        if is_aside(record):
            self.asides += 1
        else:
            self.tiers[record.tier or "none"] += 1


def _left(record: UsageRecord) -> str | None:
    """Why a record is no request of the trace. The tokens of one without an answer are a bound, not what was done."""
    if record.outcome in ("error", "interrupted"):
        return "failed"
    if record.tokens_basis == "unknown" or not record.tokens.input:
        return "untold"
    if not record.tokens.output:
        return "failed" if record.outcome != "ok" else "embeddings"
    return None


def trace_from_ledger(
    records: Iterable[UsageRecord], *, most: int = MOST, progress: Callable[[int], None] = lambda read: None
) -> LedgerTrace:
    """Raises `TraceError` when no engine was asked anything. `progress` is told now and then how many records were read.

    Prompts count whole, the part that an engine or a provider found in its prefix cache too; answers with their reasoning.
    """
    columns, notes, read = _Columns(), list[str](), 0
    for record in records:
        if read == most:
            notes.append(f"only the newest {most:,} records of the window were read")
            break
        columns.take(record)
        read += 1
        if read % 10_000 == 0:
            progress(read)
    measured = Measured(sum(columns.tiers.values()) + columns.hits, columns.hits, dict(columns.tiers), columns.asides)
    if columns.begin_ns is None or not columns.arrival_ns:
        raise TraceError(_nothing(read, columns), "take a longer window, or other filters; `penstock cost --since 30d` shows what there is")
    arrival_s = (np.array(columns.arrival_ns, np.int64) - columns.begin_ns) / 1e9
    # the ledger tells the newest first, which is no disorder of the trace
    order = np.argsort(arrival_s, kind="stable")
    prompts, answers = (np.array(column, np.float64)[order] for column in (columns.input, columns.output))
    trace = checked(arrival_s[order], prompts, answers, drop_bad=True, note=notes.append)
    return LedgerTrace(trace, measured, (*notes, *_notes(columns, measured, int(trace.input_tokens.sum()))), columns.begin_ns)


def _notes(columns: _Columns, measured: Measured, prompts: int) -> list[str]:
    found = []
    if measured.hits:
        hits = f"{measured.hits:,} of {measured.requests:,} requests ({100 * measured.hits / measured.requests:.0f} %)"
        found.append(f"{hits} were answered by the cache, so they are not in the trace")
    if len(measured.tiers) > 1:
        tiers = ", ".join(f"{name} {100 * share:.0f} %" for name, share in measured.shares.items())
        found.append(f"of those that models answered, by tier: {tiers}")
    if columns.asides:
        found.append(f"{_counted(columns.asides, 'call')} made beside requests: in the trace, for engines worked for them")
    found += [f"{_counted(columns.left[reason], 'record')} {words}; left out" for reason, words in _LEFT.items() if columns.left[reason]]
    if columns.reused:
        found.append(
            f"{100 * columns.reused / prompts:.0f} % of prompt tokens were read from a prefix cache; which prompts share them is not "
            "known, so a simulation computes all of them"
        )
    return found


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def _nothing(read: int, columns: _Columns) -> str:
    if not read:
        return "the ledger has no requests in this window"
    why = [f"{columns.hits:,} were answered by the cache"] if columns.hits else []
    why += [f"{columns.left[reason]:,} {words}" for reason, words in _LEFT.items() if columns.left[reason]]
    return f"of {_counted(read, 'record')} of this window none is a request to an engine: {'; '.join(why) or 'all were refused'}"
