"""What a charge meters: which kind of tokens, or hours of instances or of GPUs, counted in single units whatever the bill prices in."""

import re
from collections.abc import Mapping
from decimal import Decimal

from penstock.domain.bills.focus import EXACT, FocusRow

INPUT, CACHE_READ, CACHE_WRITE, OUTPUT = "Input Tokens", "Cache Read Input Tokens", "Cache Write Input Tokens", "Output Tokens"
TOKEN_METERS = (INPUT, CACHE_READ, CACHE_WRITE, OUTPUT)
TOKENS, HOURS, GPU_HOURS = "Tokens", "Hours", "GPU-Hours"
"""tokens of a kind that the bill does not tell; hours of an instance; hours of one GPU"""

_OUTPUT = re.compile(r"output|outp\b|completion|generated|reasoning", re.IGNORECASE)
_INPUT = re.compile(r"input|inp\b|prompt", re.IGNORECASE)
_WRITE = re.compile(r"cache[\s_-]*(write|creation|storage|stored)|write[\s_-]*cache", re.IGNORECASE)
_READ = re.compile(r"cache[\s_-]*(read|hit)|cached|cchd|read[\s_-]*cache", re.IGNORECASE)
_UNIT = re.compile(r"(?:per\s+)?(\d[\d,]*(?:\.\d+)?)?\s*(k|m|thousand|million|mn)?\b[\s_/-]*([a-z-]+)?", re.IGNORECASE)
_SCALES = {"k": 1000, "thousand": 1000, "m": 10**6, "million": 10**6, "mn": 10**6}
_HOURS = re.compile(r"(?:per\s+)?(\d[\d,]*(?:\.\d+)?)?\s*(?:(gpu|card)|instance|vm)?s?[\s_/-]*(?:hours?|hrs?|h)", re.IGNORECASE)
_BESIDE_GPU = re.compile(r"\b(v?cpus?|cores?|ram|memory)\b|ebsoptimized", re.IGNORECASE)
_GPU = re.compile(r"\bgpus?\b", re.IGNORECASE)


def meter_of(row: FocusRow) -> str | None:
    """The meter by its name in `TOKEN_METERS`, `Tokens`, `Hours` or `GPU-Hours`; None for all else (requests, bytes ...)."""
    details = row.sku_price_details or {}
    direction, action = _detail(details, "TokenDirection"), _detail(details, "TokenCacheAction")
    if direction is not None:
        if direction.lower() == "output":
            return OUTPUT
        return {"read": CACHE_READ, "write": CACHE_WRITE}.get((action or "").lower(), INPUT)
    counted = row.consumed_unit if row.consumed_quantity is not None else row.pricing_unit
    if (hours := _hour_unit(counted)) is not None:
        return hours[0]
    _, unit = _scaled_unit(row)
    text = " ".join(filter(None, (row.sku_meter, row.charge_description, row.sku_price_id)))
    if unit not in ("token", "tokens") and "token" not in text.lower():
        return None
    # The meter's own name says it best; a description names prices of other kinds too.
    for each in (row.sku_meter, row.charge_description, row.sku_price_id):
        if each and (found := _by_words(each)):
            return found
    return TOKENS


def quantity_of(row: FocusRow) -> Decimal | None:
    """How much, in single tokens or hours; None when the bill does not say."""
    scale, _ = _scaled_unit(row)
    quantity = row.consumed_quantity if row.consumed_quantity is not None else row.pricing_quantity
    return None if quantity is None or scale is None else EXACT.multiply(quantity, scale)


def hours_of(row: FocusRow) -> tuple[str, Decimal | None] | None:
    """What a charge of hardware meters: (`GPU-Hours` or `Hours`, how many, None where the bill does not say); None: no hours that ran.

    Whichever of its two units counts hours, GPU-hours before those of instances: one of them may count what the hardware worked for.
    Cores, memory and disk access of a machine that are billed apart from its GPUs are no hours of their own.
    """
    if row.commitment_discount_status == "Unused" or _BESIDE_GPU.search(row.sku_meter or ""):
        return None
    sides = ((row.consumed_quantity, row.consumed_unit), (row.pricing_quantity, row.pricing_unit))
    found = [(*hours, quantity) for quantity, unit in sides if (hours := _hour_unit(unit)) is not None]
    if not found:
        return None
    meter, scale, quantity = min(found, key=lambda each: (each[2] is None, each[0] != GPU_HOURS))
    if "google" in (row.provider or "").lower() and _GPU.search(row.sku_meter or ""):
        meter = GPU_HOURS  # Google bills every GPU of a machine by its own hours
    return meter, None if quantity is None else EXACT.multiply(quantity, scale)


def _hour_unit(unit: str | None) -> tuple[str, Decimal] | None:
    """`10 Hours` -> `Hours` and 10, `GPU-Hours` -> `GPU-Hours` and 1; None for what counts no hours."""
    match = _HOURS.fullmatch(unit.strip()) if unit else None
    if match is None:
        return None
    return GPU_HOURS if match[2] else HOURS, Decimal(match[1].replace(",", "")) if match[1] else Decimal(1)


def _scaled_unit(row: FocusRow) -> tuple[Decimal | None, str]:
    """How many single units one counted unit holds, and the word for it."""
    unit = row.consumed_unit if row.consumed_quantity is not None else row.pricing_unit
    match = _UNIT.match(unit.strip()) if unit else None
    if match is None:
        return (Decimal(1) if unit else None), ""
    number = Decimal(match[1].replace(",", "")) if match[1] else Decimal(1)
    return EXACT.multiply(number, Decimal(_SCALES.get((match[2] or "").lower(), 1))), (match[3] or "").lower()


def _by_words(text: str) -> str | None:
    if _WRITE.search(text):
        return CACHE_WRITE
    if _READ.search(text):
        return CACHE_READ
    if _OUTPUT.search(text):
        return OUTPUT
    return INPUT if _INPUT.search(text) else None


def _detail(details: Mapping[str, object], key: str) -> str | None:
    value = details.get(key, details.get(f"x_{key}"))
    return value if isinstance(value, str) else None
