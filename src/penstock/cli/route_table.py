"""How `penstock route` shows routes: tables of tags, rungs, trials and features, and what they mean in lines beneath."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from penstock.cli.cost_table import UNKNOWN, money, printable
from penstock.cli.output import stdout_console
from penstock.finops.routing.explaining import judged_words, percent
from penstock.finops.window import iso

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from penstock.domain.routing.right_size import TierLoss
    from penstock.finops.routing.ladders import LadderReport
    from penstock.finops.routing.sizes import SizesReport
    from penstock.finops.routing.standing import RouteStanding, Split, TagStanding
    from penstock.finops.routing.trying import Trial, TrialReport

NONE = "-"
PLAIN_WIDTH = 1000
WIDE = 160
"""characters of a terminal from which on all columns are shown"""
NARROW = ("tag", "state", "labels", "expected loss", "at most", "of last tier")
_WORDS = ("tag", "state", "tier", "model", "course", "feature", "route", "answered by", "note", "dominated", "smallest", "proven", "why")
_VERDICTS = {"wins": "beats", "loses": "does worse than", "undecided": "cannot be told from"}


def print_standings(routes: "Sequence[RouteStanding]", zone: str) -> None:
    """A table of tags for each route."""
    console = _console()
    for route in routes:
        budget = "no error budget" if route.error_budget is None else f"error budget {percent(route.error_budget)}"
        apart = "".join(f", {percent(own)} of sla {printable(sla)}" for sla, own in route.sla_budgets.items())
        console.print(f"route {printable(route.route)}: {route.strategy}, {' < '.join(route.tiers)}, {budget}{apart}")
        rows = [*route.tags, *([route.all] if len(route.tags) > 1 else [])]
        if not rows:
            console.print("nothing came over it, and nothing was measured: shadows (`shadow` of the route) bring labels\n")
            continue
        columns = _standing_columns(rows)
        narrow = console.width < WIDE
        console.print(_table({name: columns[name] for name in (NARROW if narrow else columns)}, console))
        if narrow:
            console.print(f"more columns at {WIDE} characters, on the console's page Routing, and with --json")
        _under(route, console)
        console.print()


def _standing_columns(rows: "Sequence[TagStanding]") -> dict[str, list[str]]:
    return {
        "tag": [printable(row.tag) for row in rows],
        "state": [row.state for row in rows],
        "requests": [f"{row.requests:,}" for row in rows],
        "labels": [f"{row.labels:,}" for row in rows],
        "expected loss": [_interval(row.loss, row.low, row.high) for row in rows],
        "at most": [NONE if row.at_most is None else percent(row.at_most) for row in rows],
        "of the budget": [NONE if row.error_budget is None else percent(row.budget_used) for row in rows],
        "escalated": [_beside(row.escalation, row.break_even) for row in rows],
        "agree": [NONE if row.agreement is None else percent(row.agreement) for row in rows],
        "cost USD": _money([row.cost_usd for row in rows]),
        "of last tier": [percent(row.cost_share) for row in rows],
        "shadows USD": _money([row.measuring_usd for row in rows]),
        "next label USD": _money([row.next_label_usd for row in rows]),
        "answered by": [_shares(row.tiers) for row in rows],
        "course": [printable(row.course) or NONE for row in rows],
    }


def _under(route: "RouteStanding", console: "Console") -> None:
    saved = route.all.saved_usd
    if saved is not None:
        console.print(f"saved against always asking {route.tiers[-1]}: {saved} USD, every call beside requests counted")
    console.print(split_words(route.all.split, f"the {route.strategy} policy"))
    console.print(judged_words(route.judges, route.tiers[-1]))
    if any(row.break_even is not None for row in route.tags):
        console.print("escalated: of judged first answers, and the rate up to which asking the cheap tier first pays")
    if route.uncompared:
        console.print(f"{route.uncompared:,} requests have no known cost, in fact or on one of the tiers: they are not compared")
    if not route.whole:
        since = "" if route.oldest_ns is None else f", those since {iso(route.oldest_ns)}"
        console.print(f"only the newest requests of the window were read{since}: all figures but labels are of these")


def split_words(split: "Split | None", what: str) -> str:
    """What the honest control says, in a sentence."""
    if split is None:
        return "against the best fixed split at the same cost: unknown, too few labels of all tiers"
    mix = _shares(split.shares)
    interval = f"{split.gain * 100:+.1f} points of quality, {split.low * 100:+.1f} to {split.high * 100:+.1f}"
    at = "the same cost" if split.cost_share is None else f"{percent(split.cost_share)} of the last tier's cost"
    return f"on {split.labels:,} labels {what} {_VERDICTS[split.verdict]} the best fixed split at {at} ({mix}): {interval}"


def print_ladders(ladders: "Sequence[LadderReport]") -> None:
    """A table of rungs for each route, and the break-even rates."""
    console = _console()
    for ladder in ladders:
        console.print(f"route {printable(ladder.route)}, cheap to dear; costs are those of {ladder.basis}")
        rungs = ladder.rungs
        columns = {
            "tier": [rung.tier for rung in rungs],
            "model": [printable(rung.model) for rung in rungs],
            "USD/request": _money([rung.request_usd for rung in rungs]),
            "of last": [UNKNOWN if rung.relative is None else f"{rung.relative:.3g}" for rung in rungs],
            "labels": [f"{rung.labels:,}" for rung in rungs],
            "quality": [_interval(rung.quality, rung.low, rung.high) for rung in rungs],
            "dominated": ["" if rung.dominated is None else f"{rung.dominated.doubt}: {rung.dominated.why}" for rung in rungs],
        }
        console.print(_table(columns, console))
        for rung in rungs:
            if rung.dominated is not None and rung.dominated.doubt == "proven":
                console.print(f"drop {rung.tier}: {rung.dominated.why}")
        for rate in ladder.break_evens:
            pays = f"pays while less than {percent(rate.escalation)} go on" if rate.escalation > 0 else "never pays"
            console.print(f"{rate.kind} {' and '.join(rate.tiers)} before {rate.target}: {pays}")
        console.print(ladder.folk)
        console.print(judged_words(ladder.judges, rungs[-1].tier))
        for note in ladder.notes:
            console.print(note)
        console.print()


def print_trial(report: "TrialReport") -> None:
    """A table of tags, the sum, and the control."""
    console = _console()
    budget = "" if report.error_budget is None else f", error budget {percent(report.error_budget)}"
    console.print(f"route {printable(report.route)}, strategy {report.strategy}{budget}, on {printable(report.source)}")
    rows = [*report.tags, *([report.total] if len(report.tags) != 1 else [])]
    console.print(_table(_trial_columns(rows), console))
    total = report.total
    if report.fixed_split is not None:
        mix = _shares(report.fixed_split.shares)
        lost = percent(report.fixed_split.loss)
        console.print(f"best fixed split of these requests at the same cost: {mix}, which loses {lost}; the policy {percent(total.loss)}")
    console.print(split_words(report.control, "the policy"))
    console.print(judged_words(report.judges, "the last tier"))
    for line in report.unknown:
        console.print(f"unknown: {line}")


def _trial_columns(rows: "Sequence[Trial]") -> dict[str, list[str]]:
    columns = {
        "tag": [printable(row.tag) for row in rows],
        "state": [row.state or NONE for row in rows],
        "requests": [f"{row.requests:,}" for row in rows],
        "labels": [f"{row.labels:,}" for row in rows],
        "now USD": _money([row.now_usd for row in rows]),
        "policy USD": _money([row.policy_usd for row in rows]),
        "shadows USD": _money([row.shadow_usd for row in rows]),
        "last tier USD": _money([row.last_usd for row in rows]),
        "of last tier": [percent(row.cost_share) for row in rows],
        "escalated": [NONE if row.escalation is None else percent(row.escalation) for row in rows],
        "loss": [_interval(row.loss, row.low, row.high) for row in rows],
        "course": [printable(row.course) or NONE for row in rows],
        "note": [row.note for row in rows],
    }
    return {heading: cells for heading, cells in columns.items() if heading != "note" or any(cells)}


def print_sizes(report: "SizesReport") -> None:
    """A table of features."""
    console = _console()
    rows = report.rows
    if not rows:
        console.print("nothing was measured, and no feature is named: shadows (`shadow` of a route) and [features.*] bring rows")
        return
    columns = {
        "feature": [printable(row.feature) for row in rows],
        "route": [printable(row.route) for row in rows],
        "smallest": [row.smallest or UNKNOWN for row in rows],
        "proven": [row.proven or NONE for row in rows],
        "budget": [NONE if row.error_budget is None else percent(row.error_budget) for row in rows],
        "losses": [_losses(row.tiers) for row in rows],
        "labels": [f"{row.labels:,}" for row in rows],
        "labels lacking": [NONE if row.lacking is None else f"{row.lacking:,}" for row in rows],
        "next label USD": _money([row.next_label_usd for row in rows]),
        "cost USD": _money([row.cost_usd for row in rows]),
        "of cost": [percent(row.cost_share) for row in rows],
        "of value": [percent(row.value_share) for row in rows],
        "answered by": [_shares(row.mix) for row in rows],
        "why": [row.why for row in rows],
    }
    console.print(_table(columns, console))
    if report.unvalued:
        some = ", ".join(map(printable, report.unvalued[:10]))
        console.print(f"no value is set of {some}: `[features.X] value` says what a feature is worth beside the others")


def _losses(tiers: "Sequence[TierLoss]") -> str:
    return "; ".join(f"{each.tier} {_interval(each.loss, each.low, each.high)}" for each in tiers) or NONE


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return UNKNOWN
    return percent(value) if low is None or high is None or low == high else f"{percent(value)} ({low * 100:.3g} to {high * 100:.3g})"


def _beside(escalation: float | None, break_even: float | None) -> str:
    if escalation is None and break_even is None:
        return NONE
    limit = "" if break_even is None else f" (pays < {percent(break_even)})"
    return f"{percent(escalation)}{limit}"


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{printable(tier)} {share * 100:.0f} %" for tier, share in shares.items()) or NONE


def _money(amounts: Sequence[str | None]) -> list[str]:
    return money([None if amount is None else Decimal(amount) for amount in amounts])


def _console() -> "Console":
    """Where stdout is no terminal, nothing is wrapped or cut."""
    from rich.console import Console

    console = stdout_console()
    if console.is_terminal:
        return console
    return Console(file=console.file, highlight=False, markup=False, emoji=False, color_system=None, width=PLAIN_WIDTH)


def _table(columns: Mapping[str, Sequence[str]], console: "Console") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for heading in columns:
        table.add_column(heading, justify="left" if heading in _WORDS else "right", overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table
