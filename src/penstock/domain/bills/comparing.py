"""A bill against the ledger, group by group: what agrees, what is on one side only, where tokens or rates differ, and what that means."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from penstock.domain.bills.explaining import explain, on_one_side, unpriced
from penstock.domain.bills.focus import EXACT
from penstock.domain.bills.invoice import Invoice
from penstock.domain.bills.meters import GPU_HOURS, HOURS
from penstock.domain.bills.subjects import Subject

Status = Literal["matched", "missing", "extra", "quantity differs", "rate differs"]
"""missing: on the bill and not in the ledger; extra: in the ledger and not on the bill"""
By = Literal["service", "model", "day"]
ZERO = Decimal(0)
NOISE = Decimal("0.000001")
"""USD per charge that rounding may make"""
LONGER = "whole period"


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger has of one subject on one day (UTC)."""

    subject: Subject
    day: str
    cost: Decimal | None
    """USD, exact; None: unknown"""
    quantities: Mapping[str, Decimal] = {}
    """meter -> tokens, or GPU-hours"""
    requests: int = 0
    unpriced: int = 0
    estimated: int = 0


class Tolerance(msgspec.Struct, frozen=True):
    """What may differ: a share of the larger amount, or an amount in USD, whichever is more."""

    share: Decimal = Decimal("0.005")
    usd: Decimal = ZERO

    def allows(self, one: Decimal, other: Decimal, charges: int = 1) -> bool:
        """Whether two costs agree."""
        return abs(one - other) <= max(self.share * max(abs(one), abs(other)), self.usd, NOISE * charges)

    def alike(self, one: Decimal, other: Decimal) -> bool:
        """Whether two quantities agree."""
        return abs(one - other) <= self.share * max(abs(one), abs(other))


class Side(msgspec.Struct):
    """One side of a group, or of a part of it."""

    lines: int = 0
    cost: Decimal = ZERO
    unknown: int = 0
    """lines (requests, in the ledger) whose cost is unknown"""
    requests: int = 0
    estimated: int = 0
    quantities: dict[str, Decimal] = {}
    unmeasured: set[str] = set()
    classes: set[str] = set()
    gpus: set[Decimal] = set()

    def add(self, other: "Side") -> None:
        """What another side of the same group has."""
        self.lines += other.lines
        self.cost = EXACT.add(self.cost, other.cost)
        self.unknown += other.unknown
        self.requests += other.requests
        self.estimated += other.estimated
        for meter, quantity in other.quantities.items():
            self.quantities[meter] = EXACT.add(self.quantities.get(meter, ZERO), quantity)
        self.unmeasured |= other.unmeasured
        self.classes |= other.classes
        self.gpus |= other.gpus


class Part(msgspec.Struct):
    """What a group has of one model, fleet or other cost."""

    kind: str
    """`api`, `fleet`, `other`, or `unknown`: what the ledger does not know"""
    service: str
    model: str | None
    billed: Side = msgspec.field(default_factory=Side)
    booked: Side = msgspec.field(default_factory=Side)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a reconciliation. Costs are USD, None where that side has nothing; `what` says why they differ."""

    service: str | None
    model: str | None
    day: str | None
    status: Status
    billed: Decimal | None
    booked: Decimal | None
    quantities: tuple[tuple[str, Decimal | None, Decimal | None], ...] = ()
    """(meter, on the bill, in the ledger)"""
    charges: int = 0
    what: str = ""

    @property
    def difference(self) -> Decimal:
        """Bill less ledger."""
        return EXACT.subtract(self.billed or ZERO, self.booked or ZERO)


Key = tuple[str | None, str | None, str | None]
Parts = dict[tuple[str, str, str | None], Part]


def compare(invoice: Invoice, ledger: Iterable[LedgerLine], by: Iterable[By], tolerance: Tolerance) -> list[Group]:
    """All groups by the keys, in the order of service, model and day; a key that is not asked for is None.

    Days of a subject that is billed over longer periods are one group, `whole period`.
    """
    keys = tuple(by)
    groups: dict[Key, Parts] = {}
    for (subject, day), found in invoice.days.items():
        day = LONGER if subject in invoice.longer else day
        _part(groups, keys, (subject.kind, subject.service, subject.model), day).billed.add(
            Side(
                lines=found.amount.charges,
                cost=found.amount.cost,
                quantities=found.quantities,
                unmeasured=found.unmeasured,
                classes=found.classes,
                gpus=found.gpus,
            )
        )
    for (service, model, day), amount in invoice.unknown.items():
        if amount.cost:
            _part(groups, keys, ("unknown", service, model), day).billed.add(Side(lines=amount.charges, cost=amount.cost))
    for line in ledger:
        subject, day = line.subject, LONGER if line.subject in invoice.longer else line.day
        _part(groups, keys, (subject.kind, subject.service, subject.model), day).booked.add(
            Side(
                lines=1,
                cost=line.cost or ZERO,
                unknown=line.unpriced or int(line.cost is None),
                requests=line.requests,
                estimated=line.estimated,
                quantities=dict(line.quantities),
            )
        )
    told = [_group(key, list(parts.values()), tolerance) for key, parts in groups.items()]
    return sorted(_days_told(told, tolerance), key=lambda each: (each.service or "", each.model or "", each.day or ""))


def _part(groups: dict[Key, Parts], by: tuple[By, ...], owner: tuple[str, str, str | None], day: str) -> Part:
    kind, service, model = owner
    key = (service if "service" in by else None, model if "model" in by else None, day if "day" in by else None)
    return groups.setdefault(key, {}).setdefault(owner, Part(kind, service, model))


def _group(key: Key, parts: list[Part], tolerance: Tolerance) -> Group:
    billed, booked = Side(), Side()
    for part in parts:
        _settle_hours(part, tolerance)
        billed.add(part.billed)
        booked.add(part.booked)
    meters = list(dict.fromkeys((*booked.quantities, *billed.quantities)))
    status, what = _verdict(parts[0], tolerance) if len(parts) == 1 else _mixed(parts, billed, booked, tolerance)
    return Group(
        service=key[0],
        model=key[1],
        day=key[2],
        status=status,
        billed=billed.cost if billed.lines else None,
        booked=booked.cost if booked.lines and (booked.cost or not booked.unknown) else None,
        quantities=tuple((meter, billed.quantities.get(meter), booked.quantities.get(meter)) for meter in meters),
        charges=billed.lines,
        what=what,
    )


def _settle_hours(part: Part, tolerance: Tolerance) -> None:
    """Hours of instances of which nobody knows how many GPUs they hold are GPU-hours where the ledger has just as many."""
    theirs = part.billed.quantities
    if part.kind == "fleet" and HOURS in theirs:
        together = EXACT.add(theirs[HOURS], theirs.get(GPU_HOURS, ZERO))
        if tolerance.alike(together, part.booked.quantities.get(GPU_HOURS, ZERO)):
            del theirs[HOURS]
            theirs[GPU_HOURS] = together


def _verdict(part: Part, tolerance: Tolerance) -> tuple[Status, str]:
    billed, booked = part.billed, part.booked
    if not booked.lines or not billed.lines:
        # what cost nothing need not be on both sides, and what costs less than is allowed may be on one
        small = tolerance.allows(billed.cost, booked.cost, max(billed.lines, 1)) and not booked.unknown
        status: Status = "extra" if booked.lines else "missing"
        return ("matched", "") if small else (status, on_one_side(status, part.kind, booked if booked.lines else billed))
    if tolerance.allows(billed.cost, booked.cost, billed.lines) and not booked.unknown:
        return "matched", ""
    differing = [
        meter
        for meter in sorted({*billed.quantities, *booked.quantities})
        if meter not in billed.unmeasured
        and not (part.kind == "fleet" and HOURS in billed.quantities)
        and not tolerance.alike(billed.quantities.get(meter, ZERO), booked.quantities.get(meter, ZERO))
    ]
    measured = bool(billed.quantities) and bool(booked.quantities)
    status = "quantity differs" if differing and measured else "rate differs"
    return status, explain(billed, booked, part.kind, differing if measured else [], tolerance.alike)


def _mixed(parts: list[Part], billed: Side, booked: Side, tolerance: Tolerance) -> tuple[Status, str]:
    """Of several models or fleets together only the part that differs most can be explained: their tokens, hours and rates say
    nothing beside each other."""
    if tolerance.allows(billed.cost, booked.cost, max(billed.lines, 1)) and not booked.unknown:
        return "matched", ""
    told = [(part, *_verdict(part, tolerance)) for part in parts]
    differing = [each for each in told if each[1] != "matched"]
    if not differing:
        return _one_sided(billed, booked) or "rate differs", "each of its parts agrees within the tolerance, all together do not"
    part, status, what = max(differing, key=lambda each: abs(EXACT.subtract(each[0].billed.cost, each[0].booked.cost)))
    if status in ("missing", "extra"):
        status = "quantity differs"
    others = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
    what = f"above all {' '.join(filter(None, (part.service, part.model)))}{others}: {what}"
    if booked.unknown and not part.booked.unknown:
        what = f"{what}; {unpriced(booked)}"
    return _one_sided(billed, booked) or status, what


def _one_sided(billed: Side, booked: Side) -> Status | None:
    if billed.lines and booked.lines:
        return None
    return "extra" if booked.lines else "missing"


def _days_told(groups: list[Group], tolerance: Tolerance) -> Iterable[Group]:
    """Says of days that differ when the whole window agrees: then it is only booked on another day."""
    totals: dict[tuple[str | None, str | None], tuple[Decimal, Decimal, int]] = {}
    for group in groups:
        billed, booked, charges = totals.get((group.service, group.model), (ZERO, ZERO, 0))
        sums = (EXACT.add(billed, group.billed or ZERO), EXACT.add(booked, group.booked or ZERO), charges + group.charges)
        totals[group.service, group.model] = sums
    for group in groups:
        billed, booked, charges = totals[group.service, group.model]
        if group.day is not None and group.status != "matched" and billed and tolerance.allows(billed, booked, max(charges, 1)):
            told = "all days together agree: the bill books on another day (its time zone, or late)"
            yield msgspec.structs.replace(group, what=f"{group.what}; {told}" if group.what else told)
        else:
            yield group
