"""The user's own dated prices: a TOML file of `[[price]]` entries to which new ones are appended, old ones never edited.

[[price]]
provider = "openai"          # with a provider, `model` is the provider's name; without one, a configured model
model    = "gpt-4o"
from     = "2026-10-01"      # UTC midnight
input    = 2.0               # USD per million tokens; also cached_input, cache_write, output, reasoning
output   = 8.0
"""

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import msgspec

from penstock.domain.prices.config_price import CLASS_OF_KEY, PriceError, rates_from_table
from penstock.domain.prices.rates import Rates
from penstock.domain.prices.schedule import Schedule, midnight_ns

Name = tuple[str | None, str]
"""provider (None: a configured model) and model, lower-case"""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    provider: str | None = None
    from_: date = msgspec.field(name="from")
    input: float | str
    output: float | str | None = None
    cached_input: float | str | None = None
    cache_write: float | str | None = None
    reasoning: float | str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    price: tuple[_Entry, ...] = ()


class Overrides:
    """Dated prices by name."""

    def __init__(self, schedules: Mapping[Name, Schedule], source: str) -> None:
        self._schedules = dict(schedules)
        self.source = source

    def schedule(self, provider: str | None, model: str) -> Schedule | None:
        """The entries of a provider's model, or with provider None of a configured model; None when there are none."""
        return self._schedules.get((provider.lower() if provider else None, model.lower()))


def read_overrides(path: Path) -> Overrides:
    """Read and check a price file. Raises `PriceError` naming the entry, `OSError` when the file cannot be read."""
    try:
        file = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as problem:
        raise PriceError(f"{path.name}: {str(problem)[:1].lower()}{str(problem)[1:]}") from None
    entries: dict[Name, dict[int, Rates]] = {}
    for number, entry in enumerate(file.price, start=1):
        provider = entry.provider.lower() if entry.provider else None
        dated = entries.setdefault((provider, entry.model.lower()), {})
        start = midnight_ns(entry.from_)
        if start in dated:
            raise PriceError(
                f"{path.name}: price {number}: `{entry.model}` has another price from {entry.from_}: append it under a later date"
            )
        table = {key: getattr(entry, key) for key in CLASS_OF_KEY}
        name = f"{provider}/{entry.model}" if provider else entry.model
        try:
            dated[start] = rates_from_table(f"prices:{name}", entry.from_.isoformat(), table)
        except PriceError as fault:
            raise PriceError(f"{path.name}: price {number}: {fault}") from None
    return Overrides({name: _in_order(dated) for name, dated in entries.items()}, path.name)


def _in_order(dated: dict[int, Rates]) -> Schedule:
    starts = tuple(sorted(dated))
    return Schedule(starts, tuple(dated[start] for start in starts))
