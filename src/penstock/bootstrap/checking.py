"""The checks of answers that a worker makes, wired."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.gateway.routing.checking import Checks


def open_checks(settings: Settings, log: Callable[[str], None]) -> "Checks | None":
    """Checks for the answers of routes; None where there are no routes. Processes are started when an answer is to be checked."""
    if not settings.routes:
        return None
    from penstock.adapters.checks.local import LocalChecks
    from penstock.gateway.routing.checking import Checks

    return Checks(settings.checks, LocalChecks(), log)
