"""`penstock budget list` and `penstock budget forecast`: where every budget stands, and where it is going, as the ledger has it."""

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import CONFIG_FILE, ConfigOption, JsonOption, QuietOption
from penstock.cli.output import WRONG_USAGE, CommandError, print_json, say

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.finops.budgets.standing import Standing

AS_BOOKED = "as the ledger has it: requests as they were booked, own fleets provisionally; what is held for requests under way is not in it"


def list_(config: ConfigOption = CONFIG_FILE, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show what every budget has spent, what is left, and what its period is expected to end at.

    `penstock budget list --json` has the parts: by requests and without them, the band of the forecast, and the marks.
    """
    from penstock.config.load import load
    from penstock.finops.budgets.status_json import status_json
    from penstock.finops.window import iso

    settings, now_ns = load(config, os.environ), time.time_ns()
    found = budget_figures(settings, now_ns)
    if json:
        print_json({"as_of": iso(now_ns), "basis": AS_BOOKED, "budgets": [status_json(each.status) for each in found]})
        return
    if found:
        from penstock.cli.budget_table import print_budgets

        print_budgets([each.status for each in found], _zones(settings, found))
    _narrate(found, quiet)


def forecast(
    name: Annotated[str | None, typer.Argument(help="Only this budget; none: all.")] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show where budgets are going: spend through each day of the period, with the band that holds in 80 of 100 cases.

    It also says when the limit is expected to be passed: `penstock budget forecast "support, monthly"`.
    """
    from penstock.config.load import load
    from penstock.finops.budgets.status_json import standing_json
    from penstock.finops.window import iso

    settings, now_ns = load(config, os.environ), time.time_ns()
    found = budget_figures(settings, now_ns, name)
    if json:
        print_json({"as_of": iso(now_ns), "basis": AS_BOOKED, "budgets": [standing_json(each) for each in found]})
        return
    if found:
        from penstock.cli.budget_table import print_course

        zones = _zones(settings, found)
        for each in found:
            print_course(each, zones[each.status.name], now_ns)
    _narrate(found, quiet)


def budget_figures(settings: "Settings", now_ns: int, name: str | None = None) -> "tuple[Standing, ...]":
    """The standing of every budget, then of keys' own, or of the one with this name. Raises `CommandError` where there is none."""
    from penstock import bootstrap
    from penstock.config.problems import nearest
    from penstock.finops.budgets.standing import standings

    budgets = [budget for budget in settings.budgets if name in (None, budget.name)]
    of_keys = bootstrap.key_budgets(settings)
    every = of_keys.found(now_ns)
    own = [each for each in every if name in (None, each.as_budget().name, f"key {each.keys[0]}")]
    if name is not None and not budgets and not own:
        names = [budget.name for budget in (*settings.budgets, *(each.as_budget() for each in every))]
        raise CommandError(f"there is no budget `{name}`", nearest(name, names, "see `penstock budget list`"), WRONG_USAGE)
    with bootstrap.open_books(settings, now_ns) as books:
        return (*standings(books, budgets), *of_keys.standings(books, own))


def _zones(settings: "Settings", found: "tuple[Standing, ...]") -> dict[str, str]:
    """Budget -> the zone of its periods."""
    zones = {budget.name: budget.timezone for budget in settings.budgets}
    return {each.status.name: zones.get(each.status.name) or settings.server.timezone for each in found}


def _narrate(found: "tuple[Standing, ...]", quiet: bool) -> None:
    if not found:
        say("there is no budget", quiet)
        say('hint: write [[budgets]] with name = "all" and limit = "100 USD / month" into the config', quiet)
        return
    say(AS_BOOKED, quiet)
