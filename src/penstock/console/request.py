"""One request: what happened when, who decided what, and the arithmetic behind its cost, as `penstock explain` has it."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec

from penstock.console import words
from penstock.console.context import Context, NotHere, View
from penstock.console.query import Address
from penstock.domain.ledger.record import REPLAYED, UsageRecord, billed_of
from penstock.domain.prices.rates import CALL_PARTS
from penstock.domain.units import format_usd
from penstock.finops.caching.changing import PIN
from penstock.finops.caching.explaining import why_cached
from penstock.finops.costs import Coverage
from penstock.finops.explain import (
    Explanation,
    UnknownRequest,
    exact_decimal,
    explain,
    explanation_json,
    find_record,
    reserved_words,
    saved_nano,
    steered_words,
)
from penstock.finops.explain_asides import asides_json, meaning, together
from penstock.finops.explain_hours import HourShare, borne, hour_shares, shares_json
from penstock.finops.routing.explaining import why_routed

CLASS_WORDS = {
    "uncached_input": "input",
    "cache_read": "input read from the engine's cache",
    "cache_write": "input written to the engine's cache",
    "visible_output": "output",
    "reasoning": "reasoning",
    "call": "fee of the call",
    "cache_write_1h": "input written to the engine's cache for an hour",
    "cache_read_audio": "audio input read from the engine's cache",
    "cache_read_image": "image input read from the engine's cache",
    "cache_read_video": "video input read from the engine's cache",
    "input_audio": "audio input",
    "input_image": "image input",
    "input_video": "video input",
    "output_audio": "audio output",
    "output_image": "image output",
    "output_video": "video output",
    "web_searches": "searches of the web",
    "file_searches": "searches of files",
    "code_runs": "runs of code at the provider",
    "tool_calls": "calls of the provider's tools",
    "citation_tokens": "citation",
}
"""token classes, their parts and calls beside them, in the words of the page"""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the request's time, in milliseconds from its admission."""

    name: str
    kind: str
    """class of the figure: `water`, `w1`, `copper` for what was in vain"""
    start_ms: float
    end_ms: float
    note: str


class Decision(msgspec.Struct, frozen=True):
    """Who decided what: a step of the request, its outcome in words, and where to look further."""

    step: str
    outcome: str
    link: str | None = None
    link_words: str = "the request it came from"


class One(View, frozen=True, kw_only=True):
    """The page: the record as `explanation_json` tells it, its hours on own hardware, and what is drawn from them."""

    request: dict[str, object]
    gpu_hours: list[dict[str, object]]
    """its share of each hour of a fleet that worked for it"""
    borne_usd: str | None
    """what it bears in the end: these shares in the place of what it was booked at for them"""
    beside: dict[str, object]
    """calls made for it that are not its answer, and what all came to with them"""
    admitted_ns: int
    spans: tuple[Span, ...]
    decisions: tuple[Decision, ...]
    class_words: Mapping[str, str]


def build(context: Context, address: Address) -> One:
    """The page of the request that the address names by its id, or by enough of its beginning. Raises `NotHere`."""
    text = address.path.removeprefix("/requests/")
    try:
        record = find_record(context.snapshot, context.ledger.pending, text)
    except UnknownRequest as problem:
        raise NotHere(str(problem), problem.hint) from None
    shares = hour_shares(context.books, record)
    explanation = explain(record, context.prices, context.snapshot.costs.price_entries())
    answered = record.outcome != "refused"
    priced, estimated = record.cost is not None and answered, record.cost_basis == "estimated" and answered
    unpriced = () if priced or not answered else ((record.model, 1),)
    return One(
        answer=_answer(record, explanation, shares),
        standing=context.standing(Coverage(int(answered), int(priced), int(estimated), unpriced, {}, record.admitted_ns, 0)),
        request=explanation_json(explanation),
        gpu_hours=shares_json(shares),
        borne_usd=format_usd(borne(record, shares)),
        beside=asides_json(together(context.books, record, shares)),
        admitted_ns=record.admitted_ns,
        spans=spans(record),
        decisions=_decisions(record, _source(context, record)),
        class_words=CLASS_WORDS,
    )


def _source(context: Context, record: UsageRecord) -> UsageRecord | None:
    """The record that the answer in the cache was made for, where it is still known."""
    entry = record.cache_decision.entry if record.cache_decision is not None else None
    if entry is None:
        return None
    return context.snapshot.find(entry) or next((each for each in context.ledger.pending if each.id == entry), None)


def _answer(record: UsageRecord, explanation: Explanation, shares: Sequence[HourShare]) -> str:
    """What it bears of own hardware's hours where any worked for it, else the cost and its largest part, or why there is none."""
    if record.outcome == "refused":
        return f"It cost nothing: it was refused with status {record.status}, before any model was called."
    if record.cache in REPLAYED:
        instead = f" Made anew it would have cost {words.usd(format_usd(record.list_cost))}." if record.list_cost is not None else ""
        if record.cost:
            return f"It cost {words.usd(format_usd(record.cost))}, to find its answer in the cache.{instead}"
        return f"It cost nothing: its answer was replayed from the cache.{instead}"
    if shares:
        return _answer_of_hours(record, shares)
    if record.cost is None:
        return f"What it cost is unknown: {explanation.cost_note.removeprefix('unpriced: ')}."
    cost = words.usd(format_usd(record.cost))
    saved = saved_nano(record)
    compared = (
        f" On {record.baseline} it would have cost {words.usd(format_usd(record.counterfactual))}." if saved and record.baseline else ""
    )
    largest = (
        max((line for line in explanation.cost.lines if line.amount), key=lambda line: line.amount or 0, default=None)
        if explanation.cost
        else None
    )
    if largest is None or largest.amount is None or explanation.cost is None:
        return f"It cost {cost}: {explanation.cost_note}.{compared}"
    part = words.percent(float(largest.amount / sum(line.amount or 0 for line in explanation.cost.lines)), 0)
    rate = "" if largest.usd_per_million is None else f" at ${_rate(largest.usd_per_million)} per million"
    what = CLASS_WORDS.get(largest.token_class, largest.token_class)
    used = f"{largest.tokens:,} {what} tokens{rate}"
    if largest.usd_per_million is None:
        used = f"{largest.tokens:,} {what}" if largest.token_class in CALL_PARTS else f"the {what}"
    return f"It cost {cost}, {part} of it for {used}.{compared}"


def _answer_of_hours(record: UsageRecord, shares: Sequence[HourShare]) -> str:
    """Its part of what its fleets' hours had at work, and what it was booked at before that was known."""
    own, open_ = sum(each.share.amount + each.share.wasted for each in shares), not all(each.closed for each in shares)
    fleets = words.join(list(dict.fromkeys(each.hour.fleet for each in shares)))
    api = billed_of(record)
    bill = f", and {words.usd(format_usd(api))} that providers bill" if api else ""
    when = "the hours that it ran in" if len(shares) > 1 else "that hour"
    told = f"It bears {words.usd(format_usd(own))}, its part of what fleet {fleets} had at work in {when}{bill}."
    if open_:
        told += " Not all of that is closed yet, so it may still change."
    if record.cost is None:
        return f"{told} It was booked at no price."
    return f"{told} When it was answered it was booked at {words.usd(format_usd(record.cost))}."


def _rate(usd_per_million: Fraction) -> str:
    """A rate as it is written in price lists; one without an end to four digits."""
    exact = exact_decimal(usd_per_million)
    return exact if "/" not in exact else f"{float(usd_per_million):.4g}"


def spans(record: UsageRecord) -> tuple[Span, ...]:
    """What took the time, in order: tries that brought nothing, the wait for the first token, the answer's way."""
    whole = record.duration_us / 1000
    first = None if record.first_token_us is None else record.first_token_us / 1000
    found: list[Span] = []
    begun = 0.0
    for number, attempt in enumerate(record.attempts, 1):
        start = begun if attempt.started_us is None else attempt.started_us / 1000
        end = begun = start + attempt.duration_us / 1000
        failed = attempt.error is not None or (attempt.status or 0) >= 400
        said = attempt.error or (f"status {attempt.status}" if attempt.status is not None else "no answer")
        placed = "" if attempt.started_us is not None else ", placed after the one before: when it began is not known"
        name = f"try {number}: {attempt.model} at {attempt.upstream}"
        found.append(Span(name=name, kind="copper" if failed else "w2", start_ms=start, end_ms=end, note=f"{said}{placed}"))
    if record.cache in REPLAYED:
        found.append(Span(name="replay from the cache", kind="w1", start_ms=0, end_ms=whole, note="no model was called"))
    elif first is not None:
        found.append(Span(name="until the first token", kind="w2", start_ms=0, end_ms=first, note="look-up, queue, prompt"))
        name, note = ("stream", "from the first token to the last") if record.streamed else ("rest of the answer", "after its first byte")
        found.append(Span(name=name, kind="water", start_ms=first, end_ms=max(first, whole), note=note))
    elif not record.attempts:
        found.append(Span(name="the answer", kind="water", start_ms=0, end_ms=whole, note="it came as a whole"))
    return (*found, Span(name="all of it", kind="w4", start_ms=0, end_ms=whole, note=f"{record.outcome}, status {record.status}"))


def _decisions(record: UsageRecord, source: UsageRecord | None) -> tuple[Decision, ...]:
    cached = {
        "exact": "answered by the cache: the very same request was answered before",
        "normalised": "answered by the cache: the same question in the same words was answered before",
        "semantic": "answered by the cache: a question that means the same was answered before",
        "miss": "looked up, not found",
        "bypass": "not asked",
    }.get(record.cache, record.cache)
    of_request = record.cache_source is not None and not record.cache_source.startswith(PIN)
    found = [] if record.purpose is None else [Decision("made as", f"{record.purpose}: {meaning(record)}", f"/requests/{record.parent}")]
    found += [
        Decision("asked for", f"{record.requested_model or 'unknown'} on {record.endpoint}{', streamed' if record.streamed else ''}"),
        Decision("cache", cached, f"/requests/{record.cache_source}" if of_request and source is None else None),
    ]
    for about, text, request in why_cached(record, source):
        found.append(Decision(about, text, f"/requests/{request}" if request is not None and source is not None else None))
    if record.complexity is not None:
        found.append(Decision("complexity", f"{record.complexity:.3f} of 1, from the text of the request"))
    if record.strategy is not None:
        route = f", tiers tried: {record.route.replace('>', ' then ')}" if record.route else ""
        found.append(
            Decision(
                "route", f"by {record.strategy.replace('_', ' ')}{route}" if record.strategy != "by_complexity" else f"by complexity{route}"
            )
        )
    for about, text, _ in why_routed(record):
        found.append(Decision(about, text, "/routing" if about == "course" else None, "how this route fares"))
    if record.model is not None:
        tier = f", tier {record.tier}" if record.tier else ""
        version = f", version {record.model_version}" if record.model_version else ""
        found.append(Decision("answered by", f"{record.model}{tier}{version}"))
    if record.upstream is not None:
        place = f", fleet {record.fleet}{f' ({record.gpu})' if record.gpu else ''}" if record.fleet else ""
        found.append(Decision("upstream", f"{record.upstream}{f', replica {record.replica}' if record.replica else ''}{place}"))
    if (steered := steered_words(record)) is not None:
        found.append(Decision("steered by", steered))
    if (held := reserved_words(record)) is not None:
        found.append(Decision("held of budgets", held))
    if record.processing is not None:
        found.append(Decision("processing class", record.processing))
    if record.upstream_endpoint is not None:
        found.append(Decision("translated to", record.upstream_endpoint))
    if record.finish_reason is not None:
        found.append(Decision("finished because", record.finish_reason))
    if record.writer is not None:
        found.append(Decision("served by", f"worker {record.writer}"))
    if record.error is not None:
        found.append(Decision("error", record.error))
    return tuple(found)
