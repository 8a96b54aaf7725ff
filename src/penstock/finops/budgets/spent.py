"""What the ledger says was spent on accounts: by all writers together, and by each of some.

Budgets of keys are many and no roll-up knows keys, so all keys of a window are read at once.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from typing import Final

import msgspec

from penstock.domain.budgets.accounts import Account
from penstock.domain.budgets.limits import bucket_ns
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.finops.ledger import Summed

FUTURE_NS: Final = 3600 * 10**9
"""how far the clock of another host may be ahead"""

Where = tuple[tuple[str, str], ...]
Part = tuple[str | None, str | None, Sums]
"""writer, fleet, and what it adds up to there"""


class Watched(msgspec.Struct, frozen=True):
    """A cap, and the filters whose records count on it: one, or one for each key of a chain of rotations."""

    account: Account
    wheres: tuple[Where, ...]
    has_beside: bool = True
    """a cap of the config; no spend beside requests, and no config, knows the budget of a key"""


class Spent:
    """One reading of the ledger. Amounts are whole units of the account, rounded up."""

    def __init__(self, ledger: Summed, gpu_time: Mapping[str, Fraction], since_ns: int, now_ns: int) -> None:
        """`since_ns`: the earliest instant that will be asked for. Raises `StoreError`, as all of it does."""
        self._ledger, self._gpu_time = ledger, gpu_time
        self._of_keys: dict[tuple[int, int], dict[str, list[Part]]] = {}
        self.begun = _begun(ledger, since_ns, now_ns)
        """writer -> the hour of its first record, unix ns"""

    def total(self, watched: Watched, since_ns: int, until_ns: int) -> int:
        """By all writers in [since, until)."""
        if since_ns >= until_ns:
            return 0
        if keys := _keys(watched):
            parts = self._parts(keys, since_ns, until_ns)
        else:
            parts = [(None, fleet, sums) for (fleet,), sums in self._sums(watched, since_ns, until_ns, ("fleet",))]
        return ceil(sum((self._amount(watched, fleet, sums) for _, fleet, sums in parts), Fraction(0)))

    def by_writer(self, watched: Watched, since_ns: int, until_ns: int, writers: Collection[str]) -> dict[str, int]:
        """By each of these writers that spent anything in [since, until)."""
        begun = min((self.begun[writer] for writer in writers if writer in self.begun), default=until_ns)
        if max(since_ns, begun) >= until_ns:
            return {}
        if keys := _keys(watched):
            parts = self._parts(keys, since_ns, until_ns)
        else:
            found = self._sums(watched, max(since_ns, begun), until_ns, ("writer", "fleet"))
            parts = [(writer, fleet, sums) for (writer, fleet), sums in found]
        amounts: dict[str, Fraction] = {}
        for writer, fleet, sums in parts:
            if writer in writers and writer is not None:
                amounts[writer] = amounts.get(writer, Fraction(0)) + self._amount(watched, fleet, sums)
        return {writer: ceil(amount) for writer, amount in amounts.items()}

    def _parts(self, keys: Iterable[str], since_ns: int, until_ns: int) -> list[Part]:
        if (since_ns, until_ns) not in self._of_keys:
            by_key: dict[str, list[Part]] = {}
            query = CostQuery(since_ns=since_ns, until_ns=until_ns, by=("key_id", "writer", "fleet"))
            for (key, writer, fleet), sums in self._ledger.sums(query):
                if key is not None:
                    by_key.setdefault(key, []).append((writer, fleet, sums))
            self._of_keys[since_ns, until_ns] = by_key
        return [part for key in keys for part in self._of_keys[since_ns, until_ns].get(key, ())]

    def _sums(self, watched: Watched, since_ns: int, until_ns: int, by: tuple[str, ...]) -> list[tuple[tuple[str | None, ...], Sums]]:
        queries = [CostQuery(since_ns=since_ns, until_ns=until_ns, by=by, where=where) for where in watched.wheres]
        return [found for query in queries for found in self._ledger.sums(query)]

    def _amount(self, watched: Watched, fleet: str | None, sums: Sums) -> Fraction:
        if watched.account.law.unit == "USD":
            return Fraction(sums.cost)
        return Fraction(0) if fleet is None else self._gpu_time.get(fleet, Fraction(0)) * (sums.visible_output + sums.reasoning)


def buckets(account: Account, now_ns: int) -> list[tuple[int, int]]:
    """[begin, end) of the buckets that count now; of a calendar limit the period before too, for a clock that is set back."""
    span, law = account.law.span(now_ns), account.law
    if law.rolling_ns is None:
        before = law.span(span.begin - 1)
        return [(before.begin, before.until), (span.begin, span.until)]
    width = bucket_ns(law.rolling_ns)
    return [(begin, begin + width) for begin in range(span.since, span.until, width)]


def end_of(account: Account, bucket: int) -> int:
    """Where a bucket of an account ends, unix ns."""
    law = account.law
    return law.span(bucket).until if law.rolling_ns is None else bucket + bucket_ns(law.rolling_ns)


def _keys(watched: Watched) -> list[str]:
    """The keys that alone make up what counts; empty: something else does."""
    wheres = watched.wheres
    return [where[0][1] for where in wheres] if all(len(where) == 1 and where[0][0] == "key_id" for where in wheres) else []


def _begun(ledger: Summed, since_ns: int, now_ns: int) -> dict[str, int]:
    """Read once, for sums of a writer look at every record of their time."""
    begun: dict[str, int] = {}
    for (writer, hour), _ in ledger.sums(CostQuery(since_ns=since_ns, until_ns=now_ns + FUTURE_NS, by=("writer", "hour"))):
        if writer is not None and hour is not None:
            at = int(datetime.strptime(hour, PERIODS["hour"]).replace(tzinfo=UTC).timestamp()) * 10**9
            begun[writer] = min(at, begun.get(writer, at))
    return begun
