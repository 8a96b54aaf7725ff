"""New entries of the user's price file, as text that is appended to it: what is there is never edited."""

import tomllib
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

from penstock.adapters.feeds.gpus import GpuOffer
from penstock.adapters.feeds.overrides import parse_overrides
from penstock.domain.prices.config_price import CALL_OF_KEY, CLASS_OF_KEY, PART_OF_KEY, PER_OF_KEY, REQUEST_KEY, PriceError
from penstock.domain.prices.difference import DEFAULT_OF
from penstock.domain.prices.rates import Rates

HEADER = b"# Prices of our own, dated. A new price is appended with its day; an old entry is never edited.\n"
KEY_OF = {name: key for key, name in {**CLASS_OF_KEY, **PART_OF_KEY, **CALL_OF_KEY}.items()}


def price_entry(provider: str | None, model: str, processing: str | None, from_: date, rates: Rates, source: str) -> str:
    """A `[[price]]` entry with these rates. Raises `PriceError` for a price without a figure for input, which an entry cannot say."""
    whole = _figures(rates, 0)
    if "input" not in whole:
        raise PriceError("it has no price of input tokens")
    lines = ["[[price]]", *([f"provider = {_text(provider)}"] if provider else [])]
    lines += [f"model = {_text(model)}", f"from = {from_.isoformat()}"]
    lines += [f"processing = {_text(processing)}"] if processing else []
    lines += [f'{key} = "{usd}"' for key, usd in whole.items()]
    lines += [f'{key} = "{_decimal(usd * PER_OF_KEY.get(key, 1000))}"' for key, usd in _calls(rates)]
    if rates.per_call:
        lines.append(f'{REQUEST_KEY} = "{_decimal(Fraction(rates.per_call, rates.denominator * 10**6))}"')
    if len(rates.bands) > 1:
        lines += ["above = [", *(_band(band.input_above, _figures(rates, band.input_above + 1)) for band in rates.bands[1:]), "]"]
    return "\n".join([*lines, f"source = {_text(source)}"]) + "\n"


def offer_entry(offer: GpuOffer) -> str:
    """An `[[offer]]` entry."""
    lines = [f"{key} = {_text(getattr(offer, key))}" for key in ("provider", "instance", "gpu")]
    lines += [f"gpus = {offer.gpus}", f'usd_per_hour = "{offer.usd_per_hour}"', f"region = {_text(offer.region)}"]
    lines += [f'kind = "{offer.kind}"', f"date = {offer.date.isoformat()}", f"source = {_text(offer.source)}"]
    return "\n".join(["[[offer]]", *lines]) + "\n"


def appended(content: bytes, entries: Sequence[str], name: str) -> bytes:
    """The file with entries after what it holds, checked as a whole. Raises `PriceError` when one of them does not fit in."""
    if not entries:
        return content
    gap = b"" if not content else b"\n" if content.endswith(b"\n") else b"\n\n"
    whole = content + gap + "\n".join(entries).encode()
    parse_overrides(whole, name)
    return whole


def holds_prices(content: bytes) -> bool:
    """Whether a text is a file of this form: TOML, with nothing beside `price` and `offer`."""
    try:
        return tomllib.loads(content.decode("utf-8")).keys() <= {"price", "offer"}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False


def _figures(rates: Rates, input_tokens: int) -> dict[str, str]:
    """Keys of a table, as decimals; a class that costs what it would cost without a word is left out."""
    classes = rates.per_million(input_tokens)
    own = {
        name: usd
        for name, usd in classes.items()
        if usd is not None and (input_tokens > 0 or name not in DEFAULT_OF or usd != classes[DEFAULT_OF[name]])
    }
    return {KEY_OF[name]: _decimal(usd) for name, usd in {**own, **rates.parts_per_million(input_tokens)}.items()}


def _calls(rates: Rates) -> list[tuple[str, Fraction]]:
    return [(KEY_OF[name], usd) for name, usd in rates.usd_per_call().items()]


def _band(input_above: int, figures: dict[str, str]) -> str:
    told = ", ".join(f'{key} = "{usd}"' for key, usd in figures.items())
    return f"  {{ tokens = {input_above}, {told} }},"


def _decimal(usd: Fraction) -> str:
    value = Decimal(usd.numerator) / Decimal(usd.denominator)
    if Fraction(value) != usd:
        raise PriceError("it has a figure that no decimal says exactly")
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text(value: str) -> str:
    """A TOML string."""
    import json

    return json.dumps(value, ensure_ascii=False)
