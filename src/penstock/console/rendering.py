"""Templates: Jinja with escaping always on and an error for every name that is not there."""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from penstock.console import flows, routing, simulation, words
from penstock.console.budgets import shown
from penstock.console.charts import spend_chart
from penstock.console.costs import drill
from penstock.console.courses import budget_course
from penstock.console.figures import bars, gauge, sparkline
from penstock.console.figures.columns import round_up
from penstock.console.figures.logo import logo
from penstock.console.plans import Plan
from penstock.console.readings import Reading

_WORDS = ("usd", "amount", "signed_usd", "count", "percent", "seconds", "times")


def environment(address_of: Callable[[str], str]) -> Environment:
    """The templates of the console; `address_of` gives the address of a static file by its name."""
    made = Environment(
        loader=PackageLoader("penstock.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {name: _marked(getattr(words, name)) for name in _WORDS}
    made.filters |= {
        "moment": words.moment,
        "instant": words.instant,
        "plural": words.plural,
        "known": known,
        "share_words": share_words,
        "ticked": ticked,
        "sentence": flows.sentence,
    }
    made.globals |= {
        "asset": address_of,
        "logo": logo,
        "bar": bars.bar,
        "stack": bars.stack,
        "gauge": plan_gauge,
        "figure": figure,
        "plan_hint": plan_hint,
        "spend_chart": spend_chart,
        "budget_course": budget_course,
        "budgets_shown": shown,
        "sparkline": sparkline.sparkline,
        "places_of": words.places_of,
        "drill": drill,
        **flows.GLOBALS,
        **routing.GLOBALS,
        **simulation.GLOBALS,
    }
    return made


def known(text: str | None) -> str:
    """A value as it is; None as the word for it."""
    return Markup('<span class="unknown">unknown</span>') if text is None else text


def plan_gauge(plan: Plan) -> Markup:
    """A budget as a staff gauge that says itself in words."""
    ahead = f"; {words.amount(plan.forecast, plan.unit)} is to be expected" if plan.forecast else ""
    desc = f"{words.amount(plan.spent, plan.unit)} of {words.amount(plan.limit, plan.unit)} for {plan.period} is spent{ahead}."
    level = gauge.Level(share=plan.share, elapsed=plan.elapsed, forecast=plan.forecast_share, marks=plan.marks)
    return gauge.gauge(level, f"{plan.name}: {words.percent(plan.share, 0)} of the limit", desc)


def figure(reading: Reading) -> str:
    """A reading in its unit."""
    write: dict[str, Callable[[Any], str]] = {"usd": words.usd, "share": words.percent, "seconds": words.seconds, "count": words.count}
    return known(None if reading.value is None else write[reading.unit](reading.value))


def plan_hint(forecast_usd: str | None) -> str:
    """A round limit a little above where the month is going, to start from."""
    return f"{round_up(max(float(forecast_usd or 0) * 1.1, 10)):.0f}"


def ticked(text: str) -> Markup:
    """A message of ours, whose `words` between backticks are set as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a stray backtick: somebody's text, shown as it is
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts))


def share_words(share: float | None) -> str:
    """A share in words, for the title of a figure."""
    return "share unknown" if share is None else f"{words.percent(share)} of the cost"


def _marked(write: Callable[..., str]) -> Callable[..., str]:
    """A figure for a page: what is unknown is set apart by more than its word."""

    def marked(value: Any, *how: Any, **named: Any) -> str:
        return known(None if value is None else write(value, *how, **named))

    return marked
