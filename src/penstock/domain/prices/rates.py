"""Rates compiled to integers: a cost is one integer dot product and one division, rounded once.

A rate of `p` USD per million tokens is `p * 1000` nano-USD per token, in general a fraction. All rates of a price are
brought over one denominator when the price is loaded, so that pricing a call touches no `Fraction` and no `Decimal`.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import lcm
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from penstock.domain.dialects.tokens import CLASS_OF_PART, Tokens
from penstock.domain.units import NANO_PER_USD

TOKEN_CLASSES = Tokens.__struct_fields__
INPUT_CLASSES = TOKEN_CLASSES[:3]
TOKEN_PARTS = tuple(part for part, token_class in CLASS_OF_PART.items() if token_class is not None)
CALL_PARTS = tuple(part for part, token_class in CLASS_OF_PART.items() if token_class is None)
NO_PARTS: Final[Mapping[str, int]] = MappingProxyType({})
Weights = tuple[int | None, int | None, int | None, int | None, int | None]
PriceBasis = Literal["measured", "estimated"]


class Band(msgspec.Struct, frozen=True):
    """Rates that hold from `input_above` input tokens on (the whole call is then priced at them)."""

    input_above: int
    weights: Weights
    dearest: tuple[int | None, int | None]
    """the largest weight of input and of output, parts included"""
    parts: dict[str, int] = {}
    """weights of parts of a class (`cache_write_1h`, `input_audio`) that have a rate of their own"""


class Charge(msgspec.Struct, frozen=True):
    """What one rate is charged for: `weight / denominator` nano-USD for each of `count`; weight None: no price.

    `name`: a token class (less its parts that stand apart), a part, a tool's calls, or `call` for the fee of the call.
    """

    name: str
    count: int
    weight: int | None
    input: bool


class Rates(msgspec.Struct, frozen=True):
    """One price entry: nano-USD per token of each class, times `denominator`; None marks a class without a price.

    `id` names the entry (`config:llama-8b`, `genai-prices:openai/gpt-4o#batch`), `version` when or where it comes from; together
    they name these rates and no others. `per_call` is a fee of every call that used tokens, in the same scaled unit (search
    models have one); `calls` are fees of each call of a tool, such as `web_searches`.
    """

    id: str
    version: str
    denominator: int
    bands: tuple[Band, ...]
    basis: PriceBasis = "measured"
    per_call: int = 0
    calls: dict[str, int] = {}

    def cost(self, tokens: Tokens, parts: Mapping[str, int] = NO_PARTS) -> int | None:
        """Nano-USD of a call, rounded once, half to even; None when it uses a class that has no price.

        A part (see `dialects.tokens.PARTS`) with a rate of its own is charged at it instead of its class, and at that of its class
        otherwise; calls of tools without a fee add nothing. `lacks` names both.
        """
        if parts:
            return self._sum(self.charges(tokens, parts))
        counts = (tokens.uncached_input, tokens.cache_read, tokens.cache_write, tokens.visible_output, tokens.reasoning)
        bands = self.bands
        weights = bands[0].weights if len(bands) == 1 else self.weights(counts[0] + counts[1] + counts[2])
        numerator = self.per_call if self.per_call and any(counts) else 0
        for count, weight in zip(counts, weights, strict=True):
            if count:
                if weight is None:
                    return None
                numerator += count * weight
        return _rounded(numerator, self.denominator)

    def input_cost(self, tokens: Tokens, parts: Mapping[str, int] = NO_PARTS) -> int | None:
        """Nano-USD of the input side of a call, rounded half to even, never above `cost`; the rest of the cost is for output.

        Fees of the call and of tools count as input: what a search finds enters the prompt. None when it has no price.
        """
        if parts or self.per_call:
            return self._sum([charge for charge in self.charges(tokens, parts) if charge.input])
        uncached, read, write = tokens.uncached_input, tokens.cache_read, tokens.cache_write
        weights = self.bands[0].weights if len(self.bands) == 1 else self.weights(uncached + read + write)
        numerator = 0
        for count, weight in ((uncached, weights[0]), (read, weights[1]), (write, weights[2])):
            if count:
                if weight is None:
                    return None
                numerator += count * weight
        return _rounded(numerator, self.denominator)

    def lacks(self, parts: Mapping[str, int]) -> tuple[str, ...]:
        """Parts of a call that have no rate of their own here: charged as their class, and calls of tools at nothing."""
        own, calls = self.bands[0].parts, self.calls
        return tuple(name for name, count in parts.items() if count > 0 and name not in own and name not in calls)

    def charges(self, tokens: Tokens, parts: Mapping[str, int] = NO_PARTS) -> list[Charge]:
        """A call line by line: disjoint, all that `cost` adds up, in the order of the classes, parts after their class."""
        band = self._band(tokens.input)
        found: list[Charge] = []
        for token_class, weight in zip(TOKEN_CLASSES, band.weights, strict=True):
            left: int = getattr(tokens, token_class)
            entering, apart = token_class in INPUT_CLASSES, []
            for part, count in parts.items():
                if CLASS_OF_PART.get(part) == token_class and part in band.parts and (taken := min(count, left)) > 0:
                    apart.append(Charge(part, taken, band.parts[part], entering))
                    left -= taken
            found += [Charge(token_class, left, weight, entering), *apart] if left else apart
        found += [Charge(name, parts[name], fee, True) for name, fee in self.calls.items() if parts.get(name, 0) > 0]
        return [*found, Charge("call", 1, self.per_call, True)] if self.per_call and tokens.total else found

    def weights(self, input_tokens: int) -> Weights:
        """The weights that hold for a call with that many input tokens."""
        return self._band(input_tokens).weights

    def per_million(self, input_tokens: int = 0) -> dict[str, Fraction | None]:
        """USD per million tokens by class, for people to read."""
        return {
            name: None if weight is None else Fraction(weight, self.denominator * 1000)
            for name, weight in zip(TOKEN_CLASSES, self.weights(input_tokens), strict=True)
        }

    def parts_per_million(self, input_tokens: int = 0) -> dict[str, Fraction]:
        """USD per million tokens of the parts that have a rate of their own."""
        return {name: Fraction(weight, self.denominator * 1000) for name, weight in self._band(input_tokens).parts.items()}

    def usd_per_call(self) -> dict[str, Fraction]:
        """USD of each call of a tool that has a fee."""
        return {name: Fraction(weight, self.denominator * NANO_PER_USD) for name, weight in self.calls.items()}

    def _band(self, input_tokens: int) -> Band:
        chosen = self.bands[0]
        for band in self.bands[1:]:
            if input_tokens > band.input_above:
                chosen = band
        return chosen

    def _sum(self, charges: list[Charge]) -> int | None:
        numerator = 0
        for charge in charges:
            if charge.weight is None:
                return None
            numerator += charge.count * charge.weight
        return _rounded(numerator, self.denominator)


def compile_rates(
    id: str,
    version: str,
    usd_per_million: Mapping[str, Fraction | None],
    *,
    bands: Mapping[int, Mapping[str, Fraction | None]] | None = None,
    basis: PriceBasis = "measured",
    usd_per_call: Fraction = Fraction(0),
    calls: Mapping[str, Fraction] | None = None,
) -> Rates:
    """Rates from USD per million tokens of each class in `TOKEN_CLASSES` and part in `TOKEN_PARTS`, a fee per call, and fees in
    USD of each call of a tool in `CALL_PARTS`.

    A missing `cache_read` or `cache_write` is charged as uncached input and missing `reasoning` as visible output: what
    providers do unless they publish another rate. A missing part has no rate of its own. `bands` maps input-token thresholds to
    the rates above them.
    """
    tables = [(0, usd_per_million), *sorted((bands or {}).items())]
    fees = {name: Fraction(usd) * NANO_PER_USD for name, usd in (calls or {}).items() if name in CALL_PARTS}
    fee = Fraction(usd_per_call) * NANO_PER_USD
    whole = [(start, _complete(table), _parts(table)) for start, table in tables]
    fractions = [fee, *fees.values(), *(value for _, classes, parts in whole for value in (*classes, *parts.values()) if value is not None)]
    denominator = lcm(*(value.denominator for value in fractions))
    compiled = tuple(_compiled(start, classes, parts, denominator) for start, classes, parts in whole)
    scaled = {name: int(value * denominator) for name, value in fees.items()}
    return Rates(id, version, denominator, compiled, basis, int(fee * denominator), scaled)


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


def _parts(table: Mapping[str, Fraction | None]) -> dict[str, Fraction]:
    return {name: Fraction(value) * 1000 for name in TOKEN_PARTS if (value := table.get(name)) is not None}


def _compiled(start: int, nano_per_token: list[Fraction | None], parts: Mapping[str, Fraction], denominator: int) -> Band:
    scaled = [None if value is None else int(value * denominator) for value in nano_per_token]
    apart = {name: int(value * denominator) for name, value in parts.items()}
    entering = [weight for name, weight in apart.items() if CLASS_OF_PART[name] in INPUT_CLASSES]
    leaving = [weight for name, weight in apart.items() if CLASS_OF_PART[name] not in INPUT_CLASSES]
    dearest_input = max((weight for weight in (*scaled[:3], *entering) if weight is not None), default=None)
    dearest_output = max((weight for weight in (*scaled[3:], *leaving) if weight is not None), default=None)
    return Band(start, (scaled[0], scaled[1], scaled[2], scaled[3], scaled[4]), (dearest_input, dearest_output), apart)


def _rounded(numerator: int, denominator: int) -> int:
    """The quotient as an integer, half to even."""
    quotient, remainder = divmod(numerator, denominator)
    twice = remainder * 2
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient
