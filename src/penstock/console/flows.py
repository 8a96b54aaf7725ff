"""Figures of the pages Savings, Fleet and one request: the pipe of levers, days of savings, use against rent, spans of time."""

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from markupsafe import Markup

from penstock.console import words
from penstock.console.caching import error_figure, scope_rows
from penstock.console.charts import Chart, day_chart
from penstock.console.figures.columns import Series
from penstock.console.figures.flow import Branch, flow
from penstock.console.figures.levels import levels
from penstock.console.figures.span import span
from penstock.console.savings import NAMES, SavingsView, branches, drawn
from penstock.finops.savings import LeverName


def savings_flow(view: SavingsView) -> Markup:
    """From what the baseline would have cost to what was paid, a branch for every lever; the layers of the cache are one."""
    places = words.places_of(view.counterfactual_usd)
    shown = [
        Branch(lever.name, float(lever.saved_usd), taken(lever.saved_usd, places), words.plural(lever.requests, "request"))
        for lever in branches(view)
    ]
    told = [f"{lever.name} {'took' if not lever.saved_usd.startswith('-') else 'put'} {words.usd(lever.saved_usd.lstrip('-'), places)} "
            f"{'off' if not lever.saved_usd.startswith('-') else 'on'}" for lever in branches(view)]  # fmt: skip
    whole, paid = words.usd(view.counterfactual_usd, places), words.usd(view.paid_usd, places)
    where = f"on {words.join(list(view.baselines))}" if view.baselines else "with nothing replayed"
    return flow(
        float(view.counterfactual_usd),
        shown,
        (whole, f"{where}, the baseline"),
        (paid, "paid"),
        f"{whole} on the baseline became {paid} paid",
        f"{words.join(told)}.",
    )


def savings_days(view: SavingsView) -> Chart:
    """What was paid each day, and what the levers saved on top of it; where a lever cost more that day, it shows nothing."""
    shown = {lever.lever for lever in drawn(view)}
    cache = "exact cache" if len(branches(view)) == len(shown) else "cache"
    saved: list[tuple[str, str, list[str]]] = [(f"saved by the {cache}", "w2", [group.cache_usd for group in view.days])]
    others: tuple[tuple[LeverName, str], ...] = (("routing", "w1"), ("processing", "w3"))
    saved += [(f"saved by {NAMES[name]}", kind, [group.levers_usd[name] for group in view.days]) for name, kind in others if name in shown]
    series = [Series("paid", "w4", [float(group.paid_usd) for group in view.days])]
    series += [Series(name, kind, [max(0.0, float(amount)) for amount in amounts]) for name, kind, amounts in saved]
    days = [str(group.keys["day"]) for group in view.days]
    return day_chart(
        days, series, "Paid and saved by day", f"{words.usd(view.paid_usd)} paid and {words.usd(view.saved_usd)} saved in all."
    )


def fleet_parts(fleet: dict[str, object]) -> list[tuple[str, float, str]]:
    """What became of the rent, as parts of it, for a bar."""
    rent = Decimal(str(fleet["rent_usd"]))
    parts = (("used", "water"), ("waste", "copper"), ("idle", "copper pale"), ("unallocated", "w4"), ("unused_commitment", "w5"))
    amounts = [(name.replace("_", " "), Decimal(str(fleet[f"{name}_usd"])), kind) for name, kind in parts]
    return [(name, float(amount / rent), kind) for name, amount, kind in amounts if amount] if rent else []


def fleet_levels(fleet: Mapping[str, Any], step: str) -> Markup:
    """What of the running GPU time was at work, over the window."""
    name, p95 = fleet["fleet"], fleet["utilization_p95"]
    steps = [
        (
            _step_words(each["at"]),
            each["utilization"],
            f"{_step_words(each['at'])}: {words.percent(each['utilization'])} at work, "
            f"{words.usd(each['at_rest_usd'])} of {words.usd(each['rent_usd'])} at rest",
        )
        for each in fleet["over_time"]
    ]
    mark = None if p95 is None else (p95, f"P95 by hour {words.percent(p95)}")
    average = words.percent(fleet["utilization"])
    desc = f"On average {average} of the GPU time that ran was at work; 95 % of hours at or below {words.percent(p95)}."
    return levels(steps, mark, f"{name}: utilisation by {step} (UTC)", desc)


def _step_words(at: str) -> str:
    day = datetime.strptime(at, "%Y-%m-%dT%H" if "T" in at else "%Y-%m-%d")  # noqa: DTZ007  only written, never compared
    return f"{day.day} {day:%b %H:%M}" if "T" in at else f"{day.day} {day:%b}"


def taken(saved_usd: str, places: int) -> str:
    """What a lever did to the cost: below 0 it took something off."""
    return words.signed_usd(f"{-Decimal(saved_usd):f}", places) if Decimal(saved_usd) else words.usd("0", places)


def sentence(text: str) -> str:
    """A clause with a capital, for the begin of a sentence."""
    return text[:1].upper() + text[1:]


def readable(exact: str) -> str:
    """An exact figure for people: a fraction without an end is cut after a few digits, and is there for a pointer that asks."""
    if "/" not in exact:
        return exact.replace("-", words.MINUS)
    above, _, below = exact.partition("/")
    value = Decimal(above) / Decimal(below)
    cut = value.quantize(Decimal(1).scaleb(max(-12, value.adjusted() - 5)), ROUND_DOWN)
    return Markup('<span class="cut" title="{}">{}…</span>').format(f"exactly {exact}", f"{cut:f}".replace("-", words.MINUS))


GLOBALS = {
    "error_figure": error_figure,
    "caching_rows": scope_rows,
    "savings_branches": branches,
    "drawn_levers": drawn,
    "readable": readable,
    "savings_flow": savings_flow,
    "savings_days": savings_days,
    "fleet_levels": fleet_levels,
    "fleet_parts": fleet_parts,
    "taken": taken,
    "span": span,
}
"""what the templates of these pages call"""
