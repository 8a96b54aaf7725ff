"""The cold-start shield: what happens to a request while no replica can serve it, so that a fleet may sleep."""

from fractions import Fraction
from typing import Literal

import msgspec

ShieldMode = Literal["hold", "spill", "cache", "cache+spill"]


class Shield(msgspec.Struct, frozen=True, kw_only=True):
    """`hold`: it waits at the gateway until a replica is ready. `spill`: after `spill_after_s` of that it goes to another tier or an API.
    `cache`: a share of requests is answered by a cache at once, the others are held, or spilled with `cache+spill`.
    """

    mode: ShieldMode = "hold"
    spill_after_s: float = 0.0
    spill_ttft_s: float = 0.5
    """of the API: the time to its first token"""
    spill_tpot_s: float = 0.02
    """of the API: the time per further token"""
    hit_rate: float = 0.0
    """share of requests that the cache can answer, 0 to 1: chosen by seed and number of the request"""

    @property
    def spills(self) -> bool:
        return self.mode in ("spill", "cache+spill")

    @property
    def caches(self) -> bool:
        return self.mode in ("cache", "cache+spill")


class SpillPrices(msgspec.Struct, frozen=True, kw_only=True):
    """What the API asks, in USD per million tokens."""

    input: Fraction
    output: Fraction

    def nano_usd(self, input_tokens: int, output_tokens: int) -> int:
        """What so many tokens cost, rounded once, half-even."""
        return round((self.input * input_tokens + self.output * output_tokens) * 1000)
