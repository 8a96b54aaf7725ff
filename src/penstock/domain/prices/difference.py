"""What differs between two prices, figure by figure."""

from fractions import Fraction

import msgspec

from penstock.domain.prices.rates import Rates, compile_rates
from penstock.domain.units import NANO_PER_USD

DEFAULT_OF = {"cache_read": "uncached_input", "cache_write": "uncached_input", "reasoning": "visible_output"}
"""classes that cost what another one does, unless they have a price of their own"""


class Change(msgspec.Struct, frozen=True):
    """One figure before and after. `input_above`: of calls with more input tokens than that; `unit`: what it is USD per."""

    figure: str
    input_above: int
    unit: str
    before: Fraction | None
    after: Fraction | None


def differences(before: Rates | None, after: Rates | None) -> list[Change]:
    """The figures that differ; None is no price at all. Empty for the same price under another name."""
    old, new = figures(before), figures(after)
    told = [Change(*key, old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)]
    follows = {(change.figure, change.input_above): (change.before, change.after) for change in told}
    return [
        change for change in told if follows.get((DEFAULT_OF.get(change.figure, ""), change.input_above)) != (change.before, change.after)
    ]


def filled(rates: Rates, before: Rates | None) -> Rates:
    """A price with the parts and fees of an earlier one that it says nothing of."""
    if before is None:
        return rates
    table: dict[int, dict[str, Fraction | None]] = {}
    for band in rates.bands:
        size = band.input_above + 1
        table[band.input_above] = {**before.parts_per_million(size), **rates.per_million(size), **rates.parts_per_million(size)}
    fee = rates.per_call or Fraction(before.per_call * rates.denominator, before.denominator)
    usd_per_call = Fraction(fee, rates.denominator * NANO_PER_USD)
    calls = before.usd_per_call() | rates.usd_per_call()
    first, *others = table.items()
    return compile_rates(rates.id, rates.version, first[1], bands=dict(others), basis=rates.basis, usd_per_call=usd_per_call, calls=calls)


def figures(rates: Rates | None) -> dict[tuple[str, int, str], Fraction | None]:
    """(figure, input_above, unit) -> USD, of everything that a price says."""
    if rates is None:
        return {}
    found: dict[tuple[str, int, str], Fraction | None] = {}
    for band in rates.bands:
        size = band.input_above + 1
        for name, usd in {**rates.per_million(size), **rates.parts_per_million(size)}.items():
            found[name, band.input_above, "million tokens"] = usd
    for name, usd in rates.usd_per_call().items():
        found[name, 0, "call"] = usd
    if rates.per_call:
        found["call", 0, "call"] = Fraction(rates.per_call, rates.denominator * NANO_PER_USD)
    return found
