"""A bill gathered by what it can be compared by: charges that the ledger answers to, and all others, each on one line.

Every charge that is added ends in exactly one place, so the costs of all places add up to the cost of all charges, currency by currency.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from penstock.domain.bills.focus import EXACT, FocusRow
from penstock.domain.bills.meters import GPU_HOURS, HOURS, hours_of, meter_of, quantity_of
from penstock.domain.bills.subjects import Matcher, Subject, cloud_of, gpus_held, is_ai, provider_of

Basis = Literal["effective", "billed"]
DAY = timedelta(days=1)
ZERO = Decimal(0)
USD = "USD"
APART = {
    "Tax": "tax",
    "Credit": "credits",
    "Adjustment": "adjustments",
    "Correction": "corrections of earlier periods",
    "Support": "support",
    "Purchase": "purchases and commitments",
    "Unused": "unused commitments",
}


class Amount(msgspec.Struct):
    """Charges and what they cost together, in one currency."""

    charges: int = 0
    cost: Decimal = ZERO
    """by the basis that counts"""
    billed: Decimal = ZERO
    """as invoiced: what buying a commitment costs stands here, while its effective cost is 0"""

    def add(self, cost: Decimal, billed: Decimal | None = None) -> None:
        self.charges += 1
        self.cost = EXACT.add(self.cost, cost)
        self.billed = EXACT.add(self.billed, billed or ZERO)


class Billed(msgspec.Struct):
    """Charges of one subject on one day (or longer period)."""

    amount: Amount = msgspec.field(default_factory=Amount)
    quantities: dict[str, Decimal] = {}
    """meter -> tokens or hours; a meter with a charge of unknown quantity is left out"""
    unmeasured: set[str] = set()
    classes: set[str] = set()
    """processing classes that descriptions name"""
    gpus: set[Decimal] = set()
    """GPUs of an instance, by which its hours were multiplied"""


class Invoice:
    """Gathers charges. `basis` says which cost counts; the other one stands in where a charge has only that."""

    def __init__(self, matcher: Matcher, basis: Basis = "effective", since: datetime | None = None, until: datetime | None = None) -> None:
        self._matcher, self._basis = matcher, basis
        self._since, self._until = since, until
        self.days: dict[tuple[Subject, str], Billed] = {}
        """(subject, `2026-10-01`); charges over more than a day stand under their first day"""
        self.found: set[Subject] = set()
        self.longer: set[Subject] = set()
        """subjects that have such charges"""
        self.unknown: dict[tuple[str, str, str], Amount] = {}
        """(service, model or meter, day) of models and GPUs that the ledger does not know"""
        self.apart: dict[tuple[str, str], Amount] = {}
        """(kind, service): taxes, credits, support ...: nothing that requests cause"""
        self.beyond: dict[str, Amount] = {}
        """service -> charges that have nothing to do with models"""
        self.foreign: dict[str, Amount] = {}
        """currency -> charges in any but USD, within the window"""
        self.providers: set[str] = set()
        """who bills anything at all, as far as we know them"""
        self._named: dict[str | None, str | None] = {}
        self.outside: dict[str, Amount] = {}
        """currency -> charges that do not begin in the window"""
        self.repeated: dict[str, Amount] = {}
        """currency -> charges that an earlier file has already"""
        self.unnamed = 0
        """charges without a currency, which are taken as USD"""
        self.without_cost = 0
        self.first: datetime | None = None
        self.last: datetime | None = None

    def cost_of(self, row: FocusRow) -> Decimal | None:
        first, second = row.effective_cost, row.billed_cost
        if self._basis == "billed":
            first, second = second, first
        return second if first is None else first

    def repeat(self, row: FocusRow) -> None:
        """A charge that an earlier file has already."""
        self.repeated.setdefault(currency_of(row), Amount()).add(self.cost_of(row) or ZERO)

    def add(self, row: FocusRow) -> None:
        """One charge to its place."""
        if row.provider not in self._named:
            named = self._named[row.provider] = provider_of(row.provider)
            self.providers |= {named} if named is not None else set()
        cost = self.cost_of(row)
        if cost is None:
            self.without_cost += 1
            return
        currency, start = currency_of(row), row.charge_period_start or row.billing_period_start
        self.unnamed += row.billing_currency is None
        if start is not None and ((self._since and start < self._since) or (self._until and start >= self._until)):
            self.outside.setdefault(currency, Amount()).add(cost)
        elif currency != USD:
            self.foreign.setdefault(currency, Amount()).add(cost)
        elif (kind := kind_apart(row, self._matcher)) is not None:
            self.apart.setdefault((kind, row.service_name or "unknown"), Amount()).add(
                cost, cost if row.billed_cost is None else row.billed_cost
            )
        else:
            self._compare(row, cost, start)

    def _compare(self, row: FocusRow, cost: Decimal, start: datetime | None) -> None:
        subject = self._matcher.subject_of(row)
        day = "unknown" if start is None else start.astimezone(UTC).strftime("%Y-%m-%d")
        if subject is None:
            service = row.service_name or row.provider or "unknown"
            if is_ai(row) or self._matcher.bills(provider_of(row.provider) or provider_of(row.service_name)):
                named = self._matcher.named(row) or row.sku_meter or row.charge_description or row.sku_id or "unknown"
                self.unknown.setdefault((service, named, day), Amount()).add(cost)
                self._reach(start, row.charge_period_end)
            else:
                self.beyond.setdefault(service, Amount()).add(cost)
            return
        self._reach(start, row.charge_period_end)
        self.found.add(subject)
        found = self.days.setdefault((subject, day), Billed())
        found.amount.add(cost)
        if subject.kind == "fleet":
            _measure_hours(found, row, subject)
        else:
            _measure(found, row)
        text = f"{row.sku_meter} {row.charge_description}".lower()
        found.classes |= {word for word in ("batch", "flex", "priority", "spot") if word in text}
        if start is not None and row.charge_period_end is not None and row.charge_period_end - start > DAY:
            self.longer.add(subject)

    def _reach(self, start: datetime | None, end: datetime | None) -> None:
        """The time that compared charges cover: what the ledger is asked for."""
        if start is not None and (self.first is None or start < self.first):
            self.first = start
        if end is not None and (self.last is None or end > self.last):
            self.last = end

    def bears_on(self, subject: Subject) -> bool:
        """Whether a subject should be on these bills: it is, or its provider bills something."""
        if subject in self.found:
            return True
        if subject.kind == "api":
            return provider_of(subject.provider) in self.providers
        return subject.kind == "fleet" and any(cloud_of(name) in self.providers for name in subject.names)

    def places(self) -> Iterator[tuple[str, Amount]]:
        """(currency, charges) of every place in which charges were put."""
        yield from ((USD, billed.amount) for billed in self.days.values())
        for places in (self.unknown, self.apart, self.beyond):
            yield from ((USD, amount) for amount in places.values())
        for by_currency in (self.foreign, self.outside, self.repeated):
            yield from by_currency.items()


def kind_apart(row: FocusRow, matcher: Matcher) -> str | None:
    """What a charge is that no request and no hour of a fleet causes, in the words of `APART`; None for all others."""
    category = row.charge_category
    if category in ("Tax", "Credit", "Adjustment", "Purchase"):
        return APART[category]
    if row.charge_class == "Correction":
        return APART["Correction"]
    if row.service_subcategory == "Support" or "support" in (row.service_name or "").lower():
        return APART["Support"]
    if row.commitment_discount_status == "Unused" and matcher.subject_of(row) is None:
        return APART["Unused"]
    return None


def currency_of(row: FocusRow) -> str:
    """A charge's currency; USD where it names none."""
    return (row.billing_currency or USD).upper()


def _measure(found: Billed, row: FocusRow) -> None:
    meter = meter_of(row)
    if meter is not None:
        _count(found, meter, quantity_of(row))


def _measure_hours(found: Billed, row: FocusRow, subject: Subject) -> None:
    """Hours of a fleet as GPU-hours; those of instances of which nobody knows how many GPUs they hold stay what they are."""
    hours = hours_of(row)
    if hours is None:
        return
    meter, quantity = hours
    gpus = gpus_held(row, subject.service) if meter == HOURS else None
    if gpus is not None:
        found.gpus.add(gpus)
        meter, quantity = GPU_HOURS, None if quantity is None else EXACT.multiply(quantity, gpus)
    _count(found, meter, quantity)


def _count(found: Billed, meter: str, quantity: Decimal | None) -> None:
    if quantity is None:
        found.unmeasured.add(meter)
    else:
        found.quantities[meter] = EXACT.add(found.quantities.get(meter, ZERO), quantity)
