"""`penstock cost`: what was spent, by whom, on what, how much of it is known, and what it would have cost otherwise."""

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, JsonOption, OutputOption, QuietOption
from penstock.cli.output import FINE, INCOMPLETE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, complain, say

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from penstock.config.settings import Settings
    from penstock.domain.ledger.measures import CostQuery
    from penstock.domain.ledger.sharing import Rule
    from penstock.finops.costs import CostReport
    from penstock.finops.statement import Statement
    from penstock.finops.tag_coverage import TagCoverage
    from penstock.finops.trend_report import TrendReport
    from penstock.finops.window import Window

DEFAULT_BY = ("model",)


class Figures(NamedTuple):
    """What one reading of the ledger came to."""

    report: "CostReport"
    borne: "Statement"
    tags: "TagCoverage | None"
    trends: "TrendReport | None"


def register(app: typer.Typer) -> None:
    app.command("cost", rich_help_panel=MONEY)(cost)


def cost(
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Keys to group by, with commas between them: tags, model, tier, upstream, cache, day, hour ... Days and hours are UTC.",
            metavar="KEYS",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Start: `30d` back from now, month `2026-10`, date or instant. [default: 30d]", metavar="WHEN")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End, exclusive. [default: now, or the end of the month]", metavar="WHEN")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Only what matches; repeatable.", metavar="KEY=VALUE")] = None,
    min_coverage: Annotated[
        float | None, typer.Option(help="Exit 4 when a smaller share of requests is priced.", metavar="SHARE", min=0, max=1)
    ] = None,
    fail_over: Annotated[
        str | None, typer.Option(help="Exit 3 when the total cost, own hardware included, is above this.", metavar="USD")
    ] = None,
    idle: Annotated[
        str | None,
        typer.Option(
            help="Who bears what stands idle in the allocated costs: `separate`, `proportional` or `even`. [default: `[bill] idle`]",
            metavar="RULE",
        ),
    ] = None,
    trends: Annotated[bool, typer.Option("--trends", help="Compare the halves of the window, and rank what carries the costs.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Show what requests cost, by any tag or field.

    One's own writes are seen at once: `penstock cost --by team,model --since 24h`.
    """
    import os

    from penstock.config.load import load

    if json and csv:
        raise CommandError("--json and --csv exclude each other", "pass one of them", WRONG_USAGE)
    limit = _usd(fail_over)
    settings = load(config, os.environ)
    found = figures(
        settings, by=_keys(by) or DEFAULT_BY, since=since, until=until, where=where or (), rule=_rule(idle), tags=json, trends=trends
    )
    _show(found, trends, "json" if json else "csv" if csv else "table", output)
    if not quiet:
        _narrate(found.report, settings)
    return _verdict(found, min_coverage, limit)


def cost_figures(
    settings: "Settings",
    *,
    by: "list[str] | tuple[str, ...]" = DEFAULT_BY,
    since: str | None = None,
    until: str | None = None,
) -> "CostReport":
    """What requests were booked at, as the ledger stands now, journal included. Raises `CommandError` for words that cannot be read."""
    import time

    from penstock import bootstrap
    from penstock.finops.costs import cost_report
    from penstock.finops.intake import pending

    span, query = _asked(settings, time.time_ns(), by, since, until, ())
    with bootstrap.open_reading(settings) as (snapshot, reader):
        return cost_report(snapshot, pending(reader, snapshot), query, timezone=span.timezone, label=span.label)


def figures(
    settings: "Settings",
    *,
    by: "list[str] | tuple[str, ...]" = DEFAULT_BY,
    since: str | None = None,
    until: str | None = None,
    where: "list[str] | tuple[str, ...]" = (),
    rule: "Rule | None" = None,
    tags: bool = False,
    trends: bool = False,
) -> Figures:
    """The report and the statement of one reading of the ledger, and what else is wanted of it.

    Raises `CommandError` for words that cannot be read.
    """
    import time

    from penstock import bootstrap
    from penstock.finops.costs import cost_report
    from penstock.finops.statement import statement
    from penstock.finops.tag_coverage import tag_coverage
    from penstock.finops.trend_report import trend_report

    now_ns = time.time_ns()
    span, query = _asked(settings, now_ns, by, since, until, where)
    with bootstrap.open_books(settings, now_ns) as books:
        report = cost_report(books.ledger.snapshot, books.ledger.pending, query, timezone=span.timezone, label=span.label)
        return Figures(
            report,
            statement(books, query, rule),
            tag_coverage(books, query) if tags else None,
            trend_report(books, query) if trends else None,
        )


def _asked(
    settings: "Settings", now_ns: int, by: "Iterable[str]", since: str | None, until: str | None, where: "Iterable[str]"
) -> "tuple[Window, CostQuery]":
    from penstock.finops.costs import QueryError, cost_query
    from penstock.finops.window import WindowError, window

    try:
        span = window(since, until, now_ns=now_ns, timezone=settings.server.timezone)
        return span, cost_query(span, by, where)
    except (WindowError, QueryError) as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None


def _rule(text: str | None) -> "Rule | None":
    from typing import get_args

    from penstock.domain.ledger.sharing import Rule

    for rule in get_args(Rule):
        if text == rule:
            return cast("Rule", rule)
    if text is None:
        return None
    raise CommandError(f"`--idle {text}` is not a rule", f"write one of {', '.join(get_args(Rule))}", WRONG_USAGE)


def _keys(by: list[str] | None) -> list[str]:
    return [key for keys in by or () for key in keys.split(",")]


def _usd(text: str | None) -> int | None:
    from penstock.domain.units import UnitError, nano_from_usd

    if text is None:
        return None
    try:
        return nano_from_usd(Decimal(text))
    except (InvalidOperation, UnitError):
        raise CommandError(
            f"`--fail-over {text}` is not an amount", "write USD as a number, such as `--fail-over 500`", WRONG_USAGE
        ) from None


def _show(found: Figures, trends: bool, form: str, output: "Path | None") -> None:
    import sys
    from contextlib import nullcontext

    import msgspec

    from penstock.finops.costs import report_csv

    with nullcontext(sys.stdout) if output is None else output.open("w", encoding="utf-8") as file:
        if form == "table":
            from penstock.cli.cost_table import print_report
            from penstock.cli.statement_lines import print_statement

            print_report(found.report, file, found.borne)
            print_statement(found.borne, file)
            if trends:
                from penstock.cli.trend_lines import print_trends

                print_trends(found.trends, file)
        elif form == "csv":
            file.write(report_csv(found.report, found.borne))
        else:
            file.write(msgspec.json.format(msgspec.json.encode(_told(found, trends)), indent=2).decode() + "\n")


def _told(found: Figures, trends: bool) -> dict[str, object]:
    from penstock.finops.costs import report_json
    from penstock.finops.tag_coverage import coverage_json
    from penstock.finops.trend_report import trends_json

    told = report_json(found.report, found.borne)
    if found.tags is not None:
        told["tags"] = coverage_json(found.tags)
    return told | {"trends": trends_json(found.trends)} if trends else told


def _narrate(report: "CostReport", settings: "Settings") -> None:
    """What the reader should do next, where the figures alone do not say it."""
    from penstock.config.problems import nearest
    from penstock.domain.dialects.content import normal_tag
    from penstock.domain.ledger.grouping import PERIODS
    from penstock.domain.ledger.measures import DIMENSIONS

    if not report.rows:
        say(f"no requests match: {report.label}" + "".join(f", {key}={value}" for key, value in report.query.where))
        say(f"hint: point a client at http://{settings.server.listen}/v1, or look further back with `--since 90d`")
        return
    declared = [normal_tag(tag) for tag in settings.tags.declared]
    for key in report.query.by:
        if key not in (*DIMENSIONS, *PERIODS, *declared) and not report.coverage.tagged[key]:
            complain(f"no request has the tag `{key}`", nearest(key, [*declared, *DIMENSIONS], "declare it under [tags]"), "warning")
    if report.coverage.unpriced_models:
        say("hint: `penstock check` says why a model has no price")


def _verdict(found: Figures, min_coverage: float | None, limit: int | None) -> int:
    """The cost is the statement's total, rent of own fleets included; under filters what the rows bear, their shares included."""
    from penstock.domain.units import format_usd
    from penstock.finops.statement import whole

    report, borne = found.report, found.borne
    cost = whole(borne).cost if borne.query.where else borne.total
    if limit is not None and cost > limit:
        complain(f"the cost is {format_usd(cost)} USD, above {format_usd(limit)}", "see the rows, dearest first, and the lines under them")
        return PROBLEMS_FOUND
    share = report.coverage.priced_share
    if min_coverage is not None and share is not None and share < Decimal(str(min_coverage)):
        beside = " and calls beside them" if report.coverage.asides else ""
        complain(
            f"{report.coverage.known_lines} of {report.coverage.lines} requests{beside} are priced, below the share of {min_coverage:g}",
            "give the unpriced models a price: `penstock check` names them",
        )
        return INCOMPLETE
    return FINE
