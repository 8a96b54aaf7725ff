"""Which entries of the cache go first when there is no room: those whose bytes promise the least saving."""

from collections.abc import Iterable
from statistics import median_low
from typing import Literal

from penstock.finops.caching.standing import Kept
from penstock.ports.answer_store import Removal

HOPE = 0.5
"""uses that are expected of an entry that has not served yet"""
AT_ONCE = 1000
"""entries taken out with one event"""
NS = 10**9


def expected_saving(kept: Kept, now_ns: int, worth: int, half_ns: int) -> float:
    """What a byte of it promises, to rank by: times served x worth, halved for each `half_ns` that it was not asked for."""
    idle = max(now_ns - kept.used_ns, 0) / half_ns
    fading: float = 0.5**idle
    return (kept.served + HOPE) * fading * (kept.worth if kept.worth is not None else worth) / kept.size


def going(kept: Iterable[Kept], excess: int, now_ns: int, ttl_s: float) -> list[Kept]:
    """Entries that make room for `excess` bytes, least saving first; what a person vouches for comes last.

    An entry whose worth is unknown is taken to be worth what the middle one is. A quarter of the TTL halves what is hoped of one.
    """
    if excess <= 0:
        return []
    known = list(kept)
    typical = median_low([each.worth for each in known if each.worth is not None] or [1])
    half_ns = max(int(ttl_s * NS / 4), NS)
    order = sorted(known, key=lambda each: (each.curated, expected_saving(each, now_ns, typical, half_ns), each.id))
    found, freed = [], 0
    for each in order:
        if freed >= excess:
            break
        found.append(each)
        freed += each.size
    return found


def removals(ids: Iterable[str], reason: Literal["expired", "evicted", "purged", "wrong", "replaced"], now_ns: int) -> list[Removal]:
    """What takes entries out of the log, so many at a time."""
    gone = list(ids)
    return [Removal(at_ns=now_ns, entries=tuple(gone[start : start + AT_ONCE]), reason=reason) for start in range(0, len(gone), AT_ONCE)]
