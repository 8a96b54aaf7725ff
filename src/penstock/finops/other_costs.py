"""`[costs.*]` over a window: what is neither tokens nor GPU-hours, accrued evenly so that adjacent windows add up, and what each is
spread by."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from penstock.config.fleets import other_prices
from penstock.config.hardware import OtherCost
from penstock.domain.ledger.measures import CostQuery, Sums, tokens_of
from penstock.domain.prices.hardware import accrued
from penstock.finops.books import Books
from penstock.finops.fleet_costs import FleetWindow

Keys = tuple[str | None, ...]
Share = tuple[tuple[str, str], ...]
"""which requests a cost is spread over: filters"""


def other_cost(cost: OtherCost, since_ns: int, until_ns: int, timezone: str) -> int:
    """Nano-USD of a cost over [since, until); its months are those of the report's zone. Raises `UnitError` for an unreadable price."""
    if since_ns >= until_ns:
        return 0
    return accrued(other_prices(cost), since_ns, until_ns, list(_months(since_ns, until_ns, timezone)))


def other_costs(cost: OtherCost, spans: Sequence[tuple[int, int]], timezone: str) -> list[int]:
    """As `other_cost`, over each of several windows in the order of time."""
    if not spans:
        return []
    prices, months = other_prices(cost), list(_months(spans[0][0], spans[-1][1], timezone))
    return [accrued(prices, since, until, months) if since < until else 0 for since, until in spans]


def _months(since_ns: int, until_ns: int, timezone: str) -> Iterator[int]:
    """The begin of every calendar month from the one that holds `since` to the one after `until`."""
    first = datetime.fromtimestamp(since_ns // 10**9, UTC).astimezone(ZoneInfo(timezone))
    year, month = first.year, first.month
    while True:
        begin = int(datetime(year, month, 1, tzinfo=ZoneInfo(timezone)).timestamp()) * 10**9
        yield begin
        if begin >= until_ns:
            return
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


class OtherWeights:
    """What other costs are spread by: measures of the requests that their `share` names, for groups that pass the filters of `asked`.

    Costs with the same `share` are read once; `groups` are the sums of all requests.
    """

    def __init__(self, books: Books, own: FleetWindow, asked: CostQuery, groups: Iterable[tuple[Keys, Sums]]) -> None:
        self._books, self._own, self._asked = books, own, asked
        self._sums: dict[Share, list[tuple[Keys, Sums]]] = {(): list(groups)}
        self._totals: dict[Share, Sums] = {}
        self._used: dict[tuple[tuple[str, ...], Share], dict[Keys, int]] = {}

    def of(self, cost: OtherCost) -> tuple[dict[Keys, int], int]:
        """The weight of each group, and that of all, those included that the filters leave out."""
        share = tuple(sorted(cost.share.items()))
        if share not in self._sums:
            self._sums[share] = self._books.ledger.sums(msgspec.structs.replace(self._asked, where=(*self._asked.where, *share)))
        weights: dict[Keys, int] = {}
        for keys, sums in self._sums[share]:
            weights[keys] = weights.get(keys, 0) + _weight(cost, sums)
        if cost.by == "cost":
            for keys, used in self._worked(self._asked.by, (*self._asked.where, *share)).items():
                weights[keys] = weights.get(keys, 0) + used
        if not self._asked.where:
            return weights, sum(weights.values())
        total = _weight(cost, self._total(share))
        return weights, total + (sum(self._worked((), share).values()) if cost.by == "cost" else 0)

    def _total(self, share: Share) -> Sums:
        if share not in self._totals:
            self._totals[share] = self._books.ledger.total(msgspec.structs.replace(self._asked, where=share))
        return self._totals[share]

    def _worked(self, by: tuple[str, ...], where: Share) -> dict[Keys, int]:
        """What groups bear of own fleets' work."""
        if (by, where) not in self._used:
            found: dict[Keys, int] = {}
            for keys, each in self._own.groups(by, where):
                found[keys[:-1]] = found.get(keys[:-1], 0) + each.amount + each.wasted
            self._used[by, where] = found
        return self._used[by, where]


def _weight(cost: OtherCost, sums: Sums) -> int:
    if cost.by == "cost":
        return max(0, sums.cost - sums.provisional)
    return tokens_of(sums).total if cost.by == "tokens" else sums.requests
