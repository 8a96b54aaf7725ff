"""What `penstock check` finds of fleets beside their tables: hours of the ledger under other names, MIG profiles that no card has."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.config.problems import Problem, error, join, warning

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.finops.books import Books

DAY_NS = 86_400 * 10**9
LOOKED_BACK_NS = 90 * DAY_NS
YOUNG_NS = DAY_NS
"""a fleet that is new to a ledger of less than this is there from its begin on"""
_SQLITE = "sqlite:///"


def fleet_findings(settings: "Settings") -> list[Problem]:
    """Fleets that were renamed, removed, or are new to an older ledger. An absent ledger has none."""
    from penstock import bootstrap
    from penstock.ports.journal import JournalError
    from penstock.ports.usage_store import StoreError

    store = settings.server.store
    if store.startswith(_SQLITE) and not Path(store.removeprefix(_SQLITE)).exists():
        return []
    try:
        with bootstrap.open_books(settings, time.time_ns()) as books:
            return list(renamed_fleets(books))
    except (StoreError, JournalError) as problem:
        return [warning("fleets", f"the ledger was not looked at: {problem}", problem.hint)]


def renamed_fleets(books: "Books") -> Iterator[Problem]:
    """Names of the last 90 days that the config does not have, and undated fleets that these days do not have."""
    from penstock.config.fleets import holdings
    from penstock.domain.ledger.entries import HOUR_NS
    from penstock.domain.prices.hardware import begins_ns
    from penstock.domain.prices.schedule import ALWAYS
    from penstock.finops.window import iso

    fleets, now = books.settings.fleets, books.now_ns
    hours = books.ledger.snapshot.costs.fleet_hours((now - LOOKED_BACK_NS) // HOUR_NS, now // HOUR_NS)
    last = {hour.fleet: hour.until_ns for hour in hours}
    for name in sorted(last.keys() - fleets.keys()):
        text = f"the ledger has hours of a fleet `{name}` until {iso(last[name])}, and the config does not name it"
        hint = "if it has another name now, date that one's price from then on, or its hours are paid twice; if it is gone, all is well"
        yield warning(join("fleets", name), text, hint)
    begin = books.ledger.begin
    if begin is None or now - begin < YOUNG_NS:
        return
    for name, held in holdings(books.settings).items():
        start = begins_ns(held)
        if name not in last and start is not None and start <= ALWAYS:
            text = f"it is new to the ledger and its price has no date, so its rent counts from the ledger's begin on, {iso(begin)}"
            yield warning(
                f"{join('fleets', name)}.price", text, 'if it was rented later, write the day: price = [{ from = "...", price = "..." }]'
            )


def mig_findings(settings: "Settings") -> Iterator[Problem]:
    """MIG profiles against those that each card is known to have."""
    from penstock.adapters.feeds.gpus import mig_profiles

    known = mig_profiles()
    for name, fleet in settings.fleets.items():
        if fleet.mig is None:
            continue
        gpu = "-".join(fleet.gpu.upper().replace("_", " ").replace("-", " ").split())
        cards = [card for card in known.values() if card.gpu in gpu or card.gpu.startswith(f"{gpu}-")]
        profiles = dict.fromkeys(profile.name.partition("+")[0] for card in cards for profile in card.profiles)
        if not cards:
            text = f"no MIG profile of a {fleet.gpu} is known, so its slices are counted as those of a card of 7 parts"
            yield warning(f"{join('fleets', name)}.gpu", text, f"name the card as one of {', '.join(known)}, or remove `mig`")
        elif fleet.mig.strip().lower().removeprefix("mig-").partition("+")[0] not in profiles:
            yield error(f"{join('fleets', name)}.mig", f"a {fleet.gpu} has no MIG profile `{fleet.mig}`", f"it has {', '.join(profiles)}")
