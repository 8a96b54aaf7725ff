"""`penstock budget`: where every budget stands, where it is going, and whether anybody would hear of it."""

import typer

from penstock.cli.budget_standing import forecast, list_
from penstock.cli.budget_test_alert import send_test
from penstock.cli.options import MONEY


def register(app: typer.Typer) -> None:
    budget = typer.Typer(help="Look at budgets, and test their alerts.", rich_markup_mode="rich")
    budget.command("list")(list_)
    budget.command("forecast")(forecast)
    budget.command("test-alert")(send_test)
    app.add_typer(budget, name="budget", rich_help_panel=MONEY)
