"""`penstock schema`: the JSON Schemas of the configuration and of the usage record."""

from enum import StrEnum
from typing import Annotated

import typer

from penstock.cli.options import SHIP
from penstock.cli.output import print_json


class Subject(StrEnum):
    """What a schema is of."""

    config = "config"
    usage = "usage"


def register(app: typer.Typer) -> None:
    app.command("schema", rich_help_panel=SHIP)(schema)


def schema(
    subject: Annotated[Subject, typer.Argument(help="`config`: penstock.toml; `usage`: one record of the ledger.")] = Subject.config,
) -> None:
    """Print a JSON Schema.

    `penstock init` writes the one of the configuration beside penstock.toml, where TOML editors find it.
    """
    from penstock.config.schema import config_schema, usage_schema

    print_json(config_schema() if subject is Subject.config else usage_schema())
