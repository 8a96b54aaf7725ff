"""Unit costs of a group: per request, per 1,000 tokens, per GPU-hour, per joule; each definition stands beside its figure.

The usage basis counts what a group's own requests and runs caused; the allocation basis adds its share of what stands idle and of other
costs. Both are over the same requests and tokens, and are never blended.
"""

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import Sums, cp1kt_usd
from penstock.finops.statement import Row, known

JOULES_PER_WH = 3_600
_PLACES = Decimal("0.000000001")
DEFINITIONS = {
    "usage_cost_usd": "what providers bill for its requests, the GPU-hours that worked for them (failed, retried and aborted work "
    "included), and its recorded runs",
    "allocated_cost_usd": "usage_cost_usd and its share of idle, unallocated and unused hardware and of [costs.*]",
    "usd_per_request": "usage_cost_usd / requests answered (replayed answers included)",
    "cp1kt_input_usd": "list cost of input / input tokens processed x 1000, over requests whose two sides are priced apart",
    "cp1kt_output_usd": "list cost of output / output tokens (reasoning included) x 1000, over the same requests",
    "usd_per_100k_tokens": "usage_cost_usd / tokens processed, of requests whose cost is known, x 100,000",
    "gpu_hours": "GPU-hours that worked for it, whole GPUs",
    "wh_per_request": "energy of its GPU work / requests that own fleets answered, calls that they made beside, and recorded runs on "
    "them; where the energy of a part is unknown, that part is taken to need as much as the rest",
}


class UnitCosts(msgspec.Struct, frozen=True, kw_only=True):
    """USD with nine decimals; None where there is nothing to divide by."""

    usd_per_request: Decimal | None
    allocated_usd_per_request: Decimal | None
    cp1kt_usage: Decimal | None
    cp1kt_allocated: Decimal | None
    cp1kt_input: Decimal | None
    cp1kt_output: Decimal | None
    usd_per_100k_tokens: Decimal | None
    gpu_hours: Decimal
    wh_per_request: Decimal | None


def unit_costs(row: Row) -> UnitCosts:
    """The unit costs of a statement's row."""
    sums, tokens = row.sums, row.sums.priced_tokens + row.sums.unbooked_tokens
    usage, full = (row.usage, row.cost) if known(row) else (None, None)
    cp1kt_input, cp1kt_output = cp1kt_by_direction(sums)
    return UnitCosts(
        usd_per_request=_per(usage, sums.requests),
        allocated_usd_per_request=_per(full, sums.requests),
        cp1kt_usage=_per(usage, tokens, 1_000),
        cp1kt_allocated=_per(full, tokens, 1_000),
        cp1kt_input=cp1kt_input,
        cp1kt_output=cp1kt_output,
        usd_per_100k_tokens=_per(usage, tokens, 100_000),
        gpu_hours=(Decimal(row.allocated.gpu_ns) / HOUR_NS).quantize(_PLACES, ROUND_HALF_EVEN),
        wh_per_request=_watt_hours(row),
    )


def cp1kt_by_direction(sums: Sums) -> tuple[Decimal | None, Decimal | None]:
    """CP1KT of input and of output, USD."""
    return cp1kt_usd(sums.split_input_cost, sums.split_input), cp1kt_usd(sums.split_output_cost, sums.split_output)


def _per(nano: int | None, count: int, scale: int = 1) -> Decimal | None:
    if nano is None or count <= 0:
        return None
    return (Decimal(nano) * scale / count).scaleb(-9).quantize(_PLACES, ROUND_HALF_EVEN)


def _watt_hours(row: Row) -> Decimal | None:
    """A request has an allocation for each fleet of its pool and each hour that it ran in, so these are not what is counted."""
    if not row.allocated.energy_entries or not row.worked:
        return None
    joules = Decimal(row.allocated.energy_mj) * row.allocated.entries / row.allocated.energy_entries / 1_000
    return (joules / JOULES_PER_WH / row.worked).quantize(_PLACES, ROUND_HALF_EVEN)
