"""Why one request cost what it cost: its record, laid out step by step, with every rate, product and rounding to check."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from itertools import chain
from types import MappingProxyType
from typing import Protocol

import msgspec

from penstock.domain.dialects.tokens import CLASS_OF_PART, NO_TOKENS, Tokens
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import REPLAYED, UsageRecord, is_aside, provisional_of
from penstock.domain.prices.rates import CALL_PARTS, Charge, Rates
from penstock.domain.prices.schedule import ALWAYS, Schedule
from penstock.domain.units import NANO_PER_USD, format_usd
from penstock.finops.caching.explaining import source_words
from penstock.finops.window import iso
from penstock.ports.usage_store import Snapshot

RECENT = 20_000
"""how many of the newest records a shortened id is looked up among"""
_EVER = CostQuery(since_ns=0, until_ns=2**63 - 1)
_AMOUNTS = (
    "admitted_ns", "cost", "list_cost", "input_cost", "provisional", "wasted_cost", "counterfactual", "reserved", "embedding_cost",
)  # fmt: skip
"""fields that are told in other words: the time as an instant, money as decimal strings"""
NO_ENTRIES: Mapping[tuple[str, str], Rates] = MappingProxyType({})


class Prices(Protocol):
    """What is asked of the price book: the dated price of a configured model and processing class, or why there is none."""

    def schedule(self, model: str, processing: str | None = None) -> Schedule | None: ...

    def why(self, model: str) -> str: ...


class UnknownRequest(LookupError):
    """No record, or more than one, answers to an id; `hint` names the nearest."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Line(msgspec.Struct, frozen=True):
    """What one rate is charged for. `amount` is exact, in nano-USD; the rates are exact, in USD. None: no price."""

    token_class: str
    """a class of tokens (less its parts below), a part of one such as `cache_write_1h`, calls of a tool, or `call`: the fee of the call"""
    tokens: int
    """how many; of calls, their number"""
    usd_per_million: Fraction | None
    """of tokens"""
    amount: Fraction | None
    usd_per_call: Fraction | None = None
    """of calls"""


class Dated(msgspec.Struct, frozen=True):
    """A price entry and when it begins, unix nanoseconds."""

    rates: Rates
    since: int


class Sum(msgspec.Struct, frozen=True):
    """Lines of one price entry whose amounts, with the `rounding`, add up to `nano_usd` exactly."""

    model: str
    price_id: str
    price_version: str
    price_from: int | None
    """unix nanoseconds from which the entry holds; None: it always has"""
    lines: tuple[Line, ...]
    rounding: Fraction
    nano_usd: int
    processing: str | None = None
    """class whose price this is: `batch`, `flex`, `priority`; None: the standard one"""
    lacking: tuple[str, ...] = ()
    """parts without a rate of their own: charged as their class, calls at nothing, so that the amount is an estimate"""


class _Used(msgspec.Struct, frozen=True):
    """What is priced: a model, its processing class, and what it was used for."""

    model: str | None
    processing: str | None
    tokens: Tokens
    parts: Mapping[str, int]


class Explanation(msgspec.Struct, frozen=True):
    """A record with the arithmetic behind its cost and its counterfactual; a sum is None where the notes say why."""

    record: UsageRecord
    cost: Sum | None
    cost_note: str
    counterfactual: Sum | None
    counterfactual_note: str


def find_record(snapshot: Snapshot, pending: Iterable[UsageRecord], text: str) -> UsageRecord:
    """The record with that id, or the only recent one whose id starts so. Raises `UnknownRequest`."""
    if (stored := snapshot.find(text)) is not None:
        return stored
    found: dict[str, UsageRecord] = {}
    recent: list[str] = []
    for record in chain(pending, snapshot.records(_EVER, limit=RECENT)):
        if record.id == text:
            return record
        if text and record.id.startswith(text):
            found[record.id] = record
        recent.append(record.id)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        some = ", ".join(sorted(found)[:5])
        raise UnknownRequest(f"{len(found)} requests start with `{text}`", f"write more of the id: {some}")
    raise UnknownRequest(f"no request `{text}` in the ledger", _nearest(text, recent))


def explain(record: UsageRecord, prices: Prices, kept: Mapping[tuple[str, str], Rates] = NO_ENTRIES) -> Explanation:
    """The arithmetic of a record, recomputed through the price entry that it names.

    `kept`: entries by (id, version) as the ledger keeps them, for those that the price book does not have any more.
    """
    cost, cost_note = _cost(record, prices, kept)
    counterfactual, counterfactual_note = _counterfactual(record, prices)
    return Explanation(record, cost, cost_note, counterfactual, counterfactual_note)


def explanation_json(explanation: Explanation) -> dict[str, object]:
    """The record in its own words, times as ISO instants, money as decimal strings, and both sums line by line."""
    record = explanation.record
    fields: dict[str, object] = msgspec.to_builtins(msgspec.structs.asdict(record))
    for name in _AMOUNTS:
        del fields[name]
    fields["admitted"] = iso(record.admitted_ns)
    fields["tokens"] = msgspec.structs.asdict(record.tokens)
    fields["recalled"] = msgspec.structs.asdict(record.recalled)
    fields["cache_decision"] = None if record.cache_decision is None else msgspec.structs.asdict(record.cache_decision)
    fields["wasted_work"] = [{"fleet": each.fleet, "tokens": msgspec.structs.asdict(each.tokens)} for each in record.wasted_work]
    return fields | {
        "cost_usd": format_usd(record.cost),
        "list_cost_usd": format_usd(record.list_cost),
        "input_cost_usd": format_usd(record.input_cost),
        "provisional_usd": format_usd(provisional_of(record)),
        "wasted_usd": format_usd(record.wasted_cost),
        "embedding_usd": format_usd(record.embedding_cost),
        "counterfactual_usd": format_usd(counterfactual_of(record)),
        "saved_usd": format_usd(saved_nano(record)),
        "reserved_usd": format_usd(record.reserved),
        "cost_sum": _sum_json(explanation.cost),
        "cost_note": explanation.cost_note,
        "counterfactual_sum": _sum_json(explanation.counterfactual),
        "counterfactual_note": explanation.counterfactual_note,
    }


def steered_words(record: UsageRecord) -> str | None:
    """What sent it to another model than its route did; None: nothing."""
    if record.steered is None:
        return None
    by = record.steered.removeprefix("budget:")
    who = f"directive {by}" if by == record.steered else f"budget {by}, which goes to cheaper models at its limit"
    return f"{who}; {record.steered_from or 'another model'} would have been asked first"


def reserved_words(record: UsageRecord) -> str | None:
    """What was held of budgets while it was under way, against what it cost; None: nothing was held."""
    if record.reserved is None:
        return None
    held = f"{format_usd(record.reserved)} USD at most"
    if record.cost is None:
        return f"{held}; what it cost is unknown"
    if record.cost > record.reserved:
        return f"{held}, and it cost {format_usd(record.cost - record.reserved)} USD more: booked whole, and every cap counts it"
    back = record.reserved - record.cost
    return f"{held}, of which {format_usd(back)} USD went back" if back else f"{held}, and all of it was booked"


def counterfactual_of(record: UsageRecord) -> int | None:
    """Nano-USD on the baseline, which would have made no call beside a request; None when unknown."""
    return 0 if is_aside(record) else record.counterfactual


def saved_nano(record: UsageRecord) -> int | None:
    """Counterfactual less cost in nano-USD; None when either is unknown."""
    counterfactual = counterfactual_of(record)
    return None if record.cost is None or counterfactual is None else counterfactual - record.cost


def exact_usd(nano: Fraction) -> str:
    """A fraction of nano-USD as USD: all its decimals where they end, else `a/b`."""
    return exact_decimal(nano / NANO_PER_USD)


def exact_decimal(value: Fraction) -> str:
    """All decimals of a fraction where they end (denominator 2^a 5^b), else `a/b`."""
    twos, rest = _factors(value.denominator, 2)
    fives, rest = _factors(rest, 5)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
    whole, decimals = (digits[:-places], digits[-places:]) if places else (digits, "")
    return ("-" if value < 0 else "") + whole + (f".{decimals}" if decimals else "")


def _factors(number: int, prime: int) -> tuple[int, int]:
    count = 0
    while number % prime == 0:
        number, count = number // prime, count + 1
    return count, number


def _nearest(text: str, recent: Sequence[str]) -> str:
    if not recent:
        return "the ledger is empty: send a request through Penstock first"
    near = get_close_matches(text, recent[:500], n=3, cutoff=0.7)
    if near:
        return f"did you mean {' or '.join(near)}? the id is in the `penstock-request-id` header of every answer"
    return f"the id is in the `penstock-request-id` header of every answer; the newest are {', '.join(recent[:3])}"


def _cost(record: UsageRecord, prices: Prices, kept: Mapping[tuple[str, str], Rates]) -> tuple[Sum | None, str]:
    if record.outcome == "refused":
        return None, "refused before any model was called: nothing was spent"
    if record.cache in REPLAYED:
        source = f" of {source_words(record.cache_source)}" if record.cache_source else ""
        looked = f"; {format_usd(record.embedding_cost)} USD went to the embedding that found it" if record.embedding_cost else ""
        return None, f"the answer{source} was replayed from the cache: no model processed a token{looked}"
    if record.outcome == "interrupted":
        return None, "the process stopped before it knew the usage: booked whole at the reserved worst case, marked estimated"
    if record.cost is None:
        why = _why(record.model, record.processing, prices) or "no price was known for this model or token class when it was admitted"
        return None, f"unpriced: {why}"
    wasted, embedding = record.wasted_cost or 0, record.embedding_cost or 0
    if wasted and wasted + embedding == record.cost:
        return None, "no answer came, but the tries may have been worked for: each is booked whole, marked estimated"
    if record.tokens.total == 0 and not any(record.parts.get(name) for name in CALL_PARTS):
        return None, "no model processed a token"
    used, booked, name = (
        _Used(record.model, record.processing, record.tokens, record.parts),
        record.cost - wasted - embedding,
        _entry_name(record),
    )
    lines, note = _checked(used, booked, _entry(record, prices), name)
    own = kept.get((record.price_id or "", record.price_version or ""))
    if lines is None and own is not None and own.cost(record.tokens, record.parts) == booked:
        lines, _ = _checked(used, booked, Dated(own, ALWAYS), name)
        note = f"tokens x rates of {name}, as the ledger keeps them: the price book does not have them any more"
    if lines is not None and lines.lacking:
        note += f"; {_lacking_words(lines.lacking)}"
    note += f", plus {format_usd(wasted)} USD for tries that brought no answer, booked whole" if wasted else ""
    return lines, note + (f", plus {format_usd(embedding)} USD for the embedding that looked into the cache" if embedding else "")


def _counterfactual(record: UsageRecord, prices: Prices) -> tuple[Sum | None, str]:
    if is_aside(record):
        return None, "nothing: the baseline would not have made this call"
    if record.outcome == "refused":
        return None, "refused: there is nothing to compare"
    if record.outcome == "interrupted":
        return None, "unknown: the usage was lost, so there is nothing to compare"
    tokens = record.recalled if record.recalled != NO_TOKENS else record.tokens
    model, processing = (record.baseline, None) if record.baseline else (record.model, record.processing)
    if record.counterfactual is None:
        if record.cost is None:
            return None, "unknown: the request is unpriced, so there is nothing to compare"
        return None, f"unknown: {_why(model, processing, prices) or 'the baseline had no price for these tokens'}"
    if tokens.total == 0:
        return None, "there are no tokens to compare"
    what = "the configured baseline" if record.baseline else "no baseline is configured, so the same model with nothing replayed"
    used, name = _Used(model, processing, tokens, record.parts), f"{model}'s price on that day"
    checked, note = _checked(used, record.counterfactual, _at(prices, model, processing, record.admitted_ns), name)
    standard = " of standard processing" if record.baseline and record.processing else ""
    return checked, f"{what}: {model or 'unknown model'}; the same tokens at its rates{standard}" + (
        f" ({note})" if checked is None else ""
    )


def _why(model: str | None, processing: str | None, prices: Prices) -> str | None:
    """The price book's own reason, where it has no price for a model and its processing class."""
    if model is None or prices.schedule(model, processing) is not None:
        return None
    if processing is not None and prices.schedule(model) is not None:
        return f"`{model}` has no price for processing class `{processing}`, and the standard one is never taken for it"
    return prices.why(model).removeprefix("unpriced: ")


def _lacking_words(lacking: Sequence[str]) -> str:
    as_class = [name.replace("_", " ") for name in lacking if CLASS_OF_PART.get(name) is not None]
    free = [name.replace("_", " ") for name in lacking if CLASS_OF_PART.get(name) is None]
    told = [f"{', '.join(as_class)}: no rate of its own, charged as its class"] if as_class else []
    told += [f"{', '.join(free)}: no fee is known, so nothing is charged"] if free else []
    return "; ".join(told)


def _entry(record: UsageRecord, prices: Prices) -> Dated | None:
    """The price entry that the record names, wherever in the model's schedule it stands: of several by that name the one then in force."""
    schedule = prices.schedule(record.model, record.processing) if record.model is not None else None
    if schedule is None:
        return None
    hours = schedule.windows or ((),) * len(schedule.starts)
    entries = [
        Dated(rates, start)
        for start, usual, windows in zip(schedule.starts, schedule.rates, hours, strict=True)
        for rates in (*(window.rates for window in windows), usual)
        if (rates.id, rates.version) == (record.price_id, record.price_version)
    ]
    in_force = _at(prices, record.model, record.processing, record.admitted_ns)
    begun = [entry for entry in entries if entry.since <= record.admitted_ns]
    return in_force if in_force in entries else next(reversed(begun or entries), None)


def _entry_name(record: UsageRecord) -> str:
    return f"price entry {record.price_id} ({record.price_version})"


def _at(prices: Prices, model: str | None, processing: str | None, at_ns: int) -> Dated | None:
    schedule = prices.schedule(model, processing) if model is not None else None
    rates = schedule.at(at_ns) if schedule else None
    return Dated(rates, max(start for start in schedule.starts if start <= at_ns)) if schedule and rates else None


def _checked(used: _Used, booked: int, entry: Dated | None, name: str) -> tuple[Sum | None, str]:
    """The lines behind a booked amount, if the price book still gives that amount."""
    if entry is None:
        return None, f"{name} is no longer in the price book: the amount stands as booked"
    rates, since = entry.rates, None if entry.since == ALWAYS else entry.since
    now = rates.cost(used.tokens, used.parts)
    if now != booked:
        return None, f"{name} has changed since: it would now give {format_usd(now) or 'no price'} USD, the amount stands as booked"
    lines = tuple(_line(charge, rates.denominator) for charge in rates.charges(used.tokens, used.parts))
    exact = sum((line.amount for line in lines if line.amount is not None), Fraction(0))
    found = Sum(
        model=used.model or "",
        price_id=rates.id,
        price_version=rates.version,
        price_from=since,
        lines=lines,
        rounding=booked - exact,
        nano_usd=booked,
        processing=used.processing,
        lacking=rates.lacks(used.parts),
    )
    return found, f"tokens x rates of {name}"


def _line(charge: Charge, denominator: int) -> Line:
    each = None if charge.weight is None else Fraction(charge.weight, denominator)
    amount = None if each is None else charge.count * each
    if charge.name == "call" or charge.name in CALL_PARTS:
        return Line(charge.name, charge.count, None, amount, None if each is None else each / NANO_PER_USD)
    return Line(charge.name, charge.count, None if each is None else each / 1000, amount)


def _sum_json(total: Sum | None) -> dict[str, object] | None:
    if total is None:
        return None
    return {
        "model": total.model,
        "price_id": total.price_id,
        "price_version": total.price_version,
        "processing": total.processing,
        "price_from": None if total.price_from is None else iso(total.price_from),
        "lines": [
            {
                "token_class": line.token_class,
                "tokens": line.tokens,
                "usd_per_million": None if line.usd_per_million is None else exact_decimal(line.usd_per_million),
                "usd_per_call": None if line.usd_per_call is None else exact_decimal(line.usd_per_call),
                "amount_usd": None if line.amount is None else exact_usd(line.amount),
            }
            for line in total.lines
        ],
        "lacking": list(total.lacking),
        "rounding_usd": exact_usd(total.rounding),
        "total_usd": format_usd(total.nano_usd),
    }
