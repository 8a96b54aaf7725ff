"""What `check` and `serve` find of routes beyond the config itself: prices of ladders, and checks that are code of the user's."""

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from penstock.config.problems import Problem, join, warning

if TYPE_CHECKING:
    from penstock.config.settings import Settings

_IMPORT: Final = (
    "import importlib, sys; m, _, f = sys.argv[1].partition(':'); callable(getattr(importlib.import_module(m), f)) or sys.exit(1)"
)
_IMPORT_S: Final = 20.0


def ladder_obstacles(settings: "Settings") -> list[Problem]:
    """Routes with an error budget of which a tier has no price now, or the file of prices that cannot be read for them."""
    from penstock.cli.surroundings import price_findings
    from penstock.config.checks_routing import unpriced_ladders

    if not any(route.error_budget is not None for route in settings.routes.values()):
        return []
    found, priced = price_findings(settings)
    return [each for each in found if each.where == "server.prices"] or list(unpriced_ladders(settings, priced))


def callable_findings(settings: "Settings") -> list[Problem]:
    """Callables of checks that cannot be imported here, as the gateway would: in a process of their own, from this directory."""
    found = []
    for name, check in settings.checks.items():
        if check.kind != "python" or not check.callable:
            continue
        try:
            done = subprocess.run(
                [sys.executable, "-c", _IMPORT, check.callable], capture_output=True, text=True, timeout=_IMPORT_S, check=False
            )
            why = (done.stderr.strip().splitlines() or [f"there is no callable `{check.callable.partition(':')[2]}` in it"])[-1]
            failed = done.returncode != 0
        except subprocess.TimeoutExpired:
            why, failed = f"it took longer than {_IMPORT_S:g} s", True
        if failed:
            text = f"`{check.callable}` cannot be used: {why}; answers that it is for would never pass"
            hint = "install it where `penstock serve` runs, or start that in its directory"
            found.append(warning(f"{join('checks', name)}.callable", text, hint))
    return found
