"""`penstock route`: where routes stand, whether their ladders are sane, what a policy would cost, and which tier each feature needs."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, JsonOption, QuietOption
from penstock.cli.output import FINE, INCOMPLETE, WRONG_USAGE, CommandError, print_json, say

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.domain.ledger.measures import CostQuery
    from penstock.domain.prices.book import PriceBook
    from penstock.finops.ledger import Ledger
    from penstock.finops.routing.knowing import Known
    from penstock.finops.routing.traffic import RouteTraffic
    from penstock.finops.routing.trying import TrialReport
    from penstock.finops.window import Window

SinceOption = Annotated[
    str | None, typer.Option(help="Start: `30d` back from now, month `2026-10`, date or instant. [default: 30d]", metavar="WHEN")
]
UntilOption = Annotated[str | None, typer.Option(help="End, exclusive. [default: now, or the end of the month]", metavar="WHEN")]
RouteOption = Annotated[list[str] | None, typer.Option("--route", help="Only this route; repeatable.", metavar="NAME")]


class Opened(NamedTuple):
    """All that the commands read, as of one instant."""

    settings: "Settings"
    ledger: "Ledger"
    book: "PriceBook"
    window: "Window"
    now_ns: int
    quiet: bool

    def known(self, name: str) -> "Known":
        """What is known of a route."""
        from penstock.bootstrap.ledger import open_documents, open_evidence
        from penstock.finops.routing.knowing import known_of

        return known_of(self.settings, name, open_evidence(self.settings), open_documents(self.settings), self.now_ns)

    def query(self, where: "Sequence[str]" = ()) -> "CostQuery":
        """The window, with these filters. Raises `CommandError`."""
        from penstock.finops.costs import QueryError, cost_query

        try:
            return cost_query(self.window, (), where)
        except QueryError as problem:
            raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None

    def traffic(self, known: "Known", where: "Sequence[str]" = ()) -> "RouteTraffic":
        """What went over the route, or what the filters find instead."""
        from penstock.finops.routing.traffic import route_traffic

        say(f"reading the requests of route {known.route}: {self.window.label}", self.quiet)
        query = self.query(where or (f"requested_model={known.route}",))
        return route_traffic(self.ledger, query, known.config.by, known.models, self.book)


def register(app: typer.Typer) -> None:
    route = typer.Typer(
        help="Look at routes: what is open, what it loses and saves, and what another policy would.", rich_markup_mode="rich"
    )
    route.command("status")(status)
    route.command("ladder")(ladder)
    route.command("try")(try_)
    route.command("sizes")(sizes)
    app.add_typer(route, name="route", rich_help_panel=MONEY)


def status(
    route: RouteOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show by tag what is open, what it is expected to lose, what it saves, and whether it beats a fixed split at the same cost."""
    from penstock.cli.route_table import print_standings
    from penstock.finops.routing.standing import route_standing

    with _opened(config, since, until, quiet) as opened:
        names = _names(opened.settings, route)
        known = [opened.known(name) for name in names]
        found = [route_standing(each, opened.traffic(each)) for each in known]
    if json:
        print_json({"window": _window(opened.window), "routes": found})
    else:
        print_standings(found, opened.settings.server.timezone)


def ladder(
    route: RouteOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Show what each rung costs and is worth, which are dominated, and up to which escalation rate a cheap one pays.

    Exit 4 when a price or a quality is unknown.
    """
    from penstock.cli.route_table import print_ladders
    from penstock.finops.routing.ladders import ladder_report

    with _opened(config, since, until, quiet) as opened:
        known = [opened.known(name) for name in _names(opened.settings, route)]
        found = [ladder_report(each, opened.traffic(each), opened.book, opened.now_ns) for each in known]
    if json:
        print_json({"window": _window(opened.window), "ladders": found})
    else:
        print_ladders(found)
    whole = all(rung.request_usd is not None and rung.quality is not None for each in found for rung in each.rungs)
    return FINE if whole else INCOMPLETE


def try_(
    route: Annotated[str | None, typer.Option(help="Route whose tiers to try. [default: the only one]", metavar="NAME")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    strategy: Annotated[
        str | None, typer.Option(help="`fixed`, `cascade`, `gate` or `learned`. [default: as the route has it]", metavar="NAME")
    ] = None,
    error_budget: Annotated[
        float | None, typer.Option(help="Loss of quality that is accepted. [default: the route's]", metavar="SHARE", min=0.0001, max=0.5)
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Try it on requests that match this instead of those of the route, such as `model=large`.", metavar="KEY=VALUE"),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            help='Try it on graded answers instead of the ledger: lines of {"id", "task", "m": {tier: {"q", "c", "a"}}}.', metavar="FILE"
        ),
    ] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Price a policy on logged traffic before it acts. Nothing is written, no model is asked.

    Requests are priced on each tier by their tokens; what is kept and lost is taken from labels. Exit 4 when part of it is unknown.
    """
    from penstock.cli.route_table import print_trial

    if rows is not None and (where or since or until):
        raise CommandError("--rows is tried instead of the ledger", "leave --where, --since and --until out", WRONG_USAGE)
    with _opened(config, since, until, quiet) as opened:
        names = _names(opened.settings, None if route is None else [route])
        if len(names) > 1:
            raise CommandError(f"there are {len(names)} routes", f"pass --route: {', '.join(names)}", WRONG_USAGE)
        report = _tried(opened, names[0], strategy, error_budget, where or (), rows)
    if json:
        print_json({"window": None if rows is not None else _window(opened.window), **_fields(report)})
    else:
        print_trial(report)
    return INCOMPLETE if report.unknown else FINE


def sizes(
    route: RouteOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Show the smallest tier that keeps each feature's error budget, beside its share of cost and of value.

    Exit 4 when the size of a feature is unknown.
    """
    from penstock.cli.route_table import print_sizes
    from penstock.finops.routing.sizes import sizes_report

    with _opened(config, since, until, quiet) as opened:
        known = [opened.known(name) for name in _names(opened.settings, route)]
        found = sizes_report(opened.settings, known, opened.ledger, opened.query())
    if json:
        print_json({"window": _window(opened.window), "features": found.rows, "unvalued": found.unvalued})
    else:
        print_sizes(found)
    return FINE if all(row.smallest is not None for row in found.rows) else INCOMPLETE


def _tried(
    opened: Opened, name: str, strategy: str | None, error_budget: float | None, where: "Sequence[str]", rows: Path | None
) -> "TrialReport":
    import msgspec

    from penstock.finops.routing.tables import TableError, graded, read_table, traffic_of
    from penstock.finops.routing.trying import TrialError, asked_of, trial

    known = opened.known(name)
    try:
        asked = asked_of(known, strategy, error_budget)
        if rows is None:
            said = f", {', '.join(where)}" if where else f", route {name}"
            return trial(known, asked, opened.traffic(known, where), f"{opened.window.label}{said}", opened.now_ns)
        labels, lacking = graded(read_table(rows), name, known.models)
        known = msgspec.structs.replace(known, labels=labels, counts={}, policy=None)
        report = trial(known, asked, traffic_of(labels), str(rows), opened.now_ns, is_paid=False)
    except (TrialError, TableError) as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    if not lacking:
        return report
    rows_lack = "1 row lacks" if lacking == 1 else f"{lacking:,} rows lack"
    left_out = f"{rows_lack} a graded answer of one of {', '.join(known.tiers)} and {'is' if lacking == 1 else 'are'} left out"
    return msgspec.structs.replace(report, unknown=(*report.unknown, left_out))


@contextmanager
def _opened(config: Path, since: str | None, until: str | None, quiet: bool) -> "Iterator[Opened]":
    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.finops.intake import pending
    from penstock.finops.ledger import Ledger
    from penstock.finops.window import WindowError, window

    settings, now_ns = load(config, os.environ), time.time_ns()
    try:
        span = window(since, until, now_ns=now_ns, timezone=settings.server.timezone)
    except WindowError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    with bootstrap.open_reading(settings) as (snapshot, reader):
        yield Opened(settings, Ledger(snapshot, pending(reader, snapshot)), bootstrap.price_book(settings), span, now_ns, quiet)


def _names(settings: "Settings", asked: "Sequence[str] | None") -> list[str]:
    """Routes with tiers, or those that are asked for. Raises `CommandError`."""
    from penstock.config.problems import nearest

    tiered = [name for name, route in settings.routes.items() if route.tiers]
    for name in asked or ():
        if name not in tiered:
            raise CommandError(f"there is no route `{name}` with tiers", nearest(name, tiered, "see [routes.*] of the config"), WRONG_USAGE)
    if not tiered:
        raise CommandError("no route has tiers", 'add [tiers.*] and [routes.*], such as `tiers = ["small", "large"]`', WRONG_USAGE)
    return list(asked or tiered)


def _window(span: "Window") -> dict[str, str]:
    from penstock.finops.window import iso

    return {"since": iso(span.since_ns), "until": iso(span.until_ns), "label": span.label}


def _fields(report: "TrialReport") -> dict[str, object]:
    import msgspec

    return msgspec.structs.asdict(report)
