"""`penstock init`: write a commented penstock.toml that works at once, and the schema that helps to edit it.

Without an upstream it starts from the simulated engine, so that `penstock serve` answers with nothing installed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.options import CONFIG_FILE, START, DryRunOption, QuietOption, YesOption
from penstock.cli.output import WRONG_USAGE, CommandError, interactive, say

SCHEMA_FILE = "penstock.schema.json"


def register(app: typer.Typer) -> None:
    app.command("init", rich_help_panel=START)(init)


def init(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", metavar="FILE")] = CONFIG_FILE,
    upstream: Annotated[str | None, typer.Option(help="Address of an OpenAI-compatible engine or API.", metavar="URL")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Model that the upstream serves; repeatable.", metavar="NAME")] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="Environment variable that holds the upstream's key.", metavar="NAME")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a commented penstock.toml.

    Asks for the upstream on a terminal. Without one, the simulated engine answers, so that `penstock serve` works at once.
    """
    from penstock.config import start

    schema = output.parent / SCHEMA_FILE
    if output.exists() and not force and not dry_run:
        raise CommandError(f"{output} exists already", "pass --force to overwrite it, or --output to write another", WRONG_USAGE)
    ask = interactive() and not yes and upstream is None
    url = _ask_upstream() if ask else upstream
    if url is None:
        text = start.simulated()
    else:
        _refuse_bad_address(url)
        variable = _ask_variable(url) if ask else api_key_env
        text = start.with_upstream(url.rstrip("/"), list(dict.fromkeys(model or ())) or _models(url, variable, ask), variable)
    if dry_run:
        typer.echo(text, nl=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, "utf-8")
    schema.write_text(_schema_text(), "utf-8")
    _say_next(output, schema, url, quiet)


def _ask_upstream() -> str | None:
    say("where is the engine or API that answers? for example http://127.0.0.1:8000/v1")
    url: str = typer.prompt("address (empty: a simulated engine, to try things out)", default="", show_default=False, err=True)
    return url.strip() or None


def _ask_variable(url: str) -> str | None:
    default = "OPENAI_API_KEY" if "api.openai.com" in url else ""
    name: str = typer.prompt("environment variable with its key (empty: none)", default=default, show_default=bool(default), err=True)
    return name.strip() or None


def _refuse_bad_address(url: str) -> None:
    from penstock.config.checks_upstreams import url_problems
    from penstock.config.problems import ConfigError

    errors = [problem for problem in url_problems("--upstream", url) if problem.severity == "error"]
    if errors:
        raise ConfigError(errors)


def _models(url: str, variable: str | None, ask: bool) -> list[str]:
    """The models to configure: what the upstream lists, confirmed on a terminal; else what the user types."""
    import os

    from penstock.cli.probe import Unreachable, models_of
    from penstock.config.start import is_anthropic

    try:
        found = models_of(url, os.environ.get(variable) if variable else None, anthropic=is_anthropic(url))
    except Unreachable as problem:
        found = []
        say(f"could not list the models of {url}: {problem}")
    if ask:
        offered = ", ".join(found[:3])
        typed: str = typer.prompt("models, separated by commas", default=offered or None, err=True)
        found = [name.strip() for name in typed.split(",") if name.strip()]
    if not found:
        raise CommandError(f"which models does {url} serve?", "name them with --model, or start the upstream first", WRONG_USAGE)
    return found[:20]


def _schema_text() -> str:
    import msgspec

    from penstock.config.schema import config_schema

    return msgspec.json.format(msgspec.json.encode(config_schema()), indent=2).decode() + "\n"


def _say_next(output: Path, schema: Path, url: str | None, quiet: bool) -> None:
    config = "" if output == CONFIG_FILE else f" --config {output}"
    steps: Sequence[str] = (
        f"wrote {output} and {schema}",
        *(["a simulated engine answers until you name an upstream: what it says, and its prices, are invented"] if url is None else []),
        "next:",
        f"  penstock check{config}",
        f"  penstock serve{config}",
        f"  penstock cost{config} --by model",
    )
    for step in steps:
        say(step, quiet)
