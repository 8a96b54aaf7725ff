"""Spend without a request that budgets count: what own fleets are paid beyond what requests were booked at, recorded costs, other costs.

A fleet is a budget's own when the budget is for everything, or names nothing but what the config says of the fleet. Of other fleets it
counts what matching recorded runs bear; what stands idle there belongs to nobody's budget.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from fractions import Fraction

import msgspec

from penstock.config.fleets import pools
from penstock.config.hardware import OtherCost
from penstock.config.settings import Settings
from penstock.domain.budgets.limits import WHOLE_UNITS, Unit
from penstock.domain.dialects.content import normal_tag
from penstock.domain.ledger.entries import HOUR_NS, Allocated, Entry, FleetHour
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.recorded import accrued_cost, key_of_entry
from penstock.domain.prices.config_price import exact
from penstock.finops.books import Books
from penstock.finops.fleet_costs import FleetWindow, allocated_of
from penstock.finops.ledger import Keys
from penstock.finops.other_costs import other_cost, other_costs
from penstock.finops.showback.groups import run_gpu_hours

Where = Mapping[str, str]
LEFT_OUT = "idle hardware is in nobody's budget but one for all, or for the fleet"
_US_NS = 1_000


class Beside(msgspec.Struct, frozen=True):
    """`amount` in whole units, what is known of it; `note` says what is not, and what is left out."""

    amount: int
    note: str


def beside(books: Books, where: Where, unit: Unit, since_ns: int, until_ns: int) -> Beside:
    """Spend without requests that a budget over `where` counts in [since, until), as far as time has passed."""
    return BesideRequests(books).of(where, unit, since_ns, until_ns)


def planned_work(settings: Settings, fleet: str | None, output_tokens: int) -> int | None:
    """Microseconds of one GPU that a fleet is planned to take for so many output tokens; 0 where no fleet worked, None: nobody said."""
    if fleet is None:
        return 0
    own = settings.fleets.get(fleet)
    if own is None or own.planned_tokens_per_second is None:
        return None
    rate = exact(own.planned_tokens_per_second, "planned_tokens_per_second")
    return -(-Fraction(output_tokens * own.count * 1_000_000) // rate)


def output_of(sums: Sums) -> int:
    """Output tokens, reasoning included."""
    return sums.visible_output + sums.reasoning


class BesideRequests:
    """One reading of the ledger for all budgets: each window of hours is read once."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._windows: dict[tuple[int, int], FleetWindow] = {}
        self._booked: dict[tuple[int, int, Unit, tuple[str, ...]], dict[Keys, int]] = {}
        self._pool_of = {name: index for index, pool in enumerate(pools(books.settings)) for name in pool.fleets}

    def of(self, where: Where, unit: Unit, since_ns: int, until_ns: int) -> Beside:
        """As `beside`."""
        until, where = min(until_ns, self._books.now_ns), _plain(where)
        if since_ns >= until:
            return Beside(0, "")
        notes: list[str] = []
        own = self._own(where, since_ns, until)
        amount = self._idle(own, unit, since_ns, until, everything=not where, notes=notes)
        amount += self._runs(where, own, unit, since_ns, until, notes)
        amount += self._unplanned(where, own, unit, since_ns, until)
        if unit == "USD":
            amount += sum(self._other(cost, since_ns, until) for cost in self._others(where))
        if self._books.settings.fleets and not own:
            notes.append(LEFT_OUT)
        return Beside(amount, "; ".join(notes))

    def by_hour(self, where: Where, unit: Unit, since_hour: int, until_hour: int) -> dict[int, int]:
        """The same by hour, and below 0 in hours for which requests were booked more than their fleets are paid."""
        since, until, where = since_hour * HOUR_NS, min(until_hour * HOUR_NS, self._books.now_ns), _plain(where)
        found = dict.fromkeys(range(since_hour, until_hour), 0)
        if since >= until:
            return found
        own = self._own(where, since, until)
        paid: set[tuple[object, int] | None] = set() if where else {None}
        for each in self._window(since, until).hours if own else ():
            if each.fleet in own and each.rent is not None:
                found[each.hour] += _paid(each, unit)
                paid.add((self._pool(each.fleet), each.hour))
        for (fleet, named), amount in self._booked_by(("fleet", "hour"), unit, since, until).items() if own else ():
            at = -1 if named is None else hour_of(named)
            if at in found and (None if fleet is None else (self._pool(fleet), at)) in paid and (fleet is None or fleet in own):
                found[at] -= amount
        for entry in self._entries(where, since, until):
            for hour, amount in self._entry_by_hour(entry, own, unit, since, until):
                found[hour] += amount
        spans = [self._books.clip(hour * HOUR_NS, min((hour + 1) * HOUR_NS, until)) for hour in found]
        for cost in self._others(where) if unit == "USD" else ():
            for hour, amount in zip(found, other_costs(cost, spans, self._books.settings.server.timezone), strict=True):
                found[hour] += amount
        return found

    def _window(self, since_ns: int, until_ns: int) -> FleetWindow:
        if (since_ns, until_ns) not in self._windows:
            self._windows[since_ns, until_ns] = FleetWindow(self._books, since_ns, until_ns)
        return self._windows[since_ns, until_ns]

    def _pool(self, fleet: str) -> object:
        """Fleets behind one upstream count as one: requests name one of them. One that the config does not name stands alone."""
        return self._pool_of.get(fleet, fleet)

    def _own(self, where: Where, since_ns: int, until_ns: int) -> set[str]:
        """The fleets all of whose rent the budget counts."""
        if not where:
            return {*self._books.settings.fleets, *(hour.fleet for hour in self._window(since_ns, until_ns).hours)}
        return {name for name in self._books.settings.fleets if where.items() <= _facts(self._books.settings, name).items()}

    def _idle(self, own: set[str], unit: Unit, since_ns: int, until_ns: int, *, everything: bool, notes: list[str]) -> int:
        """What fleets are paid beyond what requests were booked at."""
        if not own:
            return 0
        hours = [hour for hour in self._window(since_ns, until_ns).hours if hour.fleet in own]
        unknown = [hour for hour in hours if hour.rent is None]
        left: dict[object, int] = {}
        for hour in hours:
            if hour.rent is not None:
                left[self._pool(hour.fleet)] = left.get(self._pool(hour.fleet), 0) + _paid(hour, unit)
        gone = {(hour.fleet, hour.hour) for hour in unknown}
        nowhere = 0
        for (fleet, *at), amount in self._booked_by(("fleet", "hour") if gone else ("fleet",), unit, since_ns, until_ns).items():
            if fleet is None:
                nowhere += amount
            elif fleet in own and self._pool(fleet) in left and not any(hour and (fleet, hour_of(hour)) in gone for hour in at):
                left[self._pool(fleet)] -= amount
        for name in dict.fromkeys(hour.fleet for hour in unknown):
            count = sum(hour.fleet == name for hour in unknown)
            notes.append(f"the rent of fleet {name} is unknown in {count:,} {'hour' if count == 1 else 'hours'}")
        total = sum(max(0, amount) for amount in left.values())
        return max(0, total - nowhere) if everything else total

    def _booked_by(self, by: tuple[str, ...], unit: Unit, since_ns: int, until_ns: int) -> dict[Keys, int]:
        """What requests were booked at, by the fleet first; without one: tries on own fleets of requests that others answered."""
        key = since_ns, until_ns, unit, by
        if key not in self._booked:
            found: dict[Keys, int] = {}
            for keys, sums in self._books.ledger.sums(CostQuery(since_ns=since_ns, until_ns=until_ns, by=by)):
                amount = sums.provisional if unit == "USD" else planned_work(self._books.settings, keys[0], output_of(sums))
                if amount:
                    found[keys] = amount
            self._booked[key] = found
        return self._booked[key]

    def _entries(self, where: Where, since_ns: int, until_ns: int) -> list[Entry]:
        found = self._books.ledger.snapshot.costs.entries(since_ns, until_ns)
        return [entry for entry in found if all(key_of_entry(entry, key) == value for key, value in where.items())]

    def _runs(self, where: Where, own: set[str], unit: Unit, since_ns: int, until_ns: int, notes: list[str]) -> int:
        """Recorded costs, and what runs bear of fleets that are not the budget's own."""
        amount = 0
        for entry in self._entries(where, since_ns, until_ns):
            amount += sum(part for _, part in self._entry_by_hour(entry, own, unit, since_ns, until_ns))
            if unit == "USD" and entry.gpu_cost is None:
                notes.append(f"what the GPUs of {entry.name} ({entry.id}) cost is unknown")
            if unit == "gpu-hours" and entry.fleet is None and run_gpu_hours(entry, since_ns, until_ns) is None:
                notes.append(f"recorded run {entry.name} ({entry.id}) does not say its GPU-hours")
        return amount

    def _entry_by_hour(self, entry: Entry, own: set[str], unit: Unit, since_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
        first, last = max(since_ns, entry.since_ns) // HOUR_NS, -(-min(until_ns, max(entry.until_ns, entry.since_ns + 1)) // HOUR_NS)
        for hour in range(first, last):
            begin, end = max(since_ns, hour * HOUR_NS), min(until_ns, (hour + 1) * HOUR_NS)
            if unit == "USD":
                yield hour, accrued_cost(entry, begin, end)
            elif entry.fleet is None and unit == "gpu-hours":
                yield (
                    hour,
                    _whole_hours(run_gpu_hours(entry, entry.since_ns, end)) - _whole_hours(run_gpu_hours(entry, entry.since_ns, begin)),
                )
        if entry.fleet is not None and entry.fleet not in own and self._planned(entry.fleet):
            for share in self._window(since_ns, until_ns).borne(entry.id):
                yield share.hour, _worked(allocated_of(share), unit)

    def _unplanned(self, where: Where, own: set[str], unit: Unit, since_ns: int, until_ns: int) -> int:
        """Work of fleets at which nothing is booked, because nobody said what they are planned to do: as it is allocated."""
        if not where or all(name in own or self._planned(name) for name in self._books.settings.fleets):
            return 0
        groups = self._window(since_ns, until_ns).groups((), tuple(where.items()))
        return sum(_worked(each, unit) for (fleet,), each in groups if fleet is not None and fleet not in own and not self._planned(fleet))

    def _planned(self, fleet: str) -> bool:
        own = self._books.settings.fleets.get(fleet)
        return own is None or own.planned_tokens_per_second is not None

    def _others(self, where: Where) -> list[OtherCost]:
        """Other costs that are spread over nothing but what the budget counts."""
        settings = self._books.settings
        return [cost for cost in settings.costs.values() if where.items() <= _implied(settings, cost.share).items()]

    def _other(self, cost: OtherCost, since_ns: int, until_ns: int) -> int:
        return other_cost(cost, *self._books.clip(since_ns, until_ns), self._books.settings.server.timezone)


def hour_of(name: str) -> int:
    """`2026-10-01T12` as the number of that hour since 1970."""
    return int(datetime.fromisoformat(f"{name}:00:00+00:00").timestamp()) // 3_600


def _plain(where: Where) -> dict[str, str]:
    return {normal_tag(key): value for key, value in where.items()}


def _facts(settings: Settings, name: str) -> dict[str, str]:
    """What the config says of a fleet, by the keys that requests are counted by."""
    fleet = settings.fleets[name]
    place = {"instance": fleet.where.instance, "region": fleet.where.region, "environment": fleet.where.environment}
    facts = {"fleet": name, "upstream": fleet.upstream, "gpu": fleet.gpu, **place}
    return {key: value for key, value in facts.items() if value is not None}


def _implied(settings: Settings, share: Where) -> dict[str, str]:
    """What is true of all requests that a cost is spread over."""
    found = _plain(share)
    if found.get("model") in settings.models:
        found.setdefault("upstream", settings.models[found["model"]].upstream)
    if found.get("fleet") in settings.fleets:
        found = _facts(settings, found["fleet"]) | found
    return found


def _paid(hour: FleetHour, unit: Unit) -> int:
    return (hour.rent or 0) if unit == "USD" else hour.gpu_ns // _US_NS


def _worked(each: Allocated, unit: Unit) -> int:
    return each.amount + each.wasted if unit == "USD" else each.gpu_ns // _US_NS


def _whole_hours(hours: Fraction | None) -> int:
    return int((hours or 0) * WHOLE_UNITS["gpu-hours"])
