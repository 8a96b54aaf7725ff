"""Why a bill and the ledger differ, in one line that a person can act on."""

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from penstock.domain.bills.meters import CACHE_READ, CACHE_WRITE, GPU_HOURS, HOURS, INPUT, TOKEN_METERS, TOKENS

ZERO = Decimal(0)
UNHEARD = "the config names no such model or hardware: add it, or see who uses it beside the gateway"
Alike = Callable[[Decimal, Decimal], bool]


class Told(Protocol):
    """One side of a comparison, as far as an explanation needs it."""

    cost: Decimal
    unknown: int
    requests: int
    estimated: int
    quantities: dict[str, Decimal]
    classes: set[str]
    gpus: set[Decimal]


def on_one_side(status: str, kind: str, side: Told) -> str:
    """Why something is on the bill only (`missing`) or in the ledger only (`extra`)."""
    if status == "missing":
        if not side.cost:
            return ""
        match kind:
            case "unknown":
                return UNHEARD
            case "fleet":
                return "hours of an instance that the config does not count then: it ran before, after or beside the fleet"
            case "other":
                return "the config has no such cost at that time"
            case _:
                return f"{_tokens(side)}on the bill only: traffic that bypasses the gateway"
    unknown = unpriced(side)
    if not side.cost:
        return unknown and f"{unknown}, and nothing is billed"
    match kind:
        case "fleet":
            told = "the config counts hardware that is not billed here: another account or bill, owned, or no longer rented"
        case "other":
            told = "the config has a cost that is not billed here"
        case _:
            told = "in the ledger only: not billed yet, free of charge, prepaid, or under another name"
    return f"{told}; {unknown}" if unknown else told


def unpriced(side: Told) -> str:
    """What of the ledger has no known cost; empty when all has one."""
    if not side.unknown:
        return ""
    if not side.requests:
        return "what it costs is not known"
    return f"{side.unknown:,} of {counted(side.requests, 'request')} {'has' if side.requests == 1 else 'have'} no price"


def explain(billed: Told, booked: Told, kind: str, differing: list[str], alike: Alike) -> str:
    """Why both sides have a group and their costs differ. `differing` are the meters whose quantities do."""
    parts = []
    if booked.unknown and booked.requests:
        parts.append(f"{unpriced(booked)} in the ledger: `penstock check` names their models")
    elif booked.unknown:
        parts.append(f"the rent of {counted(booked.unknown, 'hour')} is unknown: `penstock check` says why")
    if kind == "fleet":
        parts += _hours(billed, booked, bool(differing))
        parts += _rate(billed, booked, kind, alike)
    else:
        parts += _quantities(billed, booked, differing, alike)
        parts += _rate(billed, booked, kind, _roughly if differing else alike, "" if differing else "same tokens, ")
    return "; ".join(parts) or "the costs differ, and the bill tells no quantities that could say why"


def _roughly(one: Decimal, other: Decimal) -> bool:
    """Beside other tokens, rates are a mixture: only a great difference means something."""
    return abs(one - other) <= max(one, other) / 2


def _quantities(billed: Told, booked: Told, differing: list[str], alike: Alike) -> list[str]:
    if not differing:
        return []
    theirs, ours = billed.quantities, booked.quantities
    sides = (INPUT, CACHE_READ, CACHE_WRITE)
    if set(differing) <= set(sides) and alike(
        sum((theirs.get(each, ZERO) for each in sides), ZERO), sum((ours.get(each, ZERO) for each in sides), ZERO)
    ):
        less = theirs.get(CACHE_READ, ZERO) < ours.get(CACHE_READ, ZERO)
        return [
            f"the same input in all, of which the bill counts {'fewer' if less else 'more'} tokens as read from or written to the cache"
        ]
    if TOKENS in differing and alike(_all(theirs), _all(ours)):
        return ["the same tokens in all; the bill does not tell their kinds"]
    parts = []
    for meter in differing:
        more = theirs.get(meter, ZERO) - ours.get(meter, ZERO)
        parts.append(f"{amount(abs(more))} {meter.lower()} {'more' if more > 0 else 'fewer'} than metered")
    surplus = all(theirs.get(meter, ZERO) > ours.get(meter, ZERO) for meter in differing)
    why = "traffic that bypasses the gateway" if surplus else "billed later or on another bill, or credited"
    if booked.estimated:
        why += f", or estimates ({booked.estimated:,} of {counted(booked.requests, 'request')} told no usage)"
    return [f"{', '.join(parts)}: {why}"]


def _hours(billed: Told, booked: Told, differ: bool) -> list[str]:
    theirs, ours, vague = billed.quantities.get(GPU_HOURS), booked.quantities.get(GPU_HOURS), billed.quantities.get(HOURS)
    if vague is not None and ours is not None:
        return [
            f"{amount(vague)} instance-hours billed, {amount(ours)} GPU-hours in the config; how many GPUs an instance has is not known"
        ]
    if theirs is None or ours is None or not differ:
        return []
    held = f" (an instance holds {next(iter(billed.gpus)):f} GPUs)" if len(billed.gpus) == 1 and billed.gpus != {1} else ""
    told = f"{amount(theirs)} GPU-hours billed{held}, {amount(ours)} in the config: "
    return [told + ("more ran than `count` or `runs` says" if theirs > ours else "less ran than `count` or `runs` says")]


def _rate(billed: Told, booked: Told, kind: str, alike: Alike, before: str = "") -> list[str]:
    if HOURS in billed.quantities:
        return []
    if kind == "fleet":
        theirs, ours, unit = billed.quantities.get(GPU_HOURS, ZERO), booked.quantities.get(GPU_HOURS, ZERO), "GPU-hour"
    else:
        theirs, ours, unit = _all(billed.quantities) / 10**6, _all(booked.quantities) / 10**6, "million tokens"
    if not theirs or not ours or not billed.cost or not booked.cost:
        return []
    one, other = billed.cost / theirs, booked.cost / ours
    if alike(one, other):
        return []
    return [f"{before}rate {price(one)} instead of {price(other)} USD per {unit}: {_why_rate(one / other, billed.classes, kind)}"]


def _why_rate(ratio: Decimal, classes: set[str], kind: str) -> str:
    if classes:
        return f"the bill says {', '.join(sorted(classes))}"
    if kind == "fleet":
        return "another price, a discount, or a commitment that the config does not know"
    if abs(ratio - Decimal("0.5")) < Decimal("0.02"):
        return "half the price, as batch and flex have it"
    return "the price changed, a discount holds, or it is another processing class"


def _tokens(side: Told) -> str:
    known = [f"{amount(side.quantities[meter])} {meter.lower()}" for meter in TOKEN_METERS if side.quantities.get(meter)]
    return f"{', '.join(known)} " if known else ""


def _all(quantities: dict[str, Decimal]) -> Decimal:
    return sum((quantities.get(meter, ZERO) for meter in (*TOKEN_METERS, TOKENS)), ZERO)


def counted(count: int, one: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def amount(quantity: Decimal) -> str:
    """A quantity as it is spoken of: `1.2 M`, `35.4 k`, `31.5`."""
    for size, sign in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if quantity >= size:
            return f"{quantity / size:.3g} {sign}" if quantity < 999 * size else f"{quantity / size:,.0f} {sign}"
    return f"{quantity:.3g}" if quantity != quantity.to_integral_value() else f"{quantity:.0f}"


def price(usd: Decimal) -> str:
    """A rate with as many digits as tell it: `2.50`, `0.0625`."""
    if abs(usd) >= 1:
        return f"{usd:.2f}"
    shown = f"{usd:.3g}"
    return shown if "e" in shown else f"{shown.rstrip('0'):0<4}"
