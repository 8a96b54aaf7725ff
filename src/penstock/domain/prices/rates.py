"""Rates compiled to integers: a cost is one integer dot product and one division, rounded once.

A rate of `p` USD per million tokens is `p * 1000` nano-USD per token, in general a fraction. All rates of a price are
brought over one denominator when the price is loaded, so that pricing a call touches no `Fraction` and no `Decimal`.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import lcm
from typing import Literal

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.units import NANO_PER_USD

TOKEN_CLASSES = Tokens.__struct_fields__
Weights = tuple[int | None, int | None, int | None, int | None, int | None]
PriceBasis = Literal["measured", "estimated"]


class Band(msgspec.Struct, frozen=True):
    """Rates that hold from `input_above` input tokens on (the whole call is then priced at them)."""

    input_above: int
    weights: Weights
    dearest: tuple[int | None, int | None]
    """the largest weight of input and of output"""


class Rates(msgspec.Struct, frozen=True):
    """One price entry: nano-USD per token of each class, times `denominator`; None marks a class without a price.

    `id` names the entry (`config:llama-8b`, `genai-prices:openai/gpt-4o`), `version` when or where it comes from.
    `per_call` is a fee of every call that used tokens, in the same scaled unit (search models have one).
    """

    id: str
    version: str
    denominator: int
    bands: tuple[Band, ...]
    basis: PriceBasis = "measured"
    per_call: int = 0

    def cost(self, tokens: Tokens) -> int | None:
        """Nano-USD of a call, rounded once, half to even; None when it uses a class that has no price."""
        counts = (tokens.uncached_input, tokens.cache_read, tokens.cache_write, tokens.visible_output, tokens.reasoning)
        bands = self.bands
        weights = bands[0].weights if len(bands) == 1 else self.weights(counts[0] + counts[1] + counts[2])
        numerator = self.per_call if self.per_call and any(counts) else 0
        for count, weight in zip(counts, weights, strict=True):
            if count:
                if weight is None:
                    return None
                numerator += count * weight
        quotient, remainder = divmod(numerator, self.denominator)
        twice = remainder * 2
        if twice > self.denominator or (twice == self.denominator and quotient & 1):
            quotient += 1
        return quotient

    def weights(self, input_tokens: int) -> Weights:
        """The weights that hold for a call with that many input tokens."""
        chosen = self.bands[0].weights
        for band in self.bands[1:]:
            if input_tokens > band.input_above:
                chosen = band.weights
        return chosen

    def per_million(self, input_tokens: int = 0) -> dict[str, Fraction | None]:
        """USD per million tokens by class, for people to read."""
        return {
            name: None if weight is None else Fraction(weight, self.denominator * 1000)
            for name, weight in zip(TOKEN_CLASSES, self.weights(input_tokens), strict=True)
        }


def compile_rates(
    id: str,
    version: str,
    usd_per_million: Mapping[str, Fraction | None],
    *,
    bands: Mapping[int, Mapping[str, Fraction | None]] | None = None,
    basis: PriceBasis = "measured",
    usd_per_call: Fraction = Fraction(0),
) -> Rates:
    """Rates from USD per million tokens of each class in `TOKEN_CLASSES`, and a fee per call.

    A missing `cache_read` or `cache_write` is charged as uncached input and missing `reasoning` as visible output: what
    providers do unless they publish another rate. `bands` maps input-token thresholds to the rates above them.
    """
    tables = [(0, _complete(usd_per_million))]
    tables += [(start, _complete(table)) for start, table in sorted((bands or {}).items())]
    fee = Fraction(usd_per_call) * NANO_PER_USD
    fractions = [value for _, table in tables for value in table if value is not None]
    denominator = lcm(fee.denominator, *(f.denominator for f in fractions))
    compiled = tuple(_band(start, table, denominator) for start, table in tables)
    return Rates(id, version, denominator, compiled, basis, int(fee * denominator))


def _complete(table: Mapping[str, Fraction | None]) -> list[Fraction | None]:
    uncached, visible = table.get("uncached_input"), table.get("visible_output")
    per_million = [
        uncached,
        table.get("cache_read", uncached),
        table.get("cache_write", uncached),
        visible,
        table.get("reasoning", visible),
    ]
    return [None if value is None else Fraction(value) * 1000 for value in per_million]


def _band(start: int, nano_per_token: list[Fraction | None], denominator: int) -> Band:
    scaled = [None if value is None else int(value * denominator) for value in nano_per_token]
    dearest_input = max((weight for weight in scaled[:3] if weight is not None), default=None)
    dearest_output = max((weight for weight in scaled[3:] if weight is not None), default=None)
    return Band(start, (scaled[0], scaled[1], scaled[2], scaled[3], scaled[4]), (dearest_input, dearest_output))
