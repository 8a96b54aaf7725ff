"""Tokens in disjoint classes: each token of a call stands in exactly one of them. Parts of a class that have prices of their own."""

from typing import Final

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

CLASS_OF_PART: Final[dict[str, str | None]] = {
    "input_audio": "uncached_input",
    "input_image": "uncached_input",
    "input_video": "uncached_input",
    "cache_read_audio": "cache_read",
    "cache_read_image": "cache_read",
    "cache_read_video": "cache_read",
    "cache_write_1h": "cache_write",
    "output_audio": "visible_output",
    "output_image": "visible_output",
    "output_video": "visible_output",
    "web_searches": None,
    "file_searches": None,
    "code_runs": None,
    "tool_calls": None,
    "citation_tokens": None,
}
"""Part -> the class of tokens that it is a subset of; None: what is billed beside all classes, calls of the provider's own tools.

Parts of one class never overlap, so their sum is at most the class. `web_searches` counts every search of the web that is billed,
`file_searches` those of uploaded files, `code_runs` runs of code at the provider, `tool_calls` what else it bills by the call,
`citation_tokens` those that Perplexity's deep research bills beside input and output.
"""
PARTS: Final = tuple(CLASS_OF_PART)
