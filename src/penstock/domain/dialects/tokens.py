"""Tokens in disjoint classes: each token of a call stands in exactly one of them."""

import msgspec


class Tokens(msgspec.Struct, frozen=True, array_like=True):
    """Token counts of one call. `input` and `output` are the sums that OpenTelemetry and OpenAI report."""

    uncached_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    visible_output: int = 0
    reasoning: int = 0

    @property
    def input(self) -> int:
        return self.uncached_input + self.cache_read + self.cache_write

    @property
    def output(self) -> int:
        return self.visible_output + self.reasoning

    @property
    def total(self) -> int:
        return self.input + self.output

    def plus(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.uncached_input + other.uncached_input,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.visible_output + other.visible_output,
            self.reasoning + other.reasoning,
        )


NO_TOKENS = Tokens()
