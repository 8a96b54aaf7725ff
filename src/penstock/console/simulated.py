"""The picture of a simulation: load, replicas, the first token and the cost of every policy over the same time; on a page, or as a file."""

from decimal import Decimal

from markupsafe import Markup

from penstock.capacity.simulation_report import SimulationReport
from penstock.console import words
from penstock.console.figures.alone import alone
from penstock.console.figures.timeline import Panel, Track, tall, timeline

MOST_POLICIES = 10
"""that are drawn: five colours, whole and dashed"""


def figure(report: SimulationReport) -> Markup:
    """The figure of a run."""
    return timeline(report.courses.at_s, panels(report), f"{report.name}: what each policy did over time", described(report))


def picture(report: SimulationReport) -> str:
    """The figure as an SVG document of its own."""
    beneath = f"{report.trace}: {words.plural(report.requests, 'request')}; {report.slo or 'no SLO'}"
    return alone(figure(report), tall(panels(report)), report.name, beneath)


def page(report: SimulationReport) -> str:
    """The picture as an HTML document of its own, with the figures of each policy as text."""
    rows = Markup("").join(Markup("<li>{}</li>").format(said) for said in _said(report))
    head = Markup('<!doctype html><html lang="en"><meta charset="utf-8"><title>{}</title><body>').format(report.name)
    return f"{head}{picture(report)}<ul>{rows}</ul></body></html>\n"


def panels(report: SimulationReport) -> list[Panel]:
    """What the figure shows; money is left out where the price is unknown."""
    told = report.courses
    numbered, limit = list(enumerate(told.policies[:MOST_POLICIES], 1)), report.first_token_limit_s
    needed = [] if told.needed is None else [Track(name="a perfect scaler", values=told.needed, steps=True, dotted=True)]
    found = [
        Panel(title="requests per second", write=_plain, tracks=[Track(name="load", values=told.load_rps)]),
        Panel(
            title="replicas that serve",
            write=_plain,
            tracks=[*needed, *(Track(name=each.policy, values=each.replicas, colour=at, steps=True) for at, each in numbered)],
        ),
        Panel(
            title="first token, P95",
            write=words.seconds,
            tracks=[Track(name=each.policy, values=each.first_token_p95_s, colour=at) for at, each in numbered],
            limit=None if limit is None else (limit, f"at most {words.seconds(limit)}"),
        ),
    ]
    priced = [(at, each.policy, each.cost_usd) for at, each in numbered if each.cost_usd is not None]
    if priced:
        tracks = [Track(name=name, values=cost, colour=at) for at, name, cost in priced]
        found.append(Panel(title="cost so far", write=_dollars, tracks=tracks))
    return found


def described(report: SimulationReport) -> str:
    """The figure in words."""
    return f"{words.plural(report.requests, 'request')} over {words.seconds(report.duration_s)}. {'. '.join(_said(report))}."


def _said(report: SimulationReport) -> list[str]:
    return [
        f"{row.name}: {words.usd(row.cost_usd)}, first token P95 "
        f"{words.seconds(row.first_token_s.p95)}, {row.mean_replicas:.3g} replicas on average"
        for row in report.rows
    ]


def _plain(value: float) -> str:
    return f"{value:,.3g}"


def _dollars(value: float) -> str:
    return words.usd(f"{Decimal(repr(value)):f}")
