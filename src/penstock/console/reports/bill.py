"""The bill as one HTML file: what it is made of, who pays, what is unknown, and that every part adds up."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from penstock.console.reports.paper import environment
from penstock.console.words import join, percent, places_of, usd
from penstock.domain.units import format_usd
from penstock.finops.bills.covering import covers
from penstock.finops.bills.document import CORRECTIONS, DIRECT, Bearer, Bill, Keys, group_name

LINES = {
    "api": ("Billed by providers", "water"),
    "gpu_work": ("GPU work", "w4"),
    "gpu_waste": ("GPU waste", "copper"),
    "recorded": ("Recorded runs", "w1"),
    "idle": ("Idle GPUs", "w5"),
    "unallocated": ("Unallocated GPU capacity", "w5"),
    "unused_commitment": ("Unused commitment", "w5"),
    "other": ("Other costs", "w2"),
    CORRECTIONS: ("Corrections of closed months", "copper"),
}
"""line -> its title, and its colour"""
TITLES = {
    "usage_usd": "Usage",
    "shared_usd": "Shared",
    "total_usd": "Total",
    "cp1kt_usage_usd": "Cost per 1,000 tokens, by usage",
    "cp1kt_allocated_usd": "Cost per 1,000 tokens, by total",
    "idle": "Idle hardware",
}
"""figure that a bill defines -> its title"""
GROUPS, PER_1000 = {"usage_usd", "shared_usd", "total_usd"}, {"cp1kt_usage_usd", "cp1kt_allocated_usd"}
_WHOLE = 10**9


class LineView(msgspec.Struct, frozen=True):
    """One kind of cost."""

    title: str
    kind: str
    usd: str
    share: float | None
    meaning: str


class ModelView(msgspec.Struct, frozen=True):
    """What one group used of one model, or bears beside it."""

    name: str
    usd: str
    input_tokens: int | None
    output_tokens: int | None


class GroupView(msgspec.Struct, frozen=True):
    """One group of the chargeback."""

    name: str
    untagged: bool
    requests: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    usage_usd: str
    shared_usd: str
    total_usd: str
    share: float | None
    cp1kt_usage_usd: str | None
    cp1kt_allocated_usd: str | None
    parts: tuple[ModelView, ...]


class RestView(msgspec.Struct, frozen=True):
    """What no group bears."""

    title: str
    usd: str


class CorrectionView(msgspec.Struct, frozen=True):
    """A later entry of a closed month."""

    month: str
    number: int
    title: str
    bearer: str
    usd: str


class BillView(msgspec.Struct, frozen=True):
    """What the template shows, money as decimal strings."""

    title: str
    said: str
    period: str
    made: str
    places: int
    """decimals of the dollars in tables"""
    lines: tuple[LineView, ...]
    groups: tuple[GroupView, ...]
    rests: tuple[RestView, ...]
    corrections: tuple[CorrectionView, ...]
    groups_usd: str
    rests_usd: str
    corrections_usd: str
    total_usd: str
    covers: str | None
    """how much of the month is on it, where that is not all"""
    definitions: tuple[tuple[str, str], ...]
    """of the figures that are shown: title, meaning"""


def bill_html(bill: Bill) -> str:
    """One self-contained HTML document."""
    view = bill_view(bill)
    parts = [(line.title, line.share or 0, line.kind) for line in view.lines]
    return environment().get_template("bill.html").render(bill=bill, view=view, parts=parts)


def bill_view(bill: Bill) -> BillView:
    """The bill in words and strings."""
    total = bill.total_usd
    groups = tuple(_group(bill, each, parts) for each, parts in _with_parts(bill))
    rests = [pot for pot in bill.pots if pot.rest_usd]
    corrected = sum(each.usd for each in bill.corrections)
    told, places = covers(bill), _places(bill.total_usd)
    return BillView(
        title=_month(bill.month),
        said=_said(bill, places),
        places=places,
        period=f"{_day(bill.since, bill.timezone)} to {_day(bill.until, bill.timezone, last=True)}, {bill.timezone}",
        made=_moment(bill.made, bill.timezone),
        lines=tuple(
            LineView(*LINES[line.line], format_usd(line.usd), _share(line.usd, total), line.meaning) for line in bill.lines if line.usd
        ),
        groups=groups,
        rests=tuple(RestView(f"{LINES[pot.line][0]}: {pot.name}", format_usd(pot.rest_usd)) for pot in rests),
        corrections=tuple(
            CorrectionView(
                _month(each.month),
                each.number,
                f"{LINES.get(each.line, (each.line, ''))[0]}{f': {each.name}' if each.name else ''}",
                "nobody" if each.keys is None else group_name(each.keys),
                format_usd(each.usd),
            )
            for each in bill.corrections
        ),
        groups_usd=format_usd(sum(each.total_usd for each in bill.bearers)),
        rests_usd=format_usd(sum(pot.rest_usd for pot in rests)),
        corrections_usd=format_usd(corrected),
        total_usd=format_usd(total),
        covers=told and f"This bill {told}.",
        definitions=tuple((TITLES[name], meaning) for name, meaning in bill.definitions.items() if name in _shown(groups)),
    )


def _shown(groups: Iterable[GroupView]) -> set[str]:
    """Names of the definitions whose figures stand on the page."""
    some = list(groups)
    processed = any(group.cp1kt_usage_usd is not None for group in some)
    return {"idle"} | (GROUPS if some else set()) | (PER_1000 if processed else set())


def _places(total: int) -> int:
    """Cents where a bill is of dollars, all that there is where it is of less than a dime."""
    return 2 if total >= 10 * _WHOLE else 4 if total >= _WHOLE // 10 else 9


def _said(bill: Bill, places: int) -> str:
    """The total as a sentence: how much, and for what, the largest first; no amount finer than in the tables."""
    lines = sorted((line for line in bill.lines if line.usd > 0), key=lambda line: -line.usd)
    if not lines:
        return "Nothing was spent, as far as the ledger knows."
    parts = [f"{_rounded(line.usd, places)} for {_told(line.line)} ({percent(_share(line.usd, bill.total_usd), 0)})" for line in lines]
    return f"{_rounded(bill.total_usd, places)} in {_month(bill.month)}: {join(parts)}."


def _rounded(nano: int, places: int) -> str:
    amount = format_usd(nano)
    return usd(amount, min(places, places_of(amount)))


def _told(line: str) -> str:
    words = {
        "api": "requests billed by providers",
        "gpu_work": "the work of own GPUs",
        "gpu_waste": "GPU work that brought no answer",
        "recorded": "recorded runs",
        "idle": "GPUs that stood idle",
        "unallocated": "GPU capacity that no slice covers",
        "unused_commitment": "commitments that were not used",
        "other": "other costs",
        CORRECTIONS: "corrections of closed months",
    }
    return words[line]


def _with_parts(bill: Bill) -> Iterable[tuple[Bearer, tuple[ModelView, ...]]]:
    """Each group with what it bears: its models, dearest first, then its share of what nobody caused."""
    spent: dict[Keys, dict[str, list[int]]] = {}
    for charge in bill.charges:
        if charge.keys is None:
            continue
        shared = charge.line not in DIRECT
        name = (
            f"{LINES[charge.line][0]}, a share: {charge.fleet or charge.name}"
            if shared
            else charge.name or charge.model or "no model known"
        )
        sums = spent.setdefault(charge.keys, {}).setdefault(name, [0, 0, 0, shared])
        sums[0] += charge.usd
        if charge.unit == "Tokens":
            sums[2 if charge.meter.startswith("Output") else 1] += int(charge.quantity or 0)
    for bearer in bill.bearers:
        found = sorted(spent.get(bearer.keys, {}).items(), key=lambda item: (item[1][3], -item[1][0], item[0]))
        yield (
            bearer,
            tuple(
                ModelView(name, format_usd(cost), None if shared else read, None if shared else wrote)
                for name, (cost, read, wrote, shared) in found
            ),
        )


def _group(bill: Bill, each: Bearer, parts: tuple[ModelView, ...]) -> GroupView:
    names = dict(zip(bill.by, each.keys, strict=True))
    untagged = bool(names) and all(value is None for value in names.values())
    return GroupView(
        name=f"Untagged: {group_name(names)}" if untagged else group_name(names),
        untagged=untagged,
        requests=each.requests,
        unpriced=each.unpriced,
        input_tokens=each.input_tokens,
        output_tokens=each.output_tokens,
        usage_usd=format_usd(each.usage_usd),
        shared_usd=format_usd(each.shared_usd),
        total_usd=format_usd(each.total_usd),
        share=_share(each.total_usd, bill.total_usd),
        cp1kt_usage_usd=each.cp1kt_usage_usd,
        cp1kt_allocated_usd=each.cp1kt_allocated_usd,
        parts=parts,
    )


def _share(part: int, whole: int) -> float | None:
    return part * _WHOLE // whole / _WHOLE if whole > 0 and part >= 0 else None


def _month(month: str) -> str:
    return f"{date.fromisoformat(f'{month}-01'):%B %Y}"


def _local(instant: str, zone: str) -> datetime:
    return datetime.fromisoformat(instant).astimezone(ZoneInfo(zone))


def _day(instant: str, zone: str, *, last: bool = False) -> str:
    """A day in words; `last`: the one before an exclusive end."""
    return f"{_local(instant, zone) - timedelta(days=last):%-d %B %Y}"


def _moment(instant: str, zone: str) -> str:
    return f"{_local(instant, zone):%-d %B %Y, %H:%M}"
