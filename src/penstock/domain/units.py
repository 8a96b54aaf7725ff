"""Money, durations, sizes and rates: exact, and parsed from the way people write them.

Money at rest is an integer of nano-USD (1 USD = 10**9); reports use `Decimal`. Floats never hold money.
Text that does not parse raises `UnitError`, whose message says what would have been accepted.
"""

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import overload

NANO_PER_USD = 10**9

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_QUANTITY = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$")
_RATE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*USD\s*/\s*([a-z-]+)\s*$")


class UnitError(ValueError):
    """A quantity that cannot be read; the message names the accepted form."""


class Duration(float):
    """Seconds, read from text such as `250ms`, `2s`, `5m`, `24h`, `30d`."""

    @classmethod
    def parse(cls, text: str) -> "Duration":
        match = _QUANTITY.match(text)
        if match is None or match[2] not in _DURATION_UNITS:
            raise UnitError(f"`{text}` is not a duration: write a number with ms, s, m, h or d, such as `30s`")
        return cls(float(match[1]) * _DURATION_UNITS[match[2]])


class Size(int):
    """Bytes, read from text such as `10 MB`, `64 MiB`, `4096 B`."""

    @classmethod
    def parse(cls, text: str) -> "Size":
        match = _QUANTITY.match(text)
        if match is None or match[2].lower() not in _SIZE_UNITS:
            raise UnitError(f"`{text}` is not a size: write a number with B, kB, MB, GB, KiB, MiB or GiB, such as `10 MB`")
        return cls(Decimal(match[1]) * _SIZE_UNITS[match[2].lower()])


class Rate(str):
    """A price per unit of time, such as `0.79 USD/gpu-hour` or `12 USD/month`; kept as written, exact on demand."""

    @classmethod
    def parse(cls, text: str) -> "Rate":
        if _RATE.match(text) is None:
            raise UnitError(f"`{text}` is not a rate: write it like `0.79 USD/gpu-hour` or `12 USD/month`")
        return cls(text)

    @property
    def usd(self) -> Decimal:
        match = _RATE.match(self)
        assert match is not None
        return Decimal(match[1])

    @property
    def per(self) -> str:
        match = _RATE.match(self)
        assert match is not None
        return match[2]


def nano_from_usd(amount: Decimal | str) -> int:
    """USD -> nano-USD. Raises `UnitError` when the amount is not a number or has more than nine decimals."""
    try:
        scaled = Decimal(amount).scaleb(9)
    except InvalidOperation:
        raise UnitError(f"`{amount}` is not an amount of USD: write it like `12.50`") from None
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise UnitError(f"`{amount}` USD has more than nine decimals")
    return int(scaled)


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Split an integer amount by weights so that the parts sum to it exactly (largest remainder, ties to the first).

    A negative amount (a credit) is split as well. Raises `ValueError` when weights are negative, or all zero while there is
    something to split.
    """
    if amount == 0:
        return [0] * len(weights)
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("weights must be non-negative and not all zero")
    parts = [amount * weight // total for weight in weights]
    missing = amount - sum(parts)
    if missing:
        remainders = [amount * weight % total for weight in weights]
        for index in sorted(range(len(weights)), key=remainders.__getitem__, reverse=True)[:missing]:
            parts[index] += 1
    return parts


def usd(nano: int) -> Decimal:
    """Nano-USD -> exact USD with nine decimals."""
    return Decimal(nano).scaleb(-9)


@overload
def format_usd(nano: int) -> str: ...


@overload
def format_usd(nano: int | None) -> str | None: ...


def format_usd(nano: int | None) -> str | None:
    """The decimal string that JSON and headers carry (`0.000012345`); None stays None, for unknown is not zero."""
    if nano is None:
        return None
    sign = "-" if nano < 0 else ""
    whole, part = divmod(abs(nano), NANO_PER_USD)
    return f"{sign}{whole}.{part:09d}"
