"""Fleet: what is rented, what of it is used, what stands idle, and how the upstreams behind it are doing."""

import msgspec

from penstock.console import words
from penstock.console.context import Context, Sheet, View
from penstock.console.periods import period_words, windows
from penstock.console.query import Address
from penstock.domain.units import format_usd
from penstock.finops.fleets import FleetUse, fleet_use, fleets_json
from penstock.finops.serving import upstream_states
from penstock.finops.standing_out import unused

COLUMNS = (
    "fleet", "gpu", "count", "upstream", "gpu_hours", "rent_usd", "used_usd", "idle_usd", "utilization", "effective_usd_per_gpu_hour",
    "requests", "first_token_p95_s", "since", "until", "note",
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
    """The page: every fleet of the config, and every upstream. `idle_usd` and `rent_usd` are over the fleets where both are known."""

    fleets: tuple[dict[str, object], ...]
    unused: tuple[str, ...]
    """fleets that stand idle almost all of the time"""
    rent_usd: str | None
    idle_usd: str | None
    known: int
    lines: tuple[Line, ...]
    windows: tuple[tuple[str, str], ...]


def build(context: Context, address: Address) -> Fleets:
    """The page from one reading."""
    uses = fleet_use(context.settings, context.ledger, address.window, context.now_ns)
    lines = _lines(context, address)
    first = {line.upstream: line.first_token_p95_s for line in lines}
    rows = [row | {"first_token_p95_s": first.get(str(row["upstream"]))} for row in fleets_json(uses)]
    known = [use for use in uses if use.idle is not None]
    idle, rent = sum(use.idle or 0 for use in known), sum(use.rent or 0 for use in known)
    lonely = unused(uses)
    return Fleets(
        answer=_answer(address, uses, known, lonely),
        standing=context.standing(context.report(address.query()).coverage),
        fleets=tuple(rows),
        unused=tuple(use.name for use in lonely),
        rent_usd=format_usd(rent) if known else None,
        idle_usd=format_usd(idle) if known else None,
        known=len(known),
        lines=lines,
        windows=windows(context.now_ns, context.zone),
    )


def sheet(view: Fleets, address: Address) -> Sheet:
    """The fleets, one a line."""
    return Sheet(COLUMNS, ([row[name] for name in COLUMNS] for row in view.fleets))


def _lines(context: Context, address: Address) -> tuple[Line, ...]:
    states = {state.name: state for state in upstream_states(context.gauges)}
    latencies = {keys[0]: latency for keys, latency in context.ledger.latencies(address.query("upstream"))}
    requests = {keys[0]: sums.requests - sums.cache_hits for keys, sums in context.ledger.sums(address.query("upstream"))}
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
    """The dollars that stood idle, and the fleet that nobody uses."""
    if not uses:
        return "Nothing is rented that Penstock knows of: the config has no [fleets.*]."
    if not known:
        return f"That is unknown: {uses[0].note.removeprefix('unknown: ')}."
    idle, rent = sum(use.idle or 0 for use in known), sum(use.rent or 0 for use in known)
    if idle <= 0:
        return f"Yes: all of the {words.usd(format_usd(rent))} rented {period_words(address)} was at work."
    told = f"{words.usd(format_usd(idle))} of {words.usd(format_usd(rent))} rented {period_words(address)} stood idle"
    share = words.percent(idle / rent, 0) if rent else ""
    if not lonely:
        return f"For the most part: {told} ({share})." if idle * 2 < rent else f"Not enough: {told} ({share})."
    first = lonely[0]
    reason = "no request has reached it" if not first.requests else f"{words.percent(float(first.utilization or 0), 0)} of it was used"
    return f"No. {told} ({share}), and {words.usd(format_usd(first.idle))} of that is {first.name} alone: {reason}."
