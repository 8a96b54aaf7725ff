"""Why one request cost what it cost: its record, laid out step by step, with every rate, product and rounding to check."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fractions import Fraction
from itertools import chain
from typing import Protocol

import msgspec

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.rates import TOKEN_CLASSES, Rates
from penstock.domain.prices.schedule import ALWAYS, Schedule
from penstock.domain.units import NANO_PER_USD, format_usd
from penstock.finops.window import iso
from penstock.ports.usage_store import Snapshot

RECENT = 20_000
"""how many of the newest records a shortened id is looked up among"""
_EVER = CostQuery(since_ns=0, until_ns=2**63 - 1)
_REPLAYED = ("exact", "normalised", "semantic")


class Prices(Protocol):
    """What is asked of the price book: the dated price of a configured model, or why there is none."""

    def schedule(self, model: str) -> Schedule | None: ...

    def why(self, model: str) -> str: ...


class UnknownRequest(LookupError):
    """No record, or more than one, answers to an id; `hint` names the nearest."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Line(msgspec.Struct, frozen=True):
    """Tokens of one class at one rate, or the fee of the `call`. `usd_per_million` and `amount` are exact; `amount` is in nano-USD."""

    token_class: str
    tokens: int
    usd_per_million: Fraction | None
    amount: Fraction | None


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


def explain(record: UsageRecord, prices: Prices) -> Explanation:
    """The arithmetic of a record, recomputed through the price entry that it names."""
    cost, cost_note = _cost(record, prices)
    counterfactual, counterfactual_note = _counterfactual(record, prices)
    return Explanation(record, cost, cost_note, counterfactual, counterfactual_note)


def explanation_json(explanation: Explanation) -> dict[str, object]:
    """The record in its own words, times as ISO instants, money as decimal strings, and both sums line by line."""
    record = explanation.record
    fields: dict[str, object] = msgspec.to_builtins(msgspec.structs.asdict(record))
    for name in ("admitted_ns", "cost", "list_cost", "wasted_cost", "counterfactual", "reserved"):
        del fields[name]
    fields["admitted"] = iso(record.admitted_ns)
    fields["tokens"] = msgspec.structs.asdict(record.tokens)
    fields["recalled"] = msgspec.structs.asdict(record.recalled)
    return fields | {
        "cost_usd": format_usd(record.cost),
        "list_cost_usd": format_usd(record.list_cost),
        "wasted_usd": format_usd(record.wasted_cost),
        "counterfactual_usd": format_usd(record.counterfactual),
        "saved_usd": format_usd(saved_nano(record)),
        "reserved_usd": format_usd(record.reserved),
        "cost_sum": _sum_json(explanation.cost),
        "cost_note": explanation.cost_note,
        "counterfactual_sum": _sum_json(explanation.counterfactual),
        "counterfactual_note": explanation.counterfactual_note,
    }


def saved_nano(record: UsageRecord) -> int | None:
    """Counterfactual less cost in nano-USD; None when either is unknown."""
    return None if record.cost is None or record.counterfactual is None else record.counterfactual - record.cost


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


def _cost(record: UsageRecord, prices: Prices) -> tuple[Sum | None, str]:
    if record.outcome == "refused":
        return None, "refused before any model was called: nothing was spent"
    if record.cache in _REPLAYED:
        source = f" of request {record.cache_source}" if record.cache_source else ""
        return None, f"the answer{source} was replayed from the cache: no model processed a token"
    if record.outcome == "interrupted":
        return None, "the process stopped before it knew the usage: booked whole at the reserved worst case, marked estimated"
    if record.cost is None:
        why = _why(record.model, prices) or "no price was known for this model or token class when it was admitted"
        return None, f"unpriced: {why}"
    wasted = record.wasted_cost or 0
    if wasted and wasted == record.cost:
        return None, "no answer came, but the tries may have been worked for: each is booked whole, marked estimated"
    if record.tokens.total == 0:
        return None, "no model processed a token"
    lines, note = _checked(record.model, record.tokens, record.cost - wasted, _entry(record, prices), _entry_name(record))
    return lines, f"{note}, plus {format_usd(wasted)} USD for tries that brought no answer, booked whole" if wasted else note


def _counterfactual(record: UsageRecord, prices: Prices) -> tuple[Sum | None, str]:
    if record.outcome == "refused":
        return None, "refused: there is nothing to compare"
    if record.outcome == "interrupted":
        return None, "unknown: the usage was lost, so there is nothing to compare"
    tokens = record.recalled if record.recalled != NO_TOKENS else record.tokens
    model = record.baseline or record.model
    if record.counterfactual is None:
        if record.cost is None:
            return None, "unknown: the request is unpriced, so there is nothing to compare"
        return None, f"unknown: {_why(model, prices) or 'the baseline had no price for these tokens'}"
    if tokens.total == 0:
        return None, "there are no tokens to compare"
    what = "the configured baseline" if record.baseline else "no baseline is configured, so the same model with nothing replayed"
    name = f"{model}'s price on that day"
    checked, note = _checked(model, tokens, record.counterfactual, _at(prices, model, record.admitted_ns), name)
    return checked, f"{what}: {model or 'unknown model'}; the same tokens at its rates" + (f" ({note})" if checked is None else "")


def _why(model: str | None, prices: Prices) -> str | None:
    """The price book's own reason, where it has no price for a model."""
    return prices.why(model).removeprefix("unpriced: ") if model is not None and prices.schedule(model) is None else None


def _entry(record: UsageRecord, prices: Prices) -> Dated | None:
    """The price entry that the record names, wherever in the model's schedule it stands: of several by that name the one then in force."""
    schedule = prices.schedule(record.model) if record.model is not None else None
    if schedule is None:
        return None
    hours = schedule.windows or ((),) * len(schedule.starts)
    entries = [
        Dated(rates, start)
        for start, usual, windows in zip(schedule.starts, schedule.rates, hours, strict=True)
        for rates in (*(window.rates for window in windows), usual)
        if (rates.id, rates.version) == (record.price_id, record.price_version)
    ]
    in_force = _at(prices, record.model, record.admitted_ns)
    begun = [entry for entry in entries if entry.since <= record.admitted_ns]
    return in_force if in_force in entries else next(reversed(begun or entries), None)


def _entry_name(record: UsageRecord) -> str:
    return f"price entry {record.price_id} ({record.price_version})"


def _at(prices: Prices, model: str | None, at_ns: int) -> Dated | None:
    schedule = prices.schedule(model) if model is not None else None
    rates = schedule.at(at_ns) if schedule else None
    return Dated(rates, max(start for start in schedule.starts if start <= at_ns)) if schedule and rates else None


def _checked(model: str | None, tokens: Tokens, booked: int, entry: Dated | None, name: str) -> tuple[Sum | None, str]:
    """The lines behind a booked amount, if the price book still gives that amount."""
    if entry is None:
        return None, f"{name} is no longer in the price book: the amount stands as booked"
    rates, since = entry.rates, None if entry.since == ALWAYS else entry.since
    now = rates.cost(tokens)
    if now != booked:
        return None, f"{name} has changed since: it would now give {format_usd(now) or 'no price'} USD, the amount stands as booked"
    lines = _lines(tokens, rates)
    exact = sum((line.amount for line in lines if line.amount is not None), Fraction(0))
    return Sum(model or "", rates.id, rates.version, since, lines, booked - exact, booked), f"tokens x rates of {name}"


def _lines(tokens: Tokens, rates: Rates) -> tuple[Line, ...]:
    per_million = rates.per_million(tokens.input)
    counts = {name: getattr(tokens, name) for name in TOKEN_CLASSES}
    lines = tuple(_line(name, count, per_million[name]) for name, count in counts.items() if count)
    fee = (Line("call", 1, None, Fraction(rates.per_call, rates.denominator)),) if lines and rates.per_call else ()
    return lines + fee


def _line(token_class: str, tokens: int, usd_per_million: Fraction | None) -> Line:
    amount = None if usd_per_million is None else tokens * usd_per_million * 1000
    return Line(token_class, tokens, usd_per_million, amount)


def _sum_json(total: Sum | None) -> dict[str, object] | None:
    if total is None:
        return None
    return {
        "model": total.model,
        "price_id": total.price_id,
        "price_version": total.price_version,
        "price_from": None if total.price_from is None else iso(total.price_from),
        "lines": [
            {
                "token_class": line.token_class,
                "tokens": line.tokens,
                "usd_per_million": None if line.usd_per_million is None else exact_decimal(line.usd_per_million),
                "amount_usd": None if line.amount is None else exact_usd(line.amount),
            }
            for line in total.lines
        ],
        "rounding_usd": exact_usd(total.rounding),
        "total_usd": format_usd(total.nano_usd),
    }
