"""The options that mean the same in every command."""

from pathlib import Path
from typing import Annotated

import typer

CONFIG_FILE = Path("penstock.toml")

START, RUN, MONEY, CAPACITY, SHIP = "Start", "Run", "Understand the money", "Plan capacity", "Ship"
"""Panels of `penstock --help`."""

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration file.", metavar="FILE")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No narration on stderr; errors are still printed.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; go ahead.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.", metavar="FILE")]
