"""Fleet: what is rented, what of it is used, what stands idle, and how the upstreams behind it are doing."""

from typing import Any, Literal

import msgspec

from penstock.console import words
from penstock.console.context import Context, Sheet, View
from penstock.console.periods import period_words, windows
from penstock.console.query import Address
from penstock.domain.ledger.measures import lines
from penstock.domain.prices.schedule import DAY_NS
from penstock.domain.units import format_usd
from penstock.finops.fleets import FleetUse, fleet_use, fleets_json, steps_by
from penstock.finops.lights import light_json, lights
from penstock.finops.serving import upstream_states
from penstock.finops.standing_out import unused

HOURS_UP_TO = 3 * DAY_NS
"""windows up to which are shown by the hour, longer ones by the day"""
COLUMNS = (
    "fleet", "gpu", "count", "upstream", "gpu_hours", "productive_gpu_hours", "idle_gpu_hours", "rent_usd", "used_usd", "waste_usd",
    "idle_usd", "unallocated_usd", "unused_commitment_usd", "at_rest_usd", "utilization", "utilization_p95", "engine_active",
    "engine_active_p95", "energy_wh", "effective_usd_per_gpu_hour", "used_basis", "requests", "first_token_p95_s", "light", "action",
    "spare_units", "saves_usd_per_month", "since", "until", "note",
)  # fmt: skip


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream: what the workers last said of it, and how long its answers took over the window (seconds, approximate)."""

    upstream: str
    fleets: tuple[str, ...]
    outstanding: int | None
    """calls it has not answered yet; None: no worker has reported"""
    replicas: int | None
    open_circuits: int | None
    first_token_p95_s: float | None
    duration_p95_s: float | None
    requests: int


class Fleets(View, frozen=True, kw_only=True):
    """The page: every fleet of the config, and every upstream. Dollars are over the fleets whose rent is known."""

    fleets: tuple[dict[str, object], ...]
    """each with `over_time`, by `step`, and its traffic light"""
    step: Literal["hour", "day"]
    unused: tuple[str, ...]
    """fleets that stand idle almost all of the time"""
    rent_usd: str | None
    idle_usd: str | None
    unallocated_usd: str | None
    unused_commitment_usd: str | None
    known: int
    lines: tuple[Line, ...]
    windows: tuple[tuple[str, str], ...]


def build(context: Context, address: Address) -> Fleets:
    """The page from one reading."""
    uses = fleet_use(context.books, address.window)
    lines = _lines(context, address)
    first = {line.upstream: line.first_token_p95_s for line in lines}
    step: Literal["hour", "day"] = "hour" if address.window.until_ns - address.window.since_ns <= HOURS_UP_TO else "day"
    rows = (
        row | {"first_token_p95_s": first.get(str(row["upstream"])), "over_time": _over_time(use, step), "traffic_light": light_json(light)}
        for use, row, light in zip(uses, fleets_json(uses), lights(context.books, uses), strict=True)
    )
    known = [use for use in uses if use.rent is not None]
    lonely = unused(uses)
    return Fleets(
        answer=_answer(address, uses, known, lonely),
        standing=context.standing(context.report(address.query()).coverage),
        fleets=tuple(rows),
        step=step,
        unused=tuple(use.name for use in lonely),
        rent_usd=format_usd(sum(use.rent or 0 for use in known)) if known else None,
        idle_usd=format_usd(sum(use.idle or 0 for use in known)) if known else None,
        unallocated_usd=format_usd(sum(use.unallocated or 0 for use in known)) if known else None,
        unused_commitment_usd=format_usd(sum(use.unused or 0 for use in known)) if known else None,
        known=len(known),
        lines=lines,
        windows=windows(context.now_ns, context.zone),
    )


def _over_time(use: FleetUse, step: Literal["hour", "day"]) -> list[dict[str, object]]:
    return [
        {
            "at": each.at,
            "utilization": None if each.utilization is None else round(float(each.utilization), 4),
            "rent_usd": format_usd(each.rent),
            "at_rest_usd": format_usd(each.at_rest),
        }
        for each in steps_by(use, step)
    ]


def sheet(view: Fleets, address: Address) -> Sheet:
    """The fleets, one a line."""
    return Sheet(COLUMNS, (_line(row) for row in view.fleets))


def _line(row: dict[str, Any]) -> list[object]:
    told = row["traffic_light"]
    flat = row | told | {"light": told["colour"]}
    return [flat[name] for name in COLUMNS]


def _lines(context: Context, address: Address) -> tuple[Line, ...]:
    states = {state.name: state for state in upstream_states(context.gauges)}
    latencies = {keys[0]: latency for keys, latency in context.ledger.latencies(address.query("upstream"))}
    requests = {keys[0]: lines(sums) - sums.cache_hits for keys, sums in context.ledger.sums(address.query("upstream"))}
    found = []
    for name in context.settings.upstreams:
        state, latency = states.get(name), latencies.get(name)
        found.append(
            Line(
                upstream=name,
                fleets=tuple(fleet for fleet, given in context.settings.fleets.items() if given.upstream == name),
                outstanding=None if state is None else state.outstanding,
                replicas=None if state is None else state.replicas,
                open_circuits=None if state is None else state.open_circuits,
                first_token_p95_s=None if latency is None else latency.first_token.quantile(0.95),
                duration_p95_s=None if latency is None else latency.duration.quantile(0.95),
                requests=requests.get(name, 0),
            )
        )
    return tuple(found)


def _answer(address: Address, uses: tuple[FleetUse, ...], known: list[FleetUse], lonely: tuple[FleetUse, ...]) -> str:
    """The dollars that stood idle, commitments that did not run among them, and the fleet that nobody uses."""
    if not uses:
        return "Nothing is rented that Penstock knows of: the config has no [fleets.*]."
    if not known:
        return f"That is unknown: {uses[0].note.removeprefix('unknown: ')}."
    idle, rent = sum(use.at_rest or 0 for use in known), sum(use.rent or 0 for use in known)
    if idle <= 0:
        return f"Yes: all of the {words.usd(format_usd(rent))} rented {period_words(address)} was at work."
    told = f"{words.usd(format_usd(idle))} of {words.usd(format_usd(rent))} rented {period_words(address)} stood idle"
    share = words.percent(idle / rent, 0) if rent else ""
    paid = sum(use.unused or 0 for use in known)
    committed = f" {words.usd(format_usd(paid))} of it is a commitment that did not run." if paid else ""
    if not lonely:
        return f"{'For the most part' if idle * 2 < rent else 'Not enough'}: {told} ({share}).{committed}"
    first = lonely[0]
    reason = f"{words.percent(float(first.utilization or 0), 0)} of it was used"
    if not first.requests and not first.used:
        reason = "no request has reached it"
    alone = f"{words.usd(format_usd(first.at_rest))} of that is {first.name} alone: {reason}."
    return f"No. {told} ({share}), and {alone}{committed}"
