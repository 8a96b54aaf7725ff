"""The most that a request can cost: what a reservation holds, and what is booked when its end is never learned.

Input: one token per UTF-8 byte of the request's text (a byte-level tokenizer never makes more), plus what templates and engines add,
capped by the model's context; the context alone where files or the provider's own tools bring what those bytes do not bound.
Output: the client's limit, else the model's. Both at the dearest rates that any candidate may charge.
Tokenizers that rewrite text before they cut it (NFKC) can in theory pass one token per byte; the cap by context still holds.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.domain.dialects.content import images, output_bound, prompts, text_bytes, uncounted_input, unwritten_tools
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.prices.rates import Rates

REQUEST_OVERHEAD = 64
"""tokens: start markers and the default system prompt that chat templates bring (Llama 3.1, Qwen 2.5: about 25)"""
MESSAGE_OVERHEAD = 8
"""tokens: role and end markers of one message (3 to 5 in the common templates)"""
TOOLS_OVERHEAD = 1024
"""tokens: the instructions that come with the first tool (Anthropic documents 313 to 735, chat templates about 200), and with each
that has a schema of the provider's own (up to 735)"""
TOOL_OVERHEAD = 16
"""tokens: markup around one tool's schema"""
IMAGE_OVERHEAD = 48_200
"""tokens of one image: the largest documented (gpt-4o-mini, eight tiles in high detail: 2,833 + 8 x 5,667)"""


class Candidate(msgspec.Struct, frozen=True):
    """A model that may answer. `rates` None: unpriced. `context`, `max_output`: tokens, None where the config does not say."""

    rates: Rates | None
    context: int | None = None
    max_output: int | None = None


def worst_case(request: dict[str, Any], candidates: Sequence[Candidate], *, generates: bool = True) -> tuple[int | None, Tokens | None]:
    """(cost in nano-USD rounded up at the dearest of the candidates, the most tokens that any takes and makes); `generates` is
    False for embeddings.

    Tokens are None when some candidate has no bound on its input or its output; cost is None then, and when one has no price:
    a maximum over something unknown is unknown. Input stands as uncached, output as visible.
    """
    inputs = prompts(request)
    read = input_bound(request, inputs)
    asked = output_bound(request, None) if generates else 0
    dearest: int | None = 0
    most = Tokens()
    for candidate in candidates:
        context = candidate.context
        cap = None if context is None else context * inputs
        entering = cap if read is None or (cap is not None and cap < read) else read
        leaving = output_bound(request, candidate.max_output) if asked is None else asked
        if entering is None or leaving is None:
            return None, None
        cost = None if candidate.rates is None else ceiling(candidate.rates, entering, leaving)
        dearest = None if cost is None or dearest is None else max(dearest, cost)
        most = Tokens(max(most.input, entering), 0, 0, max(most.output, leaving), 0)
    return (dearest, most) if candidates else (None, None)


def input_bound(request: dict[str, Any], inputs: int = 1) -> int | None:
    """Tokens that the request can bring in at most, before the cap by context; None when the model may read what its bytes
    do not bound (`uncounted_input`).

    `inputs`: how many prompts it has.
    """
    if uncounted_input(request):
        return None
    bound = text_bytes(request) + REQUEST_OVERHEAD * inputs
    messages, items = request.get("messages"), request.get("input")
    if isinstance(messages, list):
        bound += MESSAGE_OVERHEAD * len(messages)
    if isinstance(items, list) and items and isinstance(items[0], dict):
        bound += MESSAGE_OVERHEAD * len(items)
    tools = request.get("tools") or request.get("functions")
    if isinstance(tools, list):
        bound += TOOLS_OVERHEAD * max(1, unwritten_tools(tools)) + TOOL_OVERHEAD * len(tools)
    return bound + IMAGE_OVERHEAD * images(request)


def ceiling(rates: Rates, input_tokens: int, output_tokens: int) -> int | None:
    """Nano-USD, rounded up, of a call with at most that many tokens at the dearest class and band it may fall into.

    None when tokens of a kind are possible and none of its classes has a price.
    """
    dear_in, dear_out = rates.bands[0].dearest
    for band in rates.bands[1:]:
        if band.input_above < input_tokens:
            dear_in, dear_out = _larger(dear_in, band.dearest[0]), _larger(dear_out, band.dearest[1])
    if (dear_in is None and input_tokens) or (dear_out is None and output_tokens):
        return None
    return -(-(rates.per_call + input_tokens * (dear_in or 0) + output_tokens * (dear_out or 0)) // rates.denominator)


def _larger(one: int | None, other: int | None) -> int | None:
    return other if one is None or (other is not None and other > one) else one
