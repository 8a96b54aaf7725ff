"""The frame of one-file reports: their templates, with the style sheet within; nothing in them is fetched from anywhere."""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from penstock.console import words
from penstock.console.figures import bars, sparkline
from penstock.console.figures.logo import logo


def environment() -> Environment:
    """The templates of reports: escaping is always on, a name that is not there is an error."""
    made = Environment(
        loader=PackageLoader("penstock.console.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {name: _marked(getattr(words, name)) for name in ("usd", "signed_usd", "count", "percent")}
    made.filters |= {"plural": words.plural}
    made.globals |= {"logo": logo, "bar": bars.bar, "stack": bars.stack, "sparkline": sparkline.sparkline, "places_of": words.places_of}
    return made


def _marked(write: Callable[..., str]) -> Callable[..., str]:
    """A figure for paper: what is unknown is set apart by more than its word."""

    def marked(value: Any, *how: Any, **named: Any) -> str:
        return Markup('<span class="unknown">unknown</span>') if value is None else write(value, *how, **named)

    return marked
