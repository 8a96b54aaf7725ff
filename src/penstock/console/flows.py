"""Figures of the pages Savings, Fleet and one request: the pipe of levers, days of savings, use against rent, spans of time."""

from decimal import ROUND_DOWN, Decimal

from markupsafe import Markup

from penstock.console import words
from penstock.console.charts import Chart, day_chart
from penstock.console.figures.columns import Series
from penstock.console.figures.flow import Branch, flow
from penstock.console.figures.span import span
from penstock.console.savings import SavingsView


def savings_flow(view: SavingsView) -> Markup:
    """From what the baseline would have cost to what was paid, a branch for every lever."""
    places = words.places_of(view.counterfactual_usd)
    branches = [
        Branch(lever.name, float(lever.saved_usd), taken(lever.saved_usd, places), words.plural(lever.requests, "request"))
        for lever in view.levers
    ]
    told = [f"{lever.name} {'took' if not lever.saved_usd.startswith('-') else 'put'} {words.usd(lever.saved_usd.lstrip('-'), places)} "
            f"{'off' if not lever.saved_usd.startswith('-') else 'on'}" for lever in view.levers]  # fmt: skip
    whole, paid = words.usd(view.counterfactual_usd, places), words.usd(view.paid_usd, places)
    where = f"on {words.join(list(view.baselines))}" if view.baselines else "with nothing replayed"
    return flow(
        float(view.counterfactual_usd),
        branches,
        (whole, f"{where}, the baseline"),
        (paid, "paid"),
        f"{whole} on the baseline became {paid} paid",
        f"{words.join(told)}.",
    )


def savings_days(view: SavingsView) -> Chart:
    """What was paid each day, and what the levers saved on top of it; where a lever cost more that day, it shows nothing."""
    amounts = {
        "paid": [float(group.paid_usd) for group in view.days],
        "saved by the exact cache": [max(0.0, float(group.levers_usd["exact_cache"])) for group in view.days],
        "saved by routing": [max(0.0, float(group.levers_usd["routing"])) for group in view.days],
    }
    series = [Series(name, kind, values) for (name, values), kind in zip(amounts.items(), ("w4", "w2", "w1"), strict=True)]
    days = [str(group.keys["day"]) for group in view.days]
    return day_chart(
        days, series, "Paid and saved by day", f"{words.usd(view.paid_usd)} paid and {words.usd(view.saved_usd)} saved in all."
    )


def fleet_parts(fleet: dict[str, object]) -> list[tuple[str, float, str]]:
    """Used and idle as parts of the rent, for a bar."""
    used = min(max(float(str(fleet["utilization"])), 0.0), 1.0)
    return [("used", used, "water"), ("idle", 1 - used, "copper")]


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
    "readable": readable,
    "savings_flow": savings_flow,
    "savings_days": savings_days,
    "fleet_parts": fleet_parts,
    "taken": taken,
    "span": span,
}
"""what the templates of these pages call"""
