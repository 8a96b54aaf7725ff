"""`penstock deploy`: files for the systems around Penstock, made from its configuration."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.options import CONFIG_FILE, SHIP, ConfigOption, DryRunOption, JsonOption, QuietOption
from penstock.cli.output import print_json, say


class Target(StrEnum):
    """What files are rendered for."""

    grafana = "grafana"
    prometheus = "prometheus"


def register(app: typer.Typer) -> None:
    deploy = typer.Typer(help="Render files for the systems around Penstock.", rich_markup_mode="rich")
    deploy.command("render")(render)
    app.add_typer(deploy, name="deploy", rich_help_panel=SHIP)


def render(
    target: Annotated[Target, typer.Argument(help="`grafana`: a dashboard; `prometheus`: recording and alert rules, and what to scrape.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the files into this directory.", metavar="DIR")] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print or write a Grafana dashboard, or rules for Prometheus, that fit the declared tags.

    `penstock deploy render prometheus --output deploy/`
    """
    from penstock.config.load import load
    from penstock.deploy.files import render as rendered

    files = rendered(target.value, load(config, os.environ))
    written = output is not None and not dry_run
    if output is not None and not dry_run:
        output.mkdir(parents=True, exist_ok=True)
        for file in files:
            (output / file.name).write_text(file.text, "utf-8")
    if json:
        named = [{"path": str(output / file.name) if output is not None else file.name, "text": file.text} for file in files]
        print_json({"target": target.value, "written": written, "files": named})
    elif output is None:
        typer.echo("".join(file.text if len(files) == 1 else f"---\n# {file.name}\n{file.text}" for file in files), nl=False)
    if output is not None:
        for file in files:
            say(f"{'wrote' if written else 'would write'} {output / file.name}", quiet)
