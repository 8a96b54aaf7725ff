"""The work that requests put on own hardware within a span of time, and what it weighs: whole numbers, so that any split is exact.

A request works evenly from its admission to its end. Tokens are counted in millionths and cut by telescoping floors, so the
parts of a request that spans hours add up to the whole of it.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from fractions import Fraction

import msgspec

from penstock.domain.ledger.entries import Work
from penstock.domain.prices.config_price import INPUT_WORK

SCALE = 10**6
RATE_SCALE = 2**64
"""seconds per millionth of a token are rounded down to this"""


class Load(msgspec.Struct, frozen=True, gc=False):
    """What one request did within the span: tokens in millionths; `begin_ns` and `end_ns` are clipped to the span."""

    id: str
    model: str | None
    admitted_ns: int
    begin_ns: int
    end_ns: int
    answered: bool
    """the pool gave its answer"""
    input: int
    output: int
    wasted_input: int
    wasted_output: int


class Weights(msgspec.Struct, frozen=True):
    """Of each load, in their order: prefill and decode of work that brought an answer, and all work that brought none."""

    prefill: list[int]
    decode: list[int]
    wasted: list[int]

    @property
    def total(self) -> int:
        return sum(self.prefill) + sum(self.decode) + sum(self.wasted)


def loads_in(works: Iterable[Work], fleets: Container[str], since_ns: int, until_ns: int) -> list[Load]:
    """Those of the works that were under way in [since_ns, until_ns) on one of the fleets, by id. One that took no time belongs
    to its instant."""
    found = []
    for work in works:
        begin, duration = work.admitted_ns, work.duration_us * 1000
        end = begin + duration
        if begin >= until_ns or (end <= since_ns if duration else begin < since_ns):
            continue
        ours = work.fleet is not None and work.fleet in fleets
        done = (work.input, work.output) if ours and work.answered else (0, 0)
        lost = (work.input, work.output) if ours and not work.answered else (0, 0)
        tries = [each for each in work.wasted if each[0] in fleets]
        if not ours and not tries:
            continue
        for _, tried_input, tried_output in tries:
            lost = (lost[0] + tried_input, lost[1] + tried_output)
        if begin >= since_ns and end <= until_ns:
            parts = [done[0] * SCALE, done[1] * SCALE, lost[0] * SCALE, lost[1] * SCALE]
        else:
            first, last = max(begin, since_ns) - begin, min(end, until_ns) - begin
            parts = [tokens * SCALE * last // duration - tokens * SCALE * first // duration for tokens in (*done, *lost)]
            begin, end = begin + first, begin + last
        found.append(Load(work.id, work.model, work.admitted_ns, begin, end, ours and work.answered, *parts))
    found.sort(key=lambda load: load.id)
    return found


def token_weights(loads: Sequence[Load]) -> Weights:
    """By tokens: output counts 1, input `INPUT_WORK`."""
    light, full = INPUT_WORK.numerator, INPUT_WORK.denominator
    return Weights(
        [load.input * light for load in loads],
        [load.output * full for load in loads],
        [load.wasted_input * light + load.wasted_output * full for load in loads],
    )


def even_weights(loads: Sequence[Load]) -> Weights:
    """Where no tokens are known: by the time under way, and evenly where nothing took time."""
    spans = [load.end_ns - load.begin_ns for load in loads]
    if not any(spans):
        spans = [1] * len(loads)
    done = [span if load.answered else 0 for load, span in zip(loads, spans, strict=True)]
    lost = [0 if load.answered else span for load, span in zip(loads, spans, strict=True)]
    return Weights([0] * len(loads), done, lost)


def measured_weights(
    loads: Sequence[Load],
    hourly: Sequence[Load],
    prefill_s: Mapping[str, Fraction],
    decode_s: Mapping[str, Fraction],
    names: Mapping[str, str],
) -> Weights | str:
    """By the engine's seconds per token of each model, or the model that it does not measure.

    `hourly`: the loads of the whole hour that the seconds are of. `names`: configured name of a model -> the engine's. Tries of
    models that are not measured weigh as the mean of all others.
    """
    tokens: dict[str, list[int]] = {}
    for load in hourly:
        name = names.get(load.model, load.model) if load.model is not None else None
        if (load.input and name not in prefill_s) or (load.output and name not in decode_s):
            return name or "unknown"
        if name is not None and (name in prefill_s or name in decode_s):
            counts = tokens.setdefault(name, [0, 0])
            counts[0] += load.input + load.wasted_input
            counts[1] += load.output + load.wasted_output
    rates = {name: (_rate(prefill_s.get(name), counts[0]), _rate(decode_s.get(name), counts[1])) for name, counts in tokens.items()}
    mean = (
        _rate(sum((prefill_s.get(name, Fraction(0)) for name in tokens), Fraction(0)), sum(counts[0] for counts in tokens.values())),
        _rate(sum((decode_s.get(name, Fraction(0)) for name in tokens), Fraction(0)), sum(counts[1] for counts in tokens.values())),
    )
    by_model = {load.model: rates.get(names.get(load.model, load.model) if load.model is not None else "", mean) for load in loads}
    each = [by_model[load.model] for load in loads]
    return Weights(
        [load.input * rate[0] for load, rate in zip(loads, each, strict=True)],
        [load.output * rate[1] for load, rate in zip(loads, each, strict=True)],
        [load.wasted_input * rate[0] + load.wasted_output * rate[1] for load, rate in zip(loads, each, strict=True)],
    )


def _rate(seconds: Fraction | None, tokens: int) -> int:
    return 0 if seconds is None or not tokens else seconds.numerator * RATE_SCALE // (seconds.denominator * tokens)


def work_tokens(loads: Sequence[Load]) -> Fraction:
    """All work, waste included, in output tokens."""
    put_in = sum(load.input + load.wasted_input for load in loads)
    put_out = sum(load.output + load.wasted_output for load in loads)
    return (put_in * INPUT_WORK + put_out) / SCALE


def occupied_ns(loads: Sequence[Load]) -> int:
    """The time in which at least one request was under way."""
    total, reached = 0, None
    for begin, end in sorted((load.begin_ns, load.end_ns) for load in loads):
        if reached is None or begin > reached:
            total, reached = total + end - begin, end
        elif end > reached:
            total, reached = total + end - reached, end
    return total
