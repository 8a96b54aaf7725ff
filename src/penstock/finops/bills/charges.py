"""The charges of a bill: what each group bears, down to one meter per kind of token, in parts that add up to the last nano-USD."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from penstock.domain.ledger.entries import HOUR_NS, Allocated, Entry, FleetHour
from penstock.domain.ledger.measures import CostQuery, Sums, lines, priced_lines
from penstock.domain.ledger.recorded import accrued_cost, key_of_entry
from penstock.domain.prices.rates import Rates
from penstock.domain.units import split
from penstock.finops.bills.document import CACHE_READ, CACHE_WRITE, INPUT, OUTPUT, Charge, Keys, Line, Money
from penstock.finops.bills.embeddings import METER as EMBEDDINGS
from penstock.finops.bills.embeddings import Embedder, embedder_of, embeddings_in
from penstock.finops.books import Books
from penstock.finops.fleet_costs import fleet_costs
from penstock.finops.statement import Pot, Statement

METERS = (INPUT, CACHE_READ, CACHE_WRITE, OUTPUT)
REQUESTS, FAILED_WORK = "Requests", "Failed Work"
POT_METERS: dict[str, str] = {
    "idle": "Idle GPU Time",
    "unallocated": "Unallocated GPU Capacity",
    "unused_commitment": "Unused Commitment",
    "other": "Other Costs",
}
SOURCES = ("upstream", "model", "processing", "price_id", "price_version", "fleet")
"""what tells the requests of one group apart, beside the keys of a bill: one price each"""
_WORKERS = ("upstream", "model")


class _Use(msgspec.Struct, frozen=True):
    """The requests of one group to one model at one price."""

    keys: Keys
    upstream: str | None
    model: str | None
    processing: str | None
    price_id: str | None
    price_version: str | None
    fleet: str | None
    sums: Sums


def charges(books: Books, query: CostQuery, stated: Statement) -> list[Charge]:
    """Every charge of a window, by the keys of the query; `stated` is its statement by the same keys."""
    uses = list(_uses(books, query))
    prices = books.ledger.snapshot.costs.price_entries()
    embedder = embedder_of(books.settings)
    found = [charge for use in uses for charge in _billed(use, _price(use, prices), embeddings_in(use.sums, embedder))]
    if embedder is not None:
        found += _embedded(uses, embedder)
    found += _worked(books, query, uses)
    passed = msgspec.structs.replace(query, until_ns=stated.until_ns)
    found += _recorded(books.ledger.snapshot.costs.entries(passed.since_ns, passed.until_ns), passed)
    idle = _idle_ns(stated.hours)
    for row in stated.rows:
        found += [_pot_charge(stated.pots[index], row.keys, part, idle) for index, part in row.shares]
    found += [_pot_charge(pot, None, pot.rest, idle) for pot in stated.pots if pot.rest or not pot.shared]
    return sorted(found, key=_order)


def _order(charge: Charge) -> tuple[object, ...]:
    keys = charge.keys
    price = (charge.processing, charge.price_id, charge.price_version)
    named = (charge.line, charge.upstream, charge.model, *price, charge.fleet, charge.name, charge.meter)
    return (keys is None, tuple((key is None, key or "") for key in keys or ()), *(name or "" for name in named))


def _uses(books: Books, query: CostQuery) -> Iterator[_Use]:
    by = tuple(dict.fromkeys((*query.by, *SOURCES)))
    width = len(query.by)
    for keys, sums in books.ledger.sums(msgspec.structs.replace(query, by=by)):
        named = dict(zip(by, keys, strict=True))
        yield _Use(
            keys=keys[:width],
            upstream=named["upstream"],
            model=named["model"],
            processing=named["processing"],
            price_id=named["price_id"],
            price_version=named["price_version"],
            fleet=named["fleet"],
            sums=sums,
        )


def _price(use: _Use, entries: Mapping[tuple[str, str], Rates]) -> Rates | None:
    """The rates that some requests were booked by; None where nobody kept them, or where they depend on the length of the call."""
    rates = entries.get((use.price_id or "", use.price_version or ""))
    return None if rates is None or len(rates.bands) > 1 else rates


def tokens_by_meter(sums: Sums) -> tuple[int, int, int, int]:
    """Tokens by `METERS`; reasoning is output."""
    return sums.uncached_input, sums.cache_read, sums.cache_write, sums.visible_output + sums.reasoning


def _billed(use: _Use, rates: Rates | None, embedding: int) -> Iterator[Charge]:
    """What a provider bills for some requests, on its meters; nano-USD of `embedding` are another one's."""
    cost = use.sums.cost - use.sums.provisional - embedding
    if not cost and not (priced_lines(use.sums) and use.fleet is None):
        return
    if use.fleet is not None:
        # tries elsewhere, or embeddings: its tokens are those of own hardware, and stand on its lines
        yield _of_use(use, REQUESTS, cost, str(lines(use.sums)), "Requests", None)
        return
    counts = tokens_by_meter(use.sums)
    weights, fee = _weights(use.sums, rates)
    listed = _listed(use.sums, rates) if rates is not None and _explains(rates, weights, fee, use.sums, cost) else (None,) * 4
    if not any(weights) and not fee:
        fee = 1  # tries without a token that is known: told by the request
    parts = split(cost, [*weights, fee])
    for meter, count, part, price in zip(METERS, counts, parts, listed, strict=False):
        if count or part:
            yield _of_use(use, meter, part, str(count), "Tokens", None if price is None else _text(price))
    if parts[-1]:
        yield _of_use(use, REQUESTS, parts[-1], str(lines(use.sums)), "Requests", None)


def _embedded(uses: Iterable[_Use], embedder: Embedder) -> Iterator[Charge]:
    """What each group bears of the embeddings that looked for its answers."""
    found: dict[Keys, tuple[int, int]] = {}
    for use in uses:
        cost, count = found.get(use.keys, (0, 0))
        found[use.keys] = cost + embeddings_in(use.sums, embedder), count + use.sums.embedded
    for keys, (cost, count) in found.items():
        if cost:
            yield Charge(
                line="api", meter=EMBEDDINGS, keys=keys, usd=Money(cost), quantity=str(count), unit="Requests",
                upstream=embedder.upstream, model=embedder.model,
            )  # fmt: skip


def _of_use(use: _Use, meter: str, part: int, quantity: str, unit: str, price: str | None) -> Charge:
    return Charge(
        line="api", meter=meter, keys=use.keys, usd=Money(part), quantity=quantity, unit=unit, list_price=price,
        upstream=use.upstream, model=use.model, processing=use.processing, price_id=use.price_id,
        price_version=use.price_version,
    )  # fmt: skip


def _weights(sums: Sums, rates: Rates | None) -> tuple[list[int], int]:
    """What the cost is split by: the price's own rates, else the split of input and output that records tell, else tokens."""
    classes = (sums.uncached_input, sums.cache_read, sums.cache_write, sums.visible_output, sums.reasoning)
    if rates is not None:
        scaled = [count * (weight or 0) for count, weight in zip(classes, rates.bands[0].weights, strict=True)]
        return [*scaled[:3], scaled[3] + scaled[4]], rates.per_call * lines(sums)
    counts = list(tokens_by_meter(sums))
    if not (sums.split_input or sums.split_output) or not any(counts[:3]) or not counts[3]:
        return counts, 0
    sides = split(sums.split_input_cost, counts[:3])
    return [*sides, sums.split_output_cost], 0


def _explains(rates: Rates, weights: Sequence[int], fee: int, sums: Sums, cost: int) -> bool:
    """Whether the price alone makes up the cost, but for the rounding of each record."""
    return abs(Fraction(sum(weights) + fee, rates.denominator) - cost) <= priced_lines(sums)


def _listed(sums: Sums, rates: Rates) -> tuple[Fraction | None, ...]:
    """USD per million tokens of each meter; None where two classes of one meter have different rates."""
    per_million = rates.per_million()
    visible, reasoning = per_million["visible_output"], per_million["reasoning"]
    output = visible if visible == reasoning or not sums.reasoning else (reasoning if not sums.visible_output else None)
    return per_million["uncached_input"], per_million["cache_read"], per_million["cache_write"], output


def _text(price: Fraction) -> str | None:
    """A price as a decimal; None when it has none of at most twelve places."""
    scaled = price * 10**12
    if scaled.denominator != 1:
        return None
    return f"{Decimal(scaled.numerator).scaleb(-12).normalize():f}"


def _worked(books: Books, query: CostQuery, uses: Iterable[_Use]) -> Iterator[Charge]:
    """What groups bear of the hours of own fleets, on the meters of their tokens; several fleets of a pool share these by amount."""
    by = tuple(dict.fromkeys((*query.by, *_WORKERS)))
    width = len(query.by)
    pools: dict[tuple[Keys, str | None, str | None], list[tuple[str, Allocated]]] = {}
    for keys, allocated in fleet_costs(books, msgspec.structs.replace(query, by=by)).groups:
        named = dict(zip(by, keys[:-1], strict=True))
        pools.setdefault((keys[:width], named["upstream"], named["model"]), []).append((keys[-1] or "", allocated))
    tokens: dict[tuple[Keys, str | None, str | None], list[int]] = {}
    for use in uses:
        if use.fleet is not None:
            before = tokens.setdefault((use.keys, use.upstream, use.model), [0, 0, 0, 0])
            tokens[use.keys, use.upstream, use.model] = [a + b for a, b in zip(before, tokens_by_meter(use.sums), strict=True)]
    for group, fleets in pools.items():
        fleets.sort(key=lambda each: each[0])
        productive = [allocated.amount for _, allocated in fleets]
        counts = [split(count, productive) if any(productive) else [0] * len(fleets) for count in tokens.get(group, [0] * 4)]
        for index, (fleet, allocated) in enumerate(fleets):
            yield from _of_work(group, fleet, allocated, [count[index] for count in counts])


def _of_work(group: tuple[Keys, str | None, str | None], fleet: str, allocated: Allocated, counts: Sequence[int]) -> Iterator[Charge]:
    keys, upstream, model = group
    into, outof = allocated.input_amount, allocated.amount - allocated.input_amount
    inputs = split(into, [counts[0], counts[2]]) if counts[0] or counts[2] else [into, 0]
    parts = [inputs[0], 0, inputs[1], outof, allocated.wasted]
    times = split(allocated.gpu_ns, parts) if any(parts) else [0] * 5
    meters = (*zip(METERS, counts, parts, times, strict=False), (FAILED_WORK, None, parts[4], times[4]))
    for meter, count, part, time_ns in meters:
        if not count and not part:
            continue
        line: Line = "gpu_waste" if count is None else "gpu_work"
        hours = gpu_hours(time_ns)
        quantity, unit = (hours, "GPU-Hours") if count is None else (str(count), "Tokens")
        yield Charge(
            line=line, meter=meter, keys=keys, usd=Money(part), quantity=quantity, unit=unit, gpu_hours=hours,
            upstream=upstream, model=model, fleet=fleet,
        )  # fmt: skip


def gpu_hours(time_ns: int) -> str:
    """Nanoseconds of whole GPUs as hours with nine decimals."""
    return f"{(Decimal(time_ns) / HOUR_NS).quantize(Decimal('0.000000001')):f}"


def _recorded(entries: Iterable[Entry], query: CostQuery) -> Iterator[Charge]:
    for entry in entries:
        part = accrued_cost(entry, query.since_ns, query.until_ns)
        if part:
            keys = tuple(key_of_entry(entry, key) for key in query.by)
            yield Charge(line="recorded", meter="Recorded Run", keys=keys, usd=Money(part), quantity="1", unit="Runs", name=entry.id)


def _pot_charge(pot: Pot, keys: Keys | None, part: int, idle: Mapping[str, int]) -> Charge:
    own = pot.kind != "other"
    time_ns = idle.get(pot.name, 0) * part // pot.amount if pot.kind == "idle" and pot.amount else 0
    spent = gpu_hours(time_ns) if time_ns else None
    return Charge(
        line=pot.kind, meter=POT_METERS[pot.kind], keys=keys, usd=Money(part), quantity=spent, unit=spent and "GPU-Hours",
        gpu_hours=spent, fleet=pot.name if own else None, name=None if own else pot.name,
    )  # fmt: skip


def _idle_ns(hours: Iterable[FleetHour]) -> dict[str, int]:
    """Fleet -> nanoseconds of whole GPUs that ran and did not work."""
    found: dict[str, int] = {}
    for hour in hours:
        found[hour.fleet] = found.get(hour.fleet, 0) + hour.gpu_ns - hour.work_gpu_ns
    return found
