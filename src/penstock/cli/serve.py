"""`penstock serve`: the gateway, its ledger and its metrics, on one address, until Ctrl-C."""

import os
import sys

import typer

from penstock.cli.options import CONFIG_FILE, RUN, ConfigOption, QuietOption
from penstock.cli.output import FAILED, CommandError, complain, say


def register(app: typer.Typer) -> None:
    app.command("serve", rich_help_panel=RUN)(serve)


def serve(config: ConfigOption = CONFIG_FILE, quiet: QuietOption = False) -> None:
    """Run the gateway until Ctrl-C or SIGTERM; what is in flight is finished first."""
    from penstock.bootstrap import begin_sharing, log, open_store, open_traces
    from penstock.cli.routing_findings import callable_findings, ladder_obstacles
    from penstock.config.checks import problems, serve_obstacles
    from penstock.config.load import load
    from penstock.config.problems import ConfigError
    from penstock.ports.budget_book import BookError
    from penstock.supervisor import StartError, Supervisor

    settings = load(config, os.environ)
    for each in (*problems(settings), *callable_findings(settings)):
        if each.severity == "warning":
            complain(f"{each.where}: {each.text}", each.hint, "warning")
    if obstacles := serve_obstacles(settings, os.environ) or ladder_obstacles(settings):
        raise ConfigError(obstacles, str(config))
    open_store(settings).close()
    if (traces := open_traces(settings, os.environ)) is not None:
        traces.close()  # opened to learn at once whether that can be done here; the controller has its own
    if not settings.auth.required:
        say("without [auth] required = true, callers without a key share one cache partition and are one tenant", quiet)

    def ready(address: str) -> None:
        say(f"Penstock listens on {address}  (OpenAI base_url: {address}/v1; console: {address}; metrics: {address}/metrics)", quiet)
        sys.stderr.flush()

    try:
        Supervisor(settings, (lambda message: None) if quiet else log, lambda: begin_sharing(settings)).run(ready)
    except (StartError, BookError) as error:
        raise CommandError(str(error), error.hint, FAILED) from None
