"""The agent that ran away: one service account asks the same kind of thing again and again, each time with a longer context."""

import random

import msgspec

from penstock.demo.calendar import HOUR_NS, Calendar
from penstock.demo.firm import feature
from penstock.domain.dialects.tokens import Tokens

FEATURE = feature("code")
USER = "svc-refactor"
TAGS = next(tags for tags in FEATURE.tags() if tags["user"] == USER)
SHARE = 0.045
"""of all requests of the history"""
STEPS = 90
"""calls until the loop drops its context and begins anew"""
FIRST_CONTEXT, GROWTH = 18_000, 1_900
"""tokens"""


class LoopCall(msgspec.Struct, frozen=True):
    """One turn of the loop."""

    at_ns: int
    tokens: Tokens


def calls(requests: int, calendar: Calendar, rng: random.Random) -> dict[int, list[LoopCall]]:
    """The turns of the loop by the start of their hour, spread evenly over its hours."""
    count = int(requests * SHARE)
    begin, end = calendar.runaway_from_ns, calendar.runaway_until_ns
    turns: dict[int, list[LoopCall]] = {}
    for number in range(count):
        at_ns = begin + (end - begin) * number // count + int(rng.random() * 10**9)
        context = FIRST_CONTEXT + GROWTH * (number % STEPS) + int(900 * rng.random())
        read = context * 2 // 5 // 128 * 128
        said = 380 + int(240 * rng.random())
        turns.setdefault(at_ns // HOUR_NS * HOUR_NS, []).append(LoopCall(at_ns, Tokens(context - read, read, 0, said, 0)))
    return turns
