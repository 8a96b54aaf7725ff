"""How figures are written for people: short, in fixed steps, unknown as "unknown". Exact figures are in the twins."""

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

UNKNOWN = "unknown"
MINUS, NARROW = "\u2212", "\u202f"
"""the minus sign, and the narrow space before a unit that does not break"""


def usd(amount: str | None, places: int | None = None) -> str:
    """A decimal string of USD: `$41,203`, `$3.07`, `$0.00412`. What would round to nothing is `<$0.01`."""
    if amount is None:
        return UNKNOWN
    value = Decimal(amount)
    if places is None:
        places = 0 if value == value.to_integral_value() else places_of(amount)
    least = Decimal(1).scaleb(-places)
    sign = MINUS if value < 0 else ""
    if 0 < abs(value) < least / 2:
        return f"<${least:f}"  # whatever its sign: too small to matter
    return f"{sign}${abs(value).quantize(least, ROUND_HALF_EVEN):,f}"


def amount(text: str | None, unit: str) -> str:
    """A decimal string of a budget's unit: USD as `usd`, or `312.5 GPU-hours`."""
    if text is None or unit == "USD":
        return usd(text)
    return f"{Decimal(text):,.1f}".removesuffix(".0") + " GPU-hours"


def places_of(*amounts: str | None) -> int:
    """Decimals that give the largest of some amounts at least three digits, and cents from one dollar to a thousand."""
    largest = max((abs(Decimal(amount)) for amount in amounts if amount is not None), default=Decimal(0))
    if largest >= 1000 or not largest:
        return 0
    return 2 if largest >= 1 else min(9, 2 - largest.adjusted())


def signed_usd(amount: str | None, places: int | None = None) -> str:
    """A difference: `+$120`, `-$3.07`."""
    if amount is None:
        return UNKNOWN
    written = usd(amount, places)
    return f"+{written}" if Decimal(amount) > 0 and not written.startswith("<") else written


def count(number: int | None) -> str:
    """`12,345`; from 100,000 on `1.2M`."""
    if number is None:
        return UNKNOWN
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if abs(number) >= max(size, 100_000):
            return f"{number / size:.3g}{unit}" if abs(number) < 1000 * size else f"{number / size:,.0f}{unit}"
    return f"{number:,}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 as `99.2 %`, cut (never rounded up), so that only all of it is 100 %."""
    if share is None:
        return UNKNOWN
    steps = 10**digits
    cut = int(Decimal(repr(share)) * 100 * steps)
    whole, part = divmod(abs(cut), steps)
    if not cut and share:
        return f"<{1 / steps:.{digits}f}{NARROW}%"
    text = f"{whole}.{part:0{digits}d}".rstrip("0").rstrip(".") if digits else str(whole)
    return f"{MINUS if share < 0 else ''}{text}{NARROW}%"


def seconds(value: float | None) -> str:
    """`0.42 ms`, `420 ms`, `1.2 s`, `3 min`, `6 h`, `7 days`."""
    if value is None:
        return UNKNOWN
    if value < 0.01:
        return f"{value * 1000:.2g}{NARROW}ms"
    if value < 1:
        return f"{value * 1000:.0f}{NARROW}ms"
    if value < 120:
        return f"{value:.3g}{NARROW}s"
    if value < 7200:
        return f"{value / 60:.0f}{NARROW}min"
    return f"{value / 3600:.3g}{NARROW}h" if value < 48 * 3600 else f"{value / 86_400:.3g}{NARROW}days"


def moment(instant_ns: int | None, zone: str, form: str = "%-d %b %H:%M:%S") -> str:
    """An instant in the server's zone."""
    if instant_ns is None:
        return UNKNOWN
    return datetime.fromtimestamp(instant_ns / 10**9, ZoneInfo(zone)).strftime(form)


def instant(text: str | None, zone: str) -> str:
    """An instant of the twins, `2026-11-21T14:00:00+00:00`, in the server's zone."""
    return UNKNOWN if text is None else f"{datetime.fromisoformat(text).astimezone(ZoneInfo(zone)):%-d %b %H:%M}"


def times(ratio: float | None) -> str:
    """How many times something else: `1.25`."""
    if ratio is None:
        return UNKNOWN
    return "<0.01" if 0 < ratio < 0.005 else f"{ratio:,.2f}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 request`, `2 requests`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def join(parts: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def quoted(name: str) -> str:
    """A name that somebody chose, set apart from the sentence around it."""
    return f"\u201c{name}\u201d"
