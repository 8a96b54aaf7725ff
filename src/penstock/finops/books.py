"""What the cost plane reads figures from: the ledger, the settings that say what is rented, and when fleets ran; at one instant."""

from collections.abc import Callable

import msgspec

from penstock.config.settings import Settings
from penstock.domain.ledger.entries import Allocation, FleetHour
from penstock.domain.prices.hardware import Steps
from penstock.finops.ledger import Ledger

Stretch = tuple[int, int, tuple[tuple[int, ...], ...]]
"""[since_ns, until_ns), and of which pools each hour of it is wanted"""


class Books(msgspec.Struct, frozen=True):
    """One reading, for one report."""

    settings: Settings
    ledger: Ledger
    now_ns: int
    runs: Callable[[str], Steps | None]
    """when a fleet ran whose `runs` names a file; None: the file has nothing on it"""
    running: dict[Stretch, list[tuple[list[FleetHour], list[Allocation]]]] = msgspec.field(default_factory=dict)
    """hours that are not closed yet as they were split, hour by hour: every window that ends now asks for them again"""

    def clip(self, since_ns: int, until_ns: int) -> tuple[int, int]:
        """The window as far as the ledger reaches back (before, nobody would have written down a request) and time has passed."""
        begin, until = self.ledger.begin, min(until_ns, self.now_ns)
        return (until, until) if begin is None else (min(max(since_ns, begin), until), until)
