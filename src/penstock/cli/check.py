"""`penstock check`: what is wrong with the configuration and with what it finds around it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import CONFIG_FILE, START, ConfigOption, JsonOption, QuietOption
from penstock.cli.output import FINE, PROBLEMS_FOUND, WRONG_USAGE, complain, print_json

if TYPE_CHECKING:
    from penstock.config.problems import Problem
    from penstock.config.settings import Settings


def register(app: typer.Typer) -> None:
    app.command("check", rich_help_panel=START)(check)


def check(
    config: ConfigOption = CONFIG_FILE,
    online: Annotated[bool, typer.Option("--online", help="Ask every upstream for its models, and the Prometheus for its meters.")] = False,
    bill: Annotated[Path | None, typer.Option(help="Look for lines without tags in this bill of a cloud.", metavar="FILE")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check the configuration, its prices, store, journal and secrets.

    Exit code 2: the configuration is wrong. 3: it is right, but a check found problems. 0: fine, perhaps with warnings.
    """
    from penstock.config.checks import problems
    from penstock.config.load import load
    from penstock.config.problems import ConfigError

    facts: dict[str, Any] = {}
    try:
        settings = load(config, os.environ)
        found = problems(settings)
    except ConfigError as problem:
        found = list(problem.problems)
    code = WRONG_USAGE if _errors(found) else FINE
    if code == FINE:
        around, facts = _around(settings, online)
        around += _of_bill(bill, facts)
        found += around
        code = PROBLEMS_FOUND if _errors(around) else FINE
    found.sort(key=lambda problem: problem.severity != "error")
    if json:
        print_json({"config": str(config), "ok": code == FINE, "problems": found, "facts": facts})
    else:
        _print(config, found, facts, quiet)
    raise typer.Exit(code)


def _around(settings: "Settings", online: bool) -> "tuple[list[Problem], dict[str, Any]]":
    """What needs the world to be checked. What only keeps `serve` from starting is a warning here."""
    import msgspec

    from penstock.cli import fleet_findings, routing_findings, surroundings, tag_findings
    from penstock.config.checks_routing import unpriced_ladders
    from penstock.config.secrets import missing_secrets

    later = missing_secrets(settings, os.environ)
    found = [msgspec.structs.replace(problem, severity="warning", text=f"{problem.text} (`serve` will not start)") for problem in later]
    unpriced, sources = surroundings.price_findings(settings)
    store = surroundings.store_problems(settings)
    found += [*unpriced, *store, *surroundings.journal_problems(settings), *([] if store else surroundings.ledger_findings(settings))]
    found += [] if store else [*tag_findings.tag_findings(settings), *fleet_findings.fleet_findings(settings)]
    found += fleet_findings.mig_findings(settings)
    found += [*unpriced_ladders(settings, sources), *routing_findings.callable_findings(settings)]
    found += [*surroundings.shared_problems(settings), *surroundings.telemetry_problems(settings), *surroundings.notify_problems(settings)]
    found += [*surroundings.file_problems(settings), *_embedder_problems(settings)]
    facts: dict[str, Any] = {
        "upstreams": len(settings.upstreams),
        "models": len(settings.models),
        "routes": len(settings.routes),
        "prices": sources,
        "store": surroundings.without_password(settings.server.store),
        "journal": settings.server.journal,
        "listen": surroundings.port_fact(settings),
        "console": surroundings.console_fact(settings),
    }
    if online:
        unreachable, facts["online"] = surroundings.upstream_findings(settings, os.environ)
        unmetered, facts["meters"] = surroundings.meter_findings(settings, os.environ)
        found += [*unreachable, *unmetered]
    return found, facts


def _embedder_problems(settings: "Settings") -> "list[Problem]":
    """Whether the files of the embedder are there; without them `serve` starts, and answers nothing by meaning."""
    from penstock.bootstrap.caching import ONLY_EXACT, lost_embedder
    from penstock.config.problems import warning

    lost = lost_embedder(settings, os.environ)
    return [] if lost is None else [warning("cache.semantic.embedder", f"{ONLY_EXACT}: {lost}", lost.hint)]


def _of_bill(bill: Path | None, facts: dict[str, Any]) -> "list[Problem]":
    """Lines of a bill that carry no tag."""
    from penstock.cli import tag_findings

    if bill is None:
        return []
    found, facts["bill"] = tag_findings.bill_findings(bill)
    return found


def _errors(found: "Sequence[Problem]") -> int:
    return sum(problem.severity == "error" for problem in found)


def _print(config: Path, found: "Sequence[Problem]", facts: dict[str, Any], quiet: bool) -> None:
    """Problems on stderr, the verdict and what was looked at on stdout."""
    for problem in found:
        if problem.severity == "error" or not quiet:
            place = "" if problem.where in (str(config), facts.get("bill", {}).get("file")) else f"{config}: "
            complain(f"{place}{problem.where}: {problem.text}", problem.hint, problem.severity)
    if quiet:
        return
    if facts:
        priced, models = len(facts["prices"]), facts["models"]
        typer.echo(f"prices   {priced} of {models} models priced")
        for name, source in facts["prices"].items():
            typer.echo(f"         {name}: {source}")
        for name in ("store", "journal", "listen", "console"):
            typer.echo(f"{name:8} {facts[name]}")
        for name, answer in [*facts.get("online", {}).items(), *facts.get("meters", {}).items()]:
            typer.echo(f"online   {name}: {answer}")
    errors = _errors(found)
    counts = [f"{count} {word}{'s' * (count != 1)}" for count, word in ((errors, "problem"), (len(found) - errors, "warning")) if count]
    typer.echo(f"{config}: {', '.join(counts) or 'fine'}")
