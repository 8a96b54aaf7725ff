"""The user's own dated prices: a TOML file of `[[price]]` entries to which new ones are appended, old ones never edited.

[[price]]
provider   = "openai"        # with a provider, `model` is the provider's name; without one, a configured model
model      = "gpt-4o"
from       = "2026-10-01"    # UTC midnight
processing = "batch"         # batch, flex, priority ...; without it the standard price
input      = 2.0             # USD per million tokens; also cached_input, cache_write, output, reasoning, and parts such as input_audio
output     = 8.0
web_search = 10              # USD per 1,000 calls; `request`: the fee of every call
above      = [{ tokens = 200000, input = 4.0, output = 12.0 }]     # what differs for calls with more input tokens
source     = "https://..."   # where it was read; an entry without it is an agreed price, which `prices update` leaves alone

[[offer]]                    # a price of hardware, as in gpus.toml
"""

import tomllib
from collections.abc import Collection, Mapping
from datetime import date
from functools import cache
from pathlib import Path

import msgspec

from penstock.adapters.feeds.gpus import GpuOffer, carried
from penstock.domain.dialects.processing import STANDARD
from penstock.domain.prices.config_price import PRICE_KEYS, PriceError, class_suffix, rates_from_table
from penstock.domain.prices.rates import Rates
from penstock.domain.prices.schedule import Schedule, midnight_ns

Name = tuple[str | None, str]
"""provider (None: a configured model) and model, lower-case"""


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """USD per million tokens, of tools and requests per 1,000 calls."""

    input: float | str | None = None
    output: float | str | None = None
    cached_input: float | str | None = None
    cache_write: float | str | None = None
    reasoning: float | str | None = None
    cache_write_1h: float | str | None = None
    input_audio: float | str | None = None
    input_image: float | str | None = None
    input_video: float | str | None = None
    cached_input_audio: float | str | None = None
    cached_input_image: float | str | None = None
    cached_input_video: float | str | None = None
    output_audio: float | str | None = None
    output_image: float | str | None = None
    output_video: float | str | None = None


class Above(Figures, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What differs for calls with more input tokens than `tokens`."""

    tokens: int


class Entry(Figures, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One dated price, as it stands in the file."""

    model: str
    provider: str | None = None
    from_: date = msgspec.field(name="from")
    processing: str | None = None
    input: float | str
    web_search: float | str | None = None
    file_search: float | str | None = None
    code_run: float | str | None = None
    tool_call: float | str | None = None
    citation: float | str | None = None
    request: float | str | None = None
    above: tuple[Above, ...] = ()
    source: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    price: tuple[Entry, ...] = ()
    offer: tuple[GpuOffer, ...] = ()


class Overrides:
    """Dated prices by name and processing class. `read`: (id, version) of entries that name where they were read, which no
    agreement with a provider stands behind; `offers`: prices of hardware."""

    def __init__(
        self,
        schedules: Mapping[Name, Mapping[str | None, Schedule]],
        source: str,
        read: Collection[tuple[str, str]] = (),
        offers: tuple[GpuOffer, ...] = (),
    ) -> None:
        self._schedules = {name: dict(classes) for name, classes in schedules.items()}
        self.source = source
        self.read = frozenset(read)
        self.offers = offers

    def schedule(self, provider: str | None, model: str, processing: str | None = None) -> Schedule | None:
        """The entries of a provider's model, or with provider None of a configured model; None when there are none."""
        return self._schedules.get(_name(provider, model), {}).get(processing)

    def classes(self, provider: str | None, model: str) -> dict[str, Schedule]:
        """The entries that name a processing class."""
        return {name: schedule for name, schedule in self._schedules.get(_name(provider, model), {}).items() if name is not None}


def read_overrides(path: Path) -> Overrides:
    """Read and check a price file. Raises `PriceError` naming the entry, `OSError` when the file cannot be read."""
    return parse_overrides(path.read_bytes(), path.name)


@cache
def carried_prices() -> Overrides:
    """Prices that genai-prices lacks, as this package carries them. Raises `PriceError`."""
    return parse_overrides(carried("tokens.toml"), "tokens.toml", "penstock")


def parse_overrides(content: bytes, source: str, origin: str = "prices") -> Overrides:
    """The entries of a price file's text; `origin` begins their ids. Raises `PriceError` naming the entry."""
    try:
        file = msgspec.convert(tomllib.loads(content.decode("utf-8")), _File)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as problem:
        raise PriceError(f"{source}: {str(problem)[:1].lower()}{str(problem)[1:]}") from None
    entries: dict[Name, dict[str | None, dict[int, Rates]]] = {}
    read: list[tuple[str, str]] = []
    for number, entry in enumerate(file.price, start=1):
        dated = entries.setdefault(_name(entry.provider, entry.model), {}).setdefault(_class(entry.processing), {})
        start = midnight_ns(entry.from_)
        if start in dated:
            raise PriceError(
                f"{source}: price {number}: `{entry.model}` has another price from {entry.from_}: append it under a later date"
            )
        try:
            dated[start] = rates_of(entry, origin)
        except PriceError as fault:
            raise PriceError(f"{source}: price {number}: {fault}") from None
        if entry.source is not None:
            read.append((dated[start].id, dated[start].version))
    by_name = {name: {label: _in_order(dated) for label, dated in classes.items()} for name, classes in entries.items()}
    return Overrides(by_name, source, read, file.offer)


def rates_of(entry: Entry, origin: str = "prices") -> Rates:
    """An entry as rates, its version its date. Raises `PriceError`."""
    provider = entry.provider.lower() if entry.provider else None
    name = (f"{provider}/{entry.model}" if provider else entry.model) + class_suffix(_class(entry.processing))
    figures = Figures.__struct_fields__
    above = {each.tokens: {key: getattr(each, key) for key in figures} for each in entry.above}
    return rates_from_table(f"{origin}:{name}", entry.from_.isoformat(), {key: getattr(entry, key) for key in PRICE_KEYS}, above)


def _name(provider: str | None, model: str) -> Name:
    return provider.lower() if provider else None, model.lower()


def _class(processing: str | None) -> str | None:
    return None if processing is None or processing in STANDARD else processing


def _in_order(dated: dict[int, Rates]) -> Schedule:
    starts = tuple(sorted(dated))
    return Schedule(starts, tuple(dated[start] for start in starts))
