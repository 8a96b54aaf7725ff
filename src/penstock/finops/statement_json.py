"""The statement as commands and pages print it: money as decimal strings, unknown as null."""

from decimal import Decimal

from penstock.domain.units import format_usd
from penstock.finops.statement import MEANING, Row, Statement, known
from penstock.finops.unit_costs import DEFINITIONS, unit_costs
from penstock.finops.window import iso

RULES = {
    "separate": "idle, unallocated and unused hardware stands on lines of its own",
    "proportional": "idle, unallocated and unused hardware is shared by those who used the fleet, in proportion to their use",
    "even": "idle, unallocated and unused hardware is shared evenly by all groups that used the fleet, as the keys of rows and filters "
    "tell them apart: by other keys, others bear it",
}


def statement_json(statement: Statement) -> dict[str, object]:
    """The lines of a window: they add up to `total_usd`, to the last nano-USD. Where the rent of some hours is unknown, a pot is
    unknown, with what is known of it beside, and a line of which nothing is known is."""
    blank = unknown_lines(statement)
    return {
        "since": iso(statement.since_ns),
        "until": iso(statement.until_ns),
        "rule": statement.rule,
        "rule_meaning": RULES[statement.rule],
        "lines": [
            {"line": kind, "usd": None if kind in blank else format_usd(amount), "meaning": MEANING[kind]}
            for kind, amount in statement.lines().items()
        ],
        "pots": [
            {
                "line": pot.kind,
                "name": pot.name,
                "usd": format_usd(pot.amount) if pot.known else None,
                "known_usd": format_usd(pot.amount),
                "shared_usd": format_usd(pot.shared),
                "rest_usd": format_usd(pot.rest) if pot.known else None,
            }
            for pot in statement.pots
        ],
        "total_usd": format_usd(statement.total),
        "unknown": list(statement.unknown),
        "definitions": DEFINITIONS,
    }


def unknown_lines(statement: Statement) -> frozenset[str]:
    """Lines of own fleets of which nothing is known, for the rent of some hours is not."""
    if all(hour.rent is not None for hour in statement.hours):
        return frozenset()
    amounts, of_fleets = statement.lines(), ("gpu_work", "gpu_waste", "idle", "unallocated", "unused_commitment")
    return frozenset(kind for kind in of_fleets if not amounts[kind])


def bearing_json(row: Row) -> dict[str, object]:
    """What a group bears, on both bases, and its unit costs."""
    units = unit_costs(row)
    told = known(row)
    return {
        "usage_cost_usd": format_usd(row.usage) if told else None,
        "allocated_cost_usd": format_usd(row.cost) if told else None,
        "api_usd": format_usd(row.api) if told else None,
        "gpu_work_usd": format_usd(row.allocated.amount),
        "gpu_waste_usd": format_usd(row.allocated.wasted),
        "recorded_usd": format_usd(row.recorded),
        "shared_usd": format_usd(row.shared),
        "usd_per_request": _text(units.usd_per_request),
        "allocated_usd_per_request": _text(units.allocated_usd_per_request),
        "cp1kt_usage_usd": _text(units.cp1kt_usage),
        "cp1kt_allocated_usd": _text(units.cp1kt_allocated),
        "cp1kt_input_usd": _text(units.cp1kt_input),
        "cp1kt_output_usd": _text(units.cp1kt_output),
        "usd_per_100k_tokens": _text(units.usd_per_100k_tokens),
        "gpu_hours": _text(units.gpu_hours),
        "wh_per_request": _text(units.wh_per_request),
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
